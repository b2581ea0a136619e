"""A model in integers as an ONNX graph that computes the very same integers.

Written from ``docs/numbers.md`` alone; operators of ONNX only, no tables.

Every value in the graph is a double that holds it exactly: ``onnx_fixed.py`` says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyvgrad.onnx_build import default, model, value
from pyvgrad.onnx_fixed import Exact
from pyvgrad.qmodel import Ints, QLayer, QModel, QReadout

_DOC = """The model {cells} in exact integers (pyvgrad docs/numbers.md).
x, y and logits are integers: a value is raw / 2^x_exp, raw / 2^y_exp and
raw / 2^logit_exp, see the metadata.  N sequences, T steps.  To stream, feed every
output named c_k, r_k and saturated back as the input of that name with _in; an input
that is left out is the model's initial state, and saturated_in 0."""


def export_exact(qmodel: QModel, *, states: bool = False) -> Any:
    """The onnx.ModelProto whose outputs are the specification's integers.

    Inputs: ``x`` int16 (N, T, n_in), T >= 1, and, each with a default, the states
    ``c_k_in`` int32 and ``r_k_in`` int16 (N, .) of layer k = 1, 2, ... and
    ``saturated_in`` int64 (N, 1).  Outputs: ``y`` and ``logits`` int16 (N, T, n_out),
    in mode ``last`` those of the last step, (N, n_out); ``c_k`` (N, n) and ``r_k`` =
    [h; i; o] (N, state_length), as in a saved state; ``saturated`` (N, 1), in mode
    ``last`` without the logits that were not computed.  ``states``: also the states
    after each step, ``c_k_steps`` and so on, (N, T, .); not in mode ``last``.
    """
    last = qmodel.shape.mode == "last"
    if states and last:
        raise ValueError("the states of each step need mode 'sequence'")
    g = Exact(np.float64)
    doc = f"raw / 2^{qmodel.x_exp}"
    inputs = [value("x", np.int16, ["N", "T", qmodel.shape.n_in], doc)]
    outputs: list[Any] = []
    x = g.cast("x", np.float64, "x_wide")
    state = _State(g, qmodel, inputs, outputs)
    h = _scan(g, qmodel, x, state, states)
    if last and qmodel.readout and qmodel.readout.readout.shortcuts:
        x = g.last(x, 1)
    y, logits, clamps = _readout(g, qmodel.readout, h, x)
    _outputs(g, qmodel, y, logits, outputs)
    state.finish(clamps, states)
    shape = qmodel.shape
    metadata = {
        "format": "exact",
        "mode": shape.mode,
        "output": shape.output,
        "weight_bits": qmodel.weight_bits,
        "x_exp": qmodel.x_exp,
        "y_exp": qmodel.y_exp,
        "logit_exp": qmodel.logit_exp,
    }
    doc = _DOC.format(cells=" + ".join(f"{q.cell} {q.n}" for q in shape.layers))
    return model(g.finish("vgrad_exact", inputs, outputs, doc), metadata, doc)


class _State:
    """The states' way: graph input, Scan, graph output."""

    def __init__(
        self, g: Exact, qmodel: QModel, inputs: list[Any], outputs: list[Any]
    ) -> None:
        self.g, self.outputs = g, outputs
        self.names: list[str] = []
        self.types: list[type] = []
        self.sizes: list[int] = []
        self.wide: list[str] = []  # (N, size) float64
        for k, q in enumerate(qmodel.layers, 1):
            if q.layer.row.carry:
                self._add(inputs, f"c_{k}", q.c0, q.layer.n, np.int32)
            self._add(inputs, f"r_{k}", q.r0, q.state_length, np.int16)
        self._add(inputs, "saturated", None, 1, np.int64)

    def _add(
        self, inputs: list[Any], name: str, initial: Ints | None, n: int, dtype: type
    ) -> None:
        start = np.zeros(n) if initial is None else initial
        doc = f"{name} before the first step"
        inputs.append(default(self.g, f"{name}_in", start[None], dtype, doc))
        self.names.append(name)
        self.types.append(dtype)
        self.sizes.append(n)
        wide = self.g.cast(f"{name}_in", np.float64)
        self.wide.append(self.g.batched(wide, "x", n))

    def finish(self, clamps: str | None, states: bool) -> None:
        """Narrow the Scan's ``*_end`` and ``*_each`` to outputs."""
        g = self.g
        for name, dtype, n in zip(self.names, self.types, self.sizes, strict=True):
            end, each = f"{name}_end", f"{name}_each"
            if name == "saturated" and clamps is not None:
                # clamps: (N, T, 1), or (N, 1) in mode last
                if states:
                    sums = g.op("CumSum", clamps, g.constant(1, np.int64))
                    each = g.op("Add", each, sums)
                total = g.op("Flatten", clamps, axis=1)
                total = g.op("ReduceSum", total, g.constant([1], np.int64))
                end = g.op("Add", end, total)
            g.cast(end, dtype, name)
            doc = f"{name} after the last step"
            self.outputs.append(value(name, dtype, ["N", n], doc))
            if states:
                g.cast(each, dtype, f"{name}_steps")
                doc = f"{name} after each step"
                self.outputs.append(value(f"{name}_steps", dtype, ["N", "T", n], doc))


def _scan(g: Exact, qmodel: QModel, x: str, state: _State, states: bool) -> str:
    """All layers over time.  Returns h of the last, (N, T, n), or (N, n) of the end."""
    body = Exact(np.float64, prefix="step/")
    old = [f"step/{name}_old" for name in state.names]
    h, new = _step(g, body, qmodel, "step/x", dict(zip(state.names, old, strict=True)))
    n = qmodel.layers[-1].layer.n
    last = qmodel.shape.mode == "last"
    carried = [
        (new[name], size) for name, size in zip(state.names, state.sizes, strict=True)
    ]
    scanned = ([] if last else [(h, n)]) + (carried if states else [])
    results = [
        value(body.op("Identity", name), np.float64, ["N", size])
        for name, size in carried + scanned
    ]
    inputs = [
        value(k, np.float64, ["N", size])
        for k, size in zip(old, state.sizes, strict=True)
    ]
    inputs.append(value("step/x", np.float64, ["N", qmodel.shape.n_in]))
    ends = [f"{name}_end" for name in state.names]
    each = ([] if last else ["h_each"]) + [f"{name}_each" for name in state.names]
    g.scan(
        body.finish("one_step", inputs, results, "One step of all layers"),
        [*state.wide, x],
        [*ends, *each[: len(scanned)]],
        axis=1,
    )
    if not last:
        return "h_each"
    r = f"r_{len(qmodel.layers)}"
    cut = [g.constant([v], np.int64) for v in (0, n, 1)]
    return g.op("Slice", f"{r}_end", *cut)


def _step(
    g: Exact, body: Exact, qmodel: QModel, x: str, old: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """One step of all layers: h of the last layer and the new states by name."""
    new: dict[str, str] = {}
    counts = [old["saturated"]]
    for k, q in enumerate(qmodel.layers, 1):
        body.prefix = f"step/layer_{k}/"
        r = old[f"r_{k}"]
        source = body.concat([x, r]) if q.layer.n_recurrent else x
        a = _gates(g, body, q, k, source)
        if q.layer.row.carry:
            x, r, c, clamps = _lstm(body, q, a, old[f"c_{k}"])
            new[f"c_{k}"] = c
        else:
            x, clamps = _rnn(body, q, a["a"])
            r = x
        new[f"r_{k}"] = r
        counts += clamps
    total = counts[0] if len(counts) == 1 else body.op("Sum", *counts)
    return x, new | {"saturated": total}


def _integers(g: Exact, weights: Ints, name: str) -> str:
    """The blob's own weights, (rows, columns), as float64 (columns, rows)."""
    dtype = np.int8 if abs(weights).max() <= 127 else np.int16
    return g.cast(g.constant(weights.T, dtype, f"{name}/weights"), np.float64)


def _gates(g: Exact, body: Exact, q: QLayer, k: int, z: str) -> dict[str, str]:
    """The accumulators of all gates, rounded: arguments by gate, (N, rows).

    acc = b + sum_j w_j z_j,  a = rs(acc, E - e), not yet saturated.
    """
    gates = q.layer.gates
    rows = [q.layer.rows(gate) for gate in gates]
    weights = _integers(g, np.concatenate([q.weights[k] for k in gates]), f"layer_{k}")
    biases = [
        q.biases.get(gate, np.zeros(n)) for gate, n in zip(gates, rows, strict=True)
    ]
    shifts = [q.exps[gate] - q.argument_exp(gate) for gate in gates]
    acc = body.op("MatMul", z, weights, name="acc")
    a = body.rs(acc, np.concatenate(shifts), np.concatenate(biases))
    return body.split(a, gates, rows)


def _rnn(g: Exact, q: QLayer, a: str) -> tuple[str, list[str]]:
    """h' = T(a), S(a) or max(a, 0), and the counts of clamps."""
    function = q.layer.function("a")
    if function == "r":
        # sat16 then max(., 0); the clamp at -32768 is not one that counts.
        h = g.clamp(a, None, 32767)
        return g.op("Relu", h, name="h"), [g.differing(a, h)]
    a = g.sat16(a)
    return (g.t(a) if function == "t" else g.s(a)), []


def _lstm(
    g: Exact, q: QLayer, a: dict[str, str], c: str
) -> tuple[str, str, str, list[str]]:
    """h', r', c' and the counts of clamps.

    c' = sat30(rs(f c + m i g, 14)),  h' = rs(o h(c'), .)
    """
    opts, block = q.layer.opts, q.layer.block
    gate = {k: g.s(g.sat16(a[k])) for k in q.layer.gates if k != "g"}
    wide = {k: g.spread(v, block) for k, v in gate.items()}
    a_g = g.sat16(a["g"])
    squashed = g.s(a_g) if opts.squash_g == "s" else g.t(a_g)
    m = 128 if opts.squash_g == "4s-2" else 64
    f = wide.get("f") or g.constant(16384)
    fed = g.op("Mul", g.op("Mul", wide["i"], squashed), g.constant(m))
    raw = g.rs(g.op("Add", g.op("Mul", f, c), fed), 14)
    c = g.clamp(raw, -(2**30), 2**30)
    counts = [g.differing(raw, c)]
    if opts.squash_h == "identity":
        o_c = g.op("Mul", wide["o"], c) if "o" in wide else c
        raw = g.rs(o_c, (34 if "o" in wide else 20) - q.h_exp)
        h = g.sat16(raw)
        counts.append(g.differing(raw, h))
    else:
        h = g.t(g.sat16(g.rs(c, 8 if opts.squash_h == "tanh" else 9)))
        if "o" in wide:
            h = g.rs(g.op("Mul", wide["o"], h), 14)
    r = g.concat([h, *(gate[k] for k in q.layer.feedback_gates)])
    return h, r, c, counts


def _readout(
    g: Exact, q: QReadout | None, h: str, x: str
) -> tuple[str, str, str | None]:
    """y, logits and the count of clamps, (..., 1), where clamps count."""
    if q is None:
        return h, h, None
    g.prefix = "readout/"
    z = g.concat([h, x]) if q.readout.shortcuts else h
    acc = g.op("MatMul", z, _integers(g, q.weights, "readout"), name="acc")
    raw = g.rs(acc, q.exps - q.logit_exp, q.biases)
    logits = g.sat16(raw)
    clamps = None if q.readout.output == "logistic" else g.differing(raw, logits)
    y = logits
    if q.readout.output == "logistic":
        y = g.s(logits)
    elif q.readout.output == "softmax":
        y = g.softmax(logits, q.logit_exp)
    g.prefix = ""
    return y, logits, clamps


def _outputs(g: Exact, qmodel: QModel, y: str, logits: str, outputs: list[Any]) -> None:
    steps = () if qmodel.shape.mode == "last" else ("T",)
    for name, source, exp in (
        ("y", y, qmodel.y_exp),
        ("logits", logits, qmodel.logit_exp),
    ):
        g.cast(source, np.int16, name)
        outputs.append(
            value(name, np.int16, ["N", *steps, qmodel.shape.n_out], f"raw / 2^{exp}")
        )
