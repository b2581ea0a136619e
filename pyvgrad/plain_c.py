"""An LSTM layer in plain C and float, compiled for this very machine, as a measure."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import DeviceError
from pyvgrad.firmware import FIRMWARE

FOLDER = FIRMWARE / "bench"
FLAGS = ("-std=c99", "-O3", "-march=native", "-fPIC")
Floats = NDArray[np.float32]


class _Layer(ctypes.Structure):
    """plain_lstm of plain.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("w", "b", "h", "c", "a")),
        *((name, ctypes.c_uint32) for name in ("n_in", "n")),
    ]


class _Learner(ctypes.Structure):
    """plain_learner of plain_learn.c."""

    _fields_ = [
        *((k, ctypes.c_void_p) for k in ("w", "g", "z", "a", "c", "tc", "dh", "dc")),
        *((name, ctypes.c_uint32) for name in ("n_in", "n", "steps")),
        *((name, ctypes.c_float) for name in ("rate", "clip")),
    ]


def available() -> bool:
    """Tell whether the sources are here, in a checkout, and a compiler."""
    return FOLDER.is_dir() and shutil.which("cc") is not None


def compiler() -> str:
    """What ``cc`` calls itself and its version; "" where there is none."""
    if shutil.which("cc") is None:
        return ""
    command = ["cc", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0]


def _built(source: str, fast: bool) -> Any:
    """The library of a source.  DeviceError where it does not compile.

    Linked without -ffast-math, which would let the whole process round what is small
    to 0.
    """
    flags = [*FLAGS, "-ffast-math"] if fast else FLAGS
    with tempfile.TemporaryDirectory() as folder:
        part, library = Path(folder, "plain.o"), Path(folder, "plain.so")
        _cc(*flags, "-c", str(FOLDER / source), "-o", str(part))
        _cc("-shared", str(part), "-o", str(library), "-lm")
        return ctypes.CDLL(str(library))


def _cc(*words: str) -> None:
    done = subprocess.run(["cc", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(f"plain C does not build: {done.stderr[-2000:]}")


def _at(array: Floats) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class PlainLstm:
    """The layer; ``w`` (n_in + n, 4 n) and ``b`` (4 n), gates i, f, g, o.

    ``fast`` lets the compiler change the order of sums and take vectors of functions
    that are not correctly rounded.  DeviceError where it does not compile.
    """

    def __init__(self, w: Floats, b: Floats, *, fast: bool = False) -> None:
        self._code = _built("plain.c", fast)
        n = len(b) // 4
        state = [np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros_like(b)]
        self._arrays = [np.ascontiguousarray(w), np.ascontiguousarray(b), *state]
        self._layer = _Layer(*map(_at, self._arrays), len(w) - n, n)
        self._n = n

    def run(self, x: Floats) -> Floats:
        """Run y (T, n) of x (T, n_in) from a state of zeros."""
        x = np.ascontiguousarray(x)
        y = np.empty((len(x), self._n), np.float32)
        self._code.plain_steps(ctypes.byref(self._layer), _at(x), len(x), _at(y))
        return y


class PlainLearner:
    """The layer in training on sequences of ``steps`` steps; arguments as PlainLstm's.

    SGD with ``rate``, the gradient clipped to the norm ``clip``.
    """

    def __init__(
        self,
        w: Floats,
        b: Floats,
        steps: int,
        rate: float,
        clip: float,
        *,
        fast: bool = False,
    ) -> None:
        self._code = _built("plain_learn.c", fast)
        n = len(b) // 4
        self._weights = np.ascontiguousarray(np.vstack([w, b]), np.float32)
        columns = len(self._weights)
        forms = [
            (columns, 4 * n),
            (steps + 1, columns),
            (steps, 4 * n),
            (steps + 1, n),
            (steps, n),
            (n,),
            (n,),
        ]
        self._scratch = [np.zeros(form, np.float32) for form in forms]
        places = map(_at, (self._weights, *self._scratch))
        self._learner = _Learner(*places, len(w) - n, n, steps, rate, clip)

    def learn(self, x: Floats, target: Floats) -> None:
        """An update by each sequence of x (N, steps, n_in) to ``target`` (..., n)."""
        x, target = np.ascontiguousarray(x), np.ascontiguousarray(target)
        learner = ctypes.byref(self._learner)
        self._code.plain_learn(learner, _at(x), _at(target), len(x))

    @property
    def weights(self) -> tuple[Floats, Floats]:
        """``w`` and ``b`` as they are now."""
        return self._weights[:-1], self._weights[-1]
