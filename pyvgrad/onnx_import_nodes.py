"""Running an ONNX graph on the names of elements, one node after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from pyvgrad.errors import VgradError
from pyvgrad.onnx_build import helper, numpy_helper
from pyvgrad.onnx_import_cells import recur
from pyvgrad.onnx_import_file import RECURRENT, label, opset_of, refused
from pyvgrad.onnx_import_ops import compute
from pyvgrad.onnx_import_symbols import Input, Sources, Symbols, UnclearError, Value

# Operators that move elements, and which of their inputs are what is moved.
_MOVES: dict[str, tuple[int, ...] | None] = {
    "Concat": None,  # all of them
    "Where": (1, 2),
} | dict.fromkeys(
    [
        "Transpose",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Slice",
        "Gather",
        "GatherND",
        "Split",
        "GatherElements",
        "Expand",
        "Tile",
        "Identity",
        "ReverseSequence",
    ],
    (0,),
)
# What was an attribute up to opset 12 and is an input since.
_ONCE_ATTRIBUTES = {"Squeeze": "axes", "Unsqueeze": "axes", "Split": "split"}
_RANDOM = ("Random", "Multinomial", "Bernoulli")


@dataclass
class Interpreter:
    """The values of a graph for inputs of stated shapes, computed as they are needed.

    ``shapes`` has the shape of every input that is not a constant.  ``notes`` collects
    what a user should know.
    """

    proto: Any
    path: object
    shapes: Mapping[str, tuple[int, ...]]
    sources: Sources = field(default_factory=Sources)
    notes: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    _done: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._opset = opset_of(self.proto)
        for tensor in self.proto.graph.initializer:
            self.values[tensor.name] = self._constant(tensor)
        for info in self.proto.graph.input:
            if info.name in self.shapes:
                self._add_input(info)

    def _constant(self, tensor: Any) -> NDArray[Any]:
        try:
            array: NDArray[Any] = numpy_helper.to_array(tensor)
        except (ValueError, KeyError, TypeError):
            raise VgradError(
                f"{self.path}: the constant {tensor.name!r} is damaged; export it again"
            ) from None
        return array

    def _add_input(self, info: Any) -> None:
        shape = self.shapes[info.name]
        three = three_axes(shape)
        element = info.type.tensor_type.elem_type
        try:
            dtype = str(helper.tensor_dtype_to_np_dtype(element))
        except KeyError:
            dtype = f"of type {element}"
        source = self.sources.add(Input(three, info.name))
        self.inputs[info.name] = source
        self.values[info.name] = Symbols.of(source.ids().reshape(shape), dtype)

    def need(self, name: str) -> Value:
        """The value of a tensor.  VgradError, with the node, where it has none."""
        nodes = self.proto.graph.node
        wanted = {name}
        order = []
        for k in range(len(nodes) - 1, -1, -1):  # the file has them in order
            if wanted & set(nodes[k].output):
                order.append(k)
                wanted |= set(filter(None, nodes[k].input))
        for k in reversed(order):
            if k not in self._done:
                self._done.add(k)
                self._run(nodes[k])
        if name not in self.values:
            raise VgradError(
                f"{self.path}: output {name!r} is none that pyvgrad computes"
            )
        return self.values[name]

    def _run(self, node: Any) -> None:
        try:
            inputs = [self._value(name) if name else None for name in node.input]
            outputs = self._outputs(node, inputs)
        except UnclearError as error:
            raise refused(self.path, node, str(error)) from None
        for name, value in zip(node.output, outputs, strict=False):
            if name:
                self.values[name] = value

    def _value(self, name: str) -> Value:
        if name not in self.values:
            raise UnclearError(f"it reads {name!r}, which pyvgrad does not compute")
        return self.values[name]

    def _outputs(self, node: Any, inputs: list[Value | None]) -> list[Any]:
        kind = node.op_type
        if kind in RECURRENT:
            return list(recur(self.sources, node, inputs, label(node), self.notes))
        if not any(isinstance(v, Symbols) for v in inputs):
            return self._fold(node, inputs)
        if kind in ("Shape", "Size"):
            shaped = [np.zeros(v.shape, np.int8) for v in inputs if v is not None]
            return self._reference(node, shaped)
        if kind in _MOVES:
            return self._move(node, inputs)
        return [compute(self.sources, node, inputs, self._opset)]

    def _fold(self, node: Any, inputs: list[Value | None]) -> list[Any]:
        """A node that reads constants only."""
        if node.op_type.startswith(_RANDOM):
            raise UnclearError("it is random; export the model for inference")
        if node.op_type == "DequantizeLinear":
            note = "int8 weights are taken as the floats they stand for"
            if note not in self.notes:
                self.notes.append(note)
        return self._reference(node, inputs)

    def _reference(self, node: Any, inputs: Iterable[Any]) -> list[Any]:
        """What the reference of the onnx package makes of constants."""
        feeds = {
            name: value
            for name, value in zip(node.input, inputs, strict=True)
            if name and value is not None
        }
        wanted = [name for name in node.output if name]
        opset = self._opset
        if node.op_type in _ONCE_ATTRIBUTES and opset < 13:
            node, opset = _modern(node, feeds), 13
        try:
            run = ReferenceEvaluator(node, opsets={"": opset})
            found = run.run(wanted, feeds)
        except Exception as error:  # whatever NumPy and onnx raise
            said = " ".join(str(error).split())[:120]
            raise UnclearError(f"it cannot be computed on these shapes: {said}") from (
                None
            )
        by_name = dict(zip(wanted, found, strict=True))
        return [by_name.get(name) for name in node.output]

    def _move(self, node: Any, inputs: list[Value | None]) -> list[Any]:
        """Move the elements' places, and take the elements from there."""
        data = _MOVES[node.op_type] or range(len(inputs))
        moved: list[Value | None] = list(inputs)
        pieces: list[Symbols] = []
        start = 0
        for k, value in enumerate(inputs):
            if k in data and value is not None:
                one = value if isinstance(value, Symbols) else Symbols.constant(value)
                size = one.ids.size
                moved[k] = np.arange(start, start + size).reshape(one.shape)
                pieces.append(one)
                start += size
            elif isinstance(value, Symbols):
                raise UnclearError("its shape or indices depend on the input's values")
        dtype = next((p.dtype for p in pieces if (p.ids >= 0).any()), "float32")
        every = Symbols(
            np.concatenate([p.ids.ravel() for p in pieces]),
            np.concatenate([p.scale.ravel() for p in pieces]),
            np.concatenate([p.offset.ravel() for p in pieces]),
            dtype,
        )
        return [
            None if where is None else every.take(np.asarray(where))
            for where in self._reference(node, moved)
        ]


def _modern(node: Any, feeds: dict[str, Any]) -> Any:
    """A node of opset 12 or before as of 13, its attribute an input added to feeds.

    The reference of the onnx package cannot run the older forms.
    """
    name = _ONCE_ATTRIBUTES[node.op_type]
    new = type(node)()
    new.CopyFrom(node)
    del new.attribute[:]
    for attribute in node.attribute:
        if attribute.name == name:
            extra = f"{node.output[0]}/{name}"
            feeds[extra] = np.array(attribute.ints, np.int64)
            new.input.append(extra)
        else:
            new.attribute.append(attribute)
    return new


def three_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with axes of size 1 added at the end, or left out, to have three."""
    axes = list(shape) + [1] * (3 - len(shape))
    while len(axes) > 3 and 1 in axes:
        axes.remove(1)
    return tuple(axes)
