"""The rounded products that a core has its own ways for, in Python's integers."""

import numpy as np
import pytest
from test_dot_time import Code

NAMES = ("times14", "times18", "times24", "times24_31", "plus31")
CODE = '#include "fx.h"\n' + "".join(
    f"""
void {name}(const int32_t *pairs, uint32_t n, int32_t *to);

void {name}(const int32_t *pairs, uint32_t n, int32_t *to)
{{
    for (uint32_t k = 0; k < n; k++)
        to[k] = fx_{name}(pairs[2 * k], pairs[2 * k + 1]);
}}
"""
    for name in NAMES
)
MOST = 2**31 - 1


def rs(x, n):
    return (x + (1 << n - 1)) >> n


def sat31(x):
    return max(-MOST, min(MOST, x))


EXACT = {
    "times14": lambda a, b: rs(a * b, 14),
    "times18": lambda a, b: rs(a * b, 18),
    "times24": lambda a, b: rs(a * b, 24),
    "times24_31": lambda a, b: sat31(rs(a * b, 24)),
    "plus31": lambda a, b: sat31(a + b),
}
# The least and largest of both factors.
WITHIN = {
    "times14": ((-MOST, MOST), (0, 1 << 14)),
    "times18": ((-(1 << 28), 1 << 28), (-(1 << 14), 1 << 14)),
    "times24": ((-MOST, MOST), (-(1 << 24) + 1, 1 << 24)),
    "times24_31": ((-(2**31), MOST), (-(2**31), MOST)),
    "plus31": ((-(2**31), MOST), (-(2**31), MOST)),
}


def values(rng, low, high):
    """Ends, powers of two with their neighbours, and random ones of every size."""
    powers = [
        sign * 2**e + d for e in range(32) for sign in (-1, 1) for d in (-1, 0, 1)
    ]
    spread = [int(rng.integers(-(2**e), 2**e)) for e in range(1, 32) for _ in range(4)]
    return [low, high, *(x for x in powers + spread if low <= x <= high)]


def ties(n):
    """Pairs whose product is a rounding half, and one on either side."""
    return [
        (s * (2 * k + 1) * 2 ** (n - 13) + d, 1 << 12)
        for k in range(9)
        for s in (-1, 1)
        for d in (-1, 0, 1)
    ]


def pairs_of(name):
    (low_a, high_a), (low_b, high_b) = WITHIN[name]
    rng = np.random.default_rng(len(name))
    a, b = values(rng, low_a, high_a), values(rng, low_b, high_b)
    pairs = [(x, y) for x in (low_a, high_a) for y in b]
    pairs += [(x, y) for x in a for y in (low_b, high_b)]
    pairs += [
        (a[i % len(a)], b[k % len(b)]) for i, k in rng.integers(0, 999, (2000, 2))
    ]
    return pairs + ties({"times14": 14, "times18": 18}.get(name, 24))


@pytest.fixture(scope="module", params=["host", "m0", "m3", "m4", "m33"])
def code(request, tmp_path_factory):
    return Code(tmp_path_factory.mktemp("products"), CODE, request.param)


@pytest.mark.parametrize("name", NAMES)
def test_a_product_is_rounded_once_and_kept_within_its_limits(code, name):
    pairs = np.array(pairs_of(name), "<i4")
    found = code(name, pairs, len(pairs), np.zeros(len(pairs), "<i4"))
    for (a, b), y in zip(pairs.tolist(), found.tolist(), strict=True):
        assert y == EXACT[name](a, b), (a, b)
