"""Search, verify and write the tables of the C core's activation functions.

    python tools/gen_lut.py            write firmware/lib/vgrad/src/lut.c
    python tools/gen_lut.py --check    verify the tables that are there, and
                                       that the search finds the same again

The integer formulas are those of lut.h.  A result is right when it is the exact
value rounded to nearest; the distance of the nearest tie is printed.  The exact
values come from exp(-k h) = exp(-h)^k in big integers, exp(-h) by mpmath.  The
cubics are searched for, deterministically: the same bytes at every run.  The
table of exp needs no search; its plainly rounded values hold.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

LUT_C = Path(__file__).parents[1] / "firmware" / "lib" / "vgrad" / "src" / "lut.c"
PRECISION = 192  # fraction bits of the exact values
SHIFT = 16  # of u and of the sum; that of u d is bits - 2
EXP_SEGS = 192
BATCH, BATCHES, SEED = 256, 400, 1997


@dataclass(frozen=True)
class Curve:
    """A function of an int16 argument, tabled as cubics around i * 2^bits."""

    name: str
    bits: int
    exponent: int  # real argument = z / 2^exponent
    f: Callable[[mpmath.mpf], mpmath.mpf]

    @property
    def last(self) -> int:
        """Index of the row around z = 32768; row 0 is around z = 0."""
        return 32768 >> self.bits


SIGMOID = Curve("sigmoid", 9, 11, lambda x: 1 / (1 + mpmath.exp(-x)))
TANH = Curve("tanh", 8, 12, mpmath.tanh)


def powers(step: int, count: int) -> list[int]:
    """Return exp(-k / step) * 2^PRECISION, k < count; error below k units."""
    with mpmath.workprec(PRECISION + 32):
        base = int(mpmath.ldexp(mpmath.exp(mpmath.mpf(-1) / step), PRECISION))
    out = [1 << PRECISION]
    for _ in range(count - 1):
        out.append(out[-1] * base >> PRECISION)
    return out


def nearest(ratios: list[tuple[int, int]]) -> tuple[Ints, float]:
    """Round exact ratios n / d half up.

    Args:
        ratios: pairs (n, d), d > 0.

    Returns:
        The integers, and the distance of the nearest tie in units of the last
        place.
    """
    rounded, tie = [], 0.5
    for n, d in ratios:
        y, rest = divmod(2 * n + d, 2 * d)
        rounded.append(y)
        tie = min(tie, rest / (2 * d), 1 - rest / (2 * d))
    return np.array(rounded, np.int64), tie


def exact_curves() -> dict[str, tuple[Ints, float]]:
    """Return q14 values for z = -32768..32768 and tie distances, by name.

    With q = exp(-z / 2048) and z >= 0: sigmoid = 1 / (1 + q) at z in q11, and
    tanh = (1 - q) / (1 + q) at z in q12.
    """
    one = 1 << PRECISION
    q = powers(2048, 32769)
    s, s_tie = nearest([(one << 14, one + p) for p in q])
    t, t_tie = nearest([((one - p) << 14, one + p) for p in q])
    return {
        "sigmoid": (np.concatenate([16384 - s[:0:-1], s]), s_tie),
        "tanh": (np.concatenate([-t[:0:-1], t]), t_tie),
    }


def exact_exp() -> tuple[Ints, float]:
    """Return 2^16 exp(-u / 2^14), rounded, for u < 12 * 2^14; and the tie distance."""
    one = 1 << PRECISION
    return nearest([(p << 16, one) for p in powers(1 << 14, EXP_SEGS << 10)])


def int32(x: Ints) -> Ints:
    """Return x, after a proof that C holds it in an int32.

    Raises:
        OverflowError: an element does not fit.
    """
    if x.min() < -(1 << 31) or x.max() >= 1 << 31:
        raise OverflowError("an intermediate value leaves int32")
    return x


def slope_term(c1: Ints, c2: Ints, c3: Ints, d: Ints, bits: int) -> Ints:
    """Return t d of the cubic, to which c0 is added."""
    u = int32((c2 << SHIFT) + c3 + c3 * d) >> SHIFT
    t = int32(c1 + (int32(u * d) >> (bits - 2)))
    return int32(t * d)


def cubic(rows: Ints, z: Ints, curve: Curve, origin: int) -> Ints:
    """Evaluate the table as lut_cubic does, for every element of z."""
    half = 1 << (curve.bits - 1)
    at = z + origin + half
    d = (at & (2 * half - 1)) - half
    c0, c1, c23 = rows[at >> curve.bits].T
    c3 = (c23 + 32768 & 65535) - 32768
    y: Ints = int32(c0 + slope_term(c1, c23 - c3 >> 16, c3, d, curve.bits)) >> SHIFT
    return y


def exp_series(g: Ints) -> Ints:
    """Return exp(-g / 2^14) in q31 as lut_exp truncates it, 0 <= g < 1024."""
    p = np.zeros_like(g)
    for factorial in (120, 24, 6, 2, 1, 1):
        p = (2**32 // factorial + 1) // 2 - (p * g >> 14)
    return p


def exp_q16(table: Ints, u: Ints) -> Ints:
    """Evaluate the table as lut_exp does, for every element of u."""
    product: Ints = table[u >> 10] * exp_series(u & 1023)
    return (product + (1 << 45)) >> 46


def fitted(curve: Curve, i: int) -> list[int]:
    """Return c1, c2, c3 of the Chebyshev fit to row i, scaled and rounded."""
    half = 1 << (curve.bits - 1)
    scales = [16, 16 + curve.bits - 2, 16 + curve.bits - 2 + SHIFT]

    def value_q14(d: mpmath.mpf) -> mpmath.mpf:
        return 16384 * curve.f((i * 2 * half + d) / mpmath.mpf(2) ** curve.exponent)

    with mpmath.workprec(80):
        poly = mpmath.chebyfit(value_q14, [-half, half], 4)[::-1]
        return [
            int(mpmath.nint(mpmath.ldexp(c, n)))
            for c, n in zip(poly[1:], scales, strict=True)
        ]


def neighbours(centre: Ints, bits: int, raw: np.random.PCG64) -> Ints:
    """Return BATCH random candidates (c1, c2, c3) near centre.

    The widest step of each coefficient moves the ends of the row by 1/64 unit
    of the last place; a candidate's steps are smaller by a common power of two.
    Raw generator words and exact arithmetic keep the bits the same everywhere.
    """
    half = bits - 1
    widest = np.array([10 - half, 8 + bits - 2 * half, 24 + bits - 3 * half])
    words = raw.random_raw(BATCH * 4).reshape(BATCH, 4)
    uniform = (words[:, :3] >> np.uint64(11)).astype(float) * 2.0**-52 - 1
    scale = np.ldexp(1.0, widest - (words[:, 3:] % np.uint64(7)).astype(int))
    out: Ints = centre + np.rint(uniform * scale).astype(np.int64)
    out[:, 1:] = np.clip(out[:, 1:], -32768, 32767)
    return out


def search_row(curve: Curve, i: int, want: Ints, z: Ints) -> list[int]:
    """Find c0, c1 and 2^16 c2 + c3 of row i that round every argument right.

    For given c1, c2, c3 the c0 that are right are an interval; the search climbs
    until its length is not negative and takes the middle.

    Raises:
        RuntimeError: nothing was found.
    """
    d, low = z - (i << curve.bits), want << SHIFT
    raw = np.random.PCG64([SEED, curve.bits, i + curve.last])
    best, best_length = np.zeros(3, np.int64), -(1 << 62)
    trial = np.array([[0, 0, 0], fitted(curve, i)])
    for _ in range(BATCHES):
        c1, c2, c3 = (c[:, None] for c in trial.T)
        rest = low - slope_term(c1, c2, c3, d, curve.bits)
        first, final = rest.max(axis=1), rest.min(axis=1) + (1 << SHIFT) - 1
        k = int(np.argmax(final - first))
        if final[k] - first[k] > best_length:
            best, best_length = trial[k], int(final[k] - first[k])
        if best_length >= 0:
            c1, c2, c3 = map(int, best)
            return [int(first[k] + final[k]) >> 1, c1, (c2 << 16) + c3]
        trial = neighbours(best, curve.bits, raw)
    raise RuntimeError(f"{curve.name} row {i}: no coefficients found")


def search_curve(curve: Curve, want: Ints) -> Ints:
    """Return the rows of the full table, want[k] belonging to z = k - 32768."""
    rows = []
    for i in range(-curve.last, curve.last + 1):
        half, centre = 1 << (curve.bits - 1), i << curve.bits
        z = np.arange(max(centre - half, -32768), min(centre + half, 32769))
        rows.append(search_row(curve, i, want[z + 32768], z))
    return np.array(rows)


def flat_from(curve: Curve, rows: Ints) -> int:
    """Return the index, 0 around z = 0, from which on all rows are one constant."""
    upper = rows[curve.last :]
    changes = np.flatnonzero((upper[1:] != upper[:-1]).any(axis=1))
    return int(changes[-1]) + 1 if len(changes) else 0


def packed(items: list[str]) -> str:
    """Return the items with commas, in lines of at most 80 columns."""
    lines = ["   "]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > 80:
            lines.append("   ")
        lines[-1] += f" {item},"
    return "\n".join(lines)


def render(sigmoid: Ints, tanh: Ints, exp: Ints) -> str:
    """Return the text of lut.c."""
    text = (
        "/* lut.c - the tables of lut.h, all arguments verified.\n"
        " * Made by: python tools/gen_lut.py */\n"
        '#include "lut.h"\n\n/* clang-format off */\n'
    )
    for curve, rows in ((SIGMOID, sigmoid), (TANH, tanh)):
        cells = [f"{{{a}, {b}, {c}}}" for a, b, c in rows.tolist()]
        end = curve.last + flat_from(curve, rows) + 1
        size = f"LUT_{curve.name.upper()}_SEGS"
        text += (
            f"const struct lut_seg vg_lut_{curve.name}[{size}] = {{\n"
            f"#ifndef VG_SMALL_TABLES\n{packed(cells[: curve.last])}\n#endif\n"
            f"{packed(cells[curve.last : end])}\n"
            f"#ifndef VG_SMALL_TABLES\n{packed(cells[end:])}\n#endif\n}};\n\n"
        )
    cells = [f"{a}u" for a in exp.tolist()]
    text += f"const uint32_t vg_lut_exp[LUT_EXP_SEGS] = {{\n{packed(cells)}\n}};\n"
    return text


def parse(text: str) -> tuple[Ints, Ints, Ints]:
    """Return the tables that render wrote: sigmoid, tanh, exp."""
    bodies = re.findall(r"\] = \{\n(.*?)\n\};", text, re.DOTALL)
    sigmoid, tanh, exp = (
        np.array([int(n) for n in re.findall(r"-?\d+", body)], np.int64)
        for body in bodies
    )
    return sigmoid.reshape(-1, 3), tanh.reshape(-1, 3), exp


def verify(text: str) -> bool:
    """Compare every argument of the tables in text with mathematics, and print."""
    sigmoid, tanh, exp = parse(text)
    exact, z = exact_curves(), np.arange(-32768, 32768)
    bad = 0
    for curve, rows, one in ((SIGMOID, sigmoid, 16384), (TANH, tanh, 0)):
        want, tie = exact[curve.name]
        end = flat_from(curve, rows)
        least = rows[curve.last : curve.last + end + 1]
        small = cubic(least, np.minimum(abs(z), end << curve.bits), curve, 0)
        wrong = [
            int((cubic(rows, z, curve, 32768) != want[:-1]).sum()),
            int((np.where(z < 0, one - small, small) != want[:-1]).sum()),
        ]
        bad += sum(wrong)
        counted = f"{len(rows)} rows, {len(least)} of them small"
        print(f"{curve.name}: {counted}, misrounded {wrong}, tie {tie:.1e}")
    want, tie = exact_exp()
    wrong_exp = int((exp_q16(exp, np.arange(len(want))) != want).sum())
    print(f"exp: {len(exp)} rows, misrounded [{wrong_exp}], nearest tie {tie:.1e}")
    return bad + wrong_exp == 0 and want[-1] == 0


def generate() -> str:
    """Return the text of lut.c, searched for anew."""
    exact, one = exact_curves(), 1 << PRECISION
    sigmoid, tanh = (search_curve(c, exact[c.name][0]) for c in (SIGMOID, TANH))
    exp, _ = nearest([(p << 31, one) for p in powers(16, EXP_SEGS)])
    return render(sigmoid, tanh, exp)


def main(argv: list[str] | None = None) -> int:
    """Write or check lut.c; return the exit status."""
    parser = argparse.ArgumentParser(description="The tables of lut.c.")
    parser.add_argument("--check", action="store_true", help="verify, write nothing")
    check = parser.parse_args(argv).check
    text = LUT_C.read_text(encoding="ascii") if check else generate()
    if not verify(text):
        return 1
    if not check:
        LUT_C.write_text(text, encoding="ascii")
    elif text != generate():
        print(f"{LUT_C.name} is not what the generator writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
