"""From a gradient to new weights, against exact arithmetic and floats.

docs/numbers-learning.md, Notation, Masters and An update.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from math import floor, isqrt, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyvgrad import fixed
from pyvgrad.intgate import MASTER_HIGH, MASTER_LOW, Gate, coded, decoded
from pyvgrad.intupdate import (
    clipped,
    clipping,
    hashed,
    inverse_root,
    norm_q16,
    normalised,
    root,
    square_sum,
    steps,
    update,
)
from pyvgrad.learning import Learn

LIMIT = 2**31 - 1
HALF = Fraction(1, 2)


def rounded(x, n):
    """rs(x, n) by rationals, for every n."""
    return floor(Fraction(x) / Fraction(2) ** n + HALF) if n > 0 else x << -n


# ---- arithmetic ----------------------------------------------------------


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(-31, 62))
@settings(deadline=None)
def test_rs_sat31_rounds_and_clamps_at_every_shift(x, n):
    expected = min(max(rounded(x, n), -LIMIT), LIMIT)
    assert int(fixed.rs_sat31(np.int64(x), n)) == expected
    columns = fixed.rs_sat31(np.array([[x, x]]), np.array([n, 0]))
    assert columns.tolist() == [[expected, min(max(x, -LIMIT), LIMIT)]]


@given(st.integers(-(2**45), 2**45), st.integers(0, 20))
@settings(deadline=None)
def test_rz_cuts_toward_zero(x, n):
    assert int(fixed.rz(np.int64(x), n)) == int(Fraction(x, 2**n))


@given(st.integers(0, 62), st.integers(-2, 2))
@settings(deadline=None)
def test_bits_counts_digits_on_both_sides_of_a_power_of_two(k, d):
    x = max(2**k + d, 0)
    assert int(fixed.bits(np.array(x))) == x.bit_length()


# ---- norm and clipping ---------------------------------------------------


@given(st.lists(st.integers(-LIMIT, LIMIT), min_size=1, max_size=20))
@settings(deadline=None)
def test_the_sum_of_squares_is_exact(values):
    assert square_sum(np.array(values)) == sum(v * v for v in values)


def test_the_sum_of_squares_is_exact_beyond_64_bits():
    assert square_sum(np.full(100_000, -LIMIT)) == 100_000 * LIMIT**2


@given(st.integers(0, 2**92))
@settings(deadline=None)
def test_the_root_is_the_floor_to_a_part_in_2_to_the_30(Q):
    N = root(Q)
    assert isqrt(Q) >= N
    assert isqrt(Q) - N <= isqrt(Q) >> 30
    if Q < 2**64:
        assert isqrt(Q) == N


def test_the_norm_is_q16_and_clamped():
    assert norm_q16(5 << 24) == 5 << 16
    assert norm_q16((1 << 40) - 1) == 2**32 - 1
    assert norm_q16(1 << 50) == 2**32 - 1


@pytest.mark.parametrize("clip", [1, 3, 1 << 14, 1 << 16, 5 << 16, 12345678, LIMIT])
def test_a_gradient_at_the_threshold_is_not_clipped_and_one_above_is(clip):
    Q = clip**2 << 16
    assert clipping(Q - 1, clip) is None
    assert clipping(Q, clip) is None
    assert clipping(Q + 1, clip) is not None
    assert clipping(0, clip) is None
    assert clipping(2**90, 0) is None


@given(
    st.lists(st.integers(-LIMIT, LIMIT), min_size=1, max_size=8),
    st.integers(1, LIMIT),
    st.integers(0, 24),
)
@settings(deadline=None, max_examples=300)
def test_clipping_scales_to_the_threshold(values, clip, small):
    """Each entry is exact to half a unit, a part in 2^28, and N cut to whole units."""
    G = np.array(values) >> small
    Q, c = square_sum(G), clip >> small
    scale = clipping(Q, c)
    if scale is None:
        assert c == 0 or c**2 << 16 >= Q
        return
    factor = (c << 8) / sqrt(Q)  # both exact to 2^-52
    for g, v in zip(clipped(G, *scale).tolist(), G.tolist(), strict=True):
        part = 2.0**-28 + 1 / root(Q)
        assert abs(g - v * factor) <= 0.5 + abs(v * factor) * part + 2.0**-20


@pytest.mark.parametrize("clip", [1 << 14, 1 << 16, 5 << 16, LIMIT])
def test_the_largest_gradient_is_scaled_to_the_threshold(clip):
    G = np.full(70_000, LIMIT)  # a norm of 33,866, above every clip
    scale = clipping(square_sum(G), clip)
    assert scale is not None
    length = sqrt(square_sum(clipped(G, *scale)))
    assert length == pytest.approx(clip << 8, rel=2**-28, abs=sqrt(len(G)) / 2)


def test_what_is_clipped_to_less_than_half_a_unit_is_0():
    G = np.full(70_000, LIMIT)
    scale = clipping(square_sum(G), 1)
    assert scale is not None
    assert 256 / sqrt(70_000) > 0.5
    assert set(clipped(G, *scale).tolist()) == {1}
    assert not clipped(G, 1, 70).any()


# ---- rules ---------------------------------------------------------------


def gate_of(M, *, E=20, e=11, bias=False, columns=None, source_exp=14):
    """A gate whose masters are M (rows, width), nothing frozen, the rate 1."""
    M = np.asarray(M, np.int64)
    n = M.shape[1] - bias if columns is None else columns
    gate = Gate(
        np.zeros((len(M), n), np.int64),
        np.zeros(len(M), np.int64) if bias else None,
        np.full(len(M), E),
        e,
        np.full(n, source_exp),
        {"x": slice(n), "b": slice(n, None)},
    )
    gate.M = M
    gate.publish()
    gate.set_rates(1 << 24, False)
    return gate


def scalar_inverse_root(q):
    """The specification's formulas in Python integers."""
    j = max(k for k in range(0, 64, 2) if q << k < 1 << 64)
    w = (q << j) >> 32
    k = w >> 27
    y = floor(2**15 * sqrt(64 / (2 * k + 1)) + 0.5) << 15
    for _ in range(2):
        y = y * (3 * 2**30 - (w * (y * y >> 30) >> 32)) >> 31
    return y, 38 - j // 2


@given(st.integers(1, 2**63 - 1), st.integers(0, 62))
@settings(deadline=None, max_examples=500)
def test_the_inverse_root_is_right_to_a_part_in_10000(q, down):
    q = max(q >> down, 1)
    y, n = (int(v) for v in inverse_root(np.array(q)))
    assert (y, n) == scalar_inverse_root(q)
    assert abs(y * sqrt(q) / 2.0 ** (n + 24) - 1) < 1e-4


@given(st.integers(0, 62), st.integers(0, 2**62))
@settings(deadline=None)
def test_a_mean_square_is_kept_to_26_bits(k, low):
    r = min(2**k + low % 2**k, 2**62)
    code = int(coded(np.array(r)))
    back = int(decoded(np.array(code)))
    assert 0 <= code < 2**32
    assert back <= r < back + max(1, Fraction(r, 2**25))
    if r < 2**26:
        assert back == r
    assert int(coded(np.array(0))) == 0


@given(
    st.integers(-LIMIT, LIMIT),
    st.integers(0, 2**62 - 1),
    st.integers(0, 2**14 - 1),
    st.integers(1, LIMIT),
)
@settings(deadline=None, max_examples=300)
def test_rmsprop_is_the_rule_in_exact_integers(G, r, decay, epsilon):
    learn = Learn(rule="rmsprop", k2=1, decay_q14=decay, epsilon_q24=epsilon)
    gate = gate_of([[0]])
    gate.G, gate.r = np.array([[G]]), coded(np.array([[r]]))
    kept = int(decoded(gate.r)[0, 0])
    v = int(normalised(gate, learn)[0, 0])
    mean = (kept * decay >> 14) + (G * G * (2**14 - decay) >> 14)
    y, n = scalar_inverse_root(mean + epsilon**2)
    assert gate.r.tolist() == [[int(coded(np.array(mean)))]]
    assert v == min(max(rounded(G * y, n), -LIMIT), LIMIT)
    true = G * 2**24 / sqrt(mean + epsilon**2)
    assert v == pytest.approx(min(max(true, -LIMIT), LIMIT), rel=1e-4, abs=1)


def scalar_hash(seed, update, index):
    def mix(u):
        u ^= u >> 16
        u = u * 0x7FEB352D % 2**32
        u ^= u >> 15
        u = u * 0x846CA68B % 2**32
        return u ^ u >> 16

    u = mix((seed + 0x9E3779B9 * update) % 2**32)
    return mix((u + 0x85EBCA6B * index) % 2**32)


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**20))
@settings(deadline=None)
def test_the_hash_is_the_formula(seed, update, index):
    got = hashed(seed, update, np.array([0, index]))
    assert got.tolist() == [
        scalar_hash(seed, update, 0),
        scalar_hash(seed, update, index),
    ]


@pytest.mark.parametrize("shift", [0, 12, 24])
def test_the_hash_is_uniform_over_weights_and_over_updates(shift):
    """Chi squared of 256 cells, 65536 draws: 255 +- 6 standard deviations."""
    over_weights = hashed(1, 0, np.arange(65536))
    over_updates = np.array([int(hashed(1, k, np.array([5]))[0]) for k in range(16384)])
    for u in (over_weights, over_updates):
        count = np.bincount((u >> shift) & 255, minlength=256)
        expected = len(u) / 256
        chi = float(((count - expected) ** 2).sum() / expected)
        assert abs(chi - 255) < 6 * sqrt(2 * 255)


@pytest.mark.parametrize(("E", "bias"), [(20, False), (25, False), (12, True), (40, 0)])
def test_stochastic_rounding_is_right_on_average(E, bias):
    """The mean of 20000 draws within 5 standard errors (each at most 1/2)."""
    draws = 20_000
    gate = gate_of(np.zeros((draws, 1)), E=E, bias=bool(bias), e=min(11, E - 1))
    n = 48 - E if bias else 48 - (E - 14 + 16)
    v = np.full((draws, 1), -(2**n * 7 // 2 + 2**n // 5) // 2**24 or -1)
    exact = Fraction(-int(v[0, 0]) * 2**24, 2**n)
    s = steps(gate, v, Learn(k2=1, seed=9), 3, 0)
    assert set(np.unique(s).tolist()) <= {floor(exact), floor(exact) + 1}
    assert abs(float(s.mean()) - float(exact)) <= 5 * 0.5 / sqrt(draws)


@given(
    st.integers(-LIMIT, LIMIT),
    st.integers(1, LIMIT),
    st.integers(12, 42),
    st.integers(0, 14),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=300)
def test_a_step_is_the_formula_in_exact_integers(v, R, E, source_exp, bias, seed):
    gate = gate_of([[0]], E=E, bias=bias, source_exp=source_exp)
    gate.R[:] = R
    n = 48 - E if bias else 48 - (E - source_exp + 16)
    s = int(steps(gate, np.array([[v]]), Learn(k2=1, seed=seed), 2, 7)[0, 0])
    u = scalar_hash(seed, 2, 7)
    noise = u >> (32 - n) if n <= 32 else u << (n - 32)
    stochastic = (-R * v + noise) >> n if n > 0 else -R * v << -n
    exact = stochastic if seed else rounded(-R * v, n)
    assert s == min(max(exact, -LIMIT), LIMIT)


def one_update(gate, learn, G, updates=0):
    gate.G = np.array(G)
    return update([gate], learn, updates)


def test_sgd_moves_against_the_gradient_by_the_rate():
    # E - e_j + 16 = 22: a master of 2^22 is 1.0; v = 0.5, R = 0.25: down by 1/8
    gate = gate_of([[1 << 22]])
    learn = Learn(k2=1, rate_q24=1 << 22)
    gate.set_rates(learn.rate_q24, False)
    done = one_update(gate, learn, [[1 << 23]])
    assert gate.M.tolist() == [[(1 << 22) - (1 << 19)]]
    assert not gate.G.any()
    assert (done.norm_q16, done.clipped, done.falls, done.saturated) == (32768, 0, 0, 0)


def test_momentum_and_nesterov_are_their_rules():
    # s = -1.0 a step in masters 2^22; decay 3/4
    one, learn = 1 << 22, Learn(rule="momentum", k2=1, decay_q14=12288)
    plain = gate_of([[0]], E=24, e=11, source_exp=18)
    for expected in (-one, -one - one * 7 // 4):
        one_update(plain, learn, [[1 << 24]])
        assert plain.M.tolist() == [[expected]]
    ahead = gate_of([[0]], E=24, e=11, source_exp=18)
    one_update(ahead, dataclasses.replace(learn, nesterov=True), [[1 << 24]])
    assert ahead.V.tolist() == [[-one]]
    assert ahead.M.tolist() == [[-one * 7 // 4]]


def test_momentum_decays_to_zero_from_both_sides():
    learn = Learn(rule="momentum", k2=1, decay_q14=16383)
    gate = gate_of([[0, 0]])
    gate.V = np.array([[5, -5]])
    for _ in range(5):
        one_update(gate, learn, [[0, 0]])
    assert gate.V.tolist() == [[0, 0]]
    assert gate.M.tolist() == [[10, -10]]


def test_a_master_is_clamped_counted_and_still_an_int16_and_a_rest():
    gate = gate_of([[MASTER_HIGH - 1, MASTER_LOW + 1]], E=12, e=11)  # no fall left
    gate.set_rates(1 << 24, False)
    done = one_update(gate, Learn(k2=1), [[-(1 << 30), 1 << 30]])
    assert gate.M.tolist() == [[MASTER_HIGH, MASTER_LOW]]
    assert gate.hi.tolist() == [[32767, -32767]]
    lo = gate.M - 65536 * gate.hi
    assert lo.min() >= -32768
    assert lo.max() <= 32767
    assert done.saturated == 2
    assert one_update(gate, Learn(k2=1), [[0, 0]]).saturated == 0


@given(st.integers(0, 2**32), st.booleans())
@settings(deadline=None, max_examples=50)
def test_a_fall_keeps_every_value_to_half_a_unit(seed, bias):
    rng = np.random.default_rng(seed)
    M = rng.integers(MASTER_LOW, MASTER_HIGH, (3, 4))
    M[0, 0] = 24576 << 16
    gate = gate_of(M, bias=bias, E=20)
    gate.V = rng.integers(-LIMIT, LIMIT, (3, 4))
    V = gate.V
    assert gate.fall() == 1
    assert gate.E == 19
    assert abs(2 * gate.M - M).max() <= 1
    assert abs(2 * gate.V - V).max() <= 1
    assert abs(gate.hi).max() < 24576
    assert gate.fall() == 0


def test_a_gate_falls_from_its_limits_on_and_not_before():
    below = gate_of([[(24576 << 16) - 32769, 3 * 2**29 - 1]], bias=True)
    assert below.fall() == 0
    assert gate_of([[(24576 << 16) - 32768, 0]], bias=True).fall() == 1
    assert gate_of([[0, 3 * 2**29]], bias=True).fall() == 1
    assert gate_of([[0, -3 * 2**29]], bias=True).fall() == 1
    assert gate_of([[24576 << 16, 0]], bias=True, E=12).fall() == 0
