"""What quantizing costs, tensor by tensor: ranges, exponents, errors, clamps.

The error that a tensor adds is the change of the logits when it alone is rounded and
all else stays float, so it says where bits would help.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.bounds import bounds
from pyvgrad.calibrate import WEIGHT_LIMIT, Exponents
from pyvgrad.dequantize import dequantize
from pyvgrad.intmodel import IntModel, Trace
from pyvgrad.model import Params, forward
from pyvgrad.qmodel import Ints, QModel
from pyvgrad.rounded import round_int16, rounded_shape
from pyvgrad.signals import to_signals
from pyvgrad.tensors import Tensor, arrays_of, tensors

Floats = NDArray[np.float64]
Row = dict[str, Any]


def quantization_report(
    model: QModel,
    x: Floats,
    lengths: NDArray[Any] | None = None,
    params: Params | None = None,
) -> Row:
    """The object of ``--report``: docs/quantization.md lists its fields.

    x (N, T, n_in) are values in the user's unit, ``params`` the float model that was
    quantized; without it the errors of weights are None, since a blob has only the
    rounded ones, and those of signals are against these.  ValueError as to_signals.
    """
    raw, clamped = to_signals(model, x)
    ends = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    valid = np.arange(x.shape[1]) < ends[:, None]
    rounded = dequantize(model)
    reference = rounded if params is None else params
    values = raw / 2.0**model.x_exp
    exact = forward(model.shape, reference, values, lengths=ends).logits[valid]

    def added(
        params: Params, change: Callable[[Any], Any] = lambda shape: shape
    ) -> Any:
        run = forward(change(model.shape), params, values, lengths=ends)
        return _rms(run.logits[valid] - exact)

    trace = IntModel(model).run(raw, ends, states=True)
    total = _rms(trace.logits[valid] / 2.0**model.logit_exp - exact)
    counted = int(trace.saturated.sum())
    return {
        "steps": int(valid.sum()),
        "weight_bits": model.weight_bits,
        "logits_rms": _rms(exact),
        "error_rms": total,
        "saturated": counted,
        "saturated_share": counted / max(1, int(valid.sum()) * _countable(model)),
        "tensors": [
            _tensor(model, t, params, rounded, added) for t in tensors(model.shape)
        ],
        "signals": [
            {"name": "x", "clamped": clamped} | _signal(raw[valid], model.x_exp),
            *_layer_signals(model, trace, valid, lambda c: added(reference, c)),
            {"name": "logits", "error": _logit_rounding(model, exact)}
            | _signal(trace.logits[valid], model.logit_exp),
        ],
        "bounds": [
            {
                "gate": b.gate,
                "acc_log2": log2(b.acc),
                "in_double": b.in_double,
                "in_int32": b.in_int32,
                "may_clamp": b.may_clamp,
            }
            for b in bounds(model)
        ],
    }


def _countable(model: QModel) -> int:
    """Values a step whose clamps are counted."""
    n = 0 if model.shape.output == "logistic" else model.shape.n_out
    return n + sum(
        q.layer.n * (bool(q.layer.row.carry) + (not q.layer.bounded))
        for q in model.layers
    )


def _rms(v: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(v)))) if v.size else 0.0


# ---- weights -------------------------------------------------------------


def _tensor(
    model: QModel,
    t: Tensor,
    params: Params | None,
    rounded: Params,
    added: Callable[[Params], float],
) -> Row:
    near = _joined(arrays_of(model.shape, rounded, t))
    exps, ints = _integers(model, t)
    row: Row = {
        "name": t.name,
        "largest": float(np.abs(near).max(initial=0.0)),
        "exponents": [int(exps.min()), int(exps.max())],
        "bits_lost": None,
        "clamped": None,
        "rounding_rms": None,
        "error": None,
    }
    if t.part != "b":
        limit = WEIGHT_LIMIT[model.weight_bits]
        tops = np.abs(ints).max(axis=1)
        used = tops[tops > 0] if model.weight_bits == 8 else tops.max(keepdims=True)
        if used.any():
            row["bits_lost"] = float(np.mean(np.log2(limit / used)))
        row["clamped"] = 0
    if params is not None:
        exact = _joined(arrays_of(model.shape, params, t))
        row["largest"] = float(np.abs(exact).max(initial=0.0))
        row["rounding_rms"] = _rms(near - exact)
        if t.part != "b":
            step = np.abs(exact) * _steps(model, t, len(exact))
            row["clamped"] = int(np.count_nonzero(step >= limit + 0.5))
        row["error"] = added(_with(model, params, rounded, t))
    return row


def _joined(arrays: list[Any]) -> Floats:
    """Arrays (rows, columns) or (rows,) side by side."""
    each = [np.asarray(a, np.float64).reshape(len(a), -1) for a in arrays]
    return np.concatenate(each, axis=1)


def _with(model: QModel, params: Params, rounded: Params, t: Tensor) -> Params:
    """The float parameters with one tensor rounded."""
    tree = deepcopy(params)
    pairs = zip(
        arrays_of(model.shape, tree, t),
        arrays_of(model.shape, rounded, t),
        strict=True,
    )
    for into, value in pairs:
        into[...] = value
    return tree


def _place(model: QModel, t: Tensor) -> tuple[Ints, Ints, Ints | None, Ints]:
    """(exps (rows,), weights, biases, the columns' exponents) of a tensor's map."""
    if t.layer == len(model.layers):
        r = model.readout
        assert r is not None
        return r.exps, r.weights, r.biases, model.readout_exps
    q = model.layers[t.layer]
    gate = q.layer.gates[t.gate]
    columns = model.column_exps(t.layer, gate)
    return q.exps[gate], q.weights[gate], q.biases.get(gate), columns


def _columns(model: QModel, t: Tensor) -> slice:
    """A tensor's columns of its map's weights: x first, in a readout last."""
    if t.layer == len(model.layers):
        assert model.readout is not None
        n = model.readout.readout.n_in
        return slice(n) if t.part == "h" else slice(n, None)
    layer = model.layers[t.layer].layer
    n = layer.parts(layer.gates[t.gate]).get("W", 0)
    return slice(n) if t.part == "x" else slice(n, None)


def _integers(model: QModel, t: Tensor) -> tuple[Ints, Ints]:
    exps, weights, biases, _ = _place(model, t)
    if t.part == "b":
        assert biases is not None
        return exps, biases[:, None]
    return exps, weights[:, _columns(model, t)]


def _steps(model: QModel, t: Tensor, rows: int) -> Floats:
    """How many integer steps a weight of 1 has, (rows, columns)."""
    exps, _, _, sources = _place(model, t)
    shifts = exps[:, None] - sources[_columns(model, t)]
    return np.asarray(np.ldexp(1.0, shifts).reshape(rows, -1))


# ---- signals -------------------------------------------------------------


def _signal(raw: NDArray[Any], exp: int) -> Row:
    top = int(np.abs(raw.astype(np.int64)).max(initial=0))
    return {
        "largest": top / 2.0**exp,
        "exponents": [exp, exp],
        "bits_lost": log2(32768 / top) if top else None,
    }


def _layer_signals(
    model: QModel, trace: Trace, valid: NDArray[np.bool_], added: Callable[..., float]
) -> list[Row]:
    """h of each layer's state; the error is that of its arguments and of h."""
    hs = tuple(q.h_exp for q in model.layers)
    exps = Exponents(model.x_exp, hs, model.logit_exp)

    def one(k: int) -> float:
        return added(lambda shape: rounded_shape(shape, exps, only=k))

    return [
        {"name": f"layer{k + 1}.h", "error": one(k)}
        | _signal(trace.h[k][valid], model.layers[k].r_exp)
        for k in range(len(model.layers))
    ]


def _logit_rounding(model: QModel, exact: Floats) -> float:
    return _rms(round_int16(exact, model.logit_exp) - exact)


# ---- for people ----------------------------------------------------------


def report_lines(report: Row) -> list[str]:
    """The report as a table, the tensors that add the most error first."""
    head = f"{'tensor':<14}{'largest':>10}{'exponents':>11}{'bits lost':>11}"
    lines = [head + f"{'clamped':>9}{'error added':>13}"]
    rows = report["tensors"] + report["signals"]
    for row in sorted(rows, key=lambda r: -(r.get("error") or 0.0)):
        low, high = row["exponents"]
        exps = str(low) if low == high else f"{low}..{high}"
        lines.append(
            f"{row['name']:<14}{row['largest']:>10.4g}{exps:>11}"
            f"{_plain(row['bits_lost'], '.1f'):>11}"
            f"{_plain(row.get('clamped'), ''):>9}{_plain(row.get('error'), '.3g'):>13}"
        )
    low53 = all(b["in_double"] for b in report["bounds"])
    top = max(report["bounds"], key=lambda b: b["acc_log2"])
    may = [b["gate"] for b in report["bounds"] if b["may_clamp"]]
    return [
        *lines,
        f"logits: rms {report['logits_rms']:.4g}, error {report['error_rms']:.3g}",
        f"sums: proven below 2^{top['acc_log2']:.1f} ({top['gate']})"
        + ("" if low53 else ", beyond 2^53: no exact ONNX graph"),
        f"clamps: {report['saturated']} counted in {report['steps']} steps"
        + (f"; the weights alone do not exclude them in {', '.join(may)}" * bool(may)),
    ]


def _plain(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)
