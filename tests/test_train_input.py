"""Bad input of a training: the right error, and nothing changed."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest
from trainings import (
    CANARY,
    Memory,
    Training,
    blob_of,
    make,
    random_lesson,
    small_model,
    teach,
)

from pyvgrad.cells import Fields

E_ARG, E_ALIGN, E_SIZE, E_FORMAT = -1, -2, -3, -5
FORM = struct.Struct("<4B2HIiiiiI")
FIELDS = (  # noqa: SIM905
    "method rule loss flags k1 k2 frozen rate decay clip epsilon seed"
).split()
LAG = Fields("4s-2", "identity", False, False, recurrent=False)


def raw(learn, **changed):
    """The bytes of the settings, with fields that Learn would not admit."""
    values = dict(zip(FIELDS, FORM.unpack(learn.to_bytes()), strict=True))
    return FORM.pack(*{**values, **changed}.values())


SOFTMAX = small_model(1, cell="lstm", n_layers=1, output="softmax", shortcuts=False)
LOGISTIC = small_model(1, cell="lstm97", n_layers=1, output="logistic", fields=LAG)
LINEAR = small_model(2, cell="lstm", n_layers=1, output="linear")
STACK = small_model(3, cell="lstm", n_layers=2, output="softmax")
RNN = small_model(4, cell="rnn_tanh", n_layers=1, output="softmax")
BARE = small_model(5, cell="rnn_relu", n_layers=3, output="none")
DEEP = small_model(6, cell="rnn_tanh", n_layers=33, output="linear", n_max=1)

RTRL, TBPTT = make(method="rtrl97"), make(k2=4, k1=2)
MSE = dataclasses.replace(TBPTT, loss="mse")
MOMENTUM, RMS = make(rule="momentum", k2=2), make(rule="rmsprop", k2=2)
MOST, LEAST = 2**31 - 1, -(2**31)

ADMITTED = {
    "rtrl97": (SOFTMAX, RTRL, {}),
    "rtrl97 with k1 = 1": (SOFTMAX, RTRL, {"k1": 1}),
    "tbptt": (SOFTMAX, TBPTT, {}),
    "k1 = k2": (SOFTMAX, TBPTT, {"k1": 4}),
    "k2 65535": (SOFTMAX, TBPTT, {"k1": 65535, "k2": 65535}),
    "all flags": (SOFTMAX, MOMENTUM, {"flags": 3}),
    "limits": (
        *(SOFTMAX, MOMENTUM),
        {"rate": MOST, "decay": 16383, "clip": MOST, "seed": 2**32 - 1},
    ),
    "momentum without decay": (SOFTMAX, MOMENTUM, {"decay": 0}),
    "rmsprop at its limits": (SOFTMAX, RMS, {"decay": 0, "epsilon": MOST}),
    "rate 1": (SOFTMAX, TBPTT, {"rate": 1}),
    "logistic by mse": (LOGISTIC, MSE, {}),
    "logistic by cross-entropy": (LOGISTIC, TBPTT, {}),
    "linear by mse": (LINEAR, MSE, {}),
    "no readout": (BARE, MSE, {"frozen": 0b111}),
    "frozen readout": (STACK, TBPTT, {"frozen": 1 << 31 | 0b11}),
    "31 layers frozen": (DEEP, MSE, {"frozen": 2**32 - 1}),
}
WRONG = {
    "method 2": (SOFTMAX, TBPTT, {"method": 2}),
    "method 255": (SOFTMAX, RTRL, {"method": 255}),
    "rule 3": (SOFTMAX, TBPTT, {"rule": 3}),
    "loss 2": (LOGISTIC, TBPTT, {"loss": 2}),
    "mse of a softmax": (SOFTMAX, TBPTT, {"loss": 0}),
    "cross-entropy of a linear output": (LINEAR, MSE, {"loss": 1}),
    "cross-entropy without a readout": (BARE, MSE, {"loss": 1}),
    "flag 4": (SOFTMAX, MOMENTUM, {"flags": 4}),
    "flag 128": (SOFTMAX, MOMENTUM, {"flags": 128}),
    "nesterov of sgd": (SOFTMAX, TBPTT, {"flags": 1}),
    "nesterov of rmsprop": (SOFTMAX, RMS, {"flags": 1}),
    "k1 > k2": (SOFTMAX, TBPTT, {"k1": 5}),
    "k2 = 0": (SOFTMAX, TBPTT, {"k1": 0, "k2": 0}),
    "rtrl97, k1 = 2": (SOFTMAX, RTRL, {"k1": 2}),
    "rtrl97, k2 = 1": (SOFTMAX, RTRL, {"k2": 1}),
    "rtrl97 of an rnn": (RNN, RTRL, {}),
    "rtrl97 of two layers": (STACK, RTRL, {}),
    "rate 0": (SOFTMAX, TBPTT, {"rate": 0}),
    "rate -1": (SOFTMAX, TBPTT, {"rate": -1}),
    "rate least": (SOFTMAX, TBPTT, {"rate": LEAST}),
    "decay -1": (SOFTMAX, MOMENTUM, {"decay": -1}),
    "decay 1.0": (SOFTMAX, MOMENTUM, {"decay": 16384}),
    "decay of rmsprop 1.0": (SOFTMAX, RMS, {"decay": 16384}),
    "decay of sgd": (SOFTMAX, TBPTT, {"decay": 1}),
    "clip -1": (SOFTMAX, TBPTT, {"clip": -1}),
    "epsilon 0": (SOFTMAX, RMS, {"epsilon": 0}),
    "epsilon -1": (SOFTMAX, RMS, {"epsilon": -1}),
    "epsilon of sgd": (SOFTMAX, TBPTT, {"epsilon": 1}),
    "epsilon of momentum": (SOFTMAX, MOMENTUM, {"epsilon": 1}),
    "layer 1 of 1 frozen": (SOFTMAX, TBPTT, {"frozen": 2}),
    "layer 2 of 2 frozen": (STACK, TBPTT, {"frozen": 4}),
    "layer 30 frozen": (STACK, TBPTT, {"frozen": 1 << 30}),
    "no readout to freeze": (BARE, MSE, {"frozen": 1 << 31}),
}


@pytest.mark.parametrize(("model", "learn", "changed"), ADMITTED.values(), ids=ADMITTED)
def test_settings_within_their_ranges_are_admitted(model, learn, changed):
    training = Training(blob_of(model), raw(learn, **changed))
    assert training.size > 0
    assert training.bad == 0
    assert training.learn.to_bytes() == raw(learn, **changed)
    assert training.lib.vg_train_tune(training.t, training.raw) == 0


@pytest.mark.parametrize(("model", "learn", "changed"), WRONG.values(), ids=WRONG)
def test_settings_out_of_range_are_refused(model, learn, changed):
    training = Training(blob_of(model), raw(learn, **changed))
    assert training.size == E_ARG
    assert training.bad == E_ARG
    training.arena = Memory(training.ffi, 100_000)
    before = training.memory()
    got = training.lib.vg_train_init(
        training.t, training.model, training.raw, training.arena.at, 100_000
    )
    assert got == E_ARG
    assert training.memory() == before


@pytest.mark.parametrize("name", [n for n in WRONG if "rtrl97 of" not in n])
def test_tune_refuses_settings_out_of_range(name):
    model, learn, changed = WRONG[name]
    training = used(model, learn)
    before = training.memory()
    bad = training.settings(raw(learn, **changed))
    assert training.lib.vg_train_tune(training.t, bad) == E_ARG
    assert training.memory() == before


def used(model=SOFTMAX, learn=TBPTT, *, steps=5):
    """A training in the middle of its second sequence."""
    training = Training(blob_of(model), learn)
    assert training.bad == 0
    rng = np.random.default_rng(0)
    teach(training, random_lesson(rng, model, learn, 4))
    training.end()
    teach(training, random_lesson(rng, model, learn, steps))
    return training


KEPT = {
    "method": (SOFTMAX, RTRL, {"method": 0, "k2": 1}),
    "rule": (SOFTMAX, TBPTT, {"rule": 1}),
    "loss": (LOGISTIC, TBPTT, {"loss": 0}),
    "symbols": (SOFTMAX, TBPTT, {"flags": 2}),
    "nesterov": (SOFTMAX, MOMENTUM, {"flags": 1}),
    "k1": (SOFTMAX, TBPTT, {"k1": 1}),
    "k2": (SOFTMAX, TBPTT, {"k2": 5}),
}


@pytest.mark.parametrize(("model", "learn", "changed"), KEPT.values(), ids=KEPT)
def test_tune_refuses_what_a_training_keeps(model, learn, changed):
    bad = raw(learn, **changed, rate=5)
    assert Training(blob_of(model), bad).bad == 0  # good in itself
    training = used(model, learn)
    before = training.memory()
    assert training.lib.vg_train_tune(training.t, training.settings(bad)) == E_ARG
    assert training.memory() == before


def test_tune_changes_the_rest():
    training = used(STACK, RMS)
    new = {"frozen": 3, "rate": 5, "decay": 6, "clip": 7, "epsilon": 8, "seed": 9}
    for name, value in new.items():
        now = raw(training.learn, **{name: value})
        assert training.lib.vg_train_tune(training.t, training.settings(now)) == 0
        assert training.learn.to_bytes() == now


# ---- pointers and memory ---------------------------------------------------


@pytest.mark.parametrize("what", [0, 1, 3])
def test_init_with_null_is_an_argument_error(what):
    training = used()
    before = training.memory()
    args = [training.t, training.model, training.raw, training.arena.at, training.size]
    args[what] = training.ffi.NULL
    assert training.lib.vg_train_init(*args) == E_ARG
    assert training.memory() == before


@pytest.mark.parametrize("zeros", [False, True], ids=["null", "zeros"])
def test_every_call_on_what_was_not_begun_is_an_argument_error(zeros):
    training = used()
    lib, null, raw = training.lib, training.ffi.NULL, training.raw
    t = training.ffi.new("vg_train *") if zeros else null
    x, target, y = (training.sigs(v) for v in ([1, 2, 3], [1], [7, 7]))
    symbols = training.ffi.new("uint16_t[]", 1)
    assert lib.vg_train_tune(t, raw) == E_ARG
    assert lib.vg_train_rate(t, 0, 0, 0, 1) == E_ARG
    assert lib.vg_train_step(t, x, target, y) == E_ARG
    assert lib.vg_train_symbol(t, 0, target, y) == E_ARG
    assert lib.vg_train_steps(t, x, target, null, 1) == E_ARG
    assert lib.vg_train_symbols(t, symbols, target, null, 1) == E_ARG
    assert lib.vg_train_end(t) == E_ARG
    for call in (lib.vg_train_blob, lib.vg_train_checkpoint):
        size = training.ffi.new("uint32_t *", 7)
        assert call(t, size) == null
        assert size[0] == 0
        assert call(t, null) == null
    assert list(y) == [7, 7]
    assert not zeros or not any(bytes(training.ffi.buffer(t)))


def test_every_other_null_is_an_argument_error():
    training = used()
    before = training.memory()
    lib, t, null = training.lib, training.t, training.ffi.NULL
    target = training.sigs([1])
    symbols = used(SOFTMAX, make(k2=4, symbols=True)).t
    assert lib.vg_train_size(null, training.raw) == E_ARG
    assert lib.vg_train_tune(t, null) == E_ARG
    assert lib.vg_train_step(t, null, target, null) == E_ARG
    assert lib.vg_train_steps(t, null, target, null, 1) == E_ARG
    assert lib.vg_train_symbols(symbols, null, target, null, 1) == E_ARG
    assert training.memory() == before


@pytest.mark.parametrize("name", ["vg_train_blob", "vg_train_checkpoint"])
def test_a_blob_without_its_size_is_the_same_blob(name):
    training = used()
    call, size = getattr(training.lib, name), training.ffi.new("uint32_t *")
    at = training.ffi.cast("char *", call(training.t, size))
    whole = bytes(training.ffi.buffer(at, size[0]))
    training = used()
    assert call(training.t, training.ffi.NULL) == training.arena.at
    assert training.arena.bytes()[CANARY:][: size[0]] == whole


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_init_in_a_misaligned_arena_is_an_alignment_error(offset):
    training = used()
    arena = Memory(training.ffi, training.size + 4)
    before = [*training.memory(), arena.bytes()]
    got = training.lib.vg_train_init(
        training.t, training.model, training.raw, arena.at + offset, training.size
    )
    assert got == E_ALIGN
    assert [*training.memory(), arena.bytes()] == before


@pytest.mark.parametrize("learn", [RTRL, TBPTT, MOMENTUM], ids=["rtrl97", "tbptt", "m"])
@pytest.mark.parametrize("resumed", [False, True])
def test_an_arena_one_byte_short_is_a_size_error(learn, resumed):
    training = used(SOFTMAX, learn)
    if resumed:
        training = Training(training.checkpoint(), None)
    before = training.memory()
    for size in (training.size - 1, training.size - 4, 1, 0):
        got = training.lib.vg_train_init(
            training.t, training.model, training.raw, training.arena.at, size
        )
        assert got == E_SIZE
        assert training.memory() == before
    assert training.init() == 0
    assert training.arena.whole()


def test_more_than_two_gigabytes_are_a_size_error():
    model = small_model(7, cell="lstm", n_layers=1, output="softmax", n_in=5000)
    least = make(k2=65535)
    training = Training(blob_of(model), make(k2=1))
    assert training.lib.vg_train_size(training.model, training.settings(least)) > 0
    wide = small_model(7, cell="lstm", n_layers=1, output="softmax", n_in=30000)
    training = Training(blob_of(wide), make(k2=1))
    before = training.memory()
    raw_most = training.settings(least)
    assert training.lib.vg_train_size(training.model, raw_most) == E_SIZE
    got = training.lib.vg_train_init(
        training.t, training.model, raw_most, training.arena.at, 2**32 - 1
    )
    assert got == E_SIZE
    assert training.memory() == before


@pytest.mark.parametrize("bits", [8, 16])
def test_a_blob_that_the_arena_would_overwrite_is_refused(bits):
    model = small_model(8, cell="lstm", n_layers=1, output="softmax", bits=bits)
    blob = blob_of(model)
    training = Training(blob, RTRL)
    size = training.size
    memory = Memory(training.ffi, size + 2 * len(blob))
    arena = memory.at + len(blob)
    for at in (-len(blob), -len(blob) + 4, -4, 0, 4, size - 4, size):
        if not -len(blob) <= at <= size:
            continue
        training.ffi.memmove(arena + at, blob, len(blob))
        assert training.open(arena + at, len(blob)) == 0
        before = memory.bytes()
        got = training.lib.vg_train_init(
            training.t, training.model, training.raw, arena, size
        )
        apart = at in (-len(blob), size)
        if apart or (at == 0 and bits == 16):
            assert got == 0
            assert training.plain_in(arena) == Training(blob, RTRL).plain()
        else:
            assert got == E_ARG
            assert memory.bytes() == before
    assert memory.whole()


def test_nothing_to_go_on_with_is_a_format_error():
    training = Training(blob_of(SOFTMAX), None)
    assert training.size == E_FORMAT
    assert training.bad == E_FORMAT
    assert not any(bytes(training.ffi.buffer(training.t)))
