"""One blob, many places that run it: the same calls and the same bits everywhere.

::

    with Model.open("M.vg") as desk, Model.open("M.vg", on="m4") as board:
        assert (desk.run(x) == board.run(x)).all()
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad import blob as blobs
from pyvgrad.executor import Executor
from pyvgrad.signals import Signals, narrowed, to_signals

CORES = ("m0", "m3", "m4", "m7", "m33", "m55")
NAMES = ("numpy", "host", "onnx", *CORES)

Floats = NDArray[np.float64]


def is_port(on: str) -> bool:
    """Whether a name is meant as the serial port of a board."""
    return "/" in on or on.upper().startswith("COM")


def open_executor(blob: bytes, on: str) -> Executor:
    """Start an executor: one of NAMES, or the port of a board (``/dev/ttyACM0``).

    BlobError for a bad blob, DeviceError for a core or board that is not to be had,
    VgradError where a package is missing.
    """
    if on == "numpy":
        return _start("pyvgrad.intmodel", "NumpyExecutor", blob)
    if on == "host":
        return _start("pyvgrad.native", "HostExecutor", blob)
    if on == "onnx":
        return _start("pyvgrad.onnx_run", "OnnxExecutor", blob)
    if on in CORES or is_port(on):
        return _start("pyvgrad.device", "Device", blob, on)
    raise ValueError(f"no executor {on!r}; there are {', '.join(NAMES)} and ports")


def _start(module: str, name: str, *args: object) -> Executor:
    """Import late: an executor's packages are needed only where it is used."""
    executor: Executor = getattr(importlib.import_module(module), name)(*args)
    return executor


class Model:
    """A blob in the user's units, on the host, an emulated core or a board.

    ``clamped`` counts input values beyond the blob's range since it was opened.
    """

    def __init__(self, blob: bytes, on: str = "host") -> None:
        self.ints = blobs.parse(blob)
        self.n_in, self.n_out = self.ints.shape.n_in, self.ints.shape.n_out
        self.clamped = 0
        self._executor = open_executor(blob, on)

    @classmethod
    def open(cls, path: str | Path, on: str = "host") -> Self:
        """Open a blob file.  ``on`` as in open_executor, which says what is raised."""
        return cls(blobs.read(path), on)

    def signals(self, x: ArrayLike) -> Signals:
        """Values (..., n_in) in the user's units to raw int16; counts clamps.

        ValueError for NaN, infinity or another last axis.
        """
        signals, clamped = to_signals(self.ints, x)
        self.clamped += clamped
        return signals

    def _out(self, y: Signals) -> Floats:
        return y / 2.0**self.ints.y_exp

    def step(self, x: ArrayLike) -> Floats:
        """One time step: x (n_in,) to y (n_out,), in the user's units.

        Values of y are raw / 2^y_exp exactly.  ValueError for NaN or a wrong shape.
        """
        return self._out(self.step_raw(self.signals(x)))

    def run(self, x: ArrayLike) -> Floats:
        """Many steps, x (T, n_in), going on from the current state.

        Returns y (T, n_out), or in modes ``last`` and ``final`` the one that is meant,
        (n_out,).  ValueError as ``step``, and for no step at all in these modes.  A
        model with a reversed layer takes x as a whole sequence.
        """
        return self._out(self.run_raw(self.signals(x)))

    def step_raw(self, x: ArrayLike) -> Signals:
        """One step on raw signals: x (n_in,) to y (n_out,), int16.

        ValueError for floats, integers beyond int16 or a wrong shape.
        """
        return self._executor.step(narrowed(x))[0]

    def run_raw(self, x: ArrayLike) -> Signals:
        """As ``run`` on raw signals, int16."""
        return self._meant(self._executor.run(narrowed(x))[0])

    def run_all(
        self, x: Signals, lengths: ArrayLike | None = None
    ) -> Iterator[tuple[Signals, int]]:
        """Sequences x (N, T, n_in), raw, up to their ``lengths`` (N,), each anew.

        Of each, as ``run_raw``, and the clamps inside; on the host all are run in one
        call of the core.
        """
        for passed in self._executor.sequences(x, lengths):
            yield self._meant(passed.y), passed.saturated

    def _meant(self, y: Signals) -> Signals:
        """The y that the mode means, of (T, n_out) or (1, n_out)."""
        if self.ints.shape.mode == "sequence":
            return y
        if not len(y):
            raise ValueError(
                f"a model of mode {self.ints.shape.mode} needs one step at least"
            )
        last: Signals = y[-1]
        return last

    def reset(self) -> None:
        """Start a new sequence."""
        self._executor.reset()

    @property
    def state(self) -> bytes:
        """A saved state: the same bytes on every executor.  Settable."""
        return self._executor.state

    @state.setter
    def state(self, image: bytes) -> None:
        self._executor.state = image

    @property
    def saturated(self) -> int:
        """Unbounded values clamped inside the model since the last reset."""
        return self._executor.saturated

    def close(self) -> None:
        """End the emulator or leave the board."""
        self._executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
