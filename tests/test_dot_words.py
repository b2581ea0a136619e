"""The kernels of maps in words, each on its own core, against Python's integers."""

import ctypes
import shutil

import numpy as np
import pytest
from test_dot import BOUNDS, Map, OnHost, rounded

from pyvgrad.blob_format import Packing
from pyvgrad.emulated import LIB, Emulator, build

# Of 16 and 8 bits: the headers, and on which cores they run.
KERNELS = {
    "c": ("dot_c.h", ("host", "m0", "m3", "m4")),
    "mul": ("dot_mul_words8.h", ("m3", "m4", "m33")),
    "m0": ("dot_m0_words8.h", ("m0", "m3")),
}
CODE = """\
#include "{1}"
#ifndef MAP
#define MAP dot_{0}_words_map
#endif
#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)
#define KERNEL(bits)                                                            \\
    void words##bits(const uint32_t *w, const int32_t *z, uint32_t n,           \\
                     int64_t *sum);                                             \\
    uint32_t map##bits(const dot_map *m, int16_t *a);                           \\
    void words##bits(const uint32_t *w, const int32_t *z, uint32_t n,           \\
                     int64_t *sum)                                              \\
    {{                                                                          \\
        dot_{0}_words##bits(w, z, n, sum);                                      \\
    }}                                                                          \\
    uint32_t map##bits(const dot_map *m, int16_t *a)                            \\
    {{                                                                          \\
        return NAME(MAP, bits)(m, a);                                           \\
    }}
#ifdef PORTABLE
#define dot_c_words_map16 dot_c_words_map
#define dot_c_words_map8 dot_c_words_map
#endif
KERNEL(16)
KERNEL(8)
"""
LENGTHS = [*range(4, 76, 4), 124, 128, 252, 256, 260, 508, 512]


def widened(name, bits, z):
    """z as the kernel wants it, behind its sum."""
    parts = [np.array([z.sum()])]
    if name == "m0" and bits == 16:
        for pair in z.reshape(-1, 2):
            parts.append(np.array([*pair, pair.sum() << 15]))
    else:
        parts.append(z)
    return np.concatenate(parts).astype("<i4")


class Kernel:
    """A kernel of words on a core or on this machine."""

    def __init__(self, name, core, folder):
        self.name, self.core = name, core
        source = folder / "kernel.c"
        portable = "#define PORTABLE\n" if name == "c" else ""
        source.write_text(portable + CODE.format(name, KERNELS[name][0]))
        if core == "host":
            self.host = OnHost(source, folder, ()).code
        else:
            flags = (f"-I{LIB / 'src'}",)
            self.chip = Emulator(build(core, [source], flags), core)
            self.room = self.chip.place(1 << 16)

    def place(self, *parts):
        """Addresses of arrays in the core's memory, one behind the other."""
        at, places = self.room, []
        for part in parts:
            places.append(at)
            self.chip.write(at, part.tobytes())
            at += -(-part.nbytes // 8) * 8
        return places

    def sums(self, bits, words, z, start):
        """Start and the sums of a group; words as bytes."""
        w, wide = np.frombuffer(words, "<u4"), widened(self.name, bits, z)
        if self.core == "host":
            total = start.copy()
            data = ctypes.c_void_p(wide.ctypes.data + 4)
            pointers = (ctypes.c_void_p(w.ctypes.data), data)
            n, to = ctypes.c_uint32(len(z)), ctypes.c_void_p(total.ctypes.data)
            self.host[f"words{bits}"](*pointers, n, to)
            return total
        w_at, z_at, sum_at = self.place(w, wide, start)
        self.chip.call(f"words{bits}", w_at, z_at + 4, len(z), sum_at)
        return np.frombuffer(self.chip.read(sum_at, start.nbytes), "<i8")

    def map(self, bits, words, b, exps, z, guard):
        """How many rows of a map are done, and a with what lies behind it."""
        w, wide = np.frombuffer(words, "<u4"), widened(self.name, bits, z)
        rows = len(guard) - 4
        if self.core == "host":
            a = guard.copy()
            places = [p.ctypes.data if len(p) else None for p in (w, b, exps)]
            fields = Map(*places, wide.ctypes.data + 4, rows, len(z), 11)
            done = self.host[f"map{bits}"](
                ctypes.byref(fields), ctypes.c_void_p(a.ctypes.data)
            )
            return done, a
        m_at, w_at, b_at, exps_at, z_at, a_at = self.place(
            np.zeros(7, "<u4"), w, b, exps, wide, guard
        )
        fields = (w_at, len(b) and b_at, exps_at, z_at + 4, rows, len(z), 11)
        self.chip.write(m_at, np.array(fields, "<u4").tobytes())
        done = self.chip.call(f"map{bits}", m_at, a_at).result
        return done, np.frombuffer(self.chip.read(a_at, guard.nbytes), "<i2")


@pytest.fixture(
    scope="module",
    params=[(name, core) for name, (_, cores) in KERNELS.items() for core in cores],
    ids="-".join,
)
def kernel(request, tmp_path_factory):
    name, core = request.param
    if core != "host" and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs gcc-arm-none-eabi")
    return Kernel(name, core, tmp_path_factory.mktemp("words"))


def sums_agree(kernel, bits, w, z):
    """The kernel's sums of rows w (group, n) with z (n) are those of int64."""
    start = np.array([-(1 << 40) - 3, (1 << 33) + 5, -1, 1 << 50], "<i8")[: len(w)]
    found = kernel.sums(bits, Packing(bits, "words").write(w), z, start)
    assert np.array_equal(found, start + w @ z), (bits, w.shape)


def random_weights(rng, bits, shape):
    return rng.integers(-BOUNDS[bits], BOUNDS[bits] + 1, shape)


@pytest.mark.parametrize("bits", [16, 8])
def test_sums_of_random_groups_of_any_length(kernel, bits):
    rng = np.random.default_rng(bits)
    for n in LENGTHS:
        w = random_weights(rng, bits, (32 // bits, n))
        sums_agree(kernel, bits, w, rng.integers(-32768, 32768, n))


@pytest.mark.parametrize("bits", [16, 8])
def test_sums_of_extreme_groups_of_any_length(kernel, bits):
    top, group = BOUNDS[bits], 32 // bits
    for n in LENGTHS:
        signs = np.where(np.arange(n) % 3 == 0, -1, 1)
        for row in (np.full(n, top), np.full(n, -top), top * signs):
            w = row * np.where(np.arange(group) % 2, -1, 1)[:, None]
            for z in (np.full(n, -32768), np.full(n, 32767), -32768 * (signs < 0)):
                sums_agree(kernel, bits, w, z)
                sums_agree(kernel, bits, -w, z)


def maps_agree(kernel, bits, w, b, shifts, z):
    """The rows that a kernel does of a map are int64's.  Returns how many it does."""
    rows, columns = w.shape
    stride = -(-columns // 4) * 4
    exps = (np.array(shifts) + 11).astype(np.uint8)
    more = np.concatenate([z, np.full(stride - columns, 32767)])  # times weights of 0
    guard = np.arange(1000, 1000 + rows + 4).astype("<i2")
    words = Packing(bits, "words").write(w)
    done, a = kernel.map(bits, words, b.astype("<i4"), exps, more, guard)
    assert 0 <= done <= rows
    assert done % (32 // bits) == 0
    sums = w @ z + (b if len(b) else 0)
    expected = rounded(sums, np.broadcast_to(shifts, rows))
    assert np.array_equal(a[:done], expected[:done]), (bits, w.shape, shifts)
    assert np.array_equal(a[done:], guard[done:]), (bits, w.shape, shifts)
    return done


def all_shifts(bits, rows, shift):
    return [shift] * (1 if bits == 16 else rows)


@pytest.mark.parametrize("bits", [16, 8])
def test_maps_of_any_number_of_columns(kernel, bits):
    rng = np.random.default_rng(bits)
    for columns in [*LENGTHS, 5, 6, 7, 33, 511]:
        w = random_weights(rng, bits, (4, columns))
        b = rng.integers(-(1 << 31), 1 << 31, 4)
        z = rng.integers(-32768, 32768, columns)
        for shift in (9, 14, 17):
            done = maps_agree(kernel, bits, w, b, all_shifts(bits, 4, shift), z)
            assert done == (0 if kernel.name == "c" else 4)


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("biases", [True, False])
def test_maps_of_any_number_of_rows_and_any_shift(kernel, bits, biases):
    rng = np.random.default_rng(bits)
    for rows in (1, 2, 3, 4, 5, 6, 7, 8, 31, 64):
        for columns in (3, 8, 20, 36):
            w = random_weights(rng, bits, (rows, columns))
            b = rng.integers(-(1 << 31), 1 << 31, rows if biases else 0)
            shifts = rng.integers(1, 32, 1 if bits == 16 else rows)
            z = rng.integers(-32768, 32768, columns)
            maps_agree(kernel, bits, w, b, shifts, z)


@pytest.mark.parametrize("bits", [16, 8])
def test_maps_at_their_bounds(kernel, bits):
    top = BOUNDS[bits]
    for columns in (1, 4, 12, 33, 252, 512):
        ones = np.ones((4, columns), int)
        w = ones * [[top], [-top], [top], [-top]]
        b = np.array([2**31 - 1, -(2**31), -(2**31), 2**31 - 1])
        for z in (-32768 * ones[0], 32767 * ones[0]):
            for shift in range(1, 32):
                maps_agree(kernel, bits, w, b, all_shifts(bits, 4, shift), z)


@pytest.mark.parametrize("bits", [16, 8])
def test_maps_round_half_up(kernel, bits):
    for shift in (2, 5, 31):
        half = 1 << shift - 1
        b = np.array([half, half - 1, -half, -half - 1])
        w, z = np.zeros((4, 4), int), np.zeros(4, int)
        maps_agree(kernel, bits, w, b, all_shifts(bits, 4, shift), z)
