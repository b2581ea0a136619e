"""How far back an error is carried in integers: which number format for errors.

An error at the last step's h flows back through up to 1,000 steps of a net with random
weights, once in float64 and once in each format.  All of them follow the same run, the
integers'; only the way back differs.  What is followed are the errors of the gates'
arguments, since a gradient is their sum over steps times what the gates read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Layer
from pyvgrad.fixed import ONE_Q14, Ints, Reals, half_up, sat31, sigmoid_q14, tanh_q14
from pyvgrad.intback import Left, back, error_of_sources
from pyvgrad.long_run import NET_MAKERS, STEPS, Run, exact_slopes, make_run, q14_slopes

START = 0.1  # norm of the error of h that is sent back
GOOD = 0.1  # relative error up to which a flow counts as carried
REFERENCE, CHOSEN, BLOCK = "float64", "q24", "int16 block"
FIXED = {f"q{bits}": bits for bits in (12, 16, 20, 24, 28)}
TOWARD_ZERO = "q24, toward zero"
FROM_ARGUMENTS, FROM_OUTPUTS = "q24, slopes of arguments", "float64, slopes of outputs"

Flow = Reals  # (steps, rows): errors of the arguments, row 0 the last step


# ---- the way back --------------------------------------------------------


def start_error(n: int, size: float) -> Reals:
    """The error of h that is sent back, (n,), of norm ``size``."""
    d = np.random.default_rng(3).normal(size=n)
    return np.asarray(size * d / np.linalg.norm(d))


def fixed_flow(
    run: Run,
    bits: int,
    slopes: Iterable[dict[str, Reals]] | None = None,
    size: float = START,
) -> Flow:
    """The specification's way back, errors int32 on ``bits`` bits behind the point.

    ``slopes`` are used, on q24, in place of those that the steps left.
    """
    above = half_up(np.ldexp(start_error(run.q.layer.n, size), bits))
    above = sat31(above)
    dr: Ints = np.zeros(run.q.layer.n_recurrent, np.int64)
    dc: Ints = np.zeros(run.q.layer.n, np.int64)
    flow = []
    others = iter(slopes) if slopes is not None else None
    for step in run.steps:
        now = step if others is None else _with_slopes(step, next(others))
        a, dc_before = back(run.q, run.gates, now, above, dr, dc)
        dc = np.zeros_like(dc) + dc_before
        dr = error_of_sources(run.q, run.gates, now, a)[run.q.layer.n_in :]
        above = np.zeros_like(above)
        flow.append(np.concatenate([a[k] for k in run.gates]))
    return np.stack(flow) / 2.0**bits


def _with_slopes(step: Left, slopes: dict[str, Reals]) -> Left:
    most = float(2**31 - 1)
    fixed = {
        k: half_up(np.clip(v * 2.0**24, -most, most))
        for k, v in slopes.items()
        if k != "f"
    }
    return replace(step, slopes=fixed)


def real_flow(
    run: Run,
    slopes: list[dict[str, Reals]],
    rounded: Callable[[Reals], Reals] = lambda v: v,
    size: float = START,
) -> Flow:
    """The way back in float64; ``rounded`` is what a format keeps of each vector."""
    layer = run.q.layer
    weights = {
        k: np.ldexp(g.hi.astype(np.float64), -g.source_shifts)
        for k, g in run.gates.items()
    }
    dh, dc = rounded(start_error(layer.n, size)), np.zeros(layer.n)
    fed_back: dict[str, Reals] = {}
    flow = []
    for s in slopes:
        a, dc = _one_back(layer, s, dh, dc, fed_back, rounded)
        sources = np.sum([a[k] @ w for k, w in weights.items()], axis=0)
        dr = rounded(sources)[layer.n_in :]
        dh = dr[: layer.n] if len(dr) else np.zeros(layer.n)
        parts = dr[layer.n :].reshape(-1, layer.n_blocks)
        fed_back = dict(zip(layer.feedback_gates, parts, strict=True))
        flow.append(np.concatenate([a[k] for k in run.gates]))
    return np.stack(flow)


def _one_back(
    layer: Layer,
    s: dict[str, Reals],
    dh: Reals,
    dc: Reals,
    fed_back: dict[str, Reals],
    rounded: Callable[[Reals], Reals],
) -> tuple[dict[str, Reals], Reals]:
    """Errors of the arguments and of c of the step before."""
    if "H_a" in s:
        return {"a": rounded(dh * s["H_a"])}, dc

    def gate(k: str, cells: Reals) -> Reals:
        total = cells.reshape(layer.n_blocks, layer.block).sum(axis=1)
        return rounded(total + fed_back.get(k, 0.0) * s.get(f"S_{k}", 0.0))

    dc = rounded(dc + dh * s["H_c"])
    a = {"i": gate("i", dc * s["C_i"]), "g": rounded(dc * s["C_g"])}
    if "f" in layer.gates:
        a["f"] = gate("f", dc * s["C_f"])
    if "o" in layer.gates:
        a["o"] = gate("o", dh * s["H_o"])
    return a, rounded(dc * s["f"])


def block_float(v: Reals) -> Reals:
    """Int16 mantissas and one exponent, the smallest that fits the largest of them."""
    most = float(np.abs(v).max(initial=0.0))
    if most == 0.0:
        return v
    e = int(np.frexp(most)[1]) - 15
    kept = np.clip(np.floor(np.ldexp(v, -e) + 0.5), -32767, 32767)
    return np.asarray(np.ldexp(kept, e))


def toward_zero(v: Reals) -> Reals:
    """q24, cut off instead of rounded."""
    return np.asarray(np.ldexp(np.trunc(np.ldexp(v, 24)), -24))


# ---- what is measured ----------------------------------------------------


def flows(run: Run) -> dict[str, Flow]:
    """The flow of every format, the reference first."""
    exact, from_outputs = exact_slopes(run), q14_slopes(run)
    found = {REFERENCE: real_flow(run, exact)}
    found |= {name: fixed_flow(run, bits) for name, bits in FIXED.items()}
    found[BLOCK] = real_flow(run, from_outputs, block_float)
    found[TOWARD_ZERO] = real_flow(run, from_outputs, toward_zero)
    found[FROM_ARGUMENTS] = fixed_flow(run, 24, exact)
    found[FROM_OUTPUTS] = real_flow(run, from_outputs)
    return found


@dataclass(frozen=True)
class Carried:
    """How well a format carries a flow.

    ``lag`` is the number of steps back up to which the relative error stays within
    GOOD, at most the steps that there are; ``smallest`` the norm of the float flow
    there, of START; ``norm`` (steps,) the flow's own norm and ``error`` (steps,) its
    relative error; ``gradient`` the relative error of the sum of all steps' errors
    times what the gates read, the gradient.
    """

    lag: int
    smallest: float
    norm: NDArray[np.float64]
    error: NDArray[np.float64]
    gradient: float


def carried(run: Run, flow: Flow, reference: Flow) -> Carried:
    """Compare a flow with the float one."""
    size = np.linalg.norm(reference, axis=1)
    gap = np.linalg.norm(flow - reference, axis=1)
    error = gap / np.maximum(size, np.finfo(float).tiny)
    bad = np.flatnonzero(error > GOOD)
    lag = int(bad[0]) if len(bad) else len(error)
    smallest = float(size[:lag].min(initial=np.inf)) if lag else float("nan")
    norm = np.linalg.norm(flow, axis=1)
    return Carried(lag, smallest, norm, error, gradient_error(run, flow, reference))


def gradient_error(run: Run, flow: Flow, reference: Flow) -> float:
    """The relative error of the gradient that a flow makes."""
    G, missed = reference.T @ run.z, (flow - reference).T @ run.z
    return float(np.linalg.norm(missed) / np.linalg.norm(G))


def measure(names: Iterable[str], steps: int = STEPS) -> dict[str, dict[str, Carried]]:
    """{net: {format: Carried}}."""
    found = {}
    for name in names:
        run = make_run(*NET_MAKERS[name](), steps)
        every = flows(run)
        found[name] = {k: carried(run, v, every[REFERENCE]) for k, v in every.items()}
    return found


def by_size(name: str, sizes: Sequence[float], steps: int) -> dict[str, list[float]]:
    """{format: the gradient's relative error for each size of the error sent back}."""
    run = make_run(*NET_MAKERS[name](), steps)
    exact, outputs = exact_slopes(run), q14_slopes(run)
    found: dict[str, list[float]] = {}
    for size in sizes:
        reference = real_flow(run, exact, size=size)
        made = {k: fixed_flow(run, bits, size=size) for k, bits in FIXED.items()}
        made[BLOCK] = real_flow(run, outputs, block_float, size=size)
        for k, flow in made.items():
            found.setdefault(k, []).append(gradient_error(run, flow, reference))
    return found


# ---- saturated gates -----------------------------------------------------


@dataclass(frozen=True)
class Saturation:
    """From which net input on a derivative from q14 outputs is this wrong."""

    function: str
    zero: float  # the derivative is 0
    half: float  # relative error above 0.5
    tenth: float  # above 0.1
    slope: float  # the derivative there


def saturation() -> list[Saturation]:
    """Of the logistic function and of tanh, for every int16 argument from 0 on."""
    z = np.arange(32768)
    S, T = sigmoid_q14(z), tanh_q14(z)
    rows = []
    x, y = z / 2.0**11, z / 2.0**12
    for name, value, raw, exact in (
        ("s", x, S * (ONE_Q14 - S) / 2.0**28, 0.25 / np.cosh(0.5 * x) ** 2),
        ("tanh", y, ((1 << 28) - T * T) / 2.0**28, 1.0 / np.cosh(y) ** 2),
    ):
        error = np.abs(raw / exact - 1.0)
        zero, half, tenth = (
            float(value[np.flatnonzero(test)[0]])
            for test in (raw == 0, error > 0.5, error > 0.1)
        )
        slope = float(exact[np.flatnonzero(error > 0.1)[0]])
        rows.append(Saturation(name, zero, half, tenth, slope))
    return rows
