"""What everything that runs a blob has in common, wherever it runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.signals import Signals, raw_signals

NO_STEP = "a layer of the model is reversed: give it whole sequences, not single steps"


class Passed(NamedTuple):
    """What ``Executor.run`` gives for one sequence, and the clamps inside of it."""

    y: Signals
    logits: Signals
    images: NDArray[np.uint8] | None
    saturated: int


class Executor(ABC):
    """One sequence passing through one blob; close it, or use it in a ``with``.

    All arrays are raw signals, int16; ``n_in`` is the length of x.  ``whole``: a layer
    is reversed, so that only whole sequences pass.
    """

    n_in: int
    whole: bool = False

    @abstractmethod
    def reset(self) -> None:
        """Start a new sequence from the blob's initial state, or zeros."""

    def step(self, x: ArrayLike) -> tuple[Signals, Signals]:
        """One step of x (n_in,): y and logits, (n_out,).

        ValueError as ``run``, and for a model that takes whole sequences.
        """
        if self.whole:
            raise ValueError(NO_STEP)
        y, logits, _ = self.run(raw_signals(x, self.n_in)[np.newaxis])
        return y[0], logits[0]

    @abstractmethod
    def run(
        self, x: ArrayLike, *, states: bool = False
    ) -> tuple[Signals, Signals, NDArray[np.uint8] | None]:
        """Steps of x (T, n_in), also none, going on from the current state.

        Returns y, logits (T, n_out), whatever the mode, and with ``states`` the saved
        state after each step, (T, state_size), else None.  ValueError for another
        shape and for what is not int16.

        A model that takes ``whole`` sequences takes x as one, with a step at least, and
        returns the y and logits that its mode means, (T, n_out) or (1, n_out), and one
        saved state, (1, state_size).
        """

    def sequences(
        self, x: Signals, lengths: ArrayLike | None = None, *, states: bool = False
    ) -> Iterator[Passed]:
        """Each of x (N, T, n_in) up to its end in ``lengths`` (N,), from the start.

        Raises what ``run`` raises.
        """
        ends = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
        for one, end in zip(x, ends, strict=True):
            self.reset()
            yield Passed(*self.run(one[: int(end)], states=states), self.saturated)

    @property
    @abstractmethod
    def state(self) -> bytes:
        """The saved state, the same bytes everywhere (BLOB.md); settable.

        Setting one of another blob, or a damaged one, is a BlobError.
        """

    @state.setter
    @abstractmethod
    def state(self, image: bytes) -> None: ...

    @property
    @abstractmethod
    def saturated(self) -> int:
        """Unbounded values clamped since the last reset, modulo 2^32."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what is held (a process, a port)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
