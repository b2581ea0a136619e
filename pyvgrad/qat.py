"""Quantization-aware training: the float loop on the numbers that integers can hold.

Weights and signals are rounded on the way forward; on the way back the rounding counts
as the identity (the straight-through estimator: Bengio, Leonard and Courville 2013).
What is clamped passes no gradient, but weights always do.  ``train.train`` takes a
``Rounding``; the rounded weights are exactly those that ``quantize`` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pyvgrad.errors import VgradError

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise VgradError(
        "jax is not installed and training needs it: pip install pyvgrad[train]"
    ) from error

from pyvgrad.calibrate import MAX_CLIP, Exponents, Grid
from pyvgrad.cells import Array, Layer, Shape
from pyvgrad.grad import ends_of, logits_of, masked_loss
from pyvgrad.model import Params
from pyvgrad.qmodel import Ints, QLayer
from pyvgrad.rounded import rounded_shape

_OF_ZERO = 1 << 16  # the exponent that zero would admit


@dataclass(frozen=True)
class Rounding:
    """What is rounded: weights to 8 or 16 bits, signals to their exponents.

    ``weights`` is the method for their range, ``minmax`` or ``mse``; with ``signals``
    False only weights are rounded.  ValueError for what does not exist.
    """

    weight_bits: int
    exponents: Exponents
    weights: str = "minmax"
    signals: bool = True

    def __post_init__(self) -> None:
        if self.weight_bits not in (8, 16) or self.weights not in ("minmax", "mse"):
            raise ValueError(
                "training rounds weights to 8 or 16 bits, by minmax or mse, not "
                f"{self.weight_bits} by {self.weights}"
            )


def value_and_grad(
    shape: Shape, loss: str, rounding: Rounding
) -> Callable[..., tuple[Array, Params]]:
    """f(params, x, y, mask) -> (loss of the rounded model, straight-through gradients).

    Arrays as in grad.value_and_grad.
    """
    exps = rounding.exponents
    near = rounded_shape(shape, exps, straight_int16) if rounding.signals else shape

    def f(params: Params, x: Array, y: Array, mask: Array) -> Array:
        if rounding.signals:
            x = straight_int16(x, exps.x)
        rounded = round_params(shape, params, rounding)
        logits = logits_of(near, rounded, x, lengths=ends_of(shape, mask))
        if rounding.signals and shape.readout is not None:
            logits = straight_int16(logits, exps.logits)
        return masked_loss(shape, loss, logits, y, mask)

    both: Callable[..., tuple[Array, Params]] = jax.value_and_grad(f)
    return both


# ---- straight through ----------------------------------------------------


@jax.custom_jvp
def straight(v: Array, rounded: Array) -> Array:
    """``rounded``, whose gradient is that of v."""
    return rounded


@straight.defjvp
def _straight_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return primals[1], tangents[0]


def straight_int16(v: Array, e: int) -> Array:
    """Value v rounded to an int16 on exponent e; no gradient where it is clamped."""
    low, high = -32768.0 * 2.0**-e, 32767.0 * 2.0**-e
    inside = jnp.clip(v, low, high)
    return straight(inside, half_up(inside * 2.0**e) * 2.0**-e)


def half_up(x: Array) -> Array:
    """floor(x + 1/2) of what each float is; the sum x + 1/2 would be rounded."""
    low = jnp.floor(x)
    return low + (x - low >= 0.5)


# ---- weights -------------------------------------------------------------


def round_params(shape: Shape, params: Params, rounding: Rounding) -> Params:
    """Parameters as ``dequantize(quantize(...))`` has them, straight through.

    Initial states stay as they are.
    """
    grid = Grid(rounding.weight_bits, rounding.weights)
    exps = rounding.exponents
    layers = [
        _round_layer(layer, p, exps.h[k], exps.below(shape, k), grid)
        for k, (layer, p) in enumerate(zip(shape.layers, params["layers"], strict=True))
    ]
    tree: Params = params | {"layers": layers}
    if shape.readout is not None:
        p = params["readout"]
        x = np.full(shape.readout.shortcuts, exps.x)
        columns = np.concatenate([exps.below(shape, len(layers)), x])
        one = _Map({k: p[k] for k in ("W", "V") if k in p}, p.get("b"), columns)
        E = _accumulator_exps(one, exps.logits, grid)
        tree["readout"] = _round_map(one, E, grid)
    return tree


def _round_layer(
    layer: Layer, p: Params, h_exp: int, below: Ints, grid: Grid
) -> Params:
    q, maps = QLayer(layer, h_exp, {}, {}, {}), {}
    for gate in q.layer.gates:
        parts = {k: p[k][gate] for k in q.layer.parts(gate)}
        maps[gate] = _Map(parts, p["b"].get(gate), q.column_exps(gate, below))
    E = {k: _accumulator_exps(m, q.argument_exp(k), grid) for k, m in maps.items()}
    joined = [E[k] for k in q.layer.row.joined]
    for k in q.layer.row.joined:
        E[k] = jnp.min(jnp.stack(joined), axis=0)
    new: Params = p | {name: {} for name in ("W", "U", "P", "b") if name in p}
    for gate, m in maps.items():
        for name, array in _round_map(m, E[gate], grid).items():
            new[name][gate] = array
    return new


class _Map(NamedTuple):
    """One map: parts (rows, columns) or (rows,), a bias, the columns' exponents."""

    parts: dict[str, Array]
    bias: Array | None
    columns: Ints

    @property
    def w(self) -> Array:
        """All weights, (rows, columns)."""
        parts = [p.reshape(len(p), -1) for p in self.parts.values()]
        return jax.lax.stop_gradient(jnp.concatenate(parts, axis=1))


def _round_map(m: _Map, E: Array, grid: Grid) -> dict[str, Array]:
    """The parts and the bias, ``b``, on the grid, straight through."""
    near = _on_grid(m.w, E[:, None] - m.columns, grid.limit)
    rounded, start = {}, 0
    for name, part in m.parts.items():
        end = start + part[0].size
        rounded[name] = straight(part, near[:, start:end].reshape(part.shape))
        start = end
    if m.bias is not None:
        b = jax.lax.stop_gradient(m.bias)
        rounded["b"] = straight(m.bias, jnp.ldexp(half_up(jnp.ldexp(b, E)), -E))
    return rounded


def _on_grid(w: Array, shifts: Array, limit: int) -> Array:
    steps = jnp.clip(half_up(jnp.ldexp(w, shifts)), -limit, limit)
    return jnp.ldexp(steps, -shifts)


def _accumulator_exps(m: _Map, arg: int, grid: Grid) -> Array:
    """E of each row, as docs/numbers.md chooses it; one for all of 16-bit weights.

    Weights that no E fits are clamped on the smallest, where quantize refuses them.
    """

    def one(values: Array) -> Array:
        return values if grid.bits == 8 else jnp.full_like(values, values.min())

    w = m.w
    free = one(jnp.min(_free_exps(w, grid.bits) + m.columns, axis=1))
    high = jnp.full_like(free, arg + 31)
    if m.bias is not None:
        of_bias = one(_free_exps(jax.lax.stop_gradient(m.bias), 32))
        free, high = jnp.minimum(free, of_bias), jnp.minimum(high, of_bias)
    E = jnp.clip(free, arg + 1, arg + 31)
    E = jnp.where(free > _OF_ZERO // 2, arg + 16, E)
    if grid.method == "minmax":
        return E

    def error(e: Array) -> Array:
        off = _on_grid(w, e[:, None] - m.columns, grid.limit) - w
        rows = jnp.sum(off * off, axis=1)
        rows = rows if grid.bits == 8 else jnp.full_like(rows, rows.sum())
        return jnp.where(e <= high, rows, jnp.inf)

    errors = jax.vmap(lambda k: error(E + k))(jnp.arange(MAX_CLIP + 1))
    return E + jnp.argmin(errors, axis=0)


def _free_exps(v: Array, bits: int) -> Array:
    """The largest s for which half_up(v 2^s) has this many bits; exact.

    Weights have |integer| < 2^(bits - 1), a bias of 32 bits may be -2^31.
    """
    mantissa, e = jnp.frexp(v)
    s = bits - 1 - e  # |v 2^s| is in [2^(bits - 2), 2^(bits - 1))
    if bits == 32:
        s = s + (mantissa == -0.5)
    else:
        steps, limit = jnp.ldexp(mantissa, bits - 1), 2.0 ** (bits - 1) - 0.5
        s = s - jnp.where((steps >= limit) | (steps < -limit), 1, 0)
    return jnp.where(v == 0.0, _OF_ZERO, s)
