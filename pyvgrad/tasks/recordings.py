"""Sets of measured sequences, and the tasks that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.tasks.lesson import Asked, IntTask, Lesson, Verdict
from pyvgrad.tasks.task import Bools, Floats, Ints, Outputs, Sequences, Task

FOLD = 5  # with ``validate`` every fifth sequence of a training set is asked


@dataclass(frozen=True)
class Recordings:
    """Sequences x (T, n_in) in the model's unit, and their targets.

    A target is a class of the whole sequence, classes (T,), or values (T, n_out).
    """

    x: list[Floats]
    y: list[Any]
    n_out: int

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_in(self) -> int:
        """Channels."""
        return int(self.x[0].shape[1])

    @property
    def whole(self) -> bool:
        """Whether a target is the class of a whole sequence."""
        return np.ndim(self.y[0]) == 0

    @property
    def classes(self) -> Ints:
        """The classes (N,), where a sequence has one."""
        return np.array(self.y, np.int64)

    def take(self, index: Sequence[int] | NDArray[Any]) -> Recordings:
        """Those with these numbers."""
        rows = [int(k) for k in index]
        return replace(self, x=[self.x[k] for k in rows], y=[self.y[k] for k in rows])

    def where(self, keep: NDArray[Any]) -> Recordings:
        """Those for which ``keep`` (N,) is true."""
        return self.take(np.flatnonzero(keep))

    def changed(self, change: Callable[[Floats], Floats]) -> Recordings:
        """The same with other x."""
        return replace(self, x=[change(x) for x in self.x])

    def lesson(self, k: int) -> Lesson:
        """Sequence k, with a target at every step: so a class is learnt in time."""
        target = self.y[k]
        if self.whole:
            target = np.full(len(self.x[k]), target)
        return Lesson(self.x[k], np.asarray(target))

    def lessons(self) -> list[Lesson]:
        """All of them."""
        return [self.lesson(k) for k in range(len(self))]

    def sequences(self, *, last: bool = False) -> Sequences:
        """All of them, padded; ``last``: only last steps are asked."""
        lessons = self.lessons()
        lengths = np.array([len(lesson) for lesson in lessons])
        n, steps = len(self), int(lengths.max())
        x, y = np.zeros((n, steps, self.n_in)), np.zeros((n, steps, self.n_out))
        for k, lesson in enumerate(lessons):
            x[k, : len(lesson)] = lesson.x
            if lesson.target.ndim == 1:
                y[k, np.arange(len(lesson)), lesson.target] = 1.0
            else:
                y[k, : len(lesson)] = lesson.target
        valid = np.arange(steps) < lengths[:, None]
        end = np.arange(steps) == lengths[:, None] - 1
        no_symbols = np.full((n, steps + 1), -1)
        return Sequences(x, y, lengths, end if last else valid, no_symbols)


@dataclass(frozen=True)
class Sets:
    """What is learnt from, and what is asked."""

    train: Recordings
    test: Recordings

    def validating(self) -> Sets:
        """Without the test set: every fifth of the training set is asked instead."""
        fifth = np.arange(len(self.train)) % FOLD == FOLD - 1
        return Sets(self.train.where(~fifth), self.train.where(fifth))


# ---- what is right -------------------------------------------------------


def steps_right(sequences: Sequences, outputs: Outputs) -> Bools:
    """Whether the target class has the largest logit, of every step asked, (items,).

    A tie fails, and so does a NaN.
    """
    logits = outputs.logits.astype(np.float64)  # exact for int16
    target = sequences.y > 0.5
    best = np.where(target, -np.inf, logits).max(axis=-1)
    mine = np.where(target, logits, np.inf).min(axis=-1)
    right: Bools = (mine > best)[sequences.mask]
    return right


def last_right(asked: Asked, lesson: Lesson) -> tuple[int, int]:
    """(1 or 0, 1): whether the last step's class has the one largest logit."""
    logits = asked.logits(lesson.x, last=True)
    return int(np.count_nonzero(logits >= logits[int(lesson.target[-1])]) == 1), 1


def known_right(asked: Asked, lesson: Lesson) -> tuple[int, int]:
    """(steps whose class has the one largest logit, steps with a target)."""
    logits = asked.logits(lesson.x)
    mine = logits[np.arange(len(logits)), lesson.target]
    right = (logits >= mine[:, None]).sum(axis=1) == 1
    known = np.ones(len(right), bool) if lesson.known is None else lesson.known
    return int(np.count_nonzero(right & known)), int(np.count_nonzero(known))


# ---- tasks ---------------------------------------------------------------


def whole_task(name: str, sets: Sets, *, goal: float, noise: float) -> Task:
    """Which class a sequence is of, learnt at every step and asked at the last.

    To what is learnt from, normal noise of this deviation is added.  ``goal`` is the
    share of the test set that must be right.
    """
    learnt = sets.train.sequences()
    valid = learnt.mask[..., None]

    def draw(rng: np.random.Generator, n: int) -> Sequences:
        rows = rng.integers(len(learnt), size=n)
        some = learnt.take(rows)
        if not noise:
            return some
        added = noise * rng.standard_normal(some.x.shape) * valid[rows]
        return replace(some, x=some.x + added)

    return Task(
        name,
        sets.train.n_in,
        sets.train.n_out,
        "softmax",
        draw,
        {"test": sets.test.sequences(last=True)},
        steps_right,
        mode="last",
        goal=goal,
        calibrate=learnt,
    )


def int_whole_task(name: str, sets: Sets, *, goal: float) -> IntTask:
    """The same for learning in integers, without noise."""
    lessons = sets.train.lessons()
    return IntTask(
        name,
        sets.train.n_in,
        sets.train.n_out,
        lambda rng: lessons[rng.integers(len(lessons))],
        ask_share(sets.test.lessons(), last_right, goal),
        steps=max(map(len, lessons)),
        symbols=False,
        mode="last",
        largest=max(float(np.abs(x).max()) for x in sets.train.x),
    )


def ask_share(
    lessons: list[Lesson],
    right: Callable[[Asked, Lesson], tuple[int, int]],
    goal: float,
) -> Callable[[Asked, np.random.Generator], Verdict]:
    """Ask all lessons; a success if this share of their items is right."""

    def test(asked: Asked, rng: np.random.Generator) -> Verdict:
        found = np.array([right(asked, lesson) for lesson in lessons]).sum(axis=0)
        n, of = int(found[0]), int(found[1])
        return Verdict(n >= goal * of, n, of)

    return test
