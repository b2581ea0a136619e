"""Trials on the long time lags of 1997: experiments 2a, 2b and 2c."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from pyvgrad import chunker
from pyvgrad.cells import Shape
from pyvgrad.methods import lstm97, rates, weights_of
from pyvgrad.nets import NETS
from pyvgrad.tasks import IntTask, Lesson, make_int_task
from pyvgrad.trials import (
    After,
    Criterion,
    Deal,
    Ints,
    Method,
    Progress,
    Steps,
    Trial,
    deck_of,
    places,
    run_trials,
)

SCALE = 0.2
QUARTER = Criterion(0.25, 10_000)
FIFTH = Criterion(0.2, 10_000)
ALONE = 3_000  # sequences that the shortcuts learn before the cell is there


# ---- sequences -------------------------------------------------------------


def two_strings(lag: int, per_chunk: int) -> Deal:
    """2a: (y, a1 .. , y) and (x, a1 .., x), each with probability 1/2."""
    middle = np.arange(2, lag + 1)
    both = [Lesson.of_symbols(np.array([k, *middle, k])) for k in (0, 1)]
    deck, begin = deck_of(both, 2 * lag + 1)

    def deal(seeds: Sequence[int], block: int) -> tuple[Steps, Ints]:
        drawn = [
            np.random.default_rng([seed, 1, block]).integers(2, size=per_chunk)
            for seed in seeds
        ]
        return deck, np.stack([places(begin, d, lag * per_chunk) for d in drawn])

    return deal


def fresh(task: IntTask, per_chunk: int) -> Deal:
    """2b and 2c: every sequence is a new one."""

    def deal(seeds: Sequence[int], block: int) -> tuple[Steps, Ints]:
        drawn = []
        for seed in seeds:
            rng = np.random.default_rng([seed, 1, block])
            drawn.append([task.draw(rng) for _ in range(per_chunk)])
        most = max(sum(map(len, lessons)) for lessons in drawn)
        steps = -(-most // 2048) * 2048  # few different sizes: each is compiled
        decks = [deck_of(lessons, steps)[0] for lessons in drawn]
        every = np.arange(steps, dtype=np.int32)
        at = np.broadcast_to(every, (len(seeds), steps))
        return jax.tree.map(lambda *a: np.stack(a), *decks), at

    return deal


# ---- trials ----------------------------------------------------------------


def _trials(shape: Shape, rate: float, seeds: Sequence[int]) -> list[Trial]:
    """Trials of a net whose weights all learn from the first step on."""
    each = rates(shape, rate)
    return [Trial(seed, each, weights_of(shape, seed, SCALE)) for seed in seeds]


def one_unit(
    make: Callable[[Shape], Method],
    lag: int,
    rate: float,
    per_chunk: int,
    seeds: Sequence[int],
    limit: int,
    progress: Progress | None = None,
) -> list[Trial]:
    """2a by a net with one recurrent unit that ``make`` trains: RTRL, BPTT."""
    shape = NETS["rtrl-1"].shape(lag + 1, lag + 1)
    trials = _trials(shape, rate, seeds)
    return _run(make(shape), trials, lag, per_chunk, limit, progress)


def chunked(
    lag: int,
    rate: float,
    seeds: Sequence[int],
    limit: int,
    progress: Progress | None = None,
) -> list[Trial]:
    """2a by the neural sequence chunker."""
    n = lag + 1
    shapes = chunker.automatizer(n), chunker.chunker(n)
    each = chunker.Weights(*(rates(shape, rate) for shape in shapes))

    def start(seed: int) -> Trial:
        a, c = (
            weights_of(shape, s, SCALE)
            for shape, s in zip(shapes, (seed, seed + 2**20), strict=True)
        )
        return Trial(seed, each, chunker.Weights(a, c))

    trials = [start(seed) for seed in seeds]
    return _run(chunker.method(n, lag), trials, lag, 250, limit, progress)


def _run(
    method: Method,
    trials: list[Trial],
    lag: int,
    per_chunk: int,
    limit: int,
    progress: Progress | None,
    after: After | None = None,
) -> list[Trial]:
    run_trials(
        method,
        trials,
        two_strings(lag, per_chunk),
        per_chunk=per_chunk,
        limit=limit,
        shared=True,
        criterion=QUARTER,
        after=after,
        progress=progress,
    )
    return trials


def memory_cell(
    lag: int,
    rate: float,
    seeds: Sequence[int],
    limit: int,
    progress: Progress | None = None,
) -> list[Trial]:
    """2a by one memory cell with an input gate, added when the shortcuts have learnt.

    Weights change after every sequence.
    """
    shape = NETS["long-lag"].shape(lag + 1, lag + 1)
    trials, grow = _alone(shape, rate, seeds)
    method = lstm97(shape, at_end=True)
    return _run(method, trials, lag, 250, limit, progress, grow)


def _alone(
    shape: Shape, rate: float, seeds: Sequence[int]
) -> tuple[list[Trial], After]:
    """Trials whose cell is not there yet, and what adds it."""
    full = rates(shape, rate)
    off = [{k: 0 * v for k, v in full[0].items()}, full[1] | {"h": 0 * full[1]["h"]}]
    kept: dict[int, Any] = {}
    trials = []
    for seed in seeds:
        whole = weights_of(shape, seed, SCALE)
        kept[seed] = whole.maps[1]["h"]
        bare = whole.maps[1] | {"h": np.zeros_like(kept[seed])}
        trials.append(Trial(seed, off, whole._replace(maps=[whole.maps[0], bare])))

    def grow(trial: Trial, rates: Any, weights: Any) -> tuple[Any, Any]:
        if trial.sequences < ALONE or trial.seed not in kept:
            return rates, weights
        wired = weights.maps[1] | {"h": kept.pop(trial.seed)}
        return full, weights._replace(maps=[weights.maps[0], wired])

    return trials, grow


def noise(
    lag: int,
    every: int,
    rate: float,
    seeds: Sequence[int],
    limit: int,
    progress: Progress | None = None,
) -> list[Trial]:
    """2b as 2a; ``every`` 1: each next symbol is a target, 0: the last."""
    shape = NETS["long-lag"].shape(lag + 1, lag + 1)
    task = make_int_task("long-lag-noise", lag=lag, every=every)
    trials, grow = _alone(shape, rate, seeds)
    method = lstm97(shape, at_end=True)
    return _fresh(task, QUARTER, method, trials, limit, progress, grow)


def distractors(
    lag: int,
    symbols: int,
    rate: float,
    seeds: Sequence[int],
    limit: int,
    progress: Progress | None = None,
) -> list[Trial]:
    """2c by two memory cells."""
    task = make_int_task("long-lag-distractors", lag=lag, symbols=symbols)
    shape = NETS["distractors"].shape(task.n_in, task.n_out)
    trials = _trials(shape, rate, seeds)
    return _fresh(task, FIFTH, lstm97(shape), trials, limit, progress)


def _fresh(
    task: IntTask,
    criterion: Criterion,
    method: Method,
    trials: list[Trial],
    limit: int,
    progress: Progress | None,
    after: After | None = None,
) -> list[Trial]:
    """Trials on sequences that are new each time; success is of last steps."""
    run_trials(
        method,
        trials,
        fresh(task, 250),
        per_chunk=250,
        limit=limit,
        shared=False,
        criterion=criterion,
        at_end=True,
        after=after,
        progress=progress,
    )
    return trials
