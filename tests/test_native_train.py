"""Training in the C core through Python, and running many sequences of a blob."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_models import random_qmodel

from pyvgrad.blob import pack, parse
from pyvgrad.cells import Fields, Layer, Readout, Shape
from pyvgrad.errors import BlobError
from pyvgrad.intlearn import IntTrainer
from pyvgrad.intmodel import IntModel
from pyvgrad.learning import Learn
from pyvgrad.model import init_params
from pyvgrad.native_run import HostRunner
from pyvgrad.native_train import HostTrainer, train_bytes
from pyvgrad.nets import NETS, stack
from pyvgrad.quantize import quantize
from pyvgrad.signals import to_signals

RTRL = Learn(method="rtrl97", symbols=True)
TBPTT = Learn(k2=8, symbols=True, rule="momentum", decay_q14=8000, clip_q16=65536)


def blob_of(shape, seed=0):
    params = init_params(shape, np.random.default_rng(seed), scale=0.5)
    return pack(quantize(shape, params))


REBER = blob_of(NETS["feedback-8"].shape(7, 7))


def strings(n=20, seed=1, steps=9):
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(7, size=steps).astype(np.uint16), rng.integers(7, size=steps))
        for _ in range(n)
    ]


def taught(trainer, lessons, known=None):
    for x, target in lessons:
        trainer.teach(x, target, known)
        trainer.end()
    return trainer.blob()


def one_hot(x):
    return ((x[:, None] == np.arange(7)) * 16384).astype(np.int16)


@pytest.mark.parametrize("learn", [RTRL, TBPTT])
def test_the_weights_change_and_the_counters_say_how_often(learn):
    with HostTrainer(REBER, learn) as trainer:
        assert trainer.learn == learn
        blob = taught(trainer, strings())
        counted = trainer.counters
    assert parse(blob).shape == parse(REBER).shape
    assert blob != REBER
    assert (counted.sequences, counted.steps, counted.updates) == (20, 180, 20)
    assert counted.norm_q16 > 0
    assert counted.loss_q16 > 0
    assert (counted.clipped > 0) == (learn.clip_q16 > 0)


@pytest.mark.parametrize("learn", [RTRL, TBPTT])
def test_steps_one_by_one_and_dense_inputs_are_the_same_bits(learn):
    known = [True, False] * 4 + [True]
    whole = taught(HostTrainer(REBER, learn), strings(), known)
    single = HostTrainer(REBER, learn)
    dense = HostTrainer(REBER, replace(learn, symbols=False))
    for x, target in strings():
        for k in range(len(x)):
            single.teach(x[k : k + 1], target[k : k + 1], known[k : k + 1])
        single.end()
        dense.teach(one_hot(x), target, known)
        dense.end()
    assert single.blob() == whole
    assert dense.blob() == whole
    assert taught(HostTrainer(REBER, learn), strings()) != whole  # known matters


@pytest.mark.parametrize("known", [None, [1, 0, 0, 0, 1, 0, 0, 0, 1]])
@pytest.mark.parametrize("symbols", [True, False])
@pytest.mark.parametrize("learn", [replace(RTRL, k1=1), TBPTT])
def test_a_batch_is_each_sequence_to_its_end(learn, symbols, known):
    learn = replace(learn, symbols=symbols)
    x, target = (np.stack(part) for part in zip(*strings(), strict=True))
    x = x if symbols else np.stack([one_hot(one) for one in x])
    single, many = HostTrainer(REBER, learn), HostTrainer(REBER, learn)
    expected = sum(
        single.teach(*lesson, known) + single.end()
        for lesson in zip(x, target, strict=True)
    )
    assert many.batch(x, target, known and [known] * len(x)) == expected
    assert many.counters == single.counters
    assert many.checkpoint() == single.checkpoint()


@pytest.mark.parametrize("one", [256, -1, 2**40, True])
def test_a_step_is_known_by_any_integer_but_0(one):
    known, lessons = [one, 0, 0, one] + [0] * 5, strings(3)
    found = taught(HostTrainer(REBER, TBPTT), lessons, known)
    assert found == taught(HostTrainer(REBER, TBPTT), lessons, [k != 0 for k in known])
    assert found != taught(HostTrainer(REBER, TBPTT), lessons, [0] * 9)
    many = HostTrainer(REBER, TBPTT)
    many.batch(*(np.stack(part) for part in zip(*lessons, strict=True)), [known] * 3)
    assert many.blob() == found


def test_a_prepared_call_reads_x_and_targets_where_they_are():
    x, target = (np.stack(part) for part in zip(*strings(3), strict=True))
    target, known = target.astype(np.int16), np.ones((3, 9), bool)
    other = strings(3, seed=2)
    trainer = HostTrainer(REBER, TBPTT)
    call = trainer.prepared(x, target, known)
    x[:], target[:] = (np.stack(part) for part in zip(*other, strict=True))
    known[:] = False
    call()
    assert trainer.blob() == taught(HostTrainer(REBER, TBPTT), other)


def test_a_batch_stops_at_the_first_value_out_of_range():
    x, target = (np.stack(part) for part in zip(*strings(), strict=True))
    target[5, 3] = 7
    trainer = HostTrainer(REBER, TBPTT)
    taught(trainer, strings(2))  # it is the batch's sequence that is named
    trainer = HostTrainer(trainer.checkpoint(), None)
    says = "target of sequence 5 is out of range.*only the sequences before it"
    with pytest.raises(ValueError, match=says):
        trainer.batch(x, target)
    other = HostTrainer(REBER, TBPTT)
    taught(other, strings(2))
    assert trainer.blob() == taught(other, strings()[:5])
    for wrong in ((x[0], target), (x, target[:4]), (x, target, [1] * 9)):
        with pytest.raises(
            ValueError, match=r"of equal length|is not for 20 sequences"
        ):
            trainer.batch(*wrong)


def test_a_batch_of_targets_of_several_outputs():
    shape = Shape((Layer("lstm", 3, 4),), Readout(4, 2, "linear"))
    learn = Learn(loss="mse", k2=5)
    rng = np.random.default_rng(3)
    x = rng.integers(-9000, 9000, (6, 5, 3)).astype(np.int16)
    target = rng.integers(-900, 900, (6, 5, 2))
    many = HostTrainer(blob_of(shape), learn)
    assert many.batch(x, target) == 6
    lessons = zip(x, target, strict=True)
    assert many.blob() == taught(HostTrainer(blob_of(shape), learn), lessons)


def test_what_teach_returns_counts_updates():
    trainer = HostTrainer(REBER, replace(RTRL, k1=1))
    (x, target), *_ = strings()
    assert trainer.teach(x, target, [1, 0, 0, 0, 1, 0, 0, 0, 1]) == 3
    assert trainer.end() == 0
    at_end = HostTrainer(REBER, RTRL)
    assert at_end.teach(x, target) == 0
    assert at_end.end() == 1
    assert at_end.end() == 0


@pytest.mark.parametrize("learn", [RTRL, TBPTT])
def test_a_checkpoint_goes_on_as_if_nothing_had_happened(learn):
    whole = HostTrainer(REBER, learn)
    whole.rate(0, 0, "x", 1 << 17)
    before, after = strings()[:10], strings()[10:]
    taught(whole, before)
    (x, target), *rest = after
    whole.teach(x[:4], target[:4])
    resumed = HostTrainer(whole.checkpoint(), None)
    assert resumed.learn == whole.learn
    assert resumed.arena_bytes == whole.arena_bytes
    for trainer in (whole, resumed):
        trainer.teach(x[4:], target[4:])
        trainer.end()
        taught(trainer, rest)
    assert resumed.blob() == whole.blob()
    assert resumed.checkpoint() == whole.checkpoint()
    assert resumed.counters == whole.counters


def test_a_blob_without_training_cannot_be_resumed():
    with pytest.raises(BlobError, match="no training to go on with"):
        HostTrainer(REBER, None)


def test_a_damaged_blob_is_refused():
    damaged = bytearray(REBER)
    damaged[40] ^= 1
    with pytest.raises(BlobError, match="the C core refuses"):
        HostTrainer(bytes(damaged), RTRL)
    with pytest.raises(BlobError, match="the C core refuses"):
        train_bytes(bytes(damaged), RTRL)


def test_a_method_that_the_model_lacks_is_refused():
    rnn = blob_of(stack("rnn_tanh", (7, 4, 7), output="softmax"))
    with pytest.raises(ValueError, match="rtrl97 is for one layer of lstm97"):
        HostTrainer(rnn, RTRL)
    assert train_bytes(rnn, RTRL) is None
    with pytest.raises(ValueError, match="softmax outputs do not learn with mse"):
        HostTrainer(rnn, replace(TBPTT, loss="mse"))
    before = blob_of(stack("gru_reset_before", (7, 4, 7), output="softmax"))
    with pytest.raises(ValueError, match="rtrl97 is for one layer of lstm97"):
        HostTrainer(before, RTRL)
    shape = stack("gru", (7, 4, 7), output="softmax")
    backwards = replace(shape.layers[0], direction="reverse")
    with pytest.raises(ValueError, match="learns only in float"):
        HostTrainer(blob_of(replace(shape, layers=(backwards,))), TBPTT)


@pytest.mark.parametrize("learn", [RTRL, TBPTT])
def test_the_arena_is_known_beforehand(learn):
    assert train_bytes(REBER, learn) == HostTrainer(REBER, learn).arena_bytes
    longer = replace(TBPTT, k2=16)
    assert train_bytes(REBER, longer) > train_bytes(REBER, TBPTT)


@pytest.mark.parametrize(
    ("x", "target", "known", "text"),
    [
        ([7], [0], None, "out of range"),
        ([0], [7], None, "out of range"),
        ([0], [-1], None, "out of range"),
        ([0, 1], [0], None, r"targets are \(1,\), the model learns from \(2,\)"),
        ([0], [[0] * 7], None, "targets are"),
        ([0], [0.5], None, "float64"),
        ([0], [40000], None, "int16"),
        ([0], [0], [1, 1], "known is"),
        ([0], [0], [float("nan")], "known is float64, not bool"),
        ([0], [0], [1.0], "known is float64, not bool"),
        ([0], [0], ["1"], "known is <U1, not bool"),
        ([0.5], [0], None, "not symbols"),
        ([-1], [0], None, "not symbols"),
        ([[0] * 7], [0], None, "not symbols"),
    ],
)
def test_bad_lessons_change_nothing(x, target, known, text):
    trainer = HostTrainer(REBER, RTRL)
    taught(trainer, strings(3))
    before = trainer.checkpoint()
    with pytest.raises(ValueError, match=text):
        trainer.teach(x, target, known)
    assert trainer.checkpoint() == before


def test_bad_signals_are_refused():
    trainer = HostTrainer(REBER, replace(RTRL, symbols=False))
    with pytest.raises(ValueError, match="the model takes int16"):
        trainer.teach(np.zeros((3, 6), np.int16), [0, 0, 0])
    with pytest.raises(ValueError, match="the model takes int16"):
        trainer.teach(np.zeros((3, 7)), [0, 0, 0])


def test_a_factor_of_0_freezes_a_tensor():
    trainer = HostTrainer(REBER, RTRL)
    n_layers = 1
    trainer.rate(n_layers, 0, "h", 0)
    trainer.rate(0, 1, "b", 0)
    before, after = (parse(b) for b in (trainer.blob(), taught(trainer, strings())))
    shift = before.readout.exps[0] - after.readout.exps[0]
    assert shift == 0
    assert (after.readout.weights == before.readout.weights).all()
    assert (after.readout.biases != before.readout.biases).any()
    gates = before.layers[0], after.layers[0]
    assert gates[0].biases["o"][0] == gates[1].biases["o"][0]
    assert (gates[0].biases["i"] != gates[1].biases["i"]).any()


@pytest.mark.parametrize(
    ("layer", "gate", "part", "factor", "text"),
    [
        (0, 3, "x", 1, "no part"),
        (2, 0, "x", 1, "no part"),
        (1, 0, "x", 1, "no part"),  # no shortcuts
        (0, 2, "b", 1, "no part"),  # cells without biases
        (-1, 0, "x", 1, "no part"),
        (0, 0, "x", -1, "factor -1"),
        (0, 0, "x", 2**31, "factor 2147483648"),
        (0, 0, "y", 1, "one of x, h, b"),
    ],
)
def test_bad_factors_are_refused(layer, gate, part, factor, text):
    with pytest.raises(ValueError, match=text):
        HostTrainer(REBER, RTRL).rate(layer, gate, part, factor)


def test_tune_changes_the_rate_and_refuses_the_method():
    trainer = HostTrainer(REBER, RTRL)
    slower = replace(RTRL, rate_q24=1 << 20, clip_q16=1 << 15, frozen=1)
    trainer.tune(slower)
    assert trainer.learn == slower
    before, after = (parse(b) for b in (trainer.blob(), taught(trainer, strings())))
    assert (before.layers[0].weights["g"] == after.layers[0].weights["g"]).all()
    with pytest.raises(ValueError, match="only frozen, rate"):
        trainer.tune(TBPTT)
    assert trainer.learn == slower


# ---- running many sequences ----------------------------------------------


@pytest.mark.parametrize("output", ["linear", "logistic", "softmax"])
def test_a_runner_gives_the_integers_of_the_integer_model(output):
    rng = np.random.default_rng(3)
    model = random_qmodel(rng, cell="lstm", output=output)
    runner, reference = HostRunner(pack(model)), IntModel(model)
    for steps in (1, 6, 3):
        x = rng.integers(-32768, 32768, (steps, model.shape.n_in)).astype(np.int16)
        trace = reference.run(x[None])
        assert (runner.y(x) == trace.y[0]).all()
        assert (runner.logits(x) == trace.logits[0]).all()
        assert (runner.y(x, last=True) == trace.y[0, -1]).all()
        assert (runner.logits(x, last=True) == trace.logits[0, -1]).all()
    assert (runner.y_exp, runner.logit_exp) == (model.y_exp, model.logit_exp)


def test_a_runner_without_a_readout():
    shape = Shape((Layer("rnn_relu", 3, 4),))
    model = parse(blob_of(shape))
    runner = HostRunner(pack(model))
    x = np.random.default_rng(0).integers(0, 9999, (5, 3)).astype(np.int16)
    expected = IntModel(model).run(x[None]).y[0]
    assert (runner.y(x) == expected).all()
    assert (runner.logits(x, last=True) == expected[-1]).all()


def test_a_stream_goes_on_where_it_was():
    x, _ = strings(1, steps=40)[0]
    runner = HostRunner(REBER)
    whole = runner.logits(x)
    parts = [runner.logits(part, fresh=k == 0) for k, part in enumerate(np.split(x, 8))]
    assert (np.concatenate(parts) == whole).all()
    assert (runner.logits(x[5:10]) == runner.logits(x[5:10])).all()
    assert not (runner.logits(x[5:10]) == parts[1]).all()


def test_symbols_are_their_one_hot_inputs_and_values_are_signals():
    x, _ = strings(1)[0]
    runner = HostRunner(REBER)
    assert (runner.y(x) == runner.y(one_hot(x))).all()
    assert (runner.y(x) == runner.y(one_hot(x) / 16384.0)).all()


def test_values_pass_the_input_scaling():
    rng = np.random.default_rng(5)
    model = random_qmodel(rng, cell="lstm", scaling=True)
    x = rng.uniform(-1, 1, (4, model.shape.n_in))
    runner = HostRunner(pack(model))
    assert (runner.y(x) == runner.y(to_signals(model, x)[0])).all()


@pytest.mark.parametrize(
    "x",
    [
        np.array([7], np.uint16),
        np.array([], np.uint16),
        np.zeros((2, 6), np.int16),
        np.zeros((0, 7), np.int16),
        np.zeros((2, 7), np.int32),
        np.zeros(3, np.int64),
    ],
)
def test_a_runner_refuses_other_inputs(x):
    with pytest.raises(ValueError, match=r"not below 7|not uint16 symbols|a step at"):
        HostRunner(REBER).y(x)


def test_a_checkpoint_runs_as_its_blob_does():
    trainer = HostTrainer(REBER, RTRL)
    taught(trainer, strings())
    x, _ = strings(1)[0]
    first, second = HostRunner(trainer.blob()), HostRunner(trainer.checkpoint())
    assert (first.y(x) == second.y(x)).all()
    assert not (first.y(x) == HostRunner(REBER).y(x)).all()


def test_fields_of_1997_train_with_shortcuts():
    """A linear task with MSE and dense inputs: the loss falls."""
    fields = Fields("4s-2", "identity", False, False, recurrent=False)
    layer = Layer("lstm97", 3, 2, fields=fields)
    blob = blob_of(Shape((layer,), Readout(2, 2, "linear", 3)))
    learn = Learn(method="rtrl97", loss="mse", k1=1, rate_q24=1 << 21)
    trainer = HostTrainer(blob, learn)
    rng = np.random.default_rng(0)
    x = rng.integers(-9000, 9000, (40, 3)).astype(np.int16)
    target = (x[:, :2] // 16).astype(np.int16)
    losses = []
    for _ in range(60):
        total = 0
        for k in range(40):
            trainer.teach(x[k : k + 1], target[k : k + 1])
            total += trainer.loss_q16
            assert trainer.loss_q16 == trainer.counters.loss_q16
        trainer.end()
        losses.append(total)
    assert losses[-1] < 0.3 * losses[0]


def test_biases_that_reach_their_limit_make_their_gates_fall():
    """Nothing but biases learns from x of zeros, while h stays near 0."""
    shape = stack("rnn_tanh", (2, 3, 2), output="linear")
    params = init_params(shape, np.random.default_rng(0), scale=0.01)
    blob = pack(quantize(shape, params, weight_bits=16))
    learn = Learn("tbptt", loss="mse", k2=2, rate_q24=1 << 22, clip_q16=1 << 16)
    integers, host = IntTrainer(blob, learn), HostTrainer(blob, learn)
    x, far = np.zeros((2, 2), np.int16), np.full((2, 2), 32767, np.int16)
    for _ in range(40):
        for trainer in (integers, host):
            trainer.teach(x, far, np.ones(2, bool))
            trainer.end()
    assert host.counters.falls == integers.counters.falls > 3
    assert host.blob() == integers.blob()
