"""A model opened on the desk: the same places, the same bits, clear refusals."""

import shutil
import struct
import subprocess
import zlib

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from tool_modules import load

from pyvgrad.blob import pack
from pyvgrad.cells import CELLS
from pyvgrad.emulated import Emulator, build, core_sources
from pyvgrad.header import header
from pyvgrad.native import HostExecutor
from pyvgrad.native_core import Core, Run

linked, sizes = load("linked"), load("sizes")

OK, ARG, ALIGN, SIZE, FORMAT = 0, -1, -2, -3, -5
LEAST = sizes.BUILT["least"]
LEFT = {"cell": "lstm", "bits": 16, "output": "linear", "block": 1}  # of LEAST
GUARD = 0xDEADBEEF

needs_arm = pytest.mark.skipif(
    not shutil.which(linked.ARM + "gcc"), reason="arm-none-eabi-gcc is not installed"
)


def drawn(seed=0, **kind):
    """A random model, as blob and shape, and signals for it."""
    rng = np.random.default_rng(seed)
    model = random_qmodel(rng, **{"sections": False, **kind})
    return pack(model), model.shape, random_signals(rng, (5, model.shape.n_in))


# ---- on the host -----------------------------------------------------------------


class Opened:
    """A run on the host of a vg_opened made of what the core found."""

    def __init__(self, blob):
        self.core = Core()
        ffi = self.core.ffi
        self.ordinary = Run(self.core, blob)
        found = self.ordinary.opened()
        self.places = ffi.new("uint32_t[]", found.places.tolist())
        self.opened = ffi.new("vg_opened *")
        self.opened.model = self.ordinary.model[0]
        self.opened.places = self.places
        self.opened.size = self.size = found.arena_bytes
        self.arena = ffi.new("uint32_t[]", [GUARD] * (self.size // 4 + 1))
        self.run = ffi.new("vg_run *")

    def init(self, **other):
        """vg_run_init_opened with these arguments, or others by name."""
        given = {"r": self.run, "o": self.opened, "arena": self.arena} | other
        size = given.pop("size", self.size)
        return self.core.lib.vg_run_init_opened(*given.values(), size)

    def pass_all(self, run, x, shape):
        """y of all steps, or of the whole sequence."""
        ffi, lib, model = self.core.ffi, self.core.lib, self.ordinary.model
        y = np.zeros((len(x), shape.n_out), np.int16)
        to, given = (ffi.from_buffer("vg_sig[]", a) for a in (y, x))
        if shape.whole:
            size = lib.vg_run_whole_size(model, len(x))
            buf = self.core.words(size)
            assert not lib.vg_run_whole(run, given, len(x), to, buf, size)
        else:
            assert not lib.vg_run_steps(run, given, len(x), to)
        return y.tolist()

    def state(self, run):
        buf = self.core.ffi.new("uint8_t[]", self.opened.model.state_size)
        self.core.check(self.core.lib.vg_run_save(run, buf, len(buf)))
        return bytes(buf)


@pytest.mark.parametrize("seed", range(40))
def test_an_opened_model_gives_the_bits_of_a_blob_that_is_opened(seed):
    blob, shape, x = drawn(seed, layout="any", whole=seed % 4 == 3)
    opened = Opened(blob)
    assert opened.init() == OK
    for sequence in (x, x[:3]):
        found = opened.pass_all(opened.run, sequence, shape)
        assert found == opened.pass_all(opened.ordinary.run, sequence, shape)
        assert opened.state(opened.run) == opened.state(opened.ordinary.run)
    assert opened.arena[opened.size // 4] == GUARD


def test_opened_places_are_not_in_the_arena():
    found = Run(Core(), drawn(n_layers=3)[0])
    places = found.opened().places
    assert found.bytes - 4 * len(places) == found.opened().arena_bytes


@pytest.mark.parametrize("name", ["r", "o", "arena"])
def test_null_is_refused(name):
    opened = Opened(drawn()[0])
    assert opened.init(**{name: opened.core.ffi.NULL}) == ARG


def test_an_arena_that_is_too_small_or_not_aligned_is_refused_and_not_touched():
    opened = Opened(drawn()[0])
    odd = opened.core.ffi.cast("char *", opened.arena) + 2
    assert opened.init(arena=odd) == ALIGN
    assert opened.init(size=opened.size - 1) == SIZE
    assert set(opened.arena) == {GUARD}


# ---- on cores --------------------------------------------------------------------


def start(core, flags, blob):
    """A core on which a vg_opened was placed and initialised: it, and the result."""
    chip = Emulator(build(core, flags=flags), core)
    with HostExecutor(blob) as host:
        found = host.opened
    blob_at, places = chip.place(blob), chip.place(found.places.astype("<u4").tobytes())
    fields = struct.pack("<3I3H6B", blob_at, *found.model)
    opened = chip.place(fields + struct.pack("<2I", places, found.arena_bytes))
    arena = chip.place(found.arena_bytes)
    run = chip.symbols["bench_run"]
    call = chip.call("vg_run_init_opened", run, opened, arena, found.arena_bytes)
    return chip, call.result


def steps(chip, run, x, n_out):
    """y of each step on a core."""
    x_at, y_at = chip.place(x[0].nbytes), chip.place(2 * n_out)
    y = []
    for row in x:
        chip.write(x_at, row.astype("<i2").tobytes())
        assert not chip.call("vg_run_step", run, x_at, y_at).result
        y.append(np.frombuffer(chip.read(y_at, 2 * n_out), "<i2").tolist())
    return y


@needs_arm
@pytest.mark.parametrize("core", ["m0", "m4", "m55"])
def test_a_core_s_own_opening_finds_the_same_places(core):
    chip = Emulator(build(core), core)
    for seed, cell in enumerate(CELLS):
        blob = drawn(seed, cell=cell, layout="any", whole=seed % 3 == 2)[0]
        assert not chip.call("bench_open", chip.place(blob), len(blob)).result
        size = chip.call("bench_size").result
        assert not chip.call("bench_start", chip.place(size), size).result
        _, places, arena = struct.unpack(
            "<3I", chip.read(chip.symbols["bench_run"], 12)
        )
        with HostExecutor(blob) as host:
            found = host.opened
        assert chip.read(places, arena - places) == found.places.astype("<u4").tobytes()
        assert size == arena - places + found.arena_bytes


@needs_arm
@pytest.mark.parametrize(
    ("flags", "kind", "result"),
    [
        (LEAST, LEFT, OK),
        (LEAST, {**LEFT, "output": "none"}, OK),
        (LEAST, {**LEFT, "cell": "gru"}, FORMAT),
        (LEAST, {**LEFT, "block": 2}, FORMAT),
        (LEAST, {**LEFT, "bits": 8}, FORMAT),
        (LEAST, {**LEFT, "layout": "words"}, FORMAT),
        (LEAST, {**LEFT, "output": "softmax"}, FORMAT),
        (("-DVG_OUTPUTS=0",), LEFT, FORMAT),
        (("-DVG_OUTPUTS=0",), {**LEFT, "output": "none"}, OK),
    ],
)
def test_what_the_build_lacks_is_refused_when_a_run_begins(flags, kind, result):
    blob, shape, x = drawn(**kind)
    chip, found = start("m4", flags, blob)
    assert found == result
    if result == OK:
        with HostExecutor(blob) as host:
            y = steps(chip, chip.symbols["bench_run"], x, shape.n_out)
            assert y == host.run(x)[0].tolist()


@needs_arm
@pytest.mark.parametrize("core", ["m0", "m3", "m4", "m55"])
@pytest.mark.parametrize("n_out", [1, 3])
def test_a_readout_s_clamps_are_counted_alike_where_h_is_not_aligned(core, n_out):
    kind = {"n_in": 3, "n_max": 9, "n_layers": 1, "n_out": n_out, "shortcuts": True}
    blob, shape, x = drawn(0, **LEFT, **kind, extreme=True)
    chip, found = start(core, LEAST, blob)
    assert found == OK
    run = chip.symbols["bench_run"]
    with HostExecutor(blob) as host:
        assert steps(chip, run, x, shape.n_out) == host.run(x)[0].tolist()
        assert struct.unpack("<I", chip.read(run + 12, 4)) == (host.saturated,)
        assert host.saturated


# ---- the header ------------------------------------------------------------------

STARTS = """
#include "model.h"
vg_run opened_run;
static uint32_t arena[VG_MODEL_OPENED_SIZE / 4];
int opened_start(void);
int opened_start(void)
{
    return vg_run_init_opened(&opened_run, &vg_model_opened, arena, sizeof arena);
}
"""


@needs_arm
def test_an_exported_header_runs_on_a_core_that_links_no_opening(tmp_path):
    blob, shape, x = drawn(**LEFT)
    (tmp_path / "model.h").write_text(header(blob, "model"))
    (tmp_path / "starts.c").write_text(STARTS)
    sources = [*core_sources()[:-1], tmp_path / "starts.c"]
    split = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
    keep = ["-Wl,-u,opened_start", "-Wl,-u,vg_run_step", f"-I{tmp_path}"]
    chip = Emulator(build("m4", sources, [*LEAST, *split, *keep]), "m4")
    absent = {"vg_walk_layer", "vg_model_open", "vg_crc32", "memcmp"}
    assert not absent & set(chip.symbols)
    assert chip.call("opened_start").result == OK
    with HostExecutor(blob) as host:
        y = steps(chip, chip.symbols["opened_run"], x, shape.n_out)
        assert y == host.run(x)[0].tolist()


def test_a_header_of_another_core_does_not_compile(tmp_path):
    text = header(drawn()[0], "model")
    assert text.count("VG_OPENED_VERSION != 1") == 1
    command = ["gcc", "-std=c99", "-fsyntax-only", f"-I{linked.LIB / 'include'}"]
    for version, says in (1, ""), (2, "export the model again"):
        other = text.replace("!= 1", f"!= {version}")
        (tmp_path / "model.c").write_text(other)
        done = subprocess.run(
            [*command, "model.c"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert bool(done.returncode) == bool(says)
        assert says in done.stderr


def test_places_change_with_their_version_alone():
    blob = drawn(1, n_in=3, n_layers=2, output="softmax", shortcuts=True)[0]
    with HostExecutor(blob) as host:
        found = host.opened
    assert (found.version, zlib.crc32(found.places.tobytes())) == (1, 0xB60FFFD2)
