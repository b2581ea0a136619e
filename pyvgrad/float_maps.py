"""Float learning: weights, steps and updates of ``docs/numbers-learning.md``.

Everything here is for one seed and one sequence; float_learn.py maps it over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pyvgrad.cells import Array, Layer, Shape
from pyvgrad.grad import step_loss
from pyvgrad.learning import PARTS, READOUT_BIT, Learn
from pyvgrad.model import Params
from pyvgrad.optim import norm

Maps = list[dict[str, Array]]  # of each layer, then of the readout: parts x, h and b
Factors = Mapping[tuple[int, int, str], float]  # (layer, gate, part): times the rate


class Lessons(NamedTuple):
    """Sequences to learn from, padded behind their ends; U of them, T steps.

    ``x`` (U, T) symbols or (U, T, n_in) values; ``target`` (U, T) the one output that
    is 1 or (U, T, n_out) values; ``known`` (U, T) where a step has a target; ``valid``
    (U, T) false behind the end.
    """

    x: Array
    target: Array
    known: Array
    valid: Array


# ---- weights -------------------------------------------------------------


def maps_of(shape: Shape, params: Params) -> Maps:
    """Weights as the steps read them: part x (n_in, rows), h (n_recurrent, rows), b."""
    maps = []
    for layer, p in zip(shape.layers, params["layers"], strict=True):
        U = p.get("U", {k: np.zeros((layer.rows(k), 0)) for k in layer.gates})
        b = {k: np.zeros(layer.rows(k)) for k in layer.gates} | dict(p["b"])
        maps.append(
            {
                "x": np.concatenate([p["W"][k] for k in layer.gates]).T,
                "h": np.concatenate([U[k] for k in layer.gates]).T,
                "b": np.concatenate([b[k] for k in layer.gates]),
            }
        )
    if shape.readout is not None:
        p = params["readout"]
        n_out = shape.readout.n_out
        maps.append(
            {
                "x": p.get("V", np.zeros((n_out, 0))).T,
                "h": p["W"].T,
                "b": p.get("b", np.zeros(n_out)),
            }
        )
    return maps


def params_of(shape: Shape, maps: Maps) -> Params:
    """The reverse of maps_of, float64."""
    layers = []
    for layer, m in zip(shape.layers, maps, strict=False):
        ends = np.cumsum([layer.rows(k) for k in layer.gates])[:-1]
        part = {
            p: dict(
                zip(
                    layer.gates,
                    np.split(np.asarray(m[p], float), ends, -1),
                    strict=True,
                )
            )
            for p in PARTS
        }
        tree: Params = {"W": {k: v.T for k, v in part["x"].items()}}
        if layer.n_recurrent:
            tree["U"] = {k: v.T for k, v in part["h"].items()}
        tree["b"] = {k: v for k, v in part["b"].items() if layer.has_bias(k)}
        layers.append(tree)
    params: Params = {"layers": layers}
    if shape.readout is not None:
        m = {p: np.asarray(v, float) for p, v in maps[-1].items()}
        params["readout"] = {"W": m["h"].T}
        if shape.readout.shortcuts:
            params["readout"]["V"] = m["x"].T
        if shape.readout.biases:
            params["readout"]["b"] = m["b"]
    return params


def rates_of(shape: Shape, learn: Learn, factors: Factors) -> Maps:
    """The rate of each part's rows, (rows,); 0 where a tensor is frozen or absent.

    ValueError for a factor of a gate that is not there.
    """
    left = dict(factors)
    rate, rates = learn.rate_q24 / 2.0**24, []
    for k, layer in enumerate(shape.layers):
        live = not learn.frozen >> k & 1
        rows = [np.ones(layer.rows(gate)) for gate in layer.gates]
        rates.append(
            {
                part: np.concatenate(
                    [
                        one
                        * rate
                        * live
                        * left.pop((k, j, part), 1.0)
                        * (part != "b" or layer.has_bias(gate))
                        for j, (gate, one) in enumerate(
                            zip(layer.gates, rows, strict=True)
                        )
                    ]
                )
                for part in PARTS
            }
        )
    if shape.readout is not None:
        end, r = len(shape.layers), shape.readout
        live = not learn.frozen >> READOUT_BIT & 1
        there = {"x": r.shortcuts > 0, "h": True, "b": r.biases}
        rates.append(
            {
                part: np.full(r.n_out, rate * live * there[part])
                * left.pop((end, 0, part), 1.0)
                for part in PARTS
            }
        )
    if left:
        raise ValueError(f"there is no layer, gate and part {next(iter(left))}")
    return rates


# ---- steps ---------------------------------------------------------------


class Record(NamedTuple):
    """What a layer leaves on the tape: arguments, the state before, what it read."""

    a: Array
    state: dict[str, Array]
    below: Array


def split(layer: Layer, a: Array) -> dict[str, Array]:
    """The gates' arguments by letter, of all rows (..., rows)."""
    ends = np.cumsum([layer.rows(k) for k in layer.gates])[:-1]
    return dict(zip(layer.gates, jnp.split(a, ends, axis=-1), strict=True))


def recurrent(layer: Layer, state: Mapping[str, Array]) -> Array:
    """r = [h; i; o] of the step before, (n_recurrent,)."""
    if not layer.n_recurrent:
        return jnp.zeros(0, state["h"].dtype)
    return jnp.concatenate([state["h"], *(state[k] for k in layer.feedback_gates)])


def read(x: Array, weights: Array) -> Array:
    """X @ weights; for a symbol its row, at a cost that does not grow with n_in."""
    if jnp.issubdtype(x.dtype, jnp.integer) and x.ndim == 0:
        return weights[x]
    return x @ weights


def forward(
    shape: Shape, maps: Maps, states: Any, x: Array
) -> tuple[Any, list[Record], Array]:
    """One step: the new states, what each layer leaves, the logits."""
    new, records, below = [], [], x
    for layer, m, s in zip(shape.layers, maps, states, strict=False):
        a = read(below, m["x"]) + recurrent(layer, s) @ m["h"] + m["b"]
        records.append(Record(a, s, below))
        new.append(layer.row.unit(layer, split(layer, a), s, jnp))
        below = new[-1]["h"]
    if shape.readout is None:
        return new, records, below
    logits = below @ maps[-1]["h"] + maps[-1]["b"]
    if shape.readout.shortcuts:
        logits = logits + read(x, maps[-1]["x"])
    return new, records, logits


def errors_of(shape: Shape, loss: str, logits: Array, target: Array) -> Array:
    """The error of each logit at each step, (S, n_out)."""
    if target.ndim == 1:
        target = jax.nn.one_hot(target, shape.n_out, dtype=logits.dtype)

    def total(z: Array) -> Array:
        return jnp.sum(step_loss(shape, loss, z, target))

    error: Array = jax.grad(total)(logits)
    return error


def starting_states(shape: Shape, maps: Maps) -> Any:
    """Zeros: the state that a sequence starts from."""
    sizes = [
        {"h": layer.n}
        | dict.fromkeys(layer.row.carry, layer.n)
        | dict.fromkeys(layer.feedback_gates, layer.n_blocks)
        for layer in shape.layers
    ]
    dtype = maps[0]["b"].dtype
    return [{k: jnp.zeros(n, dtype) for k, n in size.items()} for size in sizes]


def logits_of(shape: Shape, maps: Maps, x: Array) -> Array:
    """Logits (T, n_out) of one sequence x, (T,) symbols or (T, n_in) values."""

    def body(states: Any, now: Array) -> Any:
        new, _, logits = forward(shape, maps, states, now)
        return new, logits

    _, logits = jax.lax.scan(body, starting_states(shape, maps), x)
    return logits


# ---- updates -------------------------------------------------------------


class Moving(NamedTuple):
    """What a training carries from update to update; memory as the rule has it."""

    maps: Maps
    memory: Maps


def where(test: Array, a: Any, b: Any) -> Any:
    """The tree a where the test is true, else b; what is not chosen may be NaN."""
    return jax.tree.map(lambda p, q: jnp.where(test, p, q), a, b)


def chosen(test: Array, a: Moving, b: Moving) -> Moving:
    """As where."""
    return Moving(*where(test, a, b))


def update(learn: Learn, rates: Maps, moving: Moving, gradient: Maps) -> Moving:
    """Clip, then one step of the rule; tensors of rate 0 take no part in either."""
    g = jax.tree.map(lambda g, r: jnp.where(r > 0.0, g, 0.0), gradient, rates)
    factor = clip_factor(learn, norm(g))
    g = jax.tree.map(lambda a: factor * a, g)
    decay, memory = learn.decay_q14 / 2.0**14, moving.memory
    if learn.rule == "rmsprop":
        square = (learn.epsilon_q24 / 2.0**24) ** 2
        memory = jax.tree.map(lambda v, a: decay * v + (1 - decay) * a * a, memory, g)
        g = jax.tree.map(lambda a, v: a / jnp.sqrt(v + square), g, memory)
    step = jax.tree.map(lambda a, r: -r * a, g, rates)
    if learn.rule == "momentum":
        memory = jax.tree.map(lambda v, s: decay * v + s, memory, step)
        ahead = jax.tree.map(lambda v, s: decay * v + s, memory, step)
        step = ahead if learn.nesterov else memory
    return Moving(jax.tree.map(jnp.add, moving.maps, step), memory)


def clip_factor(learn: Learn, length: Array) -> Array:
    """What a gradient of this norm is multiplied by (Pascanu et al. 2013)."""
    threshold = learn.clip_q16 / 2.0**16
    if threshold <= 0.0:
        return jnp.ones_like(length)
    long = length > threshold
    return jnp.where(long, threshold / jnp.maximum(length, 1e-30), 1.0)
