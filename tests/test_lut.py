"""The compiled tables of the C core against mathematics, argument by argument.

The oracle is written from the specification alone: correctly rounded functions,
evaluated by mpmath with 40 digits.  Nothing is imported from the generator.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

Ints = npt.NDArray[np.int64]

ROOT = Path(__file__).parents[1]
SRC = ROOT / "firmware" / "lib" / "vgrad" / "src"
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow"]
STRICT += ["-Werror", "-O2"]
SANITIZE = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
ALL_INT16 = np.arange(-32768, 32768)
EXPONENTS = 15

# Writes int32: the sizes of three tables, 2^16 sigmoids, 2^16 tanhs, and 2^16
# exponentials for each of the 15 exponents.
DUMP = r"""
#include <stdio.h>
#include "lut.h"

static void put(int32_t y) { fwrite(&y, sizeof y, 1, stdout); }

int main(void)
{
    int32_t z;
    int e;

    put((int32_t)sizeof vg_lut_sigmoid);
    put((int32_t)sizeof vg_lut_tanh);
    put((int32_t)sizeof vg_lut_exp);
    for (z = -32768; z <= 32767; z++)
        put(lut_sigmoid(z));
    for (z = -32768; z <= 32767; z++)
        put(lut_tanh(z));
    for (e = 0; e <= 14; e++)
        for (z = 0; z <= 65535; z++)
            put((int32_t)lut_exp((uint32_t)z, e));
    return 0;
}
"""


class Core:
    """What one build of lut.c answers to every argument."""

    def __init__(self, build: Path, flags: list[str]) -> None:
        main = build / "dump.c"
        main.write_text(DUMP)
        files = ["-I", str(SRC), str(SRC / "lut.c"), str(main), "-o"]
        program = str(build / "dump")
        subprocess.run(["gcc", *STRICT, *flags, *files, program], check=True)
        raw = subprocess.run([program], check=True, capture_output=True).stdout
        values = np.frombuffer(raw, np.int32).astype(np.int64)
        self.bytes = values[:3].tolist()
        self.sigmoid, self.tanh = values[3 : 3 + (2 << 16)].reshape(2, 1 << 16)
        self.exp = values[3 + (2 << 16) :].reshape(EXPONENTS, 1 << 16)


BUILDS = {
    "full": [],
    "small": ["-DVG_SMALL_TABLES"],
    "full sanitized": SANITIZE,
    "small sanitized": ["-DVG_SMALL_TABLES", *SANITIZE],
}


@pytest.fixture(scope="module", params=BUILDS.values(), ids=BUILDS.keys())
def core(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Core:
    return Core(tmp_path_factory.mktemp("lut"), request.param)


def rounded(values: list[mpmath.mpf]) -> Ints:
    """Round half up, after a proof that no value is near enough to a tie to err."""
    halves = [v + mpmath.mpf(1) / 2 for v in values]
    floors = [int(mpmath.floor(h)) for h in halves]
    distance = min(min(h - n, n + 1 - h) for h, n in zip(halves, floors, strict=True))
    assert distance > 1e-8  # in units of the last place; the error is below 1e-30
    return np.array(floors, np.int64)


@pytest.fixture(scope="module")
def true_sigmoid() -> Ints:
    with mpmath.workdps(40):
        return rounded(
            [16384 / (1 + mpmath.exp(-mpmath.mpf(int(z)) / 2048)) for z in ALL_INT16]
        )


@pytest.fixture(scope="module")
def true_tanh() -> Ints:
    with mpmath.workdps(40):
        return rounded(
            [16384 * mpmath.tanh(mpmath.mpf(int(z)) / 4096) for z in ALL_INT16]
        )


@pytest.fixture(scope="module")
def true_exp() -> Ints:
    """2^16 exp(-u / 2^14) up to 1/2, which is at u / 2^14 = 17 ln 2, and then 0."""
    with mpmath.workdps(40):
        end = int(mpmath.ceil(17 * mpmath.log(2) * (1 << 14)))
        values = [65536 * mpmath.exp(mpmath.mpf(-u) / (1 << 14)) for u in range(end)]
        return np.append(rounded(values), 0)


def test_every_sigmoid_is_correctly_rounded(core: Core, true_sigmoid: Ints) -> None:
    assert np.flatnonzero(core.sigmoid != true_sigmoid).size == 0


def test_every_tanh_is_correctly_rounded(core: Core, true_tanh: Ints) -> None:
    assert np.flatnonzero(core.tanh != true_tanh).size == 0


@pytest.mark.parametrize("e", range(EXPONENTS))
def test_every_exp_is_correctly_rounded(core: Core, true_exp: Ints, e: int) -> None:
    u = np.arange(1 << 16) << (14 - e)
    want = true_exp[np.minimum(u, len(true_exp) - 1)]
    assert np.flatnonzero(core.exp[e] != want).size == 0


def test_sigmoid_of_minus_z_is_one_minus_sigmoid(core: Core) -> None:
    assert (core.sigmoid[1:] + core.sigmoid[:0:-1] == 16384).all()


def test_tanh_is_odd(core: Core) -> None:
    assert (core.tanh[1:] == -core.tanh[:0:-1]).all()


def test_all_functions_are_monotone(core: Core) -> None:
    assert (np.diff(core.sigmoid) >= 0).all()
    assert (np.diff(core.tanh) >= 0).all()
    assert (np.diff(core.exp, axis=1) <= 0).all()


def test_the_ends_reach_zero_and_one_exactly(core: Core) -> None:
    assert core.sigmoid[[0, 32768, -1]].tolist() == [0, 8192, 16384]
    assert core.tanh[[0, 32768, -1]].tolist() == [-16384, 0, 16384]
    assert (core.exp[:, 0] == 65536).all()


def test_sigmoid_is_exactly_one_from_10_4_on(core: Core) -> None:
    first = int(ALL_INT16[core.sigmoid == 16384][0])
    assert 10.35 < first / 2048 < 10.45


def test_the_tables_have_the_promised_sizes(
    core: Core, request: pytest.FixtureRequest
) -> None:
    small = "small" in request.node.callspec.id
    assert core.bytes == ([528, 1092, 768] if small else [1548, 3084, 768])


def test_the_generator_verifies_the_tables_and_finds_the_same_again() -> None:
    command = [sys.executable, str(ROOT / "tools" / "gen_lut.py"), "--check"]
    subprocess.run(command, check=True, cwd=ROOT)
