"""The NumPy integer model against integers worked out one by one.

docs/numbers.md; scalar_model.py is the same page written with loops.
"""

from __future__ import annotations

import dataclasses
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel, random_signals
from scalar_model import ScalarModel

from pyvgrad.blob import crc, pack
from pyvgrad.cells import (
    CELLS,
    MODES,
    OUTPUTS,
    SQUASH_G,
    SQUASH_H,
    Fields,
    Layer,
    Readout,
    Shape,
)
from pyvgrad.intmodel import IntModel, NumpyExecutor
from pyvgrad.qmodel import QLayer, QModel, QReadout


def assert_equals_scalar(model, x):
    """x (T, n_in): outputs, logits, saved states and clamps, step by step."""
    scalar = ScalarModel(model)
    blob = pack(model)
    with NumpyExecutor(blob) as numpy:
        y, logits, states = numpy.run(x, states=True)
        for t in range(len(x)):
            expected_y, expected_logits = scalar.step(x[t])
            assert y[t].tolist() == expected_y
            assert logits[t].tolist() == expected_logits
            saved = crc(blob).to_bytes(4, "little") + scalar.saved()
            assert states[t].tobytes() == saved
        assert numpy.saturated == scalar.saturated
        assert numpy.state == saved


@given(qmodels(), st.integers(0, 2**32), st.booleans())
@settings(max_examples=300, deadline=None)
def test_intmodel_equals_the_scalar_evaluation(model, seed, extreme):
    rng = np.random.default_rng(seed)
    x = random_signals(rng, (4, model.shape.n_in), extreme=extreme)
    assert_equals_scalar(model, x)


def assert_whole_equals_scalar(model, x):
    """As above, of a model with a reversed layer: two sequences, the state goes on."""
    scalar = ScalarModel(model)
    blob = pack(model)
    with NumpyExecutor(blob) as numpy:
        for part in (x[:3], x[3:]):
            y, logits, states = numpy.run(part, states=True)
            expected = scalar.run_whole(part)
            assert y.tolist() == [list(v) for v, _ in expected]
            assert logits.tolist() == [list(v) for _, v in expected]
            saved = crc(blob).to_bytes(4, "little") + scalar.saved()
            assert [v.tobytes() for v in states] == [saved]
            assert numpy.saturated == scalar.saturated
        with pytest.raises(ValueError, match="whole sequences"):
            numpy.step(x[0])


@given(qmodels(whole=True), st.integers(0, 2**32), st.booleans())
@settings(max_examples=200, deadline=None)
def test_reversed_layers_equal_the_scalar_evaluation(model, seed, extreme):
    rng = np.random.default_rng(seed)
    x = random_signals(rng, (5, model.shape.n_in), extreme=extreme)
    assert_whole_equals_scalar(model, x)


@pytest.mark.parametrize("mode", MODES)
def test_reversed_layers_start_at_each_sequence_s_end(mode):
    rng = np.random.default_rng(3)
    model = random_qmodel(rng, whole=True, n_layers=2, mode=mode, output="linear")
    x = random_signals(rng, (2, 6, model.shape.n_in))
    lengths = np.array([6, 4])
    together = IntModel(model).run(x, lengths, states=True, gates=True)
    for k, length in enumerate(lengths):
        alone = IntModel(model).run(x[k : k + 1, :length], states=True, gates=True)
        assert np.array_equal(together.y[k, :length], alone.y[0])
        assert together.saturated[k] == alone.saturated[0]
        assert np.array_equal(together.images[k], alone.images[0])
        for many, one in zip(together.h, alone.h, strict=True):
            assert np.array_equal(many[k, :length], one[0])


@given(qmodels(extreme=True), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_intmodel_equals_the_scalar_evaluation_at_the_limits(model, seed):
    rng = np.random.default_rng(seed)
    assert_equals_scalar(
        model, random_signals(rng, (4, model.shape.n_in), extreme=True)
    )


FIELDS = [
    Fields(g, h, o, f, recurrent, feedback)
    for g in SQUASH_G
    for h in SQUASH_H
    for o in (False, True)
    for f in (False, True)
    for recurrent, feedback in ((False, False), (True, False), (True, True))
]


@pytest.mark.parametrize("fields", FIELDS)
def test_every_field_of_lstm97_equals_the_scalar_evaluation(fields):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        model = random_qmodel(rng, cell="lstm97", fields=fields, block=1 + seed)
        assert_equals_scalar(model, random_signals(rng, (3, model.shape.n_in)))


@pytest.mark.parametrize("output", [*OUTPUTS, "none"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("cell", list(CELLS))
def test_every_cell_and_output_equals_the_scalar_evaluation(cell, bits, output):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        model = random_qmodel(
            rng, cell=cell, bits=bits, output=output, shortcuts=seed != 1
        )
        assert_equals_scalar(model, random_signals(rng, (4, model.shape.n_in)))


def test_many_outputs_equal_the_scalar_evaluation():
    rng = np.random.default_rng(5)
    model = random_qmodel(rng, output="softmax", n_out=5000, n_max=3, n_layers=1)
    assert_equals_scalar(model, random_signals(rng, (2, model.shape.n_in)))


# ---- by hand -------------------------------------------------------------


def one_cell(cell, fields, weights, *, E, biases=None, h_exp=14, c0=None, h0=0):
    """One cell, one input on q14, no readout; weights {gate: row}."""
    biases = biases or {}
    layer = Layer(
        cell,
        1,
        1,
        1,
        fields,
        bool(set(biases) & set("ag")),
        bool(set(biases) & set("ifo")),
    )
    q = QLayer(
        layer,
        h_exp,
        {k: np.array([E[k]]) for k in weights},
        {k: np.array([w]) for k, w in weights.items()},
        {k: np.array([b]) for k, b in biases.items()},
        None if c0 is None else np.array([c0]),
        None if c0 is None and not h0 else np.array([h0]),
    )
    return QModel(Shape((layer,)), (q,), None, 16, 14, 14)


PLAIN = Fields("4s-2", "identity", False, False, False, False)


def test_a_step_of_the_cell_of_1997_by_hand():
    # x = 1.0; a_i = 16384 * 8192 / 2^(25 - 11) = 8192 (4.0): S = 16089 (.98201)
    # a_g = 16384 * 4096 / 2^14 = 4096 (2.0): T(4096) = 12478 (tanh 1), m = 128
    # c' = rs(128 * 16089 * 12478, 14) = 1568438 (1.49578), h' = rs(c', 20 - 10) = 1532
    model = one_cell(
        "lstm97", PLAIN, {"i": [8192], "g": [4096]}, E={"i": 25, "g": 25}, h_exp=10
    )
    trace = IntModel(model).run([[[16384]]], states=True, gates=True)
    assert trace.gates[0]["i"].tolist() == [[[16089]]]
    assert trace.gates[0]["g"].tolist() == [[[2 * 12478]]]
    assert trace.c[0].tolist() == [[[(128 * 16089 * 12478 + 2**13) >> 14]]]
    assert trace.y.tolist() == [[[1532]]]
    assert trace.saturated.tolist() == [0]


def test_a_step_of_relu_by_hand():
    # acc = -3 * 100 + 2 * 50 + 7 = -193 and, with x = -100, 407; E - h_exp = 1
    # rs(-193, 1) = -96 -> 0; rs(407, 1) = 204
    model = one_cell(
        "rnn_relu", None, {"a": [-3, 2]}, E={"a": 9}, biases={"a": 7}, h_exp=8, h0=50
    )
    assert IntModel(model).run([[[100]]]).y.tolist() == [[[0]]]
    assert IntModel(model).run([[[-100]]]).y.tolist() == [[[204]]]


def test_relu_counts_the_clamp_above_and_not_the_one_below():
    model = one_cell("rnn_relu", None, {"a": [32767, 0]}, E={"a": 9}, h_exp=8)
    x = [[[2], [3]], [[-32768], [-32768]], [[32767], [1]]]
    trace = IntModel(model).run(x)
    # rs(2 * 32767, 1) = 32767 is no clamp; rs(98301, 1) = 49151 is one
    assert trace.y[..., 0].tolist() == [[32767, 32767], [0, 0], [32767, 16384]]
    assert trace.saturated.tolist() == [1, 0, 1]


def test_c_and_unbounded_h_are_counted_each():
    # i = g = 1 (clamped arguments, not counted): c grows by 2.0 a step from the limit
    model = one_cell(
        "lstm97",
        PLAIN,
        {"i": [32767], "g": [32767]},
        E={"i": 12, "g": 12},
        c0=2**30 - 2**21,
        h_exp=5,
    )
    trace = IntModel(model).run([[[32767]] * 3], states=True)
    assert trace.c[0][0, :, 0].tolist() == [2**30] * 3  # reached, then clamped
    # h = 1024 * 32 = 32768 clamps at 32767 in all three steps
    assert trace.y[0, :, 0].tolist() == [32767] * 3
    counts = trace.images[0, :, 4:8].copy().view("<u4")[:, 0]
    assert counts.tolist() == [1, 3, 5]


def test_arguments_of_squashing_functions_are_not_counted():
    model = one_cell("rnn_tanh", None, {"a": [32767, 0]}, E={"a": 13})
    trace = IntModel(model).run([[[32767], [-32768]]])
    assert trace.y[0, :, 0].tolist() == [16384, -16384]
    assert trace.saturated.tolist() == [0]


@pytest.mark.parametrize(
    ("output", "counted"), [("linear", 7), ("logistic", 0), ("softmax", 7)]
)
def test_logits_are_counted_unless_logistic(output, counted):
    cell = one_cell("rnn_tanh", None, {"a": [0, 0]}, E={"a": 20})
    readout = Readout(1, 7, output, shortcuts=1, biases=False)
    weights = np.tile([0, 32767], (7, 1))
    q = QReadout(readout, 11, np.full(7, 12), weights, None)
    model = dataclasses.replace(cell, shape=Shape((cell.layers[0].layer,), readout))
    model = dataclasses.replace(model, readout=q)
    trace = IntModel(model).run([[[32767]]])
    assert set(trace.logits.ravel().tolist()) == {32767}
    assert trace.saturated.tolist() == [counted]


def test_int8_rows_have_their_own_exponents():
    layer = Layer("rnn_tanh", 1, 2, cell_biases=False)
    q = QLayer(
        layer,
        14,
        {"a": np.array([13, 20])},
        {"a": np.array([[1, 0, 0], [127, 0, 0]])},
        {},
    )
    model = QModel(Shape((layer,)), (q,), None, 8, 14, 14)
    # a = rs(1000, 1) = 500 and rs(127000, 8) = 496; tanh of q12 to q14
    expected = [round(16384 * float(np.tanh(a / 4096))) for a in (500, 496)]
    assert IntModel(model).run([[[1000]]]).y.tolist() == [[expected]]


def test_the_count_of_clamps_is_modulo_2_to_the_32():
    model = one_cell("rnn_relu", None, {"a": [32767, 0]}, E={"a": 9}, h_exp=8)
    run = NumpyExecutor(pack(model))
    run.state = run.state[:4] + b"\xff" * 4 + run.state[8:]
    run.step(np.array([32767], np.int16))
    assert run.saturated == 0
    assert run.state[4:8] == bytes(4)


@pytest.mark.parametrize(
    "x", [[1.0], [1, 2], [40000], [-32769], 1, [[1]], [float("nan")]]
)
def test_what_is_no_signal_is_refused(x):
    model = one_cell("rnn_tanh", None, {"a": [1, 1]}, E={"a": 20})
    with pytest.raises(ValueError, match="int16"):
        NumpyExecutor(pack(model)).step(x)
    with pytest.raises(ValueError, match="int16"):
        IntModel(model).run([[x]])


# ---- bounds and speed ----------------------------------------------------


@given(qmodels(extreme=True), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_float64_products_are_the_same_integers(model, seed):
    rng = np.random.default_rng(seed)
    for q in model.layers:
        for w in q.weights.values():
            z = random_signals(rng, (8, w.shape[1]), extreme=True).astype(np.int64)
            exact = z @ w.T
            assert np.array_equal(z.astype(float) @ w.T.astype(float), exact)


def test_the_largest_sum_stays_below_2_to_the_53():
    columns = 65535 * 4  # x, h, i and o at their most
    largest = columns * 32767 * 2**15 + 2**31 + 2**30
    assert columns <= 2**18 - 1
    assert largest < 2**53
    z = np.full((1, columns), -32768)
    w = np.full((columns, 1), 32767)
    assert (z @ w).tolist() == [[-columns * 32767 * 32768]]
    assert (z.astype(float) @ w.astype(float)).tolist() == (z @ w).tolist()


def test_512_strings_take_less_than_a_second():
    rng = np.random.default_rng(0)
    model = random_qmodel(rng, cell="lstm", n_layers=1, n_in=7, n_max=12, n_out=7)
    x = random_signals(rng, (512, 40, 7))
    model_in_numpy = IntModel(model)
    model_in_numpy.run(x[:1])  # tables
    start = perf_counter()
    model_in_numpy.run(x)
    assert perf_counter() - start < 1.0
