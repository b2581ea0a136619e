"""Many trials of a method that learns online, all at once on one device.

A trial is a lane: its own weights, rates and sequences, under jax.vmap; a jax.lax.scan
goes over the steps of the sequences, one behind the other.  What happens is counted on
the device by the criterion of Hochreiter and Schmidhuber 1997: so many successive
sequences, while it learns, without an error of the tolerance or more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Array
from pyvgrad.float_maps import Lessons, where
from pyvgrad.tasks.lesson import Lesson

Ints = NDArray[np.int32]


class Steps(NamedTuple):
    """Sequences one behind the other, (N,) steps; ``target`` is the output that is 1.

    ``known``: whether the step has a target.
    """

    x: Array
    target: Array
    known: Array
    first: Array
    last: Array

    @property
    def lessons(self) -> Lessons:
        """The same for what learns from it."""
        return Lessons(self.x, self.target, self.known, jnp.ones_like(self.known))


class Method(NamedTuple):
    """How one trial learns; arrays are those of one trial.

    ``start(weights)`` gives what is live at a sequence's start; ``play(rates, weights,
    live, steps)`` learns from ``size`` steps, 1 or a whole sequence, and gives the
    new weights, what is live, and the outputs, (n_out,) or (size, n_out).
    """

    start: Callable[[Any], Any]
    play: Callable[[Any, Any, Any, Steps], tuple[Any, Any, Array]]
    size: int = 1


class Score(NamedTuple):
    """What one trial has come to; numbers of sequences are int32.

    ``worst`` is the largest error of the sequence so far; ``always`` and ``end`` how
    many sequences, up to now, went without an error of the tolerance at any step, or at
    the last; ``always_at`` and ``end_at`` after how many such a run began that was long
    enough, -1 before.  ``total`` sums the errors of last steps.
    """

    seen: Array
    worst: Array
    always: Array
    end: Array
    always_at: Array
    end_at: Array
    total: Array


class Criterion(NamedTuple):
    """``needed`` successive sequences with every error below ``tolerance``."""

    tolerance: float = 0.25
    needed: int = 10_000


def fresh_score() -> Score:
    """Nothing seen."""
    zero, never = np.int32(0), np.int32(-1)
    none = np.float32(0.0)
    return Score(zero, none, zero, zero, never, never, none)


def count(score: Score, criterion: Criterion, y: Array, now: Steps) -> Score:
    """The score after a step with outputs y (n_out,)."""
    goal = jnp.arange(y.shape[-1]) == now.target
    error = jnp.where(now.known, jnp.max(jnp.abs(y - goal)), 0.0)
    error = error.astype(jnp.float32)
    worst = jnp.maximum(jnp.where(now.first, 0.0, score.worst), error)
    seen = score.seen + now.last

    def run(before: Array, error: Array) -> Array:
        after = jnp.where(error < criterion.tolerance, before + 1, 0)
        return jnp.where(now.last, after, before)

    def since(before: Array, length: Array) -> Array:
        done = (before < 0) & (length >= criterion.needed)
        return jnp.where(done, seen - length, before)

    always, end = run(score.always, worst), run(score.end, error)
    total = score.total + jnp.where(now.last, error, 0.0)
    always_at = since(score.always_at, always)
    end_at = since(score.end_at, end)
    return Score(seen, worst, always, end, always_at, end_at, total)


@lru_cache(maxsize=16)
def make_chunk(method: Method, criterion: Criterion, *, shared: bool) -> Any:
    """The compiled f(rates, weights, scores, deck, at), lanes along the first axis.

    ``at`` (lanes, S) are places in the deck, which the lanes share or have one each.
    S is a multiple of the method's size, and begins with a sequence.
    """

    def chunk(rates: Any, weights: Any, score: Score, deck: Steps, at: Array) -> Any:
        def body(carry: Any, place: Array) -> tuple[Any, None]:
            weights, live, score = carry
            now: Steps = jax.tree.map(lambda a: a[place], deck)
            begins = now.first if method.size == 1 else now.first[0]
            live = where(begins, method.start(weights), live)
            weights, live, y = method.play(rates, weights, live, now)
            if method.size == 1:
                return (weights, live, count(score, criterion, y, now)), None

            def add(score: Score, step: Any) -> tuple[Score, None]:
                return count(score, criterion, *step), None

            return (weights, live, jax.lax.scan(add, score, (y, now))[0]), None

        places = at if method.size == 1 else at.reshape(-1, method.size)
        start = weights, method.start(weights), score
        (weights, _, score), _ = jax.lax.scan(body, start, places)
        return weights, score

    axes = (0, 0, 0, None if shared else 0, 0)
    return jax.jit(jax.vmap(chunk, axes), donate_argnums=(1, 2))


# ---- decks -----------------------------------------------------------------


def deck_of(lessons: Sequence[Lesson], steps: int) -> tuple[Steps, Ints]:
    """The deck of these sequences, padded to ``steps``, and where each begins.

    Behind the last sequence comes its end, too (U + 1,); padding does nothing.
    """
    lengths = np.array([len(one) for one in lessons])
    begin = np.concatenate([[0], np.cumsum(lengths)])

    def flat(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
        whole = np.zeros(steps, dtype)
        whole[: begin[-1]] = np.concatenate(parts)
        return whole

    ends = [np.arange(n) for n in lengths]
    every = [np.ones(n, bool) for n in lengths]
    known = [
        one.known if one.known is not None else e
        for one, e in zip(lessons, every, strict=True)
    ]
    deck = Steps(
        flat([one.x for one in lessons], np.int32),
        flat([one.target for one in lessons], np.int32),
        flat(known, bool),
        flat([k == 0 for k in ends], bool),
        flat([k == len(k) - 1 for k in ends], bool),
    )
    return deck, begin.astype(np.int32)


def places(begin: Ints, chosen: NDArray[Any], steps: int) -> Ints:
    """Where the steps of the chosen sequences stand in a deck, (steps,).

    What is left over points behind the last sequence: the deck needs padding there.
    """
    lengths = np.diff(begin)[chosen]
    ends = np.cumsum(lengths)
    at = np.full(steps, begin[-1], np.int32)
    shift = np.repeat(begin[chosen] - (ends - lengths), lengths)
    at[: ends[-1]] = np.arange(ends[-1]) + shift
    return at


# ---- the loop --------------------------------------------------------------


@dataclass
class Trial:
    """One trial: what it starts from, and what came of it.

    ``curve`` has (sequences, mean error of their last steps, or what the test gives) of
    each chunk.  ``success`` is None while it runs; ``sequences`` how many it took or,
    without success, saw.
    """

    seed: int
    rates: Any
    weights: Any
    success: bool | None = None
    sequences: int = 0
    always_at: int | None = None
    end_at: int | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


class Deal(Protocol):
    """Sequences of a chunk: the deck, and places (lanes, S) in it."""

    def __call__(self, seeds: Sequence[int], block: int) -> tuple[Steps, Ints]:
        """Those of block ``block`` of each of these trials."""


Test = Callable[[Sequence[int], Any], NDArray[np.float64]]
After = Callable[[Trial, Any, Any], tuple[Any, Any]]
Progress = Callable[[int, int, int], None]  # sequences, of how many, trials that run


def run_trials(
    method: Method,
    trials: Sequence[Trial],
    deal: Deal,
    *,
    per_chunk: int,
    limit: int,
    shared: bool,
    criterion: Criterion,
    at_end: bool = False,
    test: Test | None = None,
    after: After | None = None,
    progress: Progress | None = None,
) -> None:
    """Learn ``per_chunk`` sequences at a time until every trial is done.

    A trial ends with success by the criterion (``at_end``: of last steps only) or, if
    there is one, by ``test(seeds, weights)``, which gives what share of each lane is
    right; without success at the limit or when a weight is no longer finite.
    ``after(trial, rates, weights)`` may change both after a chunk.
    """
    chunk = make_chunk(method, criterion, shared=shared)
    live = list(trials)
    rates, weights = (
        stacked([t.rates for t in live]),
        stacked([t.weights for t in live]),
    )
    score = stacked([fresh_score() for _ in live])
    block = 0
    while any(t.success is None for t in live):
        deck, at = deal([t.seed for t in live], block)
        weights, score = chunk(rates, weights, score, deck, at)
        block += 1
        counted = jax.tree.map(np.asarray, score)
        finite = _finite(weights)
        share = test([t.seed for t in live], weights) if test is not None else None
        for k, trial in enumerate(live):
            mine = Score(*(a[k] for a in counted))
            right = None if share is None else float(share[k])
            _record(trial, mine, per_chunk, at_end, right)
            if trial.success is None and (not finite[k] or trial.sequences >= limit):
                trial.success = False
        score = score._replace(total=np.zeros(len(live), np.float32))
        if after is not None:
            rates, weights = _changed(after, live, rates, weights)
        if progress is not None:
            left = sum(t.success is None for t in live)
            progress(block * per_chunk, limit, left)


def stacked(trees: Sequence[Any]) -> Any:
    """Trees alike as one, lanes along the first axis."""
    return jax.tree.map(lambda *a: np.stack(a), *trees)


def _finite(weights: Any) -> NDArray[np.bool_]:
    each = [
        np.isfinite(a).reshape(len(a), -1).all(axis=1)
        for a in map(np.asarray, jax.tree.leaves(weights))
    ]
    whole: NDArray[np.bool_] = np.logical_and.reduce(each)
    return whole


def _record(
    trial: Trial, score: Score, per_chunk: int, at_end: bool, right: float | None
) -> None:
    """Write down a chunk, unless the trial was done before it."""
    if trial.success is not None:
        return
    trial.sequences = int(score.seen)
    shown = float(score.total) / per_chunk if right is None else right
    trial.curve.append((trial.sequences, shown))
    found = [int(a) if a >= 0 else None for a in (score.always_at, score.end_at)]
    trial.always_at, trial.end_at = found
    if right is not None:
        trial.success = True if right == 1.0 else None
        return
    at = trial.end_at if at_end else trial.always_at
    if at is not None:
        trial.success, trial.sequences = True, at


def _changed(after: After, live: Sequence[Trial], rates: Any, weights: Any) -> Any:
    """Both trees after ``after`` of each lane."""
    every = jax.tree.map(np.asarray, (rates, weights))
    each = [
        after(trial, *jax.tree.map(lambda a, k=k: a[k], every))
        for k, trial in enumerate(live)
    ]
    return stacked([r for r, _ in each]), stacked([w for _, w in each])
