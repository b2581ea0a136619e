"""What a model's actual weights prove about its sums, whatever the inputs.

Every source is an int16, |z| <= 2^15, but c as a peephole reads it, |z| <= 2^24.  So
|acc| <= |b| + sum_j |w_j| max |z_j|, half a unit of the rounding included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyvgrad.qmodel import Ints, QModel

_INT16, _PEEPHOLE = 1 << 15, 1 << 24


@dataclass(frozen=True)
class Bound:
    """The largest |acc| + 2^(shift - 1) that a gate, or the readout, can reach.

    ``acc`` is exact.  ``may_clamp`` says whether the signal that it is rounded to may
    be clamped, None where that is an argument of S or T, which is harmless.
    """

    gate: str
    acc: int
    may_clamp: bool | None

    @property
    def in_double(self) -> bool:
        """Whether a double holds every partial sum: the exact ONNX graph."""
        return self.acc < 1 << 53

    @property
    def in_int32(self) -> bool:
        """Whether a 32-bit accumulator would do."""
        return self.acc < 1 << 31


def bounds(model: QModel) -> list[Bound]:
    """The bounds of all gates, layer by layer, then of the readout."""
    found = []
    for k, q in enumerate(model.layers):
        sums = {gate: _sum(q.weights[gate], q.biases.get(gate)) for gate in q.weights}
        for gate in sums:
            if q.layer.reads(gate) in "pq":
                w = np.abs(q.weights[gate])
                sums[gate] = sums[gate] + w[:, -1] * (_PEEPHOLE - _INT16)
        for gate, acc in sums.items():
            half = 1 << (q.exps[gate] - q.argument_exp(gate) - 1)
            free = q.layer.function(gate) in "r-" and gate not in q.layer.row.joined
            reached = acc + half
            clamps = _clamps(reached, half) if free else None
            if q.layer.row.joined and gate in q.layer.row.joined[:1]:
                # 2^14 acc_n + r acc_m, |r| <= 2^14, is rounded once for both
                other = sums[q.layer.row.joined[1]]
                reached = (1 << 14) * (acc + other + half)
            name = f"layer{k + 1}.{gate}"
            found.append(Bound(name, int(reached.max()), clamps))
    r = model.readout
    if r is not None:
        half = 1 << (r.exps - r.logit_exp - 1)
        reached = _sum(r.weights, r.biases) + half
        harmless = model.shape.output == "logistic"
        clamps = None if harmless else _clamps(reached, half)
        found.append(Bound("readout", int(reached.max()), clamps))
    return found


def _sum(w: Ints, b: Ints | None) -> Ints:
    """|b| + sum_j |w_j| 2^15 of each row, (rows,)."""
    total = np.abs(w).sum(axis=1) * _INT16
    return np.asarray(total if b is None else total + np.abs(b), np.int64)


def _clamps(reached: Ints, half: Ints) -> bool:
    """Whether floor(reached / 2^shift) can leave int16."""
    return bool(np.any(reached // (2 * half) > 32767))
