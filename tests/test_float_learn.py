"""Float learning: gradients against jax.grad, windows, rules, seeds, what is drawn."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import SHAPES

from pyvgrad import learn as integers
from pyvgrad.blob import parse
from pyvgrad.cells import CELLS
from pyvgrad.dequantize import dequantize
from pyvgrad.float_asked import FloatAsked
from pyvgrad.float_learn import (
    LESSONS,
    TWINS,
    learn_float,
    make_chunk,
    padded,
    start,
)
from pyvgrad.float_maps import Lessons, Moving, maps_of, params_of, rates_of, update
from pyvgrad.grad import value_and_grad
from pyvgrad.learning import Learn
from pyvgrad.model import forward, init_params
from pyvgrad.nets import NETS, stack
from pyvgrad.recipes import RECIPES, IntRecipe
from pyvgrad.tasks import make_int_task

ONE = 1 << 24  # a rate of 1
TBPTT = Learn("tbptt", loss="mse", k2=100, rate_q24=ONE)
RTRL = Learn("rtrl97", loss="mse", rate_q24=ONE)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def example(shape, steps=7, seed=0):
    """Parameters, and a sequence (x, y, mask) with a gap in its targets."""
    rng = np.random.default_rng(seed)
    params = init_params(shape, rng, scale=0.7)
    x = rng.normal(size=(steps, shape.n_in))
    y = rng.uniform(size=(steps, shape.n_out))
    return params, x, y, np.arange(steps) % 3 > 0


def lesson(x, y, mask, padding=2):
    """The sequence with ``padding`` steps behind its end that would do harm."""

    def wide(a, value):
        width = [(0, padding)] + [(0, 0)] * (a.ndim - 1)
        return np.pad(a, width, constant_values=value)

    valid = wide(np.ones(len(x), bool), False)
    nan = np.nan if y.dtype.kind == "f" else 0
    return Lessons(wide(x, 1), wide(y, nan), wide(mask, True), valid)


def learnt(shape, learn, params, data, factors=None):
    """The weights after one sequence, as parameters."""
    carry = start(shape, params, np.float64)
    one = jax.tree.map(lambda a: np.asarray(a)[None], (carry, data))
    now = Lessons(*(a[:, None] for a in one[1]))
    moving = make_chunk(shape, learn, factors or {})(one[0], now)
    return params_of(shape, jax.tree.map(lambda a: a[0], moving.maps))


def assert_moved(before, after, gradient, rate=1.0):
    """after = before - rate * gradient, array by array."""

    def check(a, b, g):
        np.testing.assert_allclose((a - b) / rate, g, rtol=1e-6, atol=1e-9)

    jax.tree.map(check, before, after, gradient)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "name",
    ["rnn_relu", "two layers", "no readout", "g00-4x2"],
)
def test_a_tape_of_the_whole_sequence_is_jax_grad(name):
    shape = SHAPES[name]
    params, x, y, mask = example(shape)
    after = learnt(shape, TBPTT, params, lesson(x, y, mask))
    _, g = value_and_grad(shape, "mse")(params, x[None], y[None], mask[None])
    assert_moved(params, after, g)


@pytest.mark.parametrize("cell", [c for c in CELLS if c not in TWINS])
def test_cells_without_a_float_twin_are_refused_by_name(cell):
    with pytest.raises(ValueError, match=f"forward {cell} has no twin"):
        make_chunk(SHAPES[cell], TBPTT, {})


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "name",
    ["lstm", "hs97-3x2", "long-lag", "fields 1", "fields 3"],
)
def test_traces_are_jax_grad_of_what_is_cut(name):
    shape = SHAPES[name]
    params, x, y, mask = example(shape)
    after = learnt(shape, RTRL, params, lesson(x, y, mask))
    cut = value_and_grad(shape, "mse", cut=True)
    _, g = cut(params, x[None], y[None], mask[None])
    assert_moved(params, after, g)


def windowed(shape, params, x, y, mask, start, end, k2):
    """The gradient of the errors at steps start .. end - 1, cut k2 before end."""
    first = max(0, end - k2)
    known = mask & (np.arange(len(x)) >= start)
    path = forward(shape, params, x[:end])
    layers = [dict(p) for p in params["layers"]]
    if first:
        for p, run in zip(layers, path.layers, strict=True):
            p |= {f"{k}0": run[k][first - 1] for k in "hc" if k in run}
    free = params | {"layers": layers}
    one = slice(first, end)
    grad = value_and_grad(shape, "mse")
    _, g = grad(free, x[None, one], y[None, one], known[None, one])
    for p in g["layers"]:
        p.pop("h0", None)
        p.pop("c0", None)
    return g


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("k1", "k2"), [(1, 2), (2, 3), (3, 50)])
def test_windows_reach_back_k2_steps(k1, k2):
    """With the smallest rate, so that the weights hardly change between updates.

    The readout sees steps whether or not they are on the tape; here every pending step
    is.
    """
    shape = stack("lstm", (3, 4, 2), output="linear")
    params, x, y, mask = example(shape, steps=5)
    learn = replace(TBPTT, k1=k1, k2=k2, rate_q24=1)
    after = learnt(shape, learn, params, lesson(x, y, mask))
    total = None
    for begin in range(0, 5, k1):
        end = min(begin + k1, 5)
        g = windowed(shape, params, x, y, mask, begin, end, k2)
        total = g if total is None else jax.tree.map(jnp.add, total, g)

    def check(a, b, g):
        np.testing.assert_allclose((a - b) * ONE, g, rtol=1e-4, atol=1e-6)

    jax.tree.map(check, params, after, total)


@pytest.mark.usefixtures("float64")
def test_an_update_at_the_end_only_uses_the_newest_k2_steps_of_the_layers():
    shape = stack("rnn_tanh", (3, 4, 2), output="linear")
    params, x, y, mask = example(shape)
    after = learnt(shape, replace(TBPTT, k2=3), params, lesson(x, y, mask))
    late = mask & (np.arange(len(x)) >= len(x) - 3)
    cut = windowed(shape, params, x, y, late, 0, len(x), 3)
    _, whole = value_and_grad(shape, "mse")(params, x[None], y[None], mask[None])
    assert_moved(params, after, cut | {"readout": whole["readout"]})


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("method", "k1"), [("tbptt", 0), ("rtrl97", 0), ("rtrl97", 1)])
def test_symbols_are_their_one_hot_form(method, k1):
    shape = NETS["g00-4x2"].shape(5, 3)
    params, x, y, mask = example(shape)
    symbols = np.random.default_rng(1).integers(0, 5, len(x)).astype(np.int32)
    k2 = 100 if method == "tbptt" else 0
    learn = Learn(method, loss="mse", k1=k1, k2=k2, rate_q24=ONE, clip_q16=1 << 14)
    a = learnt(shape, learn, params, lesson(symbols, y, mask))
    b = learnt(shape, learn, params, lesson(np.eye(5)[symbols], y, mask))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-12), a, b)


@pytest.mark.usefixtures("float64")
def test_one_row_of_the_shortcuts_is_their_whole_gradient():
    """Momentum of 0 takes the long way, plain SGD the short one."""
    shape = NETS["long-lag-2"].shape(5, 5)
    params, _, y, mask = example(shape)
    symbols = np.array([0, 2, 3, 4, 2, 3, 0], np.int32)
    sgd = Learn("rtrl97", loss="mse", k1=1, rate_q24=ONE, clip_q16=1 << 13)
    factors = {(1, 0, "x"): 3.0, (0, 0, "x"): 0.0}
    data = lesson(symbols, y, mask)
    a = learnt(shape, sgd, params, data, factors)
    b = learnt(shape, replace(sgd, rule="momentum"), params, data, factors)
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-12), a, b)
    i = [p["layers"][0]["W"]["i"] for p in (params, a)]
    np.testing.assert_array_equal(*i)  # its factor is 0


# ---- updates -------------------------------------------------------------


def moved(learn, gradients):
    """A weight that starts at 0, after these gradients, one by one."""
    rates = [{"b": jnp.array([0.5, 0.0])}]
    zero = [{"b": jnp.zeros(2)}]
    moving = Moving(zero, zero)
    for g in gradients:
        moving = update(learn, rates, moving, [{"b": jnp.array([g, 100.0])}])
    weight, frozen = moving.maps[0]["b"]
    assert frozen == 0.0
    return float(weight)


def test_the_rules_are_their_formulas():
    assert moved(TBPTT, [2.0, 1.0]) == -1.5
    heavy = replace(TBPTT, rule="momentum", decay_q14=1 << 13)
    assert moved(heavy, [2.0, 1.0]) == -1.0 - (0.5 + 0.5 * 1.0)
    # Nesterov: V = -1, then M += .5 * -1 - 1; V = -1, M += .5 * -1 - .5
    assert moved(replace(heavy, nesterov=True), [2.0, 1.0]) == -2.5
    rms = replace(TBPTT, rule="rmsprop", decay_q14=1 << 13, epsilon_q24=1 << 24)
    expected = -0.5 * 2.0 / np.sqrt(0.5 * 4.0 + 1.0)
    assert moved(rms, [2.0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("clip", [0.25, 1.0, 4.0])
def test_clipping_scales_to_the_threshold_without_what_is_frozen(clip):
    learn = replace(TBPTT, clip_q16=int(clip * 65536))
    assert moved(learn, [2.0]) == pytest.approx(-0.5 * min(2.0, clip), rel=1e-6)


def test_factors_and_masks_make_the_rates():
    shape = NETS["long-lag-2"].shape(5, 5)
    learn = replace(RTRL, frozen=1)
    rates = rates_of(shape, learn, {(1, 0, "x"): 10.0, (1, 0, "b"): 0.0})
    assert not any(v.any() for v in rates[0].values())
    assert [float(rates[1][k][0]) for k in "xhb"] == [10.0, 1.0, 0.0]
    layer = rates_of(shape, RTRL, {(0, 1, "x"): 0.5})[0]  # gates i and g, no bias
    np.testing.assert_array_equal(layer["x"], [1, 1, 0.5, 0.5])
    assert not layer["b"].any()
    with pytest.raises(ValueError, match="there is no layer, gate and part"):
        rates_of(shape, RTRL, {(0, 3, "x"): 0.5})


@pytest.mark.parametrize("name", ["hs97-3x2", "two layers", "long-lag"])
def test_maps_are_the_parameters(name):
    shape = SHAPES[name]
    params = example(shape)[0]
    again = params_of(shape, maps_of(shape, params))
    jax.tree.map(np.testing.assert_array_equal, params, again)


# ---- seeds ---------------------------------------------------------------

SMALL = IntRecipe(rate=0.5, cell="lstm97", hidden=4, limit=300)


def reber(seed):
    return make_int_task("embedded-reber", seed=seed, n_train=16, n_test=16)


def results(seeds, recipe=SMALL, **options):
    found = learn_float(recipe, reber, seeds, lanes=2, **options)
    return {r.seed: r for r in found}


def test_a_seed_learns_the_same_alone_and_beside_others():
    alone, among = results([7]), results([5, 6, 7])
    jax.tree.map(np.testing.assert_array_equal, alone[7].params, among[7].params)
    assert set(among) == {5, 6, 7}
    different = jax.tree.map(np.array_equal, among[5].params, among[7].params)
    assert not all(jax.tree.leaves(different))


@pytest.mark.parametrize("method", ["tbptt", "rtrl97"])
def test_padding_changes_no_bit(method):
    recipe = replace(SMALL, method=method)
    task = reber(3)
    shape, learn = recipe.shape(task), recipe.learn(task)
    rng = np.random.default_rng(0)
    lessons = [task.draw(rng) for _ in range(20)]
    longest = max(map(len, lessons))
    params = init_params(shape, rng, scale=0.2)
    first = jax.tree.map(lambda a: np.asarray(a)[None], start(shape, params))
    made = []
    for steps in (longest, longest + 9):
        data = Lessons(*(a[None] for a in padded(lessons, steps)))
        made.append(make_chunk(shape, learn, {})(first, data).maps)
    jax.tree.map(np.testing.assert_array_equal, *made)


class Watched:
    """A task that keeps what was drawn."""

    def __init__(self, task):
        self.task, self.drawn, self.tests = task, [], []

    def make(self, seed):
        def draw(rng):
            one = self.task.draw(rng)
            self.drawn.append(one.x.tolist())
            return one

        def test(asked, rng):
            self.tests.append(rng.random())
            return self.task.test(asked, rng)

        return replace(self.task, draw=draw, test=test)


def test_the_lessons_and_tests_of_a_seed_are_those_of_the_integers(monkeypatch):
    recipe = replace(SMALL, limit=200)
    floats, ints = Watched(reber(4)), Watched(reber(4))
    list(learn_float(recipe, floats.make, [4], lanes=1))
    monkeypatch.setattr(integers, "make_int_task", lambda _, seed: ints.make(seed))
    integers.learn_one(integers.Job(recipe, task="embedded-reber"), 4)
    assert floats.drawn == ints.drawn
    assert floats.tests == ints.tests
    assert len(floats.drawn) == 200


def test_a_task_asks_float_weights_as_it_asks_a_blob():
    """A stream that goes on: the state is kept, across padded calls."""
    shape = stack("lstm", (4, 3, 2), output="softmax")
    params = example(shape)[0]
    maps = jax.tree.map(np.float32, maps_of(shape, params))
    asked = FloatAsked(shape, maps)
    x = np.arange(40) % 4
    whole = asked.logits(x)
    parts = [asked.logits(x[:5]), asked.logits(x[5:], fresh=False)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    exact = forward(shape, params, np.eye(4)[x])
    np.testing.assert_allclose(whole / 2**20, exact.logits, atol=1e-5)
    np.testing.assert_array_equal(asked.logits(x, last=True), whole[-1])
    np.testing.assert_allclose(asked.y(x) / 2**20, exact.y, atol=1e-5)
    many = asked.many([x, x[:5]], logits=True, last=True)
    np.testing.assert_array_equal(many, [whole[-1], whole[4]])


def test_it_learns_and_says_when():
    """Two strings of a long lag of 3; the criterion is asked every 100 sequences."""

    def task(seed):
        return make_int_task("long-lag", seed=seed, lag=3)

    recipe = IntRecipe(
        rate=0.2, net="long-lag-2", loss="mse", k1=1, clip=0.0, limit=3000
    )
    (result,) = learn_float(recipe, task, [1], lanes=1)
    assert result.success
    assert result.sequences % 100 == 0
    assert 0 < result.sequences < 3000
    (short,) = learn_float(replace(recipe, limit=100), task, [1], lanes=1)
    assert (short.success, short.sequences) == (False, 100)


@pytest.mark.usefixtures("float64")
def test_k1_above_the_length_is_an_update_at_the_end():
    shape = stack("rnn_tanh", (3, 4, 2), output="linear")
    params, x, y, mask = example(shape)
    data = lesson(x, y, mask)
    a, b = (learnt(shape, replace(TBPTT, k1=k1, k2=60), params, data) for k1 in (0, 50))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_c_drifts_beyond_the_clamp_of_integers_at_a_lag_of_1000():
    """Why the row lag-1000 of the table is 0 in float."""
    recipe, task = RECIPES["long-lag-1000"], make_int_task("long-lag", lag=1000)
    shape, blob = recipe.shape(task), recipe.start(task, 40_000)
    factors = {
        (layer, gate, part): raw / 2.0**16
        for layer, gate, part, raw in recipe.raw_factors(shape)
    }
    r = np.random.default_rng([40_000, LESSONS, 0])
    lessons = padded([task.draw(r) for _ in range(100)], 1008)
    first = start(shape, dequantize(parse(blob)))
    one, data = jax.tree.map(lambda a: np.asarray(a)[None], (first, lessons))
    after = make_chunk(shape, recipe.learn(task), factors)(one, data)
    params = params_of(shape, jax.tree.map(lambda a: a[0], after.maps))
    x = np.eye(shape.n_in)[task.draw(r).x]
    c = forward(shape, params, x).layers[0]["c"]
    assert np.abs(c).max() > 2.0 ** (15 - recipe.h_exp)
