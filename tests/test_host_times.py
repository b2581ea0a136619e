"""What is timed on the host is the same model in every way; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_models import random_qmodel

from pyvgrad import cli, plain_c
from pyvgrad.blob import pack, parse
from pyvgrad.host_learning import learning_ways
from pyvgrad.host_page import page
from pyvgrad.host_running import LENGTH, STREAM, running_ways
from pyvgrad.host_times import host_times
from pyvgrad.icount import bench_blob


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_every_way_runs_the_same_model(cell):
    blob = bench_blob(cell, 3, 4, 16)
    model = parse(blob)
    ys = {way.name: np.asarray(way.run()) for way in running_ways(blob, model)}
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


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_every_way_learns_the_same(cell):
    blob = bench_blob(cell, 3, 4, 16)
    ways = {way.name: way for way in learning_ways(blob, parse(blob), "tbptt", 3)}
    integers, floats = ["core", "batch", "single"], ["jax"]
    floats += [name for name in ways if name.startswith(("plain", "torch"))]
    assert sorted(ways) == sorted(integers + floats)
    assert ("plain_c" in ways) == (cell == "lstm")
    (before,) = ways["core"].params()["layers"]
    # An integer weight is shown rounded to its hi.  The largest of a gate is above 2048
    # at the start, so that half a step is below 1/4096 of it.
    half = max(np.abs(w).max() for p in "WU" for w in before[p].values()) / 4096
    for way in ways.values():
        way.run()
    layer = {name: way.params()["layers"][0] for name, way in ways.items()}
    for part, gates in before.items():
        for gate, start in gates.items():
            found = {name: np.asarray(p[part][gate]) for name, p in layer.items()}
            assert np.abs(found["jax"] - start).max() > 1e-4
            for name in integers:
                assert (found[name] == found["core"]).all()
            for name in floats:
                assert np.abs(found[name] - found["jax"]).max() < 1e-6, name
            assert np.abs(found["jax"] - found["core"]).max() < half + 2e-5


def test_rtrl97_is_timed_in_the_core_alone():
    blob = bench_blob("lstm", 3, 4, 8)
    ways = learning_ways(blob, parse(blob), "rtrl97", 2)
    assert [way.name for way in ways] == ["core", "batch", "single"]
    before = ways[0].params()["layers"][0]["W"]["g"]
    learnt = []
    for way in ways:
        way.run()
        learnt.append(way.params()["layers"][0]["W"]["g"])
    assert (learnt[0] != before).any()
    assert (learnt[0] == learnt[1]).all()
    assert (learnt[0] == learnt[2]).all()


@pytest.mark.parametrize("method", [None, "tbptt"])
def test_times_are_given_of_every_way_and_in_pairs(method):
    blob = bench_blob("lstm", 2, 2, 8)
    found = host_times(blob, method, rounds=2)
    model = parse(blob)
    ways = learning_ways(blob, model, method) if method else running_ways(blob, model)
    names = [way.name for way in ways]
    assert list(found["ns"]) == list(found["ratios"]) == names
    assert found["ratios"]["core"] == 1
    assert min(found["ns"].values()) > 0


def test_ratios_and_the_overhead_are_medians_of_the_rounds(monkeypatch):
    """The ratio of the medians is 13 / 6 and their difference 7; both are others."""
    blob = bench_blob("lstm", 2, 2, 8)
    names = [way.name for way in running_ways(blob, parse(blob))]
    core, batch, rest = [3.0, 12.0, 6.0], [30.0, 13.0, 7.0], range(2, len(names))
    took = np.transpose([core, batch, *(np.multiply(core, k) for k in rest)])
    turns = iter([(k, way) for k in range(3) for way in names[:: -1 if k % 2 else 1]])

    def once(way):
        k, name = next(turns)
        assert way.name == name
        return took[k, names.index(name)]

    monkeypatch.setattr("pyvgrad.host_times._once", once)
    found = host_times(blob, rounds=3)
    medians, ratios = [6.0, 13.0, *(6.0 * k for k in rest)], [1.0, 1.167, *rest]
    assert found["ns"] == dict(zip(names, medians, strict=True))
    assert found["ratios"] == dict(zip(names, ratios, strict=True))
    assert found["overhead_ns"] == 1.0
    assert next(turns, None) is None


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


@pytest.mark.parametrize("method", ["tbptt", "rtrl97"])
def test_bench_on_the_host_times_learning(pyvgrad, method):
    asked = ("m.vg", "--on", "host", "--train", "--method", method, "--json")
    code, out, said = pyvgrad("bench", *asked)
    assert code == 0, said
    [row] = json.loads(out)["rows"]
    assert row["does"] == method
    assert list(row["ns"])[:3] == list(row["ratios"])[:3] == ["core", "batch", "single"]
    assert ("jax" in row["ns"]) == (method == "tbptt")
    assert isinstance(row["overhead_ns"], float)


def test_bench_on_the_host_refuses_what_does_not_learn(pyvgrad, tmp_path):
    blob = pack(random_qmodel(np.random.default_rng(1), whole=True))
    (tmp_path / "m.vg").write_bytes(blob)
    code, _, said = pyvgrad("bench", "m.vg", "--on", "host", "--train")
    assert (code, len(said.splitlines())) == (2, 1)


def test_the_lab_writes_a_page_of_every_way(pyvgrad, tmp_path):
    code, out, said = pyvgrad("lab", "host", "-o", "here", "--json")
    assert code == 0, said
    found = json.loads(out)
    assert found["files"] == ["here/host.md", "here/host.json"]
    asked = ["does", "cell", "weight_bits"]
    assert [[row[k] for k in asked] for row in found["rows"]] == [
        *(["run", cell, bits] for cell in ("lstm", "gru") for bits in (16, 8)),
        *(["tbptt", cell, 16] for cell in ("lstm", "gru")),
    ]
    figures = json.loads((tmp_path / "here/host.json").read_text())
    assert figures["rows"] == found["rows"]
    assert figures["command"] == "pyvgrad lab host"
    assert figures["versions"].get("compiler", "") == plain_c.compiler()
    assert figures["versions"].get("processor") != ""
    page = (tmp_path / "here/host.md").read_text()
    assert page.count("\n## ") == len(found["rows"])
    assert "host: 6/6" in said
    for row in found["rows"]:
        for way, ns in row["ns"].items():
            assert f" | {ns:,.0f} ({row['ratios'][way]:.2f}) |" in page, way


@pytest.mark.parametrize("lab", ["host", "instructions", "cliff", "underflow"])
def test_a_lab_asks_for_its_folder_before_it_measures(pyvgrad, monkeypatch, lab):
    def never(*_, **__):
        raise AssertionError("measured")

    for name in (
        "host_page.host_row",
        "instructions.count",
        "results_cliff.surface",
        "underflow_page.measure",
    ):
        monkeypatch.setattr(f"pyvgrad.{name}", never)
    code, _, said = pyvgrad("lab", lab, "-o", "m.vg")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "m.vg" in said


def test_the_recorded_page_is_made_of_the_recorded_figures():
    folder = Path(__file__).parents[1] / "docs" / "results"
    figures = json.loads((folder / "host.json").read_text("utf-8"))
    assert (folder / "host.md").read_text("utf-8") == page(figures)


@pytest.mark.skipif(not plain_c.available(), reason="needs a C compiler")
def test_fast_maths_leave_the_process_its_small_numbers():
    lines = [
        "import numpy as np",
        "from pyvgrad.plain_c import PlainLstm",
        "ones = np.ones((2, 4), np.float32)",
        "PlainLstm(ones, ones[0], fast=True).run(ones[:, :1])",
        "print(np.finfo(float).smallest_normal / 2 > 0)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == "True\n"
