"""Losses and their gradients, by JAX: backpropagation through time, whole or cut.

``cut`` is the truncated gradient of Hochreiter and Schmidhuber 1997: what reaches an
argument is not sent further back, so that errors live on only in c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pyvgrad.cells import Array, Shape
from pyvgrad.model import Params, fuse, initial_state, outputs, step

LOSSES = ("cross-entropy", "mse")


def logits_of(shape: Shape, params: Params, x: Array, cut: bool = False) -> Array:
    """Logits (B, T, n_out) of x (B, T, n_in): model.step in one lax.scan."""
    maps = fuse(shape, params, jnp)
    start = initial_state(shape, params, x.shape[:-2], jnp)

    def body(state: Any, now: Array) -> tuple[Any, Array]:
        if cut:
            state = [
                {
                    k: v if k in layer.row.carry else jax.lax.stop_gradient(v)
                    for k, v in s.items()
                }
                for layer, s in zip(shape.layers, state, strict=True)
            ]
        state, logits, _ = step(shape, maps, state, now, jnp)
        return state, logits

    _, logits = jax.lax.scan(body, start, jnp.moveaxis(x, -2, 0))
    return jnp.moveaxis(logits, 0, -2)


def step_loss(shape: Shape, loss: str, logits: Array, target: Array) -> Array:
    """The loss of each step, (..., T); targets (..., T, n_out).

    ``cross-entropy``: of the softmax, -sum t log y; of logistic outputs, the sum of
    -t log y - (1 - t) log(1 - y); both from the logits, so that nothing overflows.
    ``mse``: sum (y - t)^2 / 2, as in Hochreiter and Schmidhuber 1997.  ValueError for
    the cross-entropy of linear outputs.
    """
    if loss not in LOSSES:
        raise ValueError(f"a loss is one of {LOSSES}, not {loss!r}")
    if loss == "mse":
        y = outputs(shape.readout, logits, jnp)
        return 0.5 * jnp.sum((y - target) ** 2, axis=-1)
    if shape.output == "softmax":
        return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)
    if shape.output == "logistic":
        return jnp.sum(jnp.logaddexp(0.0, logits) - target * logits, axis=-1)
    raise ValueError("linear outputs have no cross-entropy; use mse")


def sequence_loss(shape: Shape, loss: str, cut: bool = False) -> Callable[..., Array]:
    """f(params, x, y, mask): the sum over steps with a target, the mean over B.

    x (B, T, n_in), y (B, T, n_out), mask (B, T).  What y holds where mask is false is
    not looked at, NaN included.
    """

    def f(params: Params, x: Array, y: Array, mask: Array) -> Array:
        return masked_loss(shape, loss, logits_of(shape, params, x, cut), y, mask)

    return f


def masked_loss(shape: Shape, loss: str, logits: Array, y: Array, mask: Array) -> Array:
    """The same of logits (B, T, n_out)."""
    target = jnp.where(mask[..., None], y, 0.0)
    each = step_loss(shape, loss, logits, target)
    return jnp.sum(jnp.where(mask, each, 0.0)) / logits.shape[0]


def value_and_grad(
    shape: Shape, loss: str, cut: bool = False
) -> Callable[..., tuple[Array, Params]]:
    """f(params, x, y, mask) -> (loss, gradients in a tree like params)."""
    both: Callable[..., tuple[Array, Params]] = jax.value_and_grad(
        sequence_loss(shape, loss, cut)
    )
    return both
