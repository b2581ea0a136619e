"""Float model -> integers, as docs/numbers.md, "Quantizing a float model", says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.fixed import half_up
from pyvgrad.model import Params, check_params, forward
from pyvgrad.qmodel import Ints, QLayer, QModel, QReadout

Floats = NDArray[np.float64]

_WEIGHT_LIMIT = {16: 32767, 8: 127}
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
) -> QModel:
    """Round a float model to integers.

    ``calibration`` x (N, T, n_in) sets the exponents of unbounded signals; steps from
    ``lengths`` (N,) on, where given, do not count.  Without it they are ``h_exp`` for
    states, 11 for linear outputs, and 9 for the logits of a softmax.

    ValueError for parameters that do not fit the shape, that are not finite, or that
    are too large for the integers.
    """
    exps_fit = all(0 <= e <= 14 for e in (x_exp, h_exp))
    if weight_bits not in _WEIGHT_LIMIT or not exps_fit:
        raise ValueError(
            "weights have 8 or 16 bits, x_exp and h_exp are 0 to 14, "
            f"not {weight_bits}, {x_exp} and {h_exp}"
        )
    check_params(shape, params)
    _refuse_not_finite(params)
    h_exps, logit_exp = _signal_exps(shape, params, h_exp, calibration, lengths)
    if shape.readout is None:
        h_exps = _one_y_exp(shape, h_exps)

    def below(index: int) -> Ints:
        sources = [(h_exps[k], shape.layers[k].n) for k in shape.below(index)]
        exps, sizes = zip(*sources or [(x_exp, shape.n_in)], strict=True)
        return np.repeat(exps, sizes)

    layers = [
        _layer(
            layer,
            p,
            h_exps[k],
            below(k),
            bits=weight_bits,
            where=f"layer {k + 1}",
        )
        for k, (layer, p) in enumerate(zip(shape.layers, params["layers"], strict=True))
    ]
    readout = None
    if shape.readout is not None:
        x = np.full(shape.readout.shortcuts, x_exp)
        columns = np.concatenate([below(len(layers)), x])
        readout = _readout(
            shape.readout, params["readout"], logit_exp, columns, weight_bits
        )
    return QModel(shape, tuple(layers), readout, weight_bits, x_exp, x_exp)


def signal_exp(largest: float) -> int:
    """An unbounded signal's exponent: clamp(floor(log2(32767 / max)) - 1, 0, 14)."""
    if largest == 0.0:
        return 14
    # frexp: 32767 / max = m 2^e with m in [1/2, 1), so the floor of log2 is e - 1
    _, e = np.frexp(32767.0 / largest)
    return int(np.clip(int(e) - 2, 0, 14))


def _one_y_exp(shape: Shape, h_exps: list[int]) -> list[int]:
    """The exponents, where both halves of the last layer are y, which has one."""
    bounded = any(shape.layers[k].bounded for k in shape.top)
    one = 14 if bounded else min(h_exps[k] for k in shape.top)
    return [one if k in shape.top else e for k, e in enumerate(h_exps)]


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


def _signal_exps(
    shape: Shape,
    params: Params,
    h_exp: int,
    calibration: NDArray[Any] | None,
    lengths: NDArray[Any] | None,
) -> tuple[list[int], int]:
    """(h_exp of each layer, logit_exp)."""
    bounded = [layer.bounded for layer in shape.layers]
    h_exps = [14 if b else h_exp for b in bounded]
    logit_exp = {"linear": 11, "logistic": 11, "softmax": 9}[shape.output]
    free_logits = shape.readout is not None and shape.output != "logistic"
    if calibration is None or (all(bounded) and not free_logits):
        return h_exps, logit_exp
    x = np.asarray(calibration, np.float64)
    if x.ndim != 3 or not x.size or x.shape[2] != shape.n_in:
        raise ValueError(f"calibration x is (N, T, {shape.n_in}), not {x.shape}")
    run = forward(shape, params, x, lengths=lengths)
    ends = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    valid = np.arange(x.shape[1]) < ends[:, None]

    def largest(signal: Floats) -> float:
        top = float(np.abs(signal[valid]).max(initial=0.0))
        if not np.isfinite(top):
            raise ValueError("the model's signals overflow on the calibration data")
        return top

    for index, p in enumerate(params["layers"]):
        if not bounded[index]:
            start = float(np.abs(p.get("h0", np.zeros(1))).max())
            signals = run.layers[index]
            # What plus_rnn gives lies between p and u, which have its exponent too.
            names = ("p", "u") if "out" in signals else ("h",)
            top = max(largest(signals[k]) for k in names)
            h_exps[index] = signal_exp(top if "out" in signals else max(start, top))
    return h_exps, signal_exp(largest(run.logits)) if free_logits else logit_exp


def _layer(
    layer: Layer, p: Params, h_exp: int, below: Ints, *, bits: int, where: str
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
            bits=bits,
            where=f"{where}, gate {gate}",
        )
    for gate in layer.row.joined:
        q.exps[gate] = np.min([q.exps[k] for k in layer.row.joined], axis=0)
    for gate, (w, b) in maps.items():
        q.weights[gate], biases = _rounded(w, b, columns[gate], q.exps[gate])
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
    r: Readout, p: Params, logit_exp: int, columns: Ints, bits: int
) -> QReadout:
    w = np.asarray(p["W"], np.float64)
    if r.shortcuts:
        w = np.concatenate([w, np.asarray(p["V"], np.float64)], axis=1)
    b = np.asarray(p["b"], np.float64) if r.biases else None
    exps = _exps(w, b, columns, logit_exp, bits=bits, where="the readout")
    return QReadout(r, logit_exp, exps, *_rounded(w, b, columns, exps))


def _exps(
    w: Floats,
    b: Floats | None,
    columns: Ints,
    arg: int,
    *,
    bits: int,
    where: str,
) -> Ints:
    """E of each row of one map, (rows,): one a map, or one a row at 8 bits."""
    rows = [slice(k, k + 1) for k in range(len(w))] if bits == 8 else [slice(None)]
    exps = np.zeros(len(w), np.int64)
    for s in rows:
        part = None if b is None else b[s]
        exps[s] = _accumulator_exp(
            w[s], part, columns, arg, limit=_WEIGHT_LIMIT[bits], where=where
        )
    return exps


def _rounded(
    w: Floats, b: Floats | None, columns: Ints, exps: Ints
) -> tuple[Ints, Ints | None]:
    """Weights and biases as integers."""
    weights = half_up(np.ldexp(w, exps[:, None] - columns))
    return weights, None if b is None else half_up(np.ldexp(b, exps))


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
