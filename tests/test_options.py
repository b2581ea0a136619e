"""A build with less in it: the same bits, clear refusals, and less flash."""

import re
import shutil

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from tool_modules import load

from pyvgrad.blob import pack
from pyvgrad.cells import CELLS
from pyvgrad.emulated import Emulator, build
from pyvgrad.errors import DeviceError
from pyvgrad.icount import bench_blob, bench_inputs, count_steps, count_training
from pyvgrad.learning import Learn
from pyvgrad.native import HostExecutor
from pyvgrad.native_train import HostTrainer

linked, sizes = load("linked"), load("sizes")

CORE = "m4"
ARG, FORMAT = -1, -5  # VG_E_ARG, VG_E_FORMAT
LSTM = "-DVG_CELLS=16"
RUNS = (LSTM, "-DVG_WEIGHTS=16", "-DVG_LAYOUTS=1", "-DVG_OUTPUTS=1", "-DVG_INPUTS=1")
RUNS += ("-DVG_BLOCKS=1",)
LEAST = (*RUNS, "-DVG_METHODS=1", "-DVG_RULES=1", "-DVG_CHECKPOINTS=0")
WORDS = ("-DVG_OUTPUTS=0", "-DVG_LAYOUTS=2")
LEFT = {"cell": "lstm", "block": 1, "bits": 16}  # of LEAST
LEFT |= {"output": "linear", "n_layers": 2}
GOOD = {"loss": "mse", "k2": 8, "rate_q24": 1 << 20, "clip_q16": 1 << 16}
MASKS = re.findall(
    r"#define VG_HAS_(\w+) \(.*\(\(VG_CELLS\) & (0x\w+)\) != 0\)",
    (linked.LIB / "src" / "options.h").read_text("utf-8"),
)
HAS = {  # what a cell of the table has, so that a build of it must have it, too
    "C": lambda row: row.carry == "c",
    "H": lambda row: row.carry == "h",
    "PLAIN_LSTM": lambda row: set(row.gates) == set("ifgo") and set(row.reads) == {"b"},
    "FIELDS": lambda row: row.free_fields,
    "OWN": lambda row: set(row.reads) & set("dpq"),
    "PIECES": lambda row: set(row.reads) & set("dpqs"),
    "LATE": lambda row: set(row.reads) & set("qsh"),
    "Y": lambda row: row.name == "plus_rnn",
    "CLAMPS": lambda row: set(row.functions) & set("rn"),
    "READS": lambda row: set(row.reads) != {"b"},
    "OTHER_LSTM": lambda row: row.name in ("lstm97", "lstm_coupled"),
    "PASSES": lambda row: row.name not in ("lstm", "gru"),
}

pytestmark = pytest.mark.skipif(
    not shutil.which(linked.ARM + "gcc"), reason="arm-none-eabi-gcc is not installed"
)


def trained(learn, flags, cell="lstm", bits=16):
    """The blob after two sequences on the core, and on the whole host."""
    rng = np.random.default_rng(3)
    blob = bench_blob(cell, 3, 4, bits)
    x = bench_inputs(3, 16).reshape(2, 8, 3)
    target = rng.integers(-4096, 4096, (2, 8, 4)).astype(np.int16)
    found = count_training(blob, learn, x, target, CORE, flags)[1]
    with HostTrainer(blob, learn) as host:
        for steps, aims in zip(x, target, strict=True):
            host.teach(steps, aims)
            host.end()
        return found, host.blob()


def drawn(seed=0, **kind):
    """A random model, as blob and shape, and signals for it."""
    rng = np.random.default_rng(seed)
    model = random_qmodel(rng, **{"sections": False, **kind})
    return pack(model), random_signals(rng, (5, model.shape.n_in))


@pytest.mark.parametrize(
    ("core", "flags", "kind"),
    [
        (CORE, LEAST, LEFT),
        (CORE, ("-Os", "-DVG_SMALL_TABLES", *LEAST), {**LEFT, "n_max": 60}),
        ("m0", WORDS, {"output": "none", "layout": "words"}),
        (CORE, ("-DVG_OUTPUTS=4", "-DVG_WEIGHTS=8"), {"output": "softmax", "bits": 8}),
        (
            *("m3", ("-DVG_OUTPUTS=2", "-DVG_WEIGHTS=8", "-DVG_LAYOUTS=2")),
            {"output": "logistic", "bits": 8, "layout": "words"},
        ),
        (CORE, ("-DVG_CELLS=64",), {"cell": "lstm_peephole"}),
        (CORE, ("-DVG_CELLS=256", "-DVG_INPUTS=1"), {"cell": "gru_reset_before"}),
        ("m0", ("-DVG_CELLS=2048", "-DVG_INPUTS=1"), {"cell": "plus_rnn"}),
        ("m3", ("-DVG_BLOCKS=1",), {"cell": "lstm97", "block": 1}),
        ("m0", ("-DVG_FAST=0", "-DVG_LAYOUTS=2"), {"layout": "words"}),
    ],
)
def test_what_is_left_runs_with_the_same_bits(core, flags, kind):
    for seed in range(3):
        blob, x = drawn(seed, **kind)
        y = count_steps(blob, x, core, flags)[1]
        with HostExecutor(blob) as host:
            assert np.array_equal(y, host.run(x)[0])


def test_options_know_which_cells_have_what():
    assert dict(MASKS).keys() == HAS.keys()
    for name, mask in MASKS:
        have = [row.code for row in CELLS.values() if HAS[name](row)]
        assert int(mask, 16) == sum(1 << code for code in have), name


@pytest.mark.parametrize(
    "kind",
    [{"block": 2}, {"bits": 8}, {"layout": "words"}, {"output": "softmax"}],
    ids=str,
)
def test_blocks_weights_layouts_and_outputs_left_out_are_refused_at_opening(kind):
    blob, x = drawn(**{**LEFT, **kind})
    with pytest.raises(DeviceError, match="error -5"):  # VG_E_FORMAT
        count_steps(blob, x, CORE, LEAST)


def test_a_build_without_outputs_refuses_any_readout():
    blob, x = drawn(output="linear", layout="words")
    with pytest.raises(DeviceError, match="error -5"):
        count_steps(blob, x, "m0", WORDS)


def test_a_build_without_symbols_takes_none():
    chip = Emulator(build(CORE, flags=LEAST), CORE)
    blob = bench_blob("lstm", 3, 4, 16)
    assert not chip.call("bench_open", chip.place(blob), len(blob)).result
    size = chip.call("bench_size").result
    assert not chip.call("bench_start", chip.place(size), size).result
    run, symbols = chip.symbols["bench_run"], chip.place(bytes(8))
    assert chip.call("vg_run_symbol", run, 0, 0).result == ARG
    assert chip.call("vg_run_symbols", run, symbols, 2, 0).result == ARG


@pytest.mark.parametrize("cell", ["gru", "lstm97", "rnn_tanh"])
def test_a_cell_that_is_left_out_is_refused_at_opening(cell):
    with pytest.raises(DeviceError, match="error -5"):  # VG_E_FORMAT
        count_steps(bench_blob(cell, 3, 4, 16), bench_inputs(3, 1), CORE, (LSTM,))


def test_the_least_build_learns_the_same_bits():
    found, whole = trained(Learn("tbptt", **GOOD), LEAST)
    assert found == whole != bench_blob("lstm", 3, 4, 16)


@pytest.mark.parametrize(
    ("flag", "learn"),
    [
        ("-DVG_METHODS=1", Learn("rtrl97", loss="mse", k1=1, k2=0)),
        ("-DVG_METHODS=2", Learn("tbptt", **GOOD)),
        ("-DVG_RULES=1", Learn("tbptt", "momentum", decay_q14=1 << 13, **GOOD)),
        ("-DVG_RULES=3", Learn("tbptt", "rmsprop", epsilon_q24=1 << 14, **GOOD)),
        ("-DVG_INPUTS=1", Learn("tbptt", symbols=True, **GOOD)),
    ],
)
def test_a_way_to_learn_that_is_left_out_is_refused(flag, learn):
    with pytest.raises(DeviceError, match="error -1"):  # VG_E_ARG
        trained(learn, (flag,))


def test_without_weights_of_16_bits_nothing_learns():
    with pytest.raises(DeviceError, match="error -1"):
        trained(Learn("tbptt", **GOOD), ("-DVG_WEIGHTS=8",), bits=8)


def test_a_build_without_checkpoints_neither_keeps_a_training_nor_goes_on_from_one():
    learn, n = Learn("tbptt", **GOOD), 4
    x, target = np.zeros((2, 8, 3), np.int16), np.ones((2, 8, n), np.int16)
    with HostTrainer(bench_blob("lstm", 3, n, 16), learn) as host:
        host.teach(x[0], target[0])
        kept = host.checkpoint()
    flags = ("-DVG_CHECKPOINTS=0",)
    chip = Emulator(build(CORE, flags=flags), CORE)
    assert not chip.call("bench_open", chip.place(kept), len(kept)).result
    assert chip.call("bench_train_size", 0).result == FORMAT
    assert chip.call("bench_train_start", 0, chip.place(8), 8).result == FORMAT
    settings = chip.place(learn.to_bytes())
    size = chip.call("bench_train_size", settings).result
    assert not chip.call("bench_train_start", settings, chip.place(size), size).result
    assert chip.call("vg_train_checkpoint", chip.symbols["bench_train"], 0).result == 0
    with HostTrainer(kept, learn) as host:  # with settings: from the weights
        host.teach(x[1], target[1])
        host.end()
        anew = host.blob()
    assert count_training(kept, learn, x[1:], target[1:], CORE, flags)[1] == anew


@pytest.mark.parametrize(
    ("fast", "kernels"),
    [
        (0, set()),
        (1, {"dot_dsp_rows16"}),
        (2, {"dot_time_row_dsp", "dot_rows_mul_four", "sgd_thumb2_pairs"}),
    ],
)
def test_kernels_of_what_need_not_be_fast_are_not_linked(fast, kernels, tmp_path):
    flags = ["-Os", "-DVG_SMALL_TABLES", *LEAST, f"-DVG_FAST={fast}"]
    library = linked.compile_library(tmp_path, CORE, flags)
    program = linked.Program(library, tmp_path / "a.elf", sizes.PROGRAMS["learn"])
    named = r"(dot|sgd|point)_(dsp|mul|thumb2|time_row|rows_mul)\w*"
    found = {name for name in program.names if re.fullmatch(named, name)}
    assert kernels <= found
    assert bool(found) == bool(kernels)


def test_what_is_left_out_is_not_linked(tmp_path):
    library = linked.compile_library(tmp_path, CORE, ["-Os", *LEAST])
    program = linked.Program(library, tmp_path / "a.elf", sizes.PROGRAMS["learn"])
    for name in (
        *("vg_rtrl97_after", "vg_gru_derive", "normalized", "gru_unit"),
        *("vg_words_map", "dot_dsp_rows8", "vg_lut_exp", "lstm_h_identity"),
        *("vg_own_back", "gate_in_pieces", "widen_gate", "lstm_by_fields"),
        *("vg_state_ok", "vg_state_resume", "vg_lstm_derive", "vg_lstm_back"),
        *("vg_derive", "vg_gate_back", "readout_in_pieces"),
    ):
        assert name not in program.names
    assert "vg_tbptt_flow" in program.names


@pytest.mark.parametrize(
    "flag", ["WEIGHTS=12", "BLOCKS=2", "LAYOUTS=0", "INPUTS=2", "WEIGHTS=32"]
)
def test_a_number_that_an_option_does_not_have_is_refused(tmp_path, flag):
    (tmp_path / "only.c").write_text('#include "options.h"\n')
    name = flag.split("=")[0]
    with pytest.raises(RuntimeError, match=f'#error "VG_{name} is '):
        linked.output(
            linked.ARM + "gcc",
            *(f"-DVG_{flag}", *linked.INCLUDE, "-fsyntax-only"),
            tmp_path / "only.c",
        )
