"""Users' units in and out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyvgrad.blob import pack, parse
from pyvgrad.calibrate import calibrate
from pyvgrad.intmodel import IntModel
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize
from pyvgrad.scaling import (
    channel_ranges,
    fold_outputs,
    input_scaling,
    output_unit,
    scaled,
)
from pyvgrad.signals import scale, to_signals


def blob_model(n_in, x_exp):
    shape = stack("rnn_tanh", (n_in, 2, 1), output="linear")
    return quantize(shape, init_params(shape, np.random.default_rng(0)), x_exp=x_exp)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_signals_are_the_normalised_values_within_a_step_and_the_gains_digits(seed):
    rng = np.random.default_rng(seed)
    n, x_exp = 3, int(rng.integers(8, 15))
    center = rng.normal(size=n) * 10.0 ** rng.uniform(-1, 3)
    spread = np.exp(rng.normal(size=n)) * 10.0 ** rng.uniform(-1, 2)
    spread *= rng.choice([-1.0, 1.0], n)
    scaling, count_exp = input_scaling(center, spread, x_exp=x_exp)
    assert ((np.abs(scaling.mult) >= 1 << 14) | (scaling.shift == 47)).all()
    model = replace(blob_model(n, x_exp), scaling=scaling, count_exp=count_exp)
    assert parse(pack(model)) == model
    x = rng.uniform(-1, 1, (20, n)) * 32000 / 2.0**x_exp
    raw, clamped = to_signals(model, center + spread * x)
    assert clamped == 0
    step = 2.0**-x_exp
    # half a step, half a unit of 15 digits of the gain, half a count of u and offset
    tolerance = step / 2 + np.abs(x) * 2.0**-14 + 2.0**-count_exp / np.abs(spread)
    assert (np.abs(raw * step - x) <= tolerance).all()
    meant = scaled(scaling, count_exp, x_exp, center + spread * x)
    count = 2.0**-count_exp / np.abs(spread)
    assert (np.abs(raw * step - meant) <= step / 2 + count).all()


def test_a_sensor_that_counts_has_count_exponent_0():
    scaling, count_exp = input_scaling([512], [512], x_exp=14, count_exp=0)
    model = replace(blob_model(1, 14), scaling=scaling, count_exp=count_exp)
    assert count_exp == 0
    raw, _ = scale(model, np.array([[0], [512], [1024], [513]]))
    assert raw.ravel().tolist() == [-16384, 0, 16384, 32]


def test_a_channel_that_counts_cannot_resolve_is_refused():
    with pytest.raises(ValueError, match="channel 2: center 0 and spread 1e-09"):
        input_scaling([0.0, 0.0], [1.0, 1e-9], x_exp=14, largest=1.0)
    with pytest.raises(ValueError, match="channel 1: center 1e"):
        input_scaling([1e10], [1.0], x_exp=14)
    with pytest.raises(ValueError, match="spread is not 0"):
        input_scaling([0.0], [0.0], x_exp=14)


def test_ranges_of_channels_count_valid_steps_only():
    x = np.zeros((2, 4, 3))
    x[0, :, 0] = [1, 3, 5, 999]
    x[1, :, 0] = [1, 999, 999, 999]
    x[..., 2] = 7.0
    lengths = np.array([3, 1])
    center, spread = channel_ranges(x, lengths, "std")
    np.testing.assert_allclose(center, [2.5, 0, 7])
    np.testing.assert_allclose(spread, [np.std([1, 3, 5, 1]), 1, 1])
    center, spread = channel_ranges(x, lengths, "minmax")
    np.testing.assert_allclose([center, spread], [[3, 0, 7], [2, 1, 1]])
    with pytest.raises(ValueError, match=r"std.*minmax"):
        channel_ranges(x, lengths, "median")


@pytest.mark.parametrize("bits", [8, 16])
def test_folded_outputs_are_in_the_users_unit_with_the_same_weights(bits):
    """The spread is a power of two: all integers but the biases stay."""
    shape = stack("lstm", (2, 5, 2), output="linear", shortcuts=True)
    params = init_params(shape, np.random.default_rng(3), scale=0.5)
    x = np.random.default_rng(1).uniform(-1, 1, (6, 9, 2))
    plain = forward(shape, params, x).y
    y = 300.0 + plain / plain.std((0, 1)) * [33.0, 5.0]
    center, spread = output_unit(y, np.ones((6, 9), bool))
    assert spread.tolist() == [32.0, 4.0]
    folded = fold_outputs(shape, params, center, spread)
    want = center + spread * plain
    np.testing.assert_allclose(forward(shape, folded, x).y, want, rtol=1e-12)
    before, after = (
        quantize(shape, p, weight_bits=bits, exponents=calibrate(shape, p, x, x_exp=14))
        for p in (params, folded)
    )
    if bits == 8:
        np.testing.assert_array_equal(before.readout.weights, after.readout.weights)
    got = IntModel(after).run(to_signals(after, x)[0]).y / 2.0**after.y_exp
    assert np.abs(got - want).max() < (2.0 if bits == 8 else 0.1)


def test_outputs_that_cannot_be_folded_are_refused():
    shape = stack("lstm", (2, 2, 2), output="softmax")
    params = init_params(shape, np.random.default_rng(0))
    with pytest.raises(ValueError, match="only a linear readout"):
        fold_outputs(shape, params, [0, 0], [1, 1])
    linear = stack("lstm", (2, 2, 2), output="linear")
    bare = replace(linear, readout=replace(linear.readout, biases=False))
    with pytest.raises(ValueError, match="without biases"):
        fold_outputs(bare, init_params(bare, np.random.default_rng(0)), [1, 0], [1, 1])
