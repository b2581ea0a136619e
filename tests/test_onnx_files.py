"""Files that PyTorch and Keras wrote, and what they themselves computed.

``tests/onnx`` was written by tools/make_onnx_fixtures.py with torch 2.13, Keras 3.15
and tf2onnx 1.17.
"""

from __future__ import annotations

import importlib.util
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pyvgrad.blob import pack
from pyvgrad.executors import Model
from pyvgrad.model import forward
from pyvgrad.onnx_import import from_proto, import_onnx
from pyvgrad.onnx_import_file import checked
from pyvgrad.onnx_import_integers import to_integers
from pyvgrad.onnx_import_proof import prove

ROOT = Path(__file__).parents[1]
FILES = sorted(Path(__file__).with_name("onnx").glob("*.onnx"))


def data_of(path):
    """x (N, T, n_in) and y as the exporter's own library computed it."""
    with np.load(path.with_suffix(".npz")) as data:
        return data["x"].astype(np.float64), data["y"].astype(np.float64)


def of_mode(shape, y):
    """What y (N, T, n_out) means in the model's mode."""
    return y if shape.mode == "sequence" else y[:, -1]


def test_the_files_are_there():
    makers = [path.name.rsplit("-", maxsplit=path.name.count("-"))[0] for path in FILES]
    assert {name: makers.count(name) for name in makers} == {"keras": 5, "torch": 9}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_float_model_gives_what_its_library_gave(path):
    model = import_onnx(path)
    x, want = data_of(path)
    y = of_mode(model.shape, forward(model.shape, model.params, x).y)
    assert np.abs(y - want).max() < 1e-6
    assert prove(model, x).ok


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_core_gives_what_its_library_gave(path):
    model = import_onnx(path)
    x, want = data_of(path)
    q, fit = to_integers(model, x, np.full(len(x), x.shape[1]), 16)
    assert not fit.reasons()
    with Model(pack(q)) as core:
        for sequence, y in zip(x, want, strict=True):
            core.reset()
            assert np.abs(core.run(sequence) - y).max() < 2.0**-10


def test_no_file_says_where_it_was_made():
    for path in FILES:
        assert b"site-packages" not in path.read_bytes()
        assert b".py" not in path.read_bytes()


def test_the_tool_writes_what_the_import_reads():
    path = ROOT / "tools/make_onnx_fixtures.py"
    spec = importlib.util.spec_from_file_location("make_onnx_fixtures", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name, proto, x, y in islice(tool.patterns(), 0, 108, 25):
        model = from_proto(checked(tool.stripped(proto), name), name)
        want = forward(model.shape, model.params, x.astype(np.float64)).y
        steps = slice(None) if model.shape.mode == "sequence" else slice(-1, None)
        assert np.abs(want[:, steps] - y).max() < 1e-6
