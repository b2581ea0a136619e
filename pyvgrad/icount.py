"""How many instructions a step of a blob takes on a Cortex-M, counted exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyvgrad.blob import pack, parse
from pyvgrad.cells import Layer, Shape
from pyvgrad.emulated import Call, Emulator, build
from pyvgrad.errors import DeviceError
from pyvgrad.model import init_params
from pyvgrad.quantize import quantize
from pyvgrad.signals import Signals

WARM_STEPS = 7  # before the one that counts: the state is no longer zero


def bench_blob(cell: str, n_in: int, n: int, weight_bits: int, seed: int = 0) -> bytes:
    """One layer of a cell with seeded weights and no readout: y is h."""
    shape = Shape((Layer(cell, n_in, n),))
    params = init_params(shape, np.random.default_rng(seed))
    return pack(quantize(shape, params, weight_bits=weight_bits))


def bench_inputs(n_in: int, steps: int, seed: int = 0) -> Signals:
    """Seeded signals (steps, n_in), uniform in [-1, 1) on q14."""
    rng = np.random.default_rng(seed)
    return rng.integers(-(1 << 14), 1 << 14, (steps, n_in)).astype(np.int16)


def count_steps(
    blob: bytes, x: Signals, core: str = "m4", flags: Sequence[str] = ()
) -> tuple[list[Call], Signals]:
    """Call vg_run_step on each x (T, n_in) from the start: the calls, y (T, n_out).

    DeviceError if the core's C code refuses the blob, and as ``Emulator``.
    """
    model = parse(blob)
    chip = Emulator(build(core, flags=flags), core)
    size = _checked(chip.call("bench_open", chip.place(blob), len(blob)))
    _checked(chip.call("bench_start", chip.place(size), size))
    run, x_at = chip.symbols["bench_run"], chip.place(2 * model.shape.n_in)
    y_at = chip.place(2 * model.shape.n_out)
    calls, y = [], np.zeros((len(x), model.shape.n_out), np.int16)
    for t, row in enumerate(x):
        chip.write(x_at, row.astype("<i2").tobytes())
        calls.append(chip.call("vg_run_step", run, x_at, y_at))
        y[t] = np.frombuffer(chip.read(y_at, 2 * model.shape.n_out), "<i2")
    return calls, y


def bench_step(
    blob: bytes, core: str = "m4", flags: Sequence[str] = (), seed: int = 0
) -> Call:
    """One vg_run_step with a y on seeded inputs: the last of WARM_STEPS + 1.

    ``core`` is one of emulated.CORES, ``flags`` are more of the compiler's.  Raises as
    ``count_steps`` and ``build``.
    """
    x = bench_inputs(parse(blob).shape.n_in, WARM_STEPS + 1, seed)
    return count_steps(blob, x, core, flags)[0][-1]


def step_instructions(
    blob: bytes, core: str = "m4", flags: Sequence[str] = (), seed: int = 0
) -> int:
    """Instructions of ``bench_step``."""
    return bench_step(blob, core, flags, seed).instructions


def _checked(call: Call) -> int:
    if call.result < 0:
        raise DeviceError(f"the core refuses the blob on this machine: {call.result}")
    return call.result
