"""The experiments on measured data: figures, pages, and what they are made of."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_wheels import needs_data

from pyvgrad import new_class, real_data, recalibration
from pyvgrad.blob import pack, parse
from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.few import Few, all_right, share_right, teach
from pyvgrad.lab import trials_json
from pyvgrad.model import init_params
from pyvgrad.native_train import HostTrainer
from pyvgrad.quantize import quantize
from pyvgrad.real_page import figures, page
from pyvgrad.real_scores import host_logits, score
from pyvgrad.recalibration import CHANGES, Change
from pyvgrad.tasks import make_task
from pyvgrad.tasks.recordings import Recordings, Sets

PNG = b"\x89PNG\r\n"


# ---- what is counted -----------------------------------------------------


@needs_data
def test_a_score_of_notes_is_counted_by_hand():
    task = make_task("chorales")
    test = task.checks["test"].take(np.array([0]))
    y = np.zeros_like(test.y)
    mask = np.zeros_like(test.mask)
    mask[0, :2] = True
    y[0, 0, :3] = 1.0  # three notes on, then one, then steps that do not count
    y[0, 1, 0] = 1.0
    y[0, 2] = 1.0
    test = replace(test, y=y, mask=mask)
    logits = np.full(y.shape, -2048)  # q11: -1
    logits[0, 0, 1:4] = 4096  # two of the three, and one that is not
    logits[0, 1, 0] = 2048
    n = y.shape[2]
    reference = np.where(logits > 0, 1.0, -1.0)
    reference[0, 0, 3] = -1.0  # float leaves that one off
    found = score(task, test, logits.astype(np.int16), reference)
    assert found.accuracy == 3 / 5  # TP 2 + 1, FP 1, FN 1
    assert found.same == 1 - 1 / (2 * n)
    off, on = math.log1p(math.exp(-1.0)), math.log1p(math.exp(-2.0))
    step0 = 2 * on + (2.0 + on) + (1.0 + off) + (n - 4) * off
    step1 = off + (n - 1) * off
    assert found.nats == pytest.approx((step0 + step1) / 2, rel=1e-12)


@needs_data
def test_a_score_of_classes_counts_what_float_decides():
    task = make_task("basic-motions")
    test = task.checks["test"]
    logits = np.where(test.y > 0, 100, 0).astype(np.int16)
    wrong = logits.copy()
    wrong[:4] = wrong[:4, :, [1, 2, 3, 0]]
    assert score(task, test, logits, logits.astype(float)).accuracy == 1.0
    found = score(task, test, wrong, logits.astype(float))
    assert (found.accuracy, found.nats, found.same) == (0.9, None, 0.9)


def test_the_goals_are_those_of_the_page():
    def row(same=1.0, int8=0.9, qat=0.9, differing=0):
        return {
            "float": {"accuracy": 0.9},
            "int16": {"accuracy": 0.9, "same": same},
            "int8": {"accuracy": int8},
            "qat": {"accuracy": qat},
            "m4": {"differing": differing},
        }

    assert real_data.met(row())
    assert real_data.met(row(int8=0.8))  # QAT repairs it
    assert real_data.met(row(qat=0.8))
    assert real_data.met(row(int8=0.89, qat=0.8))  # 0.9 - 0.89 is above 0.01 in float
    assert not real_data.met(row(int8=0.88, qat=0.88))
    assert not real_data.met(row(same=0.998))
    assert not real_data.met(row(differing=1))


# ---- a few sequences -----------------------------------------------------


def classes_by_level(n=12):
    """Two classes of two channels, told apart by their level."""
    rng = np.random.default_rng(0)
    y = [k % 2 for k in range(n)]
    x = [0.8 * (1 - 2 * k) + 0.2 * rng.normal(size=(5, 2)) for k in y]
    return Recordings(x, y, 2)


@pytest.fixture
def blob():
    shape = Shape((Layer("lstm", 2, 4),), Readout(4, 2, "softmax"), mode="last")
    params = init_params(shape, np.random.default_rng(1), biases={"f": 1.0})
    return pack(quantize(shape, params, x_exp=13))


def test_passes_end_when_all_are_right(blob):
    data = classes_by_level()
    assert not all_right(blob, data.lessons())
    taught = teach(blob, data.lessons(), Few(0.3, 50))
    assert all_right(taught.blob, data.lessons())
    assert share_right(taught.blob, data) == 1.0
    assert taught.sequences % 12 == 0
    assert taught.sequences < 50 * 12
    assert taught.steps == 5 * taught.sequences
    before = teach(blob, data.lessons(), Few(0.3, taught.sequences // 12 - 1))
    assert not all_right(before.blob, data.lessons())
    fixed = teach(blob, data.lessons(), Few(0.3, 7, until_right=False))
    assert fixed.sequences == 7 * 12


def test_readout_only_leaves_the_layers_as_they_are(blob):
    """But for the room that a training makes in every weight when it begins."""
    data = classes_by_level()
    with HostTrainer(blob, Few(0.3, 3).learn(5)) as trainer:
        begun = parse(trainer.blob())
    only = parse(teach(blob, data.lessons(), Few(0.3, 3, readout_only=True)).blob)
    every = parse(teach(blob, data.lessons(), Few(0.3, 3)).blob)
    assert only.layers[0] == begun.layers[0]
    assert every.layers[0] != begun.layers[0]
    assert only.readout != begun.readout


def test_the_share_of_no_sequence_is_no_number(blob):
    assert math.isnan(share_right(blob, Recordings([], [], 2)))


# ---- a new class ---------------------------------------------------------


def speakers():
    """Three speakers, five sequences each; x says which: speaker + sequence / 10."""
    x, y = [], []
    for k in range(3):
        for i in range(5):
            x.append(np.full((4, 1), k + i / 10))
            y.append(k)
    return Sets(Recordings(x, y, 3), Recordings(x, y, 3))


def names(lessons):
    return [round(float(lesson.x[0, 0]), 1) for lesson in lessons]


def test_alone_are_n_sequences_of_the_speaker():
    got = names(new_class.lessons(speakers(), 1, 3, 0, rehearse=False))
    assert len(set(got)) == len(got) == 3
    assert all(1.0 <= v < 2.0 for v in got)
    assert got == names(new_class.lessons(speakers(), 1, 3, 0, rehearse=False))
    assert got[:2] == names(new_class.lessons(speakers(), 1, 2, 0, rehearse=False))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_rehearsal_is_one_sequence_of_each_other_by_turns(n):
    got = names(new_class.lessons(speakers(), 1, n, 0, rehearse=True))
    mine, others = got[::2], got[1::2]
    assert len(mine) == len(others) == max(n, 2)
    assert len(set(mine)) == n
    assert len(set(others)) == 2
    assert {int(v) for v in others} == {0, 2}
    assert all(1.0 <= v < 2.0 for v in mine)


def test_figures_are_means_and_worsts():
    trials = [
        {
            "way": way,
            "n": n,
            "before": [0.0, 0.9],
            "after": after,
            "sequences": 10 * (1 + i),
            "arena_bytes": 500,
        }
        for way in new_class.WAYS
        for n in new_class.COUNTS
        for i, after in enumerate([[0.5, 0.75], [1.0, 0.25]])
    ]
    first = new_class.figures(trials)[0]
    assert first["after"] == [0.75, 0.5]
    assert (first["worst"], first["worst_others"]) == (0.5, 0.25)
    assert (first["trials"], first["sequences"]) == (2, 15)


def test_a_trial_is_a_line_of_the_json():
    result = {"full": True, "trials": [{"a": [1, 2]}, {"a": [3.5]}], "m4": {"b": None}}
    text = trials_json(result).decode()
    assert json.loads(text) == result
    assert '\n  {"a": [1, 2]},\n  {"a": [3.5]}\n' in text
    with pytest.raises(ValueError, match="JSON"):
        trials_json(result | {"trials": [{"a": math.nan}]})


@needs_data
def test_the_short_story_is_told(pyvgrad, tmp_path):
    """Really: one speaker, a short training, and the same bits on the emulated M4."""
    code, out, err = pyvgrad("lab", "new-class", "-o", "here", "--json")
    found = json.loads(out)
    assert code == 0, err
    assert found["files"] == [f"here/new-class.{end}" for end in ("md", "png", "json")]
    assert (tmp_path / "here/new-class.png").read_bytes().startswith(PNG)
    text = (tmp_path / "here/new-class.md").read_text()
    assert "A short run, no results." in text
    assert "the weights are the same, bit for bit" in text
    assert len(found["rows"]) == len(new_class.WAYS) * len(new_class.COUNTS)
    every = {(row["way"], row["n"]): row for row in found["rows"]}
    before = every["all layers, with rehearsal", 10]["before"][0]
    assert before == 0.0
    assert every["all layers, with rehearsal", 10]["after"][0] > 0.5


# ---- a changed sensor ----------------------------------------------------


def test_a_turn_moves_both_sensors_about_z():
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    np.testing.assert_allclose(
        Change(turn=90.0).of(x), [[-2, 1, 3, -5, 4, 6]], atol=1e-12
    )
    np.testing.assert_allclose(
        Change(turn=180.0).of(x), [[-1, -2, 3, -4, -5, 6]], atol=1e-12
    )
    np.testing.assert_array_equal(Change(gain=1.5).of(x), 1.5 * x)
    lengths = np.linalg.norm(Change(turn=33.0).of(x).reshape(2, 3), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(x.reshape(2, 3), axis=1))


@needs_data
def test_the_scaling_stays_that_of_the_sensor_as_it_was():
    plain = recalibration.changed(Change())
    assert np.concatenate(plain.train.x).std(axis=0) == pytest.approx(np.ones(6))
    loud = recalibration.changed(CHANGES["gain x 1.5"])
    spread = np.concatenate(loud.train.x).std(axis=0)
    assert spread == pytest.approx(1.5 * np.ones(6))
    assert (loud.test.classes == plain.test.classes).all()


@needs_data
def test_the_short_recalibration_is_told(pyvgrad, tmp_path):
    code, out, err = pyvgrad("lab", "recalibration", "-o", "here", "--json")
    found = json.loads(out)
    assert code == 0, err
    rows = found["rows"]
    assert {row["change"] for row in rows} == set(CHANGES)
    # 4 sequences of 100 steps at 10 Hz
    assert {round(row["minutes"], 9) for row in rows} == {round(400 / 10 / 60, 9)}
    text = (tmp_path / "here/recalibration.md").read_text()
    assert "A short run, no results." in text
    assert "| turned by 90 degrees | all layers |" in text
    assert (tmp_path / "here/recalibration.png").read_bytes().startswith(PNG)


# ---- the table -----------------------------------------------------------


@needs_data
def test_the_short_table_is_measured(pyvgrad, tmp_path):
    """Really, a row of it: float, int16, int8, QAT, costs, and the emulated M4."""
    args = ["lab", "real-data", "-o", "here", "--only", "basic-motions", "--json"]
    _, out, err = pyvgrad(*args)
    found = json.loads(out)
    assert found["files"] == [f"here/real-data.{end}" for end in ("md", "png", "json")]
    (row,) = found["rows"]
    assert row["seeds"] == 1, err
    assert row["int16"]["same"] >= 0.999
    assert row["m4"]["differing"] == 0
    assert row["m4"]["values"] == 3 * 2000 * 4
    assert row["int8"]["blob_bytes"] < row["int16"]["blob_bytes"]
    assert 2_000 < row["int16"]["instructions"] < 12_000
    text = (tmp_path / "here/real-data.md").read_text()
    assert "Short trainings, no results: basic-motions." in text
    saved = real_data.read(tmp_path / "here/real-data.json")["basic-motions"]
    assert figures(saved) == {k: v for k, v in row.items() if k != "row"}


@needs_data
def test_the_core_is_compared_with_what_it_was_asked(monkeypatch):
    """One logit that is wrong on the host is one that differs."""
    task = make_task("basic-motions")
    shape = Shape((Layer("lstm", 6, 2),), Readout(2, 4, "softmax"), mode="last")
    params = init_params(shape, np.random.default_rng(0))
    blob = pack(quantize(shape, params, x_exp=12))
    monkeypatch.setattr(real_data, "CORE_STEPS", 150)
    found = real_data._on_core(task, {"int16": blob})
    assert found == {"steps": 150, "values": 600, "differing": 0}

    def wrong(blob, test):
        logits = host_logits(blob, test)
        logits[1, 49, 2] += 1  # step 150, the last that is asked
        logits[1, 50, 2] += 1
        return logits

    monkeypatch.setattr(real_data, "host_logits", wrong)
    assert real_data._on_core(task, {"int16": blob})["differing"] == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["real-data", "--only", "weather"], "there is no row 'weather'; known: jap"),
        (["new-class", "--only", "a"], "new-class has no --only"),
        (["recalibration", "-o", "file/below"], "file/below"),
    ],
)
def test_bad_input_is_one_sentence(pyvgrad, tmp_path, args, said):
    (tmp_path / "file").write_text("")
    code, out, err = pyvgrad("lab", *args)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert said in err


def test_damaged_results_are_refused_before_the_training(pyvgrad, tmp_path):
    text = json.dumps({"rows": {"chorales": {"task": "chorales"}}})
    (tmp_path / "real-data.json").write_text(text)
    code, _, err = pyvgrad("lab", "real-data", "-o", ".", "--only", "basic-motions")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "real-data.json: no results of this command" in err
    assert (tmp_path / "real-data.json").read_text() == text


def test_the_recorded_page_is_made_of_the_recorded_figures():
    folder = Path(__file__).parents[1] / "docs" / "results"
    text = (folder / "real-data.md").read_text("utf-8")
    assert text == page(real_data.read(folder / "real-data.json"))
