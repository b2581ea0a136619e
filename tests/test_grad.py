"""Gradients against finite differences, JAX against NumPy, clipping, rates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import SHAPES

from pyvgrad.grad import logits_of, step_loss, value_and_grad
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.optim import clip_norm, norm, optimizer, scale_rates

# Of one net in three modes, which test_model.py tells apart, one is enough here.
SAME_LAYERS = ("whole last", "whole final")


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def example(shape, seed=0, batch=2, steps=5):
    rng = np.random.default_rng(seed)
    params = init_params(shape, rng, scale=0.7)
    x = rng.normal(size=(batch, steps, shape.n_in))
    y = rng.uniform(size=(batch, steps, shape.n_out))
    mask = rng.random((batch, steps)) < 0.7
    return params, x, y / y.sum(-1, keepdims=True), mask


def losses_of(shape):
    return ["mse"] if shape.output == "linear" else ["mse", "cross-entropy"]


def each_loss(shape, y, loss, target):
    """The definition, (..., T), of outputs y."""
    if loss == "mse":
        return 0.5 * ((y - target) ** 2).sum(-1)
    each = -target * np.log(y)
    if shape.output == "logistic":
        each = each - (1 - target) * np.log(1 - y)
    return each.sum(-1)


def numpy_loss(shape, params, loss, x, y, mask):
    ends = np.max(np.where(mask, np.arange(1, mask.shape[1] + 1), 1), axis=1)
    each = each_loss(shape, forward(shape, params, x, lengths=ends).y, loss, y)
    return float((each * mask).sum() / len(x))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", [k for k in SHAPES if k not in SAME_LAYERS])
def test_gradient_is_the_finite_difference_of_the_numpy_model(name):
    """Along a random direction of each parameter array; logits are compared too.

    Central differences with 1e-5 err by about 1e-10 of values around 1; the kinks of
    relu are farther away for this seed.
    """
    shape = SHAPES[name]
    params, x, y, mask = example(shape)
    rng = np.random.default_rng(1)

    @jax.jit
    def run(params):
        each = [value_and_grad(shape, k)(params, x, y, mask) for k in losses_of(shape)]
        return each, logits_of(shape, params, x)

    gradients, logits = run(params)
    np.testing.assert_allclose(logits, forward(shape, params, x).logits, atol=1e-12)
    leaves, tree = jax.tree.flatten(params)
    for loss, (value, g) in zip(losses_of(shape), gradients, strict=True):
        exact = numpy_loss(shape, params, loss, x, y, mask)
        assert float(value) == pytest.approx(exact, rel=1e-12)
        for k, slopes in enumerate(jax.tree.leaves(g)):
            d = rng.normal(size=slopes.shape)
            up, down = (
                numpy_loss(
                    shape,
                    jax.tree.unflatten(
                        tree, [*leaves[:k], leaves[k] + e * d, *leaves[k + 1 :]]
                    ),
                    loss,
                    x,
                    y,
                    mask,
                )
                for e in (1e-5, -1e-5)
            )
            slope = float(np.sum(np.asarray(slopes) * d))
            assert (up - down) / 2e-5 == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["whole final", "reverse final"])
def test_reversed_layers_learn_from_the_last_target_backwards(name):
    """Padding behind the last step with a target counts nothing."""
    shape = SHAPES[name]
    params, x, y, _ = example(shape)
    mask = np.zeros(x.shape[:2], bool)
    mask[0, 3] = mask[1, 4] = True
    f = jax.jit(value_and_grad(shape, "mse"))
    one, g = f(params, x, y, mask)
    forward_loss = 0.0
    for k, length in ((0, 4), (1, 5)):
        out = forward(shape, params, x[k, :length]).y
        forward_loss += each_loss(shape, out[-1], "mse", y[k, length - 1])
    assert float(one) == pytest.approx(forward_loss / 2, rel=1e-12)
    spoilt = x.copy()
    spoilt[0, 4] = 1e3
    jax.tree.map(np.testing.assert_array_equal, (one, g), f(params, spoilt, y, mask))


@pytest.mark.parametrize("z", [-1000.0, 1000.0])
@pytest.mark.parametrize("output", ["logistic", "softmax"])
def test_cross_entropy_of_extreme_logits_is_finite(output, z):
    shape = stack("rnn_tanh", (1, 1, 2), output=output)
    logits, target = jnp.array([[z, 0.0]]), jnp.array([[1.0, 0.0]])

    def loss(v):
        return step_loss(shape, "cross-entropy", v, target).sum()

    assert np.isfinite(loss(logits))
    assert np.isfinite(jax.grad(loss)(logits)).all()


@pytest.mark.usefixtures("float64")
def test_steps_without_target_count_nothing_not_even_nan():
    shape = stack("lstm", (3, 4, 2), output="softmax")
    params, x, y, mask = example(shape)
    gap = np.where(mask[..., None], y, np.nan)
    f = jax.jit(value_and_grad(shape, "cross-entropy"))
    a, b = f(params, x, y, mask), f(params, x, gap, mask)
    jax.tree.map(np.testing.assert_array_equal, a, b)
    padded = [np.pad(v, [(0, 0), (0, 3)] + [(0, 0)] * (v.ndim - 2)) for v in (x, y)]
    c = f(params, *padded, np.pad(mask, [(0, 0), (0, 3)]))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-14), a, c)


def test_loss_names_are_checked():
    shape = stack("lstm", (3, 4, 2), output="linear")
    with pytest.raises(ValueError, match="use mse"):
        step_loss(shape, "cross-entropy", jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="a loss is one of"):
        step_loss(shape, "hinge", jnp.zeros((1, 2)), jnp.zeros((1, 2)))


@pytest.mark.parametrize("theta", [0.25, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("length", [0.0, 0.1, 1.0, 5.0, 1000.0])
def test_clipping_scales_to_theta_not_to_one(theta, length):
    g = {
        "a": jnp.array([3.0, 0.0]) * length / 5,
        "b": [jnp.array([[4.0]]) * length / 5],
    }
    clipped = clip_norm(g, theta)
    expected = min(length, theta)
    assert float(norm(clipped)) == pytest.approx(expected, rel=1e-6)
    if length < theta:
        jax.tree.map(np.testing.assert_array_equal, clipped, g)
    elif length:
        np.testing.assert_allclose(clipped["a"][0] / clipped["b"][0][0, 0], 0.75, 1e-6)


def test_rates_multiply_the_named_arrays_only():
    shape = stack("lstm", (3, 4, 2), output="linear", shortcuts=True, layers=2)
    g = init_params(shape, np.random.default_rng(0), scale=1.0)
    out = scale_rates(g, {"readout.V": 10.0, "b.i": 0.0, "layers.1": 2.0})
    np.testing.assert_array_equal(out["readout"]["V"], 10.0 * g["readout"]["V"])
    np.testing.assert_array_equal(out["readout"]["W"], g["readout"]["W"])
    low, high = out["layers"]
    assert not low["b"]["i"].any()
    np.testing.assert_array_equal(low["b"]["f"], g["layers"][0]["b"]["f"])
    np.testing.assert_array_equal(high["b"]["i"], 2.0 * g["layers"][1]["b"]["i"])


def test_optimizers_are_their_rules():
    g = {"w": jnp.array([2.0])}
    sgd = optimizer("sgd", 0.5, 0.9)
    assert sgd.update(g, sgd.init(g), g)[0]["w"][0] == -1.0
    heavy = optimizer("momentum", 0.5, 0.75)
    memory = heavy.init(g)
    _, memory = heavy.update(g, memory, g)
    assert heavy.update(g, memory, g)[0]["w"][0] == -0.5 * (2.0 + 0.75 * 2.0)
    adam = optimizer("adam", 0.5, 0.9)
    step = adam.update(g, adam.init(g), g)[0]["w"][0]
    assert float(step) == pytest.approx(-0.5, rel=1e-4)
    with pytest.raises(ValueError, match="an optimizer is one of"):
        optimizer("sdg", 0.5, 0.9)
