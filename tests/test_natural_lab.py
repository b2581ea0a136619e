"""The labs of music and characters: their files, their words, and what they refuse."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from data_wheels import needs_data

from pyvgrad import natural_jobs, natural_music, natural_text
from pyvgrad.natural_results import FIRST_SEED, Plan, figures
from pyvgrad.tasks.rolls import Music

PNG = b"\x89PNG\r\n"


@pytest.fixture
def music(tmp_path):
    """A pickle of few short pieces."""
    rng = np.random.default_rng(1)

    def piece():
        return [
            rng.integers(55, 70, 2).tolist() for _ in range(int(rng.integers(3, 7)))
        ]

    sets = {name: [piece() for _ in range(4)] for name in ("train", "valid", "test")}
    path = tmp_path / "tiny.pickle"
    path.write_bytes(pickle.dumps(sets))
    return path


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "tiny.txt"
    path.write_text("the cat sat on the mat; " * 100)
    return path


def test_music_writes_what_it_says(pyvgrad, tmp_path, music):
    options = ["--data", music.name, "--only", "msgd-cr,gru", "--seeds", 2]
    code, out, _ = pyvgrad("lab", "music", "-o", "here", *options, "--json")
    said = json.loads(out)
    assert code == 0
    assert said["files"] == [f"here/music.{end}" for end in ("md", "png", "json")]
    assert (tmp_path / "here/music.png").read_bytes().startswith(PNG)
    found = json.loads((tmp_path / "here/music.json").read_text())
    assert found["command"] == "pyvgrad lab music --data tiny.pickle"
    assert set(found["versions"]) >= {"pyvgrad", "python", "numpy", "jax", "optax"}
    assert list(found["rows"]) == ["msgd-cr", "gru"]
    row = found["rows"]["msgd-cr"]
    method = natural_music.ROWS["msgd-cr"].method
    assert (row["clip"], row["omega"]) == (method.clip, method.omega)
    assert [trial["seed"] for trial in row["trials"]] == [FIRST_SEED, FIRST_SEED + 1]
    page = (tmp_path / "here/music.md").read_text()
    (summary,) = [r for r in said["rows"] if r["row"] == "gru"]
    assert f"**{summary['test']:.3f}**" in page
    assert "A short run, no results." in page
    assert "no figure above is to be compared with them" in page


def test_characters_write_what_they_say(pyvgrad, tmp_path, text):
    options = ["--data", text.name, "--only", "msgd-c-1,msgd-c-5", "--seeds", 1]
    code, out, _ = pyvgrad("lab", "characters", "-o", "here", *options)
    assert code == 0
    assert "msgd-c-5: test " in out
    assert "bits a character" in out
    found = json.loads((tmp_path / "here/characters.json").read_text())
    assert {k: row["steps"] for k, row in found["rows"].items()} == {
        "msgd-c-1": 1,
        "msgd-c-5": 5,
    }
    (trial,) = found["rows"]["msgd-c-1"]["trials"]
    page = (tmp_path / "here/characters.md").read_text()
    assert f"**{trial['nats']['test'] / np.log(2):.3f}**" in page  # bits, not nats
    assert (tmp_path / "here/characters.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["music", "--data", "none"], "none: there is no such file"),
        (["music", "--data", "tiny.txt"], "neither a folder of MIDI files nor"),
        (["music", "--data", "bad.pickle"], "bad.pickle: no pickle"),
        (["music", "--data", "."], "train: there is no such folder"),
        (["music", "--only", "hmm"], "there is no row 'hmm'; known: msgd, msgd-c"),
        (["characters", "--data", "none"], "none: No such file or directory"),
        (["characters", "--data", "bad.pickle"], "byte 0 is no UTF-8"),
        (["characters", "--data", "tiny.txt", "--only", "x"], "known: msgd-1, msgd"),
        (["underflow", "--data", "tiny.txt"], "underflow has no --data"),
    ],
)
@pytest.mark.usefixtures("text")
def test_bad_input_is_one_sentence(pyvgrad, tmp_path, args, said):
    (tmp_path / "bad.pickle").write_bytes(b"\xff\xfe")
    if "hmm" in args:
        args = [*args, "--data", str(tmp_path / "tiny.pickle")]
        sets = {name: [[[60], [61]]] for name in ("train", "valid", "test")}
        (tmp_path / "tiny.pickle").write_bytes(pickle.dumps(sets))
    code, _, err = pyvgrad("lab", *args)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1


# ---- rows, seeds, resuming --------------------------------------------------


@pytest.fixture
def learnt(monkeypatch):
    """Trainings that end at once; what was asked for is returned."""
    asked = []

    def fake(corpus, shape, method, seeds, epochs):
        asked.append((method.cell, list(seeds), epochs))
        nats = {"train": 0.5, "valid": 1.5, "test": 2.0}
        return [
            {"seed": s, "epoch": 1, "nats": nats, "curve": [1.5, None]} for s in seeds
        ]

    monkeypatch.setattr(natural_jobs, "train", fake)
    return asked


def test_full_runs_take_their_seeds_in_blocks(learnt, tmp_path, music):
    plan = Plan(hidden=3, epochs=7, seeds=7)
    natural_music.run(tmp_path, full=True, seeds=7, only=["msgd"], data=music)
    epochs = natural_music.FULL.epochs
    blocks = [list(range(10_000, 10_005)), [10_005, 10_006]]
    assert learnt == [("rnn_tanh", block, epochs) for block in blocks]
    assert plan.of(None, 3) == replace(plan, first=3)


def test_what_was_learnt_is_not_learnt_again(learnt, tmp_path, music):
    """Not after the end, and not where a run was interrupted."""
    natural_music.run(tmp_path, full=True, only=["msgd"], data=music)
    before = list(learnt)
    found = natural_music.run(tmp_path, full=True, only=["msgd", "gru"], data=music)
    assert [cell for cell, *_ in learnt] == ["rnn_tanh", "gru"]
    assert learnt[:1] == before
    assert [row["row"] for row in found.rows] == ["msgd", "gru"]


def test_rows_that_are_not_run_stay(learnt, tmp_path, music):
    natural_music.run(tmp_path, full=True, only=["gru"], data=music)
    natural_music.run(tmp_path, full=True, only=["msgd"], data=music)
    rows = json.loads((tmp_path / "music.json").read_text())["rows"]
    assert list(rows) == ["msgd", "gru"]


@pytest.mark.usefixtures("learnt")
def test_other_data_are_not_mixed_into_a_folder(pyvgrad, tmp_path, text):
    run = ["lab", "characters", "-o", "here", "--data"]
    assert pyvgrad(*run, text.name)[0] == 0
    (tmp_path / "other.txt").write_text("another text, as long as it must be " * 100)
    code, _, err = pyvgrad(*run, "other.txt")
    assert (code, "results of tiny.txt; give another folder" in err) == (2, True)
    code, _, err = pyvgrad(*run, text.name, "--full")
    assert (code, "results of tiny.txt; give another folder" in err) == (2, True)
    path = tmp_path / "here/characters.json"
    whole = json.loads(path.read_text())
    for row in (5, {}):
        damaged = json.dumps(whole | {"rows": whole["rows"] | {"msgd": row}})
        for wrong in ("{", damaged):
            path.write_text(wrong)
            code, _, err = pyvgrad(*run, text.name)
            assert (code, "no results of this command" in err) == (2, True)
            assert path.read_text() == wrong


def test_data_that_change_under_a_run_are_refused(tmp_path, text):
    from pyvgrad.errors import VgradError

    with pytest.raises(VgradError, match="not the data that the run began with"):
        natural_jobs.learn_text({"data": str(text), "digest": "0" * 16, "short": False})


def test_figures_are_means_and_the_range_of_the_test():
    def trial(test, curve):
        nats = {"train": 1.0, "valid": 2.0, "test": test}
        return {"seed": 1, "epoch": 4, "nats": nats, "curve": curve}

    row = {"trials": [trial(3.0, [1.0, None]), trial(5.0, [1.0, 2.0])]}
    found = figures(row, 2.0)
    assert (found["train"], found["valid"], found["test"]) == (2.0, 4.0, 8.0)
    assert (found["test_min"], found["test_max"]) == (6.0, 10.0)
    assert (found["not_finite"], found["seeds"]) == (1, 2)


# ---- the floor --------------------------------------------------------------


def test_the_floor_of_music_is_of_frequencies():
    """Two steps asked in training, key 0 in one: (1 + 1) / (2 + 2); others 1 / 4."""
    roll = np.zeros((3, 88), np.uint8)
    roll[1, 0] = 1
    of = Music("m", [roll], [roll], [roll])
    expected = np.log(2.0) + 87 * np.log(4 / 3)
    assert natural_music._floor(of, of.test) == pytest.approx(expected)


def test_the_floor_of_a_text_is_of_frequencies(text):
    whole = natural_text.read_text(text)
    learnt, asked = whole.train.tolist(), whole.test.tolist()
    size = len(learnt) + len(whole.alphabet)
    nats = [-np.log((learnt.count(k) + 1) / size) for k in asked]
    assert natural_text._floor(whole, whole.test) == pytest.approx(np.mean(nats))


@needs_data
def test_the_corpora_are_the_published_shape():
    """Every chorale's steps but the first; every character with a fifth after it."""
    chorales = natural_music.read_music()
    corpus = natural_jobs.music_corpus(chorales)
    steps = sum(int(of.known.sum()) for of in corpus.test)
    assert steps == sum(len(piece) - 1 for piece in chorales.test)
    dante = natural_text.read_text()
    (of,) = natural_jobs.text_corpus(dante, 5).valid
    assert of.known.sum() == len(dante.valid) - 5
    np.testing.assert_array_equal(of.x[0, 5:50], of.y[0, :45])
