"""Float layers as ONNX nodes: the standard ones where ONNX has them, else a Scan.

RNN, LSTM (peepholes, coupled gates) and GRU (the reset gate before or after the
product) are standard; lstm97 with other fields, IndRNN, UGRNN and plus_rnn are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pyvgrad.cells import CELLS, Array, Layer
from pyvgrad.model import Affine
from pyvgrad.onnx_build import Graph, value
from pyvgrad.params import Params


@dataclass(frozen=True)
class Place:
    """A layer and its surroundings in the graph.

    ``p`` are its parameters, ``affines`` the same as maps; x (T, N, n_in) is its input,
    ``old`` its states by letter, (N, .), ``state`` the name of what it leaves,
    ``{state}_h`` and so on.
    """

    layer: Layer
    p: Params
    affines: list[Affine]
    x: str
    old: Mapping[str, str]
    state: str


class _Kind(NamedTuple):
    """A standard node: gates in ONNX's order, of W, R and the peepholes.

    ``activations`` are of one direction.
    """

    node: str
    gates: str
    activations: Sequence[str]
    attributes: Mapping[str, Any] = {}
    peepholes: str = ""


_ACTIVATIONS = {"t": "Tanh", "s": "Sigmoid", "r": "Relu"}
_LSTM, _GRU = ("Sigmoid", "Tanh", "Tanh"), ("Sigmoid", "Tanh")
_KINDS = {
    **{
        name: _Kind("RNN", "a", [_ACTIVATIONS[CELLS[name].functions]])
        for name in ("rnn_tanh", "rnn_sigmoid", "rnn_relu")
    },
    "lstm": _Kind("LSTM", "iofg", _LSTM),
    "lstm_coupled": _Kind("LSTM", "iofg", _LSTM, {"input_forget": 1}),
    "lstm_peephole": _Kind("LSTM", "iofg", _LSTM, {}, "iof"),
    "gru": _Kind("GRU", "zrn", _GRU, {"linear_before_reset": 1}),
    "gru_reset_before": _Kind("GRU", "zrn", _GRU, {"linear_before_reset": 0}),
}


def _kind(layer: Layer) -> _Kind | None:
    like_lstm = layer.cell == "lstm97" and layer.opts == CELLS["lstm"].fields
    return _KINDS.get("lstm" if like_lstm else layer.cell)


def one_node(places: Sequence[Place]) -> bool:
    """Whether the layers, one or both halves of one, are one standard node."""
    kinds = [_kind(at.layer) for at in places]
    alike = len({at.layer.n for at in places}) == 1 and kinds[1:] == kinds[:-1]
    return kinds[0] is not None and alike


# ---- standard nodes --------------------------------------------------------


def standard(g: Graph, places: Sequence[Place]) -> str:
    """One RNN, LSTM or GRU node, in one direction or both: (T, N, n of all)."""
    first, kind = places[0].layer, _kind(places[0].layer)
    assert kind is not None
    weights = [_standard_weights(at, kind) for at in places]
    W, R, B = (np.stack(v) for v in zip(*weights, strict=True))
    inputs = [places[0].x, *map(_named(g), ("W", "R", "B"), (W, R, B))]
    inputs.append("")  # every sequence has the length of x
    for letter in places[0].old:
        olds = [at.old[letter] for at in places]
        axis = g.constant([0], np.int64)
        inputs.append(g.concat([g.op("Unsqueeze", v, axis) for v in olds], axis=0))
    if kind.peepholes:
        P = [np.concatenate([at.p["P"][k] for k in kind.peepholes]) for at in places]
        inputs.append(g.constant(np.stack(P), name="P"))
    h, *ends = (f"{g.prefix}{v}" for v in ["Y", "Y_h", "Y_c"][: len(places[0].old) + 1])
    both = len(places) == 2
    direction = "reverse" if first.reversed else "forward"
    g.ops(
        kind.node,
        inputs,
        [h, *ends],
        hidden_size=first.n,
        direction="bidirectional" if both else direction,
        activations=[*kind.activations] * len(places),
        **kind.attributes,
    )
    for letter, end in zip(places[0].old, ends, strict=True):
        for k, at in enumerate(places):
            index = g.constant(k, np.int64)
            g.ops("Gather", [end, index], [f"{at.state}_{letter}"], axis=0)
    if not both:
        return g.op("Squeeze", h, g.constant([1], np.int64), name="h")
    h = g.op("Transpose", h, perm=[0, 2, 1, 3])
    return g.op("Reshape", h, g.constant([0, 0, -1], np.int64), name="h")


def _named(g: Graph) -> Any:
    return lambda name, array: g.constant(array, name=name)


def _standard_weights(at: Place, kind: _Kind) -> tuple[Array, Array, Array]:
    """W (rows, n_in), R (rows, n) and B (2 rows,), gates in ONNX's order.

    Gates that a block shares are written once a cell, coupled f as zeros.
    """
    layer, p = at.layer, at.p

    def rows(part: str, gate: str, width: int) -> Array:
        if gate not in p.get(part, {}):
            return np.zeros((layer.n, width))
        array = np.asarray(p[part][gate]).reshape(layer.rows(gate), width)
        return np.repeat(array, layer.n // layer.rows(gate), axis=0)

    # ONNX has W and R of n in one; ours after the reset is m.
    of_r = kind.gates.replace("n", "m") if "m" in layer.gates else kind.gates
    W = np.concatenate([rows("W", k, layer.n_in) for k in kind.gates])
    R = np.concatenate([rows("U", k, layer.n) for k in of_r])
    b = [rows("b", k, 1)[:, 0] for k in kind.gates]
    more = [rows("b", k, 1)[:, 0] * (k not in kind.gates) for k in of_r]
    return W, R, np.concatenate([*b, *more])


# ---- a step inside a Scan --------------------------------------------------


def scanned(g: Graph, at: Place) -> str:
    """A layer that ONNX has no node for: (T, N, n)."""
    layer = at.layer
    body = Graph(np.float32, prefix=f"{g.prefix}step/")
    x, s = f"{body.prefix}x", {k: f"{body.prefix}{k}_old" for k in at.old}
    new, out = _step(body, at, x, s)
    sizes = {k: layer.n_blocks if k in "io" else layer.n for k in at.old}
    inputs = [value(s[k], np.float32, ["N", sizes[k]]) for k in at.old]
    inputs.append(value(x, np.float32, ["N", layer.n_in]))
    results = [(new[k], sizes[k]) for k in at.old] + [(out, layer.n)]
    outputs = [
        value(body.op("Identity", name), np.float32, ["N", n]) for name, n in results
    ]
    h = f"{g.prefix}h"
    g.scan(
        body.finish("one_step", inputs, outputs, f"One step of {layer.cell}"),
        [*at.old.values(), at.x],
        [*(f"{at.state}_{k}" for k in at.old), h],
        axis=0,
        backwards=layer.reversed,
    )
    return h


def _step(
    g: Graph, at: Place, x: str, s: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """The new states and what the layer gives, of a layer without late gates."""
    layer = at.layer
    a: dict[str, str] = {}
    for affine in at.affines:
        a |= _arguments(g, layer, affine, x, s)
    if layer.row.carry == "c":
        new = _lstm97(g, layer, a, s)
    elif layer.row.carry == "h":
        new = {"h": _mixed(g, g.op("Sigmoid", a["z"]), s["h"], g.op("Tanh", a["n"]))}
    else:
        new = {"h": g.op("Relu", a["a"])}
    if layer.cell != "plus_rnn":
        return new, new["h"]
    p = g.op("Relu", a["p"])
    return new, _mixed(g, g.op("Sigmoid", a["y"]), a["u"], p)


def _arguments(
    g: Graph, layer: Layer, affine: Affine, x: str, s: Mapping[str, str]
) -> dict[str, str]:
    gates, parts = affine.gates, layer.parts(affine.gates[0])
    z = [x] if "W" in parts else []
    if "U" in parts:
        z += [s["h"], *(s[k] for k in layer.feedback_gates)]
    name = "" if gates == layer.gates else f"_{gates}"
    product = g.op("MatMul", g.concat(z), g.constant(affine.M, name=f"M{name}"))
    a = g.op("Add", product, g.constant(affine.b, name=f"b{name}"))
    each = g.split(a, gates, [layer.rows(k) for k in gates])
    for k, p in affine.P.items():
        own = g.op("Mul", s["h"], g.constant(p, name=f"P_{k}"))
        each[k] = g.op("Add", each[k], own)
    return each


def _mixed(g: Graph, z: str, a: str, b: str) -> str:
    """z a + (1 - z) b."""
    rest = g.op("Sub", g.constant(1), z)
    return g.op("Add", g.op("Mul", z, a), g.op("Mul", rest, b))


def _lstm97(
    g: Graph, layer: Layer, a: Mapping[str, str], s: Mapping[str, str]
) -> dict[str, str]:
    """c' = f c + i g(a_g),  h' = o h(c').  Hochreiter and Schmidhuber 1997, eq. 3-8."""
    opts = layer.opts
    gate = {k: g.op("Sigmoid", a[k], name=k) for k in layer.gates if k != "g"}
    wide = {k: g.spread(v, layer.block) for k, v in gate.items()}
    kept = g.op("Mul", wide["f"], s["c"]) if "f" in wide else s["c"]
    fed = g.op("Mul", wide["i"], _squash(g, opts.squash_g, a["g"]))
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
