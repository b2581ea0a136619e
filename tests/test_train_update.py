"""What clipping, frozen layers and factors do to an update."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from checkpoints import decode, masters
from trainings import Runner, Training, blob_of, make, tame_model

from pyvgrad.blob import parse

INT31 = 2**31 - 1

# ---- norm clipping ---------------------------------------------------------


def rtrl_gradient(seed, rate=1 << 20, clip=0, *, loud=1):
    """(Training with a gradient that waits for its sequence's end, its sum of squares).

    RTRL97 keeps all of G in the checkpoint.
    """
    model = tame_model(seed, output="linear")
    learn = make(method="rtrl97", loss="mse", rate_q24=rate, clip_q16=clip)
    training = Training(blob_of(model), learn)
    rng = np.random.default_rng(seed)
    x = (rng.uniform(-1, 1, (6, 3)) * 2**model.x_exp).astype(np.int16)
    training.steps(x, (rng.uniform(-1, 1, (6, 2)) * 800 * loud).astype(np.int16))
    state = decode(training.checkpoint())
    parts = [p.ravel() for g in state.gates.values() for p in g["G"]]
    squares = sum(int(v) ** 2 for p in parts for v in p)
    return training, squares


def change(training, clip):
    """The end of the sequence: (all changes of masters as one vector, in value)."""
    settings = dataclasses.replace(training.learn, clip_q16=clip)
    fork = Training(training.checkpoint(), None)
    assert fork.lib.vg_train_tune(fork.t, fork.settings(settings)) == 0
    before = masters(fork.checkpoint())
    assert fork.end() == 1
    assert fork.t.falls == training.t.falls
    after = masters(fork.checkpoint())
    moved = []
    for key, (W, b) in before.items():
        moved.append((after[key][0] - W).ravel())
        if b is not None:
            moved.append(after[key][1] - b)
    return np.concatenate(moved), fork


def rounding(training):
    """How far the roundings of all steps can move the norm of a change."""
    model, total = parse(training.plain()), 0.0
    for key, (W, b) in masters(training.checkpoint()).items():
        if key == "y":
            E, exps = model.readout.exps[0], model.readout_exps
        else:
            E, exps = model.layers[key[0]].exps[key[1]][0], model.column_exps(*key)
        step = 2.0 ** (exps.max() - E - 16.0)
        total += W.size * step**2 + (0 if b is None else b.size * 4.0**-E)
    return math.sqrt(total)


def floor_root(squares):
    """N of the specification, in unbounded integers."""
    m = 0
    while squares >> 2 * m >= 1 << 64:
        m += 1
    return math.isqrt(squares >> 2 * m) << m


@pytest.mark.parametrize("seed", range(12))
def test_the_norm_is_the_exact_one(seed):
    training, squares = rtrl_gradient(seed)
    _, fork = change(training, 0)
    assert fork.t.norm_q16 == min(floor_root(squares) >> 8, 2**32 - 1)
    exact = Fraction(squares) / 2**48
    norm = Fraction(int(fork.t.norm_q16), 2**16)
    assert norm**2 <= exact < (norm + Fraction(1, 2**16)) ** 2
    assert fork.t.clipped == 0


@pytest.mark.parametrize("threshold", [0.1, 1, 7])
@pytest.mark.parametrize("seed", range(6))
def test_a_clipped_change_is_as_long_as_the_threshold_says(seed, threshold):
    training, squares = rtrl_gradient(seed, loud=40)
    clip = int(threshold * 65536)
    norm = math.sqrt(squares) / 2**24
    free, _ = change(training, 0)
    held, fork = change(training, clip)
    rate, noise = training.learn.rate_q24 / 2**24, rounding(training)
    assert norm > clip / 65536
    assert fork.t.clipped == 1
    theta = clip / 65536
    assert abs(np.linalg.norm(held) - rate * theta) <= noise + rate * theta * 2**-28
    assert abs(np.linalg.norm(free) - rate * norm) <= noise
    # it points where the gradient does
    assert np.linalg.norm(held - free * (theta / norm)) <= 2 * noise


@pytest.mark.parametrize("seed", range(6))
def test_at_the_threshold_nothing_is_clipped(seed):
    """Just where Q > c^2 2^16 turns true, by exact integers."""
    training, squares = rtrl_gradient(seed)
    exact = math.isqrt(squares >> 16)
    at = exact + (exact * exact << 16 < squares)
    assert (at - 1) ** 2 << 16 < squares <= at**2 << 16
    free, _ = change(training, 0)
    for clip, clipped in ((at, 0), (at + 1, 0), (INT31, 0), (at - 1, 1), (1, 1)):
        moved, fork = change(training, clip)
        assert fork.t.clipped == clipped
        if not clipped:
            assert (moved == free).all()
    assert (change(training, at // 2)[0] != free).any()


@pytest.mark.parametrize(("less", "clipped"), [(0, 0), (1, 1), (-1, 0)])
def test_a_norm_of_just_the_threshold_is_not_clipped(less, clipped):
    """One bias learns, so that its gradient is the norm: 1000 / 2^y_exp."""
    model = tame_model(1, sizes=(1, 1, 1), output="linear")
    c = 1000 << 16 - model.y_exp
    learn = make(loss="mse", k2=1, frozen=1, clip_q16=c - less)
    training = Training(blob_of(model), learn)
    assert training.lib.vg_train_rate(training.t, 1, 0, 1, 0) == 0
    y = Runner(training.plain()).step([77])
    training.steps(np.full((1, 1), 77, np.int16), np.array([y]) - 1000)
    (bias,) = decode(training.checkpoint()).gates["y"]["G"][1]
    assert bias == c * 256
    assert training.end() == 1
    assert (training.t.norm_q16, training.t.clipped) == (c, clipped)


def test_a_norm_near_overflow_still_has_a_right_direction():
    """Errors and gradients at their limits, far beyond what norm_q16 can say."""
    model = tame_model(4, sizes=(3, 4, 6), output="linear")
    learn = make(method="rtrl97", loss="mse", rate_q24=1 << 20)
    q = dataclasses.replace(
        model.readout, logit_exp=0, exps=model.readout.exps - model.logit_exp
    )
    training = Training(blob_of(dataclasses.replace(model, readout=q)), learn)
    x = np.full((30, 3), 30000, np.int16)
    x[1::2] *= -1
    target = np.array([[-32768, 32767] * 3] * 30, np.int16)
    training.steps(x, target)
    state = decode(training.checkpoint())
    G = np.concatenate([p.ravel() for g in state.gates.values() for p in g["G"]])
    assert (np.abs(G.astype(np.int64)) == INT31).sum() >= 8
    squares = sum(int(v) ** 2 for v in G)
    assert floor_root(squares) >> 8 >= 2**24
    held, fork = change(training, 1 << 20)
    assert fork.t.clipped == 1
    assert fork.t.norm_q16 == min(floor_root(squares) >> 8, 2**32 - 1)
    wanted = -G / math.sqrt(squares)
    assert np.linalg.norm(held - wanted) <= 1e-6 + 2 * rounding(training)


def test_a_norm_beyond_32_bits_clips_as_well():
    """327,675 gradients at their limit: the norm is 2^40.2 on q24."""
    model = tame_model(1, "rnn_tanh", (65535, 5, 1), output="linear")
    q = model.layers[0]
    weights, biases = {"a": 0 * q.weights["a"]}, {"a": 0 * q.biases["a"]}
    silent = dataclasses.replace(q, weights=weights, biases=biases)
    model = dataclasses.replace(model, x_exp=0, count_exp=0, layers=(silent,))
    learn = make(loss="mse", k2=1, rate_q24=1, clip_q16=INT31)
    training = Training(blob_of(model), learn)
    before = masters(training.checkpoint())[0, "a"][0]
    training.steps(np.full((1, 65535), 32767), np.full((1, 1), -32768))
    assert training.end() == 1
    assert (training.t.norm_q16, training.t.clipped) == (2**32 - 1, 1)
    moved = (masters(training.checkpoint())[0, "a"][0] - before)[:, :65535]
    length = np.linalg.norm(moved)
    assert abs(length * 2**24 - 32767.99) < 1
    assert np.abs(moved).min() > 0.99 * np.abs(moved).max()


# ---- what is frozen, and factors -------------------------------------------


def parts(training, key):
    """{part: values of the masters} of a gate."""
    model = parse(training.plain())
    W, b = masters(training.checkpoint())[key]
    n_in = W.shape[1] if key == "y" else model.layers[key[0]].layer.n_in
    if key == "y":
        n_in = model.readout.readout.n_in
        return {1: W[:, :n_in], 0: W[:, n_in:], 2: b}
    return {0: W[:, :n_in], 1: W[:, n_in:], 2: b}


SIX = tame_model(12, output="softmax", shortcuts=True)


@pytest.fixture(scope="module", params=["tbptt", "rtrl97"])
def ready(request):
    """A checkpoint just before a sequence ends, every tensor with a gradient."""
    learn = make(method=request.param, symbols=True, rate_q24=1 << 18)
    training = Training(blob_of(SIX), learn)
    training.steps([0, 1, 2, 1], [0, 1, 1, 0])
    return training.checkpoint()


def moves(checkpoint, *, frozen=None, factors=()):
    """({(gate, part): change}, norm_q16) of the sequence's end."""
    fork = Training(checkpoint, None)
    if frozen is not None:
        now = dataclasses.replace(fork.learn, frozen=frozen)
        assert fork.lib.vg_train_tune(fork.t, fork.settings(now)) == 0
    for place in factors:
        assert fork.lib.vg_train_rate(fork.t, *place) == 0
    keys = [(0, g) for g in "ifog"] + ["y"]
    before = {k: parts(fork, k) for k in keys}
    assert fork.end() == 1
    after = {k: parts(fork, k) for k in keys}
    assert fork.t.falls == 0
    return {
        (k, p): after[k][p] - before[k][p]
        for k in keys
        for p in range(3)
        if before[k][p] is not None
    }, fork.t.norm_q16


def squares_of(moved):
    return {key: float((v**2).sum()) for key, v in moved.items()}


def test_every_tensor_moves_when_none_is_frozen(ready):
    moved, norm = moves(ready)
    assert len(moved) >= 11
    assert all((v != 0).any() for v in moved.values())
    rate = 2.0**-6
    total = math.sqrt(sum(squares_of(moved).values()))
    assert abs(total - rate * norm / 65536) < 1e-4


@pytest.mark.parametrize(("mask", "frozen"), [(1, [0, 1, 2, 3]), (1 << 31, [4])])
def test_a_frozen_layer_stays_and_the_norm_is_without_it(ready, mask, frozen):
    free, _ = moves(ready)
    moved, norm = moves(ready, frozen=mask)
    keys = [(0, g) for g in "ifog"] + ["y"]
    for (key, part), change in moved.items():
        if keys.index(key) in frozen:
            assert not change.any()
        else:
            assert (change == free[key, part]).all()
    rest = math.sqrt(sum(squares_of(moved).values()))
    assert abs(rest - 2.0**-6 * norm / 65536) < 1e-4


def places():
    for k, letter in enumerate("ifog"):
        for part in (0, 1, 2):
            if part < 2 or SIX.layers[0].layer.has_bias(letter):
                yield (0, k, part), ((0, letter), part)
    for part in (0, 1, 2):
        if part < 2 or SIX.readout.readout.biases:
            yield (1, 0, part), ("y", part)


@pytest.mark.parametrize(("place", "key"), list(places()))
def test_a_factor_of_0_freezes_one_tensor_and_of_10_moves_it_ten_times(
    ready, place, key
):
    free, norm = moves(ready)
    still, without = moves(ready, factors=[(*place, 0)])
    assert not still[key].any()
    far, same = moves(ready, factors=[(*place, 655360)])
    assert same == norm  # of the gradient, whatever the rates
    for other in free:
        if other != key:
            assert (still[other] == free[other]).all()
            assert (far[other] == free[other]).all()
    assert without < norm
    wanted = math.sqrt(max(0.0, norm**2 - squares_of(free)[key] * 2.0**12 * 65536**2))
    assert abs(without - wanted) < 200
    assert np.abs(far[key] - 10 * free[key]).max() <= 11 * np.abs(free[key]).max() / 99


@pytest.mark.parametrize("frozen", [0, 2**31 - 1, 1 << 31, 2**32 - 1])
def test_layers_beyond_the_thirtieth_cannot_be_frozen(frozen):
    model = tame_model(1, "rnn_tanh", (1, 1, 1), output="linear", layers=33)
    learn = make(loss="mse", k2=1, rate_q24=2**31 - 1, frozen=frozen)
    training = Training(blob_of(model), learn)
    before = masters(training.checkpoint())
    training.steps(np.full((1, 1), 9000, np.int16), np.full((1, 1), 30000, np.int16))
    assert training.end() == 1
    after = masters(training.checkpoint())
    moved = {key for key in before if (after[key][0] != before[key][0]).any()}
    assert {(31, "a"), (32, "a")} <= moved
    assert ("y" in moved) == (not frozen >> 31)
    assert any(key[0] in range(29, 31) for key in moved if key != "y") == (
        not frozen & 2**31 - 1
    )
