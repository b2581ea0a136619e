"""The main job, whole: it says yes only when every bit agrees."""

import dataclasses
import json
import re
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from pyvgrad import cli, demo, demo_learn
from pyvgrad.blob import pack, parse
from pyvgrad.errors import DeviceError
from pyvgrad.firmware import FIRMWARE, RUNNING
from pyvgrad.grad import logits_of
from pyvgrad.native import HostExecutor
from pyvgrad.native_train import HostTrainer
from pyvgrad.onnx_run import OnnxExecutor

QUICK = ("numpy", "host", "onnx", "m0", "m33")  # all six: python3 tools/demo.py


class Quiet:
    def note(self, text):
        pass

    def update(self, label, done, total, extra=""):
        pass


class Heard(Quiet):
    def __init__(self):
        self.said = []

    def update(self, label, done, total, extra=""):
        self.said.append((label, done, total, extra))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def outcomes(folder):
    return demo.run_demo(folder, Quiet(), QUICK)


@pytest.fixture(scope="module")
def heard():
    return Heard()


@pytest.fixture(scope="module")
def learning(folder, heard):
    return demo_learn.learn_everywhere(folder, heard, QUICK)


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """Run ``pyvgrad demo`` in the folder: (exit code, stdout)."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["pyvgrad", "demo", "-o", str(folder), *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().out

    return run


def test_all_integers_agree_and_every_string_is_right(outcomes):
    assert [o.demo.name for o in outcomes] == ["embedded-reber", "reber", "long-lag"]
    for o in outcomes:
        assert o.agreement.differing == dict.fromkeys(QUICK, 0)
        assert o.agreement.values > 0
        assert {p.right for p in o.places} == {len(o.sequences)}
    assert [len(o.sequences) for o in outcomes] == [512, 512, 2]


def test_the_float_file_is_the_jax_model_within_1e_5(outcomes, folder):
    for o in outcomes:
        path = folder / f"{o.demo.name}.float.onnx"
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(path)
        x = o.sequences.x.astype(np.float32)
        [logits] = session.run(["logits"], {"x": x})
        params = jax.tree.map(np.float32, o.solution.result.params)
        expected = np.asarray(logits_of(o.solution.model.shape, params, x))
        mask = o.sequences.mask
        np.testing.assert_allclose(logits[mask], expected[mask], rtol=0, atol=1e-5)


def test_the_exact_file_streams_with_state_through_its_inputs(outcomes, folder):
    o = outcomes[0]
    session = onnxruntime.InferenceSession(folder / f"{o.demo.name}.exact.onnx")
    x = (o.sequences.x[:1] * 16384).astype(np.int16)
    names = [out.name for out in session.get_outputs()]
    whole = dict(zip(names, session.run(None, {"x": x}), strict=True))
    feeds, steps = {}, []
    for t in range(int(o.sequences.lengths[0])):
        now = session.run(None, feeds | {"x": x[:, t : t + 1]})
        out = dict(zip(names, now, strict=True))
        steps.append(out["logits"][0, 0])
        feeds = {f"{n}_in": out[n] for n in names if n not in ("y", "logits")}
    end = len(steps)
    assert (np.array(steps) == whole["logits"][0, :end]).all()
    assert (whole["logits"][0, :end] == o.trace.logits[0, :end]).all()


def test_a_second_run_trains_nothing_and_gives_the_same_files(
    outcomes, learning, folder, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(demo, "solve", refuse)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    again = demo.run_demo(folder, Quiet(), ("numpy",))
    assert [o.solution.blob for o in again] == [o.solution.blob for o in outcomes]
    learnt = demo_learn.learn_everywhere(folder, Quiet(), ("numpy",))
    assert learnt.host == learning.host
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_the_command_reports_and_writes_a_page(outcomes, learning, folder, command):
    code, out = command("--on", "host,m0", "--json")
    found = json.loads(out)
    assert code == 0
    contract = {"agreement", "float_error", "success", "sizes", "files"}
    assert set(found) == contract | {"learning"}
    error = found["float_error"]["embedded-reber"]
    assert error["total"]["effective_bits"] > 12
    assert found["success"]["embedded-reber"]["right"] == {"host": 512, "m0": 512}
    sizes = found["sizes"]["embedded-reber"]["m0"]
    assert sizes["stack"] > 0
    learnt = found["learning"]
    assert learnt == learning.as_dict() | {
        "on": {k: v for k, v in learning.as_dict()["on"].items() if k != "m33"}
    }
    flash = sizes["library_flash"] + sizes["learning_flash"]
    assert learnt["on"]["m0"]["flash"] == flash
    assert f"{folder}/embedded-reber.learnt.vg" in found["files"]
    page = (folder / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "embedded Reber" in page
    assert '<section id="learning">' in page
    assert learnt["blob_crc"] in page


# ---- learning on the boards ------------------------------------------------


def test_boards_learn_what_the_host_learns_in_10_kilobytes(learning):
    assert [p.name for p in learning.learners] == ["host", "m33", "m0"]
    host = learning.host
    assert host.learn.method == "rtrl97"
    assert host.learn.symbols
    assert learning.ok
    for p in learning.learners:
        assert p.equal
        assert p.result.success
        assert p.result.blob == host.blob == learning.file.read_bytes()
        assert p.result.sequences == host.sequences
        assert p.result.arena_bytes == host.arena_bytes <= 10 << 10
        assert p.result.counters == host.counters


def test_the_curve_ends_with_every_string_right_and_not_before(learning):
    assert len(learning.right) == len(learning.curve)
    assert learning.right[-1] == 1
    assert max(learning.right[:-1]) < 1
    assert learning.right[0] < 0.1
    for share, point in zip(learning.right, learning.curve, strict=True):
        assert 512 * share >= point.right
    assert learning.curve[-1].loss < learning.curve[0].loss


def test_a_live_line_tells_sequences_loss_and_clipping(learning, heard):
    n = learning.host.sequences
    for name in ("host", "m33", "m0"):
        lines = [said for said in heard.said if said[0] == f"learning on {name}"]
        assert [done for _, done, _, _ in lines] == list(range(100, n + 1, 100))
        for _, _, _, extra in lines:
            assert re.fullmatch(r"loss \d+\.\d{4}, \d+% clipped", extra)


def test_a_board_that_learns_something_else_is_exit_1(outcomes, command, monkeypatch):
    class Other(HostTrainer):
        def __init__(self, blob, learn, on):
            super().__init__(blob, learn)

        def blob(self):
            model = parse(super().blob())
            if self.counters.sequences == 2300:
                model.readout.weights[0, 0] ^= 1
            return pack(model)

    monkeypatch.setattr("pyvgrad.device_train.DeviceTrainer", Other)
    code, out = command("--on", "host,m0")
    assert code == 1
    assert "seed 0: the weights differ on m0." in out
    assert "learnt weights differ" in out.splitlines()[-2]


def test_what_is_not_learnt_is_exit_1(outcomes, command, monkeypatch):
    recipe = dataclasses.replace(demo_learn.RECIPES["embedded-reber"], limit=200)
    monkeypatch.setitem(demo_learn.RECIPES, "embedded-reber", recipe)
    code, out = command("--on", "host")
    assert code == 1
    assert "seed 0: not within 200 sequences." in out
    assert "not learnt" in out


def test_flash_for_running_is_of_objects_that_need_no_other(tmp_path):
    """And those that learn are all the rest, but for the slots."""
    sources = {p.stem: p for p in (FIRMWARE / "lib/vgrad/src").glob("*.c")}
    learn = {
        name
        for name, path in sources.items()
        if re.search(r'#include "(train|tape|update|sgd)\.h"', path.read_text())
    }
    assert RUNNING | learn | {"slots"} == set(sources)
    assert not RUNNING & learn
    objects = []
    for name in sorted(RUNNING):
        objects.append(tmp_path / f"{name}.o")
        include = f"-I{FIRMWARE / 'lib/vgrad/include'}"
        command = ["cc", "-std=c99", include, "-c", sources[name], "-o", objects[-1]]
        subprocess.run(command, check=True)
    said = subprocess.run(["nm", *objects], capture_output=True, text=True, check=True)
    symbols = re.findall(r"([A-Za-z]) (vg_\w+)$", said.stdout, re.MULTILINE)
    defined = {name for kind, name in symbols if kind != "U"}
    assert "vg_run_step" in defined
    assert {name for _, name in symbols} == defined


@pytest.mark.parametrize("wrong", [DeviceError("no tool"), RuntimeError("a bug")])
def test_a_failed_build_of_the_firmware_is_raised(folder, outcomes, monkeypatch, wrong):
    def fail(env):
        raise wrong

    monkeypatch.setattr(demo, "build", fail)
    with pytest.raises(type(wrong), match=str(wrong)):
        demo.run_demo(folder, Quiet(), ("m0",))


def test_an_interrupted_training_starts_no_further_build(tmp_path, monkeypatch):
    built, interrupted = [], threading.Event()

    def build(env):
        built.append(env)
        assert interrupted.wait(10)

    def train_one(*args):
        while not built:
            time.sleep(0.01)
        threading.Timer(0.2, interrupted.set).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "build", build)
    monkeypatch.setattr(demo, "train_one", train_one)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path, Quiet(), ("m0", "m3", "m4"))
    assert built == ["qemu_m0"]


@pytest.mark.parametrize("executor", [HostExecutor, OnnxExecutor])
def test_one_wrong_bit_is_exit_1(outcomes, command, monkeypatch, executor):
    honest = executor.sequences

    def wrong(self, x, lengths=None, *, states=False):
        for passed in honest(self, x, lengths, states=states):
            y = passed.y.copy()
            y[0, 0] ^= 1
            yield passed._replace(y=y)

    monkeypatch.setattr(executor, "sequences", wrong)
    code, out = command("--on", "host,onnx")
    assert code == 1
    assert "models differ" in out


def test_a_missing_emulator_is_said_before_the_training(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("trained first")

    monkeypatch.setattr(demo, "solve", refuse)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match="install qemu-system-arm"):
        demo.run_demo(tmp_path, Quiet(), ("host", "m4"))
