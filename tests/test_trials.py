"""Trials: the order of sequences, the criterion of 1997, many at once."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from pyvgrad.lag_trials import fresh, two_strings
from pyvgrad.methods import exact, rates, weights_of
from pyvgrad.nets import NETS
from pyvgrad.tasks import Lesson, make_int_task
from pyvgrad.trials import (
    Criterion,
    Method,
    Trial,
    deck_of,
    places,
    run_trials,
)

STRINGS = ([0, 1, 2], [1, 2], [2, 0, 1, 1])


def lessons():
    return [Lesson.of_symbols(np.array(s)) for s in STRINGS]


def test_a_deck_holds_sequences_one_behind_the_other():
    deck, begin = deck_of(lessons(), 8)
    assert begin.tolist() == [0, 2, 3, 6]
    assert deck.x.tolist() == [0, 1, 1, 2, 0, 1, 0, 0]
    assert deck.target.tolist() == [1, 2, 2, 0, 1, 1, 0, 0]
    assert deck.first.tolist() == [True, False, True, True, False, False, False, False]
    assert deck.last.tolist() == [False, True, True, False, False, True, False, False]
    assert deck.known.tolist() == [True] * 6 + [False] * 2


def test_places_are_those_of_the_chosen_sequences_then_of_padding():
    _, begin = deck_of(lessons(), 8)
    at = places(begin, np.array([2, 1, 1, 0]), 9)
    assert at.tolist() == [3, 4, 5, 2, 2, 0, 1, 6, 6]


def test_a_step_without_a_target_stays_without():
    deck, _ = deck_of([Lesson.at_end(np.array([3, 1]), 1)], 4)
    assert deck.known.tolist() == [False, True, False, False]


# ---- the criterion ---------------------------------------------------------


def scripted(errors):
    """A method whose output 0 is wrong by what ``errors`` (sequences, 2) says."""
    table = jnp.asarray(np.ravel(errors))

    def play(rates, weights, live, now):
        error = table[weights["step"].astype(int)]
        goal = jnp.arange(2) == now.target
        y = goal + jnp.array([1.0, 0.0]) * error
        return {"step": weights["step"] + 1}, live, y

    return Method(lambda _: (), play)


def one_by_one(seeds, block):
    deck, _ = deck_of([Lesson(np.array([0, 0]), np.array([0, 1]))], 2)
    return deck, np.tile(np.arange(2, dtype=np.int32), (len(seeds), 1))


def judged(errors, at_end=False, limit=None):
    trial = Trial(0, (), {"step": np.float32(0.0)})
    run_trials(
        scripted(errors),
        [trial],
        one_by_one,
        per_chunk=1,
        limit=limit or len(errors),
        shared=True,
        criterion=Criterion(0.25, 3),
        at_end=at_end,
    )
    return trial


GOOD, LATE, EARLY = (0.1, 0.2), (0.0, 0.25), (0.3, 0.0)


def test_success_is_so_many_sequences_in_a_row_and_counts_those_before():
    trial = judged([GOOD, GOOD, LATE, GOOD, GOOD, GOOD, LATE])
    assert (trial.success, trial.sequences) == (True, 3)
    assert (trial.always_at, trial.end_at) == (3, 3)


def test_an_error_within_a_sequence_counts_but_not_at_its_end():
    errors = [GOOD, GOOD, EARLY, GOOD, GOOD]
    trial = judged(errors)
    assert (trial.success, trial.sequences) == (False, 5)
    assert (trial.always_at, trial.end_at) == (None, 0)
    trial = judged(errors, at_end=True)
    assert (trial.success, trial.sequences) == (True, 0)


def test_a_curve_has_the_last_steps_errors():
    trial = judged([(0.9, 0.5), (0.9, 0.125)])
    assert trial.curve == [(1, 0.5), (2, 0.125)]


def test_what_is_not_finite_ends_without_success():
    def play(rates, weights, live, now):
        return weights * np.float32(np.nan), live, jnp.zeros(2)

    trial = Trial(0, (), np.ones(2, np.float32))
    run_trials(
        Method(lambda _: (), play),
        [trial],
        one_by_one,
        per_chunk=1,
        limit=100,
        shared=True,
        criterion=Criterion(),
    )
    assert (trial.success, trial.sequences) == (False, 1)


def test_a_test_of_all_lanes_decides_where_there_is_one():
    trials = [Trial(k, (), {"step": np.float32(0.0)}) for k in range(2)]

    def test(seeds, weights):
        return np.where(np.asarray(weights["step"]) >= 4, [1.0, 0.5], 0.0)

    run_trials(
        scripted([GOOD] * 9),
        trials,
        one_by_one,
        per_chunk=1,
        limit=5,
        shared=True,
        criterion=Criterion(0.25, 1),
        test=test,
    )
    assert [(t.success, t.sequences) for t in trials] == [(True, 2), (False, 5)]
    assert trials[1].curve == [(1, 0.0), (2, 0.5), (3, 0.5), (4, 0.5), (5, 0.5)]


# ---- many at once ----------------------------------------------------------


def learnt(seeds, rate=1.0):
    shape = NETS["rtrl-1"].shape(4, 4)
    trials = [Trial(s, rates(shape, rate), weights_of(shape, s, 0.2)) for s in seeds]
    run_trials(
        exact(shape),
        trials,
        two_strings(3, 50),
        per_chunk=50,
        limit=200,
        shared=True,
        criterion=Criterion(),
    )
    return [t.curve for t in trials]


def test_a_trial_is_the_same_alone_and_beside_others():
    together = learnt([5, 6, 7])
    assert together[0] != together[1]
    np.testing.assert_allclose(learnt([6])[0], together[1], rtol=1e-5)


def test_weights_may_be_changed_between_chunks():
    shape = NETS["rtrl-1"].shape(4, 4)
    still = rates(shape, 0.0)
    trials = [Trial(s, still, weights_of(shape, s, 0.2)) for s in (0, 1)]

    def after(trial, before, weights):
        if trial.seed == 0 and trial.sequences >= 100:
            return rates(shape, 1.0), weights
        return before, weights

    run_trials(
        exact(shape),
        trials,
        two_strings(3, 50),
        per_chunk=50,
        limit=500,
        shared=True,
        criterion=Criterion(),
        after=after,
    )
    moved, held = ([v for _, v in t.curve] for t in trials)
    assert max(held) - min(held) < 0.01  # x and y are not equally often in 50
    assert moved[-1] < min(held) - 0.03


@pytest.mark.parametrize("seed", [0, 3])
def test_fresh_sequences_are_the_tasks(seed):
    task = make_int_task("long-lag-distractors", lag=5)
    deck, at = fresh(task, 20)([seed], 7)
    rng = np.random.default_rng([seed, 1, 7])
    drawn = [task.draw(rng) for _ in range(20)]
    n = sum(map(len, drawn))
    assert at.shape == deck.x.shape
    np.testing.assert_array_equal(at[0], np.arange(at.shape[1]))
    np.testing.assert_array_equal(deck.x[0, :n], np.concatenate([d.x for d in drawn]))
    assert deck.known[0].sum() == deck.last[0].sum() == 20


def test_the_two_strings_come_about_equally_often():
    deal = two_strings(4, 1000)
    deck, at = deal([0, 1], 0)
    x = deck.x[at]
    assert x.shape == (2, 4000)
    share = (x.reshape(2, 1000, 4)[:, :, 0] == 0).mean(axis=1)
    assert np.all(np.abs(share - 0.5) < 0.06)
    assert not np.array_equal(x[0], x[1])
    assert not np.array_equal(deal([0], 1)[1][0], at[0])
