"""A task: sequences to learn from, sequences to be tested on, and the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_FEW = 16


@dataclass(frozen=True)
class Sequences:
    """N sequences, padded with zeros behind their ends to T steps.

    ``x`` (N, T, n_in) and targets ``y`` (N, T, n_out) are floats; ``lengths`` (N,)
    counts steps; ``mask`` (N, T) is true where a step has a target.  ``symbols``
    (N, T + 1) are the symbols that x and y are the one-hot form of, -1 behind the end;
    ``legal`` (N, T, n_out) says which outputs may come next (grammars), else None.
    """

    x: Floats
    y: Floats
    lengths: Ints
    mask: Bools
    symbols: Ints
    legal: Bools | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def steps(self) -> int:
        """T, the padded length."""
        return int(self.x.shape[1])

    def take(self, index: Ints) -> Sequences:
        """Return the sequences with these numbers, repeated as often as they occur."""
        legal = None if self.legal is None else self.legal[index]
        return Sequences(
            self.x[index],
            self.y[index],
            self.lengths[index],
            self.mask[index],
            self.symbols[index],
            legal,
        )


@dataclass(frozen=True)
class Outputs:
    """What an executor answered: ``logits`` and ``y``, each (N, T, n_out).

    ``y_exp`` None means float values; else all are integers and y = raw / 2^y_exp.
    """

    logits: NDArray[Any]
    y: NDArray[Any]
    y_exp: int | None = None


Executor = Callable[[Sequences], Outputs]


@dataclass(frozen=True)
class Task:
    """What is to be learnt.

    ``output`` is the function of the readout that it is meant for.  ``draw(rng, n)``
    gives n sequences to train on.  ``checks`` are the sets, by name, over which the
    criterion must hold; ``correct(sequences, outputs)`` is the criterion of each item,
    (items,) of bool: a sequence, or a step.  With a ``goal`` below 1 this share of a
    set's items must be right, and the sets are asked once, after the training, so that
    they do not decide when it ends.  ``mode`` as in Shape; ``calibrate`` are sequences
    that set exponents, None for the first of the checks.
    """

    name: str
    n_in: int
    n_out: int
    output: str
    draw: Callable[[np.random.Generator, int], Sequences]
    checks: dict[str, Sequences]
    correct: Callable[[Sequences, Outputs], Bools]
    mode: str = "sequence"
    goal: float = 1.0
    calibrate: Sequences | None = None

    def count(self, run: Executor) -> dict[str, int]:
        """Of each set, how many items the executor gets right."""
        return {name: right for name, (right, _) in self.right(run).items()}

    def right(self, run: Executor) -> dict[str, tuple[int, int]]:
        """Of each set, how many items the executor gets right, and of how many."""
        found = {name: self.correct(s, run(s)) for name, s in self.checks.items()}
        return {k: (int(np.count_nonzero(v)), len(v)) for k, v in found.items()}

    def solved(self, run: Executor) -> bool:
        """Whether the executor gets the goal's share of every set right.

        Where that is all, a few sequences of each set are asked first, since a model in
        training mostly fails on those already.
        """
        sets = list(self.checks.values())
        if self.goal < 1.0:
            return all(n >= self.goal * of for n, of in self.right(run).values())
        few = [s.take(np.arange(min(_FEW, len(s)))) for s in sets]
        return all(bool(self.correct(s, run(s)).all()) for s in few + sets)


def from_symbols(strings: list[list[int]], n: int) -> Sequences:
    """Next-symbol prediction: one-hot inputs s[:-1] and targets s[1:] of n symbols."""
    lengths = np.array([len(s) - 1 for s in strings])
    steps = int(lengths.max())
    symbols = np.full((len(strings), steps + 1), -1)
    for row, s in zip(symbols, strings, strict=True):
        row[: len(s)] = s
    mask = np.arange(steps) < lengths[:, None]
    one_hot = symbols[:, :, None] == np.arange(n)
    x = (one_hot[:, :-1] & mask[:, :, None]).astype(np.float64)
    y = (one_hot[:, 1:] & mask[:, :, None]).astype(np.float64)
    return Sequences(x, y, lengths, mask, symbols)
