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
    "dsp": ("m4", "m7", "m33"),
}
PIECES = ("piece_c", "m0", "dsp")
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
    {1}
    dot_time_{0}(e, z, z + apart, n, &s);
    for (int k = 0; k < 2; k++)
        sum[k] = (int64_t)s.high[k] * 4096 + s.low[k];
}}
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
    cut = "dot_time_dsp_cut(e, n);" if name == "dsp" else ""
    return name, Code(tmp_path_factory.mktemp("time"), text.format(name, cut), core)


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


@pytest.mark.parametrize("core", ["host", "m0", "m4"])
def test_the_rounding_of_a_piece_is_that_of_its_sum(core, tmp_path):
    text = """\
#include "dot_time_piece.h"
void rounded(const int32_t *in, int32_t *out);

void rounded(const int32_t *in, int32_t *out)
{
    *out = dot_piece_rs(in[0], in[1], in[2]);
}
"""
    code = Code(tmp_path, text, core)
    rng = np.random.default_rng(2)
    top_low, top_high = PIECE * 4095 * 32768, 32767 * 32768
    for exp in (12, 13, 14):
        pairs = [(h, k) for h in (-top_high, top_high) for k in (-top_low, top_low)]
        pairs += rng.integers(-(2**30), 2**30, (40, 2)).tolist()
        for high, low in pairs:
            found = code(
                "rounded", np.array([high, low, exp], "<i4"), np.zeros(1, "<i4")
            )
            assert int(found[0]) == (4096 * high + low + (1 << exp - 1)) >> exp


def test_all_columns_of_a_row_at_once(tmp_path):
    text = """\
#include "dot_time_avx2.h"
void row(const int32_t *e, const int16_t *z, const uint32_t *size, int32_t *g);

void row(const int32_t *e, const int16_t *z, const uint32_t *size, int32_t *g)
{
    dot_time_avx2(e, z, size[0], size[1], (int)size[2], g);
}
"""
    code = Code(tmp_path, text, "avx2")
    rng = np.random.default_rng(4)
    signs = np.where(np.arange(PIECE) % 3 == 0, -1, 1)
    most = (HIGHS - 1) // PIECE
    alone = np.eye(PIECE, dtype=np.int64)[-1] * (HIGHS - 1)
    errors = [most * signs, signs * 0 + most, signs * 0 - most, alone, -alone]
    errors += [np.full(PIECE, 4095), signs * 0 - 1]
    errors += list(rng.integers(-most, most + 1, (20, PIECE)))
    for e in errors:
        for columns in (1, 3, 8, 9, 21):
            apart = int(rng.integers(PIECE, 20))
            z = rng.integers(-32768, 32768, (columns, apart)).astype("<i2")
            z[0, :PIECE] = np.where(e < 0, -32768, 32767)
            z[-1, :PIECE] = -32768
            z = z.ravel()[: apart * (columns - 1) + PIECE]  # nothing lies behind
            sources = np.stack([z[apart * k :][:PIECE] for k in range(columns)])
            sums = sources.astype(np.int64) @ e
            for exp in (12, 13, 14):
                size = np.array([apart, columns, exp], "<u4")
                g = np.full(columns + 1, 77, "<i4")
                found = code("row", e.astype("<i4"), z, size, g)
                expected = [*((sums + (1 << exp - 1)) >> exp), 77]
                assert found.tolist() == expected


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
