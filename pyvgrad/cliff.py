"""The error surface of one unit: a wall, and descent with and without clipping.

Pascanu, Mikolov and Bengio 2013, section 2.3 and its figure: a unit that feeds itself
alone, x_t = w s(x_{t-1}) + b with s the logistic function, is run for 50 steps, and the
error is (s(x_50) - target)^2.  As a model that is one ``rnn_sigmoid`` with h = s(x).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from pyvgrad.cells import Array, Layer, Shape
from pyvgrad.grad import value_and_grad
from pyvgrad.optim import clip_norm, norm
from pyvgrad.tasks.task import Floats

STEPS = 50
FIRST, TARGET = 0.5, 0.7  # x_0, and what s(x_50) should be
_SHAPE = Shape((Layer("rnn_sigmoid", 1, 1),))


def error_and_slope(w: Array, b: Array) -> tuple[Array, dict[str, Array]]:
    """The error at (w, b), and its derivatives {"w", "b"}."""
    gradient = value_and_grad(_SHAPE, "mse")
    one = jnp.ones(1)
    layer = {
        "W": {"a": jnp.zeros((1, 1))},
        "U": {"a": w * one[:, None]},
        "b": {"a": b * one},
        "h0": jax.nn.sigmoid(FIRST) * one,
    }
    at_end = (jnp.arange(STEPS) == STEPS - 1)[None]
    x, y = jnp.zeros((1, STEPS, 1)), jnp.full((1, STEPS, 1), TARGET)
    half, g = gradient({"layers": [layer]}, x, y, at_end)
    own = g["layers"][0]
    return 2.0 * half, {"w": 2.0 * own["U"]["a"][0, 0], "b": 2.0 * own["b"]["a"][0]}


@dataclass(frozen=True)
class Surface:
    """Errors and the gradients' norms, (w, b)."""

    w: Floats
    b: Floats
    error: Floats
    slope: Floats


def surface(w: Floats, b: Floats) -> Surface:
    """The surface over the axes w and b."""

    def one(w: Array, b: Array) -> tuple[Array, Array]:
        error, g = error_and_slope(w, b)
        return error, norm(g)

    every = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    error, slope = every(jnp.asarray(w), jnp.asarray(b))
    return Surface(w, b, np.asarray(error, float), np.asarray(slope, float))


@dataclass(frozen=True)
class Paths:
    """Where descents came along, n of them.

    ``points`` (updates + 1, n, 2) are w and b, ``error`` and ``slope`` (updates + 1, n)
    the errors and the gradients' norms there, before clipping.
    """

    points: Floats
    error: Floats
    slope: Floats


def descend(starts: Floats, rate: float, theta: float | None, updates: int) -> Paths:
    """Gradient descent from ``starts`` (n, 2), clipped to the norm ``theta``."""

    def update(at: Array, _: None) -> tuple[Array, tuple[Array, ...]]:
        error, g = error_and_slope(at["w"], at["b"])
        used = g if theta is None else clip_norm(g, theta)
        new = jax.tree.map(lambda v, d: v - rate * d, at, used)
        return new, (jnp.stack([at["w"], at["b"]]), error, norm(g))

    def one(w: Array, b: Array) -> tuple[Array, ...]:
        made: tuple[Array, ...] = jax.lax.scan(
            update, {"w": w, "b": b}, length=updates + 1
        )[1]
        return made

    every = jax.jit(jax.vmap(one, (0, 0), 1))
    made = every(*jnp.asarray(starts, jnp.float32).T)
    return Paths(*(np.asarray(v, float) for v in made))
