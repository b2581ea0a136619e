"""Recurrent cells as data: an affine map per gate, then one function per unit.

    a_k = W_k x + U_k r + p_k * own + b_k      shared code (model.py)
    s'  = unit(a, s)                           the cell (units.py)

The table mirrors ``vg_cells`` in ``firmware/lib/vgrad/src/cells.c``; a test compares
them field by field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyvgrad import units
from pyvgrad.units import Array, Fields

Unit = Callable[[units.Form, units.Arrays, units.Arrays, Any], dict[str, Array]]

# Whose truncated gradient docs/numbers-learning.md defines, in one layer.
RTRL97 = ("lstm97", "lstm", "lstm_coupled", "lstm_peephole", "gru", "ugrnn")

# What a gate reads (docs/numbers.md): x by W, the recurrent vector by U, and by P one
# value of its own, h of the step before (d) or c (p, q).
PARTS = {"b": "WU", "x": "W", "h": "U", "d": "WP", "p": "WUP", "q": "WUP", "s": "WU"}


@dataclass(frozen=True)
class Cell:
    """One row of the cell table."""

    code: int  # in the blob
    name: str
    gates: str  # one letter each, in blob order
    reads: str  # of each gate: a letter of docs/numbers.md
    functions: str  # s logistic, t tanh, r relu, n none, g the field squash_g
    cells: str  # gates whose bias is a cell's, not a gate's
    carry: str  # what is int32 in integers: c, or h itself
    fields: Fields  # the defaults; the only ones unless free_fields
    unit: Unit
    shared: str = ""  # gates of which a memory block has only one
    optional: str = ""  # gates that a field can leave out
    free_fields: bool = False
    joined: str = ""  # gates that have one exponent, row by row
    late: str = ""  # gates that read a state made by ``between`` from the others
    between: Unit | None = None


NO_FIELDS = Fields(output_gate=False, forget_gate=False)
LSTM97 = Fields("4s-2", "2s-1", forget_gate=False)
COUPLED = Fields(forget_gate=False)


_ROWS = (
    # name, gates, reads, functions, cells, carry, fields, unit
    ("rnn_tanh", "a", "b", "t", "a", "", NO_FIELDS, units.rnn_unit),
    ("rnn_sigmoid", "a", "b", "s", "a", "", NO_FIELDS, units.rnn_unit),
    ("rnn_relu", "a", "b", "r", "a", "", NO_FIELDS, units.rnn_unit),
    ("lstm97", "ifog", "bbbb", "sssg", "g", "c", LSTM97, units.lstm_unit),
    ("lstm", "ifog", "bbbb", "sssg", "g", "c", Fields(), units.lstm_unit),
    ("lstm_coupled", "iog", "bbb", "sst", "g", "c", COUPLED, units.coupled_unit),
    ("lstm_peephole", "ifgo", "ppbq", "ssts", "g", "c", Fields(), units.peephole_unit),
    ("gru", "zrnm", "bbxh", "sstn", "nm", "h", NO_FIELDS, units.gru_unit),
    ("gru_reset_before", "zrn", "bbs", "sst", "n", "h", NO_FIELDS, units.simple_unit),
    ("indrnn", "a", "d", "r", "a", "", NO_FIELDS, units.rnn_unit),
    ("ugrnn", "zn", "bb", "st", "n", "h", NO_FIELDS, units.simple_unit),
    ("plus_rnn", "znypu", "bbbbx", "stsrn", "npu", "h", NO_FIELDS, units.plus_unit),
)
# What some rows have beside that: gates a block shares or a field leaves out, those
# with one exponent, late ones with the state that they read.
_MORE: dict[str, dict[str, Any]] = {
    "lstm97": {"shared": "ifo", "optional": "fo", "free_fields": True},
    "lstm": {"shared": "ifo"},
    "lstm_peephole": {"late": "o", "between": units.peephole_between},
    "gru": {"joined": "nm"},
    "gru_reset_before": {"late": "n", "between": units.reset_between},
}

CELLS: dict[str, Cell] = {
    row[0]: Cell(code, *row, **_MORE.get(row[0], {})) for code, row in enumerate(_ROWS)
}
