"""The adding problem: Hochreiter and Schmidhuber 1997, experiment 4."""

from __future__ import annotations

import numpy as np

from pyvgrad.tasks.lesson import IntTask, Lesson, ask_fresh, within


def adding(seed: int = 0, length: int = 100, tests: int = 10_000) -> IntTask:
    """Add two marked values among ``length`` to ``length`` * 1.1 of them.

    A step is (value in [-1, 1], marker): the marker is -1 at both ends, 1 at one of the
    first ten steps and at another one of the first half less one, else 0.  A marked
    first step keeps its -1 and counts as X1 = 0.  The target at the end is 0.5 + (X1 +
    X2) / 4, and the answer is right within 0.04.  Success: less than 1 % of ``tests``
    fresh sequences wrong.  ``seed`` draws nothing.
    """
    if length < 22 or tests < 1:
        raise ValueError(
            f"a length is 22 at least and a test 1, not {length} and {tests}"
        )

    def draw(rng: np.random.Generator) -> Lesson:
        steps = int(rng.integers(length, length + length // 10 + 1))
        x = np.zeros((steps, 2))
        x[:, 0] = rng.uniform(-1, 1, steps)
        first = int(rng.integers(10))
        rest = np.delete(np.arange(length // 2 - 1), first)
        second = int(rng.choice(rest))
        x[[first, second], 1] = 1.0
        x[[0, -1], 1] = -1.0
        total = sum(float(x[k, 0]) for k in (first, second) if k)
        return Lesson.at_end(x, np.array([0.5 + total / 4.0]))

    right = within(0.04, last=True)
    test = ask_fresh(draw, right, n=tests, wrong=-(-tests // 100) - 1)
    return IntTask("adding", 2, 1, draw, test, length, symbols=False, mode="last")
