"""Temporal order: which symbols came first, long ago.

Pascanu, Mikolov and Bengio 2013 (after their published code), and Hochreiter and
Schmidhuber 1997, experiment 6a.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyvgrad.tasks.lesson import IntTask, Lesson, ask_fresh, class_wins, within

_DISTRACTORS = 4


def temporal_order(
    seed: int = 0, length: int = 100, second: int = 5, tests: int = 10_000
) -> IntTask:
    """Which of x and y stood at two places of ``length`` symbols: four classes.

    The first place is random in [L/10, 2L/10), the second in [second L/10,
    (second + 1) L/10): 5 as in the published code of 2013, 4 as in its talk.  Inputs:
    x, y, four distractors.  Success: less than 1 % of ``tests`` fresh sequences wrong.
    ``seed`` draws nothing.
    """
    if length < 10 or not 2 <= second <= 9:
        raise ValueError(
            "a length is 10 at least and the second place 2 to 9 tenths of it, "
            f"not {length} and {second}"
        )

    def draw(rng: np.random.Generator) -> Lesson:
        x = rng.integers(2, 2 + _DISTRACTORS, length).astype(np.uint16)
        a, b = (int(k) for k in rng.integers(2, size=2))
        x[_place(rng, length, 1)], x[_place(rng, length, second)] = a, b
        return Lesson.at_end(x, 2 * a + b)

    test = ask_fresh(draw, class_wins, n=tests, wrong=_below_one_percent(tests))
    return IntTask(
        "temporal-order", 2 + _DISTRACTORS, 4, draw, test, length, mode="last"
    )


def _place(rng: np.random.Generator, length: int, tenth: int) -> int:
    """A place in [tenth L/10, (tenth + 1) L/10)."""
    return int(rng.integers(tenth * length // 10, (tenth + 1) * length // 10))


def order_symbols(
    rng: np.random.Generator, n: int, length: int, second: int = 5
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """``n`` sequences of temporal_order at once: symbols (n, length), classes (n,)."""
    x = rng.integers(2, 2 + _DISTRACTORS, (n, length), np.uint8)
    pair = rng.integers(0, 2, (n, 2), np.uint8)
    for k, tenth in enumerate((1, second)):
        low, high = tenth * length // 10, (tenth + 1) * length // 10
        x[np.arange(n), rng.integers(low, high, n)] = pair[:, k]
    return x, 2 * pair[:, 0] + pair[:, 1]


def _below_one_percent(tests: int) -> int:
    """The most sequences that may be wrong; ValueError for a test of none."""
    if tests < 1:
        raise ValueError(f"a test asks a sequence at least, not {tests}")
    return -(-tests // 100) - 1


def temporal_order_97(seed: int = 0, tests: int = 10_000) -> IntTask:
    """Experiment 6a: E, 100 to 110 symbols in all, then B is the question.

    X or Y at a place from 10 to 20 and at one from 50 to 60, else a, b, c, d; four
    logistic outputs at the end.  A sequence is right if every output is within 0.3.
    Success: less than 1 % of ``tests`` fresh sequences wrong.  ``seed`` draws nothing.
    """
    start, end, x_or_y = 4, 5, 6

    def draw(rng: np.random.Generator) -> Lesson:
        x = rng.integers(0, 4, rng.integers(100, 111)).astype(np.uint16)
        x[0], x[-1] = start, end
        a, b = (int(k) for k in rng.integers(2, size=2))
        x[rng.integers(10, 21)], x[rng.integers(50, 61)] = x_or_y + a, x_or_y + b
        return Lesson.at_end(x, 2 * a + b)

    test = ask_fresh(
        draw, within(0.3, last=True), n=tests, wrong=_below_one_percent(tests)
    )
    return IntTask("temporal-order-97", 8, 4, draw, test, 105, mode="last")
