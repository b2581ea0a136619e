"""Recurrent networks as exporters write them into ONNX files, with seeded weights.

Every exporter wraps the same LSTM, GRU or RNN node into other shape operators.  The
styles here have the operators, opsets and names of dimensions that were seen in files
of PyTorch 2.13 (``torch_old``: torch.onnx.export with dynamo=False, ``torch_new``: with
dynamo=True), of Keras 3.15 and tf2onnx 1.17 (``keras``), and of a person (``hand``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

STYLES = ("torch_old", "torch_new", "keras", "hand")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
TYPES = {np.float32: TensorProto.FLOAT, np.int64: TensorProto.INT64}


@dataclass(frozen=True)
class Net:
    """What is exported: ``take`` is sequence, last (the last step) or ends (Y_h)."""

    kind: str = "LSTM"
    layers: int = 1
    direction: str = "forward"
    take: str = "sequence"
    function: str = ""  # behind the dense head: Softmax, Sigmoid, LogSoftmax
    n_in: int = 3
    n: int = 5
    n_out: int = 4  # 0: no head
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 0  # 0: the style's own
    dtype: type = np.float32
    scale: float = 0.5  # of the weights
    seed: int = 0

    @property
    def directions(self) -> int:
        """2 if it is bidirectional."""
        return 2 if self.direction == "bidirectional" else 1


class Writer:
    """A graph under construction; values are names, with the style's numbering."""

    def __init__(self, net: Net) -> None:
        self.net, self.rng = net, np.random.default_rng(net.seed)
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.weights: list[dict[str, Any]] = []

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; its output, or a list of them."""
        names = [f"{kind}_{len(self.nodes)}_{k}" for k in range(outputs)]
        name = f"/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, names, name, **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, value: Any, dtype: type = np.int64, name: str = "") -> str:
        """An initializer."""
        name = name or f"constant_{len(self.initializers)}"
        tensor = numpy_helper.from_array(np.asarray(value, dtype), name)
        self.initializers.append(tensor)
        return name

    def squeeze(self, x: str, axis: int, kind: str = "Squeeze") -> str:
        """Squeeze or Unsqueeze one axis, as the opset has it."""
        if self.opset < 13:
            return self.op(kind, x, axes=[axis])
        return self.op(kind, x, self.constant([axis]))

    def slice(self, x: str, start: int, end: int, axis: int) -> str:
        """A piece of one axis."""
        ends = (self.constant([v]) for v in (start, end, axis))
        return self.op("Slice", x, *ends)

    opset = 17

    def draw(self, name: str, *shape: int) -> str:
        """Seeded weights."""
        value = self.rng.normal(0.0, self.net.scale, shape)
        self.weights.append({"name": name, "value": value})
        return self.constant(value, self.net.dtype, name)

    def recurrent(self, index: int, n_in: int) -> tuple[str, str, str]:
        """W, R and B of a layer."""
        net, D = self.net, self.net.directions
        rows = GATES[net.kind] * net.n
        return (
            self.draw(f"W{index}", D, rows, n_in),
            self.draw(f"R{index}", D, rows, net.n),
            self.draw(f"B{index}", D, 2 * rows),
        )

    def node(self, x: str, weights: Any, states: list[str], **more: Any) -> list[str]:
        """The recurrent node: Y, Y_h and, of an LSTM, Y_c."""
        net = self.net
        attributes = {"hidden_size": net.n, **net.attributes, **more}
        if net.direction != "forward":
            attributes["direction"] = net.direction
        if net.kind == "GRU":
            attributes.setdefault("linear_before_reset", 1)
        if "activations" in attributes and net.directions == 2:
            attributes["activations"] = list(attributes["activations"]) * 2
        outputs = 3 if net.kind == "LSTM" else 2
        inputs = [x, *weights, *(["", *states] if states else [])]
        return self.op(net.kind, *inputs, outputs=outputs, **attributes)

    def head(self, h: str, flat: bool) -> str:
        """The dense layer and the function behind it; ``flat``: of (N, n)."""
        net = self.net
        if not net.n_out:
            return h
        n = net.n * net.directions
        if flat:
            W, b = self.draw("head.W", net.n_out, n), self.draw("head.b", net.n_out)
            y = self.op("Gemm", h, W, b, alpha=1.0, beta=1.0, transB=1)
        else:
            W, b = self.draw("head.W", n, net.n_out), self.draw("head.b", net.n_out)
            y = self.op("Add", b, self.op("MatMul", h, W))
        return self.function(y)

    def function(self, y: str) -> str:
        """Softmax and its like over the last axis."""
        name = self.net.function
        if not name:
            return y
        return self.op(name, y) if name == "Sigmoid" else self.op(name, y, axis=-1)

    def model(self, y: str, x_dims: Any, ir: int, producer: str) -> Any:
        """The file: one input x, one output y."""
        net, element = self.net, TYPES.get(self.net.dtype, TensorProto.FLOAT)
        if net.dtype is np.float64:
            element = TensorProto.DOUBLE
        dims = [None] * (3 if net.take == "sequence" else 2)
        x = helper.make_tensor_value_info("x", element, x_dims)
        out = helper.make_tensor_value_info(y, element, dims)
        graph = helper.make_graph(
            self.nodes, "main_graph", [x], [out], self.initializers
        )
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=ir, producer_name=producer
        )


def export(net: Net, style: str) -> Any:
    """The ModelProto of a net in a style."""
    writer = Writer(net)
    return {
        "torch_old": _torch_old, "torch_new": _torch_new, "keras": _keras,
        "hand": _hand,
    }[style](writer, net)  # fmt: skip


def _n_in(net: Net, layer: int) -> int:
    return net.n * net.directions if layer else net.n_in


def _torch_old(w: Writer, net: Net) -> Any:
    """Zeros made of the batch's size and sliced by layer; batch_first."""
    w.opset = net.opset or 17
    batch = w.op("Gather", w.op("Shape", "x"), w.constant(0), axis=0)
    sizes = [
        w.constant([net.layers * net.directions]),
        w.squeeze(batch, 0, "Unsqueeze"),
    ]
    shape = w.op("Concat", *sizes, w.constant([net.n]), axis=0)
    zero = numpy_helper.from_array(np.zeros(1, net.dtype))
    zeros = [w.op("ConstantOfShape", shape, value=zero)]
    zeros *= 2 if net.kind == "LSTM" else 1
    h = w.op("Transpose", "x", perm=[1, 0, 2])
    ends = []
    for k in range(net.layers):
        at = k * net.directions
        states = [w.slice(z, at, at + net.directions, 0) for z in zeros]
        y, end, *_ = w.node(h, w.recurrent(k, _n_in(net, k)), states)
        ends.append(end)
        if net.directions == 2:
            h = w.op("Transpose", y, perm=[0, 2, 1, 3])
            h = w.op("Reshape", h, w.constant([0, 0, -1]))
        else:
            h = w.squeeze(y, 1)
    if net.take == "ends":
        y = _torch_ends(w, net, ends)
    else:
        y = w.op("Transpose", h, perm=[1, 0, 2])
        if net.take == "last":
            y = w.op("Gather", y, w.constant(-1), axis=1)
    y = w.head(y, flat=net.take != "sequence")
    return w.model(y, ["N", "T", net.n_in], 8, "pytorch")


def _torch_ends(w: Writer, net: Net, ends: list[str]) -> str:
    """h_n[-1], or both directions' of the last layer."""
    joined = w.op("Concat", *ends, axis=0) if len(ends) > 1 else ends[0]
    if net.directions == 1:
        return w.op("Gather", joined, w.constant(-1), axis=0)
    pair = [w.op("Gather", joined, w.constant(k), axis=0) for k in (-2, -1)]
    return w.op("Concat", *pair, axis=-1)


def _torch_new(w: Writer, net: Net) -> Any:
    """Reshapes by products of sizes; steps fixed, states left out or expanded."""
    w.opset = net.opset or 20
    h = w.op("Transpose", "x", perm=[1, 0, 2])
    batch = w.op("Shape", "x", start=0, end=1)
    sizes = (w.constant([net.directions]), batch, w.constant([net.n]))
    shape = w.op("Concat", *sizes, axis=0)
    zero = w.constant(0.0, net.dtype)
    states = [w.op("Expand", zero, shape)] * (2 if net.kind == "LSTM" else 1)
    ends = []
    for k in range(net.layers):
        y, end, *_ = w.node(h, w.recurrent(k, _n_in(net, k)), states)
        ends.append(end)
        moved = w.op("Transpose", y, perm=[0, 2, 1, 3])
        size = w.op("Shape", moved)
        first = w.slice(size, 0, 2, 0)
        last = [w.slice(size, i, i + 1, 0) for i in (2, 3)]
        new = w.op("Concat", first, w.op("Mul", *last), axis=0)
        h = w.op("Reshape", moved, new, allowzero=1)
    if net.take == "ends":
        y = _torch_ends(w, net, ends)
    else:
        y = w.op("Transpose", h, perm=[1, 0, 2])
        if net.take == "last":
            y = w.op("Gather", y, w.constant(-1), axis=1)
    y = w.head(y, flat=net.take != "sequence")
    return w.model(y, ["s77", 6, net.n_in], 10, "pytorch")


def _keras(w: Writer, net: Net) -> Any:
    """Casts around shapes, Slice and Squeeze for directions and the last step."""
    w.opset = net.opset or 15
    h, joined = "x", None
    for k in range(net.layers):
        h = w.op("Transpose", h, perm=[1, 0, 2])
        size = w.op("Cast", w.op("Shape", h), to=TensorProto.INT32)
        batch = w.op("Cast", w.slice(size, 1, 2, 0), to=TensorProto.INT64)
        shape = w.op("Concat", batch, w.constant([net.n]), axis=0)
        zeros = w.op("Expand", w.constant([0.0], net.dtype), shape)
        zeros = w.squeeze(zeros, 0, "Unsqueeze")
        if net.directions == 2:
            zeros = w.op("Concat", zeros, zeros, axis=0)
        states = [zeros] * (2 if net.kind == "LSTM" else 1)
        y, end, *_ = w.node(h, w.recurrent(k, _n_in(net, k)), states)
        if net.directions == 2:
            each = [w.squeeze(w.slice(y, d, d + 1, 1), 1) for d in (0, 1)]
            joined = w.op("Concat", *each, axis=-1)
        else:
            each = [w.squeeze(y, 1)]
            joined = each[0]
        h = w.op("Transpose", joined, perm=[1, 0, 2])
    if net.take == "sequence":
        y = _keras_dense(w, net, h)
    elif net.take == "last":
        y = w.head(w.squeeze(w.slice(joined, -1, 2**31 - 1, 0), 0), flat=False)
    elif net.directions == 2:  # a reverse layer's own end is its first step
        parts = [w.slice(each[0], -1, 2**31 - 1, 0), w.slice(each[1], 0, 1, 0)]
        y = w.head(
            w.op("Concat", *(w.squeeze(p, 0) for p in parts), axis=-1), flat=False
        )
    else:
        y = w.head(w.squeeze(end, 0), flat=False)
    return w.model(y, ["unk__1", "unk__2", net.n_in], 8, "tf2onnx")


def _keras_dense(w: Writer, net: Net, h: str) -> str:
    """A dense layer of every step: rows, product, and the shape put together again."""
    if not net.n_out:
        return h
    n = net.n * net.directions
    W, b = w.draw("head.W", n, net.n_out), w.draw("head.b", net.n_out)
    size = w.op("Cast", w.op("Shape", h), to=TensorProto.INT32)
    front = w.op("Cast", w.op("Gather", size, w.constant([0, 1])), to=TensorProto.INT64)
    shape = w.op("Concat", front, w.constant([net.n_out]), axis=0)
    rows = w.op("Reshape", h, w.constant([-1, n]))
    y = w.op("Reshape", w.op("MatMul", rows, W), shape)
    return w.function(w.op("Add", y, b))


def _hand(w: Writer, net: Net) -> Any:
    """Layout 1, no zeros, the directions joined by Flatten or Reshape."""
    w.opset = net.opset or 14
    h = "x"
    for k in range(net.layers):
        y, end, *_ = w.node(h, w.recurrent(k, _n_in(net, k)), [], layout=1)
        # (N, T, D, n) to (N, T, D n)
        width = net.n * net.directions
        h = w.op("Reshape", y, w.constant([0, 0, width]))
    if net.take == "sequence":
        return w.model(w.head(h, flat=False), ["N", "T", net.n_in], 8, "")
    if net.take == "ends":
        y = w.op("Flatten", end, axis=1)
    else:
        y = w.squeeze(w.slice(h, -1, 2**62, 1), 1)
    return w.model(w.head(y, flat=True), ["N", "T", net.n_in], 8, "")


def renamed_nodes(proto: Any) -> Any:
    """The same file without a name that says anything."""
    for k, node in enumerate(proto.graph.node):
        node.name = f"n{k}"
    return proto
