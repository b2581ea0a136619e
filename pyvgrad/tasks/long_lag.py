"""Long time lags: Hochreiter and Schmidhuber 1997, experiments 2a, 2b and 2c.

2a: the two sequences (y, a1 .. a_{p-1}, y) and (x, a1 .. a_{p-1}, x), each with
probability 0.5; predict the next symbol at every step.  Only the last step needs the
first symbol, p steps before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.tasks.lesson import (
    Asked,
    IntTask,
    Lesson,
    Verdict,
    ask_fresh,
    within,
)
from pyvgrad.tasks.task import Bools, Outputs, Sequences, Task, from_symbols


def errors_below_quarter(sequences: Sequences, outputs: Outputs) -> Bools:
    """Where all outputs of a step are within less than 0.25 of its targets, (N, T).

    True where a step has no target.  Exact for integers: 4 |y - target 2^e| < 2^e.
    """
    quarters: NDArray[Any]
    if outputs.y_exp is None:
        quarters, one = 4.0 * np.abs(outputs.y - sequences.y), 1
    else:
        one = 1 << outputs.y_exp
        target = np.rint(sequences.y * one).astype(np.int64)
        quarters = 4 * np.abs(outputs.y.astype(np.int64) - target)
    return np.asarray(np.all(quarters < one, axis=-1) | ~sequences.mask)


def always_right(sequences: Sequences, outputs: Outputs) -> Bools:
    """The criterion of the text of 1997: every error of every step is below 0.25."""
    return np.asarray(errors_below_quarter(sequences, outputs).all(axis=-1))


def right_at_end(sequences: Sequences, outputs: Outputs) -> Bools:
    """The criterion of its table 11: every error of the last step is below 0.25."""
    right = errors_below_quarter(sequences, outputs)
    last: Bools = right[np.arange(len(sequences)), sequences.lengths - 1]
    return last


CRITERIA = {"always": always_right, "end": right_at_end}


def long_lag(seed: int = 0, lag: int = 100, criterion: str = "always") -> Task:
    """Remember the first of p = ``lag`` inputs until the last (1997, experiment 2a).

    Symbols 0 and 1 are y and x, 2 .. p are a1 .. a_{p-1}.  The set has two sequences
    and is the same for every seed.  A test over any number of random sequences is a
    test over these two, since the state is zeroed between sequences.
    """
    if lag < 2:
        raise ValueError(f"a lag is at least 2, not {lag}")
    if criterion not in CRITERIA:
        raise ValueError(
            f"criterion must be one of {list(CRITERIA)}, not {criterion!r}"
        )
    middle = list(range(2, lag + 1))
    both = from_symbols([[k, *middle, k] for k in (0, 1)], lag + 1)

    def draw(rng: np.random.Generator, n: int) -> Sequences:
        return both.take(rng.integers(2, size=n))

    n = lag + 1
    correct = CRITERIA[criterion]
    return Task("long-lag", n, n, "logistic", draw, {"all": both}, correct)


# ---- in integers ---------------------------------------------------------

_QUARTER = 0.25


def _check_lag(lag: int) -> None:
    if not 2 <= lag <= 32766:
        raise ValueError(f"a lag is from 2 to 32766, not {lag}")


def int_long_lag(seed: int = 0, lag: int = 100, criterion: str = "always") -> IntTask:
    """Experiment 2a, as ``long_lag``; the test asks both sequences.

    ``at_end`` of its verdict is the criterion of table 11.  ``seed`` draws nothing.
    """
    _check_lag(lag)
    if criterion not in CRITERIA:
        raise ValueError(
            f"criterion must be one of {list(CRITERIA)}, not {criterion!r}"
        )
    middle = np.arange(2, lag + 1)
    both = [Lesson.of_symbols(np.array([k, *middle, k])) for k in (0, 1)]
    always, at_end = within(_QUARTER, last=False), within(_QUARTER, last=True)

    def test(asked: Asked, _: np.random.Generator) -> Verdict:
        end = all(at_end(asked, one) for one in both)
        right = sum(always(asked, one) for one in both)
        return Verdict(end if criterion == "end" else right == 2, right, 2, end)

    def draw(rng: np.random.Generator) -> Lesson:
        return both[rng.integers(2)]

    return IntTask("long-lag", lag + 1, lag + 1, draw, test, steps=lag)


def long_lag_noise(
    seed: int = 0, lag: int = 100, every: int = 0, tests: int = 10_000
) -> IntTask:
    """Experiment 2b: as 2a, with a random middle of p - 1 symbols a1 .. a_{p-1}.

    The last symbol is the only target or, with ``every`` 1, each next one; the test
    looks at the last in both cases.  ``seed`` draws nothing.

    With all targets the outputs for x and y must rise at one step of a hundred: a net
    has to count the steps, besides remembering the first symbol.  One cell whose c adds
    up what each input alone says cannot do both.
    """
    _check_lag(lag)
    if every not in (0, 1):
        raise ValueError(f"every is 0 or 1, not {every}")

    def draw(rng: np.random.Generator) -> Lesson:
        string = rng.integers(2, lag + 1, lag + 1)
        string[[0, -1]] = rng.integers(2)
        if every:
            return Lesson.of_symbols(string)
        return Lesson.at_end(string[:-1].astype(np.uint16), int(string[-1]))

    test = ask_fresh(draw, within(_QUARTER, last=True), n=tests)
    return IntTask("long-lag-noise", lag + 1, lag + 1, draw, test, steps=lag)


def long_lag_distractors(
    seed: int = 0, lag: int = 50, symbols: int = 0, tests: int = 10_000
) -> IntTask:
    """Experiment 2c: remember x or y for q = ``lag`` distractors, and a few more.

    b, then x or y, then q random distractors; after these, each next symbol is another
    distractor with probability 0.9 and else e, behind which the x or y of the start is
    the target, the only one.  Inputs: p distractors, e, b, x, y; p = ``symbols``, 0
    for p = q.  ``seed`` draws nothing.
    """
    _check_lag(lag)
    p = symbols or lag
    if not 1 <= p <= 65531:
        raise ValueError(f"there are 1 to 65531 distractors, not {p}")
    e, b, first = p, p + 1, p + 2

    def draw(rng: np.random.Generator) -> Lesson:
        which = int(rng.integers(2))
        more = int(rng.geometric(0.1)) - 1
        middle = rng.integers(0, p, lag + more)
        x = np.array([b, first + which, *middle, e], np.uint16)
        return Lesson.at_end(x, which)

    test = ask_fresh(draw, within(0.2, last=True), n=tests)
    return IntTask("long-lag-distractors", p + 4, 2, draw, test, lag + 12, mode="last")
