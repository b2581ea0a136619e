"""Recurrent cascade-correlation (Fahlman 1991).

The net begins with outputs that read x.  While its error is too large it gets one more
unit: of a pool of candidates, each with one weight from its own last value, the one
whose values correlate best with what is left of the errors.  A unit's weights are never
changed again; it then is an input of the outputs and of later candidates.  Everything
is learnt by quickprop over all strings at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pyvgrad.optim import quickprop
from pyvgrad.units import Array, sigmoid

SLOPE = (
    0.1  # added to an output's slope, so that one that is wrong and flat still moves
)


class Strings(NamedTuple):
    """Sequences (N, T, n_in), their targets (N, T, n_out), which steps there are.

    ``weight`` (N, T) is how often the string stands in the set, 0 behind its end.
    """

    x: Array
    target: Array
    weight: Array


@dataclass(frozen=True)
class Settings:
    """Fahlman's: candidates, most units, and how long each phase goes on.

    A phase ends when for ``patience`` epochs nothing got better by the share
    ``change``, or after ``epochs``.  Rates are per string and step.
    """

    candidates: int = 8
    units: int = 15
    epochs: int = 200
    patience: int = 8
    out_rate: float = 0.35
    out_change: float = 0.01
    in_rate: float = 1.0
    in_change: float = 0.03
    decay: float = 1e-4
    scale: float = 1.0


class Found(NamedTuple):
    """A net with ``units`` hidden units after ``epochs`` passes through the strings.

    ``test`` is what the caller's test said of it.
    """

    units: int
    epochs: int
    weights: int
    error: float
    test: bool


def values(params: Any, features: Array) -> Array:
    """A unit's values (N, T), v = s(w x + u v + b) - 1/2 with v before it.

    ``params``: w (n_in,), u and b; v is 0 at a string's start.
    """
    given = jnp.moveaxis(features @ params["w"] + params["b"], -1, 0)

    def body(v: Array, a: Array) -> tuple[Array, Array]:
        v = sigmoid(a + params["u"] * v, jnp) - 0.5
        return v, v

    _, every = jax.lax.scan(body, jnp.zeros_like(given[0]), given)
    return jnp.moveaxis(every, 0, -1)


def correlation(params: Any, features: Array, residual: Array, weight: Array) -> Array:
    """Sum over outputs of |covariance of a unit's values and an output's errors|.

    As a share of the errors' squares; ``residual`` (N, T, n_out) has weighted mean 0.
    """
    v = values(params, features)
    together = jnp.einsum("nt,nto->o", v * weight, residual)
    squares = jnp.einsum("nt,nto->", weight, residual**2)
    return jnp.sum(jnp.abs(together)) / squares


def output_values(weights: Array, features: Array) -> Array:
    """Outputs (N, T, n_out) in 0 to 1 of weights (n_in, n_out)."""
    return sigmoid(features @ weights, jnp)


def output_slopes(weights: Array, features: Array, s: Strings) -> tuple[Array, Array]:
    """Half the sum of squared errors, and its slopes; SLOPE is added to each unit's."""
    y = output_values(weights, features)
    error = (y - s.target) * s.weight[..., None]
    half = 0.5 * jnp.sum(error * (y - s.target))
    back = error * (y * (1.0 - y) + SLOPE)
    return half, jnp.einsum("nti,nto->io", features, back)


def improve(
    slopes: Callable[[Any], tuple[Array, Any]],
    weights: Any,
    mask: Any,
    rate: float,
    change: float,
    s: Settings,
) -> tuple[Any, Array, Array]:
    """Quickprop until nothing gets better: weights, the last value, epochs.

    ``slopes(weights)`` gives the value to be made small, of one or of several nets, and
    its slopes; only where ``mask`` is 1 do weights change.
    """
    zero = jax.tree.map(jnp.zeros_like, weights)

    def go(carry: Any) -> Any:
        weights, before, last, best, since, epoch, _ = carry
        value, slope = slopes(weights)
        slope = jax.tree.map(jnp.multiply, slope, mask)
        step = jax.tree.map(partial(quickprop, rate=rate), slope, before, last)
        least = jnp.min(value)
        better = least < best - change * jnp.abs(best)
        return (
            jax.tree.map(jnp.add, weights, step),
            slope,
            step,
            jnp.where(better, least, best),
            jnp.where(better, 0, since + 1),
            epoch + 1,
            value,
        )

    def more(carry: Any) -> Array:
        *_, since, epoch, _ = carry
        return (since < s.patience) & (epoch < s.epochs)

    value, _ = slopes(weights)
    start = (weights, zero, zero, jnp.min(value), 0, 0, value)
    weights, _, _, _, _, epochs, _ = jax.lax.while_loop(more, go, start)
    return weights, slopes(weights)[0], epochs


@partial(jax.jit, static_argnames="s")
def train_outputs(
    weights: Array, mask: Array, features: Array, strings: Strings, s: Settings
) -> tuple[Array, Array, Array, Array]:
    """The outputs' weights, half their squared error, epochs, and the errors left."""
    steps = jnp.sum(strings.weight)

    def slopes(w: Array) -> tuple[Array, Array]:
        half, g = output_slopes(w, features, strings)
        return half, g / steps + s.decay * w

    weights, half, epochs = improve(slopes, weights, mask, s.out_rate, s.out_change, s)
    error = output_values(weights, features) - strings.target
    residual = error - jnp.einsum("nt,nto->o", strings.weight, error) / steps
    return weights, half, epochs, residual


@partial(jax.jit, static_argnames="s")
def train_candidates(
    pool: Any, mask: Any, features: Array, residual: Array, weight: Array, s: Settings
) -> tuple[Any, Array, Array]:
    """The best of the pool, its values (N, T), and epochs."""

    def slopes(pool: Any) -> tuple[Array, Any]:
        def low(one: Any) -> Array:
            return -correlation(one, features, residual, weight)

        return jax.vmap(jax.value_and_grad(low))(pool)

    pool, value, epochs = improve(slopes, pool, mask, s.in_rate, s.in_change, s)
    best = jax.tree.map(lambda a: a[jnp.argmin(value)], pool)
    return best, values(best, features), epochs


def grow(
    strings: Strings, s: Settings, rng: np.random.Generator, test: Callable[..., bool]
) -> list[Found]:
    """Nets of 0, 1, 2 ... units, until ``test(units, outputs)`` or there are too many.

    ``units`` are the parameters of the units in their order, ``outputs`` the weights of
    the outputs; ``run`` makes outputs of both.
    """
    n, T, n_in = strings.x.shape
    n_out = strings.target.shape[-1]
    wide = n_in + 1 + s.units
    features = np.zeros((n, T, wide), np.float32)
    features[..., :n_in], features[..., n_in] = strings.x, 1.0
    weights = jnp.asarray(rng.uniform(-s.scale, s.scale, (wide, n_out)), jnp.float32)
    K = s.units
    units = {"w": np.zeros((K, wide)), "u": np.zeros(K), "b": np.zeros(K)}
    k = 0
    found: list[Found] = []
    passes = 0
    now = jnp.asarray(features)
    while True:
        there = (np.arange(wide) < n_in + 1 + k).astype(np.float32)
        weights, half, epochs, residual = train_outputs(
            weights * there[:, None], jnp.asarray(there)[:, None], now, strings, s
        )
        passes += int(epochs)
        won = test(units, weights)
        found.append(Found(k, passes, count(n_in, n_out, k), float(half), won))
        if won or k == s.units:
            return found
        reads = there * (np.arange(wide) != n_in)  # the bias is the unit's own
        pool = {
            "w": rng.uniform(-s.scale, s.scale, (s.candidates, wide)) * reads,
            "u": rng.uniform(-s.scale, s.scale, s.candidates),
            "b": rng.uniform(-s.scale, s.scale, s.candidates),
        }
        pool = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), pool)
        mask = {"w": jnp.asarray(reads), "u": jnp.ones(()), "b": jnp.ones(())}
        best, v, epochs = train_candidates(pool, mask, now, residual, strings.weight, s)
        passes += int(epochs)
        now = now.at[..., n_in + 1 + k].set(v)
        for part, value in best.items():
            units[part][k] = value
        k += 1


@jax.jit
def run(units: Any, weights: Array, x: Array) -> Array:
    """Outputs (N, T, n_out) of a net for x (N, T, n_in).

    ``units`` are the parameters of all units, (K, ...), zeros for those not there yet,
    whose values the outputs' ``weights`` (n_in + 1 + K, n_out) then do not read.
    """
    n_in, wide = x.shape[-1], len(weights)
    features = jnp.zeros((*x.shape[:-1], wide), x.dtype)
    features = features.at[..., :n_in].set(x).at[..., n_in].set(1.0)

    def body(features: Array, now: Any) -> tuple[Array, None]:
        k, unit = now
        return features.at[..., n_in + 1 + k].set(values(unit, features)), None

    each = jnp.arange(len(units["u"])), units
    features, _ = jax.lax.scan(body, features, each)
    return output_values(weights, features)


def count(n_in: int, n_out: int, units: int) -> int:
    """Weights of a net: outputs and units read x, a bias and the units before.

    A unit reads its own last value, too.
    """
    outputs = n_out * (n_in + 1 + units)
    hidden = sum(n_in + k + 2 for k in range(units))
    return outputs + hidden
