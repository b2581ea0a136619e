"""A model in integers as an ONNX graph that computes the very same integers.

Written from ``docs/numbers.md`` alone; operators of ONNX only, no tables.

Every value in the graph is a double that holds it exactly: ``onnx_fixed.py`` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pyvgrad.onnx_build import default, model, value
from pyvgrad.onnx_cells import Cell, integers
from pyvgrad.onnx_fixed import Exact
from pyvgrad.qmodel import Ints, QModel, QReadout

_DOC = """The model {cells} in exact integers (pyvgrad docs/numbers.md).
x, y and logits are integers: a value is raw / 2^x_exp, raw / 2^y_exp and
raw / 2^logit_exp, see the metadata.  N sequences, T steps.  To stream, feed every
output named c_k, r_k and saturated back as the input of that name with _in; an input
that is left out is the model's initial state, and saturated_in 0."""
_WHOLE = """
A layer is reversed: x are whole sequences, and states those of their start and end."""


def export_exact(qmodel: QModel, *, states: bool = False) -> Any:
    """The onnx.ModelProto whose outputs are the specification's integers.

    Inputs: ``x`` int16 (N, T, n_in), T >= 1, and, each with a default, the states
    ``c_k_in`` int32 and ``r_k_in`` int16 (N, .) of layer k = 1, 2, ... and
    ``saturated_in`` int64 (N, 1).  Outputs: ``y`` and ``logits`` int16 (N, T, n_out),
    in modes ``last`` and ``final`` those that are meant, (N, n_out); ``c_k`` (N, n) and
    ``r_k`` = [h; i; o] (N, state_length), as in a saved state; ``saturated`` (N, 1),
    without the logits that were not computed.  ``states``: also the states after each
    step, ``c_k_steps`` and so on, (N, T, .); in mode ``sequence`` only.

    With a reversed layer x are whole sequences, and states are those of its start and
    end.  VgradError for a ``gru`` whose sums a double cannot hold.
    """
    once = qmodel.shape.mode != "sequence"
    if states and (once or qmodel.shape.whole):
        raise ValueError(
            "the states of each step need mode 'sequence' and single steps"
        )
    g = Exact(np.float64)
    doc = f"raw / 2^{qmodel.x_exp}"
    inputs = [value("x", np.int16, ["N", "T", qmodel.shape.n_in], doc)]
    outputs: list[Any] = []
    x = g.cast("x", np.float64, "x_wide")
    state = _State(g, qmodel, inputs, outputs)
    h = _given(g, qmodel, x, state, states)
    if once and qmodel.readout and qmodel.readout.readout.shortcuts:
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
    doc += _WHOLE if shape.whole else ""
    return model(g.finish("vgrad_exact", inputs, outputs, doc), metadata, doc)


class _State:
    """The states' way: graph input, Scan, graph output."""

    def __init__(
        self, g: Exact, qmodel: QModel, inputs: list[Any], outputs: list[Any]
    ) -> None:
        self.g, self.outputs = g, outputs
        self.types: dict[str, type] = {}
        self.sizes: dict[str, int] = {}
        self.now: dict[str, str] = {}  # (N, size) float64: before the next Scan
        self.each: dict[str, str] = {}  # (N, T, size)
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
        self.types[name], self.sizes[name] = dtype, n
        wide = self.g.cast(f"{name}_in", np.float64)
        self.now[name] = self.g.batched(wide, "x", n)

    def of(self, layers: Sequence[int]) -> list[str]:
        """Names of what a Scan of these layers carries."""
        return [
            name
            for name in self.sizes
            if name == "saturated" or int(name.partition("_")[2]) - 1 in layers
        ]

    def finish(self, clamps: str | None, states: bool) -> None:
        """Narrow the states to outputs."""
        g = self.g
        for name, dtype in self.types.items():
            n, end, each = self.sizes[name], self.now[name], self.each.get(name, "")
            if name == "saturated" and clamps is not None:
                # clamps: (N, T, 1), or (N, 1) of one readout
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


def _given(g: Exact, qmodel: QModel, x: str, state: _State, states: bool) -> str:
    """What the readout reads of the last layer, (N, T, n), or (N, n) if it is once."""
    shape = qmodel.shape
    if not shape.whole:
        layers = range(len(shape.layers))
        return _scan(
            g, qmodel, layers, x, state, _Kept(shape.mode == "sequence", states)
        )
    given: list[str] = []
    for k in range(len(shape.layers)):
        below = [given[i] for i in shape.below(k)]
        source = g.concat(below) if below else x
        given.append(_scan(g, qmodel, [k], source, state, _Kept(True, False)))
    if shape.mode == "sequence":
        return g.concat([given[k] for k in shape.top])
    first = [shape.mode == "final" and shape.layers[k].reversed for k in shape.top]
    ends = [
        g.entry(given[k], 1, 0 if at_first else -1)
        for k, at_first in zip(shape.top, first, strict=True)
    ]
    return g.concat(ends)


class _Kept(NamedTuple):
    """What a Scan keeps of each step: what the last layer gives, and the states."""

    out: bool
    states: bool


def _scan(
    g: Exact,
    qmodel: QModel,
    layers: Sequence[int],
    x: str,
    state: _State,
    kept: _Kept,
) -> str:
    """Some layers over time.  Returns what the last of them gives, (N, T, n).

    Where that is not kept, (N, n) of the last step.
    """
    suffix = "" if len(layers) == len(qmodel.layers) else f"_{layers[0] + 1}"
    prefix = f"step{suffix}/"
    body = Exact(np.float64, prefix=prefix)
    names = state.of(layers)
    old = {name: f"{prefix}{name}_old" for name in names}
    out, new = _step(g, body, qmodel, layers, f"{prefix}x", old)
    n = qmodel.layers[layers[-1]].layer.n
    carried = [(new[name], state.sizes[name]) for name in names]
    # Without its steps, the last layer's output is carried like a state.
    ends, each = [f"{name}_end{suffix}" for name in names], []
    start = [state.now[name] for name in names]
    inputs = [value(old[k], np.float64, ["N", state.sizes[k]]) for k in names]
    if kept.out:
        scanned, each = [(out, n)], [f"out_each{suffix}"]
    else:
        scanned = []
        carried.append((out, n))
        ends.append(f"out_end{suffix}")
        start.append(g.batched(g.constant(np.zeros((1, n))), "x", n))
        inputs.append(value(f"{prefix}out_old", np.float64, ["N", n]))
    if kept.states:
        scanned += carried[: len(names)]
        each += [f"{name}_each{suffix}" for name in names]
        state.each |= {name: f"{name}_each{suffix}" for name in names}
    results = [
        value(body.op("Identity", name), np.float64, ["N", size])
        for name, size in carried + scanned
    ]
    n_in = qmodel.layers[layers[0]].layer.n_in
    inputs.append(value(f"{prefix}x", np.float64, ["N", n_in]))
    g.scan(
        body.finish("one_step", inputs, results, "One step"),
        [*start, x],
        [*ends, *each],
        axis=1,
        backwards=qmodel.layers[layers[0]].layer.reversed,
    )
    state.now |= {name: f"{name}_end{suffix}" for name in names}
    return f"out_each{suffix}" if kept.out else f"out_end{suffix}"


def _step(
    g: Exact,
    body: Exact,
    qmodel: QModel,
    layers: Sequence[int],
    x: str,
    old: dict[str, str],
) -> tuple[str, dict[str, str]]:
    """One step of some layers: what the last gives and the new states by name."""
    new: dict[str, str] = {}
    counts = [old["saturated"]]
    prefix = body.prefix
    for index in layers:
        k, q = index + 1, qmodel.layers[index]
        body.prefix = f"{prefix}layer_{k}/"
        made = Cell(g, body, q, k).step(x, old[f"r_{k}"], old.get(f"c_{k}"))
        x, new[f"r_{k}"] = made.out, made.r
        if made.c is not None:
            new[f"c_{k}"] = made.c
        counts += made.counts
    total = counts[0] if len(counts) == 1 else body.op("Sum", *counts)
    return x, new | {"saturated": total}


def _readout(
    g: Exact, q: QReadout | None, h: str, x: str
) -> tuple[str, str, str | None]:
    """y, logits and the count of clamps, (..., 1), where clamps count."""
    if q is None:
        return h, h, None
    g.prefix = "readout/"
    z = g.concat([h, x]) if q.readout.shortcuts else h
    acc = g.op("MatMul", z, integers(g, q.weights, "readout"), name="acc")
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
    steps = ("T",) if qmodel.shape.mode == "sequence" else ()
    for name, source, exp in (
        ("y", y, qmodel.y_exp),
        ("logits", logits, qmodel.logit_exp),
    ):
        g.cast(source, np.int16, name)
        outputs.append(
            value(name, np.int16, ["N", *steps, qmodel.shape.n_out], f"raw / 2^{exp}")
        )
