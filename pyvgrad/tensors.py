"""The tensors of a model by name: ``layer1.i.x``, ``layer1.g.b``, ``readout.h``.

A part is ``x`` (weights from x), ``h`` (from r or h, and a gate's own column) or ``b``
(biases); a shorter name means all that it begins: ``layer1.i`` the whole input gate,
``layer1`` the layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pyvgrad.cells import Array, Shape
from pyvgrad.model import Params

_IN_LAYER = {"x": "W", "h": "UP", "b": "b"}
_IN_READOUT = {"x": "V", "h": "W", "b": "b"}


class Tensor(NamedTuple):
    """One tensor as ``vg_train_rate`` counts it; ``name`` is the whole one."""

    name: str
    layer: int  # n_layers: the readout
    gate: int  # in the blob's order
    part: str


def tensors(shape: Shape) -> list[Tensor]:
    """All tensors that the shape has, in the blob's order."""
    found = []
    for k, layer in enumerate(shape.layers):
        for j, gate in enumerate(layer.gates):
            parts = layer.parts(gate)
            own = {"U", "P"} & parts.keys()
            there = {"x": "W" in parts, "h": own, "b": layer.has_bias(gate)}
            name = f"layer{k + 1}.{gate}"
            found += [Tensor(f"{name}.{p}", k, j, p) for p in there if there[p]]
    r = shape.readout
    if r is not None:
        there = {"x": r.shortcuts, "h": True, "b": r.biases}
        n = len(shape.layers)
        found += [Tensor(f"readout.{p}", n, 0, p) for p in there if there[p]]
    return found


def named(shape: Shape, name: str) -> list[Tensor]:
    """The tensors that a name means.  ValueError if there is none."""
    every = tensors(shape)
    found = [t for t in every if t.name == name or t.name.startswith(f"{name}.")]
    if not found:
        raise ValueError(
            f"the model has no tensor {name!r}; it has {_list(t.name for t in every)}"
        )
    return found


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def arrays_of(shape: Shape, params: Params, tensor: Tensor) -> list[Array]:
    """A tensor's arrays in the parameters of a float model."""
    if tensor.layer == len(shape.layers):
        return [params["readout"][_IN_READOUT[tensor.part]]]
    gate = shape.layers[tensor.layer].gates[tensor.gate]
    of_layer = params["layers"][tensor.layer]
    names = _IN_LAYER[tensor.part]
    return [of_layer[k][gate] for k in names if gate in of_layer.get(k, {})]
