"""What a cell makes of its gates' arguments, in floats.

    s' = unit(a, s)

Functions are written against an array namespace ``xp`` (numpy or jax.numpy); arrays
are (..., n) for cells and (..., n / block) for gates.  ``between`` makes the state that
late gates read: those whose arguments wait for other gates of the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Array = Any
Arrays = Mapping[str, Array]

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


class Form(Protocol):
    """What a unit asks of the layer (cells.Layer)."""

    @property
    def block(self) -> int:
        """Cells that share their gates."""

    @property
    def opts(self) -> Fields:
        """The fields."""

    @property
    def feedback_gates(self) -> str:
        """Gates that are sources of the next step."""

    def function(self, gate: str) -> str:
        """The name of a gate's function."""


def sigmoid(z: Array, xp: Any) -> Array:
    """1 / (1 + exp(-z)), without overflow for either sign."""
    return 0.5 * (xp.tanh(0.5 * z) + 1.0)


def gate_value(layer: Form, gate: str, argument: Array, xp: Any) -> Array:
    """A gate's function of its argument, as in the cell's unit."""
    functions: dict[str, Callable[[], Array]] = {
        "t": lambda: xp.tanh(argument),
        "tanh": lambda: xp.tanh(argument),
        "4s-2": lambda: 2.0 * xp.tanh(0.5 * argument),
        "s": lambda: sigmoid(argument, xp),
        "r": lambda: xp.maximum(argument, 0.0),
        "n": lambda: argument,
    }
    return functions[layer.function(gate)]()


def rnn_unit(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """h' = f(a): Elman's units; IndRNN (Li et al. 2018), whose a reads its own h."""
    return {"h": gate_value(layer, "a", a["a"], xp)}


# ---- the LSTM family -------------------------------------------------------


def lstm_unit(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """c' = f c + i g(a_g),  h' = o h(c').

    Hochreiter and Schmidhuber 1997, eq. 3-8; Gers, Schmidhuber, Cummins 2000.
    Gates are one a block: (..., n / block), spread over the block's cells.
    """
    opts = layer.opts
    gate = {k: sigmoid(a[k], xp) for k in "ifo" if k in a}
    wide = {k: xp.repeat(v, layer.block, axis=-1) for k, v in gate.items()}
    g = gate_value(layer, "g", a["g"], xp)
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


def coupled_unit(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """The LSTM with f = 1 - i (Greff et al. 2016)."""
    i, o = (sigmoid(a[k], xp) for k in "io")
    c = (1.0 - i) * s["c"] + i * xp.tanh(a["g"])
    return {"h": o * xp.tanh(c), "c": c}


def peephole_unit(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """The LSTM whose gates see c (Gers and Schmidhuber 2000)."""
    c = peephole_between(layer, a, s, xp)["c"]
    return {"h": sigmoid(a["o"], xp) * xp.tanh(c), "c": c}


def peephole_between(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """C' = f c + i g, which o reads."""
    i, f = (sigmoid(a[k], xp) for k in "if")
    return {"c": f * s["c"] + i * xp.tanh(a["g"])}


# ---- GRU and its kin -------------------------------------------------------


def _mix(z: Array, h: Array, n: Array) -> Array:
    return z * h + (1.0 - z) * n


def gru_unit(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """h' = z h + (1 - z) tanh(a_n + r a_m): the reset gate after the product.

    Cho et al. 2014 as in cuDNN; ONNX: linear_before_reset = 1, Keras: reset_after.
    """
    z, r = (sigmoid(a[k], xp) for k in "zr")
    return {"h": _mix(z, s["h"], xp.tanh(a["n"] + r * a["m"]))}


def reset_between(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """R h, which n reads."""
    return {"h": sigmoid(a["r"], xp) * s["h"]}


def simple_unit(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """h' = z h + (1 - z) tanh(a_n).

    GRU with the reset gate before the product (Cho et al. 2014); UGRNN (Collins et al.
    2017, eq. 10-12).
    """
    return {"h": _mix(sigmoid(a["z"], xp), s["h"], xp.tanh(a["n"]))}


def plus_unit(layer: Form, a: Arrays, s: Arrays, xp: Any) -> dict[str, Array]:
    """The state as in UGRNN, the output y u + (1 - y) max(a_p, 0): IntersectionRNN.

    Collins et al. 2017, eq. 13-17, +RNN.
    """
    out = _mix(sigmoid(a["y"], xp), a["u"], xp.maximum(a["p"], 0.0))
    return simple_unit(layer, a, s, xp) | {"out": out}
