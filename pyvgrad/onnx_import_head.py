"""From an output of the graph back to what it is: mode, readout, layers in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyvgrad.cells import Shape
from pyvgrad.onnx_import_cells import Run
from pyvgrad.onnx_import_layers import (
    make_layers,
    make_readout,
    model_input,
    stacked,
    top_layer,
)
from pyvgrad.onnx_import_read import Part, Reading, read
from pyvgrad.onnx_import_symbols import (
    Act,
    Dense,
    End,
    Input,
    Ints,
    Sources,
    Symbols,
    UnclearError,
)


@dataclass(eq=False)
class Found:
    """A model that an output of the graph is.

    ``x`` is the input it reads, ``lengths`` that of the sequences' lengths or None.
    ``fed`` are the states of each layer that are inputs of the graph, by letter.
    ``order`` (N, steps, n_out) says where in the flat output y is, one step in the
    modes last and final; ``log`` whether the output is the logarithm of y.
    """

    shape: Shape
    params: dict[str, Any]
    x: Input
    lengths: Input | None
    fed: list[Mapping[str, Symbols]]
    order: Ints
    log: bool


@dataclass(eq=False)
class _Rows:
    """Y as linear maps of what the last layer gives: matrix of each part, offset.

    ``parts`` have one row for each sequence and step, in this order.
    """

    reading: Reading
    order: Ints
    mode: str


def find(sources: Sources, output: Symbols) -> Found:
    """The model that a tensor is.  UnclearError with the reason if it is none."""
    kind, inner, group = _before_function(sources, output)
    rows = _rows(sources, inner)
    if kind.endswith("softmax"):
        groups = group[rows.order.reshape(-1, rows.order.shape[-1])]
        whole = (groups == groups[:, :1]).all()
        if not whole or len(np.unique(groups[:, 0])) != len(groups):
            raise UnclearError("its softmax is not over the outputs of one step")
    top = top_layer(rows.reading)
    stack = stacked(top)
    x = model_input(stack[0])
    rows.mode = _mode(rows, top, x.shape[x.role("T")])
    lengths = _same_lengths(stack, rows)
    layers, params = make_layers(stack, x)
    tree: dict[str, Any] = {"layers": params}
    readout = make_readout(rows.reading, top, x, kind, tree)
    shape = Shape(tuple(layers), readout, rows.mode)
    fed = [run.fed for group in stack for run in group]
    return Found(shape, tree, x, lengths, fed, rows.order, kind == "logsoftmax")


def _before_function(sources: Sources, output: Symbols) -> tuple[str, Symbols, Ints]:
    """(function or nothing, flat elements that it was applied to, their groups)."""
    acts = [kind for kind in sources.kinds(output) if isinstance(kind, Act)]
    if not acts:
        return "", output.reshape(-1), np.zeros(output.ids.size, np.int64)
    if len(acts) < len(sources.kinds(output)) or len({a.kind for a in acts}) > 1:
        raise UnclearError("its outputs have not all passed through one function")
    if (output.scale != 1).any() or output.offset.any():
        raise UnclearError(f"{acts[0].where} is scaled after it")
    flat = output.reshape(-1)
    inner, group = flat.moved(np.zeros_like), np.zeros_like(flat.ids)
    for act in acts:
        mine = (flat.ids >= act.start) & (flat.ids < act.start + act.group.size)
        where = flat.ids[mine] - act.start
        one = act.inner.take(where)
        inner.ids[mine], inner.scale[mine] = one.ids, one.scale
        inner.offset[mine], group[mine] = one.offset, act.start + act.group[where]
    return acts[0].kind, inner, group


# ---- rows: one for each sequence and step ---------------------------------


def _rows(sources: Sources, flat: Symbols) -> _Rows:
    """Order elements by sequence, step, unit, and read them as linear maps."""
    if not flat.ids.size or (flat.ids < 0).any():
        raise UnclearError("it is not computed from the input alone")
    place = np.zeros((2, flat.ids.size), np.int64)
    steps_of: dict[tuple[int, ...], set[int]] = {}
    for k in np.unique(sources.blocks_of(flat.ids)):
        chosen, found, origin = _place(sources, flat, k)
        place[:, chosen] = found
        steps_of.setdefault(origin, set()).update(found[1].tolist())
    n, t = place
    batch = len(np.unique(n))
    if not np.array_equal(np.unique(n), np.arange(batch)) or flat.ids.size % batch:
        raise UnclearError("it has not the same outputs for every sequence")
    if all(len(steps) == 1 for steps in steps_of.values()):
        t = np.zeros_like(t)  # where each direction ends: one row a sequence
    seen = len(np.unique(t))
    counts = np.bincount(n * seen + np.unique(t, return_inverse=True)[1].ravel())
    if not (counts == flat.ids.size // (batch * seen)).all():
        raise UnclearError("it has not the same outputs at every step")
    units = flat.ids.size // (batch * seen)
    order = np.lexsort((np.arange(flat.ids.size), t, n)).reshape(batch, seen, units)
    rows = flat.take(order.reshape(-1, units))
    return _Rows(read(sources, rows), order, "")


def _place(
    sources: Sources, flat: Symbols, block: int
) -> tuple[Ints, Ints, tuple[int, ...]]:
    """Which elements come from a block, their (sequence, step), and whose they are.

    The last names the sources behind it.  Of a product that reads both directions at
    their own ends any of the two steps names the row.
    """
    chosen = np.flatnonzero(sources.blocks_of(flat.ids) == block)
    source, ids = sources.blocks[block], flat.ids[chosen]
    if isinstance(source, Dense):
        row = source.places(ids)[0]
        parts = read(sources, source.rows).parts
        if not parts:
            raise UnclearError("it multiplies constants only")
        at = np.stack([parts[0].sequences[row], parts[0].steps[row]])
        return chosen, at, tuple(part.source.start for part in parts)
    if isinstance(source, Input):
        if not source.roles:
            raise UnclearError(f"it is the input {source.name!r}")
        places = source.places(ids)
        at = np.stack([places[source.role("N")], places[source.role("T")]])
    elif isinstance(source, End):
        if source.cell:
            raise UnclearError("it reads the cell state c, which is no output here")
        n = source.places(ids)[0]
        at = np.stack([n, np.full(len(n), source.run.own_end)])
    else:
        t, n, _ = source.places(ids)
        at = np.stack([n, t])
    return chosen, at, (source.start,)


def _mode(rows: _Rows, top: list[Run], steps: int) -> str:
    """``sequence``, ``last`` or ``final``, from the steps that the parts read."""
    parts = rows.reading.parts
    reverse = any(run.reverse for run in top)
    if steps == 1:
        return "final" if reverse else "sequence"
    if rows.order.shape[1] == steps:
        every = all((p.steps == parts[0].steps).all() for p in parts)
        if every and not any(isinstance(p.source, End) for p in parts):
            return "sequence"
    if rows.order.shape[1] != 1:
        raise UnclearError("it takes some steps of a sequence, not all or the last")
    own_end = [_at_own_end(part, steps) for part in parts]
    at_last = [bool((part.steps == steps - 1).all()) for part in parts]
    if all(at_last):
        return "last"
    if reverse and all(own_end):
        return "final"
    at = sorted({int(step) + 1 for part in parts for step in part.steps})
    raise UnclearError(
        f"it takes step {', '.join(map(str, at))} of {steps}; pyvgrad gives every "
        "step, the last, or where each direction ends"
    )


def _at_own_end(part: Part, steps: int) -> bool:
    source = part.source
    end = steps - 1 if isinstance(source, Input) else source.run.own_end  # type: ignore[attr-defined]
    return bool((part.steps == end).all())


def _same_lengths(stack: list[list[Run]], rows: _Rows) -> Input | None:
    """The input of lengths that all layers share, None where there is none."""
    found = {id(run.lengths): run.lengths for group in stack for run in group}
    if len(found) > 1:
        raise UnclearError("some of its layers have sequence_lens and some have not")
    lengths = next(iter(found.values()))
    padded = [p for p in rows.reading.parts if not isinstance(p.source, End)]
    if lengths is not None and rows.mode != "sequence" and padded:
        raise UnclearError(
            "it takes the last step, which is padding where a sequence is shorter; "
            "take Y_h of the layer instead"
        )
    return lengths
