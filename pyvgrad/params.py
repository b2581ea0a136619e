"""The numbers of a float model: their shapes, their check, their start.

Parameters are a tree of arrays::

    {"layers": [{"W": {gate: (rows, n_in)}, "U": {gate: (rows, n_recurrent)},
                 "P": {gate: (rows,)}, "b": {gate: (rows,)},
                 "h0": (n,), "c0": (n,), "i0": ...}, ...],
     "readout": {"W": (n_out, n), "V": (n_out, n_in), "b": (n_out,)}}

W, U and P (a gate's own column: peepholes, IndRNN's u) for the gates that read x, the
recurrent vector, and a value of their own, ``b`` for those that have biases; c0 only
where c is not h itself.  What the shape lacks is left out: U without recurrent weights,
V without shortcuts, the readout.  Initial states may be left out (zeros).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyvgrad.cells import Array, Layer, Shape

Params = dict[str, Any]


def expected_shapes(shape: Shape) -> Params:
    """The tree of the parameters with the shape of each array instead of the array."""
    layers = [_layer_shapes(layer) for layer in shape.layers]
    tree: Params = {"layers": layers}
    r = shape.readout
    if r is not None:
        tree["readout"] = {"W": (r.n_out, r.n_in)}
        if r.shortcuts:
            tree["readout"]["V"] = (r.n_out, r.shortcuts)
        if r.biases:
            tree["readout"]["b"] = (r.n_out,)
    return tree


def _layer_shapes(layer: Layer) -> Params:
    tree: Params = {}
    for k in layer.gates:
        for part, columns in layer.parts(k).items():
            size = (layer.rows(k),) if part == "P" else (layer.rows(k), columns)
            tree.setdefault(part, {})[k] = size
    tree["b"] = {k: (layer.rows(k),) for k in layer.gates if layer.has_bias(k)}
    return tree


def check_params(shape: Shape, params: Params) -> None:
    """ValueError, naming the array, if the parameters are not those of the shape."""
    want = _flat(expected_shapes(shape))
    have = {k: np.shape(v) for k, v in _flat(params).items()}
    for i, layer in enumerate(shape.layers):
        initial = {f"layers.{i}.{k}0": size for k, size in state_sizes(layer).items()}
        want |= {key: (size,) for key, size in initial.items() if key in have}
    for key in [*want, *have]:
        if want.get(key) != have.get(key):
            raise ValueError(
                f"parameter {key} has shape {have.get(key)}, the model {want.get(key)}"
            )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{"layers.0.W.i": leaf, ...}; tuples are leaves."""
    if isinstance(tree, Mapping):
        items: Sequence[tuple[Any, Any]] = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    else:
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def init_params(
    shape: Shape,
    rng: np.random.Generator,
    *,
    scale: float | None = None,
    biases: Mapping[str, Sequence[float] | float] | None = None,
) -> Params:
    """Fresh parameters, float64.

    Weights are uniform in +-scale or, with scale None, in +-sqrt(6 / (columns + rows))
    of their matrix (Glorot and Bengio 2010); peepholes then start at 0, IndRNN's u
    within 0 to 1 (Li et al. 2018).  Biases are 0 with scale None, else
    uniform like weights; ``biases`` gives a gate's own, "readout" the
    readout's: one value, or one a row, of which the last is repeated.
    """
    given = biases or {}

    def matrix(size: tuple[int, ...]) -> Array:
        bound = (6.0 / sum(size)) ** 0.5 if scale is None else scale
        return rng.uniform(-bound, bound, size)

    def bias(size: tuple[int, ...], gate: str) -> Array:
        if gate in given:
            values = np.atleast_1d(np.asarray(given[gate], float))
            return values[np.minimum(np.arange(size[0]), len(values) - 1)]
        return np.zeros(size) if scale is None else rng.uniform(-scale, scale, size)

    def own(size: tuple[int, ...], layer: Layer) -> Array:
        if scale is not None:
            return rng.uniform(-scale, scale, size)
        return np.zeros(size) if layer.row.carry else rng.uniform(0.0, 1.0, size)

    def one(name: str, size: tuple[int, ...], gate: str, layer: Layer) -> Array:
        if name in "WU":
            return matrix(size)
        return own(size, layer) if name == "P" else bias(size, gate)

    tree = expected_shapes(shape)
    layers = [
        {
            name: {k: one(name, size, k, layer) for k, size in of.items()}
            for name, of in sizes.items()
        }
        for layer, sizes in zip(shape.layers, tree["layers"], strict=True)
    ]
    params: Params = {"layers": layers}
    if "readout" in tree:
        params["readout"] = {
            name: bias(s, "readout") if name == "b" else matrix(s)
            for name, s in tree["readout"].items()
        }
    return params


@dataclass(frozen=True)
class Start:
    """A start of Pascanu et al. 2013: normal weights, biases of 0.

    ``cell`` are the units it is for, ``deviation`` that of all weights.  With a
    ``radius`` a row of U keeps ``links`` weights, and U is scaled to this spectral
    radius.
    """

    cell: str
    deviation: float
    links: int = 0
    radius: float = 0.0


STARTS = {
    "sigmoid": Start("rnn_sigmoid", 0.01),
    "basic-tanh": Start("rnn_tanh", 0.1),
    "smart-tanh": Start("rnn_tanh", 0.01, links=15, radius=0.95),
}


def start_params(name: str, shape: Shape, rng: np.random.Generator) -> Params:
    """Fresh parameters, float64, of one of STARTS.

    ValueError for another name, and for cells that it is not for.
    """
    if name not in STARTS:
        raise ValueError(f"there is no start {name!r}; known: {', '.join(STARTS)}")
    start = STARTS[name]
    if any(layer.cell != start.cell for layer in shape.layers):
        raise ValueError(f"the start {name!r} is for layers of {start.cell}")

    def normal(of: Any, key: str = "") -> Any:
        if isinstance(of, tuple):
            return np.zeros(of) if key == "b" else rng.normal(0.0, start.deviation, of)
        if isinstance(of, list):
            return [normal(v) for v in of]
        return {k: normal(v, "b" if key == "b" else k) for k, v in of.items()}

    params: Params = normal(expected_shapes(shape))
    if start.radius:
        for layer in params["layers"]:
            layer["U"]["a"] = _sparse(layer["U"]["a"], start, rng)
    return params


def _sparse(U: Array, start: Start, rng: np.random.Generator) -> Array:
    """U with few weights a row, scaled to the spectral radius."""
    order = rng.permuted(np.tile(np.arange(len(U)), (len(U), 1)), axis=1)
    kept = np.where(order < start.links, U, 0.0)
    return kept * (start.radius / np.abs(np.linalg.eigvals(kept)).max())


def state_sizes(layer: Layer) -> dict[str, int]:
    """What a layer carries from step to step: h, c, the gates that feed back."""
    sizes = {"h": layer.n} | dict.fromkeys(layer.row.carry, layer.n)
    return sizes | dict.fromkeys(layer.feedback_gates, layer.n_blocks)
