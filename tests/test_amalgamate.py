"""The C core as one pair of files: it compiles alone and gives the same bits."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from trainings import Training, blob_of, random_learn, random_lesson, tame_model, teach

from pyvgrad.blob import pack
from pyvgrad.cells import CELLS
from pyvgrad.native import HostExecutor

ROOT = Path(__file__).parents[1]
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
CAREFUL = ["-Wconversion", "-Wshadow", "-Wdouble-promotion"]


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


amalgamate = load(ROOT / "tools/amalgamate.py", "amalgamate")
build_native = load(ROOT / "tools/build_native.py", "build_native")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with nothing but vgrad.h and vgrad.c."""
    folder = tmp_path_factory.mktemp("pair")
    script = [sys.executable, ROOT / "tools" / "amalgamate.py", "-o", folder]
    subprocess.run(script, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def one_file(pair, tmp_path_factory):
    """The pair as the Python binding's core."""
    folder = tmp_path_factory.mktemp("one_file")
    for sub, name in (("include", "vgrad.h"), ("src", "vgrad.c")):
        (folder / sub).mkdir()
        (folder / sub / name).write_text((pair / name).read_text())
    return load(
        build_native.build(folder / "out", name="one_file", lib_dir=folder), "one_file"
    )


def names_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_pair_is_all_there_is_and_includes_standard_headers_alone(pair):
    assert names_of(pair) == ["vgrad.c", "vgrad.h"]
    source = (pair / "vgrad.c").read_text()
    included = re.findall(r"^\s*#\s*include\s+(\S+)", source, re.MULTILINE)
    assert included.count('"vgrad.h"') == 1
    after = included.index('"vgrad.h"')
    standard = {"<stddef.h>", "<stdint.h>", "<string.h>", "<limits.h>"}
    assert set(included[:after]) <= standard
    vectors = {"<arm_mve.h>", "<arm_neon.h>", "<emmintrin.h>", "<immintrin.h>"}
    assert set(included[after + 1 :]) == vectors  # each where its macro is defined
    assert "MIT License" in source


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc -mthumb"])
@pytest.mark.parametrize("define", ["-UVG_SMALL_TABLES", "-DVG_SMALL_TABLES"])
def test_the_pair_compiles_without_a_warning(pair, tmp_path, compiler, define):
    command = [*compiler.split(), *STRICT, *CAREFUL, define, "-O2"]
    done = subprocess.run(
        [*command, "-c", pair / "vgrad.c", "-o", tmp_path / "vgrad.o"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_header_is_cxx_too_and_links_with_the_c_file(pair, tmp_path):
    (tmp_path / "main.cpp").write_text(
        '#include "vgrad.h"\nint main() { return vg_err_text(VG_E_CRC)[0] ? 0 : 1; }\n'
    )
    flags = ["-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{pair}"]
    for command in (
        ["gcc", "-std=c99", "-c", pair / "vgrad.c", "-o", "vgrad.o"],
        ["g++", "-std=c++11", *flags, "main.cpp", "vgrad.o", "-o", "main"],
        ["./main"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)


@pytest.mark.parametrize("cell", CELLS)
def test_the_pair_runs_to_the_library_s_bits(one_file, cell):
    rng = np.random.default_rng(7)
    blob = pack(random_qmodel(rng, cell=cell, n_in=3, layout="any"))
    x = random_signals(rng, (20, 3))
    with HostExecutor(blob) as library, HostExecutor(blob, one_file) as single:
        for got, want in zip(
            single.run(x, states=True), library.run(x, states=True), strict=True
        ):
            assert np.array_equal(got, want)


@pytest.mark.parametrize(
    ("cell", "method"), [*((cell, "tbptt") for cell in CELLS), ("lstm", "rtrl97")]
)
def test_the_pair_learns_to_the_library_s_bits(one_file, cell, method):
    rng = np.random.default_rng(3)
    model = tame_model(1, cell, output="softmax")
    blob, learn = blob_of(model), random_learn(rng, model, method)
    lessons = [random_lesson(rng, model, learn, 12) for _ in range(3)]
    sealed = []
    for module in (None, one_file):
        training = Training(blob, learn, module=module)
        done = []
        for lesson in lessons:
            done += teach(training, lesson)
            training.end()
        sealed.append((done, training.counters(), training.checkpoint()))
    assert sealed[0] == sealed[1]
    assert sealed[0][1][2] > 0  # updates


# ---- names that meet ------------------------------------------------------------

FIRST = """\
#include "own.h"
/* count is not renamed here, nor in "count" */
#define LIMIT 3
enum { LOW, HIGH = LIMIT };
typedef struct { int count, (*table)(void); char LOW[HIGH], *pair; } state;
struct pair { int a : 3; };
static int count(state *s) { return s->count + HIGH + "count"[0]; }
int vg_first(void) { state s = {.count = LOW, .pair = 0}; struct pair p = {1};
    return count(&s) + p.a + helper(); }
"""
SECOND = """\
#include "own.h"
#if defined(VG_TEST)
#include "hidden.h"
#endif
#define LIMIT 5
enum { LOW = 7, HIGH };
typedef int state;
struct pair { long b; struct { state table; } in; };
static const int table[2] = {LOW, LIMIT};
static int count(state s) { struct pair p = {s, {s}}; return (int)p.b + table[1]; }
int vg_second(void) { int helped = helper(); return count(HIGH) + helped; }
"""
THIRD = """\
#include "own.h"
static int (*chosen)(void) = vg_first;
int vg_third(void) { int count = 2, table = 3, LOWER = 4;
    return count + table + LOWER + chosen(); }
"""
OWN = "#ifndef OWN_H\n#define OWN_H\n#include <stdint.h>\n%s#endif\n"
HELPER = '#include "vgrad.h"\nstatic inline int helper(void) { return 40; }\n'
MAIN = """\
#include <stdio.h>
#include "vgrad.h"
int main(void) { printf("%d %d %d", vg_first(), vg_second(), vg_third()); return 0; }
"""


@pytest.fixture
def meeting(tmp_path):
    """A library in which three files use the same names for things of their own."""
    lib = tmp_path / "lib"
    for sub in ("include", "src"):
        (lib / sub).mkdir(parents=True)
    (lib / "LICENSE").write_text("Free.\n")
    (lib / "include" / "vgrad.h").write_text(
        "#ifndef V_H\n#define V_H\n"
        "int vg_first(void);\nint vg_second(void);\nint vg_third(void);\n#endif\n"
    )
    (lib / "src" / "own.h").write_text(OWN % HELPER)
    (lib / "src" / "hidden.h").write_text("#error hidden\n")
    for name, text in (("first", FIRST), ("second", SECOND), ("third", THIRD)):
        (lib / "src" / f"{name}.c").write_text(text)
    return lib


def printed(folder, *sources):
    flags = [*STRICT, *CAREFUL, f"-I{folder / 'include'}", f"-I{folder}"]
    subprocess.run(["gcc", *flags, *sources, "-o", folder / "main"], check=True)
    return subprocess.check_output([folder / "main"], text=True)


def test_names_of_several_files_are_told_apart(meeting, tmp_path):
    (meeting / "main.c").write_text(MAIN)
    apart = printed(meeting, meeting / "main.c", *sorted(meeting.glob("src/*.c")))
    pair = amalgamate.amalgamate(meeting)
    one = tmp_path / "one"
    one.mkdir()
    (one / "vgrad.h").write_text(pair.header)
    (one / "vgrad.c").write_text(pair.source)
    (one / "main.c").write_text(MAIN)
    assert printed(one, one / "main.c", one / "vgrad.c") == apart
    assert '/* count is not renamed here, nor in "count" */' in pair.source
    for new in ("first_count", "second_count", "second_table", "first_LIMIT"):
        assert new in pair.source
    assert pair.source.count("#define OWN_H") == 1
    assert "LOWER" in pair.source
    assert "third_" not in pair.source


def test_a_header_that_a_condition_hides_stays_behind_it(meeting):
    source = amalgamate.amalgamate(meeting).source
    assert re.search(r"#if defined\(VG_TEST\)\s+#error hidden\s+#endif", source)


def test_a_library_without_sources_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match="no C file"):
        amalgamate.amalgamate(tmp_path)
