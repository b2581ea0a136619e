"""The tensors of a model by name: ``layer1.i.x``, ``layer1.g.b``, ``readout.h``.

A part is ``x`` (weights from x), ``h`` (from r or h) or ``b`` (biases); a shorter name
means all that it begins: ``layer1.i`` the whole input gate, ``layer1`` the layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pyvgrad.cells import Array, Shape
from pyvgrad.model import Params

_IN_LAYER = {"x": "W", "h": "U", "b": "b"}
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
            there = {"x": True, "h": layer.n_recurrent, "b": layer.has_bias(gate)}
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


def array_of(shape: Shape, params: Params, tensor: Tensor) -> Array:
    """A tensor's array in the parameters of a float model."""
    if tensor.layer == len(shape.layers):
        return params["readout"][_IN_READOUT[tensor.part]]
    gate = shape.layers[tensor.layer].gates[tensor.gate]
    return params["layers"][tensor.layer][_IN_LAYER[tensor.part]][gate]
