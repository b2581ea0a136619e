"""Recurrent cells as data: an affine map per gate, then one function per unit.

    a_k = W_k x + U_k r + b_k        shared code (model.py)
    s'  = unit(a, s)                 the cell

The table mirrors ``vg_cells`` in ``firmware/lib/vgrad/src/cells.c``; a test compares
them field by field.  Functions are written against an array namespace ``xp``
(numpy or jax.numpy); arrays are (..., n) for cells and (..., n / block) for gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Array = Any
Unit = Callable[
    ["Layer", Mapping[str, Array], Mapping[str, Array], Any], dict[str, Array]
]

SQUASH_G = ("tanh", "4s-2", "s")
SQUASH_H = ("tanh", "2s-1", "identity")


@dataclass(frozen=True)
class Fields:
    """The switches of the LSTM family (Hochreiter and Schmidhuber 1997; Gers 2000).

    ``squash_g`` is g(x), one of ``tanh``, ``4s-2``, ``s`` (s the logistic function);
    ``squash_h`` is h(x), one of ``tanh``, ``2s-1``, ``identity``.
    """

    squash_g: str = "tanh"
    squash_h: str = "tanh"
    output_gate: bool = True
    forget_gate: bool = True
    recurrent: bool = True
    feedback: bool = False

    def __post_init__(self) -> None:
        if self.squash_g not in SQUASH_G or self.squash_h not in SQUASH_H:
            raise ValueError(
                f"g must be one of {SQUASH_G} and h one of {SQUASH_H}, "
                f"not {self.squash_g!r} and {self.squash_h!r}"
            )
        if self.feedback and not self.recurrent:
            raise ValueError("gate feedback needs recurrent weights")


@dataclass(frozen=True)
class Cell:
    """One row of the cell table."""

    name: str
    code: int  # in the blob
    gates: str  # one letter each, in blob order
    functions: str  # of each gate: s logistic, t tanh, r relu, g the field squash_g
    shared: str  # gates of which a memory block has only one
    optional: str  # gates that a field can leave out
    cells: str  # gates whose bias is a cell's, not a gate's
    carry: str  # int32 states beside h
    fields: Fields  # the defaults; the only ones unless free_fields
    free_fields: bool
    unit: Unit


@dataclass(frozen=True)
class Layer:
    """The shape of one recurrent layer: everything but its numbers.

    n cells in blocks of ``block``, reading n_in values.  Gates i, f, o have one row a
    block, every other gate one row a cell.
    """

    cell: str
    n_in: int
    n: int
    block: int = 1
    fields: Fields | None = None  # None: the cell's own
    cell_biases: bool = True
    gate_biases: bool = True

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"unknown cell {self.cell!r}; known: {', '.join(CELLS)}")
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
                "take a multiple, and blocks of 1 for an RNN"
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

    def function(self, gate: str) -> str:
        """``s``, ``t`` or ``r``, or the name of squash_g for the gate g."""
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
        """Whether h is within [-1, 1] (its exponent is then 14)."""
        if self.row.carry:
            return self.opts.squash_h != "identity"
        return "r" not in self.row.functions

    @property
    def n_weights(self) -> int:
        """Weights and biases, as the papers count them."""
        columns = self.n_in + self.n_recurrent
        return sum(self.rows(k) * (columns + self.has_bias(k)) for k in self.gates)


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
    """The shape of a model: layers in order, then a readout or none."""

    layers: tuple[Layer, ...]
    readout: Readout | None = None
    mode: str = "sequence"  # y is meant at every step; "last": only the last

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= 255:
            raise ValueError("a model has 1 to 255 recurrent layers")
        for below, layer in zip(self.layers, self.layers[1:], strict=False):
            if layer.n_in != below.n:
                raise ValueError(f"a layer reads {layer.n_in} of {below.n} cells")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {self.mode!r}")
        r = self.readout
        if r is not None and (
            r.n_in != self.layers[-1].n or r.shortcuts not in (0, self.n_in)
        ):
            raise ValueError("the readout does not fit the layers")

    @property
    def n_in(self) -> int:
        """Length of x."""
        return self.layers[0].n_in

    @property
    def n_out(self) -> int:
        """Length of y."""
        return self.readout.n_out if self.readout else self.layers[-1].n

    @property
    def output(self) -> str:
        """What the outputs are: linear, logistic or softmax."""
        return self.readout.output if self.readout else "linear"

    @property
    def n_weights(self) -> int:
        """Weights and biases of all layers and the readout."""
        readout = self.readout.n_weights if self.readout else 0
        return sum(layer.n_weights for layer in self.layers) + readout


OUTPUTS = ("linear", "logistic", "softmax")
MODES = ("sequence", "last")


def sigmoid(z: Array, xp: Any) -> Array:
    """1 / (1 + exp(-z)), without overflow for either sign."""
    return 0.5 * (xp.tanh(0.5 * z) + 1.0)


def rnn_unit(
    layer: Layer, a: Mapping[str, Array], s: Mapping[str, Array], xp: Any
) -> dict[str, Array]:
    """h' = f(a): Elman's units."""
    z = a["a"]
    squash = {
        "t": lambda: xp.tanh(z),
        "s": lambda: sigmoid(z, xp),
        "r": lambda: xp.maximum(z, 0.0),
    }
    return {"h": squash[layer.function("a")]()}


def lstm_unit(
    layer: Layer, a: Mapping[str, Array], s: Mapping[str, Array], xp: Any
) -> dict[str, Array]:
    """c' = f c + i g(a_g),  h' = o h(c').

    Hochreiter and Schmidhuber 1997, eq. 3-8; Gers, Schmidhuber, Cummins 2000.
    Gates are one a block: (..., n / block), spread over the block's cells.
    """
    opts = layer.opts
    gate = {k: sigmoid(a[k], xp) for k in "ifo" if k in a}
    wide = {k: xp.repeat(v, layer.block, axis=-1) for k, v in gate.items()}
    z = a["g"]
    g = {
        "tanh": lambda: xp.tanh(z),
        "4s-2": lambda: 2.0 * xp.tanh(0.5 * z),
        "s": lambda: sigmoid(z, xp),
    }[opts.squash_g]()
    kept = wide["f"] * s["c"] if "f" in wide else s["c"]
    c = kept + wide["i"] * g
    h = {
        "tanh": lambda: xp.tanh(c),
        "2s-1": lambda: xp.tanh(0.5 * c),
        "identity": lambda: c,
    }[opts.squash_h]()
    if "o" in wide:
        h = wide["o"] * h
    return {"h": h, "c": c} | {k: gate[k] for k in layer.feedback_gates}


NO_FIELDS = Fields(output_gate=False, forget_gate=False)
LSTM97 = Fields("4s-2", "2s-1", forget_gate=False)

CELLS: dict[str, Cell] = {
    c.name: c
    for c in (
        Cell("rnn_tanh", 0, "a", "t", "", "", "a", "", NO_FIELDS, False, rnn_unit),
        Cell("rnn_sigmoid", 1, "a", "s", "", "", "a", "", NO_FIELDS, False, rnn_unit),
        Cell("rnn_relu", 2, "a", "r", "", "", "a", "", NO_FIELDS, False, rnn_unit),
        Cell(
            "lstm97", 3, "ifog", "sssg", "ifo", "fo", "g", "c", LSTM97, True, lstm_unit
        ),
        Cell(
            "lstm", 4, "ifog", "sssg", "ifo", "", "g", "c", Fields(), False, lstm_unit
        ),
    )
}
