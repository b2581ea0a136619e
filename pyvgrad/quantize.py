"""Float model -> integers, as docs/numbers.md, "Quantizing a float model", says."""

from __future__ import annotations

from collections.abc import Sequence
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
    layers: list[QLayer] = []
    below = [x_exp] * shape.n_in
    for index, (layer, p) in enumerate(
        zip(shape.layers, params["layers"], strict=True)
    ):
        where = f"layer {index + 1}"
        layers.append(
            _layer(layer, p, h_exps[index], below, bits=weight_bits, where=where)
        )
        below = [h_exps[index]] * layer.n
    readout = None
    if shape.readout is not None:
        columns = below + [x_exp] * shape.readout.shortcuts
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
    run = forward(shape, params, x)
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
            h_exps[index] = signal_exp(max(start, largest(run.layers[index]["h"])))
    return h_exps, signal_exp(largest(run.logits)) if free_logits else logit_exp


def _layer(
    layer: Layer, p: Params, h_exp: int, below: list[int], *, bits: int, where: str
) -> QLayer:
    n_gates = max(0, layer.n_recurrent - layer.n)
    columns = below + ([h_exp] * layer.n if layer.n_recurrent else []) + [14] * n_gates
    q = QLayer(layer, h_exp, {}, {}, {}, *_initial_state(layer, p, h_exp, where))
    for gate in layer.gates:
        w = np.asarray(p["W"][gate], np.float64)
        if layer.n_recurrent:
            w = np.concatenate([w, np.asarray(p["U"][gate], np.float64)], axis=1)
        b = np.asarray(p["b"][gate], np.float64) if layer.has_bias(gate) else None
        what = f"{where}, gate {gate}"
        exps, weights, biases = _affine(
            w, b, columns, q.argument_exp(gate), bits=bits, where=what
        )
        q.exps[gate], q.weights[gate] = exps, weights
        if biases is not None:
            q.biases[gate] = biases
    return q


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
    c = np.asarray(p.get("c0", np.zeros(layer.n)), np.float64)
    limits = [(h, 32767 / 2.0**h_exp), (c, 1024.0), *((g, 1.0) for g in gates)]
    if any(np.abs(v).max() > limit for v, limit in limits):
        raise ValueError(f"{where}: the initial state is too large for the integers")
    r = [np.ldexp(h, h_exp), *(np.ldexp(g, 14) for g in gates)]
    r0 = half_up(np.concatenate(r))
    c0 = half_up(np.ldexp(c, 20)) if layer.row.carry else None
    return c0, r0


def _readout(
    r: Readout, p: Params, logit_exp: int, columns: list[int], bits: int
) -> QReadout:
    w = np.asarray(p["W"], np.float64)
    if r.shortcuts:
        w = np.concatenate([w, np.asarray(p["V"], np.float64)], axis=1)
    b = np.asarray(p["b"], np.float64) if r.biases else None
    exps, weights, biases = _affine(
        w, b, columns, logit_exp, bits=bits, where="the readout"
    )
    return QReadout(r, logit_exp, exps, weights, biases)


def _affine(
    w: Floats,
    b: Floats | None,
    columns: Sequence[int],
    arg: int,
    *,
    bits: int,
    where: str,
) -> tuple[Ints, Ints, Ints | None]:
    """(exps (rows,), weights, biases) of one map; E is one a map, or one a row at 8."""
    rows = [slice(k, k + 1) for k in range(len(w))] if bits == 8 else [slice(None)]
    exps = np.zeros(len(w), np.int64)
    for s in rows:
        part = None if b is None else b[s]
        exps[s] = _accumulator_exp(
            w[s], part, columns, arg, limit=_WEIGHT_LIMIT[bits], where=where
        )
    shifts = exps[:, None] - np.asarray(columns)
    weights = half_up(np.ldexp(w, shifts))
    return exps, weights, None if b is None else half_up(np.ldexp(b, exps))


def _accumulator_exp(
    w: Floats,
    b: Floats | None,
    columns: Sequence[int],
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
            weights = np.ldexp(w, e - np.asarray(columns))
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
