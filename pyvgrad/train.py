"""Float training: many updates compiled into one lax.scan, then a stop test.

In float32: the weights are quantized to 16 bits anyway, float64 is a global switch of
JAX, and the gradients are tested in float64.  The same arguments on the same machine
give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pyvgrad.errors import VgradError

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise VgradError(
        "jax is not installed and training needs it: pip install pyvgrad[train]"
    ) from error

from pyvgrad.cells import Array, Shape
from pyvgrad.defaults import Settings
from pyvgrad.grad import value_and_grad
from pyvgrad.model import Params, init_params
from pyvgrad.optim import bound_own, clip_norm, optimizer, scale_rates
from pyvgrad.qat import Rounding
from pyvgrad.qat import value_and_grad as rounded_value_and_grad
from pyvgrad.tasks.task import Floats, Ints, Sequences, Task

Stop = Callable[[Params, int, float], bool]
Progress = Callable[[int, float], None]
Draw = Callable[[np.random.Generator, int], Sequences]


@dataclass(frozen=True)
class TrainResult:
    """What came out: parameters (float64 arrays that hold float32 values).

    ``loss_at`` (chunks,) sequences seen and ``losses`` (chunks,) the mean loss of a
    sequence in that chunk; ``sequences`` all that were seen; ``success`` whether the
    stop test said yes.  It is false at the limit and when the loss is not finite.
    """

    params: Params
    loss_at: Ints
    losses: Floats
    sequences: int
    success: bool


def make_update(
    shape: Shape, settings: Settings, rounding: Rounding | None = None
) -> tuple[Any, Any]:
    """(the optimizer, the compiled chunk), compiled once for equal settings.

    chunk(params, memory, x, y, mask) does one update for each of the U entries of x
    (U, B, T, n_in), y (U, B, T, n_out) and mask (U, B, T), and returns the new params
    and memory and the U losses.
    """
    rule = (settings.optimizer, settings.rate, settings.momentum)
    rates = tuple(settings.rates.items())
    return _compiled(shape, settings.loss, rule, settings.clip, rates, rounding)


@lru_cache(maxsize=32)
def _compiled(
    shape: Shape,
    loss_name: str,
    rule_name: tuple[str, float, float],
    clip: float,
    rates: tuple[tuple[str, float], ...],
    rounding: Rounding | None,
) -> tuple[Any, Any]:
    rule = optimizer(*rule_name)
    if rounding is None:
        gradient = value_and_grad(shape, loss_name)
    else:
        gradient = rounded_value_and_grad(shape, loss_name, rounding)

    def update(carry: Any, batch: Any) -> tuple[Any, Array]:
        params, memory = carry
        loss, g = gradient(params, *batch)
        if clip > 0.0:
            g = clip_norm(g, clip)
        change, memory = rule.update(g, memory, params)
        if rates:
            change = scale_rates(change, dict(rates))
        params = bound_own(shape, jax.tree.map(jnp.add, params, change))
        return (params, memory), loss

    def chunk(params: Any, memory: Any, *batches: Array) -> tuple[Any, Any, Array]:
        (params, memory), losses = jax.lax.scan(update, (params, memory), batches)
        return params, memory, losses

    return rule, jax.jit(chunk)


def _batches(draw: Draw, rng: np.random.Generator, updates: int, batch: int) -> Any:
    s = draw(rng, updates * batch)
    return tuple(
        jnp.asarray(a.reshape(updates, batch, *a.shape[1:]))
        for a in (s.x.astype(np.float32), s.y.astype(np.float32), s.mask)
    )


def train(
    shape: Shape,
    params: Params,
    draw: Draw,
    settings: Settings,
    rng: np.random.Generator,
    *,
    stop: Stop,
    progress: Progress | None = None,
    rounding: Rounding | None = None,
) -> TrainResult:
    """Train from ``params`` on sequences that ``draw(rng, n)`` gives.

    With ``rounding`` the loss is that of the rounded model (qat.py); the params stay
    the float ones, to be quantized with the same exponents.

    After each chunk, ``progress(sequences, loss)`` is told, then ``stop(params,
    sequences, loss)`` asked; loss is the chunk's mean, params are NumPy arrays.
    """
    rule, chunk = make_update(shape, settings, rounding)
    now = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    memory = rule.init(now)
    updates = max(1, settings.chunk // settings.batch)
    seen, seen_at, losses, success = 0, [], [], False
    while seen < settings.limit and not success:
        data = _batches(draw, rng, updates, settings.batch)
        now, memory, each = chunk(now, memory, *data)
        seen += updates * settings.batch
        loss = float(np.mean(np.asarray(each, np.float64)))
        seen_at.append(seen)
        losses.append(loss)
        if progress is not None:
            progress(seen, loss)
        if not np.isfinite(loss):
            break
        success = stop(_to_numpy(now), seen, loss)
    return TrainResult(
        _to_numpy(now), np.array(seen_at), np.array(losses), seen, success
    )


def _to_numpy(params: Params) -> Params:
    tree: Params = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    return tree


def train_task(
    task: Task,
    shape: Shape,
    settings: Settings,
    seed: int,
    *,
    stop: Stop,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a model of this shape on a task; the seed draws weights and exemplars.

    ValueError if the shape's inputs or outputs are not the task's.
    """
    if (shape.n_in, shape.n_out) != (task.n_in, task.n_out):
        raise ValueError(
            f"task {task.name} has {task.n_in} inputs and {task.n_out} outputs, "
            f"the model {shape.n_in} and {shape.n_out}"
        )
    weights, exemplars = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2)
    )
    params = init_params(
        shape, weights, scale=settings.scale, biases=dict(settings.biases)
    )
    return train(
        shape, params, task.draw, settings, exemplars, stop=stop, progress=progress
    )
