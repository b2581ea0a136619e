"""What a user has, counts or floats, to the int16 signals that a model reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.fixed import half_up, rs, sat16
from pyvgrad.qmodel import Ints, QModel

Signals = NDArray[np.int16]

_INT32 = (-(2**31), 2**31 - 1)


def scale(model: QModel, counts: ArrayLike) -> tuple[Signals, int]:
    """Sensor counts (..., n_in) to signals, and how many were clamped.

    ValueError for what is no int32 or has another last axis.
    """
    _check_channels(model, np.shape(counts))
    exact = _scaled(model, int32_counts(counts).astype(np.int64))
    x = sat16(exact)
    return x.astype(np.int16), int(np.count_nonzero(x != exact))


def int32_counts(counts: ArrayLike) -> NDArray[np.int32]:
    """Integers of any type as int32.  ValueError if they are none or do not fit."""
    ints = np.asarray(counts)
    if ints.dtype.kind not in "iu" or np.any(ints != np.clip(ints, *_INT32)):
        raise ValueError("counts must be int32; make signals of floats with to_signals")
    return ints.astype(np.int32)


def to_signals(model: QModel, u: ArrayLike) -> tuple[Signals, int]:
    """Values u (..., n_in) in the user's unit to signals, and how many were clamped.

    A value that is clamped as a count and as a signal is one.  ValueError for a NaN or
    an infinity, with its place, and for another last axis.
    """
    values = np.asarray(u, np.float64)
    _check_channels(model, values.shape)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        at = tuple(bad[0].tolist())
        raise ValueError(
            f"the input is {values[at]} at index {at}, {len(bad)} such values in all; "
            "replace what is not finite"
        )
    limit = 2.0**32  # beyond every count, and finite when scaled up
    steps = np.ldexp(np.clip(values, -limit, limit), model.count_exp)
    exact = half_up(steps)
    counts = np.clip(exact, *_INT32)
    scaled = _scaled(model, counts)
    x = sat16(scaled)
    clamped = (counts != exact) | (x != scaled)
    return x.astype(np.int16), int(np.count_nonzero(clamped))


def raw_signals(x: ArrayLike, *shape: int) -> Signals:
    """The int16 array x, in this machine's byte order; -1 in shape is any length.

    ValueError for another shape or type: nothing is rounded or wrapped silently.
    """
    a = np.asarray(x)
    fits = a.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, a.shape, strict=True)
    )
    if not fits or (a.dtype.kind, a.dtype.itemsize) != ("i", 2):
        axes = ", ".join("any" if n == -1 else str(n) for n in shape)
        raise ValueError(f"x is {a.dtype} {a.shape}, the model takes int16 ({axes})")
    return a.astype(np.int16, copy=False)


def narrowed(x: ArrayLike) -> Signals:
    """Integers of any type as int16.  ValueError if they are none or do not fit."""
    a = np.asarray(x)
    signals = a.astype(np.int16) if a.dtype.kind in "iu" else None
    if signals is None or np.any(signals != a):
        raise ValueError(
            f"x must be int16 signals, it is {a.dtype}; make them with to_signals"
        )
    return signals


def known_flags(known: ArrayLike, steps: int) -> NDArray[np.bool_]:
    """Which of T steps have a target, (T,): known is not 0.

    ValueError for another shape and for what is neither bool nor integer.
    """
    a = np.asarray(known)
    if a.shape != (steps,):
        raise ValueError(f"known is {a.shape}, x has {steps} steps")
    if steps and a.dtype.kind not in "biu":
        raise ValueError(f"known is {a.dtype}, not bool: whether a step has a target")
    flags: NDArray[np.bool_] = a != 0
    return flags


def _check_channels(model: QModel, shape: tuple[int, ...]) -> None:
    if shape[-1:] != (model.shape.n_in,):
        raise ValueError(
            f"inputs must have shape (..., {model.shape.n_in}), not {shape}"
        )


def _scaled(model: QModel, counts: Ints) -> Ints:
    if model.scaling is None:
        return counts
    s = model.scaling
    # |.| < 2^48 with the half that rs adds
    return rs((counts - s.offset) * s.mult, s.shift)
