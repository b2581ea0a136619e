"""Whole sequences through models with a reversed layer, on emulated cores."""

import json
import subprocess
import sys

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from test_device import with_ballast

from pyvgrad import Model
from pyvgrad.blob import pack
from pyvgrad.cells import MODES
from pyvgrad.device import Device
from pyvgrad.errors import BlobError, DeviceError
from pyvgrad.intmodel import NumpyExecutor

CORES = ("m0", "m4")
KINDS = {"gru": "both", "lstm": "reverse"}


def drawn(mode, cell="gru", seed=1, **fixed):
    """A blob and raw x (T, n_in); y is a softmax, which the logits are not."""
    rng = np.random.default_rng(seed)
    fixed = {"n_layers": 2, "n_in": 3, "output": "softmax", "n_out": 4} | fixed
    model = random_qmodel(
        rng, cell=cell, whole=KINDS[cell], mode=mode, **fixed, layout="any"
    )
    return pack(model), random_signals(rng, (40, 3))


def assert_same(device, expected, x):
    """One sequence gives y, logits, the state and the clamps of the other."""
    got, want = device.run(x, states=True), expected.run(x, states=True)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert device.state == expected.state == want[2].tobytes()
    assert device.saturated == expected.saturated


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", KINDS)
def test_sequences_one_after_the_other_give_the_specified_integers(core, mode, cell):
    blob, x = drawn(mode, cell)
    expected = NumpyExecutor(blob)
    with Device(blob, core) as device:
        assert device.whole
        for part in (x, x[:1], x[7:20]):
            assert_same(device, expected, part)
        device.reset()
        expected.reset()
        assert_same(device, expected, x[:5])
        assert device.run(x[:2])[2] is None


@pytest.mark.parametrize("core", CORES)
def test_a_sequence_goes_on_from_a_state_that_was_set(core):
    blob, x = drawn("final", "lstm")
    expected = NumpyExecutor(blob)
    expected.run(x)
    with Device(blob, core) as device:
        device.run(x[:9])
        device.state = expected.state
        with pytest.raises(BlobError):
            device.state = bytes(len(expected.state))
        assert_same(device, expected, x)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_no_sequence_is_refused_and_changes_nothing(mode):
    blob, x = drawn(mode)
    with Device(blob, "m0") as device:
        device.run(x)
        before = device.state
        with pytest.raises(ValueError, match="a step at least"):
            device.run(x[:0])
        with pytest.raises(ValueError, match="not single steps"):
            device.step(x[0])
        with pytest.raises(ValueError, match="the model takes int16"):
            device.run(x[:, :2])
        assert device.state == before


@pytest.mark.parametrize("core", CORES)
def test_a_sequence_too_long_for_ram_is_refused_and_changes_nothing(core):
    blob, x = drawn("sequence")
    expected = NumpyExecutor(blob)
    with Device(blob, core) as device:
        assert_same(device, expected, x)
        for steps in (300, 1 << 22) if core == "m0" else (1 << 22,):
            with pytest.raises(DeviceError, match=f"{steps} steps needs more RAM than"):
                device.run(np.zeros((steps, 3), np.int16))
            assert_same(device, expected, x)


def test_a_blob_makes_room_for_a_sequence_by_going_into_flash():
    blob, x = drawn("sequence")
    blob = with_ballast(blob, 8000)
    expected, long = NumpyExecutor(blob), np.tile(x, (4, 1))[:132]  # two lines of x
    with Device(blob, "m0") as device:
        assert_same(device, expected, x[:2])
        ram = device.sizes()["flash"]
        assert_same(device, expected, long)
        assert device.sizes()["flash"] > ram + 8000
        assert_same(device, expected, x)


@pytest.mark.parametrize("mode", MODES)
def test_model_runs_on_a_core_as_on_the_host(mode, tmp_path):
    blob, x = drawn(mode, scaling=False)
    path = tmp_path / "M.vg"
    path.write_bytes(blob)
    values = x / 2.0**14
    with Model.open(path) as desk, Model.open(path, on="m4") as board:
        y = board.run(values)
        assert y.shape == ((40, 4) if mode == "sequence" else (4,))
        assert np.array_equal(y, desk.run(values))


def test_commands_run_and_verify_whole_sequences_everywhere(tmp_path):
    blob, x = drawn("final", scaling=False)
    (tmp_path / "M.vg").write_bytes(blob)
    np.savez(tmp_path / "X.npz", x=x.reshape(4, 10, 3) / 2.0**14)

    def pyvgrad(*words):
        command = [sys.executable, "-m", "pyvgrad", *words, "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    found = pyvgrad("verify", "M.vg", "--x", "X.npz", "--on", "all")
    names = ("numpy", "host", "onnx", "m0", "m3", "m4", "m7", "m33", "m55")
    assert found["differing"] == dict.fromkeys(names, 0)
    for on in ("host", "m4"):
        pyvgrad("run", "M.vg", "X.npz", "-o", f"{on}.npz", "--on", on)
    outputs = [np.load(tmp_path / f"{on}.npz")["raw"] for on in ("host", "m4")]
    assert outputs[0].shape == (4, 4)
    assert np.array_equal(*outputs)
