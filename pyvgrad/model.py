"""The float model: layers of cells and a readout, one step written once.

Its parameters are a tree of arrays (params.py).  Everything takes an array namespace
``xp``, numpy or jax.numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pyvgrad.cells import Array, Layer, Readout, Shape, sigmoid
from pyvgrad.params import Params, check_params, init_params, state_sizes
from pyvgrad.units import gate_value

__all__ = [
    "FloatModel",
    "Maps",
    "Params",
    "State",
    "Trajectory",
    "check_params",
    "flipped",
    "forward",
    "fuse",
    "init_params",
    "initial_state",
    "layer_step",
    "outputs",
    "readout_sources",
    "readout_step",
    "step",
]

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

    ``layers[l]`` has h, c where the cell carries one beside h, the value of each gate
    after its function under the gate's letter, and ``out`` where the layer does not
    give h.  Where a layer is reversed, in mode ``final``, logits and y are those of the
    whole sequence at every step.
    """

    logits: Array
    y: Array
    layers: list[dict[str, Array]]


# ---- one step ------------------------------------------------------------


class Affine(NamedTuple):
    """Gates with the same sources, or the readout, as one map: a = z M + P own + b.

    ``M`` is (columns, all rows), ``P`` of each gate that has it (rows,), ``b`` (all
    rows,).
    """

    gates: str  # none for the readout
    M: Array
    P: Mapping[str, Array]
    b: Array


class Maps(NamedTuple):
    """The affine maps of a model, made for many steps."""

    layers: list[list[Affine]]
    readout: Affine | None


def fuse(shape: Shape, params: Params, xp: Any = np) -> Maps:
    """The maps of the layers, early gates before late ones, and of the readout."""
    layers = [
        [_fuse_gates(layer, p, gates, xp) for gates in _groups(layer)]
        for layer, p in zip(shape.layers, params["layers"], strict=True)
    ]
    if shape.readout is None:
        return Maps(layers, None)
    p = params["readout"]
    M = xp.concatenate([p["W"], p["V"]], axis=1) if "V" in p else p["W"]
    b = p["b"] if "b" in p else xp.zeros(shape.n_out, M.dtype)
    return Maps(layers, Affine("", M.T, {}, b))


def _groups(layer: Layer) -> list[str]:
    """The gates, those with the same sources together."""
    groups: dict[tuple[bool, bool, bool], str] = {}
    for k in layer.gates:
        parts = layer.parts(k)
        key = (k in layer.row.late, "W" in parts, "U" in parts)
        groups[key] = groups.get(key, "") + k
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


def _fuse_gates(layer: Layer, p: Params, gates: str, xp: Any) -> Affine:
    sources = [k for k in "WU" if k in layer.parts(gates[0])]
    blocks = [xp.concatenate([p[name][k] for k in gates]) for name in sources]
    M = xp.concatenate(blocks, axis=1)
    zeros = {k: xp.zeros(layer.rows(k), M.dtype) for k in gates}
    own = {k: p["P"][k] for k in gates if "P" in layer.parts(k)}
    return Affine(gates, M.T, own, xp.concatenate([(zeros | p["b"])[k] for k in gates]))


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
                for k, n in state_sizes(layer).items()
            }
        )
    return state


def step(
    shape: Shape,
    maps: Maps,
    state: State,
    x: Array,
    xp: Any = np,
    seen: Callable[[Array], Array] = lambda v: v,
    added: Sequence[Mapping[str, Array] | None] | None = None,
) -> tuple[State, Array, list[dict[str, Array]]]:
    """One step of x (..., n_in): the new state, the logits, every gate's argument.

    Without a readout the logits are what the last layer gives.  ``seen`` and, of each
    layer, ``added`` as in layer_step.  ValueError for a model with a reversed layer: it
    has no single step.
    """
    if shape.whole:
        raise ValueError("a model with a reversed layer takes whole sequences")
    new: State = []
    arguments = []
    below = x
    pushes = [None] * len(shape.layers) if added is None else added
    each = zip(shape.layers, maps.layers, state, pushes, strict=True)
    for layer, affines, s, push in each:
        now, below, a = layer_step(layer, affines, s, below, xp, seen, push)
        new.append(now)
        arguments.append(a)
    return new, readout_step(shape, maps, below, x, xp), arguments


def readout_step(
    shape: Shape, maps: Maps, below: Array, x: Array, xp: Any = np
) -> Array:
    """The logits (..., n_out) of what the last layer gives and, for shortcuts, x."""
    if shape.readout is None or maps.readout is None:
        return below
    source = xp.concatenate([below, x], axis=-1) if shape.readout.shortcuts else below
    return source @ maps.readout.M + maps.readout.b


def layer_step(
    layer: Layer,
    affines: list[Affine],
    s: dict[str, Array],
    x: Array,
    xp: Any = np,
    seen: Callable[[Array], Array] = lambda v: v,
    added: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Array], Array, dict[str, Array]]:
    """One step of one layer: the new state, what it gives (..., n), the arguments.

    ``seen`` is applied to a state where weights read it, not where the unit does: the
    truncated gradient cuts there.  ``added`` {gate: (..., rows)} comes to the gates'
    arguments: the derivative by it is that by the argument.
    """
    a: dict[str, Array] = {}
    for affine in affines:
        read = s
        if affine.gates[0] in layer.row.late and layer.row.between is not None:
            read = s | layer.row.between(layer, a, s, xp)
        read = {k: seen(v) for k, v in read.items()}
        now = _arguments(layer, affine, read, x, xp)
        a |= now if added is None else {k: v + added[k] for k, v in now.items()}
    new = layer.row.unit(layer, a, s, xp)
    out = new.pop("out", new["h"])
    return new, out, a


def _arguments(
    layer: Layer, affine: Affine, s: dict[str, Array], x: Array, xp: Any
) -> dict[str, Array]:
    """a_k = W_k x + U_k [h; i; o] + p_k own + b_k of some gates, each (..., rows)."""
    gates, parts = affine.gates, layer.parts(affine.gates[0])
    z = [x] if "W" in parts else []
    if "U" in parts:
        z += [s["h"], *(s[k] for k in layer.feedback_gates)]
    a = xp.concatenate(z, axis=-1) @ affine.M + affine.b
    ends = np.cumsum([layer.rows(k) for k in gates])[:-1]
    each = dict(zip(gates, xp.split(a, ends, axis=-1), strict=True))
    for k, p in affine.P.items():
        each[k] = each[k] + p * (s["h"] if layer.reads(k) == "d" else s["c"])
    return each


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
    shape: Shape,
    params: Params,
    x: Array,
    state: State | None = None,
    lengths: Array | None = None,
) -> Trajectory:
    """Run x (..., T, n_in) and keep every signal.  ValueError for another n_in.

    ``state`` is the state before the first step (a reversed layer's, before the last),
    each array (..., n); without it the model's own.  ``lengths`` (...,) are the
    sequences' ends where they are not T: a reversed layer starts there.
    """
    x = np.asarray(x)
    if x.ndim < 2 or x.shape[-1] != shape.n_in:
        raise ValueError(f"x is (..., T, {shape.n_in}), not {x.shape}")
    maps = fuse(shape, params)
    start = initial_state(shape, params, x.shape[:-2]) if state is None else state
    layers: list[dict[str, Array]] = []
    given: list[Array] = []
    for k, layer in enumerate(shape.layers):
        below = [given[i] for i in shape.below(k)]
        source = np.concatenate(below, axis=-1) if below else x
        out, signals = _layer_forward(layer, maps.layers[k], source, start[k], lengths)
        given.append(out)
        layers.append(signals)
    source, shortcut = readout_sources(shape, given, x, lengths)
    steps = range(x.shape[-2])
    z = np.stack(
        [
            readout_step(shape, maps, source[..., t, :], shortcut[..., t, :])
            for t in steps
        ],
        axis=-2,
    )
    return Trajectory(z, outputs(shape.readout, z), layers)


def _layer_forward(
    layer: Layer,
    affines: list[Affine],
    x: Array,
    s: dict[str, Array],
    lengths: Array | None,
) -> tuple[Array, dict[str, Array]]:
    """What a layer gives, (..., T, n), and its signals."""
    x = flipped(x, lengths) if layer.reversed else x
    given, signals = [], []
    for t in range(x.shape[-2]):
        s, out, a = layer_step(layer, affines, s, x[..., t, :])
        extra = {} if out is s["h"] else {"out": out}
        values = {k: gate_value(layer, k, v, np) for k, v in a.items()}
        given.append(out)
        signals.append(values | s | extra)
    series = {k: np.stack([now[k] for now in signals], axis=-2) for k in signals[0]}
    out = np.stack(given, axis=-2)
    if layer.reversed:
        series = {k: flipped(v, lengths) for k, v in series.items()}
        out = flipped(out, lengths)
    return out, series


def flipped(v: Array, lengths: Array | None, xp: Any = np) -> Array:
    """V (..., T, n) with the steps before each sequence's end in reverse order."""
    if lengths is None:
        return xp.flip(v, axis=-2)
    steps = xp.arange(v.shape[-2])
    ends = xp.asarray(lengths)[..., None]
    order = xp.where(steps < ends, ends - 1 - steps, steps)
    return xp.take_along_axis(v, order[..., None], axis=-2)


def readout_sources(
    shape: Shape, given: list[Array], x: Array, lengths: Array | None, xp: Any = np
) -> tuple[Array, Array]:
    """What the readout reads of the last layer and of x, each (..., T, .)."""
    top = [given[k] for k in shape.top]
    if not shape.whole or shape.mode != "final":
        return xp.concatenate(top, axis=-1), x
    last = x.shape[-2] - 1 if lengths is None else xp.asarray(lengths) - 1
    ends = [
        v[..., :1, :] if shape.layers[k].reversed else _at(v, last, xp)
        for k, v in zip(shape.top, top, strict=True)
    ]
    h = xp.concatenate(ends, axis=-1)
    return tuple(
        xp.broadcast_to(v, (*v.shape[:-2], x.shape[-2], v.shape[-1]))
        for v in (h, _at(x, last, xp))
    )


def _at(v: Array, step: Any, xp: Any) -> Array:
    """V (..., T, n) at one step of each sequence, (..., 1, n)."""
    index = xp.broadcast_to(xp.asarray(step), v.shape[:-2])
    return xp.take_along_axis(v, index[..., None, None], axis=-2)
