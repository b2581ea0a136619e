"""Long time lags without noise: Hochreiter and Schmidhuber 1997, experiment 2a.

The two sequences (y, a1 .. a_{p-1}, y) and (x, a1 .. a_{p-1}, x), each with probability
0.5; predict the next symbol at every step.  Only the last step needs the first symbol,
p steps before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
