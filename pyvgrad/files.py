"""Files in and out: checked when read, and never half-written."""

from __future__ import annotations

import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import VgradError

# What NumPy and zipfile raise for what is none, is damaged or encrypted.
_NO_NPZ = (
    ValueError,
    EOFError,
    RuntimeError,  # of it NotImplementedError
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it there at the end.

    After an exception the old file, or none, is still there.  A link stays a link.
    VgradError as ``check_writable``.
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-") as tmp:
            new = Path(tmp, target.name)
            yield new
            os.replace(new, target)
    except OSError as error:
        reason = error.strerror or "it cannot be written"
        raise VgradError(f"{path}: {reason}; nothing was written") from None


def check_writable(path: str | Path) -> None:
    """Ask before long work whether ``path`` can be written.

    VgradError for a folder, for a device or a pipe, which a rename would replace, and
    where the folder is missing or closed.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise VgradError(f"{path}: not a plain file; give the name of one to write")
    if not target.parent.is_dir():
        raise VgradError(f"{path}: there is no folder {target.parent}; make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise VgradError(f"{path}: the folder {target.parent} cannot be written to")


def make_folder(path: str | Path) -> None:
    """Make a folder where there is none.  VgradError if it cannot be made."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VgradError(f"{path}: {error.strerror}; give another folder") from None


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file in one step.  VgradError as ``replacing``."""
    with replacing(path) as new:
        new.write_bytes(data)


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays in one step.  VgradError as ``replacing``."""
    with replacing(path) as new, new.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


@dataclass(frozen=True)
class Dataset:
    """Arrays of an ``.npz``: ``x`` (N, T, n_in), ``lengths`` (N,), ``y`` or None."""

    x: NDArray[np.float64]
    lengths: NDArray[np.int64]
    y: NDArray[Any] | None


def read_dataset(path: str | Path) -> Dataset:
    """Read ``x``, and ``lengths`` and ``y`` where they are there.

    VgradError for a file that is missing, is no npz, or whose arrays do not fit.
    """
    arrays = _arrays(path, ("x", "lengths", "y"))
    if "x" not in arrays:
        raise VgradError(f"{path}: there is no array x; write it with numpy.savez(x=)")
    x = arrays["x"]
    if x.ndim != 3 or x.dtype.kind not in "fiu" or 0 in x.shape:
        raise VgradError(
            f"{path}: x is {x.dtype} {x.shape}; it must be numbers (N, T, n_in)"
        )
    with np.errstate(over="ignore"):  # of a long double: infinity, refused below
        values = x.astype(np.float64)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        raise VgradError(
            f"{path}: x{list(at)} is {values[at]}, {len(bad)} such values in all; "
            "replace what is not finite"
        )
    lengths = arrays.get("lengths", np.full(len(x), x.shape[1]))
    fits = lengths.shape == (len(x),) and lengths.dtype.kind in "iu"
    if not fits or lengths.min() < 1 or lengths.max() > x.shape[1]:
        raise VgradError(
            f"{path}: lengths must be {len(x)} integers from 1 to {x.shape[1]}"
        )
    return Dataset(values, lengths.astype(np.int64), arrays.get("y"))


def _arrays(path: str | Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read those of the named arrays that are there; others are not looked at."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise VgradError(f"{path}: a single array; save it with numpy.savez(x=...)")
        with loaded:
            arrays = {name: loaded[name] for name in names if name in loaded}
        if not all(isinstance(a, np.ndarray) for a in arrays.values()):
            raise ValueError("a member is not an array")
    except OSError as error:
        reason = error.strerror or "it is not an npz file"
        raise VgradError(f"{path}: {reason}; is the path right?") from None
    except MemoryError:
        raise VgradError(
            f"{path}: its arrays do not fit the memory; split them, or is it damaged?"
        ) from None
    except _NO_NPZ:
        raise VgradError(
            f"{path}: not an npz file of plain arrays; write it with numpy.savez"
        ) from None
    return arrays
