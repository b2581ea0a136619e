"""The layout of a blob's matrices changes no bit, on any core, and how it is asked for.

tests/test_blob.py has the bytes; the grids of the other files draw layouts, too.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from tiny_model import TinyModel
from trainings import Training, small_model

from pyvgrad.blob import convert, pack, parse
from pyvgrad.cells import CELLS
from pyvgrad.device_train import DeviceTrainer
from pyvgrad.emulated import CORES, Emulator, build
from pyvgrad.executors import Model
from pyvgrad.intlearn import IntTrainer
from pyvgrad.learning import Learn
from pyvgrad.native import HostExecutor
from pyvgrad.native_train import HostTrainer
from pyvgrad.qmodel import LAYOUTS

needs_arm = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="needs gcc-arm-none-eabi"
)


# ---- the same bits ---------------------------------------------------------


class OnCore:
    """A blob that runs on an emulated core, a step a call."""

    def __init__(self, core, blob, flags=()):
        chip = self.chip = Emulator(build(core, flags=flags), core)
        assert chip.call("bench_open", chip.place(blob), len(blob)).result == 0
        size = chip.call("bench_size").result
        # exactly the size asked for, and what lies behind it
        self.arena = chip.place(size + 64)
        self.behind = self.arena + size
        chip.write(self.behind, bytes(range(64)))
        assert chip.call("bench_start", self.arena, size).result == 0
        self.run = chip.symbols["bench_run"]
        self.n_out = parse(blob).shape.n_out
        self.x, self.y = chip.place(1 << 12), chip.place(2 * self.n_out)

    def step(self, x):
        """y of a step from x, an array, or a symbol."""
        if isinstance(x, int):
            self.chip.call("vg_run_symbol", self.run, x, self.y)
        else:
            self.chip.write(self.x, x.astype("<i2").tobytes())
            self.chip.call("vg_run_step", self.run, self.x, self.y)
        assert self.chip.read(self.behind, 64) == bytes(range(64))
        return np.frombuffer(self.chip.read(self.y, 2 * self.n_out), "<i2")


def inputs(rng, model, extreme):
    """Dense steps and symbols, in turns."""
    n_in = model.shape.n_in
    x = random_signals(rng, (4, n_in), extreme=extreme)
    return [x[0], x[1], int(rng.integers(n_in)), x[2], int(rng.integers(n_in)), x[3]]


def one_hot(model, x):
    if not isinstance(x, int):
        return x
    return ((np.arange(model.shape.n_in) == x) * (1 << model.x_exp)).astype(np.int16)


def agrees_on(core, model, steps):
    """The core, in every layout, gives the bits of the integer model."""
    rows = replace(model, layout="rows")
    with Model(pack(rows), "numpy") as numpy:
        want = [numpy.step_raw(one_hot(model, x)) for x in steps]
    for layout in LAYOUTS:
        chip = OnCore(core, convert(pack(rows), layout))
        for t, (x, y) in enumerate(zip(steps, want, strict=True)):
            assert np.array_equal(chip.step(x), y), (layout, t)


@needs_arm
@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("core", CORES)
def test_every_layout_gives_the_bits_of_the_integer_model(core, cell, bits):
    for seed, n_max in enumerate((5, 12)):
        rng = np.random.default_rng([seed, bits])
        model = random_qmodel(
            rng,
            cell=cell,
            bits=bits,
            n_layers=1 + seed,
            n_in=int(rng.integers(1, 12)),
            n_max=n_max,
            extreme=seed == 0,
        )
        agrees_on(core, model, inputs(rng, model, seed == 0))


@needs_arm
@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("core", CORES)
def test_layouts_agree_where_rows_are_longer_than_a_block(core, bits):
    # 512 columns are a block of int32 sums (words.c)
    for n_in in (505, 508, 513, 1030):
        rng = np.random.default_rng([n_in, bits])
        model = random_qmodel(
            rng,
            cell="gru",
            n_in=n_in,
            n_max=5,
            n_layers=1,
            bits=bits,
            shortcuts=True,
            output="linear",
            extreme=True,
        )
        steps = [*inputs(rng, model, True), np.full(n_in, -32768, np.int16)]
        agrees_on(core, model, steps)


# ---- learning --------------------------------------------------------------


@pytest.mark.parametrize("bits", [16, 8])
def test_the_core_refuses_to_learn_in_words_with_an_error_of_its_own(bits):
    model = small_model(4, cell="lstm", output="linear", bits=bits, layout="words")
    for learn in (Learn(loss="mse", k2=4, rate_q24=1 << 20), None):
        training = Training(pack(model), learn)
        assert training.size == training.lib.VG_E_LAYOUT
        assert training.init() == training.lib.VG_E_LAYOUT


@pytest.mark.parametrize("learn", [Learn(loss="mse", k2=4, rate_q24=1 << 20), None])
@pytest.mark.parametrize("trainer", [HostTrainer, IntTrainer, DeviceTrainer])
def test_every_trainer_says_how_to_convert(trainer, learn):
    if trainer is IntTrainer and learn is None:
        pytest.skip("it has no checkpoints")
    on = ("native",) if trainer is DeviceTrainer else ()
    blob = convert(TinyModel().blob(), "words")
    with pytest.raises(ValueError, match=r"layout is words, .* --layout rows -o"):
        trainer(blob, learn, *on)


def test_a_checkpoint_converted_there_and_back_goes_on():
    model = small_model(5, cell="lstm", output="linear")
    rng = np.random.default_rng(0)
    x = random_signals(rng, (6, model.shape.n_in))
    target = random_signals(rng, (6, model.shape.n_out))
    trainer = HostTrainer(pack(model), Learn(loss="mse", k2=4, rate_q24=1 << 20))
    trainer.teach(x, target)
    checkpoint = trainer.checkpoint()
    words = convert(checkpoint, "words")
    assert convert(words, "rows") == checkpoint
    with HostExecutor(words) as one, HostExecutor(checkpoint) as other:
        assert np.array_equal(one.run(x)[0], other.run(x)[0])


# ---- the command line ------------------------------------------------------


def test_convert_writes_the_layout_and_info_shows_it(pyvgrad, tmp_path):
    blob = TinyModel().blob()
    (tmp_path / "M.vg").write_bytes(blob)
    words = ["convert", "M.vg", "--layout", "words", "-o", "W.vg", "--json"]
    code, out, _ = pyvgrad(*words)
    assert code == 0
    written = (tmp_path / "W.vg").read_bytes()
    assert json.loads(out) == {
        "layout": "words",
        "blob_bytes": len(written),
        "files": ["W.vg"],
    }
    assert written == convert(blob, "words")
    code, out, _ = pyvgrad("info", "W.vg", "--json")
    assert (code, json.loads(out)["weight_layout"]) == (0, "words")
    assert json.loads(out)["train_bytes"] == {"tbptt": None, "rtrl97": None}
    assert pyvgrad("convert", "W.vg", "--layout", "rows", "-o", "R.vg")[0] == 0
    assert (tmp_path / "R.vg").read_bytes() == blob


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "M.vg", "-o", "N.vg"),
        ("train", "reber", "-o", "N.vg"),
        ("import", "F.onnx", "-o", "N.vg"),
        ("bench",),
    ],
    ids=lambda words: words[0],
)
def test_an_unknown_layout_is_a_sentence(pyvgrad, tmp_path, words):
    (tmp_path / "M.vg").write_bytes(TinyModel().blob())
    code, _, err = pyvgrad(*words, "--layout", "tiles")
    assert code == 2
    assert "--layout takes rows or words, not 'tiles'" in err
    assert not (tmp_path / "N.vg").exists()


def test_train_and_import_write_the_layout_asked_for(pyvgrad, tmp_path):
    small = ["--hidden", "3", "--limit", "2", "--layout", "words"]
    assert pyvgrad("train", "reber", "-o", "M.vg", *small)[0] in (0, 1)
    assert parse((tmp_path / "M.vg").read_bytes()).layout == "words"
    pyvgrad(*("import", "M.float.onnx", "-o", "N.vg", "--force", *small[-2:]))
    assert parse((tmp_path / "N.vg").read_bytes()).layout == "words"
    code, _, err = pyvgrad("verify", "M.vg", "--on", "host", "--learn", "3")
    assert code == 2
    assert "learning takes rows" in err
