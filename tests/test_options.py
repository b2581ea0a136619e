"""A build with less in it: the same bits, clear refusals, and less flash."""

import shutil

import numpy as np
import pytest
from tool_modules import load

from pyvgrad.errors import DeviceError
from pyvgrad.icount import bench_blob, bench_inputs, count_steps, count_training
from pyvgrad.learning import Learn
from pyvgrad.native_train import HostTrainer

linked, sizes = load("linked"), load("sizes")

CORE = "m4"
LSTM = "-DVG_CELLS=16"
LEAST = (LSTM, "-DVG_METHODS=1", "-DVG_RULES=1")  # lstm, TBPTT, SGD
GOOD = {"loss": "mse", "k2": 8, "rate_q24": 1 << 20, "clip_q16": 1 << 16}

pytestmark = pytest.mark.skipif(
    not shutil.which(linked.ARM + "gcc"), reason="arm-none-eabi-gcc is not installed"
)


def trained(learn, flags, cell="lstm"):
    """The blob after two sequences on the core, and on the whole host."""
    rng = np.random.default_rng(3)
    blob = bench_blob(cell, 3, 4, 16)
    x = bench_inputs(3, 16).reshape(2, 8, 3)
    target = rng.integers(-4096, 4096, (2, 8, 4)).astype(np.int16)
    found = count_training(blob, learn, x, target, CORE, flags)[1]
    with HostTrainer(blob, learn) as host:
        for steps, aims in zip(x, target, strict=True):
            host.teach(steps, aims)
            host.end()
        return found, host.blob()


def test_a_build_of_lstm_alone_runs_an_lstm_with_the_same_bits():
    blob, x = bench_blob("lstm", 3, 4, 16), bench_inputs(3, 5)
    whole, less = (count_steps(blob, x, CORE, flags)[1] for flags in ((), LEAST))
    assert np.array_equal(whole, less)


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
    ],
)
def test_a_method_or_rule_that_is_left_out_is_refused(flag, learn):
    with pytest.raises(DeviceError, match="error -1"):  # VG_E_ARG
        trained(learn, (flag,))


def test_what_is_left_out_is_not_linked(tmp_path):
    library = linked.compile_library(tmp_path, CORE, ["-Os", *LEAST])
    program = linked.Program(library, tmp_path / "a.elf", sizes.PROGRAMS["learn"])
    for name in ("vg_rtrl97_after", "vg_gru_derive", "normalized", "gru_unit"):
        assert name not in program.names
    assert "vg_tbptt_flow" in program.names
