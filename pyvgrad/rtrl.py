"""Real-time recurrent learning, exact: Robinson and Fallside 1987; Williams and Zipser.

One layer has a trace for every weight and every state, e = d s / d weight,

    e' = (J_s + J_a U') e + J_a z,

with the cell's Jacobians to its state and to its arguments a = W x + U r + b, and z
what the weight multiplies.  Memory does not grow with the sequence; the gradient is
that of backpropagation through time as long as weights stay.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pyvgrad.cells import Array, Layer, Shape
from pyvgrad.float_maps import (
    Lessons,
    Maps,
    Moving,
    forward,
    recurrent,
    split,
    starting_states,
)
from pyvgrad.float_traces import error_at, update_now
from pyvgrad.learning import Learn


class Live(NamedTuple):
    """What goes on from step to step.

    ``traces[part]`` is (states, columns, rows), for the bias (states, rows); the
    states are those of the layer one behind the other.
    """

    states: Any
    traces: dict[str, Array]


def start(shape: Shape, maps: Maps) -> Live:
    """A sequence's start: zeros.  ValueError for more than one layer."""
    if len(shape.layers) != 1:
        raise ValueError(f"rtrl takes one layer, not {len(shape.layers)}")
    states = starting_states(shape, maps)
    n = ravel_pytree(states[0])[0].size
    zero = {part: jnp.zeros((n, *m.shape), m.dtype) for part, m in maps[0].items()}
    return Live(states, zero)


def _jacobians(
    layer: Layer, maps: dict[str, Array], a: Array, state: Any
) -> tuple[Array, Array]:
    """D s' / d s with the way through U (states, states); d s' / d a (states, rows)."""
    s, unravel = ravel_pytree(state)

    def unit(a: Array, s: Array) -> Array:
        new = layer.row.unit(layer, split(layer, a), unravel(s), jnp)
        flat: Array = ravel_pytree({k: new[k] for k in state})[0]
        return flat

    to_a, to_s = jax.jacfwd(unit, argnums=(0, 1))(a, s)
    to_r = jax.jacfwd(lambda s: recurrent(layer, unravel(s)))(s)
    return to_s + to_a @ maps["h"].T @ to_r, to_a


def _advance(
    traces: dict[str, Array], carry: Array, to_a: Array, z: dict[str, Array]
) -> dict[str, Array]:
    """The traces after the step."""

    def new(part: str, e: Array) -> Array:
        old = (carry @ e.reshape(len(e), -1)).reshape(e.shape)
        if part == "b":
            return old + to_a
        if z[part].ndim == 0:  # a symbol
            return old.at[:, z[part]].add(to_a)
        return old + to_a[:, None, :] * z[part][None, :, None]

    return {part: new(part, e) for part, e in traces.items()}


def step(
    shape: Shape,
    learn: Learn,
    rates: Maps,
    moving: Moving,
    live: Live,
    now: Lessons,
    visible: int | None = None,
) -> tuple[Moving, Live, Array]:
    """One step, its update where there is a target, and the logits (n_out,).

    Without a readout the first ``visible`` units have targets.
    """
    layer, maps = shape.layers[0], moving.maps
    before = live.states[0]
    states, (record,), logits = forward(shape, maps, live.states, now.x)
    carry, to_a = _jacobians(layer, maps[0], record.a, before)
    z = {"x": now.x, "h": recurrent(layer, before)}
    traces = _advance(live.traces, carry, to_a, z)
    d = error_at(shape, learn, logits, now.target, now.known)
    if visible is not None:
        d = jnp.where(jnp.arange(len(d)) < visible, d, 0.0)
    dh = maps[1]["h"] @ d if shape.readout is not None else d
    nothing = jax.tree.map(jnp.zeros_like, states[0])
    ds, _ = ravel_pytree(nothing | {"h": dh})
    g = [{part: jnp.tensordot(ds, e, 1) for part, e in traces.items()}]
    if shape.readout is not None:
        h = states[0]["h"]
        g.append({"x": now.x, "h": h[:, None] * d, "b": d})
    moving = update_now(shape, learn, rates, moving, g, d, now.known)
    return moving, Live(states, traces), logits
