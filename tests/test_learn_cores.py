"""The grid of test_learn_agreement on every emulated core.

There NumPy equals the host; here each core does, so that all three are equal.
"""

import jax
import numpy as np
import pytest
from test_learn_agreement import (
    GRID,
    UPDATES,
    grid_settings,
    lively_model,
    random_steps,
    values_near_one,
)

from pyvgrad.blob import pack
from pyvgrad.board import MACHINES
from pyvgrad.cells import CELLS, Layer, Readout, Shape
from pyvgrad.device_train import DeviceTrainer
from pyvgrad.errors import RoomError
from pyvgrad.icount import bench_blob
from pyvgrad.learning import Learn
from pyvgrad.native_train import HostTrainer
from pyvgrad.params import init_params
from pyvgrad.quantize import quantize

LONGEST = 8  # steps of a sequence
WIDEST = 24  # units or inputs
SEEDS = range(1790, 1850)  # of such layers; 1794 and 1802 were wrong once
# (cell, n_in, n, k2): in some, on each core, the gradient of a row's own cell lies
# where sources of that row's others do, widened.
NARROW = [
    *(("indrnn", 2, n, 4) for n in (6, 8, 12)),
    ("indrnn", 4, 20, 4),
    ("indrnn", 2, 7, 8),
    ("lstm_peephole", 5, 9, 8),
]


def place_of_the_grid(place):
    """A blob, its settings, and lessons without end."""
    method, rule, cell, output, loss = GRID[place]
    rng = np.random.default_rng(1000 + place)
    learn = grid_settings(rng, method, rule, loss)
    layers = 2 if method == "tbptt" and place % 5 == 0 else 1
    model = lively_model(rng, learn, cell=cell, n_layers=layers, output=output)

    def lesson():
        return values_near_one(
            rng, model, random_steps(rng, model, learn, most=LONGEST)
        )

    return pack(model), learn, lesson


@pytest.mark.parametrize("core", MACHINES)
@pytest.mark.parametrize("part", range(4))
def test_a_thousand_updates_leave_the_host_s_bits(core, part):
    for place in range(part, len(GRID), 4):
        blob, learn, lesson = place_of_the_grid(place)
        with HostTrainer(blob, learn) as host:
            try:
                board = DeviceTrainer(blob, learn, core)
            except RoomError:
                pytest.fail(f"{GRID[place]} does not fit into {core}")
            with board:
                while host.counters.updates < UPDATES:
                    x, target, known = lesson()
                    for trainer in (host, board):
                        trainer.teach(x, target, known)
                        trainer.end()
                assert board.counters == host.counters, GRID[place]
                assert board.blob() == host.blob() != blob, GRID[place]


@pytest.mark.parametrize("core", ["m0", "m3", "m4", "m55"])
@pytest.mark.parametrize(("cell", "n_in", "n", "k2"), NARROW)
def test_a_row_s_own_gradient_takes_none_of_the_tape_s_sources(core, cell, n_in, n, k2):
    rng = np.random.default_rng(n)
    learn = Learn("tbptt", loss="mse", k2=k2)
    blob = bench_blob(cell, n_in, n, 16)
    lessons = []
    for steps in (4, k2 - 2, k2):
        x = rng.integers(-(1 << 14), 1 << 14, (steps, n_in)).astype(np.int16)
        target = rng.integers(-(1 << 13), 1 << 13, (steps, n)).astype(np.int16)
        lessons.append((x, target, np.full(steps, fill_value=True)))
    assert taught_blob(DeviceTrainer(blob, learn, core), lessons) == taught_blob(
        HostTrainer(blob, learn), lessons
    )


def taught_blob(trainer, lessons):
    with trainer:
        for x, target, known in lessons:
            trainer.teach(x, target, known)
            trainer.end()
        return trainer.blob(), trainer.counters


def wide_training(seed):
    """A blob of layers as wide as kernels take, settings, and lessons."""
    rng = np.random.default_rng(seed)
    layers, below = [], int(rng.integers(1, WIDEST))
    for _ in range(int(rng.choice([1, 1, 2]))):
        layers.append(Layer(str(rng.choice(list(CELLS))), below, _units(rng)))
        below = layers[-1].n
    output = str(rng.choice(["none", "linear", "softmax"]))
    n_out = int(rng.integers(2, 9))
    readout = None if output == "none" else Readout(below, n_out, output)
    shape = Shape(tuple(layers), readout)
    k2 = int(rng.choice([1, 2, 4, 6, 8, 12, 16, 17, 20]))
    learn = Learn(
        loss="cross-entropy" if output == "softmax" else "mse",
        k1=int(rng.integers(0, k2 + 1)),
        k2=k2,
        rate_q24=1 << int(rng.integers(16, 27)),
        clip_q16=int(rng.choice([0, 1 << 12, 1 << 16])),
        symbols=bool(rng.random() < 0.2),
    )
    top = 1 << int(rng.choice([8, 12, 14]))
    lessons = []
    for steps in rng.integers(1, 2 * k2 + 1, 3):
        x = rng.integers(-top, top, (steps, shape.n_in)).astype(np.int16)
        if learn.symbols:
            x = rng.integers(0, shape.n_in, steps)
        target = rng.integers(-top, top, (steps, shape.n_out))
        if output == "softmax":
            target = rng.integers(0, n_out, steps)
        lessons.append((x, target.astype(np.int16), rng.random(steps) < 0.7))
    scale = rng.choice(
        [0.02, 0.3, 1.0, 3.0]
    )  # few bits to the right of weights or many
    params = jax.tree.map(lambda a: a * scale, init_params(shape, rng))
    return pack(quantize(shape, params)), learn, lessons


def _units(rng):
    return int(rng.integers(1, WIDEST))


@pytest.mark.parametrize("core", MACHINES)
def test_layers_as_wide_as_kernels_take_learn_the_host_s_bits(core):
    fitted = 0
    for seed in SEEDS:
        blob, learn, lessons = wide_training(seed)
        try:
            board = DeviceTrainer(blob, learn, core)
        except RoomError:
            continue
        fitted += 1
        expected = taught_blob(HostTrainer(blob, learn), lessons)
        assert taught_blob(board, lessons) == expected, seed
    assert fitted > len(SEEDS) / 4
