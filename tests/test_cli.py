"""The command line keeps its contract: fields, exit codes, a sentence for bad input."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from random_models import random_qmodel

from pyvgrad import firmware
from pyvgrad.blob import pack, parse
from pyvgrad.dequantize import dequantize
from pyvgrad.errors import DeviceError
from pyvgrad.native import HostExecutor
from pyvgrad.onnx_export import export_float


@pytest.fixture
def model(tmp_path):
    """M.vg, an LSTM with softmax, and X.npz that it can read."""
    rng = np.random.default_rng(0)
    qmodel = random_qmodel(
        rng, cell="lstm", output="softmax", scaling=False, mode="sequence"
    )
    (tmp_path / "M.vg").write_bytes(pack(qmodel))
    x = rng.uniform(-1, 1, (3, 5, qmodel.shape.n_in))
    np.savez(tmp_path / "X.npz", x=x, lengths=[5, 2, 4])
    return qmodel


def test_info_says_what_is_inside_and_what_it_costs(pyvgrad, model):
    code, out, _ = pyvgrad("info", "M.vg", "--json")
    found = json.loads(out)
    contract = (
        "cells n_in n_out n_layers weights weight_bits macs_per_step blob_bytes "
        "run_bytes train_bytes blob_version crc"
    )
    assert code == 0
    assert set(contract.split()) <= set(found)
    blob = pack(model)
    assert found["blob_bytes"] == len(blob)
    assert found["weights"] == model.shape.n_weights
    assert found["run_bytes"] == HostExecutor(blob).arena_bytes
    assert int(found["crc"], 16) == int.from_bytes(blob[-4:], "little")


def test_info_for_people_is_not_json(pyvgrad, model):
    code, out, _ = pyvgrad("info", "M.vg")
    assert code == 0
    assert "macs_per_step" in out
    assert "{" not in out


def test_export_writes_what_it_says(pyvgrad, model, tmp_path):
    args = ["--onnx", "E.onnx", "--float-onnx", "F.onnx", "--header", "M.h"]
    code, out, _ = pyvgrad("export", "M.vg", *args, "--json")
    assert code == 0
    assert json.loads(out) == {"files": ["E.onnx", "F.onnx", "M.h"]}
    for name in ("E.onnx", "F.onnx"):
        onnx.checker.check_model(str(tmp_path / name), full_check=True)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "M.h"\nint main(void) { fwrite(vg_model_blob, 1, '
        "VG_MODEL_BLOB_SIZE, stdout); return VG_MODEL_ARENA_SIZE == 0; }\n"
    )
    include = Path(__file__).parents[1] / "firmware/lib/vgrad/include"
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{include}"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run(tmp_path / "main", capture_output=True, check=True)
    assert done.stdout == (tmp_path / "M.vg").read_bytes()


@pytest.mark.parametrize("on", ["numpy", "host", "onnx"])
def test_run_gives_raw_integers_and_their_values(pyvgrad, model, tmp_path, on):
    code, out, _ = pyvgrad("run", "M.vg", "X.npz", "-o", "Y.npz", "--on", on, "--json")
    assert code == 0
    assert json.loads(out)["steps"] == 11
    found = np.load(tmp_path / "Y.npz")
    assert found["raw"].dtype == np.int16
    assert found["raw"].shape == (3, 5, model.shape.n_out)
    assert (found["y"] == found["raw"] / 2.0**model.y_exp).all()
    assert not found["raw"][1, 2:].any()
    assert found["raw"][0].any()


def test_run_in_mode_last_gives_one_output_a_sequence(pyvgrad, tmp_path):
    rng = np.random.default_rng(1)
    model = random_qmodel(rng, cell="lstm", scaling=False, mode="last")
    (tmp_path / "M.vg").write_bytes(pack(model))
    np.savez(tmp_path / "X.npz", x=rng.uniform(-1, 1, (3, 5, model.shape.n_in)))
    assert pyvgrad("run", "M.vg", "X.npz", "-o", "Y.npz")[0] == 0
    assert np.load(tmp_path / "Y.npz")["raw"].shape == (3, model.shape.n_out)


def test_values_beyond_the_range_are_clamped_and_said_once(pyvgrad, model, tmp_path):
    np.savez(tmp_path / "X.npz", x=np.full((1, 2, model.shape.n_in), 1e9))
    code, out, err = pyvgrad("run", "M.vg", "X.npz", "-o", "Y.npz", "--json")
    assert code == 0
    assert json.loads(out)["clamped"] == 2 * model.shape.n_in
    assert err.count("clamped") == 1
    (tmp_path / "Y.npz").unlink()
    code, out, err = pyvgrad("run", "M.vg", "X.npz", "-o", "Y.npz", "--strict")
    assert code == 2
    assert "beyond" in err
    assert not (tmp_path / "Y.npz").exists()


def test_verify_counts_and_exits_0(pyvgrad, model):
    args = ("verify", "M.vg", "--x", "X.npz", "--on", "numpy,host,onnx", "--json")
    code, out, _ = pyvgrad(*args)
    found = json.loads(out)
    assert code == 0
    assert found["differing"] == {"numpy": 0, "host": 0, "onnx": 0}
    assert found["steps"] == 11
    assert found["first"] is None
    assert set(found["float"]["arithmetic"]) >= {
        "max_lsb",
        "mean_lsb",
        "effective_bits",
    }


def test_an_error_of_zero_has_no_bits_and_is_json(pyvgrad, tmp_path):
    rng = np.random.default_rng(3)
    exact = random_qmodel(rng, cell="rnn_relu", n_layers=1, initial_state=False)
    [q], r = exact.layers, None
    q = replace(q, weights={"a": 0 * q.weights["a"]}, biases={})
    layer = replace(q.layer, cell_biases=False, gate_biases=False)
    q = replace(q, layer=layer)
    shape = replace(exact.shape, layers=(layer,), readout=r)
    (tmp_path / "Z.vg").write_bytes(
        pack(replace(exact, shape=shape, layers=(q,), readout=r))
    )
    code, out, _ = pyvgrad("verify", "Z.vg", "--on", "host", "--json")
    found = json.loads(out, parse_constant=pytest.fail)["float"]["arithmetic"]
    assert code == 0
    assert (found["max_lsb"], found["effective_bits"]) == (0.0, None)
    assert "exact" in pyvgrad("verify", "Z.vg", "--on", "host")[1]


def test_an_executor_that_is_named_twice_runs_once(pyvgrad, model):
    args = ("verify", "M.vg", "--on", "host, numpy,host", "--json")
    code, out, err = pyvgrad(*args)
    assert code == 0
    assert list(json.loads(out)["differing"]) == ["host", "numpy"]
    assert err.count("host: 16/16") == 1


def test_a_reader_that_leaves_early_changes_no_exit_code(model, tmp_path):
    command = [sys.executable, "-m", "pyvgrad", "info", "M.vg"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_standard_error_leaves_json_alone(model, tmp_path):
    command = f"{sys.executable} -m pyvgrad verify M.vg --on host --json 2>&-"
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, stdout=subprocess.PIPE, check=True
    )
    assert json.loads(done.stdout)["differing"] == {"host": 0}


def test_ctrl_c_is_exit_130_without_a_traceback_or_a_file(tmp_path):
    command = [sys.executable, "-m", "pyvgrad", "train", "embedded-reber"]
    process = subprocess.Popen(
        [*command, "--rate", "1e-6", "--limit", "1000000", "-o", "M.vg"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        process.stderr.readline()  # training is under way
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_verify_against_the_float_model_reports_the_total_error(pyvgrad, model):
    assert pyvgrad("export", "M.vg", "--float-onnx", "F.onnx")[0] == 0
    code, out, _ = pyvgrad("verify", "M.vg", "--float", "F.onnx", "--json")
    assert code == 0
    assert set(json.loads(out)["float"]) == {"arithmetic", "total"}


def test_verify_exits_1_and_says_where_when_bits_differ(pyvgrad, model, monkeypatch):
    honest = HostExecutor.sequences

    def wrong(self, x, lengths, *, states=False):
        for passed in honest(self, x, lengths, states=states):
            passed.logits[-1, 1] ^= 1
            yield passed

    monkeypatch.setattr(HostExecutor, "sequences", wrong)
    args = ("verify", "M.vg", "--x", "X.npz", "--on", "host", "--json")
    code, out, _ = pyvgrad(*args)
    first = json.loads(out)["first"]
    assert code == 1
    assert (first["executor"], first["signal"]) == ("host", "logits")
    assert (first["sequence"], first["step"], first["unit"]) == (0, 4, 1)
    assert first["expected"] ^ first["got"] in (1, -1)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["info", "gone.vg"], "gone.vg"),
        (["info", "X.npz"], "not a blob"),
        (["info", "damaged.vg"], "CRC"),
        (["info", "short.vg"], "cut short"),
        (["run", "M.vg", "gone.npz", "-o", "Y.npz"], "gone.npz"),
        (["run", "M.vg", "M.vg", "-o", "Y.npz"], "npz"),
        (["run", "M.vg", "wide.npz", "-o", "Y.npz"], "takes (N, T,"),
        (["run", "M.vg", "nan.npz", "-o", "Y.npz"], "nan"),
        (["run", "M.vg", "inf.npz", "-o", "Y.npz"], "inf"),
        (["run", "M.vg", "long.npz", "-o", "Y.npz"], "lengths"),
        (["run", "M.vg", "X.npz", "-o", "no/such/Y.npz"], "folder"),
        (["run", "M.vg", "X.npz", "-o", "Y.npz", "--on", "m9"], "m9"),
        (["run", "M.vg", "X.npz", "-o", "Y.npz", "--on", "/no/port"], "/no/port"),
        (["verify", "M.vg", "--on", "desk"], "desk"),
        (["verify", "M.vg", "--x", "wide.npz"], "wide.npz"),
        (["train", "reber", "--seed", "-1", "-o", "N.vg"], "--seed"),
        (["verify", "M.vg", "--float", "gone.onnx"], "gone.onnx"),
        (["verify", "M.vg", "--float", "X.npz"], "X.npz"),
        (["export", "M.vg"], "--onnx"),
        (["export", "M.vg", "--header", "no/such/M.h"], "folder"),
        (["export", "M.vg", "--onnx", "E.onnx", "--header", "."], "plain file"),
        (["verify", "M.vg", "--float", "wide.onnx"], "wide.onnx"),
        (["verify", "M.vg", "--float", "other.onnx"], "other.onnx"),
        (["verify", "M.vg", "--float", "."], "directory"),
        (["verify", "M.vg", "--on", "xCOM1"], "xCOM1"),
        (["run", "M.vg", "X.npz", "-o", "."], "plain file"),
        (["run", "M.vg", "X.npz", "-o", ""], "plain file"),
        (["run", "M.vg", "X.npz", "-o", "Y.npz", "--on", "host,onnx"], "host,onnx"),
        (["info", "."], "directory"),
        (["demo", "-o", "M.vg", "--on", "host"], "folder"),
        (["demo", "--on", "desk"], "desk"),
        (["train", "reber", "-o", "no/such/N.vg"], "folder"),
        (["train", "reber", "-o", "."], "plain file"),
        (["train", "reber", "--limit", "0", "-o", "N.vg"], "limit"),
        (["train", "reber", "--rate", "nan", "-o", "N.vg"], "rate"),
        (["train", "reber", "--weights", "7", "-o", "N.vg"], "8 or 16"),
        (["train", "reber", "--n-test", "0", "-o", "N.vg"], "string"),
        (["train", "long-lag", "--lag", "ten", "-o", "N.vg"], "whole numbers"),
        (["train", "long-lag", "--lag", "1.5", "-o", "N.vg"], "whole numbers"),
        (
            ["train", "reber", "--net", "hs97-3x2", "--hidden", "5", "-o", "N.vg"],
            "blocks",
        ),
        (["train", "--data", "class.npz", "-o", "N.vg"], "class"),
        (["train", "--data", "large.npz", "-o", "N.vg"], "scale"),
        (["train", "ruber", "-o", "N.vg"], "ruber"),
        (["train", "-o", "N.vg"], "--data"),
        (["train", "reber", "--lag", "7", "-o", "N.vg"], "lag"),
        (["train", "reber", "--cell", "lstn", "-o", "N.vg"], "lstn"),
        (["train", "reber", "--net", "none", "-o", "N.vg"], "none"),
        (["train", "--data", "X.npz", "-o", "N.vg"], "no array y"),
        (["flash", "nosuchboard"], "nosuchboard"),
        (["fly"], "fly"),
        (["info", "M.vg", "--jso"], "--jso"),
        (["info"], "M.vg"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(pyvgrad, model, tmp_path, args, said):
    blob = bytearray((tmp_path / "M.vg").read_bytes())
    (tmp_path / "short.vg").write_bytes(blob[:-8])
    blob[40] ^= 1
    (tmp_path / "damaged.vg").write_bytes(blob)
    x = np.zeros((2, 3, model.shape.n_in))
    np.savez(tmp_path / "wide.npz", x=np.zeros((2, 3, model.shape.n_in + 1)))
    np.savez(tmp_path / "long.npz", x=x, lengths=[3, 4])
    np.savez(tmp_path / "class.npz", x=x, y=np.array([0, 10**12]))
    np.savez(tmp_path / "large.npz", x=x + 1e38, y=np.array([0, 1]))
    n_in = model.shape.n_in
    for name, fixed in (("wide", {"n_in": n_in + 1}), ("other", {"n_in": n_in})):
        rng = np.random.default_rng(0)
        other = random_qmodel(rng, cell="rnn_tanh", n_layers=3, **fixed)
        proto = export_float(other.shape, dequantize(other))
        onnx.save(proto, tmp_path / f"{name}.onnx")
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        x[1, 2, 0] = value
        np.savez(tmp_path / f"{name}.npz", x=x)
    before = sorted(tmp_path.iterdir())
    code, out, err = pyvgrad(*args)
    assert code == 2
    assert out == ""
    assert said in err
    assert err.startswith("pyvgrad: ")
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_target_that_is_not_installed_is_one_sentence(pyvgrad, model, monkeypatch):
    def missing(*args):
        raise DeviceError("qemu-system-arm is not on PATH; install qemu-system-arm")

    monkeypatch.setattr(firmware, "require", missing)
    code, _, err = pyvgrad("run", "M.vg", "X.npz", "-o", "Y.npz", "--on", "m4")
    assert code == 2
    assert "install qemu-system-arm" in err


def test_train_writes_a_blob_that_solves_its_task(pyvgrad, tmp_path):
    code, out, _ = pyvgrad("train", "long-lag", "--lag", "4", "-o", "M.vg", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["success"] is True
    assert found["files"] == ["M.vg", "M.float.onnx"]
    blob = (tmp_path / "M.vg").read_bytes()
    assert found["blob_bytes"] == len(blob)
    assert found["weights"] == parse(blob).shape.n_weights
    first = blob
    assert pyvgrad("train", "long-lag", "--lag", "4", "-o", "M.vg")[0] == 0
    assert (tmp_path / "M.vg").read_bytes() == first


def test_train_that_does_not_learn_exits_1(pyvgrad):
    args = ("train", "embedded-reber", "--limit", "100", "-o", "M.vg", "--json")
    code, out, _ = pyvgrad(*args)
    assert code == 1
    assert json.loads(out)["success"] is False


def test_a_net_of_the_papers_is_trained_and_can_be_altered(pyvgrad, tmp_path):
    args = ("train", "reber", "--limit", "100", "-o", "M.vg", "--json")
    code, out, _ = pyvgrad(*args, "--net", "hs97-3x2")
    assert code in (0, 1)
    assert json.loads(out)["weights"] == 276
    code, out, _ = pyvgrad(*args, "--net", "hs97-3x2", "--hidden", "4", "--block", "1")
    layer = parse((tmp_path / "M.vg").read_bytes()).shape.layers[0]
    assert json.loads(out)["weights"] == 264
    assert (layer.n, layer.block, layer.opts.feedback) == (4, 1, True)


def test_train_learns_classes_from_a_users_arrays(pyvgrad, tmp_path):
    rng = np.random.default_rng(2)
    y = rng.integers(2, size=40)
    x = rng.normal(0, 3.0, (40, 6, 2))
    x[:, 0, 0] = np.where(y, 6.0, -6.0)
    np.savez(tmp_path / "D.npz", x=x, y=y)
    args = ("train", "--data", "D.npz", "--hidden", "8", "-o", "M.vg", "--json")
    code, out, _ = pyvgrad(*args)
    assert code == 0, out
    assert pyvgrad("run", "M.vg", "D.npz", "-o", "Y.npz")[0] == 0
    assert (np.load(tmp_path / "Y.npz")["raw"].argmax(axis=1) == y).all()


def test_every_command_has_help_with_an_example(pyvgrad):
    for name in ("demo", "train", "export", "info", "run", "verify", "flash"):
        code, out, _ = pyvgrad(name, "--help")
        assert code == 0
        assert f"pyvgrad {name}" in out
        assert "--json" in out
