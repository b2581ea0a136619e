"""The trained float model as ONNX, with the standard operators where ONNX has them.

The exact integers are another graph: ``onnx_exact.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyvgrad.cells import Array, Shape
from pyvgrad.model import Affine, Maps, Params, check_params, fuse, initial_state
from pyvgrad.onnx_build import Graph, default, model, value, write
from pyvgrad.onnx_exact import export_exact
from pyvgrad.onnx_layers import Place, one_node, scanned, standard

__all__ = ["export_exact", "export_float", "write"]

_DOC = """The float model {cells} (pyvgrad).  N sequences, T steps.
To stream, feed every output named state_* back as the input of that name with _in; an
input that is left out is the model's initial state."""


def export_float(shape: Shape, params: Params) -> Any:
    """The onnx.ModelProto of a float model, in float32.

    Inputs: ``x`` (N, T, n_in) and, each with a default, the states ``state_k_h_in``,
    ``state_k_c_in`` (N, n) of layer k = 1, 2, ..., with gate feedback also
    ``state_k_i_in`` and ``state_k_o_in`` (N, n / block).  Outputs: ``y`` and
    ``logits`` (N, T, n_out), in modes ``last`` and ``final`` those that are meant,
    (N, n_out), and the states after the last step under the same names without
    ``_in``.  With a reversed layer x are whole sequences.

    ``params`` as in ``model.py``.  ValueError if they do not fit the shape.
    """
    check_params(shape, params)
    g = Graph(np.float32)
    inputs = [value("x", np.float32, ["N", "T", shape.n_in])]
    states: list[Any] = []
    old = []
    for k, start in enumerate(initial_state(shape, params), 1):
        g.prefix = f"layer_{k}/"
        old.append(
            {j: _start(g, f"state_{k}_{j}", v, inputs) for j, v in start.items()}
        )
        states += [
            value(f"state_{k}_{j}", np.float32, ["N", len(v)], f"{j} of layer {k}")
            for j, v in start.items()
        ]
    maps = fuse(shape, params)
    given = _layers(g, shape, params, maps, old)
    h = _for_readout(g, shape, given)
    outputs = _readout(g, shape, maps.readout, h)
    doc = _DOC.format(cells=" + ".join(f"{v.cell} {v.n}" for v in shape.layers))
    graph = g.finish("vgrad_float", inputs, [*outputs, *states], doc)
    metadata = {"format": "float", "mode": shape.mode, "output": shape.output}
    metadata |= {"whole": "1"} if shape.whole else {}
    return model(graph, metadata, doc)


def _start(g: Graph, name: str, array: Array, inputs: list[Any]) -> str:
    """A state's way in, (N, n), with its default."""
    _, k, letter = name.split("_")
    doc = f"{letter} of layer {k}"
    inputs.append(default(g, f"{name}_in", array[None], np.float32, doc))
    return g.batched(f"{name}_in", "x", len(array))


def _layers(
    g: Graph, shape: Shape, params: Params, maps: Maps, old: list[dict[str, str]]
) -> str:
    """All layers over time: what the last gives, or both its halves, (T, N, n)."""
    x = g.op("Transpose", "x", perm=[1, 0, 2])  # onnxruntime's LSTM has layout 0 only
    places: list[Place] = []
    given: list[str] = []  # of each layer; of both halves in the second
    for k, layer in enumerate(shape.layers):
        below = shape.below(k)
        source = given[below[-1]] if below else x
        p, affines = params["layers"][k], maps.layers[k]
        places.append(Place(layer, p, affines, source, old[k], f"state_{k + 1}"))
        half = layer.direction == "forward-half"
        given.append("" if half else _given(g, places, k))
    g.prefix = ""
    return given[-1]


def _given(g: Graph, places: list[Place], k: int) -> str:
    """What layer k gives, (T, N, n); of a reverse half, with that before it."""
    group = places[k - 1 : k + 1]
    if places[k].layer.direction != "reverse-half":
        group = places[k:]
    if one_node(group):
        g.prefix = f"layer_{k + 1}/"
        return standard(g, group)
    parts = []
    for j, at in enumerate(group, k + 2 - len(group)):
        g.prefix = f"layer_{j}/"
        parts.append(standard(g, [at]) if one_node([at]) else scanned(g, at))
    return g.concat(parts)


def _for_readout(g: Graph, shape: Shape, h: str) -> str:
    """H (N, T, n), or (N, n) where there is one readout."""
    if shape.mode == "sequence":
        return g.op("Transpose", h, perm=[1, 0, 2])
    last = g.last(h, 0)
    if shape.mode == "last" or not shape.whole:
        return last
    first = g.entry(h, 0, 0)
    layers = [shape.layers[k] for k in shape.top]
    sizes = [layer.n for layer in layers]
    names = "abc"[: len(layers)]
    at_first, at_last = g.split(first, names, sizes), g.split(last, names, sizes)
    ends = zip(names, layers, strict=True)
    return g.concat([(at_first if v.reversed else at_last)[k] for k, v in ends])


def _readout(g: Graph, shape: Shape, affine: Affine | None, h: str) -> list[Any]:
    """Outputs ``y`` and ``logits`` from h (N, T, n) or (N, n) of the last layer."""
    r, last = shape.readout, shape.mode != "sequence"
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
