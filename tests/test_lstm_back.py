"""One step back through an LSTM with AVX2, against the formulas in Python."""

import numpy as np
import pytest
from test_dot_time import Code

from pyvgrad.fixed import tanh_q14

TEXT = """\
#include "lstm_back_avx2.h"
#include "lut.c"
void back(const int16_t *values, const int32_t *c, const uint32_t *size, int32_t *all);

/* size: n, apart, c1_apart, above_apart; all: above, dr, dc, errors, tape */
void back(const int16_t *values, const int32_t *c, const uint32_t *size, int32_t *all)
{
    const uint32_t n = size[0], apart = size[1];
    lstm_back s;

    s.apart = apart;
    s.c1_apart = size[2];
    s.above_apart = size[3];
    s.c0 = c;
    s.c1 = c + n * apart;
    s.above = all;
    s.dr = all + n * s.above_apart;
    s.dc = s.dr + n;
    for (uint32_t k = 0; k < 4; k++) {
        s.values[k] = values + 1 + k * n * apart; /* behind a word's half */
        s.errors[k] = s.dc + (1 + k) * n;
        s.tape[k] = s.dc + 5 * n + k * n * apart;
    }
    lstm_back_avx2(&s, n);
}
"""
MOST, ONE, TOP = 2**31 - 1, 1 << 14, 1 << 30
UNTOUCHED = 77


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The kernel."""
    return Code(tmp_path_factory.mktemp("back"), TEXT, "avx2")


def rs(x, n):
    return x + (1 << n - 1) >> n


def sat31(x):
    return max(-MOST, min(MOST, x))


def back(values, c0, c1, above, dr, dc):
    """docs/numbers-learning.md for one cell: errors of i, f, o, g, and the new dc."""
    i, f, o, g = values
    t = int(tanh_q14(np.int64(max(-32768, min(32767, rs(c1, 8))))))
    dh = sat31(above + dr)
    by_o = rs(o * (ONE - o) * t, 18)
    dc = sat31(dc + rs(dh * rs(o * ((1 << 28) - t * t), 18), 24))
    if (c1 == TOP and dc < 0) or (c1 == -TOP and dc > 0):
        dc = 0
    by_i = rs(i * (ONE - i) * g, 18)
    by_f = sat31(rs(f * (ONE - f) * c0, 24))
    by_g = rs(i * ((1 << 28) - g * g), 18)
    errors = [
        rs(dc * by_i, 24),
        sat31(rs(dc * by_f, 24)),
        rs(dh * by_o, 24),
        rs(dc * by_g, 24),
    ]
    return errors, rs(dc * f, 14)


def check(code, values, c, errors, apart, c1_apart, above_apart):
    """Of values (4, n), c before and after (2, n), errors above, dr and dc (3, n)."""
    n = values.shape[1]
    tape = np.full((4, n, apart), UNTOUCHED, "<i2")
    tape[:, :, 0] = values
    states = np.full(n * (apart + c1_apart), UNTOUCHED, "<i4")
    states[: n * apart : apart] = c[0]
    states[n * apart :: c1_apart] = c[1]
    above = np.full((n, above_apart), UNTOUCHED, "<i4")
    above[:, 0] = errors[0]
    rest = np.full((4, n * (1 + apart)), UNTOUCHED, "<i4")
    everything = np.concatenate([above.ravel(), *errors[1:], rest.ravel()])
    found = code(
        "back",
        np.concatenate([np.zeros(1, "<i2"), tape.ravel()]),
        states,
        np.array([n, apart, c1_apart, above_apart], "<u4"),
        everything.astype("<i4"),
    )
    cells = [
        back(values[:, u].tolist(), *c[:, u].tolist(), *errors[:, u].tolist())
        for u in range(n)
    ]
    back_errors = np.array([cell[0] for cell in cells]).T
    above[:, 0] = 0
    on_tape = np.full((4, n, apart), UNTOUCHED)
    on_tape[:, :, 0] = back_errors
    expected = [above, np.zeros(n), [cell[1] for cell in cells], back_errors, on_tape]
    assert found.tolist() == np.concatenate([np.ravel(a) for a in expected]).tolist()


LENGTHS = [1, 2, 7, 8, 9, 15, 16, 27]


@pytest.mark.parametrize("bits", [8, 20, 31])
def test_random_steps_back(code, bits):
    rng = np.random.default_rng(bits)
    top = (1 << bits) - 1
    for n in LENGTHS:
        for apart in (1, 5, 16):
            values = rng.integers(0, ONE + 1, (4, n))
            values[3] = rng.integers(-ONE, ONE + 1, n)
            c = rng.integers(-TOP, TOP + 1, (2, n)) >> rng.integers(0, 25, (2, n))
            errors = rng.integers(-top, top + 1, (3, n))
            check(code, values, c, errors, apart, 1, apart)
            check(code, values, c, errors, apart, apart, 1)


def test_extreme_steps_back(code):
    rng = np.random.default_rng(1)
    gates, states = [0, 1, ONE // 2, ONE], [-TOP, 1 - TOP, 0, TOP - 1, TOP]
    for n in LENGTHS * 3:
        values = rng.choice(gates, (4, n))
        values[3] = rng.choice([-ONE, *gates], n)
        c = rng.choice(states, (2, n))
        errors = rng.choice([-MOST, -1, 0, 1, MOST], (3, n))
        check(code, values, c, errors, 4, 1, 4)
