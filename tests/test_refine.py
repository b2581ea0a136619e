"""Fine-tuning for integers: the loss it is judged by, and what it gains."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from pyvgrad.calibrate import Ranges, calibrate
from pyvgrad.defaults import Settings, recipe_for
from pyvgrad.grad import masked_loss
from pyvgrad.intmodel import IntModel
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.qat import Rounding
from pyvgrad.quantize import quantize
from pyvgrad.refine import integer_loss, quantized, refine
from pyvgrad.signals import to_signals
from pyvgrad.solve import solve
from pyvgrad.tasks import make_task
from pyvgrad.tasks.task import Sequences


def sequences(x, y, mask=None):
    every = np.ones(x.shape[:2], bool)
    symbols = np.full((len(x), x.shape[1] + 1), -1)
    return Sequences(x, y, every.sum(1), every if mask is None else mask, symbols)


@pytest.mark.parametrize(
    ("output", "loss"),
    [("linear", "mse"), ("softmax", "cross-entropy"), ("logistic", "cross-entropy")],
)
def test_the_loss_of_the_integers_is_that_of_their_values(output, loss):
    rng = np.random.default_rng(0)
    shape = stack("lstm", (2, 3, 3), output=output)
    q = quantize(shape, init_params(shape, rng, scale=1.0), weight_bits=8)
    x = rng.uniform(-1, 1, (4, 5, 2))
    y = np.eye(3)[rng.integers(0, 3, (4, 5))]
    mask = rng.random((4, 5)) < 0.6
    y[~mask] = np.nan
    logits = IntModel(q).run(to_signals(q, x)[0]).logits / 2.0**q.logit_exp
    want = masked_loss(shape, loss, jnp.asarray(logits), jnp.asarray(y), mask)
    got = integer_loss(q, loss, sequences(x, y, mask))
    # y of logistic outputs and probabilities is not looked at, only logits.
    assert got == pytest.approx(float(want), rel=1e-5)


def imitation(seed):
    """A random net in int8 that is to do what its float weights do."""
    shape = stack("lstm", (2, 6, 2), output="linear")
    weights, drawn = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2)
    )
    teacher = init_params(shape, weights, scale=1.0)

    def draw(rng, n):
        x = rng.uniform(-1, 1, (n, 12, 2))
        return sequences(x, forward(shape, teacher, x).logits)

    data, test = draw(drawn, 64), draw(drawn, 256)
    rounding = Rounding(8, calibrate(shape, teacher, data.x))
    return shape, teacher, draw, rounding, data, test


SETTINGS = Settings(
    rate=0.003, loss="mse", optimizer="adam", batch=16, chunk=800, limit=80_000
)


def test_fine_tuning_halves_the_error_of_int8_on_fresh_sequences():
    before, after = [], []
    for seed in (10, 11, 12):
        shape, teacher, draw, rounding, data, test = imitation(seed)
        rng = np.random.default_rng(seed)
        found = refine(
            shape, teacher, draw, SETTINGS, rng, rounding=rounding, data=data
        )
        plain, tuned = (quantized(shape, p, rounding) for p in (teacher, found.params))
        assert found.before == integer_loss(plain, "mse", data)
        assert found.after == integer_loss(tuned, "mse", data)
        before.append(integer_loss(plain, "mse", test))
        after.append(integer_loss(tuned, "mse", test))
    assert np.mean(after) < 0.5 * np.mean(before), (before, after)


def test_fine_tuning_that_only_harms_gives_back_what_it_was_given():
    shape, teacher, draw, rounding, data, _ = imitation(3)
    wild = replace(SETTINGS, rate=3e4, limit=2000)
    rng = np.random.default_rng(0)
    found = refine(shape, teacher, draw, wild, rng, rounding=rounding, data=data)
    assert found.params is teacher
    assert found.after == found.before


def test_a_task_is_solved_in_int8_with_a_lower_loss():
    task = make_task("reber", seed=0)
    recipe = replace(recipe_for(task), hidden=6)
    settings = replace(recipe.settings, limit=3000)
    shape = recipe.shape(task)
    plain = solve(task, shape, settings, 0, weight_bits=8)
    tuned = solve(task, shape, settings, 0, weight_bits=8, qat=True)
    assert plain.result.success
    assert tuned.result.success
    assert plain.refined is None
    assert tuned.refined is not None
    assert tuned.refined.after < tuned.refined.before
    assert tuned.blob != plain.blob
    assert tuned.model.weight_bits == 8


def test_percentiles_of_weights_cannot_be_trained_for():
    task = make_task("reber", seed=0)
    recipe = recipe_for(task)
    with pytest.raises(ValueError, match="minmax or mse"):
        solve(
            task,
            recipe.shape(task),
            recipe.settings,
            0,
            ranges=Ranges("percentile"),
            qat=True,
        )
