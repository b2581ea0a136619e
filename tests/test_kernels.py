"""Every kernel gives the same bits: the cells and the rules of learning with each.

Layers are larger here than elsewhere, so that vectors are filled and have rests.
"""

import importlib
import importlib.util
import platform
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from test_learn_agreement import GRID, grid_settings, random_steps, values_near_one
from tool_modules import load

from pyvgrad.blob import pack
from pyvgrad.cells import CELLS
from pyvgrad.errors import BlobError
from pyvgrad.icount import count_steps, count_training
from pyvgrad.intlearn import IntTrainer
from pyvgrad.intmodel import NumpyExecutor
from pyvgrad.learning import Learn
from pyvgrad.model import init_params
from pyvgrad.native import HostExecutor
from pyvgrad.native_train import HostTrainer
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize
from pyvgrad.verify import agree, random_inputs

HOSTS = ("portable", "small", "sse2", "avx2")
CORES = {
    **dict.fromkeys(("m0", "m3", "m4", "m55"), ()),
    "m4-portable": ("-DVG_PORTABLE",),
    "m4-small": ("-DVG_FAST=0",),
    "m0-small": ("-DVG_FAST=0",),
}
DEFINES = {"portable": ("VG_PORTABLE", None), "small": ("VG_FAST", "0")}


@pytest.fixture(scope="module", params=HOSTS)
def host(request, tmp_path_factory):
    """A build of the core for this machine with the kernels of a name."""
    if request.param in DEFINES:
        name = f"{request.param}_core"
        folder = tmp_path_factory.mktemp(name)
        build = load("build_native").build
        path = build(folder, name=name, defines=[DEFINES[request.param]])
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    module = importlib.import_module("pyvgrad._vgrad")
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs x86-64")
    if request.param == "avx2":
        if not module.lib.vg_has_avx2():
            pytest.skip("this processor has no AVX2")
        return importlib.import_module("pyvgrad._vgrad_avx2")
    return module


def large_model(cell, seed):
    """A random model with up to 20 units a layer, every third one extreme."""
    rng = np.random.default_rng([seed, list(CELLS).index(cell)])
    n_in = int(rng.integers(1, 20))
    model = random_qmodel(
        rng, cell=cell, n_in=n_in, n_max=20, n_out=9, extreme=seed % 3 == 2
    )
    return model, rng


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_runs_on_the_host(host, cell):
    for seed in range(9):
        model, _ = large_model(cell, seed)
        x = random_inputs(model, 3, 8)
        found = agree(
            pack(model), x, on=["host"], opener=lambda b, _: HostExecutor(b, host)
        )
        assert found.ok, str(found.first)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_runs_on_a_core(core, cell):
    for seed in range(2):
        model, rng = large_model(cell, seed)
        x = random_signals(rng, (5, model.shape.n_in))
        _, y = count_steps(pack(model), x, core.partition("-")[0], CORES[core])
        with NumpyExecutor(pack(model)) as integers:
            assert np.array_equal(integers.run(x)[0], y), seed


@cache
def place_of_the_grid(place):
    """A blob of one layer of 11 units, its settings, lessons and NumPy's blob."""
    method, rule, cell, output, loss = GRID[place]
    rng = np.random.default_rng([place, 3])
    learn = grid_settings(rng, method, rule, loss)
    shape = stack(cell, (5, 11, 3), output=output)
    params = init_params(shape, rng, scale=0.5)
    model = quantize(shape, params, weight_bits=16)
    lessons = [
        values_near_one(rng, model, random_steps(rng, model, learn)) for _ in range(3)
    ]
    blob = pack(model)
    return blob, learn, lessons, taught(IntTrainer(blob, learn), lessons)


def taught(trainer, lessons):
    """What a trainer's blob is after the lessons."""
    for x, target, known in lessons:
        trainer.teach(x, target, known)
        trainer.end()
    return trainer.blob()


@pytest.mark.parametrize("place", range(len(GRID)))
def test_learning_on_the_host(host, place):
    blob, learn, lessons, expected = place_of_the_grid(place)
    assert taught(HostTrainer(blob, learn, host), lessons) == expected != blob


@cache
def tapes_of_16(size):
    """A blob, its settings, lessons of 16 steps, and NumPy's blob after them.

    ``size`` of targets: so large that errors do not fit into a piece, or small.
    """
    shape = stack("lstm", (19, 11, 3), output="linear")
    rng = np.random.default_rng(size)
    model = quantize(shape, init_params(shape, rng, scale=0.5), weight_bits=16)
    learn = Learn("tbptt", loss="mse", k2=16, rate_q24=1 << 20, clip_q16=1 << 16)
    lessons = [
        (
            rng.integers(-16384, 16385, (16, 19)).astype(np.int16),
            rng.integers(-size, size + 1, (16, 3)).astype(np.int16),
            np.ones(16, bool),
        )
        for _ in range(3)
    ]
    blob = pack(model)
    return blob, learn, lessons, taught(IntTrainer(blob, learn), lessons)


@pytest.mark.parametrize("size", [1 << 10, 32767])
def test_learning_from_tapes_of_16_on_the_host(host, size):
    blob, learn, lessons, expected = tapes_of_16(size)
    assert taught(HostTrainer(blob, learn, host), lessons) == expected != blob


@pytest.mark.parametrize("core", CORES)
def test_learning_on_a_core(core):
    for place in range(len(GRID)):
        blob, learn, *_ = place_of_the_grid(place)
        learn = replace(learn, symbols=False)
        rng = np.random.default_rng(place)
        x = rng.integers(-(1 << 14), 1 << 14, (2, 4, 5)).astype(np.int16)
        target = rng.integers(0, 3, (2, 4)).astype(np.int16)
        if GRID[place][3] != "softmax":
            target = rng.integers(0, 1 << 14, (2, 4, 3)).astype(np.int16)
        _, sealed = count_training(
            blob, learn, x, target, core.partition("-")[0], CORES[core]
        )
        known = np.ones(4, bool)
        lessons = [(x[k], target[k], known) for k in range(2)]
        expected = taught(HostTrainer(blob, learn), lessons)
        assert sealed == expected != blob, GRID[place]


@pytest.mark.parametrize("core", ["m0", "m3", "m4"])
@pytest.mark.parametrize("h_exp", [0, 6, 11, 12, 14])
def test_sources_of_any_exponent_give_the_host_s_gradients(h_exp, core):
    """A kernel along the tape takes pieces of errors only from an exponent on."""
    rng = np.random.default_rng(h_exp)
    learn = Learn("tbptt", loss="mse", k2=16, rate_q24=1 << 20, clip_q16=1 << 20)
    x = rng.integers(-32768, 32768, (4, 16, 5)).astype(np.int16)
    target = rng.integers(-4096, 4096, (4, 16, 2)).astype(np.int16)
    moved = 0
    while moved < 3:
        kind = {"cell": "rnn_relu", "n_layers": 1, "n_in": 5, "n_max": 6, "n_out": 2}
        kind |= {"output": "linear", "mode": "sequence", "scaling": False}
        model = random_qmodel(rng, **kind)
        model = replace(model, layers=(replace(model.layers[0], h_exp=h_exp),))
        try:
            blob = pack(model)
        except BlobError:  # E must be above h_exp
            continue
        with HostTrainer(blob, learn) as host:
            start = host.blob()
            for steps, aims in zip(x, target, strict=True):
                host.teach(steps, aims)
                host.end()
            moved += host.blob() != start
            assert count_training(blob, learn, x, target, core)[1] == host.blob()


@pytest.mark.parametrize("core", ["m0", "m3", "m4"])
@pytest.mark.parametrize(
    ("k2", "steps"),
    [(1, 3), (6, 6), (8, 8), (8, 5), (15, 15), (16, 11), (16, 16), (40, 39)],
)
def test_a_tape_of_any_length_gives_the_host_s_gradients(k2, steps, core):
    """A kernel of whole rows takes tapes of up to 16 steps."""
    rng = np.random.default_rng(k2 + steps)
    learn = Learn("tbptt", loss="mse", k2=k2, rate_q24=1 << 20, clip_q16=1 << 18)
    shape = stack("lstm", (3, 4, 2), output="linear")
    model = quantize(shape, init_params(shape, rng, scale=0.5), weight_bits=16)
    blob = pack(model)
    x = rng.integers(-(1 << 14), 1 << 14, (2, steps, 3)).astype(np.int16)
    target = rng.integers(-4096, 4096, (2, steps, 2)).astype(np.int16)
    lessons = [(x[k], target[k], np.ones(steps, bool)) for k in range(2)]
    expected = taught(HostTrainer(blob, learn), lessons)
    assert count_training(blob, learn, x, target, core)[1] == expected != blob
