"""Real files of PyTorch's two exporters, where PyTorch is installed (it need not be).

``pip install torch onnxscript`` beside pyvgrad[onnx]; tried with torch 2.13.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyvgrad.errors import VgradError  # noqa: E402
from pyvgrad.onnx_import import import_onnx  # noqa: E402
from pyvgrad.onnx_import_proof import TOLERANCE, prove  # noqa: E402
from pyvgrad.onnx_import_run import FloatFile  # noqa: E402

CELLS = {
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
    "rnn_tanh": (torch.nn.RNN, {}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
}
TAKES = ("sequence", "last", "ends")
EXPORTERS = ("older", "older, fixed sizes", "newer", "newer, dynamic")


class Net(torch.nn.Module):
    """Recurrent layers and a dense head on every step, the last, or h_n."""

    def __init__(self, cell, take, **options):
        super().__init__()
        kind, more = CELLS[cell]
        self.layer = kind(3, 5, batch_first=True, **options, **more)
        self.take = take
        self.head = torch.nn.Linear(5 * (1 + self.layer.bidirectional), 4)

    def forward(self, x):
        y, state = self.layer(x)
        if self.take == "last":
            y = y[:, -1]
        elif self.take == "ends":
            h = state[0] if isinstance(state, tuple) else state
            both = self.layer.bidirectional
            y = torch.cat([h[-2], h[-1]], -1) if both else h[-1]
        return torch.softmax(self.head(y), -1)


def exported(net, x, path, exporter):
    """Write a file with one of the exporters."""
    if exporter.startswith("newer"):
        pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "older":
            torch.onnx.export(
                net, (x,), path, dynamo=False, opset_version=17, input_names=["x"],
                dynamic_axes={"x": {0: "N", 1: "T"}},
            )  # fmt: skip
        elif exporter == "older, fixed sizes":
            torch.onnx.export(net, (x,), path, dynamo=False, opset_version=11)
        elif exporter == "newer":
            torch.onnx.export(net, (x,), path, dynamo=True, external_data=False)
        else:
            dynamic = ({0: torch.export.Dim("N")},)
            torch.onnx.export(
                net, (x,), path, dynamo=True, external_data=False,
                dynamic_shapes=dynamic,
            )  # fmt: skip


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_file_of_pytorch_is_the_same_function(tmp_path, exporter, cell, both):
    take = TAKES[(EXPORTERS.index(exporter) + len(cell) + both) % 3]
    torch.manual_seed(len(cell) + both)
    net = Net(cell, take, num_layers=2, bidirectional=both, dropout=0.3).eval()
    x = torch.randn(2, 7, 3)
    path = tmp_path / "F.onnx"
    exported(net, x, path, exporter)
    if cell.startswith("rnn") and exporter.startswith("newer"):
        with pytest.raises(VgradError, match=r"unrolled .*nn\.RNN with dynamo=False"):
            import_onnx(path)
        return
    model = import_onnx(path)
    assert [layer.cell for layer in model.shape.layers] == [cell] * (4 if both else 2)
    at_end = "final" if both else "last"
    assert model.shape.mode == (at_end if take == "ends" else take)
    assert prove(model).ok
    y = FloatFile(model).run(x.numpy().astype(np.float64), np.full(2, 7))
    with torch.no_grad():
        want = net(x).numpy()
    assert np.abs(y.reshape(want.shape) - want).max() < TOLERANCE


def test_cells_in_a_python_loop_say_how_to_export_them_better(tmp_path):
    class Loop(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = torch.nn.LSTMCell(3, 5)

        def forward(self, x):
            state = (torch.zeros(2, 5), torch.zeros(2, 5))
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
            return state[0]

    for exporter in ("older, fixed sizes", "newer"):
        path = tmp_path / "F.onnx"
        exported(Loop().eval(), torch.randn(2, 4, 3), path, exporter)
        with pytest.raises(VgradError, match=r"in PyTorch use nn\.LSTM"):
            import_onnx(path)
