"""The kernels that move weights by SGD, each on its own core, against Python."""

import numpy as np
import pytest
from test_dot_time import Code

TEXT = """\
#include "sgd.h"
void move(const int32_t *scalings, uint32_t n, uint32_t first, int32_t *all);

void move(const int32_t *scalings, uint32_t n, uint32_t first, int32_t *all)
{
    const vg_scaling clip = {scalings[0], scalings[1], scalings[2]};
    const vg_scaling rate = {scalings[3], scalings[4], 0};
    int16_t *hi = (int16_t *)(void *)(all + n) + first, *lo = hi + n + 2;
    vg_sgd s;

    s.clip = clip;
    s.rate = rate;
    all[2 * n + 2] = (int32_t)(SGD_MOVE(&s, hi, lo, all, all + n) - all);
}
"""
NONE = (0, 0, 0)
# What a gradient is scaled by: left, by, right.
CLIPS = [NONE, (2, 2**30 - 7, 0), (0, 2**31 - 1, 0), (0, 2**30 + 12345, 3)]
RATES = [(0, -(2**30)), (3, -(2**31) + 1), (7, -(2**30) - 98765), (5, -77)]
TAKES = 0x5F800000  # a kernel must take masters, plus 2^15, whose size is below
FULL = 24576  # and no hi from here on


@pytest.fixture(scope="module", params=["host", "avx2", "m0", "m3", "m4", "m33"])
def code(request, tmp_path_factory):
    """The kernel that a core has."""
    return Code(tmp_path_factory.mktemp("sgd"), TEXT, request.param)


def rounded(x, n):
    return (x + (1 << n - 1)) >> n


def step(g, clip, rate):
    left, by, right = clip
    if right:
        g = rounded((g * by) >> 32, right)
    elif by:
        g = rounded((g << left) * by, 32)
    return rounded((g << rate[0]) * rate[1], 32)


def gradients(rng, n, clip, rate):
    """As large as the scalings allow: steps stay below 2^28."""
    top = 2**31 - 1 >> max(clip[0], 0 if clip[1] else rate[0])
    while abs(step(top, clip, (0, 2**31 - 1))) << rate[0] >= 2**30 or any(
        abs(step(g, clip, rate)) >= 2**28 for g in (top, -top)
    ):
        top >>= 1
    g = rng.integers(-top, top + 1, n)
    g[:2] = top, -top
    return g


def check(code, g, masters, first, clip, rate):
    """Everything up to where it stopped has moved, and nothing behind it."""
    n = len(g)
    hi = (masters + 32768) >> 16
    lo = masters - (hi << 16)
    halves = np.zeros(2 * n + 4, "<i2")
    halves[first : first + n], halves[first + n + 2 :][:n] = hi, lo
    words = np.concatenate([g.astype("<i4"), halves.view("<i4"), np.zeros(1, "<i4")])
    found = code("move", np.array([*clip, *rate], "<i4"), n, first, words)
    new = [int(m) + step(int(x), clip, rate) for m, x in zip(masters, g, strict=True)]
    stop = int(found[-1])
    takes = [abs(m + 32768) < TAKES for m in new]
    must = takes.index(False) if False in takes else n
    if not first % 2:  # two at once, and not the last one alone
        assert stop >= (must & ~1)
    assert all(abs((m + 32768) >> 16) < FULL for m in new[:stop])
    halves = found[n:-1].view("<i2")
    got = (halves[first : first + n].astype(int) << 16) + halves[first + n + 2 :][:n]
    assert got.tolist() == new[:stop] + masters[stop:].tolist()
    assert found[:n].tolist() == [0] * stop + g[stop:].tolist()
    return stop


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("rate", RATES)
def test_weights_move_by_steps_rounded_twice(code, clip, rate):
    rng = np.random.default_rng(1)
    for n in (2, 3, 8, 33):
        g = gradients(rng, n, clip, rate)
        small = rng.integers(-(1 << 30), 1 << 30, n)
        for first in (0, 1):
            check(code, g, small, first, clip, rate)
            check(code, g, -small, first, clip, rate)


@pytest.mark.parametrize("clip", CLIPS[:2])
def test_weights_near_their_limit_are_left(code, clip):
    rng = np.random.default_rng(2)
    rate, stops = RATES[0], set()
    for _ in range(30):
        g = gradients(rng, 10, clip, rate)
        masters = rng.integers(-(1 << 29), 1 << 29, 10)
        at = rng.integers(0, 10)
        masters[at] = rng.choice([-2147450880, -0x60000000, 0x5FFF8000, 2147450879])
        stops.add(check(code, g, masters, 0, clip, rate))
    assert len(stops) > 3
    for hi in (24447, 24448, 24575, 24576, 32767):  # and exactly there
        for sign in (-1, 1):
            for at in range(2):
                masters = np.zeros(2, np.int64)
                masters[at] = sign * hi * 65536
                check(code, np.zeros(2, int), masters, 0, clip, rate)
