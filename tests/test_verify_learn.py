"""Agreement in learning: all weights are the same, and a broken trainer is found."""

import importlib.util
import json
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from random_models import qmodels, random_qmodel
from trainings import tame_model

from pyvgrad import cli
from pyvgrad.blob import pack, parse
from pyvgrad.errors import RoomError
from pyvgrad.intlearn import IntTrainer
from pyvgrad.native_train import HostTrainer
from pyvgrad.verify import random_inputs
from pyvgrad.verify_learn import (
    WeightDifference,
    agree_learning,
    combinations,
    learning_lines,
    lessons_of,
    named,
    start_trainer,
)

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

STEPS = 60
PLACE = "rtrl97", "momentum", "cross-entropy"


def lively(seed, cell="lstm", output="softmax", **kind):
    """A model whose weights are within +-1/2, 3 inputs, 4 cells a layer, 2 outputs."""
    return tame_model(seed, cell, **{"sizes": (3, 4, 2), "output": output, **kind})


def inputs(model, n=4, steps=9):
    """Raw x (n, steps, n_in) within +-1, and the lengths."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (n, steps, model.shape.n_in)) * 2.0**model.x_exp
    return np.clip(x, -32768, 32767).astype(np.int16), np.array([steps, 5, steps, 1])


def agreed(model, start=start_trainer, on=("host",), steps=STEPS):
    return agree_learning(pack(model), *inputs(model), steps, on, start=start)


# ---- what is trained -------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "output", "layers", "methods", "losses"),
    [
        ("lstm", "softmax", 1, 2, {"cross-entropy"}),
        ("lstm97", "logistic", 1, 2, {"mse", "cross-entropy"}),
        ("lstm", "linear", 1, 2, {"mse"}),
        ("lstm", "softmax", 2, 1, {"cross-entropy"}),
        ("rnn_tanh", "logistic", 1, 1, {"mse", "cross-entropy"}),
    ],
)
def test_every_method_rule_and_loss_that_is_defined_is_there_once(
    cell, output, layers, methods, losses
):
    model = lively(0, cell, output=output, layers=layers)
    every = combinations(model)
    found = Counter((c.method, c.rule, c.loss) for c in every)
    assert set(found.values()) == {1}
    assert len(found) == methods * 3 * len(losses)
    assert {c.loss for c in every} == losses
    for learn in every:  # and the C core thinks so, too
        HostTrainer(pack(model), learn).close()


def test_without_a_readout_a_model_learns_as_a_linear_one():
    model = random_qmodel(np.random.default_rng(0), cell="lstm", output="none")
    assert {c.loss for c in combinations(model)} == {"mse"}
    assert agreed(model).ok


def test_the_sequences_are_repeated_and_the_last_one_is_cut():
    model = lively(0)
    x, lengths = inputs(model)
    lessons = list(lessons_of(model, x, lengths, 40))
    assert [len(x) for x, _, _ in lessons] == [9, 5, 9, 1, 9, 5, 2]
    assert (lessons[5][0] == x[1, :5]).all()
    targets = [lessons[k][1].tolist() for k in (0, 4)]
    assert targets[0] != targets[1]  # of the same inputs another time


def test_every_training_changes_weights():
    model, kept = lively(1), []

    def start(blob, learn, on):
        kept.append(HostTrainer(blob, learn))
        return kept[-1]

    found = agreed(model, start)
    assert found.ok
    assert found.combinations == len(kept) == 6
    assert found.weights == 6 * model.shape.n_weights
    blobs = {trainer.blob() for trainer in kept}
    assert len(blobs) == 6
    assert pack(model) not in blobs
    assert all(trainer.counters.steps == STEPS for trainer in kept)
    assert all(trainer.counters.updates > 5 for trainer in kept)


@given(qmodels())
@settings(max_examples=25, deadline=None)
def test_host_and_numpy_learn_the_same_on_any_model(model):
    x = random_inputs(model, 3, 8)
    lengths = np.array([8, 3, 1])
    found = agree_learning(pack(model), x, lengths, 20, ["numpy", "host"])
    assert found.ok, str(found.first)
    assert found.differing == {"numpy": 0, "host": 0}


def test_an_emulated_core_learns_the_same():
    found = agreed(lively(3, "lstm97", output="logistic"), on=["m0", "m33"])
    assert found.ok, str(found.first)
    assert found.left_out == {}


# ---- a broken one is found -------------------------------------------------


class Broken(HostTrainer):
    """Answers wrongly from the third sequence on, in one place of the grid."""

    def __init__(self, blob, learn, change):
        super().__init__(blob, learn)
        here = (learn.method, learn.rule, learn.loss) == PLACE
        self._change = change if here else None

    @property
    def _wrong(self):
        return self._change and super().counters.sequences >= 3

    def blob(self):
        return self._change(super().blob()) if self._wrong else super().blob()


def starter(change):
    def start(blob, learn, on):
        if on == "broken":
            return Broken(blob, learn, change)
        return start_trainer(blob, learn, on)

    return start


def changed_in(array_of, row, column):
    """A change of a blob that adds 1 to one integer."""

    def change(blob):
        model = parse(blob)
        arrays = array_of(model)
        arrays[(row, column)[: arrays.ndim]] += 1
        return pack(model)

    return change


@pytest.mark.parametrize(
    ("tensor", "array_of", "row", "column", "shift"),
    [
        ("layer1.i.x", lambda m: m.layers[0].weights["i"], 2, 1, 0),
        ("layer1.g.h", lambda m: m.layers[0].weights["g"], 3, 4, 3),
        ("layer1.o.b", lambda m: m.layers[0].biases["o"], 1, 0, 0),
        ("readout.h", lambda m: m.readout.weights, 1, 2, 0),
        ("readout.x", lambda m: m.readout.weights, 0, 5, 4),
        ("readout.b", lambda m: m.readout.biases, 1, 0, 0),
    ],
)
def test_one_wrong_weight_is_counted_and_located(tensor, array_of, row, column, shift):
    model = lively(2, shortcuts=True)
    start = starter(changed_in(array_of, row, column))
    found = agreed(model, start, ["host", "broken"])
    assert found.differing == {"host": 0, "broken": 1}
    assert not found.ok
    first = found.first
    place = WeightDifference(
        "broken", *PLACE, 2, tensor, row, column - shift, first.expected, first.got
    )
    assert first == place
    assert first.got == first.expected + 1
    assert learning_lines(found)[-1] == (
        f"first: broken: rtrl97 with momentum and cross-entropy, after sequence 2, "
        f"{tensor}[{row}, {column - shift}] is {first.got}, not {first.expected}"
    )


def test_a_wrong_exponent_is_named_before_the_weights_of_its_gate():
    def change(blob):
        model = parse(blob)
        model.layers[0].exps["f"][:] -= 1
        return pack(model)

    found = agreed(lively(2), starter(change), ["broken"])
    assert found.first.tensor == "layer1.f.E"
    assert found.first.got == found.first.expected - 1


def test_a_blob_that_is_none_differs_in_its_length_or_its_bytes():
    found = agreed(lively(2), starter(lambda blob: blob[:-1]), ["broken"])
    assert found.first.tensor == "bytes of the blob"
    flipped = starter(lambda blob: blob[:40] + bytes([blob[40] ^ 1]) + blob[41:])
    found = agreed(lively(2), flipped, ["broken"])
    assert (found.first.tensor, found.first.row) == ("blob", 40)
    assert found.differing == {"broken": 1}


def test_a_wrong_counter_is_a_difference():
    honest = HostTrainer.counters

    class Miscounted(HostTrainer):
        @property
        def counters(self):
            now = honest.fget(self)
            return replace(now, clipped=now.clipped + (now.sequences > 1))

    found = agreed(lively(2), lambda blob, learn, on: Miscounted(blob, learn))
    assert found.differing == {"host": 6}
    first = found.first
    assert (first.tensor, first.row, first.sequence) == ("counter clipped", None, 1)
    assert first.got == first.expected + 1


def test_a_checkpoint_is_held_against_that_of_the_host():
    class Forgetful(HostTrainer):
        def checkpoint(self):
            whole = super().checkpoint()
            return whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]

    def start(blob, learn, on):
        return (Forgetful if on == "m4" else HostTrainer)(blob, learn)

    found = agreed(lively(2), start, ["m4", "host"])
    assert found.differing == {"m4": 6, "host": 0}
    assert (found.first.executor, found.first.tensor) == ("m4", "checkpoint")


@pytest.fixture(scope="module")
def broken_core(tmp_path_factory):
    """The core with a momentum that decays to minus infinity, not toward zero."""
    from build_native import LIB, build

    folder = tmp_path_factory.mktemp("broken")
    lib = Path(shutil.copytree(LIB, folder / "vgrad"))
    source = lib / "src" / "rules.c"
    text = source.read_text()
    begin = text.index("static int32_t decayed(")
    body = text[begin : text.index("}", begin)]
    broken = body[: body.index("return")] + "return (int32_t)(x >> 14);\n"
    source.write_text(text.replace(body, broken))
    path = build(folder, name="broken_train", lib_dir=lib)
    spec = importlib.util.spec_from_file_location("broken_train", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_core_that_rounds_wrongly_is_found_where_it_first_does(broken_core):
    model = lively(4)
    blob = pack(model)

    def start(blob, learn, on):
        return HostTrainer(blob, learn, broken_core)

    found = agreed(model, start, ["broken"], 200)
    first = found.first
    assert not found.ok
    assert first.rule == "momentum"
    [learn] = [
        c
        for c in combinations(model)
        if (c.method, c.rule, c.loss) == (first.method, "momentum", first.loss)
    ]
    right, wrong = IntTrainer(blob, learn), HostTrainer(blob, learn, broken_core)
    lessons = list(lessons_of(model, *inputs(model), 200))
    for k, lesson in enumerate(lessons):
        for trainer in (right, wrong):
            trainer.teach(*lesson)
            trainer.end()
        assert (right.blob() == wrong.blob()) == (k < first.sequence)
        if k == first.sequence:
            break
    _layer, gate, part = first.tensor.split(".")
    both = [parse(t.blob()).layers[0] for t in (right, wrong)]
    column = first.column + (3 if part == "h" else 0)
    want, got = (
        q.biases[gate][first.row] if part == "b" else q.weights[gate][first.row, column]
        for q in both
    )
    assert (first.expected, first.got) == (want, got)


# ---- too little RAM --------------------------------------------------------


def test_a_training_that_a_board_does_not_hold_is_left_out_and_said():
    def start(blob, learn, on):
        if on == "small" and learn.rule == "rmsprop":
            raise RoomError("too small")
        return HostTrainer(blob, learn)

    model = lively(2)
    found = agreed(model, start, ["small"])
    names = [named(c) for c in combinations(model) if c.rule == "rmsprop"]
    assert found.left_out == {"small": names}
    assert found.ok
    assert found.differing == {"small": 0}
    assert f"  small  has too little RAM for {', '.join(names)}" in learning_lines(
        found
    )


def test_a_board_that_holds_none_agrees_with_nothing():
    def start(blob, learn, on):
        if on == "small":
            raise RoomError("too small")
        return HostTrainer(blob, learn)

    found = agreed(lively(2), start, ["small", "host"])
    assert found.differing == {"host": 0}
    assert "small  has too little RAM for any training" in learning_lines(found)[-1]
    with pytest.raises(RoomError, match="more RAM than there is on small"):
        agreed(lively(2), start, ["small"])


def test_the_ram_of_a_board_is_asked():
    large = lively(5, sizes=(7, 20, 7))
    found = agreed(large, on=["host", "m0"], steps=2)
    assert found.ok
    assert found.differing == {"host": 0}
    assert len(found.left_out["m0"]) == 6


# ---- the command -----------------------------------------------------------


@pytest.fixture
def verify(monkeypatch, capsys, tmp_path):
    """Run ``pyvgrad verify M.vg``: (exit code, stdout, stderr)."""
    model = lively(6)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "M.vg").write_bytes(pack(model))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 6, 3))
    np.savez(tmp_path / "X.npz", x=x, lengths=[6, 4])

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["pyvgrad", "verify", "M.vg", *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


def test_verify_learn_adds_one_field(verify):
    args = ("--x", "X.npz", "--on", "numpy,host,onnx", "--json")
    code, out, err = verify(*args)
    assert code == 0
    assert "onnx does not train" not in err
    plain = json.loads(out)
    code, out, err = verify(*args, "--learn", "25")
    found = json.loads(out)
    learn = found.pop("learn")
    assert code == 0
    assert found == plain
    assert err.count("onnx does not train and is left out") == 1
    assert learn == {
        "steps": 25,
        "combinations": 6,
        "weights": 6 * lively(6).shape.n_weights,
        "differing": {"numpy": 0, "host": 0},
        "first": None,
        "left_out": {},
    }


def test_verify_learn_exits_1_and_says_where(verify, monkeypatch):
    honest = HostTrainer.blob
    change = changed_in(lambda m: m.layers[0].weights["f"], 3, 2)
    monkeypatch.setattr(HostTrainer, "blob", lambda self: change(honest(self)))
    code, out, _ = verify("--on", "host", "--learn", "5", "--json")
    found = json.loads(out)
    assert code == 1
    assert found["differing"] == {"host": 0}
    assert found["learn"]["differing"] == {"host": 6}
    first = found["learn"]["first"]
    assert (first["tensor"], first["row"], first["column"]) == ("layer1.f.x", 3, 2)
    code, out, _ = verify("--on", "host", "--learn", "5")
    assert code == 1
    assert "layer1.f.x[3, 2]" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--on", "onnx", "--learn", "5"], "onnx does not train"),
        (["--on", "host", "--learn", "0"], "--learn"),
        (["--on", "host", "--learn", "many"], "--learn"),
    ],
)
def test_what_cannot_be_learnt_is_one_sentence_and_exit_2(verify, args, said):
    code, out, err = verify(*args)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_an_unknown_trainer_is_refused():
    blob, [learn, *_] = pack(lively(0)), combinations(lively(0))
    with pytest.raises(ValueError, match="onnx does not train"):
        start_trainer(blob, learn, "onnx")
