"""Temporal order as Pascanu, Mikolov and Bengio 2013 trained it: one training a job.

Plain units, one of three starts, stochastic gradient descent on minibatches: alone
(MSGD), with norm clipping (MSGD-C), and with Omega beside (MSGD-CR).  A job is plain
data, so that many can be spread over processes; a result depends on its job alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pyvgrad.cells import Array, Shape
from pyvgrad.model import Params, fuse, initial_state, readout_step, step
from pyvgrad.nets import stack
from pyvgrad.omega import value_and_grad
from pyvgrad.optim import clip_norm
from pyvgrad.params import STARTS, start_params
from pyvgrad.tasks.order import order_symbols
from pyvgrad.tasks.task import Ints

N_IN, N_OUT = 6, 4
BATCH, RATE = 20, 0.01
TESTS, GOAL = 10_000, 0.01  # success: a smaller share of so many is wrong
SCREEN, DOUBTFUL = 500, 0.02  # so many are asked first; TESTS are if few are wrong
_START, _TRAIN, _TEST, _FAR = range(4)  # streams of random numbers of a seed


@dataclass(frozen=True)
class Method:
    """The largest norm of a gradient (0: any) and the weight of Omega."""

    clip: float
    omega: float


METHODS = {
    "MSGD": Method(0.0, 0.0),
    "MSGD-C": Method(1.0, 0.0),
    "MSGD-CR": Method(1.0, 4.0),
}


def make_job(
    start: str, method: str, lengths: tuple[int, int], seed: int, **more: Any
) -> dict[str, Any]:
    """A training on sequences of ``lengths``, both ends included.

    ``more``: ``limit`` updates at most, ``every`` so many a test, ``units`` of the net,
    ``far`` lengths to be asked at the end; ``until`` the share wrong of TESTS below
    which a training ends, GOAL if it is not given.
    """
    low, high = lengths
    named = f"{low}" if low == high else f"{low}-{high}"
    job = {"key": f"{start} {method} {named} seed {seed}", "start": start}
    rest = {"method": method, "low": low, "high": high, "seed": seed}
    return job | rest | {"limit": 30_000, "every": 500, "units": 50, "far": []} | more


def train_order(job: dict[str, Any]) -> dict[str, Any]:
    """Train until few enough are wrong, the limit is reached or the loss is not finite.

    ``solved`` whether, ``updates`` how many, ``wrong`` the share of the last test,
    ``curve`` [updates, mean loss since the last point, share wrong of SCREEN] at each
    test, ``radius`` the spectral radius of U at the end (None: not finite), and, if
    solved, ``far`` {length: the share wrong of TESTS}.
    """
    method, seed = METHODS[job["method"]], job["seed"]
    cell = STARTS[job["start"]].cell
    shape = stack(cell, (N_IN, job["units"], N_OUT), output="softmax")
    rngs = {k: np.random.default_rng([seed, k]) for k in (_TRAIN, _TEST, _FAR)}
    lengths = job["low"], job["high"]
    fresh = start_params(job["start"], shape, np.random.default_rng([seed, _START]))
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), fresh)
    updates = _updates(shape, method.clip, method.omega)
    done, curve, wrong = 0, [], 1.0
    while done < job["limit"]:
        drawn = _minibatches(rngs[_TRAIN], job["every"], lengths)
        params, losses = updates(params, *drawn)
        done += job["every"]
        loss = float(np.mean(np.asarray(losses, np.float64)))
        if not np.isfinite(loss):
            wrong = 1.0
            break
        wrong = share_wrong(shape, params, rngs[_TEST], SCREEN, lengths)
        curve.append([done, round(loss, 4), wrong])
        if wrong <= DOUBTFUL:
            wrong = share_wrong(shape, params, rngs[_TEST], TESTS, lengths)
            if wrong < job.get("until", GOAL):
                break
    far = {
        str(length): share_wrong(shape, params, rngs[_FAR], TESTS, (length, length))
        for length in (job["far"] if wrong < GOAL else [])
    }
    return {
        "solved": wrong < GOAL,
        "updates": done,
        "wrong": wrong,
        "curve": curve,
        "radius": _radius(params),
        "far": far,
    }


def _radius(params: Params) -> float | None:
    U = np.asarray(params["layers"][0]["U"]["a"], np.float64)
    return float(np.abs(np.linalg.eigvals(U)).max()) if np.isfinite(U).all() else None


# ---- training ------------------------------------------------------------


def _minibatches(
    rng: np.random.Generator, n: int, lengths: tuple[int, int]
) -> tuple[Array, Array, Ints]:
    """Symbols (n, B, T), classes (n, B), and the length of each minibatch (n,)."""
    low, high = lengths
    if low == high:
        x, c = order_symbols(rng, n * BATCH, low)
        return x.reshape(n, BATCH, low), c.reshape(n, BATCH), np.full(n, low)
    drawn = rng.integers(low, high + 1, n)
    x = np.zeros((n, BATCH, high), np.uint8)
    c = np.zeros((n, BATCH), np.uint8)
    for k, length in enumerate(drawn):
        x[k, :, :length], c[k] = order_symbols(rng, BATCH, int(length))
    return x, c, drawn


@lru_cache(maxsize=16)
def _updates(shape: Shape, clip: float, weight: float) -> Callable[..., Any]:
    """f(params, x, c, lengths): an update a minibatch; the params, the losses."""
    gradient = value_and_grad(shape, "cross-entropy", weight)

    def update(params: Params, batch: tuple[Array, ...]) -> tuple[Params, Array]:
        symbols, classes, length = batch
        steps = jnp.arange(symbols.shape[-1])
        x = jax.nn.one_hot(symbols, N_IN, dtype=jnp.float32)
        y = jax.nn.one_hot(classes, N_OUT, dtype=jnp.float32)[:, None]
        mask = jnp.broadcast_to(steps == length - 1, symbols.shape)
        loss, g = gradient(params, x, jnp.broadcast_to(y, (*mask.shape, N_OUT)), mask)
        g = clip_norm(g, clip) if clip else g
        return jax.tree.map(lambda w, d: w - RATE * d, params, g), loss

    return jax.jit(lambda params, *drawn: jax.lax.scan(update, params, drawn))


# ---- tests ---------------------------------------------------------------


def share_wrong(
    shape: Shape,
    params: Params,
    rng: np.random.Generator,
    n: int,
    lengths: Sequence[int],
) -> float:
    """The share of ``n`` fresh sequences whose class has not the largest logit.

    They come in portions of SCREEN; a portion has one length, up to ``lengths[1]``.
    """
    low, high = lengths
    wrong = 0
    for at in range(0, n, SCREEN):
        size = min(SCREEN, n - at)
        length = int(rng.integers(low, high + 1))
        x = np.zeros((SCREEN, high), np.uint8)
        x[:size, :length], c = order_symbols(rng, size, length)
        logits = np.asarray(_last_logits(shape, params, x, length))[:size]
        wrong += int(np.count_nonzero(logits.argmax(axis=1) != c))
    return wrong / n


def _last_logits(shape: Shape, params: Params, x: Array, length: int) -> Array:
    """Logits (N, n_out) of step ``length`` of symbols (N, T)."""
    return _asked(shape)(params, x, length)


@lru_cache(maxsize=8)
def _asked(shape: Shape) -> Callable[..., Array]:
    def f(params: Params, symbols: Array, length: Array) -> Array:
        maps = fuse(shape, params, jnp)

        def body(t: Array, state: Any) -> Any:
            x = jax.nn.one_hot(symbols[:, t], N_IN, dtype=jnp.float32)
            return step(shape, maps, state, x, jnp)[0]

        start = initial_state(shape, params, symbols.shape[:1], jnp)
        state = jax.lax.fori_loop(0, length, body, start)
        return readout_step(shape, maps, state[0]["h"], jnp.zeros((1, N_IN)), jnp)

    return jax.jit(f)
