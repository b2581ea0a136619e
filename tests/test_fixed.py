"""Rounding and the three functions, against Python integers and mpmath.

docs/numbers.md, Notation and Functions.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyvgrad import fixed

ALL_INT16 = np.arange(-32768, 32768)
HALF = Fraction(1, 2)


def rounded(real):
    """floor(real + 1/2) of an mpf of 40 digits."""
    with mpmath.workdps(40):
        return int(mpmath.floor(real + mpmath.mpf(1) / 2))


@given(st.integers(-(2**52), 2**52), st.integers(0, 47))
@settings(deadline=None)
def test_rs_is_the_floor_of_the_half_added(x, n):
    assert int(fixed.rs(np.int64(x), n)) == floor(Fraction(x, 2**n) + HALF * (n > 0))


@pytest.mark.parametrize(
    ("x", "n", "result"),
    [
        (5, 0, 5),
        (-5, 0, -5),
        (1, 1, 1),  # .5 goes up
        (-1, 1, 0),  # -.5 goes up
        (-3, 1, -1),
        (3, 2, 1),
        (-6, 2, -1),  # -1.5
        (-7, 2, -2),
        (2**46, 47, 1),
        (-(2**46), 47, 0),
        (-(2**46) - 1, 47, -1),
    ],
)
def test_rs_rounds_half_up(x, n, result):
    assert fixed.rs(np.array([x]), n) == [result]


def test_rs_takes_one_shift_a_column():
    x = np.array([[6, 6, 6], [-6, -6, -6]])
    assert fixed.rs(x, np.array([0, 1, 2])).tolist() == [[6, 3, 2], [-6, -3, -1]]


def test_clamps_stop_at_their_limits():
    big = np.array([-(2**40), -32769, -32768, 32767, 32768, 2**40])
    assert fixed.sat16(big).tolist() == [-32768] * 3 + [32767] * 3
    near = np.array([-(2**30) - 1, -(2**30), 2**30, 2**30 + 1])
    assert fixed.sat30(near).tolist() == [-(2**30)] * 2 + [2**30] * 2


@given(st.floats(-(2.0**60), 2.0**60))
@settings(deadline=None)
def test_half_up_is_exact_for_every_double(x):
    assert int(fixed.half_up(np.array(x))) == floor(Fraction(x) + HALF)


def test_half_up_does_not_add_a_half_in_double():
    x = np.array([0.49999999999999994, -0.5, 0.5, -1e-300, 2.0**52 + 1])
    assert fixed.half_up(x).tolist() == [0, 0, 1, 0, 2**52 + 1]


def test_sigmoid_is_correctly_rounded_for_every_int16():
    with mpmath.workdps(40):
        reals = [
            16384 / (1 + mpmath.exp(-mpmath.mpf(int(z)) / 2048)) for z in ALL_INT16
        ]
    assert fixed.sigmoid_q14(ALL_INT16).tolist() == [rounded(r) for r in reals]


def test_tanh_is_correctly_rounded_for_every_int16():
    with mpmath.workdps(40):
        reals = [16384 * mpmath.tanh(mpmath.mpf(int(z)) / 4096) for z in ALL_INT16]
    assert fixed.tanh_q14(ALL_INT16).tolist() == [rounded(r) for r in reals]


@pytest.mark.parametrize("e", range(15))
def test_exp_is_correctly_rounded_where_a_double_might_err(e):
    d = np.arange(65536)
    reals = 65536 * np.exp(-d / 2.0**e)
    near = np.argsort(abs(reals - np.floor(reals) - 0.5))[:200]
    sample = np.concatenate([near, np.arange(0, 65536, 257), [65535]])
    with mpmath.workdps(40):
        exact = [65536 * mpmath.exp(-mpmath.mpf(int(k)) / 2**e) for k in sample]
    assert fixed.exp_q16(sample, e).tolist() == [rounded(r) for r in exact]


def test_functions_have_the_symmetries_of_the_specification():
    z = np.arange(-32767, 32768)
    assert np.array_equal(fixed.tanh_q14(-z), -fixed.tanh_q14(z))
    assert np.array_equal(fixed.sigmoid_q14(-z), 16384 - fixed.sigmoid_q14(z))
    assert fixed.sigmoid_q14(np.array([-32768, 0, 32767])).tolist() == [0, 8192, 16384]
    assert fixed.tanh_q14(np.array([-32768, 0, 32767])).tolist() == [-16384, 0, 16384]


def test_no_value_is_as_near_a_tie_as_a_double_can_err():
    z = ALL_INT16
    worst = min(
        fixed.tie_distance(16384 / (1 + np.exp(-z / 2048))),
        fixed.tie_distance(16384 * np.tanh(z / 4096)),
        *(
            fixed.tie_distance(65536 * np.exp(-np.arange(65536) / 2.0**e))
            for e in range(15)
        ),
    )
    assert worst > 1000 * fixed._MARGIN
    with pytest.raises(ArithmeticError, match="too near a tie"):
        fixed._rounded(np.array([0.25, 7.5 + 2.0**-40]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: fixed.sigmoid_q14(np.array([32768])),
        lambda: fixed.tanh_q14(np.array([-32769])),
        lambda: fixed.exp_q16(np.array([-1]), 9),
        lambda: fixed.exp_q16(np.array([65536]), 9),
        lambda: fixed.exp_q16(np.array([0]), 15),
    ],
)
def test_arguments_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match=r"int16|exponent"):
        call()


@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=9),
    st.integers(0, 14),
)
@settings(deadline=None)
def test_softmax_equals_the_formula_in_integers(logits, e):
    with mpmath.workdps(40):
        E = [
            rounded(65536 * mpmath.exp(mpmath.mpf(v - max(logits)) / 2**e))
            for v in logits
        ]
    expected = [floor(Fraction(16384 * k, sum(E)) + HALF) for k in E]
    assert fixed.softmax_q14(np.array([logits]), e).tolist() == [expected]


def test_softmax_by_hand():
    # e = 0: d = 0, 1 -> E = 65536, round(65536 / 2.71828) = 24109; S = 89645
    # y = floor((2^15 * 65536 + 89645) / 179290) = 11978, and 4406
    assert fixed.softmax_q14(np.array([3, 2]), 0).tolist() == [11978, 4406]
    # e = 14: d = 65535 -> E = 1200; S = 66736; floor(2147550384 / 133472) = 16089
    assert fixed.softmax_q14(np.array([32767, -32768]), 14).tolist() == [16089, 295]


def test_softmax_of_the_most_outputs_does_not_overflow():
    y = fixed.softmax_q14(np.zeros((1, 32767), np.int64), 9)
    assert set(y[0].tolist()) == {1}  # floor(16384 / 32767 + 1/2) = 1
