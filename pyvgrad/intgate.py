"""A gate in training: its masters, its gradient, its memory and its rates.

``docs/numbers-learning.md``, Masters and Tensors.  The readout is one gate more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pyvgrad.fixed import ERROR_LIMIT, bits, rs, sat31
from pyvgrad.learning import FACTOR_ONE
from pyvgrad.qmodel import Ints, QLayer, QModel, QReadout

MASTER_LOW, MASTER_HIGH = -2147450880, 2147450879

_ROOM = (4096, (1 << 28) + 1)  # of |hi| and |bias| above which a start falls
_FULL = (24576, 3 << 29)  # from which a gate falls after an update
_WIDER = 5  # 8 bits that int16 has more, less three of headroom
_MANTISSA = 26  # bits of a mean square that are kept


def clamp_masters(exact: Ints) -> Ints:
    """Clamp to the range in which hi is within +-32767."""
    return np.minimum(np.maximum(exact, MASTER_LOW), MASTER_HIGH)


def coded(r: Ints) -> Ints:
    """A mean square in 32 bits: 2^26 x + y for y * 2^x."""
    x = np.maximum(0, bits(r) - _MANTISSA)
    return np.asarray((x << _MANTISSA) + (r >> x), np.int64)


def decoded(code: Ints) -> Ints:
    """y * 2^x, the reverse but for what was cut off."""
    mask = (1 << _MANTISSA) - 1
    return np.asarray((code & mask) << (code >> _MANTISSA), np.int64)


class Gate:
    """The rows of one gate, or of the readout.

    Matrices are (rows, width): the columns of the source z and, last, the bias where
    there is one, as the weight of a source 1 on the exponent 0.  ``M`` has the
    masters, ``G`` the gradient q24, ``V`` the momentum, ``r`` the codes of the mean
    squares.  ``hi``, ``bias`` and ``exps`` are what a QModel holds, written anew by
    ``publish``.  ``parts`` are the columns of each tensor, ``live`` those that learn.
    ``joined`` are the gates that fall with it, in order, itself among them.
    """

    def __init__(
        self,
        weights: Ints,
        biases: Ints | None,
        exps: Ints,
        argument_exp: int,
        source_exps: Ints,
        parts: dict[str, slice],
    ) -> None:
        rows, columns = weights.shape
        self.hi, self.exps = np.zeros((rows, columns), np.int64), exps.copy()
        self.bias = None if biases is None else np.zeros(rows, np.int64)
        self.argument_exp = argument_exp
        is_bias = np.array([0] * columns + [1] * (biases is not None))
        self.e = np.where(is_bias, 0, np.append(source_exps, 0)[: len(is_bias)])
        self.lift = np.where(is_bias, 0, 16)  # bits of a master below the weight's
        self.parts = {k: s for k, s in parts.items() if self.e[s].size}
        self.factor = dict.fromkeys(self.parts, FACTOR_ONE)
        self.joined = [self]
        self.M = weights << 16
        if biases is not None:
            self.M = np.concatenate([self.M, biases[:, np.newaxis]], axis=1)
        self.G, self.V, self.r = (np.zeros_like(self.M) for _ in range(3))
        self.publish()

    @property
    def E(self) -> int:  # noqa: N802 - the specification's name
        """The accumulator's exponent, one for all rows."""
        return int(self.exps[0])

    @property
    def source_shifts(self) -> Ints:
        """E - e_j of the columns of z, (columns,)."""
        return np.asarray(self.E - self.e[: self.hi.shape[1]], np.int64)

    def publish(self) -> None:
        """Write the weights that the masters stand for."""
        columns = self.hi.shape[1]
        self.hi[:] = (self.M[:, :columns] + 32768) >> 16
        if self.bias is not None:
            self.bias[:] = self.M[:, columns]

    # ---- exponents -------------------------------------------------------

    def widen(self) -> None:
        """Give the rows of an int8 blob one exponent and the bits of int16."""
        E = min(int(self.exps.min()) + _WIDER, self.argument_exp + 31)
        s = (E - self.exps)[:, np.newaxis]
        self.M = clamp_masters(rs(self.M << np.maximum(s, 0), np.maximum(-s, 0)))
        self.exps[:] = E
        self.publish()

    def start(self) -> None:
        """Make room for weights that grow: fall at most three times."""
        for _ in range(3):
            self._fall_beyond(_ROOM)

    def fall(self) -> int:
        """Fall while a weight is near the limit; how often.  The first joined does."""
        falls = 0
        while self.joined[0] is self and self._fall_beyond(_FULL):
            falls += 1
        return falls

    def _fall_beyond(self, limits: tuple[int, int]) -> bool:
        full = any(gate.reaches(*limits) for gate in self.joined)
        if not full or self.E - self.argument_exp <= 1:
            return False
        for gate in self.joined:
            gate.exps -= 1
            gate.M, gate.V = rs(gate.M, 1), rs(gate.V, 1)
            gate.publish()
        return True

    def reaches(self, weight: int, bias: int) -> bool:
        """Whether a |hi| or a |bias| is as large."""
        full = bool(np.any(abs(self.hi) >= weight))
        return full or (self.bias is not None and bool(np.any(abs(self.bias) >= bias)))

    # ---- rates and gradient ----------------------------------------------

    def set_rates(self, rate_q24: int, masked: bool) -> None:
        """Work out the rate R of each column, q24, and which columns learn."""
        self.R = np.zeros(len(self.e), np.int64)
        for part, columns in self.parts.items():
            R = (rate_q24 * self.factor[part] + (1 << 15)) >> 16
            self.R[columns] = 0 if masked else min(max(R, 0), ERROR_LIMIT)
        self.live = self.R > 0

    def gather(self, increment: Ints) -> int:
        """Add to the gradient what is (rows, width); return how many were clamped."""
        exact = self.G + increment * self.live
        self.G = sat31(exact)
        return int(np.count_nonzero(exact != self.G))


# ---- a model's gates -----------------------------------------------------


def _layer_gates(model: QModel, index: int) -> dict[str, Gate]:
    q = model.layers[index]
    gates: dict[str, Gate] = {}
    for k in q.layer.gates:
        n_x, columns = q.layer.parts(k).get("W", 0), q.layer.columns(k)
        gates[k] = Gate(
            q.weights[k],
            q.biases.get(k),
            q.exps[k],
            q.argument_exp(k),
            model.column_exps(index, k),
            {"x": slice(n_x), "h": slice(n_x, columns), "b": slice(columns, None)},
        )
    joined = [gates[k] for k in q.layer.row.joined]
    for gate in joined:
        gate.joined = joined
    return gates


def _readout_gate(model: QModel, q: QReadout) -> Gate:
    n, columns = q.readout.n_in, q.weights.shape[1]
    parts = {"h": slice(n), "x": slice(n, columns), "b": slice(columns, None)}
    exps = model.readout_exps
    return Gate(q.weights, q.biases, q.exps, q.logit_exp, exps, parts)


def gates_of(model: QModel) -> tuple[list[dict[str, Gate]], Gate | None]:
    """Each layer's gates and the readout's, from a model's weights."""
    layers = [_layer_gates(model, k) for k in range(len(model.layers))]
    q = model.readout
    readout = None if q is None else _readout_gate(model, q)
    every = [gate for gates in layers for gate in gates.values()]
    every += [] if readout is None else [readout]
    for gate in every:
        if model.weight_bits == 8:
            gate.widen()
    for gate in every:
        if gate.joined[0] is gate:
            gate.start()
    return layers, readout


def live_model(
    model: QModel, layers: list[dict[str, Gate]], readout: Gate | None
) -> QModel:
    """The same model in 16 bits, its arrays those that the gates publish to."""

    def layer(q: QLayer, gates: dict[str, Gate]) -> QLayer:
        return replace(
            q,
            exps=_each(gates, lambda g: g.exps),
            weights=_each(gates, lambda g: g.hi),
            biases={k: g.bias for k, g in gates.items() if g.bias is not None},
        )

    out = model.readout
    if out is not None and readout is not None:
        out = replace(out, exps=readout.exps, weights=readout.hi, biases=readout.bias)
    return replace(
        model,
        layers=tuple(map(layer, model.layers, layers)),
        readout=out,
        weight_bits=16,
        sections=_without_training(model.sections),
    )


def _each(gates: dict[str, Gate], of: Callable[[Gate], Ints]) -> dict[str, Ints]:
    return {k: of(g) for k, g in gates.items()}


def _without_training(
    sections: tuple[tuple[str, bytes], ...],
) -> tuple[tuple[str, bytes], ...]:
    """The sections less a training's state, which is the last one if it is there."""
    ends_in_training = bool(sections) and sections[-1][0] == "lrns"
    return sections[:-1] if ends_in_training else sections
