"""Reading rows of elements as linear maps of what layers and the input give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyvgrad.onnx_import_symbols import (
    Act,
    Dense,
    End,
    Floats,
    Input,
    Ints,
    Source,
    Sources,
    Symbols,
    UnclearError,
)


@dataclass(eq=False)
class Part:
    """What rows read of one source: values of one step and sequence a row.

    ``steps`` and ``sequences`` (rows,); ``matrix`` (width of the source, columns).
    """

    source: Source
    steps: Ints
    sequences: Ints
    matrix: Floats


@dataclass(eq=False)
class Reading:
    """Rows as linear maps: row m, column k is sum_parts source @ matrix[:, k] + offset.

    The same maps for every row; ``offset`` (columns,).
    """

    parts: list[Part]
    offset: Floats

    def same_maps(self, other: Reading) -> bool:
        """Whether the sources and maps are those of another, for other rows."""
        return (
            [p.source for p in self.parts] == [p.source for p in other.parts]
            and np.array_equal(self.offset, other.offset)
            and all(
                np.array_equal(p.matrix, q.matrix)
                for p, q in zip(self.parts, other.parts, strict=True)
            )
        )

    def add(self, part: Part) -> None:
        """Add a part, to the one of the same source if there is one."""
        for old in self.parts:
            if old.source is part.source:
                if not np.array_equal(old.steps, part.steps):
                    raise UnclearError("it reads two steps of one layer at once")
                if not np.array_equal(old.sequences, part.sequences):
                    raise UnclearError("it mixes the sequences of a batch")
                old.matrix = old.matrix + part.matrix
                return
        self.parts.append(part)


def read(sources: Sources, s: Symbols, at: tuple[Ints, Ints] | None = None) -> Reading:
    """What rows (M, K) of elements read.  ``at``: steps and sequences of the rows.

    UnclearError, with the reason, where rows differ in more than step and sequence.
    """
    block = sources.blocks_of(s.ids)
    if (block != block[0]).any():
        return _read_by_block(sources, s, at, block)
    scale, offset = s.scale[0], s.offset[0]
    if (s.scale != scale).any() or (s.offset != offset).any():
        raise UnclearError("it scales steps or sequences differently")
    reading = Reading([], offset.copy())
    for k in np.unique(block[0]):
        if k < 0:
            continue
        columns = np.flatnonzero(block[0] == k)
        source, ids = sources.blocks[k], s.ids[:, columns]
        if isinstance(source, Dense):
            _read_dense(sources, source, ids, columns, scale, at, reading)
        else:
            part = _read_plain(source, ids, columns, scale, at)
            reading.add(part)
    return reading


def _read_by_block(
    sources: Sources, s: Symbols, at: tuple[Ints, Ints] | None, block: Ints
) -> Reading:
    """Rows that come from several products, such as one a step: they must be equal."""
    kinds, of_row = np.unique(block, axis=0, return_inverse=True)
    of_row = of_row.ravel()
    whole: Reading | None = None
    for k in range(len(kinds)):
        rows = np.flatnonzero(of_row == k)
        places = None if at is None else (at[0][rows], at[1][rows])
        one = read(sources, s.rows(rows), places)
        if whole is None:
            none = np.zeros(len(s.ids), np.int64)
            parts = [
                Part(p.source, none.copy(), none.copy(), p.matrix) for p in one.parts
            ]
            whole = Reading(parts, one.offset)
        if not whole.same_maps(one):
            raise UnclearError("it is not the same function of every step")
        for part, piece in zip(whole.parts, one.parts, strict=True):
            part.steps[rows], part.sequences[rows] = piece.steps, piece.sequences
    assert whole is not None
    return whole


def _read_plain(
    source: Source,
    ids: Ints,
    columns: Ints,
    scale: Floats,
    at: tuple[Ints, Ints] | None,
) -> Part:
    """Columns that are elements of the input or of a layer."""
    steps, sequences, units = _coordinates(source, ids, at)
    if any((v != v[:, :1]).any() for v in (steps, sequences)):
        raise UnclearError("it reads several steps, or several sequences, at once")
    if (units != units[:1]).any():
        raise UnclearError("it reads other units at other steps")
    matrix = np.zeros((width(source), len(scale)))
    np.add.at(matrix, (units[0], columns), scale[columns])
    return Part(source, steps[:, 0], sequences[:, 0], matrix)


def width(source: Source) -> int:
    """How many values a source has at one step of one sequence."""
    axis = source.role("F") if isinstance(source, Input) else -1
    return source.shape[axis]


def _coordinates(
    source: Source, ids: Ints, at: tuple[Ints, Ints] | None
) -> tuple[Ints, Ints, Ints]:
    """(steps, sequences, units) of ids (M, columns)."""
    if isinstance(source, Act):
        raise UnclearError(f"it reads what {source.where} made")
    places = source.places(ids)
    if isinstance(source, Input):
        if not source.roles:
            if at is None:
                raise UnclearError(f"it reads {source.name!r}, which no layer reads")
            source.place(places, *at)
        t, n, f = (places[source.role(letter)] for letter in "TNF")
        return t, n, f
    if isinstance(source, End):
        if source.cell:
            raise UnclearError("it reads the cell state c, which is no output here")
        return np.full(ids.shape, source.run.own_end), places[0], places[1]
    t, n, f = places
    return t, n, f


def _read_dense(
    sources: Sources,
    dense: Dense,
    ids: Ints,
    columns: Ints,
    scale: Floats,
    at: tuple[Ints, Ints] | None,
    reading: Reading,
) -> None:
    """Columns that are products: read through them, for two linear maps are one."""
    rows, outputs = dense.places(ids)
    if (rows != rows[:, :1]).any() or (outputs != outputs[:1]).any():
        raise UnclearError("it mixes the rows of a product")
    inner = dense.rows
    width_in = inner.shape[1]
    where = rows[:, :1] * width_in + np.arange(width_in)
    through = read(sources, inner.take(where), at)
    W = np.zeros((width_in, len(scale)))
    W[:, columns] = dense.W[:, outputs[0]] * scale[columns]
    reading.offset += through.offset @ W
    for part in through.parts:
        reading.add(Part(part.source, part.steps, part.sequences, part.matrix @ W))
