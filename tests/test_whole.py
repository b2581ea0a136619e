"""Whole sequences through the C core, layer by layer, in both directions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel
from test_core import Run, signals

from pyvgrad.blob import pack
from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.intmodel import IntModel, NumpyExecutor
from pyvgrad.native import HostExecutor
from pyvgrad.native_run import HostRunner
from pyvgrad.params import init_params
from pyvgrad.quantize import quantize

seeds = st.integers(0, 2**32)


class Whole(Run):
    """A run that takes whole sequences."""

    def __init__(self, model, fill=0):
        super().__init__(pack(model), fill)
        self.every = model.shape.mode == "sequence"

    def pass_through(self, x, *, with_y=True, less=0):
        """(error, y) of vg_run_whole; nothing around y and its buffer is written."""
        lib, ffi = self.lib, self.ffi
        size = lib.vg_run_whole_size(self.model, len(x))
        n = (len(x) if self.every else 1) * self.model.n_out
        buf = ffi.new("uint8_t[]", b"\x5a" * (size + 8))
        assert int(ffi.cast("uintptr_t", buf)) % 4 == 0
        y = ffi.new("vg_sig[]", [0x5A5A] * (n + 1))
        err = lib.vg_run_whole(
            self.run,
            ffi.from_buffer("vg_sig[]", np.ascontiguousarray(x)),
            *(len(x), y if with_y else ffi.NULL, buf, size - less),
        )
        assert bytes(ffi.buffer(buf))[size:] == b"\x5a" * 8 + b"\0"
        assert y[n] == 0x5A5A
        return err, list(y)[:n]

    def logits(self):
        """Of the last step with y."""
        return self.ffi.unpack(self.lib.vg_run_logits(self.run), self.model.n_out)


@given(qmodels(whole=True, layout="any"), seeds, st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_sequences_in_both_directions_are_those_of_the_integer_model(
    model, seed, first, second
):
    # Two, one after the other: the second from the first one's end.
    host, expected = HostExecutor(pack(model)), NumpyExecutor(pack(model))
    for k, steps in enumerate((first, second)):
        x = signals(seed + k, steps, model)
        got, want = host.run(x, states=True), expected.run(x, states=True)
        assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
        assert host.saturated == expected.saturated


@given(qmodels(layout="any"), seeds, st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_a_whole_sequence_equals_its_steps_where_no_layer_is_reversed(model, seed, n):
    x = signals(seed, n, model)
    steps, whole = Whole(model), Whole(model)
    for _ in range(2):  # and on from there
        assert whole.pass_through(x) == (0, steps.steps(x))
        assert whole.save() == steps.save()
        assert whole.logits() == steps.logits()


@given(qmodels(whole=True, layout="any"), seeds)
@settings(max_examples=30, deadline=None)
def test_without_y_the_state_moves_on_all_the_same(model, seed):
    x = signals(seed, 5, model)
    with_y, without = Whole(model), Whole(model)
    assert with_y.pass_through(x)[0] == 0
    assert without.pass_through(x, with_y=False)[0] == 0
    assert with_y.save()[8:] == without.save()[8:]  # but for clamped logits


@given(qmodels(whole=True, layout="any"))
@settings(max_examples=30, deadline=None)
def test_single_steps_of_a_reversed_model_are_refused(model):
    run = Whole(model)
    x = run.ffi.new("vg_sig[]", model.shape.n_in)
    symbol = run.ffi.new("uint16_t[]", 1)
    y = run.ffi.new("vg_sig[]", model.shape.n_out)
    before = run.memory()
    lib = run.lib
    assert lib.vg_run_step(run.run, x, y) == lib.VG_E_ARG
    assert lib.vg_run_steps(run.run, x, 1, y) == lib.VG_E_ARG
    assert lib.vg_run_steps(run.run, x, 0, y) == lib.VG_E_ARG
    assert lib.vg_run_symbol(run.run, 0, y) == lib.VG_E_ARG
    assert lib.vg_run_symbols(run.run, symbol, 1, y) == lib.VG_E_ARG
    assert run.memory() == before
    assert run.model.whole == 1


@pytest.fixture
def run():
    rng = np.random.default_rng(7)
    return Whole(random_qmodel(rng, whole=True, n_layers=2, n_in=2, mode="sequence"))


def call(made, **changed):
    """vg_run_whole of three steps of zeros with some arguments changed."""
    given = {
        "run": made.run,
        "x": made.ffi.new("vg_sig[]", 6),
        "steps": 3,
        "y": made.ffi.new("vg_sig[]", 3 * made.model.n_out),
        "buf": made.words(1000),
        "size": 1000,
    }
    return made.lib.vg_run_whole(*{**given, **changed}.values())


def test_bad_arguments_are_refused_and_change_nothing(run):
    lib, null = run.lib, run.ffi.NULL
    need = lib.vg_run_whole_size(run.model, 3)
    before = run.memory()
    for what in ({"run": null}, {"x": null}, {"steps": 0}, {"buf": null}):
        assert call(run, **what) == lib.VG_E_ARG
    words = run.words(1004)
    for k in (1, 2, 3):
        at = run.ffi.cast("uint8_t *", words) + k
        assert call(run, buf=at) == lib.VG_E_ALIGN
    assert call(run, size=need - 1) == lib.VG_E_SIZE
    assert call(run, size=0) == lib.VG_E_SIZE
    assert run.memory() == before
    assert call(run, size=need) == lib.VG_OK
    assert run.memory() != before


def test_size_is_asked_for_some_steps_of_some_model(run):
    lib = run.lib
    assert lib.vg_run_whole_size(run.ffi.NULL, 1) == lib.VG_E_ARG
    assert lib.vg_run_whole_size(run.model, 0) == lib.VG_E_ARG
    assert lib.vg_run_whole_size(run.model, 2**32 - 1) == lib.VG_E_SIZE


def buffer_bytes(model, steps):
    run = Whole(model)
    return run.lib.vg_run_whole_size(run.model, steps)


def test_the_last_layer_is_kept_only_as_far_as_y_asks(run):
    rng = np.random.default_rng(8)
    fixed = {"whole": True, "n_layers": 1, "cell": "gru", "n_in": 3}
    for mode in ("sequence", "last", "final"):
        model = random_qmodel(rng, **fixed, mode=mode)
        width = model.shape.width(model.shape.top)
        rows = 50 if mode == "sequence" else 1
        assert buffer_bytes(model, 50) == (2 * rows * width + 3) // 4 * 4


def test_final_reads_a_reverse_layer_after_the_first_step():
    # The same model in two modes: y of final is no y of any step.
    rng = np.random.default_rng(3)
    fixed = {"whole": True, "cell": "rnn_tanh", "n_layers": 1, "output": "none"}
    model = random_qmodel(rng, **fixed, mode="final", n_in=2, initial_state=False)
    x = signals(5, 6, model)
    run = Whole(model)
    y = np.array(run.pass_through(x)[1])
    q = model.layers[-1]
    trace = IntModel(model).run(x[np.newaxis], states=True)
    assert (y[-q.layer.n :] == trace.h[-1][0, 0]).all()  # h after step 1 of x


def test_runner_takes_whole_sequences_of_signals_and_symbols():
    rng = np.random.default_rng(4)
    fixed = {"whole": True, "n_in": 4, "output": "softmax", "scaling": False}
    model = random_qmodel(rng, **fixed, mode="final", sections=False)
    runner, expected = HostRunner(pack(model)), IntModel(model)
    symbols = np.array([1, 3, 0, 2, 2], np.uint16)
    x = (np.eye(4, dtype=np.int16) * (1 << model.x_exp))[symbols]
    want = expected.run(x[np.newaxis])
    for asked in (x, symbols):
        assert (runner.y(asked, last=True) == want.y[0, -1]).all()
        assert (runner.logits(asked, last=True) == want.logits[0, -1]).all()
    with pytest.raises(ValueError, match="a symbol is not below 4"):
        runner.y(np.array([4], np.uint16))
    with pytest.raises(ValueError, match="a step at least"):
        runner.y(x[:0])


def test_executor_refuses_a_sequence_without_a_step():
    model = random_qmodel(np.random.default_rng(5), whole=True, n_in=2)
    with pytest.raises(ValueError, match="a step at least"):
        HostExecutor(pack(model)).run(np.zeros((0, 2), np.int16))


@pytest.mark.parametrize("method", [0, 1])
def test_a_reversed_model_does_not_learn(method):
    run = Whole(reversed_lstm("reverse"))
    forward = Whole(reversed_lstm("forward"))
    learn = {"method": method, "loss": 1, "k2": 1 - method, "rate_q24": 1 << 20}
    settings_of = run.ffi.new("vg_learn *", learn)
    size = run.lib.vg_train_size
    assert size(run.model, settings_of) == run.lib.VG_E_ARG
    assert size(forward.model, settings_of) > 0


def reversed_lstm(direction):
    rng = np.random.default_rng(6)
    shape = Shape((Layer("lstm", 2, 3, direction=direction),), Readout(3, 2, "softmax"))
    return quantize(shape, init_params(shape, rng))
