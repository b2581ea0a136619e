"""Recurrent cascade-correlation: its parts against the formulas of 1991."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pyvgrad import rcc
from pyvgrad.optim import quickprop


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def s(z):
    return 1 / (1 + np.exp(-z))


def example(seed=0, n=6, T=5, n_in=3, n_out=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, T, n_in))
    target = rng.uniform(size=(n, T, n_out))
    weight = rng.integers(0, 3, size=(n, 1)) * (
        np.arange(T) < rng.integers(2, T, (n, 1))
    )
    return rcc.Strings(x, target, weight.astype(float))


def unit(seed=1, n_in=3):
    rng = np.random.default_rng(seed)
    return {"w": rng.normal(size=n_in), "u": np.array(0.8), "b": np.array(-0.3)}


# ---- a unit ----------------------------------------------------------------


def fahlman(params, x):
    """Values (T,) of one string and their slopes to w, by Fahlman's recursion."""
    v, slope, values, slopes = 0.0, np.zeros(len(params["w"])), [], []
    for now in x:
        y = s(now @ params["w"] + params["u"] * v + params["b"])
        slope = y * (1 - y) * (now + params["u"] * slope)
        v = y - 0.5
        values.append(v)
        slopes.append(slope)
    return np.array(values), np.array(slopes)


@pytest.mark.usefixtures("float64")
def test_a_units_values_and_slopes_are_fahlmans():
    x, params = example().x, unit()
    values = rcc.values(params, x)
    slopes = jax.jacobian(lambda w: rcc.values(params | {"w": w}, x))(params["w"])
    for k, string in enumerate(x):
        v, slope = fahlman(params, string)
        np.testing.assert_allclose(values[k], v, atol=1e-12)
        np.testing.assert_allclose(slopes[k], slope, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_correlation_is_a_sum_over_the_set_with_repeats():
    """Each string as often as it stands there, in plain loops; a share of squares."""
    strings, params = example(), unit()
    rng = np.random.default_rng(2)
    residual = rng.normal(size=strings.target.shape)
    total = strings.weight.sum()
    residual -= np.einsum("nt,nto->o", strings.weight, residual) / total
    together, squares = np.zeros(2), 0.0
    values = [fahlman(params, x)[0] for x in strings.x]
    mean = sum((v * w).sum() for v, w in zip(values, strings.weight, strict=True))
    for v, e, w in zip(values, residual, strings.weight, strict=True):
        for t, times in enumerate(w):
            together += times * (v[t] - mean / total) * e[t]
            squares += times * (e[t] ** 2).sum()
    found = rcc.correlation(params, strings.x, residual, strings.weight)
    assert float(found) == pytest.approx(np.abs(together).sum() / squares, rel=1e-9)


# ---- the outputs -----------------------------------------------------------


@pytest.mark.usefixtures("float64")
def test_without_the_added_slope_the_outputs_have_the_true_gradient(monkeypatch):
    strings = example()
    weights = np.random.default_rng(3).normal(size=(3, 2))
    monkeypatch.setattr(rcc, "SLOPE", 0.0)
    half, slopes = rcc.output_slopes(weights, strings.x, strings)

    def error(w):
        y = 1 / (1 + jnp.exp(-(strings.x @ w)))
        return 0.5 * jnp.sum(strings.weight[..., None] * (y - strings.target) ** 2)

    assert float(half) == pytest.approx(float(error(weights)))
    np.testing.assert_allclose(slopes, jax.grad(error)(weights), atol=1e-9)


def test_a_wrong_and_flat_output_still_moves():
    one = np.ones((1, 1, 1))
    strings = rcc.Strings(one, 0 * one, one[..., 0])
    _, slope = rcc.output_slopes(np.full((1, 1), 40.0), one, strings)
    assert float(slope[0, 0]) == pytest.approx(rcc.SLOPE, rel=1e-4)


# ---- quickprop -------------------------------------------------------------


def test_quickprop_finds_the_minimum_of_a_parabola_in_two_steps():
    w = np.array([3.0, -1.0])
    first = quickprop(w - 1.0, jnp.zeros(2), jnp.zeros(2), 0.6)
    np.testing.assert_allclose(first, -0.6 * (w - 1.0), rtol=1e-6)
    second = quickprop(w + first - 1.0, w - 1.0, first, 0.0)
    np.testing.assert_allclose(w + first + second, 1.0, rtol=1e-6)


@pytest.mark.parametrize("slope", [1.0, 0.99, 1.5])
def test_quickprop_grows_twice_at_most(slope):
    """Where the slope hardly fell, or grew: downhill goes on at twice the last step."""
    step = quickprop(jnp.array(slope), jnp.array(1.0), jnp.array(-0.5), 0.1)
    assert float(step) == pytest.approx(-1.0 - 0.1 * slope)


def test_quickprop_turns_back_without_the_rate():
    step = quickprop(jnp.array(-1.0), jnp.array(3.0), jnp.array(-0.5), 0.1)
    assert float(step) == pytest.approx(0.125)  # a quarter of the way back


# ---- growing ---------------------------------------------------------------


def memory(n=24, T=8, seed=0):
    """The output is x of the step before: outputs that read x alone cannot know it."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, size=(n, T, 1)).astype(np.float32)
    target = np.concatenate([np.zeros((n, 1, 1), np.float32), x[:, :-1]], axis=1)
    return rcc.Strings(x, target, np.ones((n, T), np.float32))


QUICK = rcc.Settings(candidates=4, units=8, epochs=100, patience=12, in_change=0.001)


def solved(strings):
    def test(units, weights):
        y = np.asarray(rcc.run(units, weights, strings.x))
        return bool((np.abs(y - strings.target) < 0.5).all())

    return test


def test_units_are_added_until_the_past_is_remembered():
    strings = memory()
    found = rcc.grow(strings, QUICK, np.random.default_rng(0), solved(strings))
    assert found[-1].test
    assert 1 <= found[-1].units <= 8
    assert [f.units for f in found] == list(range(len(found)))
    errors = [f.error for f in found]
    assert errors[-1] < 0.2 * errors[0]
    assert np.all(np.diff([f.epochs for f in found]) > 0)


def test_the_test_sees_the_net_that_was_trained():
    strings, errors = memory(), []

    def test(units, weights):
        y = np.asarray(rcc.run(units, weights, strings.x))
        errors.append(0.5 * float(((y - strings.target) ** 2).sum()))
        return False

    few = replace(QUICK, units=2)
    found = rcc.grow(strings, few, np.random.default_rng(0), test)
    np.testing.assert_allclose(errors, [f.error for f in found], rtol=1e-4)


def test_a_unit_is_never_changed_again():
    seen = []

    def test(units, weights):
        seen.append({k: v.copy() for k, v in units.items()})
        return False

    rcc.grow(memory(), replace(QUICK, units=3), np.random.default_rng(0), test)
    for k, (before, after) in enumerate(pairwise(seen)):
        for part in ("w", "u", "b"):
            np.testing.assert_array_equal(before[part][:k], after[part][:k])
        assert after["w"][k].any()
        assert not after["w"][k + 1 :].any()


def test_padding_counts_nothing():
    strings = memory()
    wide = rcc.Strings(
        *(np.pad(a, [(0, 3), (0, 2), (0, 0)][: a.ndim]) for a in strings)
    )
    ends = [
        rcc.grow(x, replace(QUICK, units=1), np.random.default_rng(0), lambda *_: False)
        for x in (strings, wide)
    ]
    assert ends[0][0].error == pytest.approx(ends[1][0].error, rel=1e-4)


def test_weights_are_counted():
    """7 outputs of 7 inputs and a bias; a unit reads these, itself, and older units."""
    assert rcc.count(7, 7, 0) == 56
    assert rcc.count(7, 7, 2) == 7 * 10 + (7 + 1 + 1) + (8 + 1 + 1)
