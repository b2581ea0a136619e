"""RTRL is the whole gradient, Elman's one step of it, and BPTT the same as RTRL."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pyvgrad import rtrl
from pyvgrad.cells import Layer, Shape
from pyvgrad.float_maps import Lessons, Moving, maps_of, params_of, rates_of
from pyvgrad.grad import logits_of, value_and_grad
from pyvgrad.learning import Learn
from pyvgrad.methods import bptt, elman, lstm97
from pyvgrad.model import forward, init_params
from pyvgrad.nets import NETS, fully_recurrent, stack
from pyvgrad.trials import Steps

LEARN = Learn("rtrl97", loss="mse", k1=1, rate_q24=1 << 24)
SYMBOLS = np.array([0, 2, 3, 1, 2, 0, 3])
TARGETS = np.array([2, 3, 1, 2, 0, 3, 1])
KNOWN = np.array([True, False, True, True, False, True, True])
SHAPES = {
    "one unit": NETS["rtrl-1"].shape(4, 4),
    "tanh": stack("rnn_tanh", (4, 3, 4), output="linear", shortcuts=True),
    "lstm": stack("lstm", (4, 3, 4), output="linear"),
    "1997 with feedback": NETS["hs97-3x2"].shape(4, 4),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def start(shape, seed=0):
    params = init_params(shape, np.random.default_rng(seed), scale=0.7)
    return params, Moving(maps_of(shape, params), maps_of(shape, params))


def summed(shape, moving, step, live):
    """What all steps together would change, with the weights held."""
    total = jax.tree.map(np.zeros_like, moving.maps)
    run = jax.jit(step)
    for x, target, known in zip(SYMBOLS, TARGETS, KNOWN, strict=True):
        now = Lessons(x, target, known, np.True_)
        after, live = run(moving, live, now)
        change = jax.tree.map(lambda a, b: a - b, moving.maps, after.maps)
        total = jax.tree.map(jnp.add, total, change)
    return total


def of_rtrl(shape, moving, visible=None):
    rates = rates_of(shape, LEARN, {})

    def step(moving, live, now):
        return rtrl.step(shape, LEARN, rates, moving, live, now, visible)[:2]

    return summed(shape, moving, step, rtrl.start(shape, moving.maps))


def one_hot(symbols, n=4):
    return np.eye(n)[symbols]


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), a, b)


@pytest.mark.parametrize("name", SHAPES)
def test_rtrl_is_the_gradient_of_the_whole_sequence(name):
    shape = SHAPES[name]
    params, moving = start(shape)
    total = params_of(shape, of_rtrl(shape, moving))
    data = (one_hot(SYMBOLS)[None], one_hot(TARGETS)[None], KNOWN[None])
    _, g = value_and_grad(shape, "mse")(params, *data)
    assert_same(total, jax.tree.map(np.asarray, g))


def test_of_a_net_without_a_readout_only_the_first_units_have_targets():
    shape = fully_recurrent(4, 4, 3)
    params, moving = start(shape)
    total = params_of(shape, of_rtrl(shape, moving, visible=4))

    def loss(params):
        h = logits_of(shape, params, one_hot(SYMBOLS)[None])[0, :, :4]
        return 0.5 * jnp.sum(KNOWN[:, None] * (h - one_hot(TARGETS)) ** 2)

    assert_same(total, jax.tree.map(np.asarray, jax.grad(loss)(params)))


def test_two_layers_are_refused():
    layers = (Layer("rnn_tanh", 4, 3), Layer("rnn_tanh", 3, 2))
    shape = Shape(layers)
    params = init_params(shape, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one layer, not 2"):
        rtrl.start(shape, maps_of(shape, params))


def test_elman_is_the_gradient_cut_one_step_back():
    """The state before a step as the initial state of a sequence of that step alone."""
    shape = replace(NETS["elman-15"].shape(4, 4))
    params, moving = start(shape)
    method, rates = elman(shape), rates_of(shape, LEARN, {})

    def step(moving, live, now):
        steps = Steps(now.x, now.target, now.known, np.False_, np.False_)
        return method.play(rates, moving, live, steps)[:2]

    total = params_of(shape, summed(shape, moving, step, method.start(moving)))
    h = forward(shape, params, one_hot(SYMBOLS)).layers[0]["h"]
    cut = None
    for t in np.flatnonzero(KNOWN):
        before = h[t - 1] if t else np.zeros(15)
        layers = [params["layers"][0] | {"h0": before}]
        one = (one_hot(SYMBOLS[t])[None, None], one_hot(TARGETS[t])[None, None])
        grad = value_and_grad(shape, "mse")
        _, g = grad(params | {"layers": layers}, *one, np.ones((1, 1), bool))
        g["layers"][0].pop("h0")
        cut = g if cut is None else jax.tree.map(jnp.add, cut, g)
    assert_same(total, jax.tree.map(np.asarray, cut))


def played(shape, method):
    """The gradient that a method uses for one sequence, after which weights change."""
    params, moving = start(shape)
    n = len(SYMBOLS)
    first, last = np.arange(n) == 0, np.arange(n) == n - 1
    steps = Steps(SYMBOLS, TARGETS, KNOWN, first, last)
    rates, live, after = rates_of(shape, LEARN, {}), method.start(moving), moving
    play = jax.jit(method.play)
    if method.size == n:
        after, _, _ = play(rates, moving, live, steps)
    else:
        for k in range(n):
            now = jax.tree.map(lambda a, k=k: a[k], steps)
            after, live, _ = play(rates, after, live, now)
    change = jax.tree.map(lambda a, b: np.asarray(a - b), moving.maps, after.maps)
    return params, params_of(shape, change)


@pytest.mark.parametrize("cut", [False, True])
def test_after_a_sequence_bptt_has_the_whole_gradient_and_lstm97_the_cut_one(cut):
    shape = NETS["long-lag"].shape(4, 4) if cut else NETS["rtrl-1"].shape(4, 4)
    method = lstm97(shape, at_end=True) if cut else bptt(shape, len(SYMBOLS))
    params, change = played(shape, method)
    data = (one_hot(SYMBOLS)[None], one_hot(TARGETS)[None], KNOWN[None])
    _, g = value_and_grad(shape, "mse", cut)(params, *data)
    assert_same(change, jax.tree.map(np.asarray, g))
