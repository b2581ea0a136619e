"""Promises of vgrad.h and of the sources behind it, proved on what is compiled."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel, random_signals
from tool_modules import load

from pyvgrad import state
from pyvgrad.blob import crc, pack
from pyvgrad.blob_format import encode_fields
from pyvgrad.cells import CELLS, Layer
from pyvgrad.intmodel import IntModel

linked = load("linked")
SOURCES, INCLUDE, API = linked.SOURCES, linked.INCLUDE, linked.API
CORES, ARM = linked.CORES, linked.ARM
HEADERS = sorted(linked.LIB.glob("*/*.h"))

needs_arm = pytest.mark.skipif(
    not shutil.which(ARM + "gcc"), reason="arm-none-eabi-gcc is not installed"
)


def output(*command, **kwargs):
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, check=False, **kwargs
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def text(*command):
    return output(*command).decode()


# ---- the cell table --------------------------------------------------------

TABLE = r"""
#include <stdio.h>
#include "core.h"

int main(void)
{
    for (int k = 0; k < VG_N_CELLS; k++) {
        const vg_cell *c = vg_cells[k];
        printf("{\"gates\": \"%s\", \"reads\": \"%s\", "
               "\"functions\": \"%s\", "
               "\"shared\": \"%s\", \"optional\": \"%s\", \"cells\": \"%s\", "
               "\"carry\": \"%.1s\", \"fields\": %d, \"free_fields\": %d}\n",
               c->gates, c->reads, c->functions, c->shared, c->optional,
               c->cells, &c->carry, c->fields, c->free_fields);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    place = tmp_path_factory.mktemp("table")
    (place / "table.c").write_text(TABLE)
    program = place / "table"
    output("gcc", *INCLUDE, place / "table.c", *SOURCES, "-o", program)
    return [json.loads(line) for line in text(program).splitlines()]


def test_both_cell_tables_have_the_same_rows():
    listed = (linked.LIB / "src" / "cells.c").read_text("utf-8")
    rows = re.findall(r"^    HAS\((\w+), (\w+)\),$", listed, re.M)
    assert rows == [(name.upper(), name) for name in CELLS]


@pytest.mark.parametrize("name", list(CELLS))
def test_row_of_the_cell_table_is_the_same_in_c_and_python(table, name):
    cell = CELLS[name]
    same = ("gates", "reads", "functions", "shared", "optional", "cells")
    same += ("carry",)
    assert table[cell.code] == {
        **{key: getattr(cell, key) for key in same},
        "fields": encode_fields(Layer(name, 1, 1)),
        "free_fields": int(cell.free_fields),
    }


# ---- the arithmetic --------------------------------------------------------

FX = r"""
#include <inttypes.h>
#include <stdio.h>
#include "fx.h"

int main(void)
{
    int64_t x;
    int n;

    while (scanf("%" SCNd64 " %d", &x, &n) == 2) {
        fx_clamps k16 = {0, 0}, k30 = {0, 0};
        int32_t a = fx_sat16(x, &k16), c = fx_sat30(x, &k30);
        printf("%" PRId64 " %" PRId64 " %d %d %u %u %u %u\n", fx_floor(x, n),
               fx_rs(x, n), a, c, k16.low, k16.high, k30.low, k30.high);
    }
    return 0;
}
"""


def fx_of_numbers_md(x, n):
    """In Python's unbounded integers."""

    def sat(low, high):
        return min(max(x, low), high), int(x < low), int(x > high)

    a, low16, high16 = sat(-(2**15), 2**15 - 1)
    c, low30, high30 = sat(-(2**30), 2**30)
    half = 2 ** (n - 1)
    return [x // 2**n, (x + half) // 2**n, a, c, low16, high16, low30, high30]


def test_rounding_and_clamping_are_exact_around_every_power_of_two(tmp_path):
    (tmp_path / "fx.c").write_text(FX)
    program = tmp_path / "fx"
    sanitize = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    output("gcc", *sanitize, *INCLUDE, tmp_path / "fx.c", "-o", program)
    powers = [sign * 2**e for e in range(62) for sign in (-1, 1)]
    values = sorted({p + d for p in powers for d in (-2, -1, 0, 1, 2)})
    cases = [(x, n) for x in values if abs(x) < 2**61 for n in (1, 2, 14, 31, 47, 62)]
    lines = "".join(f"{x} {n}\n" for x, n in cases).encode()
    found = output(program, input=lines).decode().splitlines()
    assert [list(map(int, line.split())) for line in found] == [
        fx_of_numbers_md(x, n) for x, n in cases
    ]


# ---- the sources -----------------------------------------------------------


@pytest.mark.parametrize("path", [*SOURCES, *HEADERS], ids=lambda p: p.name)
def test_source_includes_only_four_standard_headers_and_its_own(path):
    source = path.read_text()
    brackets = re.findall(r"^\s*#\s*include\s*<(.*)>", source, re.M)
    quotes = re.findall(r'^\s*#\s*include\s*"(.*)"', source, re.M)
    standard, own = set(brackets), set(quotes)
    vectors = {"arm_mve.h", "arm_neon.h", "emmintrin.h", "immintrin.h"}
    if path.name.startswith(("dot_", "point_", "sgd_", "fx_avx2")):
        assert len(standard & vectors) <= 1
        standard -= vectors
    assert standard <= {"stdint.h", "stddef.h", "limits.h", "string.h"}
    assert {Path(name).name for name in own} <= {p.name for p in HEADERS}
    assert source.count("#include") == len(brackets) + len(quotes)


@pytest.mark.parametrize("path", [*SOURCES, *HEADERS], ids=lambda p: p.name)
def test_source_names_no_floating_type(path):
    code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    assert not re.search(r"\b(float|double|long\s+double)\b", code)


@pytest.mark.skipif(not shutil.which("clang"), reason="clang is not installed")
def test_public_header_is_cxx_and_strict_c99_by_itself(tmp_path):
    (tmp_path / "only.c").write_text('#include "vgrad.h"\n')
    for language in (["-xc", "-std=c99"], ["-xc++", "-std=c++11"]):
        strict = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        output("clang", *language, *strict, INCLUDE[0], tmp_path / "only.c")


# ---- what compilers make of them -------------------------------------------


@pytest.fixture(scope="module", params=CORES)
def firmware(request, tmp_path_factory):
    """The whole library for one core, all of vgrad.h linked."""
    place = tmp_path_factory.mktemp(request.param)
    library = linked.compile_library(place, request.param, ["-Os"])
    return linked.Program(library, place / "all.elf")


@needs_arm
def test_library_needs_only_integer_helpers_and_moves_of_memory(firmware):
    outside = {name for kind, name in firmware.library.symbols("-u")}
    outside -= {name for _, name in firmware.library.symbols("--defined-only")}
    integer = r"__aeabi_(l(mul|asr|lsr|lsl|div|divmod|cmp)|ul(div|divmod|cmp)"
    integer += r"|u?i(div|divmod))"
    memory = r"(__aeabi_)?mem(cpy|set|cmp|move|clr)[48]?"
    gnu = r"__gnu_thumb1_case_(s|u)(qi|hi|i)|__clzdi2"
    odd = {n for n in outside if not re.fullmatch(f"{integer}|{memory}|{gnu}", n)}
    assert odd == set()


@needs_arm
def test_whole_linked_library_has_no_float_and_no_heap(firmware):
    names = firmware.names
    assert set(API) <= names
    forbidden = (
        r"__aeabi_[fd]|__aeabi_\w*2[fd]\b|__\w*[sdt]f[23si]|.*alloc|_?free|_?sbrk"
    )
    assert {n for n in names if re.match(forbidden, n)} == set()
    assert not re.search(r"\tv\w+\.f(16|32|64)", firmware.listing)


@needs_arm
@pytest.mark.parametrize("core", ["m0", "m3", "m4", "m55"])
def test_nothing_is_put_in_front_of_functions_in_assembly(core, tmp_path):
    headers = "".join(path.read_text() for path in HEADERS)
    naked = set(re.findall(r"VG_NAKED\s[^;{]*?\b(\w+)\(\s*VG_UNUSED", headers))
    flags = ["-O2", "-fstack-protector-all", "-finstrument-functions"]
    library = linked.compile_library(tmp_path, core, flags)
    code = linked.output(f"{linked.ARM}objdump", "-dr", *library.objects)
    bodies = dict(re.findall(r"<(\w+)>:\n(.*?)(?:\n\n|$)", code, re.S))
    spoilt = re.compile("__stack_chk|__cyg_profile")
    assert spoilt.search(bodies["vg_run_step"])
    found = naked & set(bodies)
    assert len(found) >= 3
    assert [name for name in found if spoilt.search(bodies[name])] == []


@needs_arm
def test_library_has_nothing_writable_and_static(firmware):
    sizes = firmware.library.sections()
    assert sizes[".text"] > 0
    assert {k: n for k, n in sizes.items() if n and k in (".data", ".bss")} == {}
    assert [s for s in firmware.library.symbols() if s[0] in "dDbBcC"] == []


@needs_arm
def test_global_names_have_the_librarys_prefixes(firmware):
    names = [
        n for kind, n in firmware.library.symbols("--extern-only", "--defined-only")
    ]
    assert names
    assert [n for n in names if not n.startswith("vg_")] == []


@needs_arm
def test_no_function_calls_itself_by_any_way(firmware):
    assert "each_map" in firmware.graph["vg_words_map"]
    assert "start" in firmware.graph["affine"]
    called = firmware.graph["pointer of vg_layer_step"]
    assert called >= {"lstm_unit", "gru_between"}
    for function in firmware.graph:
        assert firmware.depth(function) >= 0


# Bytes, frames of libgcc, libc and naked functions included; measured 368, 308, 296, ..
# 296, and 336 on M55, which keeps vectors.
STACK_OF_A_STEP = {"m0": 368, "m3": 312, "m4": 300, "m7": 300, "m33": 300, "m55": 340}


@needs_arm
def test_stack_of_a_step_is_bounded(firmware, request, record_property):
    core = request.node.callspec.id
    sizes = firmware.library.sections()
    depths = {name: firmware.depth(name) for name in API}
    record_property("stack", depths)
    print(f"\n{core}: stack of vg_run_step {depths['vg_run_step']}, all {depths}")
    record_property("code", sizes[".text"] + sizes.get(".rodata", 0))
    assert depths["vg_run_step"] <= STACK_OF_A_STEP[core]


def struct_sizes(place, header, structs, tools="", flags=()):
    """The bytes of structs of a private header, by a compiler."""
    symbols = [
        f"extern const char {s}_[];\nconst char {s}_[sizeof({s})] = {{1}};\n"
        for s in structs
    ]
    (place / "sizes.c").write_text(f'#include "{header}"\n' + "".join(symbols))
    output(
        tools + "gcc", *flags, *INCLUDE, "-c", place / "sizes.c", "-o", place / "s.o"
    )
    rows = map(str.split, text(tools + "nm", "-P", place / "s.o").splitlines())
    sizes = {r[0][:-1]: int(r[3], 16) for r in rows if r[0][:-1] in structs}
    assert sizes.keys() == set(structs)
    return sizes


def assert_same_sizes(place, header, structs, core):
    """All else in an arena is int16 and int32 arrays, laid out in 32-bit offsets."""
    flags = ["-mthumb", *linked.machine_flags()[core]]
    host = struct_sizes(place, header, structs)
    assert struct_sizes(place, header, structs, ARM, flags) == host


@needs_arm
@pytest.mark.parametrize("core", CORES)
def test_arena_is_as_large_on_a_core_as_on_the_host(core, tmp_path):
    assert_same_sizes(tmp_path, "core.h", ("vg_map", "vg_layer", "vg_readout"), core)


# ---- the same bits from every compiler -------------------------------------

REPLAY = r"""
#include <stdio.h>
#include <stdlib.h>
#include "vgrad.h"

/* As in firmware: static words, seen by the core as what it likes. */
static uint32_t blob[20000], arena[20000], whole[2000];
static vg_sig x[1000], y[1000];
static uint8_t image[10000];

static void get(void *p, uint32_t size, uint32_t room)
{
    if (size > room || fread(p, 1, size, stdin) != size)
        exit(1);
}

int main(void)
{
    uint32_t head[2]; /* bytes of the blob, steps */

    while (fread(head, sizeof head, 1, stdin) == 1) {
        vg_model m;
        vg_run r;
        get(blob, head[0], sizeof blob);
        if (vg_model_open(&m, blob, head[0]) || m.n_out > 100)
            return 2;
        get(x, 2u * m.n_in * head[1], sizeof x);
        if (vg_run_init(&r, &m, arena, sizeof arena))
            return 3;
        for (uint32_t t = 0; t < (m.whole ? 1 : head[1]); t++) {
            uint32_t rows = m.whole && m.mode == VG_EVERY ? head[1] : 1;
            if (m.whole && (rows * m.n_out > 1000 ||
                            vg_run_whole(&r, x, head[1], y, whole, sizeof whole)))
                return 5;
            if (!m.whole && vg_run_step(&r, x + t * m.n_in, y))
                return 6;
            if (vg_run_save(&r, image, sizeof image) < 0)
                return 4;
            fwrite(y, 2, rows * m.n_out, stdout);
            fwrite(vg_run_logits(&r), 2, m.n_out, stdout);
            fwrite(image, 1, m.state_size, stdout);
        }
    }
    return 0;
}
"""


@cache
def sample():
    """Eighty models with 12 steps of signals each, as REPLAY reads them."""
    parts = []
    for seed in range(80):
        rng = np.random.default_rng([seed, 2])
        model = random_qmodel(
            rng, extreme=seed % 3 == 0, whole=seed % 4 == 0, layout="any"
        )
        x = random_signals(rng, (12, model.shape.n_in), extreme=seed % 5 == 0)
        blob = pack(model)
        parts += [struct.pack("<II", len(blob), len(x)), blob, x.tobytes()]
    return b"".join(parts)


def replay(place, compiler, *flags):
    (place / "replay.c").write_text(REPLAY)
    program = place / "replay"
    output(
        *(compiler, "-std=c99", *flags, *INCLUDE),
        *(place / "replay.c", *SOURCES, "-o", program),
    )
    return output(program, input=sample())


@pytest.fixture(scope="module")
def reference_bits(tmp_path_factory):
    return replay(tmp_path_factory.mktemp("reference"), "gcc", "-O0")


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        *((c, f) for c in ("gcc", "clang") for f in ("-O0", "-O2", "-O3")),
        *((c, "-O2 -DVG_SMALL_TABLES") for c in ("gcc", "clang")),
        ("gcc", "-O3 -flto"),  # the caller's static words and the core in one
    ],
)
def test_every_compiler_and_optimization_gives_the_same_bits(
    compiler, flags, reference_bits, tmp_path
):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    assert len(reference_bits) > 10_000
    assert replay(tmp_path, compiler, *flags.split()) == reference_bits


# ---- runs ------------------------------------------------------------------


@cache
def core():
    return importlib.import_module("pyvgrad._vgrad")


class Run:
    """A model and a run, with all the memory they live in."""

    def __init__(self, blob, fill=0):
        self.ffi, self.lib = core().ffi, core().lib
        self.blob = self.words(len(blob))
        self.ffi.memmove(self.blob, blob, len(blob))
        self.blob_size = len(blob)
        self.model = self.ffi.new("vg_model *")
        assert self.lib.vg_model_open(self.model, self.blob, len(blob)) == 0
        self.arena_size = self.lib.vg_run_size(self.model)
        self.arena = self.words(self.arena_size)
        self.ffi.buffer(self.arena)[:] = bytes([fill]) * self.ffi.sizeof(self.arena)
        self.run = self.ffi.new("vg_run *")
        assert self.init() == 0

    def words(self, n):
        return self.ffi.new("uint32_t[]", (n + 3) // 4)

    def init(self):
        return self.lib.vg_run_init(self.run, self.model, self.arena, self.arena_size)

    def step(self, x, *, with_y=True):
        y = self.ffi.new("vg_sig[]", self.model.n_out)
        self.lib.vg_run_step(
            self.run,
            self.ffi.from_buffer("vg_sig[]", x),
            y if with_y else self.ffi.NULL,
        )
        return list(y)

    def steps(self, x):
        n = len(x) if self.model.mode == self.lib.VG_EVERY else 1
        y = self.ffi.new("vg_sig[]", max(n, 1) * self.model.n_out)
        self.lib.vg_run_steps(self.run, self.ffi.from_buffer("vg_sig[]", x), len(x), y)
        return list(y)

    def save(self):
        buf = self.ffi.new("uint8_t[]", self.model.state_size)
        assert self.lib.vg_run_save(self.run, buf, len(buf)) == len(buf)
        return bytes(self.ffi.buffer(buf))

    def restore(self, image):
        return self.lib.vg_run_restore(self.run, image, len(image))

    def memory(self):
        """All bytes of it."""
        parts = (self.blob, self.model, self.arena, self.run)
        return [bytes(self.ffi.buffer(p)) for p in parts]


def signals(seed, steps, model):
    rng = np.random.default_rng(seed)
    return random_signals(rng, (steps, model.shape.n_in), extreme=seed % 4 == 0)


seeds = st.integers(0, 2**32)


@pytest.mark.parametrize("extreme", [False, True])
@given(st.data(), seeds)
@settings(max_examples=150, deadline=None)
def test_outputs_logits_and_states_are_those_of_the_integer_model(extreme, data, seed):
    model = data.draw(qmodels(extreme=extreme, layout="any"))
    x = signals(seed, 8, model)
    run = Run(pack(model))
    expected = IntModel(model).run(x[None], states=True)
    for t, row in enumerate(x):
        assert run.step(row) == expected.y[0, t].tolist()
        logits = run.lib.vg_run_logits(run.run)
        assert run.ffi.unpack(logits, run.model.n_out) == expected.logits[0, t].tolist()
        assert run.save() == expected.images[0, t].tobytes()


@given(qmodels(layout="any"), seeds, st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_one_call_of_n_steps_equals_n_calls(model, seed, n):
    x = signals(seed, n, model)
    one, many = Run(pack(model)), Run(pack(model), fill=0xFF)
    last = model.shape.mode != "sequence"
    single = [many.step(row, with_y=t == n - 1 or not last) for t, row in enumerate(x)]
    assert one.steps(x) == (single[-1] if last else [v for y in single for v in y])
    assert one.save() == many.save()


@given(qmodels(layout="any"), seeds, st.integers(0, 6), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_run_restored_elsewhere_goes_on_the_same(model, seed, before, after):
    x = signals(seed, before + after, model)
    whole, first, second = (Run(pack(model), fill) for fill in (0, 1, 0xFF))
    expected = [whole.step(row) for row in x]
    y = [first.step(row) for row in x[:before]]
    image = first.save()
    for row in signals(seed + 1, 3, model):
        second.step(row)
    assert second.restore(image) == 0
    assert second.save() == image
    y += [second.step(row) for row in x[before:]]
    assert y == expected
    assert second.save() == whole.save()


@given(qmodels(layout="any"), seeds)
@settings(max_examples=100, deadline=None)
def test_reset_gives_the_initial_state_of_the_blob(model, seed):
    blob = pack(model)
    run = Run(blob)
    initial = state.to_bytes(state.initial(model, 1), crc(blob)).tobytes()
    assert run.save() == initial
    for row in signals(seed, 4, model):
        run.step(row)
    run.lib.vg_run_reset(run.run)
    assert run.save() == initial


@given(qmodels(layout="any"))
@settings(max_examples=30, deadline=None)
def test_init_leaves_nothing_of_what_was_in_the_arena(model):
    clean, dirty = Run(pack(model), fill=0), Run(pack(model), fill=0xFF)
    used = [bytes(r.ffi.buffer(r.arena))[: r.arena_size] for r in (clean, dirty)]
    assert used[0] == used[1]


@given(qmodels(output="logistic", layout="any"), seeds)
@settings(max_examples=50, deadline=None)
def test_without_y_the_state_moves_on_all_the_same(model, seed):
    with_y, without = Run(pack(model)), Run(pack(model))
    for row in signals(seed, 4, model):
        with_y.step(row)
        without.step(row, with_y=False)
    assert with_y.save() == without.save()


@given(qmodels(layout="any"))
@settings(max_examples=30, deadline=None)
def test_no_steps_change_nothing(model):
    run = Run(pack(model))
    before = run.memory()
    run.lib.vg_run_steps(run.run, run.ffi.NULL, 0, run.ffi.NULL)
    assert run.memory() == before


# ---- errors ----------------------------------------------------------------


@pytest.fixture
def used():
    """A run of a model with every part, some steps into a sequence."""
    rng = np.random.default_rng(5)
    model = random_qmodel(
        rng, cell="lstm97", block=3, n_layers=2, output="linear", initial_state=True
    )
    run = Run(pack(model))
    for row in signals(1, 5, model):
        run.step(row)
    return run


def bytes_at(run, words, offset):
    return run.ffi.cast("uint8_t *", words) + offset


@pytest.mark.parametrize("what", ["model", "blob", "both"])
def test_open_of_null_is_an_argument_error(used, what):
    before = used.memory()
    model = used.ffi.NULL if what in ("model", "both") else used.model
    blob = used.ffi.NULL if what in ("blob", "both") else used.blob
    assert used.lib.vg_model_open(model, blob, used.blob_size) == used.lib.VG_E_ARG
    assert used.memory() == before


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_open_of_a_misaligned_blob_is_an_alignment_error(used, offset):
    before = used.memory()
    moved = used.words(used.blob_size + 4)
    at = bytes_at(used, moved, offset)
    used.ffi.memmove(at, used.blob, used.blob_size)
    err = used.lib.vg_model_open(used.model, at, used.blob_size)
    assert err == used.lib.VG_E_ALIGN
    assert used.memory() == before


@pytest.mark.parametrize("less", [1, 4, 10_000])
def test_open_of_a_blob_cut_short_is_a_size_error(used, less):
    before = used.memory()
    size = max(0, used.blob_size - less)
    assert used.lib.vg_model_open(used.model, used.blob, size) == used.lib.VG_E_SIZE
    assert used.memory() == before


@pytest.mark.parametrize(("at", "err"), [(0, "MAGIC"), (4, "FORMAT"), (-9, "CRC")])
def test_open_of_a_changed_blob_names_what_is_wrong(used, at, err):
    used.ffi.buffer(used.blob)[at % used.blob_size] = b"\xa5"
    before = used.memory()
    answer = used.lib.vg_model_open(used.model, used.blob, used.blob_size)
    assert answer == getattr(used.lib, "VG_E_" + err)
    assert used.memory() == before


@pytest.mark.parametrize("what", ["run", "model", "arena"])
def test_init_with_null_is_an_argument_error(used, what):
    before = used.memory()
    args = {key: getattr(used, key) for key in ("run", "model", "arena")}
    args[what] = used.ffi.NULL
    assert used.lib.vg_run_init(*args.values(), used.arena_size) == used.lib.VG_E_ARG
    assert used.memory() == before


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_init_in_a_misaligned_arena_is_an_alignment_error(used, offset):
    before = used.memory()
    arena = used.words(used.arena_size + 4)
    at = bytes_at(used, arena, offset)
    err = used.lib.vg_run_init(used.run, used.model, at, used.arena_size)
    assert err == used.lib.VG_E_ALIGN
    assert not any(bytes(used.ffi.buffer(arena)))
    assert used.memory() == before


@pytest.mark.parametrize("size", [-1, 0])
def test_init_in_a_small_arena_is_a_size_error(used, size):
    before = used.memory()
    size = used.arena_size - 1 if size else 0
    err = used.lib.vg_run_init(used.run, used.model, used.arena, size)
    assert err == used.lib.VG_E_SIZE
    assert used.memory() == before


def test_save_refuses_null_and_one_byte_too_few(used):
    before = used.memory()
    size, null = used.model.state_size, used.ffi.NULL
    buf = used.ffi.new("uint8_t[]", b"\x5a" * size)
    assert used.lib.vg_run_save(null, buf, size) == used.lib.VG_E_ARG
    assert used.lib.vg_run_save(used.run, null, size) == used.lib.VG_E_ARG
    assert used.lib.vg_run_save(used.run, buf, size - 1) == used.lib.VG_E_SIZE
    assert bytes(used.ffi.buffer(buf))[:size] == b"\x5a" * size
    assert used.memory() == before


def test_restore_refuses_null_and_one_byte_too_few(used):
    image, before = used.save(), used.memory()
    null = used.ffi.NULL
    assert used.lib.vg_run_restore(null, image, len(image)) == used.lib.VG_E_ARG
    assert used.lib.vg_run_restore(used.run, null, len(image)) == used.lib.VG_E_ARG
    assert used.restore(image[:-1]) == used.lib.VG_E_SIZE
    assert used.memory() == before


@pytest.mark.parametrize("c", [2**30 + 1, -(2**30) - 1, 2**31 - 1, -(2**31)])
def test_restore_refuses_a_carried_state_out_of_range(used, c):
    image, before = used.save(), used.memory()
    damaged = image[:8] + struct.pack("<i", c) + image[12:]
    assert used.restore(damaged) == used.lib.VG_E_STATE
    assert used.memory() == before


@pytest.mark.parametrize("c", [2**30, -(2**30), 0])
def test_restore_admits_a_carried_state_at_the_limit(used, c):
    image = used.save()
    moved = image[:8] + struct.pack("<i", c) + image[12:]
    assert used.restore(moved) == 0
    assert used.save() == moved


def test_restore_refuses_a_state_of_another_blob(used):
    image, before = used.save(), used.memory()
    for bit in range(32):
        foreign = bytearray(image)
        foreign[bit // 8] ^= 1 << bit % 8
        assert used.restore(bytes(foreign)) == used.lib.VG_E_STATE
    assert used.memory() == before


def test_restore_refuses_padding_that_is_not_zero():
    model = random_qmodel(np.random.default_rng(1), cell="rnn_tanh", n_layers=1)
    seed = 1
    while model.layers[0].layer.n % 2 == 0:
        seed += 1
        model = random_qmodel(np.random.default_rng(seed), cell="rnn_tanh", n_layers=1)
    run = Run(pack(model))
    image, before = run.save(), run.memory()
    for at in (-1, -2):
        damaged = bytearray(image)
        damaged[at] = 1
        assert run.restore(bytes(damaged)) == run.lib.VG_E_STATE
    assert run.memory() == before


def test_every_error_has_a_text_of_its_own():
    lib, ffi = core().lib, core().ffi
    errors = [getattr(lib, name) for name in dir(lib) if name.startswith("VG_E_")]
    assert len(errors) >= 7
    texts = {ffi.string(lib.vg_err_text(e)) for e in [*errors, -99, 0]}
    assert len(texts) == len(errors) + 2
    assert ffi.string(lib.vg_err_text(5)) == ffi.string(lib.vg_err_text(0))
