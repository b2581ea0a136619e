"""Float model -> integers, as docs/numbers.md, "Quantizing a float model", says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.calibrate import (
    MAX_CLIP,
    METHODS,
    WEIGHT_LIMIT,
    Exponents,
    Grid,
    calibrate,
    check_exponents,
    default_exponents,
    free_exp,
    weights_exp,
)
from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.fixed import half_up
from pyvgrad.model import Params, check_params
from pyvgrad.qmodel import Ints, QLayer, QModel, QReadout

Floats = NDArray[np.float64]

_INT32 = (-(2**31), 2**31 - 1)
_MAX_SHIFT = 31
_ZERO_SHIFT = 16  # of a gate whose weights and biases are all zero


def quantize(
    shape: Shape,
    params: Params,
    *,
    weight_bits: int = 16,
    x_exp: int = 14,
    h_exp: int = 11,
    calibration: NDArray[Any] | None = None,
    lengths: NDArray[Any] | None = None,
    exponents: Exponents | None = None,
    weights: str = "minmax",
) -> QModel:
    """Round a float model to integers.

    ``calibration`` x (N, T, n_in) sets the exponents of unbounded signals; steps from
    ``lengths`` (N,) on, where given, do not count.  Without it they are ``h_exp`` for
    states, 11 for linear outputs, and 9 for the logits of a softmax.  ``exponents``,
    such as calibrate.calibrate chooses, hold instead of all these.  ``weights`` is the
    method for weights, one of calibrate.METHODS.

    ValueError for parameters that do not fit the shape, that are not finite, or that
    are too large for the integers.
    """
    exps_fit = all(0 <= e <= 14 for e in (x_exp, h_exp))
    if weight_bits not in WEIGHT_LIMIT or not exps_fit:
        raise ValueError(
            "weights have 8 or 16 bits, x_exp and h_exp are 0 to 14, "
            f"not {weight_bits}, {x_exp} and {h_exp}"
        )
    check_params(shape, params)
    _refuse_not_finite(params)
    if weights not in METHODS:
        raise ValueError(f"the method for weights is one of {METHODS}, not {weights}")
    if exponents is None:
        exponents = default_exponents(shape, x_exp, h_exp)
        if calibration is not None:
            exponents = calibrate(shape, params, calibration, lengths, x_exp=x_exp)
    check_exponents(shape, exponents)
    grid = Grid(weight_bits, weights)
    layers = [
        _layer(
            layer,
            p,
            exponents.h[k],
            exponents.below(shape, k),
            grid=grid,
            where=f"layer {k + 1}",
        )
        for k, (layer, p) in enumerate(zip(shape.layers, params["layers"], strict=True))
    ]
    readout = None
    if shape.readout is not None:
        x = np.full(shape.readout.shortcuts, exponents.x)
        columns = np.concatenate([exponents.below(shape, len(layers)), x])
        readout = _readout(
            shape.readout, params["readout"], exponents.logits, columns, grid
        )
    return QModel(shape, tuple(layers), readout, weight_bits, exponents.x, exponents.x)


def signal_exp(largest: float) -> int:
    """An unbounded signal's exponent: clamp(floor(log2(32767 / max)) - 1, 0, 14)."""
    return free_exp(largest, 1)


def _refuse_not_finite(params: Params) -> None:
    arrays = [(f"layer {i + 1}", p) for i, p in enumerate(params["layers"])]
    arrays += [("the readout", params["readout"])] if "readout" in params else []
    for where, tree in arrays:
        for name, value in tree.items():
            gates = value.items() if isinstance(value, dict) else [("", value)]
            for gate, array in gates:
                if not np.isfinite(np.asarray(array, np.float64)).all():
                    raise ValueError(
                        f"{where}: {name} {gate} holds NaN or infinity; "
                        "train the model again with a smaller rate"
                    )


def _layer(
    layer: Layer, p: Params, h_exp: int, below: Ints, *, grid: Grid, where: str
) -> QLayer:
    q = QLayer(layer, h_exp, {}, {}, {}, *_initial_state(layer, p, h_exp, where))
    columns = {gate: q.column_exps(gate, below) for gate in layer.gates}
    maps = {gate: _map(layer, p, gate) for gate in layer.gates}
    for gate, (w, b) in maps.items():
        q.exps[gate] = _exps(
            w,
            b,
            columns[gate],
            q.argument_exp(gate),
            grid=grid,
            where=f"{where}, gate {gate}",
        )
    for gate in layer.row.joined:
        q.exps[gate] = np.min([q.exps[k] for k in layer.row.joined], axis=0)
    for gate, (w, b) in maps.items():
        q.weights[gate], biases = _rounded(w, b, columns[gate], q.exps[gate], grid)
        if biases is not None:
            q.biases[gate] = biases
    return q


def _map(layer: Layer, p: Params, gate: str) -> tuple[Floats, Floats | None]:
    """A gate's weights (rows, columns) and its biases (rows,)."""
    parts = [
        np.asarray(p[part][gate], np.float64).reshape(layer.rows(gate), -1)
        for part in layer.parts(gate)
    ]
    b = np.asarray(p["b"][gate], np.float64) if layer.has_bias(gate) else None
    return np.concatenate(parts, axis=1), b


def _initial_state(
    layer: Layer, p: Params, h_exp: int, where: str
) -> tuple[Ints | None, Ints | None]:
    """(c0 q20, r0 = [h0; i0; o0] as the layer has them), None where none is given."""
    sizes = {"h": layer.n} | dict.fromkeys(layer.feedback_gates, layer.n_blocks)
    if not any(f"{k}0" in p for k in ["c", *sizes]):
        return None, None
    h, *gates = (
        np.asarray(p.get(f"{k}0", np.zeros(n)), np.float64) for k, n in sizes.items()
    )
    c = np.asarray(p.get(f"{layer.row.carry}0", np.zeros(layer.n)), np.float64)
    r_exp = 14 if layer.r_bounded else h_exp
    limits = [(h, 32767 / 2.0**r_exp), (c, 1024.0), *((g, 1.0) for g in gates)]
    if any(np.abs(v).max() > limit for v, limit in limits):
        raise ValueError(f"{where}: the initial state is too large for the integers")
    r = [np.ldexp(h, r_exp), *(np.ldexp(g, 14) for g in gates)]
    r0 = half_up(np.concatenate(r))
    c0 = half_up(np.ldexp(c, 20)) if layer.row.carry else None
    return c0, r0


def _readout(
    r: Readout, p: Params, logit_exp: int, columns: Ints, grid: Grid
) -> QReadout:
    w = np.asarray(p["W"], np.float64)
    if r.shortcuts:
        w = np.concatenate([w, np.asarray(p["V"], np.float64)], axis=1)
    b = np.asarray(p["b"], np.float64) if r.biases else None
    exps = _exps(w, b, columns, logit_exp, grid=grid, where="the readout")
    return QReadout(r, logit_exp, exps, *_rounded(w, b, columns, exps, grid))


def _exps(
    w: Floats,
    b: Floats | None,
    columns: Ints,
    arg: int,
    *,
    grid: Grid,
    where: str,
) -> Ints:
    """E of each row of one map, (rows,): one a map, or one a row at 8 bits."""
    rows = [slice(k, k + 1) for k in range(len(w))] if grid.bits == 8 else [slice(None)]
    exps = np.zeros(len(w), np.int64)
    for s in rows:
        part = None if b is None else b[s]
        e = _accumulator_exp(w[s], part, columns, arg, limit=grid.limit, where=where)
        if grid.method != "minmax":
            e = _clipping_exp(w[s], part, columns, (e, arg + _MAX_SHIFT), grid)
        exps[s] = e
    return exps


def _rounded(
    w: Floats, b: Floats | None, columns: Ints, exps: Ints, grid: Grid
) -> tuple[Ints, Ints | None]:
    """Weights and biases as integers, weights clamped where E was chosen so."""
    steps = np.clip(np.ldexp(w, exps[:, None] - columns), -grid.limit, grid.limit)
    weights = half_up(steps)
    return weights, None if b is None else half_up(np.ldexp(b, exps))


def _clipping_exp(
    w: Floats, b: Floats | None, columns: Ints, bounds: tuple[int, int], grid: Grid
) -> int:
    """E from the largest without a clamp on, where no bias is clamped either."""
    low, high = bounds[0], min(bounds[1], bounds[0] + MAX_CLIP)
    while b is not None and not _rounds_into(np.ldexp(b, high), *_INT32):
        high -= 1
    return weights_exp(grid, w, columns, range(low, high + 1))


def _accumulator_exp(
    w: Floats,
    b: Floats | None,
    columns: Ints,
    arg: int,
    *,
    limit: int,
    where: str,
) -> int:
    """The largest E with every weight and bias in range and 1 <= E - arg <= 31."""
    if not w.any() and (b is None or not b.any()):
        return arg + _ZERO_SHIFT
    for e in range(arg + _MAX_SHIFT, arg, -1):
        with np.errstate(over="ignore"):
            weights = np.ldexp(w, e - columns)
            biases = np.zeros(1) if b is None else np.ldexp(b, e)
        if _rounds_into(weights, -limit, limit) and _rounds_into(biases, *_INT32):
            return e
    raise ValueError(
        f"{where}: weights up to {np.abs(w).max():.3g} are too large for "
        f"{8 if limit == 127 else 16}-bit integers; scale the inputs or the model down"
    )


def _rounds_into(v: Floats, low: int, high: int) -> bool:
    """Whether low <= floor(v + 1/2) <= high, without forming v + 1/2."""
    return bool((v >= low - 0.5).all() and (v < high + 0.5).all())
