"""Write small ONNX files as exporters write them, with inputs and outputs.

    python3 tools/make_onnx_fixtures.py FOLDER [patterns|torch|keras ...]

``torch`` and ``keras`` export real networks with PyTorch's two exporters and with Keras
and tf2onnx, which must be installed; y is what these libraries themselves compute, and
the files in tests/onnx were made so. ``patterns`` are the graphs of
tests/onnx_graphs.py, in which the tests have the same arrangements without any of
these; there y is what onnxruntime gives. F.npz has x (N, T, n_in) and y.
"""

import os
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

Fixture = tuple[str, Any, np.ndarray, np.ndarray]  # name, ModelProto, x, y
N, T, N_IN, N_OUT, CELLS = 3, 7, 3, 4, 5


def inputs(seed: int, steps: int = T) -> np.ndarray:
    """Sequences (N, steps, n_in)."""
    return np.random.default_rng(seed).normal(size=(N, steps, N_IN)).astype(np.float32)


def patterns() -> Iterator[Fixture]:
    """Every style, node, direction and output of tests/onnx_graphs.py."""
    from onnx_graphs import STYLES, Net, export

    from pyvgrad.onnx_import import from_proto
    from pyvgrad.onnx_import_file import checked
    from pyvgrad.onnx_import_run import FloatFile

    directions = ("forward", "reverse", "bidirectional")
    takes = ("sequence", "last", "ends")
    every = product(STYLES, ("LSTM", "GRU", "RNN"), directions, takes)
    for seed, (style, kind, direction, take) in enumerate(every):
        net = Net(kind, 2, direction, take, "Softmax", seed=seed)
        name = f"{style}-{kind.lower()}-{direction}-{take}"
        proto = checked(export(net, style), name)
        x = inputs(seed, 6)
        yield name, proto, x, FloatFile(from_proto(proto, name)).run(x, np.full(N, 6))


# ---- PyTorch ---------------------------------------------------------------


def torch() -> Iterator[Fixture]:
    """Both of PyTorch's exporters."""
    import onnx
    import torch
    from torch import nn

    class Net(nn.Module):
        """Layers and a head on every step, on the last, or on h_n."""

        def __init__(self, layer: nn.Module, take: str) -> None:
            super().__init__()
            self.layer, self.take = layer, take
            self.head = nn.Linear(CELLS * (1 + layer.bidirectional), N_OUT)

        def forward(self, x: Any) -> Any:
            y, state = self.layer(x)
            if self.take == "last":
                y = y[:, -1]
            elif self.take == "ends":
                h = state[0] if isinstance(state, tuple) else state
                y = torch.cat([h[-2], h[-1]], -1) if self.layer.bidirectional else h[-1]
            return torch.softmax(self.head(y), -1)

    two: dict[str, Any] = {"num_layers": 2, "batch_first": True}
    both = two | {"bidirectional": True}
    nets = {
        "lstm-sequence": (nn.LSTM, two, "sequence"),
        "lstm-bidirectional-ends": (nn.LSTM, both, "ends"),
        "gru-last": (nn.GRU, two, "last"),
        "gru-bidirectional-ends": (nn.GRU, both, "ends"),
        "rnn-relu-ends": (nn.RNN, two | {"nonlinearity": "relu"}, "ends"),
    }
    for seed, (name, (kind, options, take)) in enumerate(nets.items()):
        torch.manual_seed(seed)
        net = Net(kind(N_IN, CELLS, **options), take).eval()
        x = inputs(seed)
        with torch.no_grad():
            y = net(torch.from_numpy(x)).numpy()
        for exporter in ("old", "new"):
            if kind is nn.RNN and exporter == "new":
                continue  # it unrolls them
            path = Path("F.onnx")
            more: dict[str, Any] = {"dynamo": True, "external_data": False}
            if exporter == "old":
                axes = {"x": {0: "N", 1: "T"}}
                more = {"dynamo": False, "dynamic_axes": axes, "input_names": ["x"]}
            torch.onnx.export(net, (torch.from_numpy(x),), path, **more)
            proto = onnx.load(path)
            path.unlink()
            yield f"torch-{exporter}-{name}", proto, x, y


# ---- Keras -----------------------------------------------------------------


def keras() -> Iterator[Fixture]:
    """Keras 3 through tf2onnx."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow
    import tf2onnx
    from keras import layers

    head = layers.Dense(N_OUT, activation="softmax")
    lstm = layers.LSTM
    nets: dict[str, list[Any]] = {
        "lstm-sequence": [lstm(CELLS, return_sequences=True), head],
        "lstm-last": [lstm(CELLS, return_sequences=True), lstm(CELLS), head],
        "lstm-backwards": [lstm(CELLS, go_backwards=True), head],
        "lstm-bidirectional": [layers.Bidirectional(lstm(CELLS)), head],
        "lstm-distributed": [
            lstm(CELLS, return_sequences=True), layers.TimeDistributed(head),
        ],
    }  # fmt: skip
    for seed, (name, stack) in enumerate(nets.items()):
        keras.utils.set_random_seed(seed)
        steps = T if name == "lstm-distributed" else None
        copies = [type(v).from_config(v.get_config()) for v in stack]
        net = keras.Sequential([keras.Input((steps, N_IN)), *copies])
        x = inputs(seed)
        y = net(x).numpy()
        spec = (tensorflow.TensorSpec((None, steps, N_IN), tensorflow.float32, "x"),)
        call = tensorflow.function(lambda x, net=net: net(x), input_signature=spec)
        proto, _ = tf2onnx.convert.from_function(call, input_signature=spec)
        yield f"keras-{name}", proto, x, y


def stripped(proto: Any) -> Any:
    """The file without what the machine that made it left in: paths, notes, shapes."""
    proto.doc_string = ""
    del proto.metadata_props[:]
    graph = proto.graph
    graph.doc_string = ""
    for name in ("metadata_props", "value_info"):
        del getattr(graph, name)[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    return proto


MAKERS: dict[str, Callable[[], Iterator[Fixture]]] = {
    "patterns": patterns, "torch": torch, "keras": keras,
}  # fmt: skip


def main(folder: Path, kinds: list[str]) -> int:
    """Write all files of some kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds or ["patterns"]:
        for name, proto, x, y in MAKERS[kind]():
            data = stripped(proto).SerializeToString()
            (folder / f"{name}.onnx").write_bytes(data)
            np.savez(folder / f"{name}.npz", x=x, y=y)
        print(f"the files of {kind} and their data are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
