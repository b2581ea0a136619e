"""The lab's table of quantization."""

from __future__ import annotations

import json

import pytest

from pyvgrad import results_quantization
from pyvgrad.results_quantization import KINDS, one, run


def test_training_for_int8_lowers_its_error_on_fresh_sequences():
    errors = one("gru", 5)
    assert errors["int16"] < 0.05 < errors["int8"] < 1.0
    assert errors["int8 qat"] < 0.7 * min(errors["int8"], errors["int8 mse"])


def test_the_table_has_the_means_and_counts_over_the_seeds(tmp_path, monkeypatch):
    def made_up(cell, seed):
        return dict.fromkeys(KINDS, 1.0) | {"int8": float(seed), "int8 qat": 3.5}

    monkeypatch.setattr(results_quantization, "one", made_up)
    found = run(tmp_path / "Q", seeds=3, first=2)
    assert [row["int8"] for row in found.rows] == [3.0, 3.0, 3.0]
    assert [row["qat_better"] for row in found.rows] == [1, 1, 1]
    assert "| lstm | 1.000 % | 3.000 % | 1.000 % | 3.500 % | 1 of 3 |" in found.lines
    page, figures = found.files
    assert page.read_text().splitlines() == found.lines
    assert json.loads(figures.read_text())["rows"] == found.rows


def test_the_lab_refuses_what_quantization_does_not_have(monkeypatch, capsys):
    from pyvgrad import cli

    monkeypatch.setattr("sys.argv", ["pyvgrad", "lab", "quantization", "--full"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "has no --full" in capsys.readouterr().err
