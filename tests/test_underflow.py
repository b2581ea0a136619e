"""The underflow measurement follows the specification, and says what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyvgrad.blob import pack
from pyvgrad.fixed import half_up, sigmoid_q14, tanh_q14
from pyvgrad.intlearn import IntTrainer
from pyvgrad.learning import Learn
from pyvgrad.long_run import NET_MAKERS, exact_slopes, make_run, q14_slopes
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize
from pyvgrad.underflow import (
    BLOCK,
    REFERENCE,
    block_float,
    carried,
    fixed_flow,
    flows,
    gradient_error,
    measure,
    real_flow,
    saturation,
    start_error,
    toward_zero,
)
from pyvgrad.underflow_page import page

RESULTS = Path(__file__).parents[1] / "docs" / "results"
CASES = ["rnn_tanh, radius 0.95", "lstm, f bias 4", "lstm97, h(x) = 2s - 1"]


def parameters(net):
    return NET_MAKERS[net]()


@pytest.mark.parametrize("net", CASES)
def test_q24_is_what_a_trainer_sends_back_bit_for_bit(net):
    shape, params = parameters(net)
    steps = 40
    run = make_run(shape, params, steps, seed=5)
    learn = Learn(symbols=True, k2=steps, loss="cross-entropy")
    trainer = IntTrainer(pack(quantize(shape, params)), learn)
    x = np.random.default_rng(5).integers(0, shape.n_in, steps)
    trainer.teach(x, np.zeros(steps, int), np.zeros(steps, bool))  # all softmax
    n = shape.layers[0].n
    trainer._method.error(half_up(np.ldexp(start_error(n, 0.1), 24)))
    errors = [step[0] for step in trainer._method._errors()]
    order = trainer.layers[0]
    expected = np.stack([np.concatenate([a[k] for k in order]) for a in errors])
    np.testing.assert_array_equal(fixed_flow(run, 24) * 2.0**24, expected)


@pytest.mark.parametrize("net", CASES)
def test_the_float_flow_is_the_derivative_of_the_float_model(net):
    """By finite differences along each gate's weights; the runs differ by rounding."""
    shape, params = parameters(net)
    steps, seed = 30, 5
    run = make_run(shape, params, steps, seed)
    flow = real_flow(run, exact_slopes(run))
    layer, p = shape.layers[0], params["layers"][0]
    x = np.eye(shape.n_in)[np.random.default_rng(seed).integers(0, shape.n_in, steps)]
    error = start_error(layer.n, 0.1)

    def objective():
        return float(error @ forward(shape, params, x).layers[0]["h"][-1])

    ends = np.cumsum([layer.rows(k) for k in layer.gates])
    rng = np.random.default_rng(0)
    for gate, end in zip(layer.gates, ends, strict=True):
        for part, columns in (
            ("W", slice(layer.n_in)),
            ("U", slice(layer.n_in, layer.n_in + layer.n_recurrent)),
        ):
            G = (flow.T @ run.z)[end - layer.rows(gate) : end, columns]
            d = G / np.linalg.norm(G) + 0.1 * rng.normal(size=G.shape)
            array, found = p[part][gate], []
            for step in (1e-5, -1e-5):
                kept = array.copy()
                array += step * d
                found.append(objective())
                array[...] = kept
            slope = (found[0] - found[1]) / 2e-5
            assert slope == pytest.approx(float(np.sum(G * d)), rel=2e-2)


@pytest.mark.parametrize("net", CASES)
def test_derivatives_of_outputs_are_those_of_arguments_but_for_rounding(net):
    run = make_run(*parameters(net), 20)
    for exact, coarse in zip(exact_slopes(run), q14_slopes(run), strict=True):
        assert exact.keys() <= coarse.keys()
        for key in exact:
            np.testing.assert_allclose(exact[key], coarse[key], atol=1e-3)


def test_block_float_keeps_fifteen_bits_of_the_largest():
    rng = np.random.default_rng(0)
    for scale in (1e-200, 1e-9, 1.0, 1e9):
        v = scale * rng.normal(size=50)
        kept = block_float(v)
        most = np.abs(v).max()
        assert np.abs(kept - v).max() <= most * 2.0**-14
        mantissa = kept / np.exp2(np.frexp(most)[1] - 15)
        np.testing.assert_array_equal(mantissa, np.rint(mantissa))
        assert np.abs(mantissa).max() <= 32767
    np.testing.assert_array_equal(block_float(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(
        block_float(np.array([1 - 2.0**-20])), [32767 / 32768]
    )


def test_toward_zero_is_cut_off():
    lsb = 2.0**-24
    v = np.array([1.9 * lsb, -1.9 * lsb, -0.9 * lsb])
    np.testing.assert_array_equal(toward_zero(v), [lsb, -lsb, 0.0])


def test_what_is_carried_is_counted():
    run = make_run(*parameters("rnn_tanh, radius 0.95"), 3)
    reference = np.ones((3, 16))
    flow = reference * np.array([1.0, 1.05, 1.2])[:, None]
    found = carried(run, flow, reference)
    assert found.lag == 2
    np.testing.assert_allclose(found.error, [0, 0.05, 0.2])
    assert found.smallest == 4.0
    assert carried(run, reference, reference).lag == 3
    assert gradient_error(run, 2 * reference, reference) == pytest.approx(1.0)


def test_too_large_an_error_is_clamped_in_q28_and_not_in_q24():
    run = make_run(*parameters("lstm, f bias 4"), 30)
    exact = exact_slopes(run)
    reference = real_flow(run, exact, size=30.0)
    found = [
        gradient_error(run, fixed_flow(run, bits, size=30.0), reference)
        for bits in (24, 28)
    ]
    assert found[0] < 1e-3 < 0.1 < found[1]


def test_the_choice_holds_where_it_is_hardest():
    """Live, over 1,000 steps: what the page says of q24 against q16 and blocks."""
    (found,) = measure(["lstm, f bias 6"]).values()
    assert found[REFERENCE].gradient == 0.0
    assert found["q24"].gradient < 0.02
    assert found["q20"].gradient > 0.1
    assert found["q16"].gradient > 1.0
    assert found[BLOCK].gradient < 0.01
    assert found["q24"].lag == 1000


def test_every_format_is_measured():
    run = make_run(*parameters("lstm97, h(x) = x"), 5)
    assert {len(flow) for flow in flows(run).values()} == {5}
    assert len(flows(run)) == 10


def test_saturation_is_the_tables():
    s, tanh = saturation()
    for row, table, exp in ((s, sigmoid_q14, 11), (tanh, tanh_q14, 12)):
        z = np.array([round(row.zero * 2**exp)])
        before, at = (int(table(v)[0]) for v in (z - 1, z))
        assert (before, at) == (16383, 16384)
        assert row.tenth < row.half < row.zero
    assert s.zero == pytest.approx(10.4, abs=0.01)
    assert tanh.zero == pytest.approx(5.5, abs=0.05)


def test_the_page_is_made_of_its_figures():
    figures = json.loads((RESULTS / "underflow.json").read_text())
    assert figures["steps"] == 1000
    assert (RESULTS / "underflow.md").read_text() == page(figures, full=True)
    worst = {
        name: max(
            row["gradient_error"] for row in figures["rows"] if row["format"] == name
        )
        for name in ("q16", "q20", "q24", "q28", BLOCK)
    }
    assert worst["q24"] < 0.02
    assert worst["q20"] > 0.1
    assert worst["q28"] < worst["q24"]


def test_a_cell_of_rectified_units_can_be_followed_too():
    """No net of the page has one; the slopes know it."""
    shape = stack("rnn_relu", (7, 6, 7), output="softmax")
    run = make_run(shape, init_params(shape, np.random.default_rng(0), scale=0.3), 10)
    exact, coarse = exact_slopes(run), q14_slopes(run)
    for a, b in zip(exact, coarse, strict=True):
        assert np.mean(a["H_a"] == b["H_a"]) > 0.8
