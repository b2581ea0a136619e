"""What a layer does to whole vectors, by each kernel on its own core."""

import ctypes
import importlib
import math
import platform
import shutil
import subprocess

import numpy as np
import pytest

from pyvgrad.emulated import LIB, Emulator, build

KERNELS = {"c": ("host", "m0", "m3", "m4", "m33"), "avx2": ("host",), "mve": ("m55",)}
FLAGS = {"avx2": ("-mavx2", "-mbmi2")}
CODE = """\
#include "point_{1}.h"
void sigmoids(const int16_t *a, uint32_t n, int16_t *y);
void tanhs(const int16_t *a, uint32_t n, int16_t *y);
uint32_t carry(const int16_t *f, const int16_t *i, const int16_t *g, uint32_t n,
               int32_t *c);
void squash(const int16_t *o, const int32_t *c, uint32_t n, int16_t *h);
uint32_t lstm(int16_t *i, uint32_t n, int32_t *c, int16_t *h);
uint32_t gru(const int16_t *z, const int16_t *s, uint32_t n, int32_t *c, int16_t *h);

void sigmoids(const int16_t *a, uint32_t n, int16_t *y)
{{
    point_{0}_sigmoids(a, n, y);
}}

void tanhs(const int16_t *a, uint32_t n, int16_t *y)
{{
    point_{0}_tanhs(a, n, y);
}}

uint32_t carry(const int16_t *f, const int16_t *i, const int16_t *g, uint32_t n,
               int32_t *c)
{{
    return point_{0}_carry(f, i, g, n, c);
}}

void squash(const int16_t *o, const int32_t *c, uint32_t n, int16_t *h)
{{
    point_{0}_squash(o, c, n, h);
}}

#include "point.h"

uint32_t lstm(int16_t *i, uint32_t n, int32_t *c, int16_t *h)
{{
    return point_lstm(i, n, c, h);
}}

uint32_t gru(const int16_t *z, const int16_t *s, uint32_t n, int32_t *c, int16_t *h)
{{
    return point_gru(z, s, n, c, h);
}}
"""
ONE, TOP = 1 << 14, 1 << 30
LENGTHS = (1, 3, 4, 7, 8, 9, 16, 31, 64)


class OnCore:
    """The functions on an emulated core."""

    def __init__(self, source, core):
        files = [source, LIB / "src" / "lut.c"]
        self.chip = Emulator(build(core, files, [f"-I{LIB / 'src'}"]), core)
        self.places = [self.chip.place(1 << 18) for _ in range(4)]

    def __call__(self, name, *given):
        """Call with arrays, None and numbers: the result, and the arrays after."""
        free, arguments, arrays = iter(self.places), [], []
        for value in given:
            if isinstance(value, np.ndarray):
                place = next(free)
                self.chip.write(place, value.tobytes())
                arrays.append((place, value))
                arguments.append(place)
            else:
                arguments.append(value or 0)
        result = self.chip.call(name, *arguments).result
        read = [
            np.frombuffer(self.chip.read(place, old.nbytes), old.dtype)
            for place, old in arrays
        ]
        return result, read


class OnHost:
    """The functions on this machine."""

    def __init__(self, source, folder, flags):
        path = folder / "kernel.so"
        words = ["-std=c99", "-O2", "-shared", "-fPIC", f"-I{LIB / 'src'}", *flags]
        files = [source, LIB / "src" / "lut.c"]
        subprocess.run(["gcc", *words, *files, "-o", path], check=True)
        self.code = ctypes.CDLL(str(path))

    def __call__(self, name, *given):
        """As OnCore's."""
        arrays = [value.copy() for value in given if isinstance(value, np.ndarray)]
        own, arguments = iter(arrays), []
        for value in given:
            if isinstance(value, np.ndarray):
                arguments.append(ctypes.c_void_p(next(own).ctypes.data))
            else:
                arguments.append(ctypes.c_void_p(value) if value is None else value)
        return self.code[name](*arguments), arrays


@pytest.fixture(
    scope="module",
    params=[(kernel, core) for kernel, cores in KERNELS.items() for core in cores],
    ids="-".join,
)
def kernel(request, tmp_path_factory):
    name, core = request.param
    folder = tmp_path_factory.mktemp("point")
    source = folder / "kernel.c"
    source.write_text(CODE.format(name, "parts" if name == "c" else name))
    if core != "host":
        if shutil.which("arm-none-eabi-gcc") is None:
            pytest.skip("needs gcc-arm-none-eabi")
        return OnCore(source, core)
    has_avx2 = importlib.import_module("pyvgrad._vgrad").lib.vg_has_avx2
    if name == "avx2" and not (platform.machine() == "x86_64" and has_avx2()):
        pytest.skip("this processor has no AVX2")
    return OnHost(source, folder, FLAGS.get(name, ()))


def rs(x, n):
    return (x + (1 << n - 1)) >> n


@pytest.mark.parametrize("name", ["sigmoids", "tanhs"])
def test_every_argument_is_rounded_correctly(kernel, name):
    a = np.arange(-32768, 32768).astype(np.int16)
    _, (_, y) = kernel(name, a, len(a), np.zeros_like(a))
    z = a.astype(float)
    exact = np.tanh(z / 4096) if name == "tanhs" else 1 / (1 + np.exp(-z / 2048))
    assert np.array_equal(y, np.floor(ONE * exact + 0.5).astype(int))


@pytest.mark.parametrize("name", ["sigmoids", "tanhs"])
def test_lengths_and_what_lies_behind_and_in_place(kernel, name):
    rng = np.random.default_rng(1)
    for n in LENGTHS:
        a = rng.integers(-32768, 32768, n + 3).astype(np.int16)
        _, (_, y) = kernel(name, a, n, a)
        for z, got in zip(a[:n], y[:n], strict=True):
            half = z / 4096
            exact = math.tanh(half) if name == "tanhs" else (1 + math.tanh(half)) / 2
            assert got == math.floor(ONE * exact + 0.5)
        assert np.array_equal(y[n:], a[n:])


def values(rng, n, low, high, dtype):
    """Random numbers in [low, high] with the bounds, 0 and 1 often among them."""
    bounds = rng.choice(np.array([low, high, 0, 1]), n)
    picked = np.where(rng.random(n) < 0.4, bounds, rng.integers(low, high + 1, n))
    return picked.astype(dtype)


def carried(f, i, g, c):
    """c' of c, and how many were clamped."""
    sums = [
        rs(int(f[u]) * int(c[u]) + 64 * int(i[u]) * int(g[u]), 14)
        for u in range(len(f))
    ]
    found = [min(max(x, -TOP), TOP) for x in sums]
    return found, sum(x != y for x, y in zip(sums, found, strict=True))


def squashed(o, c):
    t = [min(max(rs(int(x), 8), -32768), 32767) for x in c]
    t = [math.floor(ONE * math.tanh(x / 4096) + 0.5) for x in t]
    return [rs(int(a) * b, 14) for a, b in zip(o, t, strict=True)]


def states(rng, n):
    small = values(rng, n, -(1 << 22), 1 << 22, np.int32)
    return np.where(rng.random(n) < 0.5, values(rng, n, -TOP, TOP, np.int32), small)


@pytest.mark.parametrize("both", [True, False])
def test_carried_states(kernel, both):
    rng = np.random.default_rng(both)
    clamps = 0
    for n in LENGTHS * 8:
        f, i = (values(rng, n, 0, ONE, np.int16) for _ in range(2))
        g = values(rng, n, -ONE, ONE, np.int16)
        c = states(rng, n + 2)
        count, arrays = kernel("carry", f, i if both else None, g, n, c)
        expected, took = carried(f, i if both else ONE - f, g, c)
        assert arrays[-1].tolist() == [*expected, *c[n:]], n
        assert count == took
        clamps += took
    assert clamps > 0 or not both  # between c and g nothing is out of bounds


def test_squashed_states(kernel):
    rng = np.random.default_rng(2)
    for n in LENGTHS * 4:
        o, c = values(rng, n, 0, ONE, np.int16), states(rng, n)
        _, arrays = kernel("squash", o, c, n, np.full(n + 2, 7, np.int16))
        assert arrays[-1].tolist() == [*squashed(o, c), 7, 7]


def test_an_lstm_after_its_maps(kernel):
    rng = np.random.default_rng(3)
    for n in LENGTHS:
        a = rng.integers(-32768, 32768, (4, n)).astype(np.int16)
        c = states(rng, n)
        count, (gates, state, h) = kernel("lstm", a, n, c, np.full(n + 1, 7, np.int16))
        z = a.astype(float)
        exact = np.concatenate([1 / (1 + np.exp(-z[:3] / 2048)), np.tanh(z[3:] / 4096)])
        i, f, o, g = np.floor(ONE * exact + 0.5).astype(int)
        expected, took = carried(f, i, g, c)
        assert np.array_equal(gates.reshape(4, n), [i, f, o, g])
        assert (state.tolist(), count) == (expected, took)
        assert h.tolist() == [*squashed(o, expected), 7]


def test_an_lstm_s_states_at_their_bounds(kernel):
    """f = 1 and o = 1: c' = c + i g.  2^30 is a state; what is beyond is clamped."""
    c = np.array([TOP, TOP, TOP - 1, TOP, -TOP, -TOP, -TOP + 1, 0], np.int32)
    g = np.array([0, 1, 1, 32767, 0, -1, -1, 0], np.int16)
    one, n = np.full(len(c), 32767, np.int16), len(c)
    a = np.stack([one, one, one, g])
    count, (gates, state, h) = kernel("lstm", a, n, c, np.zeros(n, np.int16))
    expected, took = carried(*gates.reshape(4, n)[[0, 1, 3]], c)
    assert expected[:2] == [TOP, TOP]
    assert took == 5
    assert (state.tolist(), count) == (expected, took)
    assert h.tolist() == squashed([ONE] * n, expected)


def test_a_gru_after_its_maps(kernel):
    rng = np.random.default_rng(4)
    for n in LENGTHS * 2:
        z = values(rng, n, 0, ONE, np.int16)
        s, c = values(rng, n, -ONE, ONE, np.int16), states(rng, n)
        count, (*_, state, h) = kernel("gru", z, s, n, c, np.full(n + 1, 7, np.int16))
        expected, took = carried(z, ONE - z.astype(int), s, c)
        wide = [rs(x, 6) for x in expected]
        narrow = [min(max(x, -32768), 32767) for x in wide]
        took += sum(x != y for x, y in zip(wide, narrow, strict=True))
        assert state.tolist() == expected
        assert h.tolist() == [*narrow, 7]
        assert count == took
