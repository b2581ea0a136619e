"""Files in and out: checked when read, and never half-written."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import VgradError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it there at the end.

    After an exception the old file, or none, is still there.  VgradError where the
    folder cannot be written to.
    """
    target = Path(path)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-") as tmp:
            new = Path(tmp, target.name)
            yield new
            os.replace(new, target)
    except OSError as error:
        reason = error.strerror or "it cannot be written"
        raise VgradError(f"{target}: {reason}; is there such a folder?") from None


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
    arrays = _arrays(path)
    if "x" not in arrays:
        raise VgradError(f"{path}: there is no array x, only {', '.join(arrays)}")
    x = arrays["x"]
    if x.ndim != 3 or x.dtype.kind not in "fiu" or 0 in x.shape:
        raise VgradError(
            f"{path}: x is {x.dtype} {x.shape}; it must be numbers (N, T, n_in)"
        )
    bad = np.argwhere(~np.isfinite(x)) if x.dtype.kind == "f" else np.empty((0, 3))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        raise VgradError(
            f"{path}: x{list(at)} is {x[at]}, {len(bad)} such values in all; "
            "replace what is not finite"
        )
    lengths = arrays.get("lengths", np.full(len(x), x.shape[1]))
    fits = lengths.shape == (len(x),) and lengths.dtype.kind in "iu"
    if not fits or lengths.min() < 1 or lengths.max() > x.shape[1]:
        raise VgradError(
            f"{path}: lengths must be {len(x)} integers from 1 to {x.shape[1]}"
        )
    return Dataset(x.astype(np.float64), lengths.astype(np.int64), arrays.get("y"))


def _arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise VgradError(f"{path}: a single array; save it with numpy.savez(x=...)")
        with loaded:
            return dict(loaded)
    except OSError as error:
        reason = error.strerror or "it is not an npz file"
        raise VgradError(f"{path}: {reason}; is the path right?") from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise VgradError(
            f"{path}: not an npz file of plain arrays; write it with numpy.savez"
        ) from None
