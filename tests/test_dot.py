"""The kernels of the products, each on its own core, against NumPy's int64."""

import ctypes
import importlib
import platform
import shutil
import struct
import subprocess

import numpy as np
import pytest
from arm64 import Arm64

from pyvgrad.emulated import LIB, Emulator, build

# On which cores a kernel runs: two rows at once and whole maps, of 16 and of 8 bits.
KERNELS = {
    "c": ("host", "m0", "m3", "m4"),
    "mul": ("m3", "m4", "m33"),
    "dsp": ("m4", "m7", "m33"),
    "mve": ("m55",),
    "m0": ("m0",),
    "sse": ("host",),
    "avx2": ("host",),
    "neon": ("aarch64",),
}
FLAGS = {"avx2": ("-mavx2", "-mbmi2")}
HEADERS = {"dsp": "dot_dsp_map.h", "mul": "dot_mul_map.h", "m0": "dot_m0_rows.h"}
CODE = """\
#include "{1}"
/* what has no two rows of its own */
#ifdef __AVX2__
#define dot_avx2_w16 dot_sse_w16
#define dot_avx2_w8 dot_sse_w8
#endif
#ifdef VG_DOT_M0_ROWS_H
#define dot_m0_w16 dot_c_w16
#define dot_m0_w8 dot_c_w8
#endif
void w16(const int16_t *const *w, const int16_t *z, uint32_t n, int64_t *sum);
void w8(const int8_t *const *w, const int16_t *z, uint32_t n, int64_t *sum);

void w16(const int16_t *const *w, const int16_t *z, uint32_t n, int64_t *sum)
{{
    dot_{0}_w16(w[0], w[1], z, n, sum);
}}

void w8(const int8_t *const *w, const int16_t *z, uint32_t n, int64_t *sum)
{{
    dot_{0}_w8(w[0], w[1], z, n, sum);
}}

void maps16(dot_gates *g, int16_t *a);
void maps8(dot_gates *g, int16_t *a);

void maps16(dot_gates *g, int16_t *a)
{{
#ifdef VG_DOT_THUMB2_ROWS_H
    dot_{0}_gates16(g, a);
#else
    DOT_C_GATES(int16_t, 0, dot_{0}_map16)
#endif
}}

void maps8(dot_gates *g, int16_t *a)
{{
#ifdef VG_DOT_THUMB2_ROWS_H
    dot_{0}_gates8(g, a);
#else
    DOT_C_GATES(int8_t, 1, dot_{0}_map8)
#endif
}}
"""
LENGTHS = [*range(0, 37), 48, 49, 54, 63, 64, 92, 511, 512, 1021, 1025]
BOUNDS = {16: 32767, 8: 127}  # of a weight, by its bits
DTYPES = {16: np.int16, 8: np.int8}


class OnCore:
    """A kernel on an emulated core."""

    def __init__(self, chip, pointer):
        self.chip, self.pointer = chip, pointer  # as struct names it
        self.place = self.chip.place(1 << 15)

    def __call__(self, bits, w, z, start, shift):
        rows = [-(-row.nbytes // 4) * 4 for row in w]
        at = self.place + 32
        places = [at, at + rows[0] if len(w) == 2 else at]
        for place, row in zip(places, w, strict=False):
            self.chip.write(place + shift[0], row.tobytes())
        z_at = at + sum(rows) + 16 + shift[1]
        self.chip.write(z_at, z.tobytes())
        pointers = [place + shift[0] for place in places]
        self.chip.write(self.place, struct.pack(f"<2{self.pointer}", *pointers))
        self.chip.write(self.place + 16, start.tobytes())
        self.chip.call(f"w{bits}", self.place, z_at, len(z), self.place + 16)
        return np.frombuffer(self.chip.read(self.place + 16, 16), "<i8")

    def maps(self, bits, w, b, exps, z, arg_exps, guard):
        """a[rows] of maps and what lies behind it, guard of them before the call."""
        at, places = self.place + 64, []
        for part in (w, b, exps, z, guard):
            places.append(at)
            self.chip.write(at, part.tobytes())
            at += -(-part.nbytes // 4) * 4
        w_at, b_at, exps_at, z_at, a_at = places
        n = len(arg_exps)
        fields = [w_at, len(b) and b_at, exps_at, z_at, len(w) // n, w.shape[1], 0]
        form = f"<4{self.pointer}3I{'4x' * (self.pointer == 'Q')}B7s"
        gates = struct.pack(form, *fields, n, arg_exps.tobytes())
        self.chip.write(self.place, gates)
        self.chip.call(f"maps{bits}", self.place, a_at)
        assert self.chip.read(z_at, z.nbytes) == z.tobytes()
        return np.frombuffer(self.chip.read(a_at, guard.nbytes), "<i2")


class OnHost:
    """A kernel on this machine."""

    def __init__(self, source, folder, flags):
        path = folder / "kernel.so"
        words = ["-std=c99", "-O2", "-shared", "-fPIC", f"-I{LIB / 'src'}", *flags]
        subprocess.run(["gcc", *words, source, "-o", path], check=True)
        self.code = ctypes.CDLL(str(path))

    def __call__(self, bits, w, z, start, shift):
        del shift
        total = start.copy()
        pointers = (ctypes.c_void_p * 2)(w[0].ctypes.data, w[-1].ctypes.data)
        self.code[f"w{bits}"](
            pointers,
            ctypes.c_void_p(z.ctypes.data),
            ctypes.c_uint32(len(z)),
            ctypes.c_void_p(total.ctypes.data),
        )
        return total

    def maps(self, bits, w, b, exps, z, arg_exps, guard):
        a, n = guard.copy(), len(arg_exps)
        parts = [part.ctypes.data if len(part) else None for part in (w, b, exps, z)]
        one = Map(*parts, len(w) // n, w.shape[1], 0)
        gates = Gates(one, n, tuple(arg_exps.tolist()))
        self.code[f"maps{bits}"](ctypes.byref(gates), ctypes.c_void_p(a.ctypes.data))
        return a


class Map(ctypes.Structure):
    """dot_map of dot_c.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("w", "b", "exps", "z")] + [
        (name, ctypes.c_uint32) for name in ("rows", "stride", "arg_exp")
    ]


class Gates(ctypes.Structure):
    """dot_gates of dot_c.h."""

    _fields_ = (
        ("map", Map),
        ("n", ctypes.c_uint8),
        ("arg_exps", ctypes.c_uint8 * 7),
    )


def on_host(name, source, folder):
    if name != "c" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs x86-64")
    core = importlib.import_module("pyvgrad._vgrad").lib
    if name == "avx2" and not core.vg_has_avx2():
        pytest.skip("this processor has no AVX2")
    return OnHost(source, folder, FLAGS.get(name, ()))


@pytest.fixture(
    scope="module",
    params=[(kernel, core) for kernel, cores in KERNELS.items() for core in cores],
    ids="-".join,
)
def kernel(request, tmp_path_factory):
    name, core = request.param
    folder = tmp_path_factory.mktemp("dot")
    source = folder / "kernel.c"
    source.write_text(CODE.format(name, HEADERS.get(name, f"dot_{name}.h")))
    if core == "host":
        return on_host(name, source, folder)
    if core == "aarch64":
        if shutil.which("clang") is None:
            pytest.skip("needs clang")
        return OnCore(Arm64(source, LIB / "src"), "Q")
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs gcc-arm-none-eabi")
    flags = (f"-I{LIB / 'src'}",)
    return OnCore(Emulator(build(core, [source], flags), core), "I")


def agrees(kernel, bits, w, z, shift=(0, 0)):
    """The kernel's sums of rows w (1 or 2, n) with z (n) are those of int64."""
    start = np.array([-(1 << 40) - 3, (1 << 33) + 5], "<i8")
    products = w.astype(np.int64) @ z.astype(np.int64)
    found = kernel(bits, np.ascontiguousarray(w), z, start, shift)
    assert np.array_equal(found, start + products), (bits, len(z), shift)


@pytest.mark.parametrize("bits", [16, 8])
def test_random_rows_of_any_length(kernel, bits):
    rng = np.random.default_rng(bits)
    for n in LENGTHS:
        w = rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, (2, n)).astype(DTYPES[bits])
        agrees(kernel, bits, w, rng.integers(-32768, 32768, n).astype(np.int16))


@pytest.mark.parametrize("bits", [16, 8])
def test_extreme_rows_of_any_length(kernel, bits):
    top = BOUNDS[bits]
    for n in LENGTHS:
        signs = np.where(np.arange(n) % 3 == 0, -1, 1)
        for row in (np.full(n, top), np.full(n, -top), top * signs):
            w = np.stack([row, -row]).astype(DTYPES[bits])
            for z in (np.full(n, -32768), np.full(n, 32767), -32768 * (signs < 0)):
                agrees(kernel, bits, w, z.astype(np.int16))


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("shift", [(2, 0), (0, 2), (2, 2)])
def test_what_is_not_aligned_to_a_word(kernel, bits, shift):
    rng = np.random.default_rng(3)
    for n in (1, 4, 5, 16, 23, 64):
        w = rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, (1, n)).astype(DTYPES[bits])
        agrees(kernel, bits, w, rng.integers(-32768, 32768, n).astype(np.int16), shift)


@pytest.mark.parametrize("bits", [16, 8])
def test_one_row_given_twice(kernel, bits):
    rng = np.random.default_rng(4)
    w = rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, (1, 21)).astype(DTYPES[bits])
    agrees(kernel, bits, w, rng.integers(-32768, 32768, 21).astype(np.int16))


@pytest.mark.parametrize("bits", [16, 8])
def test_rows_that_no_core_has_room_for(bits, kernel):
    if not isinstance(kernel, OnHost):
        pytest.skip("too long for the emulated memory")
    n = (1 << 17) + 13
    w = np.full((2, n), BOUNDS[bits], DTYPES[bits])
    w[1] *= -1
    for z in (-32768, -32767, 32767):
        agrees(kernel, bits, w, np.full(n, z, np.int16))


# ---- whole maps ------------------------------------------------------------


def rounded(sums, shifts):
    """sat16(rs(sum, shift)) by Python's integers."""
    whole = [(int(x) + (1 << n - 1)) >> n for x, n in zip(sums, shifts, strict=True)]
    return np.array([min(max(x, -32768), 32767) for x in whole], np.int16)


def maps_agree(kernel, bits, w, b, shifts, z, behind, n=1):
    """n maps of w (n rows, columns) and b (n rows or none) on z (columns) are int64's.

    ``shifts`` is one a map or, of 8 bits, one a row; ``behind`` is what lies in z
    after the columns, up to the end of a padded row.
    """
    rows, columns = w.shape
    stride = -(-columns // 4) * 4
    padded = np.zeros((rows, stride), DTYPES[bits])
    padded[:, :columns] = w
    arg_exps = np.arange(n, dtype=np.uint8)[::-1] + np.uint8(11)
    exps = (np.array(shifts) + np.repeat(arg_exps, len(shifts) // n)).astype(np.uint8)
    more = np.concatenate([z, np.full(stride - columns, behind)]).astype(np.int16)
    guard = np.arange(1000, 1000 + rows + 3).astype(np.int16)
    found = kernel.maps(bits, padded, b, exps, more, arg_exps, guard)
    sums = w.astype(np.int64) @ z.astype(np.int64) + (b if len(b) else 0)
    expected = rounded(sums, np.repeat(shifts, rows // len(shifts)))
    assert np.array_equal(found[:rows], expected), (bits, w.shape, shifts)
    assert np.array_equal(found[rows:], guard[rows:]), (bits, w.shape, shifts)


def random_shifts(rng, bits, rows, low=1):
    return rng.integers(low, 32, 1 if bits == 16 else rows)


@pytest.mark.parametrize("bits", [16, 8])
def test_maps_of_any_number_of_columns(kernel, bits):
    rng = np.random.default_rng(bits)
    for columns in [n for n in LENGTHS if n]:
        w = rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, (2, columns))
        b = rng.integers(-(1 << 31), 1 << 31, 2).astype(np.int32)
        z = rng.integers(-32768, 32768, columns)
        for shift in (14, 17):
            shifts = [shift] * (1 if bits == 16 else 2)
            maps_agree(kernel, bits, w, b, shifts, z, -32768)


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("biases", [True, False])
def test_maps_of_any_number_of_rows_and_any_shift(kernel, bits, biases):
    rng = np.random.default_rng(bits)
    for rows in (1, 2, 3, 4, 5, 6, 7, 8, 31, 64):
        for columns in (3, 8, 20, 36):
            w = rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, (rows, columns))
            b = rng.integers(-(1 << 31), 1 << 31, rows if biases else 0)
            z = rng.integers(-32768, 32768, columns)
            shifts = random_shifts(rng, bits, rows)
            maps_agree(kernel, bits, w, b.astype(np.int32), shifts, z, 32767)


@pytest.mark.parametrize("bits", [16, 8])
def test_long_maps_of_many_rows(kernel, bits):
    """Kernels that take a few rows at once cut long ones into parts."""
    rng = np.random.default_rng([bits, 7])
    long = [1 << 17] if isinstance(kernel, OnHost) else []
    for columns in (260, 521, *long):
        w = rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, (7, columns))
        z = rng.integers(-32768, 32768, columns)
        shifts = [22] if bits == 16 else [13] * 7  # most sums do not saturate
        maps_agree(kernel, bits, w, np.zeros(0, np.int32), shifts, z, 9)


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_maps_one_behind_the_other(kernel, bits, n):
    rng = np.random.default_rng([bits, n])
    for rows in (1, 2, 3, 6, 7):
        for low in (1, 12):  # kernels need not take small shifts
            w = rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, (n * rows, 28))
            b = rng.integers(-(1 << 31), 1 << 31, n * rows if rows != 6 else 0)
            z = rng.integers(-32768, 32768, 28)
            shifts = rng.integers(low, 32, n if bits == 16 else n * rows)
            maps_agree(kernel, bits, w, b.astype(np.int32), shifts, z, 5, n)


@pytest.mark.parametrize("bits", [16, 8])
def test_maps_at_their_bounds(kernel, bits):
    top = BOUNDS[bits]
    for columns in (1, 4, 12, 33, 512, 1021):
        ones = np.ones((4, columns), int)
        w = ones * [[top], [-top], [top], [-top]]
        b = np.array([2**31 - 1, -(2**31), -(2**31), 2**31 - 1], np.int32)
        for z in (-32768 * ones[0], 32767 * ones[0]):
            for shift in range(1, 32):
                shifts = [shift] * (1 if bits == 16 else 4)
                maps_agree(kernel, bits, w, b, shifts, z, 32767)


@pytest.mark.parametrize("bits", [16, 8])
def test_maps_round_half_up(kernel, bits):
    for shift in (1, 5, 31):
        half = 1 << shift - 1
        b = np.array([half, half - 1, -half, -half - 1], np.int64)
        shifts = [shift] * (1 if bits == 16 else 4)
        w, z = np.zeros((4, 4), int), np.zeros(4, int)
        maps_agree(kernel, bits, w, b.astype(np.int32), shifts, z, 5)
