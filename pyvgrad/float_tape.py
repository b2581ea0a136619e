"""The gradient of one stretch of a sequence in float, with the windows of the tape.

One backward pass serves every cell: the tape keeps the gates' arguments and the state
before each step, and JAX differentiates the cell's unit there.  Errors go back through
the weights as they are now.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pyvgrad.cells import Array, Layer, Shape
from pyvgrad.float_maps import (
    Lessons,
    Maps,
    Record,
    errors_of,
    forward,
    recurrent,
    split,
    where,
)
from pyvgrad.learning import Learn


def _backward(
    shape: Shape, maps: Maps, later: Any, records: list[Record], dh: Array
) -> tuple[Any, list[Array]]:
    """One step back: errors of the states before it and of every layer's arguments.

    ``later`` are the errors that come from the step after, ``dh`` (n,) that of the last
    layer's h from its readout.
    """
    before: list[Any] = []
    arguments: list[Array] = []
    for k in reversed(range(len(shape.layers))):
        layer, m, rec = shape.layers[k], maps[k], records[k]

        def unit(a: Array, s: Any, layer: Layer = layer) -> dict[str, Array]:
            return layer.row.unit(layer, split(layer, a), s, jnp)

        d = later[k] | {"h": later[k]["h"] + dh}
        da, ds = jax.vjp(unit, rec.a, rec.state)[1](d)
        if layer.n_recurrent:
            sizes = {"h": layer.n} | dict.fromkeys(layer.feedback_gates, layer.n_blocks)
            parts = jnp.split(m["h"] @ da, np.cumsum(list(sizes.values()))[:-1])
            ds = ds | {j: ds[j] + v for j, v in zip(sizes, parts, strict=True)}
        before.insert(0, ds)
        arguments.insert(0, da)
        if k:
            dh = m["x"] @ da
    return before, arguments


# ---- a segment: the steps between two updates ------------------------------


def _outer(z: Array, d: Array, n: int) -> Array:
    """sum over steps of z d', (n, rows); symbols z (S,) add to one row each.

    Step after step: a matrix product would group the steps by their number, and then
    padding would change a sum's last bits.
    """
    zero = jnp.zeros((n, d.shape[-1]), d.dtype)
    if z.ndim == 1:
        return zero.at[z].add(d)
    if not n:
        return zero
    return jax.lax.scan(lambda g, v: (g + jnp.outer(*v), None), zero, (z, d))[0]


def _sum(d: Array) -> Array:
    """sum over steps, in the same order."""
    return _outer(jnp.ones((len(d), 1), d.dtype), d, 1)[0]


def run(shape: Shape, maps: Maps, states: Any, lesson: Lessons) -> Any:
    """Forward over (S, ...): states after, (records, h of the last layer, logits)."""

    def body(states: Any, now: Any) -> Any:
        x, valid = now
        new, records, logits = forward(shape, maps, states, x)
        return where(valid, new, states), (records, new[-1]["h"], logits)

    return jax.lax.scan(body, states, (lesson.x, lesson.valid))


def _tape_gradient(
    shape: Shape, maps: Maps, tape: Any, window: Array, dh: Array
) -> Maps:
    """The layers' gradient from a tape of L steps.

    ``window`` (L,) says which steps count, ``dh`` (L, n) the readout's errors.
    """
    nothing = jax.tree.map(lambda a: jnp.zeros_like(a[0]), [r.state for r in tape])

    def body(later: Any, now: Any) -> Any:
        records, live, dh = now
        before, arguments = _backward(shape, maps, later, records, dh)
        zero = jax.tree.map(jnp.zeros_like, arguments)
        return where(live, before, later), where(live, arguments, zero)

    _, deltas = jax.lax.scan(body, nothing, (tape, window, dh), reverse=True)
    gradient = []
    for layer, rec, da in zip(shape.layers, tape, deltas, strict=True):
        r = jax.vmap(partial(recurrent, layer))(rec.state)
        x = _outer(rec.below, da, layer.n_in)
        gradient.append({"x": x, "h": _outer(r, da, layer.n_recurrent), "b": _sum(da)})
    return gradient


def segment_gradient(
    shape: Shape, learn: Learn, maps: Maps, tape: Any, lesson: Lessons, made: Any
) -> tuple[Maps, Any]:
    """The gradient of a segment's errors, and the tape with the segment on it.

    ``tape`` (records, which are valid) holds the steps before, ``made`` what run()
    made of the lesson (S, ...).
    """
    older, was_valid = tape
    records, h, logits = made
    known = lesson.known & lesson.valid
    target = jnp.where(
        known.reshape(known.shape + (1,) * (lesson.target.ndim - 1)), lesson.target, 0
    )
    d = jnp.where(known[:, None], errors_of(shape, learn.loss, logits, target), 0.0)
    back = d @ maps[-1]["h"].T if shape.readout is not None else d
    whole = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), older, records)
    valid = jnp.concatenate([was_valid, lesson.valid])
    age = jnp.cumsum(valid[::-1])[::-1]  # 1 for the newest step
    dh = jnp.concatenate([jnp.zeros((len(was_valid), back.shape[1]), back.dtype), back])
    gradient = _tape_gradient(shape, maps, whole, valid & (age <= learn.k2), dh)
    if shape.readout is not None:
        n = shape.readout.shortcuts
        shortcuts = (
            _outer(lesson.x, d, n) if n else jnp.zeros((0, shape.n_out), d.dtype)
        )
        gradient.append({"x": shortcuts, "h": _outer(h, d, h.shape[1]), "b": _sum(d)})
    return gradient, (whole, valid)
