"""What the tensors of an ONNX graph *are*, element by element.

Exporters wrap a recurrent node into many arrangements of shape operators.  Instead of
knowing those, the importer runs the graph on numbers that name elements: every element
of the input, of a layer's outputs, of a product has an *id*, and Transpose, Reshape,
Gather, Concat and their like are simply computed, on ids.  Whatever they did, at a
consumer the ids say which element arrives where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NOTHING = -1  # the id of an element that is a constant


class UnclearError(Exception):
    """A tensor that is not what its consumer must be able to read: the reason."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """A tensor whose elements are scale * (the element that the id names) + offset.

    All three have the tensor's shape.  ``dtype`` is the element type in the file.
    """

    ids: Ints
    scale: Floats
    offset: Floats
    dtype: str = "float32"

    @staticmethod
    def of(ids: Ints, dtype: str = "float32") -> Symbols:
        """The elements themselves."""
        return Symbols(ids, np.ones(ids.shape), np.zeros(ids.shape), dtype)

    @staticmethod
    def constant(array: NDArray[Any]) -> Symbols:
        """A constant as a tensor of elements that name nothing."""
        shape = np.shape(array)
        offset = np.asarray(array, np.float64)
        return Symbols(np.full(shape, NOTHING), np.zeros(shape), offset)

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.ids.shape

    def moved(self, move: Callable[[NDArray[Any]], NDArray[Any]]) -> Symbols:
        """The elements at other places: ``move`` of ids, scale and offset alike."""
        return Symbols(move(self.ids), move(self.scale), move(self.offset), self.dtype)

    def take(self, where: Ints) -> Symbols:
        """Those elements of the flattened tensor, in the shape of ``where``."""
        return self.moved(lambda v: v.ravel()[where])

    def reshape(self, *shape: int) -> Symbols:
        """The same elements in another shape."""
        return self.moved(lambda v: v.reshape(shape))

    def scaled(self, scale: Floats | float, offset: Floats | float) -> Symbols:
        """Scale * self + offset, broadcast."""
        shape = np.broadcast_shapes(self.shape, np.shape(scale), np.shape(offset))
        ids = np.broadcast_to(self.ids, shape)
        return Symbols(
            ids,
            np.broadcast_to(self.scale * scale, shape),
            np.broadcast_to(self.offset * scale + offset, shape),
            self.dtype,
        )


Value = NDArray[Any] | Symbols  # of a tensor: a constant, or elements


@dataclass(eq=False)
class Source:
    """A block of ids, of a known shape."""

    shape: tuple[int, ...]
    start: int = field(default=0, init=False)

    def ids(self) -> Ints:
        """All its ids."""
        count = int(np.prod(self.shape))
        return np.arange(self.start, self.start + count).reshape(self.shape)

    def places(self, ids: Ints) -> tuple[Ints, ...]:
        """Coordinates of ids of this block, one array an axis."""
        return np.unravel_index(ids - self.start, self.shape)


@dataclass(eq=False)
class Input(Source):
    """An input of the graph as three axes, of size 1 where it has fewer.

    ``roles`` names the axes once they are known: N sequences, T steps, F features.
    """

    name: str
    roles: str = ""

    def role(self, letter: str) -> int:
        """The axis of a role."""
        return self.roles.index(letter)

    def place(self, at: Sequence[Ints], steps: Ints, sequences: Ints) -> None:
        """Find the roles: ``at`` are coordinates (rows, columns) that a consumer reads.

        Its rows are at ``steps`` and ``sequences``, (rows,); steps may run backwards.
        """
        backwards = steps.max(initial=0) - steps
        for roles in ("NTF", "TNF", *map("".join, permutations("NTF"))):
            t, n, f = (at[roles.index(letter)] for letter in "TNF")
            in_time = (t == steps[:, None]).all() or (t == backwards[:, None]).all()
            if in_time and (n == sequences[:, None]).all() and (f == f[:1]).all():
                self.roles = roles
                return
        raise UnclearError(
            f"it reads {self.name!r} in an order that is not sequences, steps, features"
        )


@dataclass(eq=False)
class Hidden(Source):
    """H of a recurrent layer at every step of what it reads: (T, N, n)."""

    run: Any


@dataclass(eq=False)
class End(Source):
    """H of a layer (or, ``cell``, c) after each sequence's own last step: (N, n)."""

    run: Any
    cell: bool = False


@dataclass(eq=False)
class Dense(Source):
    """A product: rows (M, K) times W (K, n_out)."""

    rows: Symbols
    W: Floats


@dataclass(eq=False)
class Act(Source):
    """A function of elements, flat; those of one softmax share a ``group``."""

    kind: str
    inner: Symbols
    group: Ints
    where: str


class Sources:
    """All blocks of ids of one graph."""

    def __init__(self) -> None:
        self.blocks: list[Source] = []
        self._starts: list[int] = []
        self._next = 0

    def add(self, source: Any) -> Any:
        """Give a block its ids; returns it."""
        source.start = self._next
        self.blocks.append(source)
        self._starts.append(self._next)
        self._next += int(np.prod(source.shape))
        return source

    def blocks_of(self, ids: Ints) -> Ints:
        """Index into ``blocks`` of each id, -1 for constants."""
        found = np.searchsorted(self._starts, ids, side="right") - 1
        return np.where(ids < 0, -1, found)

    def kinds(self, s: Symbols) -> list[Source]:
        """The blocks that a tensor's elements come from."""
        return [self.blocks[k] for k in np.unique(self.blocks_of(s.ids)) if k >= 0]


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
    scale, offset = s.scale[0], s.offset[0]
    if (s.scale != scale).any() or (s.offset != offset).any():
        raise UnclearError("it scales steps or sequences differently")
    block = sources.blocks_of(s.ids)
    if (block != block[0]).any():
        raise UnclearError("its rows do not read the same tensors")
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
