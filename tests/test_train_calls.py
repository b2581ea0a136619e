"""Targets, symbols and factors out of range: an error, and nothing changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_train_input import (
    BARE,
    E_ARG,
    LEAST,
    LINEAR,
    LOGISTIC,
    MOST,
    MSE,
    RNN,
    SOFTMAX,
    STACK,
    TBPTT,
    used,
)
from trainings import make

# ---- targets and symbols ---------------------------------------------------

TARGETS = [
    (SOFTMAX, TBPTT, [[-1], [2], [32767], [-32768]], [[0], [1]]),
    (
        *(LOGISTIC, TBPTT),
        [[-1, 0], [0, -1], [16385, 0], [0, 16385], [32767, 0]],
        [[0, 16384]],
    ),
    (LINEAR, MSE, [], [[-32768, 32767]]),
]


@pytest.mark.parametrize("method", ["tbptt", "rtrl97"])
@pytest.mark.parametrize(("model", "learn", "bad", "good"), TARGETS)
def test_targets_out_of_range_take_no_step(model, learn, bad, good, method):
    if method == "rtrl97":
        learn = dataclasses.replace(learn, method=method, k1=1, k2=0)
    training = used(model, learn)
    x = np.ones((3, 3), np.int16)
    before = training.memory()
    y = training.sigs([7, 7])
    for target in bad:
        raw_x, raw_target = training.sigs(x[0]), training.sigs(target)
        got = training.lib.vg_train_step(training.t, raw_x, raw_target, y)
        assert got == E_ARG
        assert list(y) == [7, 7]
        assert training.steps(x, [*good, *good, target][-3:]) == E_ARG
        assert training.memory() == before
    for target in bad:  # unknown, so not looked at
        assert training.steps(x[:1], [target], [0]) >= 0
    for target in good:
        assert training.steps(x[:1], [target]) >= 0
        assert training.memory() != before


@pytest.mark.parametrize("method", ["tbptt", "rtrl97"])
def test_symbols_out_of_range_take_no_step(method):
    learn = make(method=method, symbols=True, k1=1)
    training = used(SOFTMAX, learn)
    before = training.memory()
    for symbol in (3, 4, 65535):
        assert training.step(symbol, [0])[0] == E_ARG
        assert training.steps([0, 1, symbol], [0, 1, 0]) == E_ARG
        assert training.memory() == before
    got = training.lib.vg_train_symbol(
        training.t, 2**32 - 1, training.sigs([0]), training.ffi.NULL
    )
    assert got == E_ARG
    assert training.memory() == before


@pytest.mark.parametrize("symbols", [False, True])
def test_inputs_of_the_other_kind_take_no_step(symbols):
    training = used(SOFTMAX, make(k2=4, symbols=symbols))
    before = training.memory()
    other = [0, 0, 0] if symbols else 0
    assert training.step(other, [0])[0] == E_ARG
    assert training.steps([other], [[0]]) == E_ARG
    assert training.memory() == before


def test_more_steps_than_can_be_counted_are_refused():
    lib = used().lib
    dense, symbols = used(), used(SOFTMAX, make(k2=4, symbols=True))
    before = dense.memory(), symbols.memory()
    x, null = dense.sigs([0] * 3), dense.ffi.NULL
    assert lib.vg_train_steps(dense.t, x, null, null, 2**31) == E_ARG
    one = dense.ffi.new("uint16_t[]", 1)
    assert lib.vg_train_symbols(symbols.t, one, null, null, 2**31) == E_ARG
    assert (dense.memory(), symbols.memory()) == before


# ---- factors ---------------------------------------------------------------

X, H, B = 0, 1, 2
FACTORS = [  # model, layer, gate, part: is there such a one?
    (SOFTMAX, 0, 0, X, True),
    (SOFTMAX, 0, 3, H, True),
    (SOFTMAX, 0, 4, X, False),
    (SOFTMAX, 0, 0, 3, False),
    (SOFTMAX, 1, 0, H, True),
    (SOFTMAX, 1, 0, X, False),  # no shortcuts
    (SOFTMAX, 1, 1, H, False),
    (SOFTMAX, 2, 0, H, False),
    (SOFTMAX, 2**32 - 1, 0, H, False),
    (SOFTMAX, 0, 2**32 - 1, H, False),
    (SOFTMAX, 0, 0, 2**32 - 1, False),
    (LOGISTIC, 0, 1, X, True),
    (LOGISTIC, 0, 1, H, False),  # no recurrent weights
    (LOGISTIC, 0, 2, X, False),
    (STACK, 1, 3, X, True),
    (STACK, 2, 0, H, True),
    (BARE, 2, 0, X, True),
    (BARE, 3, 0, H, False),  # no readout
]


@pytest.mark.parametrize(("model", "layer", "gate", "part", "there"), FACTORS)
def test_factors_of_what_is_not_there_are_refused(model, layer, gate, part, there):
    learn = MSE if model.readout is None else TBPTT
    training = used(model, learn)
    before = training.memory()
    rate = training.lib.vg_train_rate
    for factor in (-1, LEAST):
        assert rate(training.t, layer, gate, part, factor) == E_ARG
    if not there:
        for factor in (0, 1, 65536, MOST):
            assert rate(training.t, layer, gate, part, factor) == E_ARG
    assert training.memory() == before
    if there:
        for factor in (0, 1, MOST):
            assert rate(training.t, layer, gate, part, factor) == 0


def test_factors_of_biases_are_those_of_gates_that_have_them():
    for model in (SOFTMAX, LOGISTIC, STACK, RNN):
        training = used(model, TBPTT)
        for k, q in enumerate(model.layers):
            for gate, letter in enumerate(q.layer.gates):
                got = training.lib.vg_train_rate(training.t, k, gate, B, 5)
                assert got == (0 if q.layer.has_bias(letter) else E_ARG)
        got = training.lib.vg_train_rate(training.t, len(model.layers), 0, B, 5)
        assert got == (0 if model.readout.readout.biases else E_ARG)
