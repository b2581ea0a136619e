"""LSTM, GRU and RNN nodes of ONNX: each direction of one is a run of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import CELLS
from pyvgrad.onnx_build import helper
from pyvgrad.onnx_import_read import Reading, read
from pyvgrad.onnx_import_symbols import (
    End,
    Floats,
    Hidden,
    Input,
    Ints,
    Sources,
    Symbols,
    UnclearError,
)
from pyvgrad.onnx_import_weights import Call, weights

# Which of its directions run backwards.
_DIRECTIONS = {b"forward": [False], b"reverse": [True], b"bidirectional": [False, True]}
MOST = 65535  # cells and inputs of a layer
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_ATTRIBUTES = {
    "activations", "activation_alpha", "activation_beta", "clip", "direction",
    "hidden_size", "input_forget", "layout", "linear_before_reset",
}  # fmt: skip


@dataclass(eq=False)
class Run:
    """One direction of a recurrent node, on what it reads.

    ``W`` {gate: (n, columns read)}, ``U`` {gate: (n, n)}, ``P`` {gate: (n,)},
    ``b`` {gate: (n,)}; ``reading`` maps its sources to the columns.  ``start`` has h0
    and c0 where they are not zero, ``fed`` the elements of h and c, (N, n), that are
    inputs of the graph.  ``own_end`` is the step after which it is done, in
    the time of the input; ``lengths`` the graph's input of the sequences' lengths.
    """

    cell: str
    n: int
    where: str
    reverse: bool
    own_end: int
    reading: Reading
    W: Mapping[str, Floats]
    U: Mapping[str, Floats]
    P: Mapping[str, Floats]
    b: Mapping[str, Floats]
    start: Mapping[str, Floats]
    fed: Mapping[str, Symbols]
    lengths: Input | None


def recur(
    sources: Sources,
    node: Any,
    values: list[Any],
    where: str,
    notes: list[str],
) -> list[Symbols]:
    """The outputs of a recurrent node: Y, Y_h and, for an LSTM, Y_c.

    ``values`` are those of its inputs, None where one is left out.  UnclearError with
    the reason for what pyvgrad has no cell for.
    """
    attributes = _attributes(node)
    batchwise = bool(attributes.get("layout", 0))
    named = dict(zip(_INPUTS, values, strict=False))
    if batchwise:
        for name in ("X", "initial_h", "initial_c"):
            if named.get(name) is not None:
                named[name] = _swapped(named[name])
    call = Call(node.op_type, where, named, attributes)
    if not isinstance(call.x, Symbols):
        raise UnclearError("it reads a constant, not the input")
    if call.x.dtype != "float32":
        raise UnclearError(f"it reads {call.x.dtype}; export the model in float32")
    if len(call.x.shape) != 3:
        raise UnclearError(f"it reads {len(call.x.shape)} axes, not three")
    forms = _DIRECTIONS[attributes.get("direction", b"forward")]
    each = [
        _direction(sources, call, d, len(forms), reverse, notes)
        for d, reverse in enumerate(forms)
    ]
    y, ends, cells = (
        np.stack([one[k] for one in each], axis=1 if k == 0 else 0) for k in range(3)
    )
    if batchwise:  # (T, D, N, n) as (N, T, D, n); (D, N, n) as (N, D, n)
        y, ends, cells = (
            y.transpose(2, 0, 1, 3), ends.swapaxes(0, 1), cells.swapaxes(0, 1),
        )  # fmt: skip
    return [Symbols.of(ids) for ids in (y, ends, cells)]


def _attributes(node: Any) -> dict[str, Any]:
    """What a node says of itself.  UnclearError for what no node can say."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    unknown = set(attributes) - _ATTRIBUTES
    if unknown:
        raise UnclearError(f"it has an unknown attribute {sorted(unknown)[0]!r}")
    for name in ("layout", "linear_before_reset", "input_forget"):
        if attributes.get(name, 0) not in (0, 1):
            raise UnclearError(f"its {name} is {attributes[name]}, not 0 or 1")
    direction = attributes.get("direction", b"forward")
    if direction not in _DIRECTIONS:
        said = direction.decode(errors="replace")
        raise UnclearError(f"it has no direction {said!r}")
    return attributes


def _swapped(value: Any) -> Any:
    """The first two axes of a tensor exchanged."""
    if isinstance(value, Symbols):
        return value.moved(lambda v: v.swapaxes(0, 1))
    return np.swapaxes(value, 0, 1)


def _direction(
    sources: Sources,
    call: Call,
    index: int,
    directions: int,
    reverse: bool,
    notes: list[str],
) -> tuple[Ints, Ints, Ints]:
    """Ids of y (T, N, n), of h at the end and of c at the end (N, n)."""
    steps, batch, columns = call.x.shape
    if columns > MOST:
        raise UnclearError(f"it reads {columns} values, a layer {MOST} at most")
    t, n = (v.ravel() for v in np.mgrid[:steps, :batch])
    reading = read(sources, call.x.reshape(steps * batch, columns), (t, n))
    flipped = _is_flipped(reading, t, n)
    cell, gates = weights(call, index, directions)
    size = len(gates["U"][CELLS[cell].gates[-1]])
    backwards = reverse != flipped
    lengths = _lengths(sources, call, steps, batch)
    if lengths is not None and flipped:
        raise UnclearError("it reads a reversed sequence and has lengths, too")
    start, fed = _states(sources, call, index, directions, size, notes)
    run = Run(
        cell=cell, n=size, where=call.where, reverse=backwards,
        own_end=0 if backwards else steps - 1, reading=reading,
        start=start, fed=fed, lengths=lengths, **gates,
    )  # fmt: skip
    h = sources.add(Hidden((steps, batch, size), run)).ids()
    c = sources.add(End((batch, size), run, cell=True)).ids()
    # With lengths h at the end is not a step of y, whose last steps are padding.
    end = h[run.own_end]
    if lengths is not None:
        end = sources.add(End((batch, size), run)).ids()
    return (h[::-1] if flipped else h), end, c


def _is_flipped(reading: Reading, t: Ints, n: Ints) -> bool:
    """Whether the node reads its sources from the last step to the first."""
    if not reading.parts:
        raise UnclearError("it reads constants, not the input")
    flips = set()
    for part in reading.parts:
        if not isinstance(part.source, Input | Hidden):
            raise UnclearError("it reads a last state at every step")
        if (part.sequences != n).any():
            raise UnclearError("it mixes the sequences of a batch")
        if (part.steps == t).all():
            flips.add(False)
        elif (part.steps == t.max() - t).all():
            flips.add(True)
        else:
            raise UnclearError("it reads steps in another order than they come in")
    if len(flips) > 1:
        raise UnclearError("it reads one signal forwards and another backwards")
    return flips.pop()


# ---- lengths and initial states ------------------------------------------


def _lengths(sources: Sources, call: Call, steps: int, batch: int) -> Input | None:
    """The graph's input of lengths, None where every sequence has all steps."""
    value = call.values.get("sequence_lens")
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        if (value == steps).all():
            return None
        raise UnclearError(
            f"its sequence_lens are the constant {value.tolist()} for {steps} steps; "
            "make them an input of the graph, or cut the sequences"
        )
    kinds = sources.kinds(value)
    source = kinds[0] if len(kinds) == 1 else None
    if not isinstance(source, Input) or value.shape != (batch,):
        raise UnclearError("its sequence_lens are computed, not an input of the graph")
    if not np.array_equal(value.ids, source.ids().ravel()[:batch]):
        raise UnclearError("its sequence_lens are in another order than its sequences")
    return source


def _states(
    sources: Sources,
    call: Call,
    index: int,
    directions: int,
    size: int,
    notes: list[str],
) -> tuple[dict[str, Floats], dict[str, Symbols]]:
    """h0 and c0 of one direction, (n,), that are not zero; h and c that are inputs."""
    start, fed = {}, {}
    batch = call.x.shape[1]
    for letter in "hc" if call.kind == "LSTM" else "h":
        name = f"initial_{letter}"
        value = call.values.get(name)
        if value is None:
            continue
        if value.shape != (directions, batch, size):
            raise UnclearError(f"its {name} has shape {value.shape}")
        if isinstance(value, Symbols) and sources.kinds(value):
            _note_state(sources, value, name, notes)
            fed[letter] = value.rows(np.array(index))
            continue
        given: NDArray[Any] = np.asarray(
            value.offset if isinstance(value, Symbols) else value, np.float64
        )
        if (given != given[:, :1]).any():
            raise UnclearError(f"its {name} differs from sequence to sequence")
        if not np.isfinite(given).all():
            raise UnclearError(f"its {name} holds NaN or infinity; train it again")
        if given[index].any():
            start[f"{letter}0"] = given[index, 0]
    return start, fed


def _note_state(sources: Sources, value: Symbols, name: str, notes: list[str]) -> None:
    """Say that an input of the graph is a state.  UnclearError if it is none."""
    kinds = sources.kinds(value)
    if not all(isinstance(kind, Input) for kind in kinds):
        raise UnclearError(
            f"its {name} is another layer's state; pyvgrad has no such models, "
            "an encoder and a decoder are two"
        )
    names = ", ".join(repr(kind.name) for kind in kinds if isinstance(kind, Input))
    note = f"input {names} is a state: the blob keeps it itself, from zeros"
    if note not in notes:
        notes.append(note)
