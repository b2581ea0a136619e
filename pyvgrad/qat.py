"""Quantization-aware training: the float loop on the numbers that integers can hold.

Weights and signals are rounded on the way forward; on the way back the rounding counts
as the identity (the straight-through estimator: Bengio, Leonard and Courville 2013).
What is clamped passes no gradient, but weights always do.  ``train.train`` takes a
``Rounding``; the rounded weights are exactly those that ``quantize`` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pyvgrad.calibrate import MAX_CLIP, Exponents, Grid
from pyvgrad.cells import Array, Shape
from pyvgrad.grad import logits_of, masked_loss
from pyvgrad.model import Params
from pyvgrad.qmodel import QLayer
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
        logits = logits_of(near, round_params(shape, params, rounding), x)
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
    below = [exps.x] * shape.n_in
    layers = []
    for layer, p, h_exp in zip(shape.layers, params["layers"], exps.h, strict=True):
        q = QLayer(layer, h_exp, {}, {}, {})
        gates = [14] * max(0, layer.n_recurrent - layer.n)
        sources = {"W": below, "U": [h_exp] * layer.n + gates}
        new: Params = p | {name: {} for name in ("W", "U", "b") if name in p}
        for gate in layer.gates:
            parts = {k: p[k][gate] for k in ("W", "U") if gate in p.get(k, {})}
            bias = p["b"].get(gate)
            arg = q.argument_exp(gate)
            near, bias = _round_map(parts, sources, bias, arg, grid)
            for name, w in near.items():
                new[name][gate] = w
            if bias is not None:
                new["b"][gate] = bias
        layers.append(new)
        below = [h_exp] * layer.n
    tree: Params = params | {"layers": layers}
    if shape.readout is not None:
        p = params["readout"]
        sources = {"W": below, "V": [exps.x] * shape.readout.shortcuts}
        parts = {k: p[k] for k in ("W", "V") if k in p}
        near, bias = _round_map(parts, sources, p.get("b"), exps.logits, grid)
        tree["readout"] = near | ({} if bias is None else {"b": bias})
    return tree


def _round_map(
    parts: dict[str, Array],
    sources: dict[str, list[int]],
    bias: Array | None,
    arg: int,
    grid: Grid,
) -> tuple[dict[str, Array], Array | None]:
    """The parts (rows, columns) and the bias (rows,) of one map, rounded."""
    w = jnp.concatenate(list(parts.values()), axis=1)
    columns = jnp.array([e for name in parts for e in sources[name]])
    fixed = jax.lax.stop_gradient(w)
    fixed_bias = None if bias is None else jax.lax.stop_gradient(bias)
    E = _accumulator_exps(fixed, fixed_bias, columns, arg, grid)
    near = straight(w, _on_grid(fixed, E[:, None] - columns, grid.limit))
    ends = np.cumsum([p.shape[1] for p in parts.values()])[:-1]
    split = dict(zip(parts, jnp.split(near, ends, axis=1), strict=True))
    if bias is None or fixed_bias is None:
        return split, None
    rounded = jnp.ldexp(half_up(jnp.ldexp(fixed_bias, E)), -E)
    return split, straight(bias, rounded)


def _on_grid(w: Array, shifts: Array, limit: int) -> Array:
    steps = jnp.clip(half_up(jnp.ldexp(w, shifts)), -limit, limit)
    return jnp.ldexp(steps, -shifts)


def _accumulator_exps(
    w: Array, bias: Array | None, columns: Array, arg: int, grid: Grid
) -> Array:
    """E of each row, as docs/numbers.md chooses it; one for all of 16-bit weights.

    Weights that no E fits are clamped on the smallest, where quantize refuses them.
    """

    def one(values: Array) -> Array:
        return values if grid.bits == 8 else jnp.full_like(values, values.min())

    free = one(jnp.min(_free_exps(w, grid.bits) + columns, axis=1))
    high = jnp.full_like(free, arg + 31)
    if bias is not None:
        of_bias = one(_free_exps(bias, 32))
        free, high = jnp.minimum(free, of_bias), jnp.minimum(high, of_bias)
    E = jnp.clip(free, arg + 1, arg + 31)
    E = jnp.where(free > _OF_ZERO // 2, arg + 16, E)
    if grid.method == "minmax":
        return E

    def error(e: Array) -> Array:
        off = _on_grid(w, e[:, None] - columns, grid.limit) - w
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
