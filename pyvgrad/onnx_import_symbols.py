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

    def rows(self, which: Ints) -> Symbols:
        """Some entries of the first axis."""
        return self.moved(lambda v: v[which])

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
