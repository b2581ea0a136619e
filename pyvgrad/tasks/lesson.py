"""A task as learning in integers takes it: one sequence at a time, and asked of a blob.

A one-hot input is a symbol here, so a lag of 1,000 costs 1,000 numbers and not a
million; a target may be missing at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lesson:
    """One sequence of T steps.

    ``x`` are symbols (T,) or values (T, n_in); ``target`` classes (T,) or values
    (T, n_out), of any value where ``known`` (T,) is false; None: all are known.
    ``legal`` (T, n_out) says which outputs may come next (grammars).
    """

    x: NDArray[Any]
    target: NDArray[Any]
    known: NDArray[np.bool_] | None = None
    legal: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.x)

    @staticmethod
    def of_symbols(string: NDArray[Any]) -> Lesson:
        """Next-symbol prediction: x is string[:-1], the classes are string[1:]."""
        s = np.ascontiguousarray(string, np.uint16)
        return Lesson(s[:-1], s[1:])

    @staticmethod
    def at_end(x: NDArray[Any], target: Any) -> Lesson:
        """A class, or values (n_out,), that are asked for at the last step only."""
        last = np.asarray(target)
        targets = np.zeros((len(x), *last.shape), last.dtype)
        targets[-1] = last
        known = np.zeros(len(x), bool)
        known[-1] = True
        return Lesson(x, targets, known)


class Asked(Protocol):
    """A blob that answers, wherever it runs; its integers are raw / 2^exp."""

    y_exp: int

    def y(self, x: NDArray[Any], *, last: bool = False) -> NDArray[np.int16]:
        """Outputs of a fresh sequence, (T, n_out), or of its last step, (n_out,)."""

    def logits(
        self, x: NDArray[Any], *, last: bool = False, fresh: bool = True
    ) -> NDArray[np.int16]:
        """As ``y``, before the output function; not ``fresh``: the stream goes on."""

    def many(
        self, xs: Sequence[NDArray[Any]], *, logits: bool, last: bool = False
    ) -> Sequence[NDArray[np.int16]]:
        """``y`` or ``logits`` of each of many fresh sequences."""


@dataclass(frozen=True)
class Verdict:
    """What a test found: ``right`` of the ``asked`` sequences, before it stopped.

    ``at_end``: whether it would be a success if only last steps counted; None where
    that is no question.
    """

    success: bool
    right: int
    asked: int
    at_end: bool | None = None


Test = Callable[[Asked, np.random.Generator], Verdict]


@dataclass(frozen=True)
class IntTask:
    """What is to be learnt, one lesson at a time.

    ``symbols``: x are symbols below n_in; else their values lie within
    +-``largest``, or are clamped.  ``mode`` as in Shape.  ``steps`` is the
    length of a typical sequence.  ``draw(rng)`` gives a lesson, ``test(asked, rng)``
    the verdict on a blob.
    """

    name: str
    n_in: int
    n_out: int
    draw: Callable[[np.random.Generator], Lesson]
    test: Test
    steps: int
    symbols: bool = True
    mode: str = "sequence"
    largest: float = 1.0


# ---- what is right -------------------------------------------------------


@dataclass(frozen=True)
class Right:
    """What is asked of a sequence, and whether the answer is right.

    ``judge(answer, lesson, one)`` takes the logits or, not ``logits``, y of every step
    or the ``last``; 1.0 of a y is ``one``.
    """

    judge: Callable[[NDArray[Any], Lesson, int], bool]
    logits: bool = True
    last: bool = False

    def __call__(self, asked: Asked, lesson: Lesson) -> bool:
        """Ask one lesson."""
        return self.of(asked, [lesson])[0]

    def of(self, asked: Asked, lessons: Sequence[Lesson]) -> list[bool]:
        """Ask all of these lessons at once."""
        xs = [lesson.x for lesson in lessons]
        answers = asked.many(xs, logits=self.logits, last=self.last)
        one = 1 << asked.y_exp
        pairs = zip(answers, lessons, strict=True)
        return [self.judge(answer, lesson, one) for answer, lesson in pairs]


def legal_sets_win(logits: NDArray[Any], lesson: Lesson) -> bool:
    """Whether every legal logit (T, n_out) is above every other of its step."""
    assert lesson.legal is not None
    wide = logits.astype(np.int64)
    worst = np.where(lesson.legal, wide, np.iinfo(np.int64).max).min(axis=1)
    best = np.where(lesson.legal, np.iinfo(np.int64).min, wide).max(axis=1)
    return bool((worst > best).all())


def _class_wins(logits: NDArray[Any], lesson: Lesson, _: int) -> bool:
    mine = logits[int(lesson.target[-1])]
    return int(np.count_nonzero(logits >= mine)) == 1


def _classes_win(logits: NDArray[Any], lesson: Lesson, _: int) -> bool:
    mine = logits[np.arange(len(logits)), lesson.target]
    return bool(((logits >= mine[:, None]).sum(axis=1) == 1).all())


# At every step the k legal symbols are the k largest logits; no tie.
legal_win = Right(lambda logits, lesson, _: legal_sets_win(logits, lesson))

# The class of the last step has the one largest logit.
class_wins = Right(_class_wins, last=True)

# The class of every step has the one largest logit of it.
classes_win = Right(_classes_win)


def within(tolerance: float, *, last: bool) -> Right:
    """Whether all outputs are nearer than this to their targets.

    At every step with a target, or at the last one.
    """

    def near(answer: NDArray[Any], lesson: Lesson, one: int) -> bool:
        y = np.atleast_2d(answer)
        targets = lesson.target[-1:] if last else lesson.target
        error = y.astype(np.float64)  # of integers: exact
        if targets.ndim == 1:
            error[np.arange(len(y)), targets] -= one
        else:
            error -= targets * float(one)
        close = (np.abs(error) < tolerance * one).all(axis=1)
        if not last and lesson.known is not None:
            close |= ~lesson.known
        return bool(close.all())

    return Right(near, logits=False, last=last)


# ---- tests ---------------------------------------------------------------


AT_ONCE = 256  # sequences asked in one call, at most


def _portions(n: int) -> Iterator[int]:
    """Parts of n that double: a bad net is found out soon, a good one asked quickly."""
    part = 1
    while n > 0:
        yield min(part, n)
        n -= part
        part = min(2 * part, AT_ONCE)


def ask_set(lessons: Iterable[Lesson], right: Right) -> Callable[[Asked], Verdict]:
    """Ask one sequence after the other until one is wrong."""
    asked_of = list(lessons)

    def test(asked: Asked) -> Verdict:
        return _ask(asked, iter(asked_of), len(asked_of), right, 0)

    return test


def ask_fresh(
    draw: Callable[[np.random.Generator], Lesson],
    right: Right,
    *,
    n: int = 10_000,
    wrong: int = 0,
) -> Test:
    """Ask ``n`` fresh random sequences, until more than ``wrong`` are wrong.

    Some more may have been drawn than are asked for the verdict.
    """

    def test(asked: Asked, rng: np.random.Generator) -> Verdict:
        return _ask(asked, (draw(rng) for _ in range(n)), n, right, wrong)

    return test


def _ask(
    asked: Asked, lessons: Iterator[Lesson], n: int, right: Right, wrong: int
) -> Verdict:
    """The verdict on n lessons, many asked at once, as if one after the other."""
    failed = k = 0
    for part in _portions(n):
        for good in right.of(asked, list(islice(lessons, part))):
            k += 1
            failed += not good
            if failed > wrong:
                return Verdict(False, k - failed, k)
    return Verdict(True, n - failed, n)
