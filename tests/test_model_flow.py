"""The flow of a model in a blob, by its command."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from pyvgrad.blob import pack, parse
from pyvgrad.dequantize import dequantize
from pyvgrad.flow import error_flow
from pyvgrad.model import init_params
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize


def blob(folder, cell, **more):
    shape = stack(cell, (3, 4, 2), output="softmax", **more)
    params = init_params(shape, np.random.default_rng(0), scale=0.6)
    data = pack(quantize(shape, params))
    (folder / "M.vg").write_bytes(data)
    return shape, dequantize(parse(data))


@pytest.mark.parametrize("cell", ["rnn_sigmoid", "lstm"])
def test_the_command_gives_the_model_s_factors(pyvgrad, tmp_path, cell):
    shape, params = blob(tmp_path, cell)
    x = np.random.default_rng(1).normal(size=(3, 9, 3))
    lengths = np.array([9, 7, 8])
    np.savez(tmp_path / "X.npz", x=x, lengths=lengths)
    args = ["M.vg", "--x", "X.npz", "-o", "F.png", "--json"]
    code, out, _ = pyvgrad("flow", *args)
    found = json.loads(out)
    assert (code, found["steps"], found["files"]) == (0, 6, ["F.png"])
    assert (tmp_path / "F.png").read_bytes().startswith(b"\x89PNG\r\n")
    with jax.enable_x64(True):
        ends = np.stack([s[n - 7 : n] for s, n in zip(x, lengths, strict=True)])
        want = np.abs(error_flow(shape, params, ends)).max(axis=(-2, -1))
    np.testing.assert_allclose(found["norms"], np.median(want, axis=0), rtol=1e-10)
    if cell == "lstm":
        assert found["bound"] is None
    else:
        assert np.all(np.array(found["norms"]) <= found["bound"])


def test_without_x_it_takes_symbols(pyvgrad, tmp_path):
    blob(tmp_path, "rnn_tanh")
    code, out, _ = pyvgrad("flow", "M.vg", "--steps", 12)
    assert code == 0
    assert [int(line.split()[0]) for line in out.splitlines()] == [1, 2, 5, 10, 12]
    assert "bound" in out


def test_bad_input_is_one_sentence(pyvgrad, tmp_path):
    blob(tmp_path, "gru", bidirectional=True)
    code, _, err = pyvgrad("flow", "M.vg")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "a model with a reversed layer has no single way back" in err
    blob(tmp_path, "gru")
    np.savez(tmp_path / "X.npz", x=np.zeros((2, 4, 3)), lengths=np.array([4, 1]))
    code, _, err = pyvgrad("flow", "M.vg", "--x", "X.npz")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "X.npz: a sequence of one step has no way back" in err
