"""What theory says of an error's flow: Hochreiter 1998 and Pascanu et al. 2013.

With ||W|| the largest sum of |w| in a row and f'max the largest slope, a scaling factor
over q >= 2 steps of n units is at most

    n (f'max ||W||)^q,  and for logistic units  n mu^q  with  mu = n w_max / 4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

LOGISTIC, TANH = 0.25, 1.0  # gamma: the largest slope of a unit


def row_norm(W: Reals) -> float:
    """max_r sum_s |w_rs| of W (n, n)."""
    return float(np.abs(W).sum(axis=1).max())


def bound(W: Reals, slope: float, q: Reals) -> Reals:
    """n (slope ||W||)^q, at each q."""
    return np.asarray(len(W) * (slope * row_norm(W)) ** q)


def mu(n: int, w_max: float) -> float:
    """The factor a step of logistic units whose weights are within +-w_max."""
    return n * w_max / 4.0


def radius(W: Reals) -> float:
    """The largest absolute eigenvalue."""
    return float(np.abs(np.linalg.eigvals(W)).max())


def gain(W: Reals) -> float:
    """The largest singular value: by how much W can lengthen a vector."""
    return float(np.linalg.norm(W, 2))


def must_vanish(W: Reals, gamma: float) -> bool:
    """Sufficient for vanishing, so that its opposite is necessary for exploding.

    ||F' W|| <= gamma gain < 1 (Pascanu et al. 2013, section 2.1).  There it is said of
    the largest eigenvalue, which decides for linear units; for others the norm does.
    """
    return gamma * gain(W) < 1.0


# ---- one path: rho -------------------------------------------------------


def slope(net: Reals) -> Reals:
    """s'(net) of the logistic function."""
    e = np.exp(-np.abs(net))
    return np.asarray(e / (1.0 + e) ** 2)


def rho(w: Reals, y: float, rest: float = 0.0) -> Reals:
    """|s'(net) w| with net = w y + rest: a path's factor a step."""
    return np.abs(slope(w * y + rest) * w)


def peak(y: float, rest: float = 0.0) -> float:
    """The w > 0 where rho is largest: w = (1 / y) coth(net / 2), net = w y + rest.

    By bisection: w y tanh(net / 2) - 1 is below 0 where net = 0, and rises from there.
    ValueError unless y > 0.
    """
    if not y > 0.0:
        raise ValueError(f"y must be above 0, not {y}")

    def past(w: float) -> bool:
        return bool(w * y * np.tanh(0.5 * (w * y + rest)) > 1.0)

    low = max(0.0, -rest / y)
    high = low + 1.0
    while not past(high):
        high *= 2.0
    return _bisect(past, low, high)


def _bisect(past: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if past(middle) else (middle, high)
    return 0.5 * (low + high)
