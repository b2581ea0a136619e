"""A task as learning in integers takes it: one sequence at a time, and asked of a blob.

A one-hot input is a symbol here, so a lag of 1,000 costs 1,000 numbers and not a
million; a target may be missing at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Right = Callable[["Asked", "Lesson"], bool]


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


def legal_win(asked: Asked, lesson: Lesson) -> bool:
    """Whether at every step the k legal symbols are the k largest logits; no tie."""
    return legal_sets_win(asked.logits(lesson.x), lesson)


def legal_sets_win(logits: NDArray[Any], lesson: Lesson) -> bool:
    """Whether every legal logit (T, n_out) is above every other of its step."""
    assert lesson.legal is not None
    wide = logits.astype(np.int64)
    worst = np.where(lesson.legal, wide, np.iinfo(np.int64).max).min(axis=1)
    best = np.where(lesson.legal, np.iinfo(np.int64).min, wide).max(axis=1)
    return bool((worst > best).all())


def class_wins(asked: Asked, lesson: Lesson) -> bool:
    """Whether the class of the last step has the one largest logit."""
    logits = asked.logits(lesson.x, last=True)
    mine = logits[int(lesson.target[-1])]
    return int(np.count_nonzero(logits >= mine)) == 1


def classes_win(asked: Asked, lesson: Lesson) -> bool:
    """Whether the class of every step has the one largest logit of it."""
    logits = asked.logits(lesson.x)
    mine = logits[np.arange(len(logits)), lesson.target]
    return bool(((logits >= mine[:, None]).sum(axis=1) == 1).all())


def within(tolerance: float, *, last: bool) -> Right:
    """Whether all outputs are nearer than this to their targets.

    At every step with a target, or at the last one.
    """

    def near(asked: Asked, lesson: Lesson) -> bool:
        y = np.atleast_2d(asked.y(lesson.x, last=last))
        targets = lesson.target[-1:] if last else lesson.target
        one = float(1 << asked.y_exp)
        error = y.astype(np.float64)  # of integers: exact
        if targets.ndim == 1:
            error[np.arange(len(y)), targets] -= one
        else:
            error -= targets * one
        close = (np.abs(error) < tolerance * one).all(axis=1)
        if not last and lesson.known is not None:
            close |= ~lesson.known
        return bool(close.all())

    return near


# ---- tests ---------------------------------------------------------------


def ask_set(lessons: Iterable[Lesson], right: Right) -> Callable[[Asked], Verdict]:
    """Ask one sequence after the other until one is wrong."""

    def test(asked: Asked) -> Verdict:
        n = 0
        for n, lesson in enumerate(lessons, 1):
            if not right(asked, lesson):
                return Verdict(False, n - 1, n)
        return Verdict(True, n, n)

    return test


def ask_fresh(
    draw: Callable[[np.random.Generator], Lesson],
    right: Right,
    *,
    n: int = 10_000,
    wrong: int = 0,
) -> Test:
    """Ask ``n`` fresh random sequences, until more than ``wrong`` are wrong."""

    def test(asked: Asked, rng: np.random.Generator) -> Verdict:
        failed = 0
        for k in range(1, n + 1):
            failed += not right(asked, draw(rng))
            if failed > wrong:
                return Verdict(False, k - failed, k)
        return Verdict(True, n - failed, n)

    return test
