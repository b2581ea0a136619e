"""The lab: its command, and the table of learning made of what was learnt."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pyvgrad import results_learning
from pyvgrad.learn import Job, learn_one
from pyvgrad.recipes import RECIPES, IntRecipe
from pyvgrad.results_learning import ROWS, SHORT, arenas, learn_row, read, settings
from pyvgrad.results_page import command, figures, learning_page

PNG = b"\x89PNG\r\n"


def row(integer, floats, **more):
    """A row as learning.json has it; None stands for a seed that failed."""

    def side(found):
        return {
            "success": [n is not None for n in found],
            "sequences": [n or 900 for n in found],
            "at_end": [None] * len(found),
        }

    return {
        "task": "long-lag",
        "options": {"lag": 10},
        "recipe": "long-lag",
        "settings": settings(RECIPES["long-lag"]),
        "published": "RTRL: 0 %",
        "weights": 198,
        "limit": 900,
        "every": 100,
        "first_seed": 10_000,
        "arena_bytes": {"tbptt": 3428, "rtrl97": None},
        "integer": side(integer),
        "float": side(floats),
    } | more


@pytest.fixture
def learnt(monkeypatch):
    """Rows that are learnt at once: 100 times the seed's number, odd seeds fail."""

    def fake(name, which, first, n, says=None):
        found = [None if k % 2 else 100 * (k + 1) for k in range(n)]
        return row(found, found, task=which.task, recipe=which.recipe)

    monkeypatch.setattr(results_learning, "learn_row", fake)


def test_underflow_writes_what_it_says(pyvgrad, tmp_path):
    code, out, _ = pyvgrad("lab", "underflow", "-o", "here", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["files"] == [f"here/underflow.{end}" for end in ("md", "png", "json")]
    assert (tmp_path / "here/underflow.png").read_bytes().startswith(PNG)
    assert "`pyvgrad lab underflow`" in (tmp_path / "here/underflow.md").read_text()
    figures = json.loads((tmp_path / "here/underflow.json").read_text())
    assert figures["rows"] == found["rows"]
    assert {row["format"] for row in found["rows"]} >= {"float64", "q24", "int16 block"}


def test_the_short_table_is_learnt(pyvgrad, tmp_path):
    """Really, in integers and in float, a small row of it."""
    args = ["--only", "lag-4", "--seeds", 2, "--first-seed", 20, "--json"]
    code, out, _ = pyvgrad("lab", "learning", "-o", "here", *args)
    found = json.loads(out)
    assert code == 0
    assert found["files"] == [f"here/learning.{end}" for end in ("md", "png", "json")]
    (only,) = found["rows"]
    assert only["row"] == "lag-4"
    assert [only[k]["successes"] for k in ("integer", "float")] == [2, 2]
    raw = read(tmp_path / "here/learning.json")["lag-4"]
    job = Job(RECIPES["long-lag"], "long-lag", {"lag": 4})
    again = [learn_one(job, seed).sequences for seed in (20, 21)]
    assert raw["integer"]["sequences"] == again
    assert raw["arena_bytes"]["rtrl97"] > 0
    # Float learns from the same, so it needs about as many.
    np.testing.assert_allclose(raw["float"]["sequences"], again, atol=200)


@pytest.mark.usefixtures("learnt")
def test_a_row_is_run_again_and_the_others_stay(pyvgrad, tmp_path):
    lab = ["lab", "learning", "-o", "."]
    pyvgrad(*lab, "--only", "lag-10,reber", "--seeds", 1)
    before = read(tmp_path / "learning.json")
    assert list(before) == ["reber", "lag-10"]  # in the table's order
    code, out, _ = pyvgrad(
        "lab", "learning", "-o", ".", "--only", "reber", "--seeds", 3
    )
    after = read(tmp_path / "learning.json")
    assert after["lag-10"] == before["lag-10"]
    assert after["reber"]["integer"]["success"] == [True, False, True]
    assert code == 1  # a seed failed
    assert "reber: integer 2 of 3, mean 200" in out
    text = (tmp_path / "learning.md").read_text()
    assert text == learning_page(after)
    assert "| 2/3: 200, 200, 100-300 |" in text
    assert (tmp_path / "learning.png").read_bytes().startswith(PNG)


@pytest.mark.usefixtures("learnt")
def test_without_full_few_rows_and_seeds(pyvgrad):
    _, out, _ = pyvgrad("lab", "learning", "--json")
    found = {row["row"]: row["integer"]["seeds"] for row in json.loads(out)["rows"]}
    assert found == SHORT
    _, out, _ = pyvgrad("lab", "learning", "--full", "--json")
    found = {row["row"]: row["integer"]["seeds"] for row in json.loads(out)["rows"]}
    assert found == {name: row.seeds for name, row in ROWS.items()}


@pytest.mark.usefixtures("learnt")
def test_a_goal_decides_no_exit_code(pyvgrad):
    assert ROWS["adding-100"].goal
    code, _, _ = pyvgrad("lab", "learning", "--only", "adding-100", "--seeds", 2)
    assert code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["cooking"], "there is no lab 'cooking'; known: underflow, learning"),
        (["learning", "--only", "lag-5"], "there is no row 'lag-5'"),
        (["underflow", "--seeds", "3"], "underflow has no --seeds"),
        (["learning", "--first-seed", "3", "--workers", "2"], "no --workers"),
        (["learning", "-o", "file/below"], "file/below"),
    ],
)
def test_bad_input_is_one_sentence(pyvgrad, tmp_path, args, said):
    (tmp_path / "file").write_text("")
    code, _, err = pyvgrad("lab", *args)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("learnt")
@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"rows": 3}', "{", '{"rows": []}', '{"rows": {"reber": 5}}'),
        '{"rows": {"reber": {}}}',
        json.dumps({"rows": {"reber": row([100], [100]) | {"float": 5}}}),
    ],
)
def test_damaged_results_are_refused_and_kept(pyvgrad, tmp_path, text):
    (tmp_path / "learning.json").write_text(text)
    code, _, err = pyvgrad("lab", "learning", "-o", ".", "--only", "lag-4")
    assert code == 2
    assert "learning.json: no results of this command" in err
    assert len(err.splitlines()) == 1
    assert (tmp_path / "learning.json").read_text() == text


def test_figures_are_of_the_seeds_that_succeeded():
    found = figures(row([100, None, 500], [])["integer"])
    assert found == {
        "seeds": 3,
        "successes": 2,
        "mean": 300,
        "median": 300,
        "min": 100,
        "max": 500,
    }
    nobody = figures(row([None], [])["integer"])
    assert (nobody["successes"], nobody["mean"], nobody["max"]) == (0, None, None)


def test_the_page_has_a_row_without_a_success_and_last_steps():
    one = row([None, 300], [None, None])
    one["integer"]["at_end"] = [100, 200]
    text = learning_page({"lag-10": one})
    assert "| 1/2: 300, 300, 300-300 | 0/2 | 3,428 | - |" in text
    assert "- `lag-10`: integer 2/2, mean 150; float 0/2" in text


def test_the_command_learns_the_row_again(pyvgrad):
    """Its words are those of `pyvgrad learn`, of every row."""
    for name in ROWS:
        which = ROWS[name]
        words = command(
            row([300], [300], task=which.task, recipe=which.recipe)
            | {"options": which.options, "first_seed": 3}
        ).split()
        assert words[:3] == ["pyvgrad", "learn", which.task]
        code, _, err = pyvgrad(*words[1:], "--limit", "0")
        assert (code, "limit" in err) == (2, True), err


def test_settings_are_what_a_recipe_states():
    found = settings(replace(IntRecipe(rate=0.5), k1=1, factors={"readout.b": 0.0}))
    assert found == {"rate": 0.5, "k1": 1, "factors": {"readout.b": 0.0}}


def test_arenas_are_of_both_methods():
    which = ROWS["lag-4"].job()
    found = arenas(which.recipe, which.make_task(0))
    assert found["tbptt"] > 0
    assert found["rtrl97"] > 0
    layered = replace(which.recipe, net=None, cell="rnn_tanh", hidden=4, factors={})
    layered = replace(layered, loss="cross-entropy")
    assert arenas(layered, which.make_task(0))["rtrl97"] is None


def test_a_row_knows_its_seeds_and_limit():
    small = replace(ROWS["lag-4"], options={"lag": 3})
    found = learn_row("lag-3", small, first=5, n=1)
    assert found["first_seed"] == 5
    assert found["limit"] == RECIPES["long-lag"].limit
    assert len(found["float"]["success"]) == 1
