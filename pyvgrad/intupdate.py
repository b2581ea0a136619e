"""From a gradient to new weights, in integers: clipping, rules, rounding.

``docs/numbers-learning.md``, An update.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from pyvgrad.fixed import bits, rs, rs_sat31, rz, sat31
from pyvgrad.intgate import Gate, clamp_masters, coded, decoded
from pyvgrad.learning import Learn
from pyvgrad.qmodel import Ints

_MASK = 0xFFFFFFFF
# A[k - 8] = floor(2^15 sqrt(64 / (2 k + 1)) + 1/2), k = 8..31: floor(2 x + 1) / 2
_ROOTS = np.array([(isqrt((64 << 32) // (2 * k + 1)) + 1) // 2 for k in range(8, 32)])


@dataclass(frozen=True)
class Updated:
    """What an update counted; ``norm_q16`` is the gradient's before clipping."""

    norm_q16: int
    clipped: bool
    falls: int
    saturated: int


def square_sum(G: Ints) -> int:
    """The exact sum of squares; |G| < 2^31."""
    squares = G * G
    high, low = int(np.sum(squares >> 31)), int(np.sum(squares & ((1 << 31) - 1)))
    return (high << 31) + low


def root(Q: int) -> int:
    """N: about the square root of Q, from 64 of its bits."""
    m = 0
    while Q >> (2 * m) >= 1 << 64:
        m += 1
    return isqrt(Q >> (2 * m)) << m


def norm_q16(N: int) -> int:
    """The norm, q16, of a root in q24."""
    return min(N >> 8, _MASK)


def clipping(Q: int, clip_q16: int) -> tuple[int, int] | None:
    """Factor m and shift of G that clip a gradient with squares Q, None if it is short.

    ``clip_q16`` 0 is no limit.
    """
    if clip_q16 == 0 or clip_q16**2 << 16 >= Q:
        return None
    C, N = clip_q16 << 8, root(Q)
    bits_C, bits_N = C.bit_length(), N.bit_length()
    low = N << 32 - bits_N if bits_N <= 32 else N >> bits_N - 32
    return (C << 62 - bits_C) // low, 30 + bits_N - bits_C


def clipped(G: Ints, m: int, shift: int) -> Ints:
    """G scaled; |G m| < 2^62, so that a shift of 63 or more leaves nothing."""
    return rs(G * m, shift) if shift < 63 else np.zeros_like(G)


def mix(u: Ints) -> Ints:
    """The specification's mix, of u in uint64 below 2^32."""
    u = u ^ (u >> 16)
    u = (u * 0x7FEB352D) & _MASK
    u = u ^ (u >> 15)
    u = (u * 0x846CA68B) & _MASK
    return u ^ (u >> 16)


def hashed(seed: int, update: int, index: Ints) -> Ints:
    """hash(seed, update, index), 0..2^32 - 1, of every index."""
    u = mix(np.array([(seed + 0x9E3779B9 * update) & _MASK], np.uint64))
    u = mix((u + 0x85EBCA6B * index.astype(np.uint64)) & _MASK)
    return u.astype(np.int64)


def normalised(gate: Gate, learn: Learn) -> Ints:
    """RMSprop: moves the mean squares on and gives v, q24."""
    square, old = gate.G * gate.G, decoded(gate.r)
    decay = learn.decay_q14
    r = _times_q14(old, decay) + _times_q14(square, (1 << 14) - decay)
    gate.r = np.where(gate.live, coded(r), gate.r)
    y, shift = inverse_root(r + learn.epsilon_q24**2)
    return rs_sat31(gate.G * y, shift)


def _times_q14(x: Ints, factor: int) -> Ints:
    """floor(x factor / 2^14) for x < 2^62 and a factor up to 2^14."""
    return (x >> 14) * factor + (((x & 0x3FFF) * factor) >> 14)


def inverse_root(q: Ints) -> tuple[Ints, Ints]:
    """y and n: y / 2^n is about 2^24 / sqrt(q), for 0 < q < 2^63."""
    j = (64 - bits(q)) & ~1
    w = (q.astype(np.uint64) << j.astype(np.uint64)) >> np.uint64(32)
    y = _ROOTS.astype(np.uint64)[(w >> 27).astype(np.int64) - 8] << 15
    for _ in range(2):
        y = (y * ((3 << 30) - ((w * ((y * y) >> 30)) >> 32))) >> 31
    return y.astype(np.int64), 38 - j // 2


def steps(gate: Gate, v: Ints, learn: Learn, updates: int, first: int) -> Ints:
    """The step s of every weight, in units of its master; ``first`` is its index."""
    n = 48 - (gate.E - gate.e + gate.lift)
    move = -gate.R * v
    if learn.seed == 0:
        return rs_sat31(move, n)
    index = first + np.arange(v.size).reshape(v.shape)
    u = hashed(learn.seed, updates, index)
    noise = np.where(n <= 32, u >> np.maximum(32 - n, 0), u << np.maximum(n - 32, 0))
    down = (move + noise) >> np.maximum(n, 0)
    return np.where(n <= 0, rs_sat31(move, np.minimum(n, 0)), sat31(down))


def move(gate: Gate, learn: Learn, updates: int, first: int) -> int:
    """Change the weights of a gate by its gradient; how many masters were clamped."""
    v = normalised(gate, learn) if learn.rule == "rmsprop" else gate.G
    s = steps(gate, v, learn, updates, first)
    if learn.rule == "momentum":
        V = sat31(rz(learn.decay_q14 * gate.V, 14) + s)
        s = rz(learn.decay_q14 * V, 14) + s if learn.nesterov else V
        gate.V = np.where(gate.live, V, gate.V)
    exact = gate.M + s
    M = np.where(gate.live, clamp_masters(exact), gate.M)
    clamps = int(np.count_nonzero((exact != M) & gate.live))
    gate.M = M
    gate.publish()
    return clamps


def update(gates: list[Gate], learn: Learn, updates: int) -> Updated:
    """Change the weights of all gates by their gradients, which become 0.

    ``gates`` in the order of the blob, the readout last; ``updates`` is the count
    before this one.
    """
    Q = sum(square_sum(gate.G * gate.live) for gate in gates)
    scale = clipping(Q, learn.clip_q16)
    first = saturated = 0
    for gate in gates:
        if scale is not None:
            gate.G = clipped(gate.G, *scale)
        saturated += move(gate, learn, updates, first)
        first += gate.M.size
        gate.G = np.zeros_like(gate.G)
    falls = sum(gate.fall() for gate in gates)
    return Updated(norm_q16(root(Q)), scale is not None, falls, saturated)
