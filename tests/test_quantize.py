"""Float to integers: docs/numbers.md, "Quantizing a float model"."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import SHAPES

from pyvgrad.blob import pack, parse
from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.intmodel import IntModel
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize, signal_exp

LIMIT = {16: 32767, 8: 127}


def nearest(value, exp):
    """floor(value 2^exp + 1/2) in rational numbers."""
    v = Fraction(float(value)) * Fraction(2) ** int(exp) + Fraction(1, 2)
    return v.numerator // v.denominator


def maps_of(shape, params, q):
    """(float weights, biases or None, columns' exponents, E, ints, int biases, arg,
    whether it shares E)."""
    for index, layer in enumerate(shape.layers):
        p, ql = params["layers"][index], q.layers[index]
        for k in layer.gates:
            parts = [p[j][k] for j in "WUP" if k in p.get(j, {})]
            w = np.concatenate([v.reshape(layer.rows(k), -1) for v in parts], axis=1)
            ints = ql.weights[k], ql.biases.get(k), ql.argument_exp(k)
            exps = q.column_exps(index, k), ql.exps[k]
            yield w, p["b"].get(k), *exps, *ints, layer.cell == "gru" and k in "nm"
    if shape.readout is not None:
        p, qr = params["readout"], q.readout
        w = np.concatenate([p[k] for k in ("W", "V") if k in p], axis=1)
        columns = q.readout_exps
        ints = qr.weights, qr.biases, qr.logit_exp
        yield w, p.get("b"), columns, qr.exps, *ints, False


def fits(w, b, columns, e, bits):
    """Whether a map fits at the accumulator exponent e, in rational numbers."""
    weights = [
        nearest(v, e - c) for row in w for v, c in zip(row, columns, strict=True)
    ]
    biases = [] if b is None else [nearest(v, e) for v in b]
    return all(abs(v) <= LIMIT[bits] for v in weights) and all(
        -(2**31) <= v < 2**31 for v in biases
    )


def could_be_larger(w, b, columns, e, bits, arg):
    """Whether a map, of some rows, would fit at e + 1."""
    return e - arg < 31 and fits(w, b, columns, e + 1, bits)


@pytest.mark.parametrize("bits", [16, 8])
def test_n_and_m_of_a_gru_have_the_smaller_exponent_of_the_two(bits):
    shape = stack("gru", (3, 5, 2), output="linear")
    wide = init_params(shape, np.random.default_rng(3), scale=0.5)
    for k, tree in (("n", "W"), ("m", "U")):
        wide["layers"][0][tree][k] *= 2.0 ** np.arange(-2, 3)[:, None]
        wide["layers"][0]["b"][k] *= 0.1
    layer = quantize(shape, wide, weight_bits=bits).layers[0]
    assert np.array_equal(layer.exps["n"], layer.exps["m"])
    assert len(set(layer.exps["n"])) == (5 if bits == 8 else 1)
    maps = list(maps_of(shape, wide, quantize(shape, wide, weight_bits=bits)))[2:4]
    for rows in [slice(k, k + 1) for k in range(5)] if bits == 8 else [slice(5)]:
        e = int(layer.exps["n"][rows][0])
        both = [
            could_be_larger(w[rows], b[rows], columns, e, bits, arg)
            for w, b, columns, _, _, _, arg, _ in maps
        ]
        assert not all(both)


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("name", SHAPES)
def test_integers_are_the_nearest_and_exponents_the_largest(name, bits):
    shape = SHAPES[name]
    rng = np.random.default_rng(7)
    params = init_params(shape, rng, scale=float(rng.uniform(0.01, 4)))
    q = quantize(shape, params, weight_bits=bits)
    for w, b, columns, exps, ints, int_biases, arg, joined in maps_of(shape, params, q):
        expected = [
            [nearest(v, e - c) for v, c in zip(row, columns, strict=True)]
            for row, e in zip(w, exps, strict=True)
        ]
        assert ints.tolist() == expected
        if b is not None:
            pairs = zip(b, exps, strict=True)
            assert int_biases.tolist() == [nearest(v, e) for v, e in pairs]
        rows = range(len(w)) if bits == 8 else [slice(None)]
        for r in rows:
            part = np.atleast_2d(w[r])
            bias = None if b is None else np.atleast_1d(b[r])
            e = int(np.atleast_1d(exps[r])[0])
            assert np.all(exps[r] == e)
            assert fits(part, bias, columns, e, bits)
            assert joined or not could_be_larger(part, bias, columns, e, bits, arg)


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("name", SHAPES)
def test_every_quantized_model_is_a_blob(name, bits):
    shape = SHAPES[name]
    params = init_params(shape, np.random.default_rng(1), scale=0.5)
    q = quantize(shape, params, weight_bits=bits, x_exp=11)
    assert parse(pack(q)) == q


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 16]))
@settings(max_examples=100, deadline=None)
def test_dequantized_weights_are_within_half_a_step(seed, bits):
    rng = np.random.default_rng(seed)
    shape = stack("lstm", (2, 2, 2), output="softmax", shortcuts=True)
    params = init_params(shape, rng, scale=float(10 ** rng.uniform(-9, 1)))
    q = quantize(shape, params, weight_bits=bits)
    for w, b, columns, exps, ints, int_biases, *_ in maps_of(shape, params, q):
        step = np.ldexp(1.0, columns[None, :] - exps[:, None])
        assert (np.abs(ints * step - w) <= step / 2).all()
        assert (np.abs(np.ldexp(int_biases, -exps) - b) <= np.ldexp(0.5, -exps)).all()


@pytest.mark.parametrize("bits", [16, 8])
def test_a_gate_of_zeros_has_shift_16(bits):
    shape = stack("lstm", (2, 3, 2), output="logistic")
    params = init_params(shape, np.random.default_rng(0), scale=0.5)
    for name in ("W", "U", "b"):
        params["layers"][0][name]["f"] *= 0.0
    params["readout"]["W"][1] = params["readout"]["b"][1] = 0.0
    q = quantize(shape, params, weight_bits=bits)
    assert q.layers[0].exps["f"].tolist() == [11 + 16] * 3
    assert not q.layers[0].weights["f"].any()
    row = 11 + 16 if bits == 8 else q.readout.exps[0]
    assert q.readout.exps[1] == row


def test_int8_rows_have_exponents_of_their_own():
    shape = stack("rnn_tanh", (1, 2, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    params["layers"][0] |= {
        "W": {"a": np.array([[1.0], [8.0]])},
        "U": {"a": np.zeros((2, 2))},
    }
    wide = quantize(shape, params, weight_bits=16).layers[0]
    rows = quantize(shape, params, weight_bits=8).layers[0]
    # 1.0 2^6 = 64 <= 127 < 128; 8.0 2^3 = 64; x is q14
    assert rows.exps["a"].tolist() == [14 + 6, 14 + 3]
    assert rows.weights["a"].tolist() == [[64, 0, 0], [64, 0, 0]]
    assert wide.exps["a"].tolist() == [14 + 11, 14 + 11]
    assert wide.weights["a"].tolist() == [[2048, 0, 0], [16384, 0, 0]]


def test_the_bias_can_be_what_limits_the_exponent():
    shape = stack("rnn_tanh", (1, 1, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    zero = {"a": np.zeros((1, 1))}
    for value, exp in ((-128.0, 24), (128.0, 23), (127.99, 24)):
        params["layers"][0] = {"W": zero, "U": zero, "b": {"a": np.array([value])}}
        q = quantize(shape, params)
        assert q.layers[0].exps["a"].tolist() == [exp], value  # -2^31 is an int32


def test_a_half_is_rounded_up_and_less_than_a_half_is_not():
    """0.49999999999999994 + 0.5 is 1.0 in float64."""
    shape = stack("rnn_tanh", (4, 1, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    below = np.nextafter(0.5, 0)
    w = np.array([[16384.0, 0.5, below, -0.5]])
    params["layers"][0] |= {"W": {"a": w / 16384}, "U": {"a": np.zeros((1, 1))}}
    q = quantize(shape, params).layers[0]
    assert q.weights["a"].tolist() == [[16384, 1, 0, 0, 0]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("where", ["layer 1, gate i", "the readout"])
def test_weights_that_are_too_large_are_refused_by_place(bits, where):
    shape = stack("lstm", (2, 3, 2), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    target = params["readout"]["W"] if "readout" in where else None
    target = params["layers"][0]["W"]["i"] if target is None else target
    target[0, 0] = 2.0**40
    with pytest.raises(ValueError, match=f"{where}: weights up to 1.1e\\+12 are too"):
        quantize(shape, params, weight_bits=bits)


def test_the_smallest_shift_is_one():
    """|w| 2^(E - 14) <= 32767 with E = 12 + 1: w up to 65534."""
    shape = stack("rnn_tanh", (1, 1, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    for value in (65534.0, 65536.0):
        params["layers"][0]["W"]["a"][0, 0] = value
        if value == 65534.0:
            assert quantize(shape, params).layers[0].exps["a"].tolist() == [13]
        else:
            with pytest.raises(ValueError, match="too large"):
                quantize(shape, params)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value):
    shape = stack("lstm", (2, 3, 2), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    params["layers"][0]["U"]["o"][1, 1] = value
    with pytest.raises(ValueError, match="layer 1: U o holds NaN or infinity"):
        quantize(shape, params)


@given(st.floats(1e-6, 1e6))
@settings(max_examples=300)
def test_signal_exponents_leave_a_factor_of_two(largest):
    e = signal_exp(largest)
    assert 0 <= e <= 14
    bound = Fraction(32767) / Fraction(largest)
    assert e == 0 or Fraction(2) ** (e + 1) <= bound
    assert e == 14 or Fraction(2) ** (e + 2) > bound


def test_unbounded_signals_take_their_exponents_from_the_data():
    shape = Shape((Layer("rnn_relu", 2, 4),), Readout(4, 3, "softmax"))
    params = init_params(shape, np.random.default_rng(0), scale=1.5)
    x = np.random.default_rng(1).normal(size=(5, 9, 2))
    x[:, 6:] *= 1e3  # behind the end: must not count
    lengths = np.full(5, 6)
    plain = quantize(shape, params)
    assert (plain.layers[0].h_exp, plain.logit_exp) == (11, 9)
    q = quantize(shape, params, calibration=x, lengths=lengths)
    run = forward(shape, params, x[:, :6])
    for e, signal in (
        (q.layers[0].h_exp, run.layers[0]["h"]),
        (q.logit_exp, run.logits),
    ):
        top = np.abs(signal).max()
        assert e == int(np.floor(np.log2(32767 / top))) - 1
        assert 32767 / 4.001 < top * 2.0**e < 32767 / 2
    assert quantize(shape, params, calibration=x).logit_exp < q.logit_exp
    with pytest.raises(ValueError, match="calibration x is"):
        quantize(shape, params, calibration=x[..., :1])


def test_plus_rnn_takes_its_exponent_from_both_things_it_mixes():
    shape = Shape((Layer("plus_rnn", 2, 3),), Readout(3, 1))
    params = init_params(shape, np.random.default_rng(0), scale=0.1)
    params["layers"][0]["W"]["u"] *= 200.0  # u alone is large, and y shut to it
    params["layers"][0]["b"]["y"][:] = -20.0
    x = np.random.default_rng(1).normal(size=(5, 9, 2))
    run = forward(shape, params, x).layers[0]
    q = quantize(shape, params, calibration=x)
    assert q.layers[0].h_exp == signal_exp(float(np.abs(run["u"]).max()))
    assert np.abs(run["out"]).max() < np.abs(run["u"]).max() / 8
    assert IntModel(q).run(np.int16(x * 2**11)).saturated.max() == 0


@pytest.mark.parametrize(("below", "exp"), [("indrnn", 9), ("gru", 14)])
def test_halves_that_are_y_have_one_exponent(below, exp):
    halves = [(below, "forward-half"), ("rnn_relu", "reverse-half")]
    shape = Shape(tuple(Layer(c, 2, 3, direction=d) for c, d in halves))
    params = init_params(shape, np.random.default_rng(0), scale=0.5)
    q = quantize(shape, params, h_exp=9)
    assert [p.h_exp for p in q.layers] == [exp, exp]
    assert parse(pack(q)) == q


def test_bounded_signals_never_change_their_exponent():
    shape = stack("lstm", (2, 3, 2), output="logistic")
    params = init_params(shape, np.random.default_rng(0))
    q = quantize(shape, params, calibration=np.full((1, 4, 2), 100.0))
    assert (q.layers[0].h_exp, q.logit_exp) == (14, 11)


def test_initial_states_become_c_q20_and_h_with_zeros_for_gates():
    shape = SHAPES["hs97-3x2"]
    params = init_params(shape, np.random.default_rng(0), scale=0.2)
    h, c = np.linspace(-0.9, 0.9, 6), np.linspace(-1024.0, 1024.0, 6)
    params["layers"][0] |= {"h0": h, "c0": c}
    q = quantize(shape, params).layers[0]
    assert q.r0.tolist() == [nearest(v, 14) for v in h] + [0] * 6
    assert q.c0.tolist() == [nearest(v, 20) for v in c]
    params["layers"][0]["c0"] = c * 1.001
    with pytest.raises(ValueError, match="initial state is too large"):
        quantize(shape, params)


@pytest.mark.parametrize("name", SHAPES)
def test_the_integer_model_stays_near_the_float_model(name):
    """Moderate weights, inputs in [-1, 1]: the errors stay below 2^-8 of full scale."""
    shape = SHAPES[name]
    params = init_params(shape, np.random.default_rng(3), scale=0.4)
    x = np.random.default_rng(4).integers(-(2**14), 2**14, (8, 12, shape.n_in))
    q = quantize(shape, params, calibration=x / 2.0**14)
    y = IntModel(q).run(x.astype(np.int16)).y / 2.0**q.y_exp
    expected = forward(shape, params, x / 2.0**14).y
    assert np.abs(y - expected).max() < max(1.0, np.abs(expected).max()) * 2.0**-8


@pytest.mark.parametrize(("bits", "x_exp"), [(12, 14), (16, 15), (16, -1)])
def test_formats_that_do_not_exist_are_refused(bits, x_exp):
    shape = stack("rnn_tanh", (1, 1, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    with pytest.raises(ValueError, match="8 or 16 bits"):
        quantize(shape, params, weight_bits=bits, x_exp=x_exp)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiny_weights_stop_at_shift_31(bits):
    shape = stack("lstm", (2, 3, 2), output="logistic")
    params = init_params(shape, np.random.default_rng(0), scale=1e-7)
    q = quantize(shape, params, weight_bits=bits)
    assert [int(q.layers[0].exps[k][0]) for k in "ifog"] == [42, 42, 42, 43]
    assert q.readout.exps.tolist() == [42, 42]


def test_the_largest_weight_may_round_into_the_range_from_outside():
    """32767.25 2^-11 is 32767 steps; 32767.5 2^-11 would be 32768, its negative not."""
    shape = stack("rnn_tanh", (1, 1, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    for steps, exp in ((32767.25, 25), (32767.5, 24), (-32767.5, 25), (-32767.75, 24)):
        params["layers"][0] |= {
            "W": {"a": np.array([[steps * 2.0**-11]])},
            "U": {"a": np.zeros((1, 1))},
        }
        assert quantize(shape, params).layers[0].exps["a"].tolist() == [exp], steps
