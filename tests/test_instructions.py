"""The recorded instruction counts hold, and the page is made of them."""

import json
import shutil
import sys
from itertools import product
from pathlib import Path

import pytest

from pyvgrad import cli, instructions
from pyvgrad.cells import CELLS
from pyvgrad.emulated import CORES, compiler_version
from pyvgrad.icount import SIZES

FOLDER = Path(__file__).parents[1] / "docs" / "results"
RECORDED = json.loads((FOLDER / instructions.FIGURES).read_text("utf-8"))
ROWS = {instructions.place_of(row): row for row in RECORDED["rows"]}

needs_recorded_compiler = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc") or compiler_version() != RECORDED["compiler"],
    reason=f"the counts are those of arm-none-eabi-gcc {RECORDED['compiler']}",
)


def name(place):
    return "-".join(map(str, place))


@needs_recorded_compiler
@pytest.mark.parametrize("place", list(instructions.held()), ids=name)
def test_count_is_within_2_percent_of_its_recorded_figure(place):
    recorded = ROWS[place]["instructions_per_step"]
    found = instructions.count(place)["instructions_per_step"]
    off = found / recorded - 1
    assert abs(off) <= instructions.TOLERANCE, (
        f"{found:,} instructions a step, {off:+.1%} of the recorded {recorded:,}; "
        f"if that is meant, record it: {instructions.COMMAND}"
    )


def test_places_held_are_of_three_cores_two_cells_two_sizes_and_both_weights():
    places = list(instructions.held())
    for key, values in {
        "on": {"m0", "m3", "m4"},
        "does": {"run", "tbptt"},
        "cell": {"lstm", "gru"},
        "n": {8, 32},
        "weight_bits": {8, 16},
    }.items():
        assert {getattr(place, key) for place in places} == values
    assert len(set(places)) == len(places)


def test_a_step_is_held_in_rows_and_in_the_layout_of_the_core():
    found = {p.on: set() for p in instructions.held()}
    for place in instructions.held():
        if place.does == "run":
            found[place.on].add(place.layout)
    assert found == {"m0": {"rows", "words"}, "m3": {"rows", "words"}, "m4": {"rows"}}


def test_every_cell_runs_and_learns_at_every_size_on_every_core():
    found = {(p.does, p.on, p.cell, p.n_in, p.n) for p in instructions.every()}
    ways = product(("run", "tbptt"), CORES, CELLS, SIZES)
    assert found == {(does, on, cell, *size) for does, on, cell, size in ways}


def test_int8_weights_learn_with_the_counts_of_int16():
    rows = [p for p in ROWS if (p.does, p.weight_bits) == ("tbptt", 8)]
    assert rows
    for p in rows:
        pair = (ROWS[p], ROWS[p._replace(weight_bits=16)])
        w8, w16 = (row["instructions_per_step"] for row in pair)
        assert abs(w8 / w16 - 1) < 0.001


def test_every_place_of_the_page_is_recorded_once():
    places = [instructions.place_of(row) for row in RECORDED["rows"]]
    assert len(set(places)) == len(places)
    assert set(places) == {*instructions.every(), *instructions.held()}


def test_the_page_is_made_of_the_recorded_figures():
    assert (FOLDER / "instructions.md").read_text("utf-8") == instructions.page(
        RECORDED
    )


def test_code_is_told_of_the_rows_that_say_it():
    figures = {"compiler": "1.2.3", "rows": RECORDED["rows"]}
    rows = [{k: row[k] for k in row if k != "code_bytes"} for row in figures["rows"]]
    plain = instructions.page(figures | {"rows": rows})
    places = {("m4", "run"): 2696, ("m0", "run"): 2888, ("m4", "tbptt"): 15960}
    for row in rows:
        size = (row["cell"], row["n_in"], row["weight_bits"], row["layout"])
        if size == ("lstm", 32, 16, "rows") and (row["on"], row["does"]) in places:
            row["code_bytes"] = places[row["on"], row["does"]]
    told = instructions.page(figures | {"rows": rows}).removeprefix(plain)
    assert told.splitlines()[-4:] == [
        "| does | cell | m0 | m4 |",
        "| --- | --- | --- | --- |",
        "| run | lstm | 2,888 | 2,696 |",
        "| tbptt | lstm | - | 15,960 |",
    ]


@needs_recorded_compiler
def test_the_command_counts_and_writes_the_page_and_its_figures(
    monkeypatch, tmp_path, capsys
):
    [*places] = [p for p in instructions.held() if name(p).startswith("m3-run-lstm-8")]
    monkeypatch.setattr(instructions, "held", lambda: iter(places))
    words = ["pyvgrad", "lab", "instructions", "-o", str(tmp_path), "--json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        cli.main()
    answer = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / instructions.FIGURES).read_text("utf-8"))
    assert end.value.code == 0
    assert written["rows"] == answer["rows"]
    assert [instructions.place_of(row) for row in answer["rows"]] == places
    assert all(row["code_bytes"] > 1000 for row in answer["rows"])
    assert [place.layout for place in places] == ["rows", "words"] * 2
    page = (tmp_path / "instructions.md").read_text("utf-8")
    assert page == instructions.page(written)
    assert [Path(file).name for file in answer["files"]] == [
        "instructions.md",
        instructions.FIGURES,
    ]


def test_a_place_not_counted_is_a_dash_and_the_rest_stays():
    page = instructions.page({"compiler": "1.2.3", "rows": RECORDED["rows"][:1]})
    count = RECORDED["rows"][0]["instructions_per_step"]
    assert f"| {count:,} (" in page
    assert "| **-** |" not in page
    assert "Written by `pyvgrad lab instructions`;" in page
