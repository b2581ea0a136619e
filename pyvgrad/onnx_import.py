"""A recurrent network in an ONNX file as a float model of pyvgrad.

The graph is run on the names of elements (onnx_import_symbols.py), twice, with inputs
of different sizes: what depends on the sizes is no model.  What comes out is claimed
to be the same function as the file; ``onnx_import_proof.py`` checks that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad.cells import Shape
from pyvgrad.errors import VgradError
from pyvgrad.onnx_import_file import label, read_file
from pyvgrad.onnx_import_head import Found, find
from pyvgrad.onnx_import_nodes import Interpreter, three_axes
from pyvgrad.onnx_import_symbols import Input, Symbols, UnclearError
from pyvgrad.params import Params

_FIRST = 3  # of every dynamic dimension, before it is known what it means
_SECOND = (2, 5)  # sequences and steps when it is

Dims = list[int | str]  # of an input; a str, or "", where it is dynamic


@dataclass(frozen=True)
class Resolved:
    """The model that one output is for inputs of stated sizes."""

    found: Found
    interpreter: Interpreter
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Imported:
    """A float model, and how its file is fed.

    ``output`` is the name of the output that y is; ``fixed`` the sequences and steps
    that the file is fixed to, None where it takes any; ``layout`` the order of x in
    the file, such as ``NTF``; ``notes`` what a user should know.
    """

    shape: Shape
    params: Params
    output: str
    layout: str
    fixed: tuple[int | None, int | None]
    has_lengths: bool
    notes: tuple[str, ...]
    proto: Any
    resolve: Callable[[int, int], Resolved]


def import_onnx(path: str | Path, output: str | None = None) -> Imported:
    """Read a file.  ``output`` is the graph's output that y shall be, else the first.

    VgradError, one sentence with the node, the operator and the reason, for a file
    that is no such network.
    """
    return from_proto(read_file(path), path, output)


def from_proto(proto: Any, path: str | Path, output: str | None = None) -> Imported:
    """As ``import_onnx`` of a ModelProto that ``read_file`` or ``checked`` gave."""
    names = [o.name for o in proto.graph.output]
    if not names:
        raise VgradError(f"{path}: its graph has no output; export the model again")
    if output is not None and output not in names:
        raise VgradError(f"{path}: no output {output!r}; it has {', '.join(names)}")
    name = output or names[0]
    dims = _dims(proto, path)
    first = _resolve(proto, path, name, {k: _sized(d) for k, d in dims.items()})
    x = first.found.x
    fixed = (_fixed(dims[x.name], x, "N"), _fixed(dims[x.name], x, "T"))
    if _fixed(dims[x.name], x, "F") is None:
        raise VgradError(
            f"{path}: input {x.name!r} has a dynamic number of features; export it "
            "with dynamic sequences and steps only"
        )
    roles = _Roles(dims, x.name, x.roles)

    def resolve(batch: int, steps: int) -> Resolved:
        shapes = {k: roles.shape(k, batch, steps) for k in dims}
        return _resolve(proto, path, name, shapes)

    again = resolve(*(have or free for have, free in zip(fixed, _SECOND, strict=True)))
    if not _same(first.found, again.found):
        raise VgradError(
            f"{path}: the model changes with the number of sequences or steps; export "
            "it for inference, with dynamic sequences and steps"
        )
    found = again.found
    notes = [*again.interpreter.notes, *_notes(names, name, found, fixed)]
    return Imported(
        found.shape, found.params, name, found.x.roles, fixed,
        found.lengths is not None, tuple(notes), proto, resolve,
    )  # fmt: skip


def _resolve(
    proto: Any, path: object, name: str, shapes: dict[str, tuple[int, ...]]
) -> Resolved:
    run = Interpreter(proto, path, shapes)
    value = run.need(name)
    try:
        if not isinstance(value, Symbols):
            raise UnclearError("it does not depend on the input")
        return Resolved(find(run.sources, value), run, shapes)
    except UnclearError as error:
        makers = [label(node) for node in proto.graph.node if name in node.output]
        made = f", from {makers[0]}" if makers else ""
        raise VgradError(f"{path}: output {name!r}{made}: {error}") from None


def _notes(
    names: list[str], name: str, found: Found, fixed: tuple[int | None, int | None]
) -> list[str]:
    """What is worth saying of a file that is taken."""
    others = ", ".join(repr(k) for k in names if k != name)
    notes = []
    if others:
        notes.append(f"y is output {name!r}; left out: {others} (see --output)")
    if found.log:
        notes.append(f"{name!r} is the logarithm of y: y are the probabilities")
    if found.lengths is not None:
        notes.append(f"input {found.lengths.name!r} is the lengths of the sequences")
    return notes + [
        f"the file is fixed to {have} {what}, the blob takes any number"
        for have, what in zip(fixed, ("sequences", "steps"), strict=True)
        if have is not None and have > 1
    ]


def _same(a: Found, b: Found) -> bool:
    """Whether two models have the same shape and the same numbers."""
    if a.shape != b.shape or a.x.roles != b.x.roles:
        return False
    return _equal(a.params, b.params)


def _equal(a: Any, b: Any) -> bool:
    """Whether two trees of arrays have the same leaves."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return np.array_equal(a, b)


# ---- sizes of the inputs --------------------------------------------------


def _dims(proto: Any, path: object) -> dict[str, Dims]:
    """The dimensions of every input that has no default.  VgradError if unknown."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    found: dict[str, Dims] = {}
    for info in proto.graph.input:
        if info.name in constants:
            continue
        if not info.type.tensor_type.HasField("shape"):
            raise VgradError(
                f"{path}: input {info.name!r} has no shape; export it with dynamic "
                "sequences and steps only"
            )
        found[info.name] = dims = [
            d.dim_value if d.dim_value > 0 else d.dim_param
            for d in info.type.tensor_type.shape.dim
        ]
        if sum(isinstance(d, str) for d in dims) > 2:
            raise VgradError(
                f"{path}: all dimensions of input {info.name!r} are dynamic; export it "
                "with a fixed number of features"
            )
        if len(three_axes(_sized(dims))) > 3:
            raise VgradError(
                f"{path}: input {info.name!r} has {len(dims)} dimensions; x is "
                "sequences, steps, features"
            )
    return found


def _sized(dims: Dims) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else _FIRST for d in dims)


def _axes(dims: Dims) -> list[int]:
    """The dimensions that the three axes of an input are, as ``three_axes`` has it."""
    axes = list(range(len(dims)))
    for k, size in enumerate(_sized(dims)):
        if len(axes) > 3 and size == 1:
            axes.remove(k)
    return axes


def _fixed(dims: Dims, x: Input, role: str) -> int | None:
    """The size of the axis with a role, None where it is dynamic."""
    axes, axis = _axes(dims), x.role(role)
    size = dims[axes[axis]] if axis < len(axes) else 1
    return size if isinstance(size, int) else None


@dataclass(frozen=True)
class _Roles:
    """What the dynamic dimensions of all inputs mean, by those of x."""

    dims: dict[str, Dims]
    x: str
    roles: str

    def shape(self, name: str, batch: int, steps: int) -> tuple[int, ...]:
        """The shape of an input for so many sequences and steps."""
        dims = self.dims[name]
        if name == self.x:
            by_axis = dict(zip(_axes(dims), self.roles, strict=False))
            sizes = {"N": batch, "T": steps}
            return tuple(
                d if isinstance(d, int) else sizes[by_axis[k]]
                for k, d in enumerate(dims)
            )
        of_steps = {
            d
            for d, role in zip(self.dims[self.x], self.roles, strict=False)
            if role == "T" and isinstance(d, str) and d
        }
        return tuple(
            d if isinstance(d, int) else steps if d in of_steps else batch for d in dims
        )
