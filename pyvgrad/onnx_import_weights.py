"""Weights of ONNX's recurrent nodes: which cell a node is, and its matrices by gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyvgrad.cells import CELLS
from pyvgrad.onnx_import_symbols import Floats, Symbols, UnclearError

# Beyond these the int16 argument of the function is clamped itself, so that a clip of
# ONNX changes nothing: 32767 / 2^11 for the logistic function, 32767 / 2^12 for tanh.
_HARMLESS_CLIP = {"Sigmoid": 16.0, "Tanh": 8.0, "Relu": np.inf}
# The gates' letters in ONNX's order, and of the peepholes.
_ORDER = {"LSTM": "iofg", "GRU": "zrn", "RNN": "a"}
_PEEPHOLES = "iof"
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_RNN_CELLS = {"Tanh": "rnn_tanh", "Sigmoid": "rnn_sigmoid", "Relu": "rnn_relu"}


@dataclass(frozen=True)
class Call:
    """A node with the values of its inputs, all in layout 0."""

    kind: str
    where: str
    values: Mapping[str, Any]
    attributes: Mapping[str, Any]

    @property
    def x(self) -> Symbols:
        """What it reads, (T, N, columns)."""
        x: Symbols = self.values["X"]
        return x

    def constant(self, name: str, *shape: int) -> Floats | None:
        """A constant input, (directions, ...), None where it is left out.

        UnclearError unless it is a finite float32 constant of that shape.
        """
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, np.ndarray):
            raise UnclearError(f"its {name} is computed from the input, not a constant")
        if value.dtype != np.float32:
            raise UnclearError(
                f"its {name} is {value.dtype}; export the model in float32, "
                "pyvgrad makes the integers itself"
            )
        if value.shape != shape:
            raise UnclearError(f"its {name} has shape {value.shape}, not {shape}")
        if not np.isfinite(value).all():
            raise UnclearError(f"its {name} holds NaN or infinity; train it again")
        return value.astype(np.float64)


def weights(
    call: Call, index: int, directions: int
) -> tuple[str, dict[str, dict[str, Floats]]]:
    """The cell's name, and W, U, P, b by gate, of one direction."""
    order, columns = _ORDER[call.kind], call.x.shape[2]
    R = call.values.get("R")
    n = int(call.attributes.get("hidden_size", np.shape(R)[-1] if R is not None else 0))
    rows = len(order) * n
    W = call.constant("W", directions, rows, columns)
    U = call.constant("R", directions, rows, n)
    B = call.constant("B", directions, 2 * rows)
    P = call.constant("P", directions, len(_PEEPHOLES) * n)
    if W is None or U is None:
        raise UnclearError("it has no weights W or R")
    B = np.zeros((directions, 2 * rows)) if B is None else B
    peepholes = {} if P is None or not P.any() else _by_gate(_PEEPHOLES, P[index])
    cell = _cell(call, index, bool(peepholes))
    _check_clip(call, index)
    bw, br = (_by_gate(order, half) for half in np.split(B[index], 2))
    tree = {
        "W": _by_gate(order, W[index]),
        "U": _by_gate(order, U[index]),
        "P": peepholes,
        "b": {k: bw[k] + br[k] for k in order},
    }
    if cell == "gru":  # the recurrent half of the candidate is a gate of its own
        tree["U"]["m"] = tree["U"].pop("n")
        tree["b"] |= {"n": bw["n"], "m": br["n"]}
    gates = CELLS[cell].gates
    return cell, {
        name: {k: of[k] for k in gates if k in of} for name, of in tree.items()
    }


def _by_gate(order: str, array: Floats) -> dict[str, Floats]:
    """Equal pieces of the first axis under the gates' letters."""
    return dict(zip(order, np.split(array, len(order)), strict=True))


def _activations(call: Call, index: int) -> list[str]:
    """The names of one direction's activations."""
    default = _DEFAULTS.get(call.kind, ["Tanh"])
    given = [a.decode(errors="replace") for a in call.attributes.get("activations", [])]
    names = (given or default * (index + 1))[len(default) * index :][: len(default)]
    known = {name.lower(): name for name in _HARMLESS_CLIP}
    return [known.get(name.lower(), name) for name in names]


def _cell(call: Call, index: int, peepholes: bool) -> str:
    """The row of the cell table.  UnclearError for what has none."""
    names = _activations(call, index)
    if call.kind == "RNN":
        if names[0] not in _RNN_CELLS:
            raise UnclearError(
                f"its activation is {names[0]}; pyvgrad has {', '.join(_RNN_CELLS)}"
            )
        return _RNN_CELLS[names[0]]
    if names != _DEFAULTS[call.kind]:
        raise UnclearError(
            f"its activations are {', '.join(names)}; pyvgrad has "
            f"{', '.join(_DEFAULTS[call.kind])}, train it with those"
        )
    if call.kind == "GRU":
        after = call.attributes.get("linear_before_reset", 0)
        return "gru" if after else "gru_reset_before"
    coupled = bool(call.attributes.get("input_forget", 0))
    if coupled and peepholes:
        raise UnclearError(
            "it has peepholes and coupled input and forget gates; "
            "pyvgrad has a cell for each, not for both"
        )
    return {(True, False): "lstm_coupled", (False, True): "lstm_peephole"}.get(
        (coupled, peepholes), "lstm"
    )


def _check_clip(call: Call, index: int) -> None:
    """UnclearError for a clip that some argument of a function could reach."""
    clip = float(call.attributes.get("clip", np.inf))
    least = max(_HARMLESS_CLIP[name] for name in _activations(call, index))
    if clip < least:
        why = (
            "h of Relu has no bound"
            if np.isinf(least)
            else f"only a clip of {least:g} or more never acts on 16-bit arguments"
        )
        raise UnclearError(f"it clips at {clip:g}, and {why}; train without clip")
