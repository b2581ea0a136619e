"""Shapes: of a layer of cells, of the readout, of a model.

The cells are a table (cell_table.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from pyvgrad.cell_table import CELLS, LSTM97, PARTS, RTRL97, Cell
from pyvgrad.units import SQUASH_G, SQUASH_H, Array, Fields, sigmoid

__all__ = [
    "CELLS",
    "DIRECTIONS",
    "LSTM97",
    "MODES",
    "OUTPUTS",
    "RTRL97",
    "SQUASH_G",
    "SQUASH_H",
    "Array",
    "Cell",
    "Fields",
    "Layer",
    "Readout",
    "Shape",
    "sigmoid",
]

OUTPUTS = ("linear", "logistic", "softmax")
MODES = ("sequence", "last", "final")
DIRECTIONS = ("forward", "reverse", "forward-half", "reverse-half")


@dataclass(frozen=True)
class Layer:
    """The shape of one recurrent layer: everything but its numbers.

    n cells in blocks of ``block``, reading n_in values.  Gates that a block shares have
    one row a block, every other gate one row a cell.  ``direction`` is one of
    DIRECTIONS; the halves of a bidirectional layer are two layers, one after the other.
    """

    cell: str
    n_in: int
    n: int
    block: int = 1
    fields: Fields | None = None  # None: the cell's own
    cell_biases: bool = True
    gate_biases: bool = True
    direction: str = "forward"

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"unknown cell {self.cell!r}; known: {', '.join(CELLS)}")
        if self.direction not in DIRECTIONS:
            raise ValueError(
                f"direction must be one of {DIRECTIONS}, not {self.direction!r}"
            )
        if self.fields is None:
            object.__setattr__(self, "fields", self.row.fields)
        if not self.row.free_fields and self.fields != self.row.fields:
            raise ValueError(f"cell {self.cell!r} has fixed fields; use lstm97")
        if not 1 <= self.n <= 65535 or not 1 <= self.n_in <= 65535:
            raise ValueError(
                f"a layer has 1 to 65535 cells and inputs, not {self.n} and {self.n_in}"
            )
        if (
            self.block < 1
            or self.n % self.block
            or (self.block > 1 and not self.row.shared)
        ):
            raise ValueError(
                f"{self.n} cells of {self.cell} do not make blocks of {self.block}: "
                "take a multiple, and blocks of 1 but for lstm97 and lstm"
            )

    @property
    def row(self) -> Cell:
        """The cell's row of the table."""
        return CELLS[self.cell]

    @property
    def opts(self) -> Fields:
        """The fields, never None."""
        assert self.fields is not None
        return self.fields

    @property
    def n_blocks(self) -> int:
        """Memory blocks."""
        return self.n // self.block

    @property
    def gates(self) -> str:
        """Letters of the gates that are there, in blob order."""
        absent = ("" if self.opts.forget_gate else "f") + (
            "" if self.opts.output_gate else "o"
        )
        return "".join(k for k in self.row.gates if k not in absent)

    @property
    def reversed(self) -> bool:
        """Whether it takes the steps from the last to the first."""
        return self.direction in ("reverse", "reverse-half")

    def reads(self, gate: str) -> str:
        """The letter of docs/numbers.md for what a gate reads."""
        return self.row.reads[self.row.gates.index(gate)]

    def parts(self, gate: str) -> dict[str, int]:
        """Columns of a gate by part: W over x, U over r (or h, or s), P its own one."""
        sizes = {"W": self.n_in, "U": self.n_recurrent, "P": 1}
        return {k: sizes[k] for k in PARTS[self.reads(gate)] if sizes[k]}

    def columns(self, gate: str) -> int:
        """Columns of a gate's matrix."""
        return sum(self.parts(gate).values())

    def function(self, gate: str) -> str:
        """``s``, ``t``, ``r``, ``n``, or the name of squash_g for lstm's gate g."""
        f = self.row.functions[self.row.gates.index(gate)]
        return self.opts.squash_g if f == "g" else f

    def rows(self, gate: str) -> int:
        """Rows of a gate's matrix: blocks for a shared gate, else cells."""
        return self.n_blocks if gate in self.row.shared else self.n

    def has_bias(self, gate: str) -> bool:
        """Whether the rows of this gate have a bias."""
        return self.cell_biases if gate in self.row.cells else self.gate_biases

    @property
    def feedback_gates(self) -> str:
        """Gates that are sources of the next step (1997): i, and o if there is one."""
        if not self.opts.feedback:
            return ""
        return "io" if self.opts.output_gate else "i"

    @property
    def n_recurrent(self) -> int:
        """Length of r = [h; i; o] as far as the fields have them."""
        if not self.opts.recurrent:
            return 0
        return self.n + len(self.feedback_gates) * self.n_blocks

    @property
    def bounded(self) -> bool:
        """Whether what it gives is within [-1, 1] (its exponent is then 14)."""
        if self.row.carry == "c":
            return self.opts.squash_h != "identity"
        return "r" not in self.row.functions

    @property
    def r_bounded(self) -> bool:
        """The same of h in r, which is not what ``plus_rnn`` gives."""
        return self.bounded or self.row.carry == "h"

    @property
    def n_weights(self) -> int:
        """Weights and biases, as the papers count them."""
        return sum(
            self.rows(k) * (self.columns(k) + self.has_bias(k)) for k in self.gates
        )


@dataclass(frozen=True)
class Readout:
    """The shape of the readout: y = f(W [h; x] + b), f linear, logistic or softmax."""

    n_in: int  # cells of the last layer
    n_out: int
    output: str = "linear"
    shortcuts: int = 0  # length of x where the readout reads it, else 0
    biases: bool = True

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, not {self.output!r}")
        if not 1 <= self.n_out <= 32767:
            raise ValueError(f"a readout has 1 to 32767 outputs, not {self.n_out}")

    @property
    def n_weights(self) -> int:
        """Weights and biases."""
        return self.n_out * (self.n_in + self.shortcuts + self.biases)


@dataclass(frozen=True)
class Shape:
    """The shape of a model: layers in order, then a readout or none.

    A ``forward-half`` is followed by a ``reverse-half``, which reads the same x; what
    comes after reads both.
    """

    layers: tuple[Layer, ...]
    readout: Readout | None = None
    mode: str = "sequence"  # y is meant at every step; "last": only the last; "final"

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= 255:
            raise ValueError("a model has 1 to 255 recurrent layers")
        _check_halves([layer.direction for layer in self.layers])
        for k, layer in enumerate(self.layers):
            if layer.n_in != self.width(self.below(k)):
                n = self.width(self.below(k))
                raise ValueError(f"layer {k + 1} reads {layer.n_in} of {n} values")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {self.mode!r}")
        r = self.readout
        if r is not None and (
            r.n_in != self.width(self.top) or r.shortcuts not in (0, self.n_in)
        ):
            raise ValueError("the readout does not fit the layers")

    def below(self, index: int) -> tuple[int, ...]:
        """The layers that layer ``index`` reads, none for the model's x.

        With the number of layers as the index, those that the readout reads.
        """
        end = index
        if end < len(self.layers) and self.layers[end].direction == "reverse-half":
            end -= 1
        if end and self.layers[end - 1].direction == "reverse-half":
            return (end - 2, end - 1)
        return (end - 1,) if end else ()

    def width(self, layers: tuple[int, ...]) -> int:
        """How many values these layers give together; x for none."""
        return sum(self.layers[k].n for k in layers) if layers else self.n_in

    @property
    def top(self) -> tuple[int, ...]:
        """The last layer, or both its halves."""
        return self.below(len(self.layers))

    @property
    def whole(self) -> bool:
        """Whether it takes whole sequences only, because a layer is reversed."""
        return any(layer.reversed for layer in self.layers)

    @property
    def rtrl97(self) -> bool:
        """Whether the truncated gradient of 1997 is defined: one layer, some cells."""
        return len(self.layers) == 1 and self.layers[0].cell in RTRL97

    @property
    def n_in(self) -> int:
        """Length of x."""
        return self.layers[0].n_in

    @property
    def n_out(self) -> int:
        """Length of y."""
        return self.readout.n_out if self.readout else self.width(self.top)

    @property
    def output(self) -> str:
        """What the outputs are: linear, logistic or softmax."""
        return self.readout.output if self.readout else "linear"

    @property
    def n_weights(self) -> int:
        """Weights and biases of all layers and the readout."""
        readout = self.readout.n_weights if self.readout else 0
        return sum(layer.n_weights for layer in self.layers) + readout


def _check_halves(directions: list[str]) -> None:
    """ValueError unless every forward half stands before its reverse half."""
    for k, direction in enumerate(directions):
        after = directions[k + 1] if k + 1 < len(directions) else ""
        before = directions[k - 1] if k else ""
        if direction == "forward-half" and after != "reverse-half":
            raise ValueError(f"layer {k + 1} is a forward half without a reverse one")
        if direction == "reverse-half" and before != "forward-half":
            raise ValueError(f"layer {k + 1} is a reverse half without a forward one")
