"""Agreement: every executor gives the same integers, and a broken one is found."""

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from random_models import qmodels, random_qmodel

from pyvgrad.accuracy import Error, accuracy
from pyvgrad.blob import pack
from pyvgrad.cells import MODES, Shape
from pyvgrad.dequantize import dequantize
from pyvgrad.executors import CORES, open_executor
from pyvgrad.model import init_params
from pyvgrad.native import HostExecutor
from pyvgrad.nets import stack
from pyvgrad.onnx_build import write
from pyvgrad.onnx_export import export_float
from pyvgrad.quantize import quantize
from pyvgrad.verify import Difference, agree, random_inputs

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))


@given(qmodels(layout="any"))
@settings(max_examples=150, deadline=None)
def test_the_c_core_equals_the_integer_model_on_any_model(model):
    found = agree(pack(model), random_inputs(model, 4, 12), on=["host"])
    assert found.ok, str(found.first)


@pytest.mark.parametrize("seed", range(6))
def test_extreme_weights_and_inputs_agree_on_host_and_onnx(seed):
    rng = np.random.default_rng(seed)
    model = random_qmodel(rng, extreme=True, layout="any")
    size = (3, 20, model.shape.n_in)
    x = rng.choice(np.array([-32768, 32767], np.int16), size)
    found = agree(pack(model), x, on=["host", "onnx"])
    assert found.ok, str(found.first)


@pytest.mark.parametrize("mode", MODES)
def test_whole_sequences_agree_on_host_and_onnx(mode):
    for seed in range(4):
        rng = np.random.default_rng([seed, 5])
        model = random_qmodel(rng, whole=True, mode=mode, layout="any")
        lengths = rng.integers(1, 8, 4)
        x = random_inputs(model, 4, 7)
        found = agree(pack(model), x, lengths, on=["numpy", "host", "onnx"])
        assert found.ok, str(found.first)


@pytest.mark.parametrize("core", CORES)
def test_an_emulated_core_equals_the_integer_model(core):
    rng = np.random.default_rng(7)
    for cell in ("lstm", "lstm97", "rnn_relu"):
        model = random_qmodel(rng, cell=cell, layout="any")
        found = agree(pack(model), random_inputs(model, 3, 6), on=[core])
        assert found.ok, str(found.first)


@pytest.mark.parametrize("core", ["m0", "m4"])
@pytest.mark.parametrize("mode", MODES)
def test_whole_sequences_agree_on_an_emulated_core(core, mode):
    for seed, output in enumerate(("softmax", "linear", "none")):
        rng = np.random.default_rng([seed, 6])
        model = random_qmodel(
            rng, whole=True, mode=mode, output=output, n_in=2, layout="any"
        )
        x, lengths = random_inputs(model, 3, 5), np.array([5, 1, 4])
        found = agree(pack(model), x, lengths, on=[core])
        assert found.ok, str(found.first)


def test_steps_behind_a_sequences_end_are_not_compared():
    model = random_qmodel(np.random.default_rng(1), cell="lstm")
    x = random_inputs(model, 3, 10)
    found = agree(pack(model), x, np.array([10, 4, 1]))
    whole = agree(pack(model), x)
    assert (found.steps, whole.steps) == (15, 30)
    assert found.values * 2 == whole.values


@pytest.fixture(scope="module")
def broken_core(tmp_path_factory):
    """The core with a kernel that reads the last bit of the seventh column as 1."""
    from build_native import LIB, build

    folder = tmp_path_factory.mktemp("broken")
    lib = Path(shutil.copytree(LIB, folder / "vgrad"))
    kernel = lib / "src" / "dot_c.h"
    text = kernel.read_text()
    broken = text.replace("(int32_t)w[j] * z[j]", "(int32_t)w[j] * (z[j] | (j == 6))")
    assert broken != text
    kernel.write_text(broken)
    path = build(
        folder, name="broken_core", lib_dir=lib, defines=[("VG_PORTABLE", None)]
    )
    spec = importlib.util.spec_from_file_location("broken_core", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def first_difference(model, x, broken_core):
    """By single steps, from a saved state to the next: c of layer 1 comes first."""
    right, broken = (HostExecutor(pack(model), m) for m in (None, broken_core))
    for n, t in np.ndindex(*x.shape[:2]):
        if t == 0:
            right.reset()
            broken.reset()
        right.step(x[n, t])
        broken.step(x[n, t])
        size = model.layers[0].layer.n
        want, got = (np.frombuffer(e.state, "<i4", size, 8) for e in (right, broken))
        for unit in np.flatnonzero(want != got):
            values = int(want[unit]), int(got[unit])
            return Difference("broken", "layer 1 c", n, t, int(unit), *values)
    return None


def test_a_broken_kernel_is_found_and_located(broken_core):
    model = random_qmodel(np.random.default_rng(3), cell="lstm")
    rng = np.random.default_rng(4)
    x = rng.integers(-8000, 8000, (4, 12, model.shape.n_in)).astype(np.int16) & ~1

    def opener(blob, name):
        if name == "broken":
            return HostExecutor(blob, broken_core)
        return open_executor(blob, name)

    found = agree(pack(model), x, on=["host", "broken"], opener=opener)
    assert found.differing["host"] == 0
    assert found.differing["broken"] > 0
    assert found.first == first_difference(model, x, broken_core)
    where = found.first
    assert str(where) == (
        f"broken: sequence {where.sequence}, step {where.step}, layer 1 c of unit "
        f"{where.unit} is {where.got}, not {where.expected}"
    )


def test_arithmetic_error_is_zero_for_exact_integers_and_counts_in_lsb():
    error = np.array([0.0, 2.0**-13, -(2.0**-14)])
    found = Error.of(error, 14, 2.0)
    assert (found.max_lsb, found.mean_lsb) == (2.0, 1.0)
    rms = np.sqrt(5 / 3) * 2.0**-14
    assert found.effective_bits == pytest.approx(np.log2(2 / (rms * np.sqrt(12))))
    assert Error.of(np.zeros(3), 14, 2.0).effective_bits is None


def test_accuracy_names_the_signal_and_both_references(tmp_path):
    model = random_qmodel(np.random.default_rng(5), cell="lstm", output="softmax")
    x = random_inputs(model, 3, 8)
    path = tmp_path / "m.float.onnx"
    write(path, export_float(model.shape, dequantize(model)))
    found = accuracy(model, x, np.array([8, 8, 8]), path)
    assert found["arithmetic"]["signal"] == "logits"
    # the trained model is here the dequantized one, in float32
    total, arithmetic = found["total"], found["arithmetic"]
    assert total["max_lsb"] == pytest.approx(arithmetic["max_lsb"], rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_accuracy_of_whole_sequences_looks_at_the_outputs_that_are_meant(
    mode, tmp_path
):
    shape = stack("gru", (3, 4, 2), output="linear")
    halves = [
        replace(shape.layers[0], direction=d) for d in ("forward-half", "reverse-half")
    ]
    shape = Shape(tuple(halves), replace(shape.readout, n_in=8), mode)
    params = init_params(shape, np.random.default_rng(2), scale=0.5)
    path = tmp_path / "m.float.onnx"
    write(path, export_float(shape, params))
    x = np.random.default_rng(1).integers(-(2**14), 2**14, (3, 9, 3)).astype(np.int16)
    found = accuracy(quantize(shape, params), x, np.array([9, 5, 1]), path)
    for reference in ("arithmetic", "total"):
        assert 0 < found[reference]["max_lsb"] < 4
    assert "layer 2 h" in found["arithmetic"]["signals"]
