"""Learning in float as integers learn: what the integers are compared with.

The same start, lessons, windows, clipping, rules and tests as a blob in training has
them (learn.py), without rounding.  Many seeds learn at once, each as if it were alone:
no seed's result depends on the others, nor on how far sequences are padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pyvgrad import float_traces
from pyvgrad.blob import parse
from pyvgrad.cells import Array, Shape
from pyvgrad.dequantize import dequantize
from pyvgrad.float_asked import PAD, FloatAsked
from pyvgrad.float_maps import (
    Factors,
    Lessons,
    Maps,
    Moving,
    maps_of,
    params_of,
    rates_of,
    starting_states,
    update,
    where,
)
from pyvgrad.float_tape import run, segment_gradient
from pyvgrad.learning import Learn
from pyvgrad.model import Params
from pyvgrad.recipes import IntRecipe
from pyvgrad.tasks import IntTask, Lesson

LANES = (
    8  # seeds in one compiled call, always as many: the bits of a seed stay the same
)

LESSONS, TESTS = 1, 2  # streams of random numbers of a seed, as in learn.py
MakeTask = Callable[[int], IntTask]


@dataclass(frozen=True)
class FloatResult:
    """What came of one seed, as learn.Result has it; ``params`` the last weights.

    ``finite``: no weight became infinite or NaN, which ends a training.
    """

    seed: int
    success: bool
    sequences: int
    sequences_at_end: int | None
    finite: bool
    params: Params


TWINS = ("rnn_tanh", "rnn_sigmoid", "rnn_relu", "lstm97", "lstm")


# ---- one sequence --------------------------------------------------------


def tape_sequence(
    shape: Shape, learn: Learn, rates: Maps, moving: Moving, lesson: Lessons
) -> Moving:
    """TBPTT(k1, k2) over one sequence, arrays (T, ...)."""
    T = len(lesson.valid)
    size = min(learn.k1, T) or T
    n = -(-T // size)
    kept = min(learn.k2 - 1, (n - 1) * size)

    def folded(a: Array) -> Array:
        padded = jnp.pad(a, [(0, n * size - T)] + [(0, 0)] * (a.ndim - 1))
        return padded.reshape(n, size, *a.shape[1:])

    def body(carry: Any, part: Lessons) -> Any:
        moving, states, tape = carry
        states, made = run(shape, moving.maps, states, part)
        g, tape = segment_gradient(shape, learn, moving.maps, tape, part, made)
        tape = jax.tree.map(lambda a: a[len(a) - kept :], tape)
        happens = jnp.any(part.known & part.valid)
        moving = where(happens, update(learn, rates, moving, g), moving)
        return (moving, states, tape), None

    states = starting_states(shape, moving.maps)
    parts = Lessons(*map(folded, lesson))
    first = jax.tree.map(lambda a: a[0], parts)
    tape = _empty_tape(shape, moving.maps, states, first, kept)
    if n == 1:
        (done, _, _), _ = body((moving, states, tape), first)
        return Moving(*done)
    (moving, _, _), _ = jax.lax.scan(body, (moving, states, tape), parts)
    return moving


def _empty_tape(shape: Shape, maps: Maps, states: Any, part: Lessons, n: int) -> Any:
    """``n`` steps that were never made: (records, which are valid)."""
    _, (records, _, _) = jax.eval_shape(lambda: run(shape, maps, states, part))
    zeros = jax.tree.map(lambda a: jnp.zeros((n, *a.shape[1:]), a.dtype), records)
    return zeros, jnp.zeros(n, bool)


def traced_sequence(
    shape: Shape, learn: Learn, rates: Maps, moving: Moving, lesson: Lessons
) -> Moving:
    """RTRL97 over one sequence, arrays (T, ...)."""

    def body(carry: Any, now: Lessons) -> Any:
        moving, live = carry
        return float_traces.step(shape, learn, rates, moving, live, now), None

    live = float_traces.start(shape, moving.maps)
    (moving, live), _ = jax.lax.scan(body, (moving, live), lesson)
    return float_traces.sequence_end(learn, rates, moving, live)


# ---- many sequences, many seeds ------------------------------------------


@lru_cache(maxsize=32)
def _compiled(shape: Shape, learn: Learn, rates: Any) -> Any:
    """chunk(moving, lessons), all lanes at once: (lanes, ...), (lanes, U, T, ...)."""
    tree = [{part: np.array(v) for part, v in m} for m in rates]

    sequence = traced_sequence if learn.method == "rtrl97" else tape_sequence

    def chunk(moving: Moving, lessons: Lessons) -> Any:
        dtype = moving.maps[0]["b"].dtype
        rates = jax.tree.map(lambda r: jnp.asarray(r, dtype), tree)

        def body(moving: Moving, lesson: Lessons) -> Any:
            return sequence(shape, learn, rates, moving, lesson), None

        return jax.lax.scan(body, moving, lessons)[0]

    return jax.jit(jax.vmap(chunk))


def make_chunk(shape: Shape, learn: Learn, factors: Factors) -> Any:
    """The compiled chunk of these settings, compiled once for equal ones.

    ValueError for layers that have no float twin.
    """
    for layer in shape.layers:
        if layer.cell not in TWINS or layer.reversed:
            raise ValueError(
                f"a layer of {layer.direction} {layer.cell} has no twin that learns in "
                f"float; forward layers of {', '.join(TWINS)} have"
            )
    rates = tuple(
        tuple((part, tuple(v.tolist())) for part, v in m.items())
        for m in rates_of(shape, learn, factors)
    )
    return _compiled(shape, learn, rates)


def start(shape: Shape, params: Params, dtype: Any = np.float32) -> Moving:
    """What chunk() carries, for one lane."""
    maps = jax.tree.map(lambda a: np.asarray(a, dtype), maps_of(shape, params))
    return Moving(maps, jax.tree.map(np.zeros_like, maps))


def padded(lessons: Sequence[Lesson], steps: int) -> Lessons:
    """Lessons as arrays (U, steps, ...)."""

    def pad(a: NDArray[Any], dtype: Any) -> NDArray[Any]:
        width = [(0, steps - len(a))] + [(0, 0)] * (a.ndim - 1)
        return np.pad(np.asarray(a, dtype), width)

    def kind(a: NDArray[Any]) -> Any:
        return np.int32 if a.ndim == 1 else np.float32

    return Lessons(
        np.stack([pad(one.x, kind(one.x)) for one in lessons]),
        np.stack([pad(one.target, kind(one.target)) for one in lessons]),
        np.stack(
            [
                pad(np.ones(len(one)) if one.known is None else one.known, bool)
                for one in lessons
            ]
        ),
        np.stack([np.arange(steps) < len(one) for one in lessons]),
    )


# ---- many seeds ----------------------------------------------------------


@dataclass
class _Pupil:
    """One seed in its lane."""

    seed: int
    task: IntTask
    seen: int = 0
    at_end: int | None = None

    def lessons(self, every: int) -> list[Lesson]:
        """The next block of lessons, those of learn.py."""
        block = self.seen // every
        rng = np.random.default_rng([self.seed, LESSONS, block])
        return [self.task.draw(rng) for _ in range(every)]

    def asked(self, asked: FloatAsked) -> bool:
        """Ask the task's test, with learn.py's random numbers."""
        rng = np.random.default_rng([self.seed, TESTS, self.seen])
        verdict = self.task.test(asked, rng)
        if verdict.at_end and self.at_end is None:
            self.at_end = self.seen
        return verdict.success


def learn_float(
    recipe: IntRecipe,
    make_task: MakeTask,
    seeds: Sequence[int],
    *,
    lanes: int = LANES,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[FloatResult]:
    """Each seed's result as soon as it is there, in no fixed order.

    As learn.learn_one, but a limit that is no multiple of ``recipe.every`` is passed to
    the next one.  ``progress(seed, sequences)`` is told of every test.
    """
    queue = list(seeds)[::-1]
    task = make_task(queue[-1])
    shape, learn = recipe.shape(task), recipe.learn(task)
    factors = {
        (k, gate, part): raw / 2.0**16
        for k, gate, part, raw in recipe.raw_factors(shape)
    }
    chunk = make_chunk(shape, learn, factors)
    pupils: list[_Pupil | None] = [None] * lanes
    carry: Any = None

    def enter(lane: int) -> None:
        nonlocal carry
        pupils[lane] = None
        if queue:
            seed = queue.pop()
            pupils[lane] = _Pupil(seed, make_task(seed))
            params = dequantize(parse(recipe.start(task, seed)))
            first = start(shape, params)
            if carry is None:
                carry = jax.tree.map(lambda a: np.stack([a] * lanes), first)
            carry = jax.tree.map(partial(_with, lane), carry, first)

    for lane in range(lanes):
        enter(lane)
    while any(pupils):
        carry = chunk(carry, _together(pupils, recipe.every))
        maps = jax.tree.map(np.asarray, carry.maps)
        for lane, pupil in enumerate(pupils):
            if pupil is None:
                continue
            mine = jax.tree.map(lambda v, lane=lane: v[lane], maps)
            pupil.seen += recipe.every
            result = _result(shape, mine, pupil)
            if progress is not None:
                progress(pupil.seed, pupil.seen)
            if result.success or not result.finite or pupil.seen >= recipe.limit:
                yield result
                enter(lane)


def _result(shape: Shape, maps: Maps, pupil: _Pupil) -> FloatResult:
    finite = all(bool(np.isfinite(v).all()) for v in jax.tree.leaves(maps))
    success = finite and pupil.asked(FloatAsked(shape, maps))
    params = params_of(shape, maps)
    return FloatResult(pupil.seed, success, pupil.seen, pupil.at_end, finite, params)


def _together(pupils: Sequence[_Pupil | None], every: int) -> Lessons:
    """A block of each lane, padded alike; an empty lane repeats another's."""
    drawn = [p.lessons(every) if p else None for p in pupils]
    any_one = next(d for d in drawn if d is not None)
    longest = max(len(one) for d in drawn if d is not None for one in d)
    steps = -(-longest // PAD) * PAD
    each = [padded(d if d is not None else any_one, steps) for d in drawn]
    return Lessons(*(np.stack(v) for v in zip(*each, strict=True)))


def _with(lane: int, a: Array, value: Array) -> Array:
    changed = np.array(a)
    changed[lane] = value
    return changed
