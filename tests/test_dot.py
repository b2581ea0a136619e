"""The kernels of the products, each on its own core, against NumPy's int64."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from pyvgrad.emulated import LIB, Emulator, build

# On which cores a kernel runs: two rows at once, of 16 and of 8 bits.
KERNELS = {
    "c": ("host", "m0", "m3", "m4"),
    "mul": ("m3", "m4", "m33"),
    "dsp": ("m4", "m7", "m33"),
}
CODE = """\
#include "dot_{0}.h"
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
"""
LENGTHS = [*range(0, 37), 63, 64, 92, 511, 512, 1021, 1025]
BOUNDS = {16: 32767, 8: 127}  # of a weight, by its bits
DTYPES = {16: np.int16, 8: np.int8}


class OnCore:
    """A kernel on an emulated core."""

    def __init__(self, source, core, flags):
        self.chip = Emulator(build(core, [source], flags), core)
        self.place = self.chip.place(1 << 14)

    def __call__(self, bits, w, z, start, shift):
        rows = [-(-row.nbytes // 4) * 4 for row in w]
        at = self.place + 32
        places = [at, at + rows[0] if len(w) == 2 else at]
        for place, row in zip(places, w, strict=False):
            self.chip.write(place + shift[0], row.tobytes())
        z_at = at + sum(rows) + 16 + shift[1]
        self.chip.write(z_at, z.tobytes())
        pointers = np.array([place + shift[0] for place in places], "<u4")
        self.chip.write(self.place, pointers.tobytes())
        self.chip.write(self.place + 16, start.tobytes())
        self.chip.call(f"w{bits}", self.place, z_at, len(z), self.place + 16)
        return np.frombuffer(self.chip.read(self.place + 16, 16), "<i8")


class OnHost:
    """A kernel on this machine."""

    def __init__(self, source, folder):
        path = folder / "kernel.so"
        words = ["-std=c99", "-O2", "-shared", "-fPIC", f"-I{LIB / 'src'}"]
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


@pytest.fixture(
    scope="module",
    params=[(kernel, core) for kernel, cores in KERNELS.items() for core in cores],
    ids="-".join,
)
def kernel(request, tmp_path_factory):
    name, core = request.param
    folder = tmp_path_factory.mktemp("dot")
    source = folder / "kernel.c"
    source.write_text(CODE.format(name))
    if core == "host":
        return OnHost(source, folder)
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs gcc-arm-none-eabi")
    flags = (f"-I{LIB / 'src'}",)
    return OnCore(source, core, flags)


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
