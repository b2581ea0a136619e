"""Trainings on music and text, of many seeds at once.

Gradient descent as in Pascanu, Mikolov and Bengio 2013 (P13): plain (MSGD), with norm
clipping (MSGD-C), with clipping and the regularizer Omega (MSGD-CR).  Sequences are cut
into windows; the state goes on from window to window, errors do not go back over the
border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Array, Shape
from pyvgrad.grad import run_from, step_loss
from pyvgrad.model import Params, State, init_params
from pyvgrad.omega import flow, omega
from pyvgrad.optim import clip_norm, optimizer
from pyvgrad.params import state_sizes
from pyvgrad.tasks.task import Bools, Floats


@dataclass(frozen=True)
class Method:
    """How a model learns; losses and gradients are means over the steps of an update.

    ``clip`` is the largest norm of a gradient (0: no clipping), ``omega`` the weight of
    Omega in the first epoch, in epoch t a t-th of it.
    """

    cell: str
    rate: float
    clip: float = 0.0
    omega: float = 0.0
    optimizer: str = "sgd"


@dataclass(frozen=True)
class Bundle:
    """Sequences padded to one length T, a whole number of windows.

    ``x`` and ``y`` are symbols (N, T), or zeros and ones (N, T, n); ``known`` (N, T) is
    false behind a sequence's end.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    known: Bools
    window: int


@dataclass(frozen=True)
class Corpus:
    """Bundles by set, N a whole number of updates of ``rows`` sequences.

    ``n`` inputs and as many outputs, softmax or logistic.
    """

    n: int
    output: str
    rows: int
    train: Sequence[Bundle]
    valid: Sequence[Bundle]
    test: Sequence[Bundle]


def bundle(
    pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]], rows: int, window: int
) -> Bundle:
    """The sequences, each (x, y), padded; empty ones fill the last update."""
    n, longest = len(pairs), max(len(x) for x, _ in pairs)
    steps, n = -(-longest // window) * window, -(-n // rows) * rows
    first = pairs[0][0]
    x, y = (np.zeros((n, steps, *first.shape[1:]), first.dtype) for _ in range(2))
    known = np.zeros((n, steps), bool)
    for k, (source, target) in enumerate(pairs):
        x[k, : len(source)], y[k, : len(source)] = source, target
        known[k, : len(source)] = True
    return Bundle(x, y, known, window)


# ---- one update, one count ------------------------------------------------


def _signals(a: Array, n: int) -> Array:
    """Symbols one-hot, zeros and ones as they are, in float32."""
    return jax.nn.one_hot(a, n) if a.ndim == 2 else a.astype(jnp.float32)


def _loss(
    shape: Shape, params: Params, state: State, x: Array, y: Array, known: Array
) -> tuple[Array, State]:
    """(nats of all steps, the state behind them)."""
    state, logits = run_from(shape, params, state, _signals(x, shape.n_in))
    each = step_loss(shape, "cross-entropy", logits, _signals(y, shape.n_out))
    return jnp.sum(jnp.where(known, each, 0.0)), state


def _regularized(
    shape: Shape, params: Params, state: State, x: Array, y: Array, known: Array
) -> tuple[Array, State, Params, Array]:
    """The same, the gradient of the nats, and that of Omega by U."""
    began = [p | {"h0": s["h"]} for p, s in zip(params["layers"], state, strict=True)]
    signals = _signals(x, shape.n_in), _signals(y, shape.n_out)
    nats, g, errors, arrived = flow(shape, "cross-entropy")(
        params | {"layers": began}, *signals, known
    )
    g["layers"] = [{k: v for k, v in p.items() if k != "h0"} for p in g["layers"]]
    own = jax.grad(omega)(params["layers"][0]["U"]["a"], errors, arrived)
    after, _ = run_from(shape, params, state, signals[0])
    rows = len(x)  # flow's loss is a mean over them
    return rows * nats, after, jax.tree.map(lambda v: rows * v, g), own


def make_update(shape: Shape, method: Method) -> tuple[Any, Callable[..., Any]]:
    """(the optimizer, one update of a window, of all seeds).

    update(params, memory, state, factor, weight, x, y, known): ``factor`` of the rate,
    ``weight`` of Omega; everything with an axis of seeds first.  It returns the new
    params, memory and state, and the nats a step.
    """
    rule = optimizer(method.optimizer, method.rate, 0.0)

    def one(
        params: Params,
        memory: Any,
        state: State,
        factor: Array,
        weight: Array,
        *batch: Array,
    ) -> tuple[Any, ...]:
        steps = jnp.maximum(jnp.sum(batch[-1]), 1)
        if method.omega:
            nats, after, g, own = _regularized(shape, params, state, *batch)
        else:
            (nats, after), g = jax.value_and_grad(_loss, argnums=1, has_aux=True)(
                shape, params, state, *batch
            )
        g = jax.tree.map(lambda v: v / steps, g)
        if method.omega:
            U = {"a": g["layers"][0]["U"]["a"] + weight * own}
            g = g | {"layers": [g["layers"][0] | {"U": U}]}
        if method.clip:
            g = clip_norm(g, method.clip)
        change, memory = rule.update(g, memory, params)
        params = jax.tree.map(lambda p, c: p + factor * c, params, change)
        return params, memory, after, nats / steps

    return rule, jax.jit(jax.vmap(one))


def _zero_state(shape: Shape, seeds: int, rows: int) -> State:
    return [
        {k: jnp.zeros((seeds, rows, n)) for k, n in state_sizes(layer).items()}
        for layer in shape.layers
    ]


def _windows(of: Bundle, index: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """The windows x, y, known of the sequences ``index`` (seeds, rows), in order."""
    for t in range(0, of.x.shape[1], of.window):
        part = slice(t, t + of.window)
        known = of.known[index, part]
        if known.any():
            yield of.x[index, part], of.y[index, part], known


class _Counter:
    """Nats a step of all seeds, over bundles."""

    def __init__(self, shape: Shape) -> None:
        def one(params: Params, state: State, *batch: Array) -> tuple[Array, State]:
            return _loss(shape, params, state, *batch)

        self._shape = shape
        self._count = jax.jit(jax.vmap(one))

    def __call__(self, params: Params, bundles: Sequence[Bundle], rows: int) -> Floats:
        seeds = len(jax.tree.leaves(params)[0])
        nats, steps = np.zeros(seeds), 0
        for of in bundles:
            for first in range(0, len(of.x), rows):
                index = np.tile(np.arange(first, first + rows), (seeds, 1))
                state = _zero_state(self._shape, seeds, rows)
                for window in _windows(of, index):
                    found, state = self._count(params, state, *window)
                    nats += np.asarray(found, np.float64)
                    steps += int(window[-1][0].sum())
        return nats / steps


# ---- a training ----------------------------------------------------------


def train(
    corpus: Corpus,
    shape: Shape,
    method: Method,
    seeds: Sequence[int],
    epochs: int,
) -> list[dict[str, Any]]:
    """Train a model of each seed; what became of each, as JSON has it.

    A seed draws weights and, in every epoch, which sequences make an update.  A seed's
    rate is halved after an epoch that did not lower its validation error below the
    best; counted are the weights of the best epoch, 0 those of the start.  ``nats`` a
    step of each set; ``curve`` is the validation error of each epoch, null where it is
    not finite.
    """
    weights, orders = zip(
        *(np.random.SeedSequence(s).spawn(2) for s in seeds), strict=True
    )
    drawn = [np.random.default_rng(s) for s in orders]
    params = _stacked([init_params(shape, np.random.default_rng(s)) for s in weights])
    rule, update = make_update(shape, method)
    memory, count = jax.vmap(rule.init)(params), _Counter(shape)
    best = _Best(params, count(params, corpus.valid, corpus.rows))
    curve: list[Floats] = []
    for epoch in range(1, epochs + 1):
        weight = np.full(len(seeds), method.omega / epoch, np.float32)
        for windows in _updates(corpus, epoch, drawn):
            state = _zero_state(shape, len(seeds), corpus.rows)
            for window in windows:
                params, memory, state, _ = update(
                    params, memory, state, best.factor, weight, *window
                )
        curve.append(count(params, corpus.valid, corpus.rows))
        best.see(epoch, params, curve[-1])
        if not np.isfinite(curve[-1]).any():
            break
    sets = {k: getattr(corpus, k) for k in ("train", "valid", "test")}
    nats = {k: count(best.params, of, corpus.rows) for k, of in sets.items()}
    return [
        {
            "seed": int(seed),
            "epoch": int(best.epoch[k]),
            "nats": {name: float(of[k]) for name, of in nats.items()},
            "curve": [_finite(of[k]) for of in curve],
        }
        for k, seed in enumerate(seeds)
    ]


class _Best:
    """Each seed's weights with the lowest validation error, and its rate's factor."""

    def __init__(self, params: Params, found: Floats) -> None:
        self.params, self._lowest = params, found
        self.epoch = np.zeros(len(found), int)
        self.factor = np.ones(len(found), np.float32)

    def see(self, epoch: int, params: Params, found: Floats) -> None:
        """Take what is better, halve the factor where nothing is."""
        better = found < self._lowest  # false for NaN

        def pick(a: Array, b: Array) -> Array:
            return jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b)

        self.params = jax.tree.map(pick, params, self.params)
        self._lowest = np.where(better, found, self._lowest)
        self.epoch = np.where(better, epoch, self.epoch)
        halved = np.where(better, self.factor, self.factor / 2)
        self.factor = halved.astype(np.float32)


def _updates(
    corpus: Corpus, epoch: int, orders: Sequence[np.random.Generator]
) -> Iterator[Iterator[tuple[NDArray[Any], ...]]]:
    """An epoch's updates; bundles take turns as the epoch's number draws."""
    rows = corpus.rows
    mixed = [
        np.stack([rng.permutation(len(of.x)) for rng in orders]) for of in corpus.train
    ]
    places = [
        (k, first)
        for k, of in enumerate(corpus.train)
        for first in range(0, len(of.x), rows)
    ]
    for turn in np.random.default_rng(epoch).permutation(len(places)):
        k, first = places[turn]
        yield _windows(corpus.train[k], mixed[k][:, first : first + rows])


def _stacked(every: Sequence[Params]) -> Params:
    """One tree of float32 with an axis of seeds first."""
    tree: Params = jax.tree.map(
        lambda *a: jnp.asarray(np.stack(a), jnp.float32), *every
    )
    return tree


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
