"""Fixed-point arithmetic of ``docs/numbers.md`` on NumPy arrays.

Arguments and results are int64 arrays of any shape, element by element, broadcast.
``docs/numbers.md`` bounds every intermediate below 2^53, ``docs/numbers-learning.md``
below 2^62, so int64 never overflows, and sums and products of int64, matrix products
included, are exact in any order.

The functions are correctly rounded.  They are evaluated in double and rounded once;
a table is only admitted if every value is farther from the nearest tie than double
can err.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]

ONE_Q14 = 1 << 14
C_LIMIT = 1 << 30  # of |c| in q20
ERROR_LIMIT = (1 << 31) - 1  # of errors, derivatives and gradients in q24

# No value reaches 2^17, where a unit in the last place of a double is 2^-36; NumPy's
# exp and tanh err by fewer than 4 of them, exp of the argument's error none more.
_MARGIN = 2.0**-32


def rs(x: Ints, n: Ints | int) -> Ints:
    """floor((x + 2^(n-1)) / 2^n), half up; x itself for n = 0.

    n is 0..62 and |x| < 2^62.
    """
    one = 1 << n if isinstance(n, int) else np.left_shift(np.int64(1), n)
    half = one >> 1
    # NumPy shifts negative numbers arithmetically: the floor.
    return np.asarray(np.right_shift(np.add(x, half), n), np.int64)


def sat16(x: Ints) -> Ints:
    """Clamp to int16, -32768 to 32767; the array stays int64."""
    return np.minimum(np.maximum(x, -32768), 32767)


def sat30(x: Ints) -> Ints:
    """Clamp to +-2^30, the range of a carried state."""
    return np.minimum(np.maximum(x, -C_LIMIT), C_LIMIT)


def sat31(x: Ints) -> Ints:
    """Clamp to +-(2^31 - 1), the range of errors, derivatives and gradients."""
    return np.minimum(np.maximum(x, -ERROR_LIMIT), ERROR_LIMIT)


def rs_sat31(x: Ints, n: Ints | int) -> Ints:
    """sat31(rs(x, n)) for n from -31 to 62, where rs(x, n) is x * 2^-n below 0.

    |x| < 2^62; what would overflow to the left is clamped first, to the same end.
    """
    n = np.asarray(n, np.int64)
    if n.size and n.min() < 0:
        small = np.clip(x, -(1 << 31), 1 << 31)
        x = np.where(n < 0, small << np.maximum(-n, 0), x)
        n = np.maximum(n, 0)
    return sat31(rs(x, n))


def rz(x: Ints, n: int) -> Ints:
    """x / 2^n toward zero, so that what decays reaches 0."""
    return np.asarray(np.sign(x) * (np.abs(x) >> n), np.int64)


def bits(x: Ints) -> Ints:
    """Binary digits of 0 <= x < 2^63, 0 of 0."""
    high = np.asarray(x, np.int64) >> 32
    # frexp of an integer below 2^53 is exact, and its exponent the number of digits.
    return np.where(
        high > 0,
        32 + np.frexp(high.astype(np.float64))[1],
        np.frexp((x & 0xFFFFFFFF).astype(np.float64))[1],
    ).astype(np.int64)


def half_up(x: Reals) -> Ints:
    """floor(x + 1/2) of the real number that each double is, |x| < 2^62.

    Exact: x - floor(x) is, or it is above 1/2 and stays there.  The double sum x + .5
    is not: it makes 1 of the largest double below a half.
    """
    low = np.floor(x)
    return np.asarray(low + (x - low >= 0.5), np.float64).astype(np.int64)


def tie_distance(x: Reals) -> float:
    """Distance of the nearest value to a tie, an integer and a half."""
    return float(np.min(np.abs(x - np.floor(x) - 0.5)))


def _rounded(x: Reals) -> Ints:
    if tie_distance(x) <= _MARGIN:
        raise ArithmeticError("a value is too near a tie to be rounded from a double")
    table = half_up(x)
    table.flags.writeable = False
    return table


def _look_up(table: Ints, index: Ints) -> Ints:
    if index.size and not 0 <= int(index.min()) <= int(index.max()) < len(table):
        raise ValueError("an argument is not an int16; clamp it with sat16 first")
    return table[index]


@cache
def _sigmoid_table() -> Ints:
    z = np.arange(-32768, 32768) / 2.0**11
    return _rounded(ONE_Q14 / (1.0 + np.exp(-z)))


@cache
def _tanh_table() -> Ints:
    z = np.arange(-32768, 32768) / 2.0**12
    return _rounded(ONE_Q14 * np.tanh(z))


@cache
def _exp_table(e: int) -> Ints:
    d = np.arange(65536) / 2.0**e
    return _rounded(65536.0 * np.exp(-d))


def sigmoid_q14(z_q11: Ints) -> Ints:
    """S(z): the logistic function, correctly rounded, 0..16384.

    z is q11 and within int16, else ValueError.
    """
    return _look_up(_sigmoid_table(), np.asarray(z_q11, np.int64) + 32768)


def tanh_q14(z_q12: Ints) -> Ints:
    """T(z): tanh, correctly rounded, -16384..16384.

    z is q12 and within int16, else ValueError.
    """
    return _look_up(_tanh_table(), np.asarray(z_q12, np.int64) + 32768)


def exp_q16(d: Ints, e: int) -> Ints:
    """exp(-d / 2^e), correctly rounded, 0..65536, for d 0..65535 and e 0..14.

    ValueError for other arguments.
    """
    if not 0 <= e <= 14:
        raise ValueError(f"the exponent of logits is 0..14, not {e}")
    return _look_up(_exp_table(e), np.asarray(d, np.int64))


def softmax_q14(logits: Ints, e: int) -> Ints:
    """Softmax over the last axis of int16 logits (..., n_out) on exponent e.

    Probabilities (..., n_out), 0..16384; n_out < 2^15, so the sum P of their
    exponentials is below 2^31.
    """
    logits = np.asarray(logits, np.int64)
    exps_q16 = exp_q16(logits.max(axis=-1, keepdims=True) - logits, e)
    total = exps_q16.sum(axis=-1, keepdims=True)
    y_q14: Ints = ((exps_q16 << 15) + total) // (2 * total)
    return y_q14
