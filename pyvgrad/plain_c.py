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

SOURCE = FIRMWARE / "bench" / "plain.c"
FLAGS = ("-std=c99", "-O3", "-march=native", "-shared", "-fPIC")


class _Layer(ctypes.Structure):
    """plain_lstm of plain.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("w", "b", "h", "c", "a")),
        *((name, ctypes.c_uint32) for name in ("n_in", "n")),
    ]


def available() -> bool:
    """Tell whether the source is here, in a checkout, and a compiler."""
    return SOURCE.is_file() and shutil.which("cc") is not None


class PlainLstm:
    """The layer; ``w`` (n_in + n, 4 n) and ``b`` (4 n), gates i, f, g, o.

    ``fast`` lets the compiler change the order of sums and take vectors of functions
    that are not correctly rounded.  DeviceError where it does not compile.
    """

    def __init__(
        self, w: NDArray[np.float32], b: NDArray[np.float32], *, fast: bool = False
    ) -> None:
        flags = [*FLAGS, "-ffast-math"] if fast else FLAGS
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, "plain.so")
            done = subprocess.run(
                ["cc", *flags, str(SOURCE), "-o", str(library), "-lm"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise DeviceError(f"plain C does not build: {done.stderr[-2000:]}")
            self._code: Any = ctypes.CDLL(str(library))
        n = len(b) // 4
        state = [np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros_like(b)]
        self._arrays = [np.ascontiguousarray(w), np.ascontiguousarray(b), *state]
        places = [array.ctypes.data for array in self._arrays]
        self._layer = _Layer(*places, len(w) - n, n)
        self._n = n

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run y (T, n) of x (T, n_in) from a state of zeros."""
        x = np.ascontiguousarray(x)
        y = np.empty((len(x), self._n), np.float32)
        layer, given, out = ctypes.byref(self._layer), x.ctypes.data, y.ctypes.data
        self._code.plain_steps(
            layer, ctypes.c_void_p(given), len(x), ctypes.c_void_p(out)
        )
        return y
