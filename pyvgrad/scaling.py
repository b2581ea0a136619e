"""Users' units: a blob's input scaling, and outputs folded into the readout.

``docs/numbers.md``, "Users' units", has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.cells import Shape
from pyvgrad.fixed import half_up
from pyvgrad.model import Params
from pyvgrad.qmodel import Scaling

Floats = NDArray[np.float64]

METHODS = ("std", "minmax")
_MAX_COUNT_EXP, _MAX_SHIFT = 30, 47
_FINEST = 16  # counts that a spread must have, and units that a gain must


def channel_ranges(
    x: NDArray[Any], lengths: NDArray[Any] | None = None, method: str = "std"
) -> tuple[Floats, Floats]:
    """(center, spread) of each channel of x (N, T, n_in), each (n_in,).

    ``std``: mean and standard deviation; ``minmax``: the middle and half the width of
    the range.  A channel that never changes has spread 1.  Steps from ``lengths`` (N,)
    on do not count.  ValueError for another method, and for x that is not finite.
    """
    values = np.asarray(x, np.float64)
    ends = np.full(len(values), values.shape[1]) if lengths is None else lengths
    steps = values[np.arange(values.shape[1]) < np.asarray(ends)[:, None]]
    if not np.isfinite(steps).all():
        raise ValueError("x holds NaN or infinity; replace what is not finite")
    if method == "std":
        center, spread = steps.mean(axis=0), steps.std(axis=0)
    elif method == "minmax":
        low, high = steps.min(axis=0), steps.max(axis=0)
        center, spread = low + (high - low) / 2, (high - low) / 2
    else:
        raise ValueError(f"a scaling is by one of {METHODS}, not {method!r}")
    return center, np.where(spread > 0.0, spread, 1.0)


def input_scaling(
    center: ArrayLike,
    spread: ArrayLike,
    *,
    x_exp: int,
    largest: float | None = None,
    count_exp: int | None = None,
) -> tuple[Scaling, int]:
    """(scaling, count_exp) that make x = (u - center) / spread of a user's value u.

    ``center`` and ``spread`` are (n_in,), a spread may be negative.  Give
    ``count_exp`` 0 for sensors that count; else it is the largest, 30 at most, on which
    ``largest``, the largest |u| to be expected (None: what the scaling itself sends to
    the largest x), is no more than half of an int32.  ValueError where a channel is too
    fine, or too coarse, for that.
    """
    a, b = np.atleast_1d(np.asarray(center, float)), np.atleast_1d(np.asarray(spread))
    b = b.astype(np.float64)
    if a.shape != b.shape or not (np.isfinite(a) & np.isfinite(b) & (b != 0)).all():
        raise ValueError("center and spread are finite, spread is not 0, one a channel")
    finest = 0.0
    if count_exp is None:
        finest = _FINEST
        reach = np.abs(a) + np.abs(b) * 2.0 ** (15 - x_exp)
        top = float(reach.max()) if largest is None else float(largest)
        _, e = np.frexp(2.0**30 / top)
        count_exp = int(np.clip(int(e) - 1, 0, _MAX_COUNT_EXP))
    offset = half_up(np.ldexp(np.clip(a, -(2.0**32), 2.0**32), count_exp))
    gain = np.ldexp(1.0 / b, x_exp - count_exp)  # x steps a count
    # |gain| = m 2^e, m in [1/2, 1): mult = gain 2^shift has 15 digits
    _, e = np.frexp(gain)
    shift = 15 - e
    shift -= half_up(np.ldexp(np.abs(gain), np.clip(shift, -64, 64))) > 32767
    shift = np.minimum(shift, _MAX_SHIFT)
    mult = half_up(np.ldexp(gain, np.maximum(shift, -64)))
    for k in range(len(a)):
        lost = abs(b[k]) * 2.0**count_exp < finest or abs(mult[k]) < _FINEST
        if abs(offset[k]) >= 2**31 or shift[k] < 0 or lost:
            raise ValueError(
                f"channel {k + 1}: center {a[k]:g} and spread {b[k]:g} do not fit "
                f"counts of 2^-{count_exp}; give it in another unit"
            )
    return Scaling(offset, mult, shift.astype(np.int64)), count_exp


def scaled(scaling: Scaling, count_exp: int, x_exp: int, u: ArrayLike) -> Floats:
    """x as the blob's integers mean it, without their rounding: what to train on.

    u (..., n_in) in the user's unit.
    """
    counts = np.ldexp(np.asarray(u, np.float64), count_exp) - scaling.offset
    return np.asarray(np.ldexp(counts * scaling.mult, -scaling.shift - x_exp))


@dataclass(frozen=True)
class Units:
    """How a user's arrays were normalised: (center, spread) of x and of y, or None."""

    x: tuple[Floats, Floats]
    y: tuple[Floats, Floats] | None

    def back(self, x: Floats) -> Floats:
        """Normalised x (..., n_in) in the user's unit."""
        return np.asarray(self.x[0] + self.x[1] * x)


def normalised(
    x: Floats, lengths: NDArray[np.int64], y: NDArray[Any], method: str
) -> tuple[Floats, NDArray[Any], Units]:
    """Arrays to train on, and their units.  Targets that are values are normalised too.

    x (N, T, n_in), lengths (N,), y classes or values (N, T, n_out).
    """
    center, spread = channel_ranges(x, lengths, method)
    near = (x - center) / spread
    if y.dtype.kind != "f" or y.ndim != 3 or y.shape[:2] != x.shape[:2]:
        return near, y, Units((center, spread), None)
    valid = np.arange(x.shape[1]) < lengths[:, None]
    unit = output_unit(y, valid)
    return near, (y - unit[0]) / unit[1], Units((center, spread), unit)


def output_unit(y: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(center, spread) of targets y (N, T, n_out) where mask (N, T) is true.

    The mean, and the power of two nearest to the standard deviation: then folding
    changes no rounding of a weight.
    """
    values = np.asarray(y, np.float64)[mask]
    center, deviation = values.mean(axis=0), values.std(axis=0)
    digits = np.round(np.log2(np.where(deviation > 0, deviation, 1.0)))
    return np.asarray(center), np.ldexp(1.0, digits.astype(np.int64))


def fold_outputs(
    shape: Shape, params: Params, center: ArrayLike, spread: ArrayLike
) -> Params:
    """Parameters whose y is center + spread * y of the given ones.

    For a linear readout that was trained on (y - center) / spread, each (n_out,).
    ValueError for another readout, and for a center without biases to hold it.
    """
    a, b = np.asarray(center, np.float64), np.asarray(spread, np.float64)
    if shape.readout is None or shape.output != "linear":
        raise ValueError("only a linear readout has outputs in a user's unit")
    if not shape.readout.biases and np.any(a != 0.0):
        raise ValueError("a readout without biases cannot hold the outputs' center")
    r = params["readout"]
    folded = {k: np.asarray(r[k], float) * b[:, None] for k in ("W", "V") if k in r}
    if "b" in r:
        folded["b"] = np.asarray(r["b"], float) * b + a
    return params | {"readout": folded}
