"""The float model: layers of cells and a readout, one step written once.

Parameters are a tree of arrays::

    {"layers": [{"W": {gate: (rows, n_in)}, "U": {gate: (rows, n_recurrent)},
                 "b": {gate: (rows,)}, "h0": (n,), "c0": (n,), "i0": ...}, ...],
     "readout": {"W": (n_out, n), "V": (n_out, n_in), "b": (n_out,)}}

without what the shape lacks: U without recurrent weights, V without shortcuts, a bias
where there is none, the readout.  Initial states may be left out (zeros).  Everything
takes an array namespace ``xp``, numpy or jax.numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pyvgrad.cells import Array, Layer, Readout, Shape, sigmoid

Params = dict[str, Any]
State = list[dict[str, Array]]  # a layer: h, c where carried, gates that feed back


@dataclass(frozen=True)
class FloatModel:
    """A shape and its numbers, which are checked.  ValueError if they do not fit."""

    shape: Shape
    params: Params

    def __post_init__(self) -> None:
        check_params(self.shape, self.params)


class Trajectory(NamedTuple):
    """Every signal of a run, each (..., T, n).

    ``layers[l]`` has h, c where the cell carries one, and the value of each gate after
    its function under the gate's letter.
    """

    logits: Array
    y: Array
    layers: list[dict[str, Array]]


# ---- parameters ----------------------------------------------------------


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
    gates = layer.gates
    tree: Params = {"W": {k: (layer.rows(k), layer.n_in) for k in gates}}
    if layer.n_recurrent:
        tree["U"] = {k: (layer.rows(k), layer.n_recurrent) for k in gates}
    tree["b"] = {k: (layer.rows(k),) for k in gates if layer.has_bias(k)}
    return tree


def check_params(shape: Shape, params: Params) -> None:
    """ValueError, naming the array, if the parameters are not those of the shape."""
    want = _flat(expected_shapes(shape))
    have = {k: np.shape(v) for k, v in _flat(params).items()}
    for i, layer in enumerate(shape.layers):
        initial = {f"layers.{i}.{k}0": size for k, size in _state_sizes(layer).items()}
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
    of their matrix (Glorot and Bengio 2010).  Biases are 0 with scale None, else
    uniform like weights; ``biases`` gives a gate's own, "y" the readout's: one value,
    or one a row, of which the last is repeated.
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

    tree = expected_shapes(shape)
    layers = [
        {
            name: {k: (bias(s, k) if name == "b" else matrix(s)) for k, s in of.items()}
            for name, of in layer.items()
        }
        for layer in tree["layers"]
    ]
    params: Params = {"layers": layers}
    if "readout" in tree:
        params["readout"] = {
            name: bias(s, "y") if name == "b" else matrix(s)
            for name, s in tree["readout"].items()
        }
    return params


# ---- one step ------------------------------------------------------------


class Affine(NamedTuple):
    """All gates of a layer, or the readout, as one map: a = [x; r] M + b.

    ``M`` is (columns, all rows), ``b`` (all rows,).
    """

    M: Array
    b: Array


def fuse(shape: Shape, params: Params, xp: Any = np) -> list[Affine]:
    """The affine maps of the layers and, last, of the readout, made for many steps."""
    maps = [
        _fuse_layer(layer, p, xp)
        for layer, p in zip(shape.layers, params["layers"], strict=True)
    ]
    if shape.readout is not None:
        p = params["readout"]
        M = xp.concatenate([p["W"], p["V"]], axis=1) if "V" in p else p["W"]
        b = p["b"] if "b" in p else xp.zeros(shape.n_out, M.dtype)
        maps.append(Affine(M.T, b))
    return maps


def _fuse_layer(layer: Layer, p: Params, xp: Any) -> Affine:
    W = xp.concatenate([p["W"][k] for k in layer.gates])
    if layer.n_recurrent:
        U = xp.concatenate([p["U"][k] for k in layer.gates])
        W = xp.concatenate([W, U], axis=1)
    zeros = {k: xp.zeros(layer.rows(k), W.dtype) for k in layer.gates}
    return Affine(W.T, xp.concatenate([(zeros | p["b"])[k] for k in layer.gates]))


def initial_state(
    shape: Shape, params: Params, batch: tuple[int, ...] = (), xp: Any = np
) -> State:
    """The state before the first step, (*batch, n): h0 and c0, else zeros."""
    state: State = []
    for layer, p in zip(shape.layers, params["layers"], strict=True):
        dtype = p["W"][layer.gates[0]].dtype
        state.append(
            {
                k: xp.broadcast_to(p.get(f"{k}0", xp.zeros(n, dtype)), (*batch, n))
                for k, n in _state_sizes(layer).items()
            }
        )
    return state


def _state_sizes(layer: Layer) -> dict[str, int]:
    """What a layer carries from step to step: h, c, the gates that feed back."""
    sizes = {"h": layer.n} | dict.fromkeys(layer.row.carry, layer.n)
    return sizes | dict.fromkeys(layer.feedback_gates, layer.n_blocks)


def step(
    shape: Shape, maps: list[Affine], state: State, x: Array, xp: Any = np
) -> tuple[State, Array, list[dict[str, Array]]]:
    """One step of x (..., n_in): the new state, the logits, every gate's argument.

    Without a readout the logits are h of the last layer.
    """
    new: State = []
    arguments = []
    below = x
    for layer, affine, s in zip(shape.layers, maps, state, strict=False):
        a = _arguments(layer, affine, s, below, xp)
        new.append(layer.row.unit(layer, a, s, xp))
        arguments.append(a)
        below = new[-1]["h"]
    if shape.readout is None:
        return new, below, arguments
    source = xp.concatenate([below, x], axis=-1) if shape.readout.shortcuts else below
    return new, source @ maps[-1].M + maps[-1].b, arguments


def _arguments(
    layer: Layer, affine: Affine, s: dict[str, Array], x: Array, xp: Any
) -> dict[str, Array]:
    """a_k = W_k x + U_k [h; i; o] + b_k of every gate k, each (..., rows)."""
    r = [s["h"], *(s[k] for k in layer.feedback_gates)] if layer.n_recurrent else []
    a = xp.concatenate([x, *r], axis=-1) @ affine.M + affine.b
    ends = np.cumsum([layer.rows(k) for k in layer.gates])[:-1]
    return dict(zip(layer.gates, xp.split(a, ends, axis=-1), strict=True))


def outputs(readout: Readout | None, logits: Array, xp: Any = np) -> Array:
    """Y of the logits: themselves, logistic, or softmax over the last axis."""
    kind = readout.output if readout is not None else "linear"
    if kind == "logistic":
        return sigmoid(logits, xp)
    if kind == "softmax":
        e = xp.exp(logits - logits.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)
    return logits


# ---- many steps, in NumPy ------------------------------------------------


def forward(
    shape: Shape, params: Params, x: Array, state: State | None = None
) -> Trajectory:
    """Run x (..., T, n_in) and keep every signal.  ValueError for another n_in.

    ``state`` is the state before the first step, each array (..., n); without it the
    model's own.
    """
    x = np.asarray(x)
    if x.ndim < 2 or x.shape[-1] != shape.n_in:
        raise ValueError(f"x is (..., T, {shape.n_in}), not {x.shape}")
    maps = fuse(shape, params)
    s = initial_state(shape, params, x.shape[:-2]) if state is None else state
    logits, signals = [], []
    for t in range(x.shape[-2]):
        s, z, arguments = step(shape, maps, s, x[..., t, :])
        logits.append(z)
        signals.append(
            [
                {k: gate_value(layer, k, v) for k, v in a.items()} | now
                for layer, a, now in zip(shape.layers, arguments, s, strict=True)
            ]
        )
    layers = [
        {k: np.stack([now[i][k] for now in signals], axis=-2) for k in signals[0][i]}
        for i in range(len(shape.layers))
    ]
    z = np.stack(logits, axis=-2)
    return Trajectory(z, outputs(shape.readout, z), layers)


def gate_value(layer: Layer, gate: str, argument: Array, xp: Any = np) -> Array:
    """A gate's function of its argument, as in the cell's unit."""
    return {
        "t": lambda: xp.tanh(argument),
        "tanh": lambda: xp.tanh(argument),
        "4s-2": lambda: 2.0 * xp.tanh(0.5 * argument),
        "s": lambda: sigmoid(argument, xp),
        "r": lambda: xp.maximum(argument, 0.0),
    }[layer.function(gate)]()
