"""Building ONNX graphs node by node, and the versions that every file is pinned to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import pyvgrad
from pyvgrad.errors import VgradError
from pyvgrad.files import write_bytes

try:
    import onnx
    from onnx import helper, inliner, numpy_helper
except ImportError as error:
    raise VgradError(
        "onnx is not installed and ONNX files need it: pip install pyvgrad[onnx]"
    ) from error

__all__ = [
    "IR_VERSION",
    "OPSET",
    "Graph",
    "default",
    "helper",
    "inliner",
    "model",
    "numpy_helper",
    "onnx",
    "value",
    "write",
]

# What onnxruntime 1.17 (2024) and later read; onnx writes IR 14 unless told, which
# onnxruntime 1.31 refuses.
IR_VERSION = 10
OPSET = 21


def value(name: str, dtype: type, dims: Sequence[int | str], doc: str = "") -> Any:
    """Type and shape of a graph's input or output; a str is a dynamic dimension."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, list(dims), doc_string=doc)


@dataclass
class Graph:
    """A graph under construction.  Values are their names, str.

    ``dtype`` is that of constants; ``prefix`` goes before every name, because the
    names of a Scan's body and of the graph around it are one name space.
    """

    dtype: type[np.floating[Any]]
    prefix: str = ""
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    constants: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def ops(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        **attributes: Any,
    ) -> None:
        """Append one node with the outputs named as given, the node as the first."""
        name = f"{outputs[0]}/{kind}"
        self.nodes.append(
            helper.make_node(kind, list(inputs), list(outputs), name, **attributes)
        )

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node with one output and return that."""
        output = f"{self.prefix}{name or f'{kind}_{len(self.nodes)}'}"
        self.ops(kind, inputs, [output], **attributes)
        return output

    def constant(
        self, array: ArrayLike, dtype: type | None = None, name: str = ""
    ) -> str:
        """An initializer; equal ones without a name are one."""
        data: NDArray[Any] = np.asarray(array, dtype or self.dtype)
        key = (name, data.dtype.str, data.shape, data.tobytes())
        if key not in self.constants:
            label = self.prefix + (name or f"constant_{len(self.constants)}")
            self.initializers.append(numpy_helper.from_array(data, label))
            self.constants[key] = label
        return self.constants[key]

    def cast(self, x: str, dtype: type, name: str = "") -> str:
        """X with another type."""
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", x, name=name, to=to)

    def split(self, x: str, names: str, sizes: Sequence[int]) -> dict[str, str]:
        """Cut the last axis; one letter of ``names`` a piece."""
        outputs = [f"{self.prefix}{k}_{len(self.nodes)}" for k in names]
        if len(outputs) == 1:
            return {names: x}
        self.ops("Split", [x, self.constant(sizes, np.int64)], outputs, axis=-1)
        return dict(zip(names, outputs, strict=True))

    def concat(self, parts: Sequence[str], axis: int = -1) -> str:
        """The parts one behind the other."""
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=axis)

    def spread(self, x: str, block: int) -> str:
        """One value a block, (..., n / block), to one a cell, (..., n)."""
        if block == 1:
            return x
        # ONNX has no Repeat: a new axis, tiled, then joined with its neighbour.
        column = self.op("Unsqueeze", x, self.constant([-1], np.int64))
        wide = self.op("Expand", column, self.constant([1, 1, block], np.int64))
        return self.op("Flatten", wide, axis=1)

    def batched(self, state: str, x: str, n: int) -> str:
        """A state of shape (1, n) or (N, n) as (N, n), N the first dimension of x."""
        batch = self.op("Shape", x, start=0, end=1)
        shape = self.op("Concat", batch, self.constant([n], np.int64), axis=0)
        return self.op("Expand", state, shape)

    def last(self, x: str, axis: int) -> str:
        """The last entry along an axis, which goes."""
        return self.entry(x, axis, -1)

    def entry(self, x: str, axis: int, index: int) -> str:
        """One entry along an axis, which goes."""
        return self.op("Gather", x, self.constant(index, np.int64), axis=axis)

    def head(self, x: str, size: int, n: int) -> str:
        """The first n of the ``size`` entries of the axis 1."""
        if n == size:
            return x
        cut = [self.constant([v], np.int64) for v in (0, n, 1)]
        return self.op("Slice", x, *cut)

    def scan(
        self,
        body: Any,
        inputs: Sequence[str],
        outputs: Sequence[str],
        axis: int,
        *,
        backwards: bool = False,
    ) -> None:
        """Run ``body`` over one axis of the last input; the others are states.

        ``backwards`` takes the last entry first, and writes it last.
        """
        each = len(outputs) - len(inputs) + 1
        axes = {"scan_output_axes": [axis] * each} if each else {}
        if backwards:
            axes |= {"scan_input_directions": [1]}
            axes |= {"scan_output_directions": [1] * each} if each else {}
        self.ops(
            "Scan",
            inputs,
            outputs,
            body=body,
            num_scan_inputs=1,
            scan_input_axes=[axis],
            **axes,
        )

    def finish(
        self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], doc: str = ""
    ) -> Any:
        """The GraphProto."""
        return helper.make_graph(
            self.nodes, name, inputs, outputs, self.initializers, doc_string=doc
        )


def default(graph: Graph, name: str, array: ArrayLike, dtype: type, doc: str) -> Any:
    """A graph input that may be left out: ``array``, (1, n), is then its value.

    Returns the input's type.  Its first dimension is 1 or the batch.
    """
    data: NDArray[Any] = np.asarray(array, dtype)
    graph.initializers.append(numpy_helper.from_array(data, name))
    return value(name, dtype, ["N_or_1", *data.shape[1:]], doc)


def model(graph: Any, metadata: Mapping[str, object], doc: str) -> Any:
    """The checked ModelProto, with pinned versions."""
    proto = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="pyvgrad",
        producer_version=pyvgrad.__version__,
        doc_string=doc,
    )
    helper.set_model_props(proto, {k: str(v) for k, v in metadata.items()})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def write(path: str | Path, proto: Any) -> None:
    """Write an ONNX file whole or not at all.  VgradError as ``files.replacing``."""
    write_bytes(path, proto.SerializeToString())
