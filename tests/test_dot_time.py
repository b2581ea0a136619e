"""The kernels of learning, each on its own core, against NumPy's int64."""

import ctypes
import platform
import shutil
import subprocess

import numpy as np
import pytest

from pyvgrad.emulated import LIB, Emulator, build
from pyvgrad.native_core import library

HALF, PIECE = 12, 16
HIGHS = (32767 - PIECE) << HALF  # the errors of a piece, added up, are below
# On which cores a kernel runs.
KERNELS = {
    "c": ("host", "m0", "m3", "m4"),
    "mul": ("m3", "m4", "m33"),
    "piece_c": ("host", "m0", "m4"),
    "m0": ("m0",),
}
PIECES = ("piece_c", "m0")
# ... of a whole row, and those of them that want pieces that fit.
ROW_KERNELS = {
    "row_mul": ("m3", "m4"),
    "row_m0": ("m0",),
    "row_dsp": ("m4", "m7", "m33"),
    "pairs_dsp": ("m4", "m7", "m33"),  # an even number of columns, steps by four
    "pairs_mul": ("m3",),
    "pairs_m0": ("m0",),
    "avx2": ("avx2",),  # 16 steps alone
}
CUT = ("row_m0", "row_dsp", "pairs_dsp", "pairs_m0", "avx2")
WHOLE = """\
#include "dot_time_{0}.h"
void along(int32_t *e, const int16_t *z, uint32_t apart, uint32_t n, int64_t *sum);

void along(int32_t *e, const int16_t *z, uint32_t apart, uint32_t n, int64_t *sum)
{{
    sum[0] = sum[1] = 0;
    dot_time_{0}(e, z, z + apart, n, sum);
}}
"""
IN_PIECES = """\
#include "dot_time_{0}.h"
void along(int32_t *e, const int16_t *z, uint32_t apart, uint32_t n, int64_t *sum);

void along(int32_t *e, const int16_t *z, uint32_t apart, uint32_t n, int64_t *sum)
{{
    dot_piece s;
    dot_time_{0}(e, z, z + apart, n, &s);
    for (int k = 0; k < 2; k++)
        sum[k] = (int64_t)s.high[k] * 4096 + s.low[k];
}}
"""
A_ROW = """\
#include <string.h>

#include "dot_time_{0}.h"
void row(const int32_t *e, const int16_t *z, const uint32_t *size, int32_t *g);

/* size: n, apart, columns, exp; g has a number before and behind it */
void row(const int32_t *e, const int16_t *z, const uint32_t *size, int32_t *g)
{{
    const dot_row r = {{
        e, size[0], z, size[1], g + 1, size[2], (int32_t)size[3], NULL
    }};
    dot_time_{0}(&r);
}}
"""
PAIRS = """\
#include "dot_time_{0}.h"
void row(const int32_t *e, const int16_t *z, const uint32_t *size, int32_t *g);

void row(const int32_t *e, const int16_t *z, const uint32_t *size, int32_t *g)
{{
    static dot_paired paired[16 * 16];
    const dot_row r = {{
        e, size[0], z, size[1], g + 1, size[2], (int32_t)size[3], paired
    }};
    dot_time_pair(z, size[1], size[2], size[0], paired);
    dot_time_{0}(&r);
}}
"""
MEASURE = """\
#include "dot_time_avx2.h"
void measure(const int32_t *e, uint32_t *sums);

void measure(const int32_t *e, uint32_t *sums)
{
    dot_time_avx2_measure(e, &sums[0], &sums[1]);
}
"""
PRODUCT = """\
#include "fx.h"
void product(const int32_t *factors, int64_t *to);

void product(const int32_t *factors, int64_t *to)
{
    to[0] = fx_product(factors[0], factors[1]);
    to[1] = fx_high_rs(factors[0], factors[1]);
}
"""
SQUARES = """\
#include "dot_squares.h"
void squares(const int32_t *g, uint32_t n, uint64_t *sum);

void squares(const int32_t *g, uint32_t n, uint64_t *sum)
{
    dot_square_sum s = {sum[0], (uint32_t)sum[1]};
    dot_squares(g, n, &s);
    sum[0] = s.low;
    sum[1] = s.high;
}
"""
SIZE = """\
#include "dot_time_size.h"
void size(const int32_t *e, uint32_t n, uint32_t *to);

void size(const int32_t *e, uint32_t n, uint32_t *to)
{
    dot_time_size(e, n, &to[0], &to[1]);
}
"""


def has_avx2():
    return platform.machine() in ("x86_64", "AMD64") and library().lib.vg_has_avx2()


class Code:
    """Functions of a C file, on an emulated core or this machine, as host or avx2."""

    def __init__(self, folder, text, core):
        source = folder / "kernel.c"
        source.write_text(text)
        self.chip = None
        if core == "avx2" and not has_avx2():
            pytest.skip("this processor has no AVX2")
        if core not in ("host", "avx2"):
            if shutil.which("arm-none-eabi-gcc") is None:
                pytest.skip("needs gcc-arm-none-eabi")
            image = build(core, [source], (f"-I{LIB / 'src'}",))
            self.chip = Emulator(image, core)
            self.place = self.chip.place(1 << 16)
            return
        path = folder / "kernel.so"
        words = ["-std=c99", "-O2", "-shared", "-fPIC", f"-I{LIB / 'src'}"]
        words += [f"-I{LIB / 'include'}", *(["-mavx2"] if core == "avx2" else [])]
        subprocess.run(["gcc", *words, source, "-o", path], check=True)
        self.code = ctypes.CDLL(str(path))

    def __call__(self, name, *arguments):
        """Call with integers and arrays; the last array is given back."""
        if self.chip is None:
            kept = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
            self.code[name](
                *(
                    ctypes.c_void_p(a.ctypes.data)
                    if isinstance(a, np.ndarray)
                    else ctypes.c_uint32(a)
                    for a in kept
                )
            )
            return kept[-1]
        at, words = self.place, []
        for a in arguments:
            if not isinstance(a, np.ndarray):
                words.append(a)
                continue
            self.chip.write(at, a.tobytes())
            words.append(at)
            at += -(-a.nbytes // 8) * 8 + 8
        self.chip.call(name, *words)
        last = arguments[-1]
        return np.frombuffer(self.chip.read(words[-1], last.nbytes), last.dtype)


@pytest.fixture(
    scope="module",
    params=[(kernel, core) for kernel, cores in KERNELS.items() for core in cores],
    ids="-".join,
)
def kernel(request, tmp_path_factory):
    """(name, its code)."""
    name, core = request.param
    text = IN_PIECES if name in PIECES else WHOLE
    return name, Code(tmp_path_factory.mktemp("time"), text.format(name), core)


def agrees(kernel, e, z):
    """The kernel's sums of e (n) with z (2, n) are those of int64."""
    _, code = kernel
    found = code(
        "along",
        e.astype("<i4"),
        np.ascontiguousarray(z, "<i2"),
        z.shape[1],
        len(e),
        np.zeros(2, "<i8"),
    )
    assert found.tolist() == (z.astype(np.int64) @ e.astype(np.int64)).tolist()


def lengths(name):
    """Of a tape; in pieces it is of an even length."""
    return range(2, PIECE + 1, 2) if name in PIECES else [1, 2, 3, 7, 8, 9, 16, 33]


def test_random_errors_and_sources(kernel):
    rng = np.random.default_rng(1)
    for n in lengths(kernel[0]):
        top = HIGHS // n if kernel[0] in PIECES else 2**31
        for _ in range(20):
            e = rng.integers(-top + 1, top, n)
            agrees(kernel, e, rng.integers(-32768, 32768, (2, n)))


def test_extreme_errors_and_sources(kernel):
    name, _ = kernel
    for n in lengths(name):
        most = (HIGHS - 1) // n if name in PIECES else 2**31 - 1
        signs = np.where(np.arange(n) % 3 == 0, -1, 1)
        low = np.full(n, 4095)  # the largest, and no high
        for e in (np.full(n, most), np.full(n, -most), most * signs, low, -low):
            for z in (np.full(n, -32768), np.full(n, 32767), 32767 * signs):
                agrees(kernel, e, np.stack([z, -32768 * (signs < 0)]))
        alone = np.zeros(n, np.int64)
        alone[-1] = HIGHS - 1 if name in PIECES else -(2**31) + 1
        agrees(kernel, alone, np.full((2, n), -32768))


@pytest.fixture(
    scope="module",
    params=[(kernel, core) for kernel, cores in ROW_KERNELS.items() for core in cores],
    ids="-".join,
)
def row_kernel(request, tmp_path_factory):
    """(name, its code)."""
    name, core = request.param
    text = (PAIRS if name.startswith("pairs") else A_ROW).format(name)
    return name, Code(tmp_path_factory.mktemp("row"), text, core)


def row_agrees(row_kernel, e, z, apart, exp):
    """The kernel's gradients from e (n) and z (columns, n) are rounded int64."""
    n, columns = len(e), len(z)
    tape = np.full((columns, apart), 12345, "<i2")
    tape[:, :n] = z
    g = np.full(columns + 2, 777, "<i4")
    sizes = np.array([n, apart, columns, exp], "<u4")
    found = row_kernel[1]("row", e.astype("<i4"), tape, sizes, g)
    half = 1 << (exp - 1)
    g[1:-1] = (z.astype(np.int64) @ e.astype(np.int64) + half) >> exp
    assert found.tolist() == g.tolist()


def row_cases(name):
    """Steps, apart, columns, exp and the largest error of a row."""
    step, exps = (2, (12, 13, 14)) if name in CUT else (1, (1, 7, 14, 31))
    step, columns_by = (4, 2) if name.startswith("pairs") else (step, 1)
    for n in range(PIECE if name == "avx2" else step, PIECE + 1, step):
        for k, exp in enumerate(exps):
            apart = n + 2 * k if k < 3 else 64
            most = HIGHS if name in CUT else min(2**16 << exp, 2**31)
            columns = (2 + (n // step + k) % 4 + 8 * (k % 2)) // columns_by * columns_by
            yield n, apart, columns, exp, (most - 1) // n


def test_random_rows(row_kernel):
    rng = np.random.default_rng(3)
    for n, apart, columns, exp, most in row_cases(row_kernel[0]):
        e = rng.integers(-most, most + 1, n)
        z = rng.integers(-32768, 32768, (columns, n))
        row_agrees(row_kernel, e, z, apart, exp)


def test_extreme_rows(row_kernel):
    for n, apart, columns, exp, most in row_cases(row_kernel[0]):
        signs = np.where(np.arange(n) % 3 == 0, -1, 1)
        z = np.full((columns, n), -32768)
        z[1::2] = 32767
        for e in (np.full(n, most), np.full(n, -most), most * signs):
            row_agrees(row_kernel, e, z, apart, exp)
            row_agrees(row_kernel, e, z * signs // 2, apart, exp)
        if row_kernel[0] in CUT:
            row_agrees(row_kernel, np.full(n, 4095), z, apart, exp)
            row_agrees(row_kernel, np.full(n, -4095), z, apart, exp)


def test_errors_of_a_piece_are_added_up(tmp_path):
    code = Code(tmp_path, MEASURE, "avx2")
    rng = np.random.default_rng(7)
    for top in (1, 15, 16, 1 << 20, 2**31 - 1):
        for e in (np.full(PIECE, top), np.full(PIECE, -top)):
            for some in (e, rng.integers(-top, top + 1, PIECE)):
                found = code("measure", some.astype("<i4"), np.zeros(2, "<u4"))
                size = np.where(some < 0, ~some, some) >> 4
                assert found.tolist() == [some.sum() % 2**32, size.sum()]


@pytest.mark.parametrize("core", ["host", "avx2", "m0", "m3", "m4", "m33"])
def test_a_product_is_exact(core, tmp_path):
    code = Code(tmp_path, PRODUCT, core)
    rng = np.random.default_rng(5)
    ends = [-(2**31), -(2**31) + 1, -65536, -32768, -1, 0, 1, 32767, 65535, 2**31 - 1]
    pairs = [(a, b) for a in ends for b in ends]
    pairs += rng.integers(-(2**31), 2**31, (50, 2)).tolist()
    for a, b in pairs:
        found = code("product", np.array([a, b], "<i4"), np.zeros(2, "<i8"))
        assert int(found[0]) == a * b
        if -(2**31) not in (a, b):
            assert int(found[1]) == a * b + 2**31 >> 32


@pytest.fixture(scope="module", params=["host", "avx2", "m0", "m3", "m4"])
def squares(request, tmp_path_factory):
    """The sum of squares of a core."""
    return Code(tmp_path_factory.mktemp("squares"), SQUARES, request.param)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 31, 32, 33, 70])
def test_squares_are_exact_beyond_64_bits(squares, n):
    rng = np.random.default_rng(n)
    start = np.array([2**64 - 1, 2], "<u8")
    for top in (1, 4095, 1 << 25, (1 << 25) + 1, 2**31 - 1):
        rows = [np.full(n, top), np.full(n, -top), np.full(n, top - 1)]
        rows += [rng.integers(-top, top + 1, n) for _ in range(5)]
        rows += [np.where(np.arange(n) == n - 1, top, 1)]
        for g in rows:
            low, high = squares("squares", g.astype("<i4"), n, start).tolist()
            first = int(start[0]) + (int(start[1]) << 64)
            assert low + (high << 64) == first + sum(int(x) ** 2 for x in g)


@pytest.mark.parametrize("core", ["host", "m0", "m3", "m4"])
def test_a_piece_is_measured(core, tmp_path):
    code = Code(tmp_path, SIZE, core)
    rng = np.random.default_rng(6)
    for n in range(PIECE + 1):
        for top in (15, 16, 1 << 22, 2**31 - 1):
            e = rng.integers(-top, top + 1, n)
            found = code("size", e.astype("<i4"), n, np.array([5, 7], "<u4"))
            size = 5 + sum(abs(int(x)) - (x < 0) >> 4 for x in e)
            assert found.tolist() == [size, (7 + int(e.sum())) % 2**32]
