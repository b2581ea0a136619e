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
from pyvgrad.model import (
    Params,
    State,
    flipped,
    fuse,
    initial_state,
    layer_step,
    outputs,
    readout_sources,
    readout_step,
    step,
)

LOSSES = ("cross-entropy", "mse")


def logits_of(
    shape: Shape,
    params: Params,
    x: Array,
    cut: bool = False,
    lengths: Array | None = None,
) -> Array:
    """Logits (B, T, n_out) of x (B, T, n_in); ``lengths`` (B,) as in model.forward."""
    seen = jax.lax.stop_gradient if cut else _same
    if shape.whole:
        return _whole_logits(shape, params, x, seen, lengths)
    start = initial_state(shape, params, x.shape[:-2], jnp)
    return run_from(shape, params, start, x, seen)[1]


def _same(v: Array) -> Array:
    return v


def run_from(
    shape: Shape,
    params: Params,
    state: State,
    x: Array,
    seen: Callable[[Array], Array] = _same,
) -> tuple[State, Array]:
    """(the state after x (..., T, n_in), its logits (..., T, n_out)).

    ``state`` is the one before, as of model.initial_state.  ValueError for a model with
    a reversed layer.
    """
    maps = fuse(shape, params, jnp)

    def body(state: Any, now: Array) -> tuple[Any, Array]:
        state, logits, _ = step(shape, maps, state, now, jnp, seen)
        return state, logits

    state, logits = jax.lax.scan(body, state, jnp.moveaxis(x, -2, 0))
    return state, jnp.moveaxis(logits, 0, -2)


def _whole_logits(
    shape: Shape,
    params: Params,
    x: Array,
    seen: Callable[[Array], Array],
    lengths: Array | None,
) -> Array:
    """The same layer by layer, since one of them is reversed."""
    maps = fuse(shape, params, jnp)
    start = initial_state(shape, params, x.shape[:-2], jnp)
    given: list[Array] = []
    for k, layer in enumerate(shape.layers):

        def body(s: Any, now: Array, k: int = k) -> tuple[Any, Array]:
            s, out, _ = layer_step(shape.layers[k], maps.layers[k], s, now, jnp, seen)
            return s, out

        below = [given[i] for i in shape.below(k)]
        z = jnp.concatenate(below, axis=-1) if below else x
        z = flipped(z, lengths, jnp) if layer.reversed else z
        _, out = jax.lax.scan(body, start[k], jnp.moveaxis(z, -2, 0))
        out = jnp.moveaxis(out, 0, -2)
        given.append(flipped(out, lengths, jnp) if layer.reversed else out)
    source, shortcut = readout_sources(shape, given, x, lengths, jnp)
    return readout_step(shape, maps, source, shortcut, jnp)


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
    not looked at, NaN included.  Reversed layers start at the last step with a target.
    """

    def f(params: Params, x: Array, y: Array, mask: Array) -> Array:
        logits = logits_of(shape, params, x, cut, ends_of(shape, mask))
        return masked_loss(shape, loss, logits, y, mask)

    return f


def ends_of(shape: Shape, mask: Array) -> Array | None:
    """The last steps with a target, from 1, where a layer is reversed, else None."""
    if not shape.whole:
        return None
    steps = jnp.arange(1, mask.shape[-1] + 1)
    return jnp.max(jnp.where(mask, steps, 1), axis=-1)


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
