"""Trainings on music and text: the measure, the update, and what an epoch does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pyvgrad import natural, omega
from pyvgrad.grad import value_and_grad
from pyvgrad.model import forward, init_params
from pyvgrad.natural import Corpus, Method, bundle, make_update, train
from pyvgrad.nets import stack

SGD = Method("rnn_tanh", 0.5)


def random_pieces(rng, lengths, n):
    return [rng.integers(0, 2, (length + 1, n), np.uint8) for length in lengths]


def music(pieces, rows=2, window=4):
    """A corpus of the pieces, the same in every set."""
    of = [bundle([(p[:-1], p[1:]) for p in pieces], rows, window)]
    return Corpus(pieces[0].shape[1], "logistic", rows, of, of, of)


def text(symbols, n, rows=2, window=5):
    """A corpus of a text, each row a part of it."""
    parts = np.split(symbols[: len(symbols) // rows * rows], rows)
    of = [bundle([(p[:-1], p[1:]) for p in parts], rows, window)]
    return Corpus(n, "softmax", rows, of, of, of)


def start(shape, seed):
    """The weights that a seed draws, in float64."""
    weights, _ = np.random.SeedSequence(seed).spawn(2)
    return init_params(shape, np.random.default_rng(weights))


def nats_of(corpus, shape, seed=3, method=SGD):
    (found,) = train(corpus, shape, method, [seed], epochs=0)
    assert found["epoch"] == 0
    assert found["nats"]["train"] == found["nats"]["test"]
    return found["nats"]["test"]


# ---- the measure -----------------------------------------------------------


def test_the_likelihood_of_two_keys_is_that_of_a_pocket_calculator(monkeypatch):
    """Weights of 0 but a bias of ln 3: a key sounds with probability 3/4, one 1/2.

    Steps asked: (1, 0) gives -ln(3/4 x 1/2), (0, 0) gives -ln(1/4 x 1/2).
    """
    shape = stack("rnn_tanh", (2, 1, 2), output="logistic")
    zeros = jax.tree.map(np.zeros_like, start(shape, 0))
    zeros["readout"]["b"] = np.array([np.log(3.0), 0.0])
    monkeypatch.setattr(natural, "init_params", lambda shape, rng: zeros)
    piece = np.array([[1, 1], [1, 0], [0, 0]], np.uint8)
    expected = (0.980829 + 2.079442) / 2
    assert nats_of(music([piece], rows=1), shape) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_nats_of_music_are_those_of_whole_pieces(cell):
    """Windows, padding and empty rows change nothing: float64, piece by piece."""
    pieces = random_pieces(np.random.default_rng(1), [3, 9, 4], 6)
    shape = stack(cell, (6, 5, 6), output="logistic")
    nats, steps = 0.0, 0
    for piece in pieces:
        y = forward(shape, start(shape, 3), piece[:-1].astype(float)).y
        nats -= np.log(np.where(piece[1:] == 1, y, 1.0 - y)).sum()
        steps += len(y)
    found = nats_of(music(pieces), shape)
    assert found == pytest.approx(nats / steps, rel=1e-5)  # float32


def test_nats_of_text_are_those_of_the_probabilities():
    rng = np.random.default_rng(2)
    symbols = rng.integers(0, 4, 26).astype(np.uint16)
    shape = stack("rnn_tanh", (4, 5, 4), output="softmax")
    nats = []
    for part in np.split(symbols, 2):
        y = forward(shape, start(shape, 3), np.eye(4)[part[:-1]]).y
        nats += [-np.log(row[s]) for row, s in zip(y, part[1:], strict=True)]
    found = nats_of(text(symbols, 4), shape)
    assert found == pytest.approx(np.mean(nats), rel=1e-5)


# ---- one update ------------------------------------------------------------


def updated(method, h=0.0):
    """(the change of one update, its batch, the weights, the shape), in float32.

    Two sequences of 6 and 4 known steps, one seed, from a state of ``h``.
    """
    rng = np.random.default_rng(5)
    shape = stack(method.cell, (3, 4, 3), output="logistic")
    params = jax.tree.map(lambda a: jnp.float32(a), start(shape, 7))
    x, y = rng.integers(0, 2, (2, 2, 6, 3)).astype(np.float32)
    known = np.arange(6) < np.array([[6], [4]])
    rule, update = make_update(shape, method)
    one = jax.tree.map(lambda a: a[None], params)
    state = [{"h": jnp.full((1, 2, 4), h)}]
    factor, weight = np.ones(1, np.float32), np.full(1, method.omega, np.float32)
    memory = jax.vmap(rule.init)(one)
    batch = (x[None], y[None], known[None])
    new, _, after, nats = update(one, memory, state, factor, weight, *batch)
    change = jax.tree.map(lambda a, b: np.asarray(a[0] - b), new, params)
    return change, (x, y, known), params, shape, (after, nats)


def assert_trees(found, expected, **tolerance):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


CLOSE = {"rtol": 2e-4, "atol": 1e-6}  # of float32 sums in another order


def test_msgd_takes_the_mean_gradient_of_the_known_steps():
    change, batch, params, shape, (_, nats) = updated(SGD)
    loss, g = value_and_grad(shape, "cross-entropy")(params, *batch)  # a mean over 2
    assert_trees(change, jax.tree.map(lambda v: -0.5 * v * 2 / 10, g), **CLOSE)
    assert float(nats[0]) == pytest.approx(float(loss) * 2 / 10, rel=1e-5)


def norm_of(tree):
    return np.sqrt(sum(np.sum(np.square(v)) for v in jax.tree.leaves(tree)))


def test_msgd_c_keeps_the_direction_and_bounds_the_norm():
    plain, *_ = updated(SGD)
    length = norm_of(plain) / 0.5
    clipped, *_ = updated(Method("rnn_tanh", 0.5, clip=float(length / 4)))
    assert_trees(clipped, jax.tree.map(lambda v: v / 4, plain), **CLOSE)
    left, *_ = updated(Method("rnn_tanh", 0.5, clip=float(length * 1.01)))
    assert_trees(left, plain, **CLOSE)


def test_msgd_cr_adds_omegas_gradient_to_that_of_u():
    """The gradients of omega.py; Omega does not see how long the errors are."""
    weight = 0.3
    change, batch, params, shape, _ = updated(Method("rnn_tanh", 0.5, omega=weight))
    _, g = omega.value_and_grad(shape, "cross-entropy", weight * 10 / 2)(params, *batch)
    assert_trees(change, jax.tree.map(lambda v: -0.5 * v * 2 / 10, g), **CLOSE)
    plain, *_ = updated(SGD)
    moved = change["layers"][0]["U"]["a"] - plain["layers"][0]["U"]["a"]
    assert norm_of(moved) > 1e-3  # a test without Omega would be none


def test_with_little_of_omega_it_is_msgd_from_any_state():
    plain, *_, (after, nats) = updated(SGD, h=0.7)
    regular, *_, (after_r, nats_r) = updated(Method("rnn_tanh", 0.5, omega=1e-9), h=0.7)
    assert_trees(regular, plain, **CLOSE)
    assert_trees([after_r, nats_r], [after, nats], **CLOSE)
    zero, *_ = updated(SGD)
    assert norm_of(zero["layers"]) != pytest.approx(norm_of(plain["layers"]), rel=0.01)


@pytest.mark.parametrize("regularized", [0.0, 0.2])
def test_the_state_goes_on_behind_the_window(regularized):
    _, batch, params, shape, (after, _) = updated(
        Method("rnn_tanh", 0.5, omega=regularized)
    )
    h = forward(shape, jax.tree.map(np.float64, params), batch[0]).layers[0]["h"]
    np.testing.assert_allclose(after[0]["h"][0], h[:, -1], atol=1e-6)


# ---- epochs ----------------------------------------------------------------


def test_a_text_with_a_period_is_learnt():
    symbols = np.tile([0, 1, 2, 0, 2], 40).astype(np.uint16)
    shape = stack("rnn_tanh", (3, 8, 3), output="softmax")
    method = Method("rnn_tanh", 0.1, clip=1.0)
    (found,) = train(text(symbols, 3), shape, method, [1], epochs=15)
    assert found["curve"][0] > 0.3
    assert found["nats"]["test"] < 0.1
    assert found["nats"]["valid"] == pytest.approx(min(found["curve"]), rel=1e-6)
    assert found["curve"][found["epoch"] - 1] == min(found["curve"])


def test_a_seed_does_not_depend_on_the_others():
    corpus = music(random_pieces(np.random.default_rng(3), [5, 7, 6, 3, 8], 4))
    shape = stack("rnn_tanh", (4, 5, 4), output="logistic")
    both = train(corpus, shape, SGD, [1, 2], epochs=3)
    (alone,) = train(corpus, shape, SGD, [2], epochs=3)
    np.testing.assert_allclose(both[1]["curve"], alone["curve"], rtol=1e-4)
    assert [r["seed"] for r in both] == [1, 2]
    assert both[0]["curve"] != both[1]["curve"]


def test_the_order_is_drawn_and_every_piece_is_learnt_from_once():
    pieces = [np.full((4, 1), k, np.uint8) for k in range(7)]
    corpus = music(pieces, rows=2)

    def order(epoch, seed):
        rng = [np.random.default_rng(seed)]
        return [
            x[known][0, 0]
            for windows in natural._updates(corpus, epoch, rng)
            for x, _, known in [next(windows)]
            for x, known in zip(x[0], known[0], strict=True)
            if known.any()
        ]

    assert sorted(order(1, 1)) == list(range(7))
    assert order(1, 1) != order(1, 2)


def test_a_rate_that_is_too_large_is_halved_and_the_best_weights_count():
    corpus = music(random_pieces(np.random.default_rng(4), [9, 9], 4))
    shape = stack("rnn_tanh", (4, 5, 4), output="logistic")
    (found,) = train(corpus, shape, Method("rnn_tanh", 300.0), [1], epochs=4)
    (start_nats,) = train(corpus, shape, SGD, [1], epochs=0)
    assert min(found["curve"]) > start_nats["nats"]["valid"]
    assert found["epoch"] == 0
    assert found["nats"] == start_nats["nats"]


def test_what_is_not_finite_is_said_and_ends_the_training():
    corpus = music(random_pieces(np.random.default_rng(4), [9, 9], 4))
    shape = stack("rnn_tanh", (4, 5, 4), output="logistic")
    (found,) = train(corpus, shape, Method("rnn_tanh", 1e38), [1], epochs=9)
    assert found["curve"][-1] is None
    assert len(found["curve"]) < 9
    assert np.isfinite(found["nats"]["test"])
