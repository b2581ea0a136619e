"""Trials on embedded Reber strings: what they learn from, and their test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pyvgrad import rcc
from pyvgrad.cells import Array, Shape
from pyvgrad.float_maps import Maps, logits_of
from pyvgrad.methods import rates, weights_of
from pyvgrad.nets import Net
from pyvgrad.tasks.reber import (
    EMBEDDED_REBER,
    SYMBOLS,
    draw_repeating_sets,
    encode,
    lesson,
)
from pyvgrad.tasks.task import Sequences
from pyvgrad.trials import (
    Criterion,
    Ints,
    Method,
    Progress,
    Steps,
    Trial,
    deck_of,
    places,
    run_trials,
)

TESTED = 250  # strings between tests
SET = 256
CANDIDATES = 24  # with 8, as Fahlman has, hardly a seed succeeds


class Asked(NamedTuple):
    """The distinct strings of a seed's sets, M of T steps with padding.

    ``x`` (M, T) symbols, ``legal`` (M, T, 7), ``mask`` (M, T) which steps there are.
    """

    x: NDArray[Any]
    legal: NDArray[Any]
    mask: NDArray[Any]


@lru_cache(maxsize=64)
def sets(seed: int) -> tuple[list[str], list[str]]:
    """The strings to learn and those to be tested."""
    return draw_repeating_sets(EMBEDDED_REBER, SET, SET, seed)


def asked_of(seeds: Sequence[int]) -> dict[int, Asked]:
    """What is asked of each seed, padded alike."""
    every = {seed: _distinct([*sets(seed)[0], *sets(seed)[1]]) for seed in seeds}
    n, T = (max(s.mask.shape[k] for s in every.values()) for k in (0, 1))

    def padded(s: Sequences) -> Asked:
        return Asked(
            _wide(s.x.argmax(-1), n, T), _wide(s.legal, n, T), _wide(s.mask, n, T)
        )

    return {seed: padded(s) for seed, s in every.items()}


def _distinct(strings: Sequence[str]) -> Sequences:
    return encode(EMBEDDED_REBER, list(dict.fromkeys(strings)))


def _wide(a: NDArray[Any] | None, n: int, T: int) -> NDArray[Any]:
    """(N, T, ...) with zeros behind, (n, T, ...)."""
    assert a is not None
    have = a.shape
    more = [(0, n - have[0]), (0, T - have[1]), *[(0, 0)] * (a.ndim - 2)]
    return np.pad(a, more)


def legal_share(y: Array, asked: Asked) -> Array:
    """The share of strings at each of whose steps the legal symbols win, y (M, T, n).

    Outputs beyond the symbols do not count.
    """
    y = y[..., : len(SYMBOLS)]
    worst = jnp.min(jnp.where(asked.legal, y, jnp.inf), axis=-1)
    best = jnp.max(jnp.where(asked.legal, -jnp.inf, y), axis=-1)
    won = jnp.all((worst > best) | ~asked.mask, axis=-1)
    there = jnp.any(asked.mask, axis=-1)
    return jnp.sum(won & there) / jnp.sum(there)


@lru_cache(maxsize=8)
def _tester(shape: Shape) -> Any:
    def share(maps: Maps, asked: Asked) -> Array:
        return legal_share(
            jax.vmap(lambda x: logits_of(shape, maps, x))(asked.x), asked
        )

    return jax.jit(jax.vmap(share))


# ---- methods that learn online ---------------------------------------------


def online(
    method: Method,
    net: Net,
    rate: float,
    seeds: Sequence[int],
    limit: int,
    progress: Progress | None = None,
) -> list[Trial]:
    """Trials of a method on the strings of each seed."""
    shape = net.shape(len(SYMBOLS), len(SYMBOLS))
    asked = asked_of(seeds)
    decks = {seed: _deck(seed) for seed in seeds}

    def deal(seeds: Sequence[int], block: int) -> tuple[Steps, Ints]:
        drawn = [
            np.random.default_rng([seed, 1, block]).integers(SET, size=TESTED)
            for seed in seeds
        ]
        begins = [decks[seed][1] for seed in seeds]
        most = max(int(np.diff(b)[d].sum()) for b, d in zip(begins, drawn, strict=True))
        steps = -(-most // 512) * 512  # few different sizes: each is compiled
        at = [places(b, d, steps) for b, d in zip(begins, drawn, strict=True)]
        deck = jax.tree.map(lambda *a: np.stack(a), *(decks[s][0] for s in seeds))
        return deck, np.stack(at)

    def test(seeds: Sequence[int], weights: Any) -> NDArray[np.float64]:
        all_asked = jax.tree.map(lambda *a: np.stack(a), *(asked[s] for s in seeds))
        return np.asarray(_tester(shape)(weights.maps, all_asked), np.float64)

    trials = [
        Trial(seed, rates(shape, rate), weights_of(shape, seed, net.scale, net.biases))
        for seed in seeds
    ]
    run_trials(
        method,
        trials,
        deal,
        per_chunk=TESTED,
        limit=limit,
        shared=False,
        criterion=Criterion(),
        test=test,
        progress=progress,
    )
    for trial in trials:
        trial.more["tested"] = True
    return trials


def _deck(seed: int) -> tuple[Steps, Ints]:
    """A seed's strings to learn; as long for every seed."""
    lessons = [lesson(EMBEDDED_REBER, string) for string in sets(seed)[0]]
    return deck_of(lessons, SET * 24)


# ---- recurrent cascade-correlation -----------------------------------------


def cascade(
    seeds: Sequence[int], limit: int, progress: Progress | None = None
) -> list[Trial]:
    """Trials of recurrent cascade-correlation with ``limit`` units at most."""
    settings = rcc.Settings(units=limit, candidates=CANDIDATES)
    asked, learnt = asked_of(seeds), weighted(seeds)
    trials = []
    for k, seed in enumerate(seeds):
        trials.append(_grown(seed, settings, learnt[seed], asked[seed]))
        if progress is not None:
            progress(k + 1, len(seeds), len(seeds) - k - 1)
    return trials


def _grown(
    seed: int, settings: rcc.Settings, strings: rcc.Strings, asked: Asked
) -> Trial:
    x = jnp.asarray(jax.nn.one_hot(asked.x, len(SYMBOLS)))
    shares: list[float] = []

    def test(units: Any, weights: Any) -> bool:
        shares.append(float(legal_share(rcc.run(units, weights, x), asked)))
        return shares[-1] == 1.0

    found = rcc.grow(strings, settings, np.random.default_rng([seed, 0]), test)
    last = found[-1]
    curve = [(SET * f.epochs, s) for f, s in zip(found, shares, strict=True)]
    more = {"tested": True, "units": last.units, "weights": last.weights}
    return Trial(seed, None, None, last.test, SET * last.epochs, curve=curve, more=more)


def weighted(seeds: Sequence[int]) -> dict[int, rcc.Strings]:
    """Each seed's distinct strings to learn, and how often they occur, padded alike."""
    often = {seed: Counter(sets(seed)[0]) for seed in seeds}
    every = {seed: _distinct(list(strings)) for seed, strings in often.items()}
    n, T = (max(s.mask.shape[k] for s in every.values()) for k in (0, 1))

    def padded(s: Sequences, times: Counter[str]) -> rcc.Strings:
        weight = s.mask * np.array(list(times.values()))[:, None]
        parts = (_wide(a.astype(np.float32), n, T) for a in (s.x, s.y, weight))
        return rcc.Strings(*parts)

    return {seed: padded(every[seed], often[seed]) for seed in seeds}
