"""Temporal order as trained in 2013: starts, sequences, trainings, the lab."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyvgrad import results_order, temporal_order
from pyvgrad.model import forward
from pyvgrad.nets import stack
from pyvgrad.order_page import order_page
from pyvgrad.params import STARTS, check_params, start_params
from pyvgrad.tasks import make_int_task
from pyvgrad.tasks.order import order_symbols
from pyvgrad.temporal_order import METHODS, make_job, share_wrong, train_order

PNG = b"\x89PNG\r\n"


def rng(seed=0):
    return np.random.default_rng(seed)


def net(name, units=50):
    return stack(STARTS[name].cell, (6, units, 4), output="softmax")


# ---- starts --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "deviation"), [("sigmoid", 0.01), ("basic-tanh", 0.1)]
)
def test_a_start_is_normal_and_its_biases_are_zero(name, deviation):
    """Of 2,500 draws: the deviation's own error is 1.4 %, the mean's 2 %."""
    shape = net(name)
    params = start_params(name, shape, rng())
    check_params(shape, params)
    U = params["layers"][0]["U"]["a"]
    assert U.std() == pytest.approx(deviation, rel=0.08)
    assert abs(U.mean()) < 0.1 * deviation
    for W in (params["layers"][0]["W"]["a"], params["readout"]["W"]):
        assert W.std() == pytest.approx(deviation, rel=0.25)
    assert not params["layers"][0]["b"]["a"].any()
    assert not params["readout"]["b"].any()


def test_the_smart_start_has_15_weights_a_row_and_its_radius():
    params = start_params("smart-tanh", net("smart-tanh"), rng())
    layer = params["layers"][0]
    np.testing.assert_array_equal(np.count_nonzero(layer["U"]["a"], axis=1), 15)
    radius = np.abs(np.linalg.eigvals(layer["U"]["a"])).max()
    assert radius == pytest.approx(0.95, rel=1e-12)
    columns = np.count_nonzero(layer["U"]["a"], axis=0)
    assert columns.min() < 15 < columns.max()  # which 15 is drawn for each row
    assert layer["W"]["a"].std() == pytest.approx(0.01, rel=0.25)


def test_a_start_is_named_and_for_its_cells():
    with pytest.raises(ValueError, match="no start 'clever'; known: sigmoid, basic"):
        start_params("clever", net("sigmoid"), rng())
    with pytest.raises(ValueError, match="for layers of rnn_sigmoid"):
        start_params("sigmoid", net("basic-tanh"), rng())


# ---- sequences -----------------------------------------------------------


@pytest.mark.parametrize("length", [10, 23, 50])
@pytest.mark.parametrize("second", [4, 5])
def test_many_sequences_are_those_of_the_task(length, second):
    """Class, places and distractors of both ways, which have no code in common."""
    x, classes = order_symbols(rng(), 4000, length, second)
    r, task = rng(1), make_int_task("temporal-order", length=length, second=second)
    one_by_one = [task.draw(r) for _ in range(4000)]
    ways = [
        list(zip(x, classes, strict=True)),
        [(lesson.x, lesson.target[-1]) for lesson in one_by_one],
    ]
    for way in ways:
        places = {0: set(), 1: set()}
        for symbols, which in way:
            at = np.flatnonzero(symbols < 2)
            assert len(at) == 2
            assert 2 * symbols[at[0]] + symbols[at[1]] == which
            for k in (0, 1):
                places[k].add(int(at[k]))
        assert places[0] == set(range(length // 10, 2 * length // 10))
        low, high = second * length // 10, (second + 1) * length // 10
        assert places[1] == set(range(low, high))
        share = np.bincount([int(c) for _, c in way]) / 4000
        np.testing.assert_allclose(share, 0.25, atol=0.04)
        seen = np.concatenate([s for s, _ in way])
        assert set(np.unique(seen)) == set(range(6))


# ---- what is asked -------------------------------------------------------


def test_the_share_wrong_is_that_of_the_numpy_model():
    """Sequences of several lengths, padded; float32 against float64."""
    shape = net("basic-tanh", units=7)
    params = start_params("basic-tanh", shape, rng())
    params["layers"][0]["W"]["a"] *= 20.0
    found = share_wrong(shape, params, rng(3), 700, (10, 25))
    r, wrong = rng(3), 0
    for size in (500, 200):
        length = int(r.integers(10, 26))
        x, c = order_symbols(r, size, length)
        logits = forward(shape, params, np.eye(6)[x]).logits[:, -1]
        wrong += int((logits.argmax(-1) != c).sum())
    assert found == pytest.approx(wrong / 700, abs=2 / 700)  # near ties may differ
    assert 0.5 < found < 0.9


# ---- trainings -----------------------------------------------------------


def test_an_easy_order_is_learnt_and_the_same_job_gives_the_same():
    job = make_job("basic-tanh", "MSGD-CR", (10, 10), 1, units=20, every=250)
    found = train_order(job)
    assert found["solved"]
    assert found["wrong"] < 0.01
    assert found["updates"] == found["curve"][-1][0] < 5000
    assert found["curve"][-1][1] < 1.0 < found["curve"][0][1]
    assert found["far"] == {}
    assert train_order(job) == found


def test_what_was_learnt_is_asked_at_other_lengths():
    job = make_job(
        "basic-tanh", "MSGD-CR", (10, 20), 1, units=20, every=500, far=[12, 200]
    )
    found = train_order(job)
    assert found["solved"]
    assert list(found["far"]) == ["12", "200"]
    assert found["far"]["12"] < 0.05


def test_a_training_goes_on_until_none_is_wrong():
    job = make_job("basic-tanh", "MSGD-CR", (10, 10), 1, units=20, every=20)
    early, late = train_order(job), train_order(job | {"until": 1e-4})
    assert late["wrong"] == 0.0 < early["wrong"]
    assert late["curve"][: len(early["curve"])] == early["curve"]
    assert len(late["curve"]) > len(early["curve"])


def test_a_limit_ends_a_training():
    job = make_job("sigmoid", "MSGD", (20, 20), 1, limit=100, every=50, far=[20])
    found = train_order(job)
    assert (found["solved"], found["updates"], found["far"]) == (False, 100, {})
    assert [point[0] for point in found["curve"]] == [50, 100]
    assert found["wrong"] > 0.5


def test_a_loss_that_is_not_finite_ends_a_training(monkeypatch):
    monkeypatch.setattr(temporal_order, "RATE", float("inf"))
    temporal_order._updates.cache_clear()
    job = make_job("basic-tanh", "MSGD", (10, 10), 1, units=5, every=50, far=[10])
    found = train_order(job)
    temporal_order._updates.cache_clear()
    assert not found["solved"]
    assert found["updates"] == 50
    assert found["radius"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("method", METHODS)
def test_an_update_is_the_rule_of_the_method(method):
    """A clipped step is as long as rate times theta; Omega turns it."""
    shape = net("basic-tanh", units=8)
    params = start_params("basic-tanh", shape, rng())
    params["readout"]["W"] *= 200.0  # a gradient longer than 1
    x, c = order_symbols(rng(1), 20, 12)
    drawn = x[None], c[None], np.array([12])
    rule = METHODS[method]
    new, _ = temporal_order._updates(shape, rule.clip, rule.omega)(params, *drawn)
    old = params["layers"][0]
    moved = [
        np.asarray(new["layers"][0][k]["a"]) - np.asarray(old[k]["a"]) for k in "WUb"
    ]
    moved += [np.asarray(new["readout"][k]) - params["readout"][k] for k in "Wb"]
    length = np.sqrt(sum((m**2).sum() for m in moved)) / temporal_order.RATE
    if rule.clip:
        assert length == pytest.approx(1.0, rel=1e-4)
    else:
        assert length > 1.5


# ---- the lab -------------------------------------------------------------


def fake(job):
    """Solved by even seeds."""
    ok = job["seed"] % 2 == 0
    return {
        "solved": ok,
        "updates": 1000 if ok else job["limit"],
        "wrong": 0.002 if ok else 0.5,
        "curve": [[500, 1.3, 0.7], [1000, 0.1, 0.0]],
        "radius": 1.2,
        "far": {str(n): 0.01 for n in job["far"]} if ok else {},
    }


@pytest.fixture
def learnt(monkeypatch):
    monkeypatch.setattr(results_order, "train_order", fake)


def test_the_short_form_trains(pyvgrad, tmp_path, monkeypatch):
    """Really, with a limit of two tests."""
    monkeypatch.setattr(results_order, "SHORT_LIMIT", 1000)
    code, out, _ = pyvgrad("lab", "temporal-order", "-o", "here", "--json")
    found = json.loads(out)
    assert code == 0
    ends = (".md", "-loss.png", ".json", ".png")
    assert found["files"] == [f"here/temporal-order{end}" for end in ends]
    (row,) = found["rows"]
    assert row["row"] == "smart-tanh-20"
    assert [row[m]["seeds"] for m in METHODS] == [1, 1, 1]
    for end in (".png", "-loss.png"):
        data = (tmp_path / f"here/temporal-order{end}").read_bytes()
        assert data.startswith(PNG)
    kept = (tmp_path / "here/temporal-order.jsonl").read_text().splitlines()
    assert len(kept) == 1 + 3


@pytest.mark.usefixtures("learnt")
def test_rows_and_methods_are_run_one_at_a_time(pyvgrad, tmp_path):
    lab = ["lab", "temporal-order", "-o", ".", "--full"]
    pyvgrad(*lab, "--only", "basic-tanh-50")
    before = results_order.read(tmp_path / "temporal-order.json")
    code, out, _ = pyvgrad(*lab, "--only", "basic-tanh-100:MSGD-CR,any-50-200")
    after = results_order.read(tmp_path / "temporal-order.json")
    assert code == 0
    assert list(after) == ["basic-tanh-50", "basic-tanh-100", "any-50-200"]
    assert after["basic-tanh-50"] == before["basic-tanh-50"]
    assert "basic-tanh-100: MSGD-CR 3 of 5" in out
    page = (tmp_path / "temporal-order.md").read_text()
    assert page == order_page(after)
    assert "| basic-tanh | 50 | 30,000 | 3/5: 1,000 | 3/5: 1,000 |" in page
    assert "| basic-tanh | 100 | 200,000 | not run | not run | 3/5: 1,000 |" in page
    assert "| seed 10000 | 1.00% |" in page
    assert "seed 10001: 500,000, not solved" in page
    assert "30,000 or 200,000 or 500,000 updates, no more than 10 % of the" in page
    method = after["any-50-200"]["methods"]["MSGD-CR"]
    assert method["seeds"] == list(range(10_000, 10_005))
    words = method["command"].split()[1:]
    code, _, err = pyvgrad(*words, "-o", "again")
    assert code == 0, err
    again = results_order.read(tmp_path / "again/temporal-order.json")
    assert again["any-50-200"] == after["any-50-200"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--only", "basic-tanh-60"], "there is no row 'basic-tanh-60'; known: sig"),
        (["--only", "any-50-200:MSGD"], "no method 'MSGD'; known: MSGD-CR"),
        (["-o", "file/below"], "file/below"),
    ],
)
def test_bad_input_is_one_sentence(pyvgrad, tmp_path, args, said):
    (tmp_path / "file").write_text("")
    code, _, err = pyvgrad("lab", "temporal-order", *args)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1


def damaged(**other):
    """The rows of a run whose method has something else."""
    method = {"seeds": [1], "limit": 9, "solved": [True], "updates": [9], "far": [{}]}
    method |= {"curve": [[[500, 1.3, 0.7]]]} | other
    kept = {k: v for k, v in method.items() if v is not None}
    row = {"start": "smart-tanh", "lengths": [20, 20], "methods": {"MSGD": kept}}
    return json.dumps({"rows": {"smart-tanh-20": row}})


def test_what_is_damaged_below_was_whole(tmp_path):
    path = tmp_path / "temporal-order.json"
    path.write_text(damaged())
    assert list(results_order.read(path)) == ["smart-tanh-20"]


@pytest.mark.usefixtures("learnt")
@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"rows": 3}', "{", '{"rows": []}'),
        '{"rows": {"smart-tanh-20": 5}}',
        '{"rows": {"smart-tanh-20": {"methods": {}}}}',
        damaged(limit=None),
        damaged(curve=None),
        damaged(curve=[[[500]]]),
        damaged(solved=[]),
        damaged(seeds=[], solved=[], updates=[], far=[], curve=[]),
        damaged(updates="9"),
        damaged(wrong=[float("nan")]),
    ],
)
def test_damaged_results_are_refused_and_kept(pyvgrad, tmp_path, monkeypatch, text):
    trained = []
    monkeypatch.setattr(results_order, "spread", trained.append)
    (tmp_path / "temporal-order.json").write_text(text)
    code, _, err = pyvgrad("lab", "temporal-order", "-o", ".")
    assert code == 2
    assert "temporal-order.json: no results of this command" in err
    assert (len(err.splitlines()), trained) == (1, [])
    assert (tmp_path / "temporal-order.json").read_text() == text


def test_the_recorded_page_is_made_of_the_recorded_figures():
    folder = Path(__file__).parents[1] / "docs" / "results"
    rows = results_order.read(folder / "temporal-order.json")
    assert list(rows) == [name for name in results_order.ROWS if name in rows]
    text = (folder / "temporal-order.md").read_text("utf-8")
    assert text == order_page(rows)
