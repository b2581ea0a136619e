"""Tasks of measured data: their sets, what is asked, how they are learnt."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from data_wheels import needs_data

from pyvgrad.defaults import recipe_for
from pyvgrad.solve import solve
from pyvgrad.tasks import Outputs, gait, make_int_task, make_task, packaged
from pyvgrad.tasks.chorales import chorale_sets, rolls, step_nats
from pyvgrad.tasks.classified import class_sets, raw_sets
from pyvgrad.tasks.gait import in_motion, stream
from pyvgrad.tasks.recordings import Recordings, Sets, int_whole_task, whole_task

NAMES = ("japanese-vowels", "basic-motions", "daphnet", "chorales")

# ---- sequences of our own ------------------------------------------------


def recordings(n=20, classes=3, channels=2, seed=0):
    """Sequences of 3 to 6 steps whose class is their mean, k + noise."""
    rng = np.random.default_rng(seed)
    y = [k % classes for k in range(n)]
    x = [k + 0.1 * rng.normal(size=(rng.integers(3, 7), channels)) for k in y]
    return Recordings(x, y, classes)


def test_a_class_is_learnt_at_every_step_and_asked_at_the_last():
    data = recordings()
    learnt, asked = data.sequences(), data.sequences(last=True)
    for k, x in enumerate(data.x):
        n = len(x)
        assert learnt.mask[k].sum() == n
        assert asked.mask[k].tolist() == [t == n - 1 for t in range(asked.steps)]
        np.testing.assert_array_equal(learnt.x[k, :n], x)
        assert not learnt.x[k, n:].any()
        assert learnt.y[k, :n].argmax(axis=1).tolist() == [data.y[k]] * n


def test_validation_asks_a_fifth_of_the_training_set_and_learns_the_rest():
    data = recordings(20)
    sets = Sets(data, recordings(5, seed=1)).validating()
    assert (len(sets.train), len(sets.test)) == (16, 4)
    seen = [x.tobytes() for x in sets.train.x + sets.test.x]
    assert sorted(seen) == sorted(x.tobytes() for x in data.x)


def test_the_goal_is_a_share_of_the_items():
    sets = Sets(recordings(10), recordings(10, seed=1))
    task = whole_task("w", sets, goal=0.8, noise=0.0)

    def answers(wrong):
        def run(sequences):
            logits = sequences.y.copy()
            logits[:wrong] = logits[:wrong, :, ::-1] + [0.0, 2.0, 0.0]
            return Outputs(logits, logits)

        return run

    assert task.count(answers(0)) == {"test": 10}
    wrong = [0 if k % 3 == 1 else 1 for k in range(10)]  # class 1 stays right
    for n in range(10):
        right = 10 - sum(wrong[:n])
        assert task.count(answers(n)) == {"test": right}
        assert task.solved(answers(n)) == (right >= 8)


def test_noise_is_added_to_steps_and_not_to_padding():
    sets = Sets(recordings(10), recordings(10, seed=1))
    task = whole_task("w", sets, goal=0.8, noise=0.5)
    drawn = task.draw(np.random.default_rng(0), 6)
    clean = whole_task("w", sets, goal=0.8, noise=0.0)
    same = clean.draw(np.random.default_rng(0), 6)
    noise = drawn.x - same.x
    assert 0.3 < noise[same.mask].std() < 0.7
    assert not noise[~same.mask].any()


def test_the_training_runs_to_its_limit_and_is_asked_once():
    """No test set decides when it ends: it is right long before the limit."""
    sets = Sets(recordings(30), recordings(10, seed=1))
    task = whole_task("w", sets, goal=0.9, noise=0.0)
    recipe = recipe_for(replace(task, name="japanese-vowels"))
    settings = replace(recipe.settings, chunk=160, limit=1600)
    shape = replace(replace(recipe, hidden=4).shape(task), mode=task.mode)
    asked = []
    right = task.correct
    task = replace(task, correct=lambda *a: asked.append(1) or right(*a))
    found = solve(task, shape, settings, 0)
    assert found.result.success
    assert found.result.sequences == 1600
    assert len(asked) == 1
    impossible = replace(task, correct=lambda *a: right(*a) & False)
    assert not solve(impossible, shape, settings, 0).result.success


def test_integers_are_asked_for_the_same():
    sets = Sets(recordings(10), recordings(10, seed=1))
    task = int_whole_task("w", sets, goal=0.7)

    class Answers:
        y_exp = 14

        def logits(self, x, *, last=False, fresh=True):
            k = round(float(x.mean()))
            return np.array([[9, 2, 1], [1, 1, 9], [1, 1, 9]], np.int16)[k]

    verdict = task.test(Answers(), np.random.default_rng(0))
    assert (verdict.right, verdict.asked, verdict.success) == (7, 10, True)
    lesson = task.draw(np.random.default_rng(0))
    assert lesson.known is None
    assert len(set(lesson.target.tolist())) == 1
    assert task.largest == max(np.abs(x).max() for x in sets.train.x)


def test_motion_is_half_a_g_in_the_last_eighth_of_a_second():
    ankle = np.zeros((40, 3))
    ankle[:, 1] = 1.0
    ankle[10, 1] = 1.49
    ankle[20] = [0.9, 1.3, 0.0]
    assert np.flatnonzero(in_motion(ankle)).tolist() == list(range(20, 28))


def test_nats_of_a_step_are_those_of_independent_notes():
    p = np.array([0.5, 0.9, 0.25])
    target = np.array([1.0, 1.0, 0.0])
    logits = np.log(p / (1 - p))
    want = -np.log([0.5, 0.9, 0.75]).sum()
    np.testing.assert_allclose(step_nats(logits, target), want, rtol=1e-12)


# ---- the data ------------------------------------------------------------


@needs_data
def test_vowels_and_motions_are_the_archives_sets():
    vowels = class_sets("japanese-vowels")
    assert (len(vowels.train), len(vowels.test)) == (270, 370)
    assert (vowels.train.n_in, vowels.train.n_out) == (12, 9)
    lengths = [len(x) for x in vowels.train.x + vowels.test.x]
    assert (min(lengths), max(lengths)) == (7, 29)
    assert np.bincount(vowels.test.classes).tolist() == [
        31, 35, 88, 44, 29, 24, 40, 50, 29,
    ]  # fmt: skip
    motions = class_sets("basic-motions")
    assert {x.shape for x in motions.train.x + motions.test.x} == {(100, 6)}
    assert np.bincount(motions.train.classes).tolist() == [10] * 4
    every = np.concatenate(motions.train.x)
    np.testing.assert_allclose(every.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(every.std(axis=0), 1.0, atol=1e-12)
    first = raw_sets("japanese-vowels").train.x[0]
    assert first.shape == (20, 12)
    np.testing.assert_array_equal(
        first[:2, :2], [[1.860936, -0.207383], [1.891651, -0.193249]]
    )


@needs_data
def test_the_stream_is_split_in_time():
    s = stream()
    assert s.x.shape == (7040, 6)
    assert np.flatnonzero(s.asked).tolist() == list(range(70 * 64, 7040))
    assert 0.4 < s.y[s.asked].mean() < 0.7
    task, make_daphnet = make_task("daphnet"), make_int_task("daphnet")
    (check,) = task.checks.values()
    assert check.x.shape == (1, 7040, 6)  # one run, from the start, no reset
    rng, latest = np.random.default_rng(0), 0
    for _ in range(300):  # what is learnt is not in what is asked
        lesson = make_daphnet.draw(rng)
        (start,) = np.flatnonzero(
            (s.x[:-2] == lesson.x[0]).all(axis=1) & (s.x[2:] == lesson.x[2]).all(axis=1)
        )
        latest = max(latest, start + len(lesson))
    assert 60 * 64 < latest <= 70 * 64
    assert stream(1).asked.sum() == 20 * 64
    assert len(stream(1).x) == 70 * 64


@needs_data
@pytest.mark.parametrize("validate", [0, 1])
def test_windows_of_the_stream_end_before_what_is_asked(monkeypatch, validate):
    monkeypatch.setattr(gait, "_NOISE", 0.0)
    s = stream(validate)
    task = make_task("daphnet", validate=validate)
    first = int(np.flatnonzero(s.asked)[0])
    ends = [task.draw(np.random.default_rng(k), 16).x[:, -3:] for k in range(40)]
    places = {row.tobytes(): t for t, row in enumerate(s.x)}
    latest = max(places[row.tobytes()] for end in ends for row in end[:, -1])
    assert first - 640 < latest < first


@needs_data
def test_chorales_are_in_one_key_and_none_is_in_both_sets():
    sets = chorale_sets()
    assert len(sets.train) + len(sets.test) == 362
    assert len(sets.test) == 72
    x, y = sets.train.x[0], sets.train.y[0]
    np.testing.assert_array_equal(x[1:], y[:-1])
    learnt = {roll.tobytes() for roll in sets.train.x}
    assert not any(roll.tobytes() in learnt for roll in sets.test.x)
    notes = np.concatenate(sets.train.x).sum(axis=0)
    _, low = rolls()
    pitch = (low + np.arange(len(notes))) % 12
    counts = np.bincount(pitch, notes, 12)
    assert set(np.argsort(counts)[-7:]) == {0, 2, 4, 5, 7, 9, 11}  # the white keys


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_float_and_integer_tasks_ask_the_same(name):
    task, ints = make_task(name), make_int_task(name)
    assert (task.n_in, task.n_out) == (ints.n_in, ints.n_out)
    assert task.mode == ints.mode
    with pytest.raises(ValueError, match="no option"):
        make_task(name, lag=3)


# ---- the commands --------------------------------------------------------


@needs_data
def test_motions_are_trained_and_learnt(pyvgrad):
    code, out, _ = pyvgrad("train", "basic-motions", "-o", "m.vg", "--json")
    found = json.loads(out)
    assert (code, found["success"], found["sequences"]) == (0, True, 4000)
    right, asked = found["right"]["test"]
    assert (asked, right >= 38) == (40, True)
    code, out, _ = pyvgrad(
        "learn", "basic-motions", "--seeds", 1, "--limit", 2000, "--json"
    )
    found = json.loads(out)
    assert (code, found["successes"]) == (0, 1)


def test_without_the_data_one_sentence_says_how_to_get_them(
    pyvgrad, monkeypatch, tmp_path
):
    from pyvgrad.tasks import classified

    classified._read.cache_clear()
    monkeypatch.setenv(packaged.FOLDER, str(tmp_path))
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    code, out, err = pyvgrad("train", "japanese-vowels", "-o", "m.vg")
    assert code == 2
    assert not out
    assert len(err.splitlines()) == 1
    assert "pip install pyvgrad[data]" in err
    assert not (tmp_path / "m.vg").exists()
