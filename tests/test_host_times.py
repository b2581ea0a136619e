"""What is timed on the host is the same model in every way; no time is asserted."""

import json
import sys

import numpy as np
import pytest
from random_models import random_qmodel

from pyvgrad import cli
from pyvgrad.blob import pack, parse
from pyvgrad.host_times import LENGTH, STREAM, host_times, ways_of
from pyvgrad.icount import bench_blob


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_every_way_runs_the_same_model(cell):
    blob = bench_blob(cell, 3, 4, 16)
    model = parse(blob)
    ys = {way.name: np.asarray(way.run()) for way in ways_of(blob, model)}
    assert list(ys)[:3] == ["core", "batch", "single"]
    assert {"onnx_exact", "onnx_float", "onnx_exact_batch"} < set(ys)
    assert ("plain_c" in ys) == (cell == "lstm")
    stream, batch = ys.pop("single"), ys.pop("batch")
    assert (ys.pop("core")[:STREAM] == stream).all()
    assert (batch[0] == stream[:LENGTH]).all()
    one = 1 << model.y_exp
    for name, y in ys.items():
        expected = batch if name.endswith("_batch") else stream
        found = y[:STREAM] if name.startswith("plain") else y
        found = found.reshape(expected.shape)
        if name.startswith("onnx_exact"):
            assert (found == expected).all(), name
        else:  # an integer h is within some ten steps of 2^-14 of the float one's
            assert np.abs(found * one - expected).max() < 40, name


def test_times_are_given_of_every_way_and_in_pairs():
    blob = bench_blob("lstm", 2, 2, 8)
    found = host_times(blob, rounds=2)
    names = [way.name for way in ways_of(blob, parse(blob))]
    assert list(found["ns"]) == list(found["ratios"]) == names
    assert found["ratios"]["core"] == 1
    assert min(found["ns"].values()) > 0


def test_a_model_of_whole_sequences_has_no_steps_to_time():
    blob = pack(random_qmodel(np.random.default_rng(1), whole=True))
    with pytest.raises(ValueError, match="whole sequences"):
        host_times(blob)


@pytest.fixture
def pyvgrad(monkeypatch, capsys, tmp_path):
    """Run a command in tmp_path: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.vg").write_bytes(bench_blob("lstm", 2, 2, 16))

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["pyvgrad", *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


def test_bench_on_the_host_gives_a_row_and_a_table(pyvgrad):
    code, out, said = pyvgrad("bench", "m.vg", "--on", "host", "--json")
    assert code == 0, said
    [row] = json.loads(out)["rows"]
    assert (row["on"], row["cell"], row["n_in"], row["n"]) == ("host", "lstm", 2, 2)
    assert {"core", "batch", "single", "onnx_exact"} < set(row["ns"])
    code, out, _ = pyvgrad("bench", "m.vg", "--on", "host")
    lines = out.splitlines()
    assert len(lines) == 1 + len(row["ns"])
    assert lines[0].split()[-5:] == ["a", "step", "to", "the", "core"]


def test_bench_on_the_host_does_not_time_learning(pyvgrad):
    code, _, said = pyvgrad("bench", "m.vg", "--on", "host", "--train")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "leave --train out" in said
