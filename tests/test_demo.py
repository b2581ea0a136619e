"""The main job, whole: it says yes only when every bit agrees."""

import json
import sys
import threading
import time

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from pyvgrad import cli, demo
from pyvgrad.errors import DeviceError
from pyvgrad.grad import logits_of
from pyvgrad.native import HostExecutor
from pyvgrad.onnx_run import OnnxExecutor

QUICK = ("numpy", "host", "onnx", "m0", "m33")  # all six: python3 tools/demo.py


class Quiet:
    def note(self, text):
        pass

    def update(self, label, done, total, extra=""):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def outcomes(folder):
    return demo.run_demo(folder, Quiet(), QUICK)


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
    outcomes, folder, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(demo, "solve", refuse)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    again = demo.run_demo(folder, Quiet(), ("numpy",))
    assert [o.solution.blob for o in again] == [o.solution.blob for o in outcomes]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_the_command_reports_and_writes_a_page(outcomes, folder, monkeypatch, capsys):
    args = ["pyvgrad", "demo", "-o", str(folder), "--on", "host,m0", "--json"]
    monkeypatch.setattr(sys, "argv", args)
    with pytest.raises(SystemExit) as end:
        cli.main()
    found = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert set(found) == {"agreement", "float_error", "success", "sizes", "files"}
    error = found["float_error"]["embedded-reber"]
    assert error["total"]["effective_bits"] > 12
    assert found["success"]["embedded-reber"]["right"] == {"host": 512, "m0": 512}
    assert found["sizes"]["embedded-reber"]["m0"]["stack"] > 0
    page = (folder / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "embedded Reber" in page


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
def test_one_wrong_bit_is_exit_1(outcomes, folder, monkeypatch, capsys, executor):
    honest = executor.run

    def wrong(self, x, *, states=False):
        y, logits, images = honest(self, x, states=states)
        y = y.copy()
        y[0, 0] ^= 1
        return y, logits, images

    monkeypatch.setattr(executor, "run", wrong)
    on = "host,onnx"
    args = ["pyvgrad", "demo", "-o", str(folder), "--on", on]
    monkeypatch.setattr(sys, "argv", args)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert "differ" in capsys.readouterr().out


def test_a_missing_emulator_is_said_before_the_training(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("trained first")

    monkeypatch.setattr(demo, "solve", refuse)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match="install qemu-system-arm"):
        demo.run_demo(tmp_path, Quiet(), ("host", "m4"))
