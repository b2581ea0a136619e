"""Runs of cells that follow from each other as the layers of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyvgrad.cells import CELLS, Layer, Readout
from pyvgrad.onnx_import_cells import Run
from pyvgrad.onnx_import_read import Reading, width
from pyvgrad.onnx_import_symbols import End, Floats, Hidden, Input, Source, UnclearError

_KINDS = {"": "linear", "logistic": "logistic"} | dict.fromkeys(
    ("softmax", "logsoftmax"), "softmax"
)


def top_layer(reading: Reading) -> list[Run]:
    """The last layer that rows read, both halves where it is bidirectional."""
    runs = []
    for part in reading.parts:
        if isinstance(part.source, Hidden | End) and part.source.run not in runs:
            runs.append(part.source.run)
    if not runs:
        raise UnclearError("it reads no recurrent layer")
    return _pair(runs)


def _pair(runs: list[Run]) -> list[Run]:
    """One run, or the two halves of a bidirectional layer, the forward one first."""
    if len(runs) == 1:
        return runs
    if len(runs) > 2 or len({run.reverse for run in runs}) != 2:
        names = " and ".join(run.where for run in runs)
        raise UnclearError(
            f"it reads {names} side by side; pyvgrad has layers in a row, and two "
            "directions of one layer"
        )
    forward, reverse = sorted(runs, key=lambda run: run.reverse)
    if {id(p.source) for p in forward.reading.parts} != {
        id(p.source) for p in reverse.reading.parts
    }:
        raise UnclearError(
            f"{forward.where} and {reverse.where} run in two directions but do not "
            "read the same"
        )
    return [forward, reverse]


def _below(group: list[Run]) -> list[Run]:
    """The layer that a layer reads, nothing for the input."""
    sources = [part.source for part in group[0].reading.parts]
    if all(isinstance(source, Input) for source in sources):
        return []
    if any(isinstance(source, Input) for source in sources):
        raise UnclearError(
            f"{group[0].where} reads the input and a layer; pyvgrad has layers in a row"
        )
    return _pair([source.run for source in sources])  # type: ignore[attr-defined]


def stacked(top: list[Run]) -> list[list[Run]]:
    """All layers that lead there, the first first."""
    stack = [top]
    while below := _below(stack[0]):
        stack.insert(0, below)
    return stack


def model_input(first: list[Run]) -> Input:
    """The one input that the first layer reads.  UnclearError if it reads more."""
    inputs = [part.source for part in first[0].reading.parts]
    if len(inputs) > 1:
        names = " and ".join(repr(source.name) for source in inputs)  # type: ignore[attr-defined]
        raise UnclearError(f"it reads {names}; give the model one input, x")
    assert isinstance(inputs[0], Input)
    return inputs[0]


def _columns(reading: Reading, order: list[Source]) -> Floats:
    """The matrix of a reading, (values of the sources in order, columns)."""
    maps = {id(part.source): part.matrix for part in reading.parts}
    blocks = [
        maps.get(id(source), np.zeros((width(source), len(reading.offset))))
        for source in order
    ]
    return np.concatenate(blocks)


def _outputs_of(group: list[Run], reading: Reading) -> list[Source]:
    """The sources of a reading that are a layer's outputs, in the layer's order."""
    by_run = {
        id(part.source.run): part.source
        for part in reading.parts
        if isinstance(part.source, Hidden | End)
    }
    return [by_run[id(run)] for run in group]


def make_layers(
    stack: list[list[Run]], x: Input
) -> tuple[list[Layer], list[dict[str, Any]]]:
    """Shapes and parameters of all layers."""
    layers, params = [], []
    for k, group in enumerate(stack):
        names = ("forward-half", "reverse-half")
        for run, half in zip(group, names, strict=False):
            order: list[Source] = [x]
            if k:
                order = _outputs_of(stack[k - 1], run.reading)
            single = "reverse" if run.reverse else "forward"
            layer, tree = _layer(
                run, _columns(run.reading, order), half if len(group) > 1 else single
            )
            layers.append(layer)
            params.append(tree)
    return layers, params


def _layer(run: Run, columns: Floats, direction: str) -> tuple[Layer, dict[str, Any]]:
    """The layer of a run that reads ``columns`` (values below, columns)."""
    row = CELLS[run.cell]
    b = {k: v.copy() for k, v in run.b.items()}
    for k in run.W:
        b[k] += run.W[k] @ run.reading.offset
    biased = {k for k, v in b.items() if v.any()}
    cells, gates = set(row.cells), set(row.gates) - set(row.cells)
    try:
        layer = Layer(
            run.cell, len(columns), run.n, direction=direction,
            cell_biases=bool(biased & cells),
            gate_biases=bool(biased & gates) or not gates,
        )  # fmt: skip
    except ValueError as error:
        raise UnclearError(f"{run.where}: {error}") from None
    tree: dict[str, Any] = {
        "W": {k: v @ columns.T for k, v in run.W.items()},
        "U": dict(run.U),
        "b": {k: v for k, v in b.items() if layer.has_bias(k)},
    }
    if run.P:
        tree["P"] = dict(run.P)
    return layer, tree | dict(run.start)


def make_readout(
    reading: Reading, top: list[Run], x: Input, kind: str, tree: dict[str, Any]
) -> Readout | None:
    """The readout and its parameters; None where y is what the last layer gives."""
    outputs = _outputs_of(top, reading)
    W = _columns(reading, outputs).T
    shortcut = [part.source for part in reading.parts if isinstance(part.source, Input)]
    assert all(source is x for source in shortcut)  # roles come from the layers
    V = _columns(reading, [x]).T if shortcut else None
    n_out, b = len(W), reading.offset
    plain = not kind and V is None and not b.any()
    if plain and W.shape == (W.shape[1],) * 2 and (np.eye(n_out) == W).all():
        return None
    tree["readout"] = {"W": W}
    if V is not None:
        tree["readout"]["V"] = V
    if b.any():
        tree["readout"]["b"] = b
    try:
        return Readout(
            W.shape[1], n_out, _KINDS[kind],
            shortcuts=0 if V is None else V.shape[1], biases=bool(b.any()),
        )  # fmt: skip
    except ValueError as error:
        raise UnclearError(str(error)) from None
