"""The truncated RTRL of 1997 in float: traces instead of a tape.

An error that reaches an argument stops there and lives on only in c (Hochreiter and
Schmidhuber 1997, appendix A.1), so each cell has a trace for every weight of its own
row of g and of its block's rows of i and f: d c / d weight.  For one layer of
``lstm97`` or ``lstm``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pyvgrad.cells import Array, Layer, Shape, sigmoid
from pyvgrad.float_maps import (
    Lessons,
    Maps,
    Moving,
    chosen,
    clip_factor,
    errors_of,
    forward,
    recurrent,
    split,
    starting_states,
    update,
    where,
)
from pyvgrad.learning import Learn
from pyvgrad.optim import norm


class Live(NamedTuple):
    """What goes on from step to step: states, and traces by gate and part.

    ``traces[gate][part]`` is (columns, n), for the bias (n,).  ``gradient`` is what was
    gathered since the last update, ``known`` whether any step had a target.
    """

    states: Any
    traces: Any
    gradient: Maps
    known: Array


class _Slopes(NamedTuple):
    """Of c to the arguments i, f, g of its cell; of h to c and to the argument o."""

    C: dict[str, Array]
    f: Array
    H_c: Array
    H_o: Array


def start(shape: Shape, maps: Maps) -> Live:
    """A sequence's start: zeros."""
    layer = shape.layers[0]
    zero = {
        part: jnp.zeros((*m.shape[:-1], layer.n), m.dtype)
        for part, m in maps[0].items()
    }
    traces = {k: zero for k in "ifg" if k in layer.gates}
    gradient = jax.tree.map(jnp.zeros_like, maps)
    return Live(starting_states(shape, maps), traces, gradient, jnp.zeros((), bool))


def _slopes(layer: Layer, a: dict[str, Array], c0: Array, c: Array) -> _Slopes:
    """The derivatives of one step, each (n,)."""
    opts, one = layer.opts, jnp.ones_like(c)
    s = {k: jnp.repeat(sigmoid(a[k], jnp), layer.block) for k in "ifo" if k in a}
    i, f, o = (s.get(k, one) for k in "ifo")
    if opts.squash_g == "s":
        g = sigmoid(a["g"], jnp)
        slope = g * (1.0 - g)
    else:
        k = 2.0 if opts.squash_g == "4s-2" else 1.0  # 4s(x) - 2 = 2 tanh(x / 2)
        t = jnp.tanh(a["g"] / k)
        g, slope = k * t, 1.0 - t * t
    C = {"i": i * (1.0 - i) * g, "g": i * slope}
    if "f" in s:
        C["f"] = f * (1.0 - f) * c0
    if opts.squash_h == "identity":
        return _Slopes(C, f, o, o * (1.0 - o) * c)
    k = 0.5 if opts.squash_h == "2s-1" else 1.0
    t = jnp.tanh(k * c)
    return _Slopes(C, f, o * k * (1.0 - t * t), o * (1.0 - o) * t)


def _block_sum(layer: Layer, cells: Array) -> Array:
    return cells.reshape(*cells.shape[:-1], layer.n_blocks, layer.block).sum(axis=-1)


def _times(part: str, z: Array, d: Array, like: Array) -> Array:
    """d of each row at the weights from z, (columns, rows); for the bias d itself."""
    if part == "b":
        return d
    if z.ndim == 0:  # a symbol
        return jnp.zeros((like.shape[0], d.shape[0]), d.dtype).at[z].set(d)
    return z[:, None] * d


def _gradient(
    layer: Layer, maps: Maps, sources: dict[str, Array], traces: Any, errors: Any
) -> dict[str, Array]:
    """The layer's gradient of one step; errors are (dc, error of each output gate)."""
    dc, a_o = errors
    parts = {}
    for part in ("x", "h", "b"):
        rows = []
        for k in layer.gates:
            if k == "o":
                rows.append(_times(part, sources[part], a_o, maps[0][part]))
            elif k == "g":
                rows.append(dc * traces[k][part])
            else:
                rows.append(_block_sum(layer, dc * traces[k][part]))
        parts[part] = jnp.concatenate(rows, axis=-1)
    return parts


def _advance(traces: Any, slopes: _Slopes, sources: dict[str, Array]) -> Any:
    """e' = f e + C z."""

    def new(part: str, e: Array, C: Array) -> Array:
        z = sources[part]
        if part == "b":
            return slopes.f * e + C
        if z.ndim == 0:
            return (slopes.f * e).at[z].add(C)
        return slopes.f * e + z[:, None] * C

    return {
        k: {part: new(part, e, slopes.C[k]) for part, e in of.items()}
        for k, of in traces.items()
    }


def step(
    shape: Shape, learn: Learn, rates: Maps, moving: Moving, live: Live, now: Lessons
) -> tuple[Moving, Live]:
    """One step of one sequence, and an update where k1 is 1 and there is a target."""
    layer, maps = shape.layers[0], moving.maps
    s = live.states[0]
    states, (record,), logits = forward(shape, maps, live.states, now.x)
    h, c = states[0]["h"], states[0]["c"]
    slopes = _slopes(layer, split(layer, record.a), s["c"], c)
    one = jnp.ones((), c.dtype)
    sources = {"x": now.x, "h": recurrent(layer, s), "b": one}
    traces = _advance(live.traces, slopes, sources)
    known = now.known & now.valid
    d = error_at(shape, learn, logits, now.target, known)
    dh = maps[1]["h"] @ d if shape.readout is not None else d
    a_o = _block_sum(layer, dh * slopes.H_o)
    g = [_gradient(layer, maps, sources, traces, (dh * slopes.H_c, a_o))]
    after = Live(states, traces, live.gradient, live.known | known)
    if shape.readout is not None:
        g.append({"x": now.x, "h": h[:, None] * d, "b": d})
    if learn.k1 == 1:
        moving = update_now(shape, learn, rates, moving, g, d, known)
    else:
        after = after._replace(gradient=_add(shape, live.gradient, g, d))
    return moving, where(now.valid, after, live)


def error_at(
    shape: Shape, learn: Learn, logits: Array, target: Array, known: Array
) -> Array:
    """The error of each logit at one step, (n_out,); 0 where no target is known."""
    safe = jnp.where(known, target, jnp.zeros_like(target))
    d = errors_of(shape, learn.loss, logits[None], safe[None])[0]
    return jnp.where(known, d, 0.0)


def _shortcut(shape: Shape, x: Array, d: Array, like: Array) -> Array:
    """The gradient of the shortcuts; nothing where there are none."""
    if shape.readout is None or not shape.readout.shortcuts:
        return jnp.zeros_like(like)
    return _times("x", x, d, like)


def _add(shape: Shape, gathered: Maps, g: Maps, d: Array) -> Maps:
    """The gathered gradient with this step's; of a symbol's shortcuts one row."""
    if len(g) == 1:
        return [jax.tree.map(jnp.add, gathered[0], g[0])]
    x, old = g[1]["x"], gathered[1]["x"]
    if shape.readout is not None and shape.readout.shortcuts and x.ndim == 0:
        shortcuts = old.at[x].add(d)
    else:
        shortcuts = old + _shortcut(shape, x, d, old)
    readout = {k: gathered[1][k] + g[1][k] for k in "hb"} | {"x": shortcuts}
    return [jax.tree.map(jnp.add, gathered[0], g[0]), readout]


def update_now(
    shape: Shape,
    learn: Learn,
    rates: Maps,
    moving: Moving,
    g: Maps,
    d: Array,
    known: Array,
) -> Moving:
    """The update of one step, where there was a target.

    With plain SGD and symbols only one row of the shortcuts changes: written so, a step
    costs as much as it has outputs, not outputs times inputs.
    """
    if len(g) == 1:
        return chosen(known, update(learn, rates, moving, g), moving)
    x = g[1]["x"]
    sparse = x.ndim == 0 and learn.rule == "sgd" and shape.readout is not None
    if not (sparse and shape.readout is not None and shape.readout.shortcuts):
        shortcuts = _shortcut(shape, x, d, moving.maps[1]["x"])
        g = [g[0], g[1] | {"x": shortcuts}]
        return chosen(known, update(learn, rates, moving, g), moving)
    rate = rates[1]["x"]
    row = jnp.where(rate > 0.0, d, 0.0)
    rest = [rates[0], {k: rates[1][k] for k in "hb"}]
    g = [g[0], {k: g[1][k] for k in "hb"}]
    g = jax.tree.map(lambda g, r: jnp.where(r > 0.0, g, 0.0), g, rest)
    factor = clip_factor(learn, jnp.sqrt(norm(g) ** 2 + jnp.sum(row * row)))
    factor = jnp.where(known, factor, 0.0)
    maps = moving.maps
    small = [maps[0], {k: maps[1][k] for k in "hb"}]
    small = jax.tree.map(lambda m, r, g: m - r * factor * g, small, rest, g)
    shortcuts = maps[1]["x"].at[x].add(-rate * factor * row)
    return moving._replace(maps=[small[0], small[1] | {"x": shortcuts}])


def sequence_end(learn: Learn, rates: Maps, moving: Moving, live: Live) -> Moving:
    """Apply what was gathered."""
    if learn.k1 == 1:
        return moving
    return chosen(live.known, update(learn, rates, moving, live.gradient), moving)
