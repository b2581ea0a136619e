"""The onnx package's own tests of LSTM, GRU and RNN, imported and run on the C core.

Nobody here wrote them: ``onnx.backend.test.case.node`` has a model, inputs and expected
outputs for each.  Their weights are inputs of the graph; here they are its constants.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import crc, pack
from pyvgrad.errors import VgradError
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, table
from pyvgrad.native import HostExecutor
from pyvgrad.onnx_build import numpy_helper, onnx
from pyvgrad.onnx_import import Imported, from_proto
from pyvgrad.onnx_import_file import RECURRENT, checked
from pyvgrad.onnx_import_integers import to_integers
from pyvgrad.onnx_import_proof import prove
from pyvgrad.qmodel import QModel
from pyvgrad.signals import Signals, to_signals
from pyvgrad.state import from_bytes

Floats = NDArray[np.float64]

STEPS = 2.0  # of q14: how far an output may be from the expected one
_STATE_INPUTS = ("X",)  # what stays an input; all else becomes a constant


@dataclass(frozen=True)
class Row:
    """One output of one test.

    ``largest`` is the largest difference in q14 steps, of ``values`` numbers; where
    the test is refused it is None, and ``reason`` says why.
    """

    test: str
    output: str
    cells: str
    mode: str
    values: int
    largest: float | None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the C core gives what the test expects."""
        return self.largest is not None and self.largest <= STEPS


def cases() -> list[Any]:
    """The test cases of the onnx package that have a recurrent node."""
    with warnings.catch_warnings():  # of its own tests of overflows
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        every: list[Any] = collect_testcases(None)
    found = {
        case.name: case
        for case in every
        if any(node.op_type in RECURRENT for node in case.model.graph.node)
    }
    return [found[name] for name in sorted(found)]


def run_case(case: Any) -> list[Row]:
    """A row for every output of every data set of one test."""
    rows = []
    for inputs, outputs in case.data_sets:
        proto = checked(_frozen(case.model, inputs), case.name)
        names = [o.name for o in proto.graph.output]
        expected = dict(zip(names, outputs, strict=True))
        for name, want in expected.items():
            rows.append(_row(case.name, proto, name, names, inputs[0], want))
    return rows


def _frozen(model: Any, inputs: list[NDArray[Any]]) -> Any:
    """The model with all inputs but X as constants."""
    proto = type(model)()
    proto.CopyFrom(model)
    named = dict(zip([i.name for i in model.graph.input], inputs, strict=True))
    kept = [info for info in model.graph.input if info.name in _STATE_INPUTS]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in named.items()
        if name not in _STATE_INPUTS
    )
    return proto


def _row(
    test: str,
    proto: Any,
    name: str,
    names: list[str],
    x: NDArray[Any],
    want: NDArray[Any],
) -> Row:
    # The cell state is no output of a blob but is in the state that it leaves.
    cell = name == "Y_c"
    try:
        model = from_proto(proto, test, "Y_h" if cell and "Y_h" in names else name)
        proof = prove(model)
        if not proof.ok:
            raise VgradError(f"the float model differs by {proof.largest:.2g}")
    except VgradError as error:
        return Row(test, name, "", "", want.size, None, str(error))
    batch, steps = (
        x.shape[model.layout.index("N")], x.shape[model.layout.index("T")]
    )  # fmt: skip
    values = x.transpose([model.layout.index(k) for k in "NTF"]).astype(np.float64)
    q, _ = to_integers(model, values, np.full(batch, steps), 16)
    signals, _ = to_signals(q, values)
    got, c = _on_the_core(q, signals)
    if cell:
        apart = c - want.astype(np.float64)
    else:
        order = model.resolve(batch, steps).found.order
        apart = got.reshape(order.shape) - want.ravel()[order]
    largest = float(np.abs(apart).max()) * 2.0**14
    return Row(test, name, _cells(model), model.shape.mode, want.size, largest)


def _cells(model: Imported) -> str:
    return " + ".join(
        layer.cell + ("" if layer.direction == "forward" else f" ({layer.direction})")
        for layer in model.shape.layers
    )


def _on_the_core(q: QModel, signals: Signals) -> tuple[Floats, Floats]:
    """Y of each sequence on the C core, and c at its end, (layers, N, n)."""
    outputs, ends, blob = [], [], pack(q)
    with HostExecutor(blob) as core:
        for sequence in signals:
            core.reset()
            y = core.run(sequence)[0] / 2.0**q.y_exp
            outputs.append(y if q.shape.mode == "sequence" else y[-1:])
            state = from_bytes(q, crc(blob), core.state)
            ends.append([np.ravel(c) for c in state.c if c is not None])
    c = np.array(ends, np.float64) / 2.0**20
    return np.stack(outputs), c.swapaxes(0, 1) if c.size else c


def run(out: Path) -> Lab:
    """Run all tests; write ``onnx-suite.md`` and ``onnx-suite.json`` into ``out``."""
    make_folder(out)
    rows = [row for case in cases() for row in run_case(case)]
    page, data = out / "onnx-suite.md", out / "onnx-suite.json"
    write_bytes(page, _page(rows).encode())
    figures = [asdict(row) for row in rows]
    text = json.dumps({"rows": figures}, indent=1, allow_nan=False)
    write_bytes(data, f"{text}\n".encode())
    agreeing = sum(row.ok for row in rows)
    tests = len({row.test for row in rows})
    line = (
        f"{agreeing} of {len(rows)} outputs of {tests} tests of onnx "
        f"{onnx.__version__} agree within {STEPS:g} steps of q14"
    )
    named = all(row.ok or row.reason for row in rows)
    return Lab(figures, [page, data], [line], named)


def _page(rows: list[Row]) -> str:
    """The table in Markdown."""
    head = ["test", "output", "cell", "mode", "values", "largest difference"]
    lines = [
        [
            row.test.removeprefix("test_"), row.output, row.cells or "-",
            row.mode or "-", str(row.values),
            row.reason if row.largest is None else f"{row.largest:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    agreeing = sum(row.ok for row in rows)
    return "\n".join(
        [
            "# The onnx package's tests of LSTM, GRU and RNN",
            "",
            f"Every node test of `onnx` {onnx.__version__} that has one of these "
            "operators, imported, quantized to 16 bits and run on the",
            "C core; differences from the expected output in steps of 2^-14. "
            f"{agreeing} of {len(rows)} outputs agree within {STEPS:g}.",
            "Y_c is read from the state that the core leaves. Written by "
            "`pyvgrad lab onnx-suite -o docs/results`.",
            "",
            *table(head, lines),
            "",
        ]
    )
