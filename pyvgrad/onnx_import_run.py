"""The file of an imported model, run as it is: x and y in pyvgrad's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from pyvgrad.errors import VgradError
from pyvgrad.model import State, initial_state
from pyvgrad.onnx_build import IR_VERSION, helper
from pyvgrad.onnx_import import Imported, Resolved
from pyvgrad.onnx_import_symbols import Floats, Ints
from pyvgrad.onnx_run import session

_Runner = Callable[[dict[str, Any]], Any]


class FloatFile:
    """The file, ready to run: in onnxruntime, else in the onnx package's reference.

    ``by`` says in which.  VgradError where neither takes it.
    """

    def __init__(self, model: Imported) -> None:
        self.model, self.by = model, "onnxruntime"
        self._resolved: dict[tuple[int, int], Resolved] = {}
        proto = type(model.proto)()
        proto.CopyFrom(model.proto)
        proto.ir_version = min(proto.ir_version, IR_VERSION)
        _time_first(proto.graph)
        self._proto = proto
        self._run: _Runner
        try:
            ready = session(proto)
            self._run = lambda feeds: ready.run([model.output], feeds)[0]
        except Exception as error:  # onnxruntime's own have no common base
            self._fall_back(error)

    def _fall_back(self, error: Exception) -> None:
        self.by = "the reference of the onnx package"
        try:
            ready: Any = ReferenceEvaluator(self._proto)
        except Exception:
            raise _no_runner(error) from None
        self._run = lambda feeds: ready.run([self.model.output], feeds)[0]

    def run(
        self, x: Floats, lengths: Ints, states: Mapping[str, Floats] | None = None
    ) -> Floats:
        """Y of sequences x (N, T, n_in): (N, T, n_out), (N, 1, n_out) but in sequence.

        N and T are those that the file takes.  ``states`` are values of the inputs that
        are states, as ``random_states`` makes them; without them they are zeros.
        """
        r = self._sized(*x.shape[:2])
        given = states or {}
        out = self._call({k: _fed(r, k, x, lengths, given) for k in r.shapes})
        y = np.asarray(out, np.float64).ravel()[r.found.order]
        return np.exp(y) if r.found.log else y

    def random_states(
        self, batch: int, steps: int, rng: np.random.Generator
    ) -> tuple[dict[str, Floats], State]:
        """Values in +-1 for the inputs that are states, and the model's state of them.

        The values by the input's name, the state as ``forward`` takes it.
        """
        r = self._sized(batch, steps)
        inputs = r.interpreter.inputs
        others = [k for k in inputs if inputs[k] not in (r.found.x, r.found.lengths)]
        drawn = {k: rng.uniform(-1.0, 1.0, r.shapes[k]) for k in others}
        every = np.zeros(max(int(v.ids().max()) for v in inputs.values()) + 1)
        for name, values in drawn.items():
            every[inputs[name].ids().ravel()] = values.ravel()
        state = initial_state(self.model.shape, self.model.params, (batch,))
        for layer, fed in zip(state, r.found.fed, strict=True):
            for letter, s in fed.items():
                layer[letter] = every[s.ids] * s.scale + s.offset
        return drawn, state

    def _sized(self, batch: int, steps: int) -> Resolved:
        if (batch, steps) not in self._resolved:
            self._resolved[batch, steps] = self.model.resolve(batch, steps)
        return self._resolved[batch, steps]

    def _call(self, feeds: dict[str, Any]) -> Any:
        try:
            return self._run(feeds)
        except Exception as error:
            if self.by != "onnxruntime":
                raise _no_runner(error) from None
            self._fall_back(error)
            return self._call(feeds)


def _no_runner(error: Exception) -> VgradError:
    said = " ".join(str(error).split())[:160]
    return VgradError(f"nothing here can run the file to compare it: {said}")


def _time_first(graph: Any) -> None:
    """Give nodes of layout 1, which onnxruntime has not, layout 0 and transposes."""
    nodes = list(graph.node)
    if not any(map(_batchwise, nodes)):
        return
    every: list[Any] = []
    for node in nodes:
        before, after = [], []
        for attribute in _batchwise(node):
            attribute.i = 0
            for k in (0, 5, 6):  # X, initial_h, initial_c
                if len(node.input) > k and node.input[k]:
                    name = f"{node.input[k]}/time_first_{len(every)}"
                    before.append(_transpose(node.input[k], name, [1, 0, 2]))
                    node.input[k] = name
            for k, perm in enumerate(([2, 0, 1, 3], [1, 0, 2], [1, 0, 2])):
                if len(node.output) > k and node.output[k]:
                    name = f"{node.output[k]}/time_first"
                    after.append(_transpose(name, node.output[k], perm))
                    node.output[k] = name
        every += [*before, node, *after]
    copies = []
    for node in every:
        copies.append(type(node)())
        copies[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)


def _batchwise(node: Any) -> list[Any]:
    """The attribute of layout 1, none where it is 0."""
    return [a for a in node.attribute if a.name == "layout" and a.i == 1]


def _transpose(x: str, y: str, perm: list[int]) -> Any:
    return helper.make_node("Transpose", [x], [y], name=y, perm=perm)


def _fed(
    r: Resolved, name: str, x: Floats, lengths: Ints, states: Mapping[str, Floats]
) -> NDArray[Any]:
    """An input of the file: x in its order, the lengths, or a state."""
    source = r.interpreter.inputs[name]
    value = r.interpreter.values[name]
    dtype, shape = value.dtype, r.shapes[name]
    if source is r.found.x:
        order = ["NTF".index(role) for role in source.roles]
        return x.transpose(order).reshape(shape).astype(dtype)
    if source is r.found.lengths:
        return lengths.reshape(shape).astype(dtype)
    return states.get(name, np.zeros(shape)).astype(dtype)
