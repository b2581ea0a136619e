"""Quantization-aware training: its rounding, its gradients, what it gains."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import SHAPES

from pyvgrad.calibrate import Exponents, calibrate, default_exponents
from pyvgrad.cells import CELLS, Layer, Readout, Shape
from pyvgrad.dequantize import dequantize
from pyvgrad.grad import logits_of
from pyvgrad.grad import value_and_grad as float_value_and_grad
from pyvgrad.intmodel import IntModel
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.qat import (
    Rounding,
    round_params,
    straight_int16,
    value_and_grad,
)
from pyvgrad.quantize import quantize
from pyvgrad.rounded import round_int16, rounded_shape

# A few of all: every cell, blocks, feedback, shortcuts, layers, h the identity.
FEW = [*CELLS, "no readout", "hs97-3x2-softmax", "long-lag-2", "whole final"]


def float32(params):
    return jax.tree.map(lambda a: np.asarray(a, np.float32), params)


def random_params(shape, seed, scale):
    """Weights of many sizes, some rows and some single weights zero."""
    rng = np.random.default_rng(seed)
    params = init_params(shape, rng, scale=scale)

    def spread(a):
        a = a * np.exp(rng.normal(size=a.shape) * 1.5)
        a[rng.random(len(a)) < 0.1] = 0.0
        return np.where(rng.random(a.shape) < 0.1, 0.0, a)

    return float32(jax.tree.map(spread, params))


@pytest.mark.parametrize(
    ("name", "method", "bits"),
    [(name, "minmax", 8) for name in FEW]
    + [(name, "mse", 8) for name in ("rnn_relu", "gru", "long-lag-2")]
    + [(name, "minmax", 16) for name in ("rnn_relu", "gru", "long-lag-2", "lstm")]
    + [("plus_rnn", "mse", 16)],
)
def test_rounded_weights_are_those_of_the_quantizer(name, method, bits):
    """Bit for bit: JAX in float32 against NumPy in float64 and integers."""
    shape = SHAPES[name]
    exps = default_exponents(shape, x=12, h=10)
    rounding = Rounding(bits, exps, method)
    rounded = jax.jit(lambda params: round_params(shape, params, rounding))
    for seed, scale in enumerate((1e-6, 0.03, 0.1, 0.5)):
        params = random_params(shape, seed, scale)
        q = quantize(shape, params, weight_bits=bits, exponents=exps, weights=method)
        jax.tree.map(
            lambda a, b: np.testing.assert_array_equal(np.asarray(a, np.float64), b),
            rounded(params),
            dequantize(q),
        )


@pytest.mark.parametrize(
    ("value", "steps"), [(127.49, 127), (127.5, 64), (-127.5, -127), (-127.51, -64)]
)
def test_the_largest_weight_may_round_into_the_range_from_outside(value, steps):
    shape = stack("rnn_tanh", (1, 1, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    params["layers"][0]["W"]["a"] = np.array([[value / 64]])
    params["layers"][0]["U"]["a"] *= 0.0
    rounding = Rounding(8, default_exponents(shape))
    near = round_params(shape, float32(params), rounding)["layers"][0]["W"]["a"]
    assert float(near[0, 0]) * 64 in (steps, 2 * steps)
    assert abs(float(near[0, 0]) * 64) == (127 if abs(steps) == 127 else 128)


@pytest.mark.parametrize("value", [-128.0, 128.0, 127.99, -129.0])
def test_the_bias_can_be_what_limits_the_exponent(value):
    """-128 2^24 is an int32, 128 2^24 is not; no weight would clamp on 2^24."""
    shape = stack("rnn_tanh", (1, 2, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    params["layers"][0] |= {
        "W": {"a": np.full((2, 1), 2.0**-9 / 3)},
        "U": {"a": np.zeros((2, 2))},
        "b": {"a": np.array([value, 0.1])},
    }
    params, exps = float32(params), default_exponents(shape)
    for bits, method in ((8, "minmax"), (16, "minmax"), (8, "mse")):
        q = quantize(shape, params, weight_bits=bits, exponents=exps, weights=method)
        near = round_params(shape, params, Rounding(bits, exps, method))
        want = dequantize(q)["layers"][0]["W"]["a"]
        np.testing.assert_array_equal(near["layers"][0]["W"]["a"], want)


@pytest.mark.parametrize("name", ["rnn_tanh", "rnn_sigmoid", "rnn_relu", "indrnn"])
def test_a_rounded_rnn_computes_the_integers(name):
    """In NumPy and double, where sums are exact: every h and every logit."""
    shape = SHAPES[name]
    params = random_params(shape, 2, 0.3)
    raw = np.random.default_rng(4).integers(-(2**14), 2**14, (8, 12, shape.n_in))
    exps = calibrate(shape, params, raw / 2.0**14, x_exp=14)
    q = quantize(shape, params, weight_bits=16, exponents=exps)
    trace = IntModel(q).run(raw.astype(np.int16), states=True)
    run = forward(rounded_shape(shape, exps), dequantize(q), raw / 2.0**14)
    np.testing.assert_array_equal(run.layers[0]["h"] * 2.0 ** exps.h[0], trace.h[0])
    logits = round_int16(run.logits, exps.logits) * 2.0**exps.logits
    np.testing.assert_array_equal(logits, trace.logits)


def example(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (3, 6, shape.n_in)).astype(np.float32)
    y = rng.uniform(0, 1, (3, 6, shape.n_out))
    y = (y / y.sum(-1, keepdims=True)).astype(np.float32)
    return x, y, rng.random((3, 6)) < 0.7


def loss_of(shape):
    return "mse" if shape.output == "linear" else "cross-entropy"


@pytest.mark.parametrize(
    ("name", "bits"),
    [(c, 8) for c in ("rnn_relu", "lstm_peephole", "gru")] + [("fields 1", 16)],
)
def test_gradient_is_the_float_gradient_at_the_rounded_weights(name, bits):
    """The straight-through estimator, weights only; exact up to float32."""
    shape = SHAPES[name]
    params = random_params(shape, 3, 0.3)
    rounding = Rounding(bits, default_exponents(shape), signals=False)
    data = example(shape)
    near = jax.jit(lambda p: round_params(shape, p, rounding))(params)
    both = jax.jit(value_and_grad(shape, loss_of(shape), rounding))
    plain = jax.jit(float_value_and_grad(shape, loss_of(shape)))
    (loss, g), (want, want_g) = both(params, *data), plain(near, *data)
    assert float(loss) == pytest.approx(float(want), rel=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), g, want_g
    )


def test_gradient_is_the_float_gradient_where_rounding_changes_nothing():
    """A relu net of small dyadic numbers: every weight and signal is on its grid."""
    shape = Shape((Layer("rnn_relu", 2, 3),), Readout(3, 2, "linear", 2))
    rng = np.random.default_rng(5)
    params = float32(init_params(shape, rng))
    params = jax.tree.map(
        lambda a: (rng.integers(-3, 4, a.shape) / 4).astype(np.float32), params
    )
    x = (rng.integers(-4, 5, (4, 3, 2)) / 4).astype(np.float32)
    y, mask = np.zeros((4, 3, 2), np.float32), np.ones((4, 3), bool)
    rounding = Rounding(8, Exponents(12, (11,), 10))
    rounded = jax.jit(value_and_grad(shape, "mse", rounding))(params, x, y, mask)
    plain = jax.jit(float_value_and_grad(shape, "mse"))(params, x, y, mask)
    jax.tree.map(np.testing.assert_array_equal, rounded, plain)
    coarse = jax.jit(value_and_grad(shape, "mse", Rounding(8, Exponents(12, (1,), 9))))
    assert coarse(params, x, y, mask)[0] != plain[0]


def test_a_clamped_signal_passes_no_gradient_and_a_rounded_one_its_own():
    slope = jax.vmap(jax.grad(lambda v: 3.0 * straight_int16(v, 10)))
    v = jnp.array([0.1, -5.0, 31.9, 32.1, -32.1])
    np.testing.assert_array_equal(slope(v), [3.0, 3.0, 3.0, 0.0, 0.0])
    values = np.array([0.49999997, 0.5, -0.5, -0.50000006, 40000.0, -40000.0])
    got = straight_int16(jnp.asarray(values, jnp.float32), 0)
    np.testing.assert_array_equal(got, [0, 1, 0, -1, 32767, -32768])


@pytest.mark.parametrize("name", FEW)
def test_the_rounded_model_is_nearer_to_the_integers_than_the_float_one(name):
    shape = SHAPES[name]
    params = random_params(shape, 2, 0.3)
    x = np.random.default_rng(4).integers(-(2**14), 2**14, (8, 12, shape.n_in))
    values = (x / 2.0**14).astype(np.float32)
    exps = calibrate(shape, params, values, x_exp=14)
    q = quantize(shape, params, weight_bits=8, exponents=exps)
    logits = IntModel(q).run(x.astype(np.int16)).logits / 2.0**q.logit_exp
    rounding = Rounding(8, exps)
    near = rounded_shape(shape, exps, straight_int16)

    @jax.jit
    def run(params, x):
        rounded = logits_of(near, round_params(shape, params, rounding), x)
        return straight_int16(rounded, q.logit_exp), logits_of(shape, params, x)

    rounded, plain = (np.std(np.asarray(v) - logits) for v in run(params, values))
    assert rounded < 0.3 * plain


@pytest.mark.parametrize(("bits", "method"), [(4, "minmax"), (8, "percentile")])
def test_rounding_that_does_not_exist_is_refused(bits, method):
    with pytest.raises(ValueError, match="8 or 16 bits, by minmax or mse"):
        Rounding(bits, Exponents(14, (14,), 9), method)
