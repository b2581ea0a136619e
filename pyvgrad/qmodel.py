"""A model in integers: what a blob holds and every executor reads.

The arithmetic on these integers is specified in ``docs/numbers.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Layer, Readout, Shape

Ints = NDArray[np.int64]

LAYOUTS = ("rows", "words")  # of matrices in a blob, by their codes

_ARGUMENT_EXP = {"s": 11, "t": 12, "tanh": 12, "4s-2": 11}
_STATE_EXP = 14  # of h where it is bounded, of gates, and of c as a peephole reads it


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


class _ByValue:
    """Two are equal if all their fields are, arrays by shape and value."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _same(vars(self), vars(other))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Scaling(_ByValue):
    """x = sat16(rs((count - offset) * mult, shift)), each of shape (n_in,)."""

    offset: Ints
    mult: Ints
    shift: Ints


@dataclass(frozen=True, eq=False)
class QLayer(_ByValue):
    """The integers of one layer.

    ``weights[k]`` is (rows, columns of gate k), ``biases[k]`` (rows,) for the gates
    that have them, ``exps[k]`` the accumulator's exponent E, (rows,), one value
    repeated where weights are 16-bit.  ``h_exp`` is the exponent of what the layer
    gives.  ``c0`` (n,) q20 and ``r0`` (state_length,) are the initial state, None for
    zeros.
    """

    layer: Layer
    h_exp: int
    exps: dict[str, Ints]
    weights: dict[str, Ints]
    biases: dict[str, Ints]
    c0: Ints | None = None
    r0: Ints | None = None

    def argument_exp(self, gate: str) -> int:
        """The exponent on which the gate's function takes its argument."""
        # m is a part of n's argument.
        like = "n" if gate in self.layer.row.joined else gate
        return _ARGUMENT_EXP.get(self.layer.function(like), self.h_exp)

    @property
    def r_exp(self) -> int:
        """The exponent of h in the state."""
        return _STATE_EXP if self.layer.r_bounded else self.h_exp

    def column_exps(self, gate: str, x_exps: Ints) -> Ints:
        """Exponent of each column of a gate; ``x_exps`` those of x, (n_in,)."""
        n_gates = self.layer.n_recurrent - self.layer.n
        r = [self.r_exp] * self.layer.n + [_STATE_EXP] * n_gates
        own = self.r_exp if self.layer.reads(gate) == "d" else _STATE_EXP
        exps = {"W": x_exps, "U": np.array(r), "P": np.array([own])}
        return np.concatenate([exps[part] for part in self.layer.parts(gate)])

    @property
    def state_length(self) -> int:
        """int16 values of r in the state: h and the gates that feed back."""
        gates = len(self.layer.feedback_gates) * self.layer.n_blocks
        return self.layer.n + gates


@dataclass(frozen=True, eq=False)
class QReadout(_ByValue):
    """The integers of the readout: weights (n_out, n + shortcuts), exps (n_out,)."""

    readout: Readout
    logit_exp: int
    exps: Ints
    weights: Ints
    biases: Ints | None


@dataclass(frozen=True, eq=False)
class QModel(_ByValue):
    """Everything a blob holds.

    ``layout`` is how matrices lie in the blob, one of LAYOUTS; here they are plain
    arrays with any.
    """

    shape: Shape
    layers: tuple[QLayer, ...]
    readout: QReadout | None
    weight_bits: int = 16
    x_exp: int = 14
    count_exp: int = 14
    scaling: Scaling | None = None
    sections: tuple[tuple[str, bytes], ...] = ()  # tag and data, in order
    layout: str = "rows"

    @property
    def macs(self) -> int:
        """Products of a weight and a signal in one step."""
        matrices = [w for q in self.layers for w in q.weights.values()]
        readout = [self.readout.weights] if self.readout else []
        return int(sum(w.size for w in matrices + readout))

    @property
    def y_exp(self) -> int:
        """y = raw / 2^y_exp."""
        if self.readout is None:
            return self.layers[-1].h_exp
        return 14 if self.shape.output != "linear" else self.readout.logit_exp

    @property
    def logit_exp(self) -> int:
        """logits = raw / 2^logit_exp."""
        return self.readout.logit_exp if self.readout else self.y_exp

    def x_exps(self, index: int) -> Ints:
        """Exponents of what layer ``index`` reads from below (the readout: as h)."""
        below = self.shape.below(index)
        if not below:
            return np.full(self.shape.n_in, self.x_exp)
        return np.concatenate(
            [np.full(self.layers[k].layer.n, self.layers[k].h_exp) for k in below]
        )

    def column_exps(self, index: int, gate: str) -> Ints:
        """Exponent of each column of a gate of layer ``index``."""
        return self.layers[index].column_exps(gate, self.x_exps(index))

    @property
    def readout_exps(self) -> Ints:
        """Exponent of each column of the readout, [h; x]."""
        assert self.readout is not None
        x = np.full(self.readout.readout.shortcuts, self.x_exp)
        return np.concatenate([self.x_exps(len(self.layers)), x])
