"""The tables of the papers: rows, pages, files, and their short form, really learnt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pyvgrad import table_1, table_2
from pyvgrad.results_learning import ROWS as INTEGER_ROWS
from pyvgrad.tables import as_json, jobs_of, read, thinned, to_json
from pyvgrad.tables_page import figures, page, plot
from pyvgrad.trials import Trial

PNG = b"\x89PNG\r\n"
RESULTS = Path(__file__).parents[1] / "docs" / "results"
TABLES = {1: table_1.TABLE, 2: table_2.TABLE}


def trial(seed, sequences, success=True, **more):
    return {
        "seed": seed,
        "success": success,
        "sequences": sequences,
        "always_at": sequences if success else None,
        "end_at": 200 if success else None,
        **more,
        "curve": [[250, 0.5], [500, 0.25]],
    }


def result(trials):
    made = {"pyvgrad": "0", "jax": "1"}
    head = {"first_seed": 5, "seeds": len(trials), "limit": 900, "versions": made}
    return head | {"trials": trials}


# ---- rows ------------------------------------------------------------------


def test_the_rows_have_the_printed_weights():
    """Hochreiter 1998, tables 1 and 2; H&S 1997, tables 1 and 11 to 13."""
    printed = {"rtrl-3": 170, "rtrl-12": 494, "elman-15": 435, "lstm-4x1-0.1": 264}
    assert {k: table_1.ROWS[k].weights for k in printed} == printed
    assert table_1.ROWS["lstm-3x2-0.5"].weights == 276
    rows = {"rtrl-4-1": 36, "rtrl-10-4": 144, "rtrl-100-10": 10_404}
    rows |= {"bptt-100-1": 10_404, "chunker-100": 10_506, "lstm-100": 10_504}
    rows |= {"lstm-2b-all": 10_504, "lstm-2c-50": 364, "lstm-2c-100": 664}
    assert {k: table_2.ROWS[k].weights for k in rows} == rows


@pytest.mark.parametrize("k", TABLES)
def test_the_integers_beside_are_rows_of_learning(k):
    assert set(TABLES[k].integers) <= set(INTEGER_ROWS)
    assert all(": " in text for text in TABLES[k].integers.values())


def test_jobs_have_all_seeds_once():
    table = replace(
        table_1.TABLE, rows={"elman-15": replace(table_1.ROWS["elman-15"], lanes=4)}
    )
    jobs = jobs_of(table, "elman-15", 7, 10, 99)
    seeds = [s for j in jobs for s in range(j["first"], j["first"] + j["seeds"])]
    assert seeds == list(range(7, 17))
    assert len({j["key"] for j in jobs}) == 3
    assert {j["limit"] for j in jobs} == {99}


# ---- trials as JSON --------------------------------------------------------


def test_a_curve_keeps_its_end_and_fewer_points_the_later():
    assert thinned(0) == []
    assert thinned(3) == [0, 1, 2]
    many = thinned(10_000)
    assert many[-1] == 9_999
    assert len(many) < 50
    assert thinned(200)[:-1] == [k for k in many if k < 199]


def test_a_trial_for_json_has_no_nan():
    one = Trial(3, None, None, success=False, sequences=9)
    one.curve = [(4, 0.123456), (9, float("nan"))]
    found = json.loads(json.dumps(as_json(one), allow_nan=False))
    assert found["curve"] == [[4, 0.1235], [9, None]]
    assert (found["seed"], found["success"], found["sequences"]) == (3, False, 9)


def test_results_come_back_from_their_json(tmp_path):
    results = {
        "lstm-100": result([trial(5, 700), trial(6, 900, success=False)]),
        "rtrl-4-1": result([trial(5, 100)]),
    }
    path = tmp_path / "table-2.json"
    path.write_bytes(to_json(table_2.TABLE, results))
    assert read(path) == results
    assert list(read(path)) == ["rtrl-4-1", "lstm-100"]  # the table's order
    assert read(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', '{"rows": [["a", 2]]}', "{"])
def test_damaged_results_are_refused_and_kept(pyvgrad, tmp_path, text):
    (tmp_path / "table-2.json").write_text(text)
    code, _, err = pyvgrad("lab", "table-2", "-o", ".")
    assert code == 2
    assert "table-2.json: no results of this command" in err
    assert len(err.splitlines()) == 1
    assert (tmp_path / "table-2.json").read_text() == text


@pytest.mark.parametrize("name", ["table-1", "table-2"])
def test_an_unknown_row_lists_the_known(pyvgrad, name):
    code, _, err = pyvgrad("lab", name, "--only", "gru")
    assert code == 2
    assert "there is no row 'gru'; known: rtrl-" in err
    assert len(err.splitlines()) == 1


# ---- the page --------------------------------------------------------------


def test_the_page_has_the_printed_figures_beside_ours():
    results = {"lstm-100": result([trial(5, 700), trial(6, 900, success=False)])}
    text = page(table_2.TABLE, results, {})
    assert "| p = 100 | 10,504 | 1 | 100 % | 5,040 | 1/2 | 700, 700, 700-700 |" in text
    assert "- `lstm-100`: 1/2 right at the end, after 200; without success" in text
    assert "error is 0.25 to 0.25 at the limit" in text
    assert "Not run: `rtrl-4-1`, `rtrl-4-4`, " in text
    assert plot(table_2.TABLE, results).startswith(PNG)


def test_a_net_that_grows_has_the_weights_of_its_successes():
    trials = [
        trial(5, 700, weights=167, tested=True),
        trial(6, 900, success=False, weights=401, tested=True),
        trial(7, 800, weights=200, tested=True),
    ]
    text = page(table_1.TABLE, {"rcc": result(trials)}, {})
    assert "| RCC | 7-9 hidden | 167-200 | - | 50 % | 182,000 | 2/3 |" in text
    assert "right at the end" not in text


def test_figures_are_of_the_successes():
    found = figures([trial(1, 100), trial(2, 300), trial(3, 900, success=False)])
    assert (found["seeds"], found["successes"], found["mean"]) == (3, 2, 200)
    assert figures([trial(3, 9, success=False)])["mean"] is None


@pytest.mark.parametrize("k", TABLES)
def test_the_page_in_the_docs_is_made_of_the_results_there(k):
    """By hand nothing is changed in it."""
    from pyvgrad.tables import integer_rows

    table = TABLES[k]
    results = read(RESULTS / f"table-{k}.json")
    assert results
    integers = integer_rows(RESULTS / "learning.json", table)
    assert set(integers) == set(table.integers)
    text = (RESULTS / f"table-{k}.md").read_text()
    assert text == page(table, results, integers)


# ---- really learnt ---------------------------------------------------------


@pytest.mark.parametrize("k", TABLES)
def test_the_short_form_is_learnt(pyvgrad, tmp_path, k):
    code, out, err = pyvgrad("lab", f"table-{k}", "-o", "here", "--seeds", 1, "--json")
    found = json.loads(out)
    assert code == 0, err
    names = [f"here/table-{k}.{end}" for end in ("md", "png", "json")]
    assert found["files"] == names
    short = [n for n, row in TABLES[k].rows.items() if row.few is not None]
    assert [row["row"] for row in found["rows"]] == short
    raw = read(tmp_path / f"here/table-{k}.json")
    assert list(raw) == short
    for name in short:
        (one,) = raw[name]["trials"]
        assert one["seed"] == 10_000
        assert one["curve"]
    assert (tmp_path / f"here/table-{k}.png").read_bytes().startswith(PNG)
    assert not (tmp_path / f"here/table-{k}.store").exists()
