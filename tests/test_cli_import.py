"""``pyvgrad import`` keeps its contract: exit codes, fields, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from onnx_graphs import STYLES, Net, export

from pyvgrad.blob import parse
from pyvgrad.executors import Model


@pytest.fixture
def put(tmp_path):
    """Write F.onnx in tmp_path."""

    def write(net, style="torch_old"):
        (tmp_path / "F.onnx").write_bytes(export(net, style).SerializeToString())

    return write


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("style", STYLES)
def test_import_makes_a_blob_that_runs(pyvgrad, put, tmp_path, style, bits):
    put(Net("LSTM", 2, take="last", function="Softmax"), style)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 9, 3))
    np.savez(tmp_path / "X.npz", x=x, lengths=np.full(8, 9))
    code, out, err = pyvgrad(
        "import", "F.onnx", "-o", "M.vg", "--calibrate", "X.npz", "--weights", bits,
        "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["mode"] == "last"
    assert found["output"] == "softmax"
    assert found["weight_bits"] == bits
    assert found["cells"] == ["lstm 5", "lstm 5"]
    assert found["proof"]["by"] == "onnxruntime"
    assert found["proof"]["largest"] < found["proof"]["tolerance"]
    assert found["effective_bits"] > {16: 10, 8: 5}[bits]
    assert found["clamped"] == 0
    assert found["files"] == ["M.vg"]
    with Model.open("M.vg") as model:
        assert model.run(x[0]).shape == (4,)
    code, _, _ = pyvgrad("verify", "M.vg", "--x", "X.npz", "--on", "host,onnx")
    assert code == 0


def test_import_says_that_it_calibrated_on_random_inputs(pyvgrad, put):
    put(Net("GRU"))
    code, out, err = pyvgrad("import", "F.onnx", "-o", "M.vg")
    assert code == 0
    assert "calibrated on random inputs (normal, seed 0)" in err
    assert "effective bits" in out
    assert "onnxruntime" in out


def test_the_same_command_writes_the_same_bytes(pyvgrad, put, tmp_path):
    put(Net("RNN", 2, "bidirectional"))
    blobs = []
    for name in ("A.vg", "B.vg"):
        assert pyvgrad("import", "F.onnx", "-o", name, "--seed", 3)[0] == 0
        blobs.append((tmp_path / name).read_bytes())
    assert blobs[0] == blobs[1]


def test_the_scale_of_the_data_becomes_the_input_exponent(pyvgrad, put, tmp_path):
    put(Net("LSTM"))
    x = np.random.default_rng(0).uniform(-900, 900, (4, 9, 3))
    np.savez(tmp_path / "X.npz", x=x)
    pyvgrad("import", "F.onnx", "-o", "M.vg", "--calibrate", "X.npz", "--force")
    assert parse((tmp_path / "M.vg").read_bytes()).x_exp == 5


def test_ranges_and_the_report_are_those_of_train(pyvgrad, put, tmp_path):
    put(Net("LSTM"))
    args = ("import", "F.onnx", "-o", "M.vg", "--ranges", "mse,logits=60", "--report")
    code, out, _ = pyvgrad(*args)
    assert code == 0
    assert "error added" in out
    assert parse((tmp_path / "M.vg").read_bytes()).logit_exp == 9
    assert "tensors" in json.loads(pyvgrad(*args, "--json")[1])["report"]
    code, _, err = pyvgrad("import", "F.onnx", "-o", "M.vg", "--ranges", "guess")
    assert code == 2
    assert len(err.splitlines()) == 1


# ---- the answer is no -------------------------------------------------------------


def test_too_few_bits_are_exit_code_1_and_nothing_is_written(pyvgrad, put, tmp_path):
    put(Net("RNN", n=24, scale=0.7))  # errors grow from step to step
    args = ["import", "F.onnx", "-o", "M.vg", "--weights", "8", "--json"]
    code, out, err = pyvgrad(*args)
    found = json.loads(out)
    assert code == 1
    assert "8-bit weights should keep 5; nothing was written, see --force" in err
    assert len(found["reasons"]) == 1
    assert found["files"] == []
    assert not (tmp_path / "M.vg").exists()
    code, out, err = pyvgrad(*args, "--force")
    assert code == 1
    assert "written all the same" in err
    assert json.loads(out)["files"] == ["M.vg"]
    assert (tmp_path / "M.vg").exists()


def test_a_network_that_amplifies_roundings_is_not_imported(pyvgrad, put, tmp_path):
    put(Net("RNN", n=40, scale=3.0, n_out=0))  # chaos: float32 and double part
    code, out, err = pyvgrad("import", "F.onnx", "-o", "M.vg", "--force")
    assert (code, out) == (1, "")
    assert "differ by" in err
    assert "nothing was written" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "M.vg").exists()
    code, out, _ = pyvgrad("import", "F.onnx", "-o", "M.vg", "--json")
    found = json.loads(out)
    assert (code, found["files"]) == (1, [])
    assert found["proof"]["largest"] > found["proof"]["tolerance"]
    assert len(found["reasons"]) == 1


# ---- bad input -----------------------------------------------------------------------


def test_bad_input_is_one_sentence_and_exit_code_2(pyvgrad, put, tmp_path):
    put(Net("LSTM"))
    np.savez(tmp_path / "W.npz", x=np.zeros((2, 3, 4)))
    np.savez(tmp_path / "N.npz", x=np.full((2, 3, 3), np.nan))
    np.savez(tmp_path / "B.npz", x=np.full((2, 3, 3), 1e6))
    (tmp_path / "G.onnx").write_bytes(b"no")
    for args, said in {
        ("G.onnx",): "not an ONNX file",
        ("H.onnx",): "is the path right",
        ("F.onnx", "--calibrate", "W.npz"): "W.npz: x is (2, 3, 4), the file takes (N",
        ("F.onnx", "--calibrate", "N.npz"): "x[0, 0, 0] is nan",
        ("F.onnx", "--calibrate", "B.npz"): "an input is 1e+06; scale inputs",
        ("F.onnx", "--calibrate", "Z.npz"): "Z.npz",
        ("F.onnx", "--output", "z"): "no output 'z'; it has",
        ("F.onnx", "--weights", "4"): "--weights takes 16 or 8 bits, not 4",
    }.items():
        code, out, err = pyvgrad("import", *args, "-o", "M.vg")
        assert (code, out) == (2, ""), args
        assert said in err
        assert len(err.splitlines()) == 1, err
    assert not (tmp_path / "M.vg").exists()
    assert pyvgrad("import", "F.onnx", "-o", "no/M.vg")[0] == 2


def test_weights_too_large_for_integers_are_refused(pyvgrad, put, tmp_path):
    put(Net("LSTM", scale=1e6))
    x = np.zeros((2, 1, 3))
    np.savez(tmp_path / "X.npz", x=x)
    code, _, err = pyvgrad("import", "F.onnx", "-o", "M.vg", "--calibrate", "X.npz")
    assert code == 2
    assert len(err.splitlines()) == 1


def test_importing_needs_no_jax(put, tmp_path):
    put(Net("GRU", 2, "bidirectional", "ends"))
    code = (
        "import sys; sys.modules['jax'] = None; sys.modules['optax'] = None\n"
        "sys.argv = ['pyvgrad', 'import', 'F.onnx', '-o', 'M.vg']\n"
        "from pyvgrad.cli import main\nmain()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "M.vg").exists()


def test_import_says_when_onnx_is_missing(put, tmp_path):
    put(Net())
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "sys.argv = ['pyvgrad', 'import', 'F.onnx', '-o', 'M.vg']\n"
        "from pyvgrad.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install pyvgrad[onnx]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
