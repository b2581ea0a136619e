"""How many instructions a step of a blob takes on a Cortex-M, counted exactly.

A step of running is one vg_run_step with a y.  A step of training is a share of one
sequence: forward, backward and, at its end or at every step, the update.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyvgrad.blob import pack, parse
from pyvgrad.cells import Layer, Shape
from pyvgrad.emulated import Call, Emulator, build
from pyvgrad.errors import DeviceError
from pyvgrad.executor import NO_STEP
from pyvgrad.intloss import check_fit, check_layout
from pyvgrad.learning import Learn
from pyvgrad.model import init_params
from pyvgrad.qmodel import QModel
from pyvgrad.quantize import quantize
from pyvgrad.signals import Signals

SEQUENCE = 16  # steps
SIZES = ((8, 8), (32, 32), (28, 64))  # n_in and n of a layer
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


def _opened(
    blob: bytes, core: str, flags: Sequence[str], machine: str | None = None
) -> Emulator:
    """A core that has opened a blob."""
    chip = Emulator(build(core, flags=flags), core, machine)
    _checked(chip.call("bench_open", chip.place(blob), len(blob)))
    return chip


def count_steps(
    blob: bytes,
    x: Signals,
    core: str = "m4",
    flags: Sequence[str] = (),
    machine: str | None = None,
) -> tuple[list[Call], Signals]:
    """Call vg_run_step on each x (T, n_in) from the start: the calls, y (T, n_out).

    ``machine`` is one of QEMU's, to count there.  DeviceError if the core's C code
    refuses the blob, and as ``Emulator``; ValueError for a model that takes whole
    sequences.
    """
    shape = parse(blob).shape
    if shape.whole:
        raise ValueError(NO_STEP)
    n_out = shape.n_out
    chip = _opened(blob, core, flags, machine)
    size = _checked(chip.call("bench_size"))
    _checked(chip.call("bench_start", chip.place(size), size))
    run, x_at, y_at = (
        chip.symbols["bench_run"],
        chip.place(x[0].nbytes),
        chip.place(2 * n_out),
    )
    calls, y = [], np.zeros((len(x), n_out), np.int16)
    for t, row in enumerate(x):
        chip.write(x_at, row.astype("<i2").tobytes())
        calls.append(chip.call("vg_run_step", run, x_at, y_at))
        y[t] = np.frombuffer(chip.read(y_at, 2 * n_out), "<i2")
    return calls, y


def count_whole(
    blob: bytes, x: Signals, core: str = "m4", flags: Sequence[str] = ()
) -> tuple[Call, Signals]:
    """Call vg_run_whole on x (T, n_in): the call, and y, (T, n_out) or (1, n_out).

    Raises as ``Emulator``; DeviceError if the core's C code refuses the blob.
    """
    shape = parse(blob).shape
    chip = _opened(blob, core, flags)
    size = _checked(chip.call("bench_size"))
    _checked(chip.call("bench_start", chip.place(size), size))
    size = _checked(chip.call("bench_whole_size", len(x)))
    rows = len(x) if shape.mode == "sequence" else 1
    y_at = chip.place(2 * rows * shape.n_out)
    x_at, buf = chip.place(x.astype("<i2").tobytes()), chip.place(size)
    run = chip.symbols["bench_run"]
    call = chip.call("vg_run_whole", run, x_at, len(x), y_at, buf, size)
    _checked(call)
    y = np.frombuffer(chip.read(y_at, 2 * rows * shape.n_out), "<i2")
    return call, y.astype(np.int16).reshape(rows, shape.n_out)


def count_training(
    blob: bytes,
    learn: Learn,
    x: Signals,
    target: Signals,
    core: str = "m4",
    flags: Sequence[str] = (),
) -> tuple[list[Call], bytes]:
    """Train on each sequence of x (N, T, n_in): a call for each, the last blob.

    ``target`` is (N, T, n_out), or (N, T) classes for a softmax.  A sequence is one
    vg_train_steps and one vg_train_end, whose results add up.  Raises as
    ``count_steps``, and DeviceError where the settings do not fit the model.
    """
    chip = _opened(blob, core, flags)
    settings = chip.place(learn.to_bytes())
    size = _checked(chip.call("bench_train_size", settings))
    _checked(chip.call("bench_train_start", settings, chip.place(size), size))
    t, counts = chip.symbols["bench_train"], []
    x_at, target_at = chip.place(x[0].nbytes), chip.place(target[0].nbytes)
    for lesson, aim in zip(x, target, strict=True):
        chip.write(x_at, lesson.astype("<i2").tobytes())
        chip.write(target_at, aim.astype("<i2").tobytes())
        calls = [
            chip.call("vg_train_steps", t, x_at, target_at, 0, len(lesson)),
            chip.call("vg_train_end", t),
        ]
        counts.append(_together(calls))
    size_at = chip.place(4)
    sealed = chip.call("vg_train_blob", t, size_at).result
    return counts, chip.read(sealed, int.from_bytes(chip.read(size_at, 4), "little"))


def _together(calls: Sequence[Call]) -> Call:
    """Calls as one, their results added up."""
    functions: Counter[str] = Counter()
    code: dict[int, int] = {}
    for call in calls:
        functions.update(call.functions)
        code |= call.code
    return Call(
        sum(_checked(call) for call in calls),
        functions.total(),
        sum(call.loads for call in calls),
        max(call.stack for call in calls),
        dict(functions),
        code,
    )


def bench_step(
    blob: bytes, core: str = "m4", flags: Sequence[str] = (), seed: int = 0
) -> Call:
    """One vg_run_step with a y on seeded inputs: the last of WARM_STEPS + 1.

    ``core`` is one of emulated.CORES, ``flags`` are more of the compiler's.  Raises as
    ``count_steps`` and ``build``.
    """
    x = bench_inputs(parse(blob).shape.n_in, WARM_STEPS + 1, seed)
    return count_steps(blob, x, core, flags)[0][-1]


def bench_whole(
    blob: bytes, core: str = "m4", flags: Sequence[str] = (), seed: int = 0
) -> Call:
    """One vg_run_whole on a sequence of SEQUENCE seeded inputs."""
    x = bench_inputs(parse(blob).shape.n_in, SEQUENCE, seed)
    return count_whole(blob, x, core, flags)[0]


def step_instructions(
    blob: bytes, core: str = "m4", flags: Sequence[str] = (), seed: int = 0
) -> int:
    """Instructions of ``bench_step``."""
    return bench_step(blob, core, flags, seed).instructions


def bench_learn(shape: Shape, method: str) -> Learn:
    """SGD with clipping; ``bench_training`` says when it updates."""
    rtrl = method == "rtrl97"
    return Learn(
        method=method,
        loss="mse" if shape.output == "linear" else "cross-entropy",
        k1=int(rtrl),
        k2=0 if rtrl else SEQUENCE,
        rate_q24=1 << 20,
        clip_q16=1 << 16,
    )


def taught_by(model: QModel, method: str) -> Learn:
    """``bench_learn`` of a model; ValueError for one that does not learn so."""
    check_layout(model)
    learn = bench_learn(model.shape, method)
    check_fit(model.shape, learn)
    return learn


def bench_lessons(shape: Shape, n: int, seed: int = 0) -> tuple[Signals, Signals]:
    """Seeded sequences of SEQUENCE steps: x (n, T, n_in), a target at every step."""
    x = bench_inputs(shape.n_in, n * SEQUENCE, seed)
    rng = np.random.default_rng(seed)
    form = (n, SEQUENCE) + (() if shape.output == "softmax" else (shape.n_out,))
    top = shape.n_out if shape.output == "softmax" else 1 << 12
    target = rng.integers(0, top, form).astype(np.int16)
    return x.reshape(n, SEQUENCE, shape.n_in), target


def bench_training(
    blob: bytes,
    core: str = "m4",
    method: str = "tbptt",
    flags: Sequence[str] = (),
    seed: int = 0,
) -> Call:
    """Learning from a sequence of SEQUENCE steps, the second of two.

    SGD with clipping and a target at every step; tbptt looks back over the whole
    sequence and updates at its end, rtrl97 updates at every step.  ValueError for a
    model that does not learn so.
    """
    model = parse(blob)
    learn = taught_by(model, method)
    x, target = bench_lessons(model.shape, 2, seed)
    return count_training(blob, learn, x, target, core, flags)[0][-1]


def bench_row(
    blob: bytes, core: str, method: str | None = None, *, profile: bool = False
) -> dict[str, Any]:
    """What ``pyvgrad bench`` says of a blob on a core: running, or a method learning.

    With ``profile`` the instructions a step of every function, too, the most first.
    Raises as ``bench_step``, ``bench_whole`` and ``bench_training``.
    """
    model = parse(blob)
    if method is None and model.shape.whole:
        call, steps = bench_whole(blob, core), SEQUENCE
    elif method is None:
        call, steps = bench_step(blob, core), 1
    else:
        call, steps = bench_training(blob, core, method), SEQUENCE
    count = round(call.instructions / steps)
    by = sorted(call.functions.items(), key=lambda of: (-of[1], of[0]))
    functions = {name: round(n / steps, 1) for name, n in by}
    return {
        "on": core,
        "cell": "+".join(q.layer.cell for q in model.layers),
        "n_in": model.shape.n_in,
        "n": sum(q.layer.n for q in model.layers),
        "weight_bits": model.weight_bits,
        "layout": model.layout,
        "does": method or "run",
        "macs_per_step": model.macs,
        "instructions_per_step": count,
        "per_mac": round(count / model.macs, 3),
        "loads_per_mac": round(call.loads / steps / model.macs, 3),
        "code_bytes": sum(call.code.values()),
        "stack_bytes": call.stack,
        **({"functions": functions} if profile else {}),
    }


def _checked(call: Call) -> int:
    if call.result < 0:
        raise DeviceError(f"the core refuses the model: error {call.result} of vgrad.h")
    return call.result
