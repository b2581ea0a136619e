"""The onnx package's own tests of recurrent nodes, on the C core."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pyvgrad.onnx_suite import STEPS, cases, run, run_case

CASES = cases()


def test_all_18_tests_of_the_package_are_found():
    assert len(CASES) == 18


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_core_gives_what_the_test_expects(case):
    rows = run_case(case)
    assert rows
    for row in rows:
        assert row.reason == ""
        assert row.largest <= STEPS
        assert row.values


def test_a_wrong_expectation_is_seen():
    [case] = [case for case in CASES if case.name == "test_lstm_reverse"]
    inputs, outputs = case.data_sets[0]
    wrong = replace(case, data_sets=[(inputs, [v + 4 / 2**14 for v in outputs])])
    assert not any(row.ok for row in run_case(wrong))


def test_the_page_in_the_docs_is_what_the_command_writes(tmp_path):
    found = run(tmp_path)
    assert found.success
    committed = Path(__file__).parents[1] / "docs/results"
    for name in ("onnx-suite.md", "onnx-suite.json"):
        assert (tmp_path / name).read_text() == (committed / name).read_text()
    rows = json.loads((committed / "onnx-suite.json").read_text())["rows"]
    assert len(rows) == 25
