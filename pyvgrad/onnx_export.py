"""The trained float model as ONNX, with the standard operators where ONNX has them.

The exact integers are another graph: ``onnx_exact.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyvgrad.cells import CELLS, Array, Layer, Shape
from pyvgrad.model import Affine, Params, check_params, fuse, initial_state
from pyvgrad.onnx_build import Graph, default, model, value, write
from pyvgrad.onnx_exact import export_exact

__all__ = ["export_exact", "export_float", "write"]

_DOC = """The float model {cells} (pyvgrad).  N sequences, T steps.
To stream, feed every output named state_* back as the input of that name with _in; an
input that is left out is the model's initial state."""

_RNN = {"t": "Tanh", "s": "Sigmoid", "r": "Relu"}


def export_float(shape: Shape, params: Params) -> Any:
    """The onnx.ModelProto of a float model, in float32.

    Inputs: ``x`` (N, T, n_in) and, each with a default, the states ``state_k_h_in``,
    ``state_k_c_in`` (N, n) of layer k = 1, 2, ..., with gate feedback also
    ``state_k_i_in`` and ``state_k_o_in`` (N, n / block).  Outputs: ``y`` and
    ``logits`` (N, T, n_out), in mode ``last`` those of the last step, (N, n_out), and
    the states after the last step under the same names without ``_in``.

    ``params`` as in ``model.py``.  ValueError if they do not fit the shape.
    """
    check_params(shape, params)
    g = Graph(np.float32)
    inputs = [value("x", np.float32, ["N", "T", shape.n_in])]
    states: list[Any] = []
    h = g.op("Transpose", "x", perm=[1, 0, 2])  # onnxruntime's LSTM has layout 0 only
    maps = fuse(shape, params)
    for k, start in enumerate(initial_state(shape, params)):
        layer, old = shape.layers[k], {}
        g.prefix = f"layer_{k + 1}/"
        for letter, array in start.items():
            name, size = f"state_{k + 1}_{letter}", len(array)
            doc = f"{letter} of layer {k + 1}"
            given = default(g, f"{name}_in", array[None], np.float32, doc)
            inputs.append(given)
            states.append(value(name, np.float32, ["N", size], doc))
            old[letter] = g.batched(f"{name}_in", "x", size)
        h = _layer(g, _Place(layer, maps.layers[k][0], h, old, f"state_{k + 1}"))
    g.prefix = ""
    outputs = _readout(g, shape, maps.readout, h)
    doc = _DOC.format(cells=" + ".join(f"{v.cell} {v.n}" for v in shape.layers))
    graph = g.finish("vgrad_float", inputs, [*outputs, *states], doc)
    metadata = {"format": "float", "mode": shape.mode, "output": shape.output}
    return model(graph, metadata, doc)


@dataclass(frozen=True)
class _Place:
    """A layer and its surroundings in the graph.

    x (T, N, n_in) is its input, ``old`` its states by letter, (N, .), ``state`` the
    name of what it leaves, ``{state}_h`` and so on.
    """

    layer: Layer
    affine: Affine
    x: str
    old: Mapping[str, str]
    state: str


def _layer(g: Graph, at: _Place) -> str:
    """One layer over time: h (T, N, n).  Writes the states of the last step."""
    layer = at.layer
    if not layer.row.carry:
        return _standard(g, at, "RNN", [_RNN[layer.function("a")]])
    if layer.opts == CELLS["lstm"].fields:
        return _standard(g, at, "LSTM", ["Sigmoid", "Tanh", "Tanh"])
    return _scan(g, at)


def _standard(g: Graph, at: _Place, kind: str, activations: list[str]) -> str:
    """An RNN or LSTM node.  Gates that a block shares are written once a cell."""
    W, R, B = _standard_weights(at, "iofg" if kind == "LSTM" else "a")
    direction = g.constant([0], np.int64)
    h, *ends = (f"{g.prefix}{v}" for v in ["Y", "Y_h", "Y_c"][: len(at.old) + 1])
    g.ops(
        kind,
        [
            at.x,
            g.constant(W, name="W"),
            g.constant(R, name="R"),
            g.constant(B, name="B"),
            "",  # every sequence has the length of x
            *(g.op("Unsqueeze", old, direction) for old in at.old.values()),
        ],
        [h, *ends],
        hidden_size=at.layer.n,
        activations=activations,
    )
    for letter, end in zip(at.old, ends, strict=True):
        g.ops("Squeeze", [end, direction], [f"{at.state}_{letter}"])
    return g.op("Squeeze", h, g.constant([1], np.int64), name="h")


def _standard_weights(at: _Place, order: str) -> tuple[Array, Array, Array]:
    """W (1, rows, n_in), R (1, rows, n) and B (1, 2 rows), gates in ONNX's order."""
    layer = at.layer
    ends = np.cumsum([layer.rows(k) for k in layer.gates])[:-1]
    parts = dict(zip(layer.gates, np.split(at.affine.M, ends, axis=1), strict=True))
    biases = dict(zip(layer.gates, np.split(at.affine.b, ends), strict=True))
    repeat = {k: layer.n // layer.rows(k) for k in layer.gates}
    M = np.concatenate([np.repeat(parts[k].T, repeat[k], axis=0) for k in order])
    b = np.concatenate([np.repeat(biases[k], repeat[k]) for k in order])
    n_in = layer.n_in
    return M[None, :, :n_in], M[None, :, n_in:], np.concatenate([b, 0 * b])[None]


def _scan(g: Graph, at: _Place) -> str:
    """A layer that ONNX has no node for: its step inside a Scan."""
    layer = at.layer
    body = Graph(np.float32, prefix=f"{g.prefix}step/")
    x, s = f"{body.prefix}x", {k: f"{body.prefix}{k}_old" for k in at.old}
    new = _lstm97(body, layer, at.affine, x, s)
    sizes = {k: layer.n_blocks if k in "io" else layer.n for k in at.old}
    inputs = [value(s[k], np.float32, ["N", sizes[k]]) for k in at.old]
    inputs.append(value(x, np.float32, ["N", layer.n_in]))
    outputs = [
        value(body.op("Identity", new[k]), np.float32, ["N", sizes[k]])
        for k in (*at.old, "h")
    ]
    h = f"{g.prefix}h"
    g.scan(
        body.finish("one_step", inputs, outputs, f"One step of {layer.cell}"),
        [*at.old.values(), at.x],
        [*(f"{at.state}_{k}" for k in at.old), h],
        axis=0,
    )
    return h


def _lstm97(
    g: Graph, layer: Layer, affine: Affine, x: str, s: Mapping[str, str]
) -> dict[str, str]:
    """c' = f c + i g(a_g),  h' = o h(c').  Hochreiter and Schmidhuber 1997, eq. 3-8."""
    opts = layer.opts
    r = [s["h"], *(s[k] for k in layer.feedback_gates)] if layer.n_recurrent else []
    z = g.concat([x, *r])
    product = g.op("MatMul", z, g.constant(affine.M, name="M"), name="Wz")
    a = g.op("Add", product, g.constant(affine.b, name="b"), name="a")
    arguments = g.split(a, layer.gates, [layer.rows(k) for k in layer.gates])
    a_g = arguments.pop("g")
    gate = {k: g.op("Sigmoid", v, name=k) for k, v in arguments.items()}
    wide = {k: g.spread(v, layer.block) for k, v in gate.items()}
    kept = g.op("Mul", wide["f"], s["c"]) if "f" in wide else s["c"]
    fed = g.op("Mul", wide["i"], _squash(g, opts.squash_g, a_g))
    c = g.op("Add", kept, fed, name="c")
    h = _squash(g, opts.squash_h, c)
    if "o" in wide:
        h = g.op("Mul", wide["o"], h, name="h")
    return {"h": h, "c": c} | {k: gate[k] for k in layer.feedback_gates}


def _squash(g: Graph, name: str, x: str) -> str:
    """g(x) or h(x) of the 1997 family by its name."""
    if name == "identity":
        return x
    if name == "tanh":
        return g.op("Tanh", x)
    s = g.op("Sigmoid", x)
    if name == "s":
        return s
    scale, offset = {"4s-2": (4, 2), "2s-1": (2, 1)}[name]
    return g.op("Sub", g.op("Mul", s, g.constant(scale)), g.constant(offset))


def _readout(g: Graph, shape: Shape, affine: Affine | None, h: str) -> list[Any]:
    """Outputs ``y`` and ``logits`` from h (T, N, n) of the last layer."""
    r, last = shape.readout, shape.mode == "last"
    h = g.last(h, 0) if last else g.op("Transpose", h, perm=[1, 0, 2])
    if r is None or affine is None:
        g.ops("Identity", [h], ["logits"])
    else:
        x = g.last("x", 1) if last and r.shortcuts else "x"
        z = g.concat([h, x]) if r.shortcuts else h
        product = g.op("MatMul", z, g.constant(affine.M, name="readout/M"))
        g.ops("Add", [product, g.constant(affine.b, name="readout/b")], ["logits"])
    kinds = {"linear": "Identity", "logistic": "Sigmoid", "softmax": "Softmax"}
    g.ops(kinds[shape.output], ["logits"], ["y"])
    steps = () if last else ("T",)
    return [
        value(name, np.float32, ["N", *steps, shape.n_out]) for name in ("y", "logits")
    ]
