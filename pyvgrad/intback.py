"""Errors of one step, in integers: the cells' derivatives and the way back.

``docs/numbers-learning.md``, Derivatives and One step back.  Arrays are of one
sequence: (n,) for cells, (n_blocks,) for gates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyvgrad.fixed import C_LIMIT, ONE_Q14, rs, rs_sat31, sat16, sat31, tanh_q14
from pyvgrad.intgate import Gate
from pyvgrad.intloss import inward
from pyvgrad.qmodel import Ints, QLayer

_SQUARE = 1 << 28  # 1.0 in q28


@dataclass(frozen=True)
class Left:
    """What a step left in one layer.

    ``z`` is [x; r of the step before; 1], ``h`` and ``c`` (None without one) the new
    state, ``f`` (n,) the forget gate of each cell, q14.  ``slopes`` are the derivatives
    q24 under the specification's names, C_i, H_o, ..., of every cell; S_i and S_o are
    (n_blocks,).
    """

    z: Ints
    h: Ints
    c: Ints | None
    f: Ints
    slopes: dict[str, Ints]


def left(
    q: QLayer,
    source: Ints,
    h: Ints,
    carried: tuple[Ints, Ints] | None,
    gates: dict[str, Ints],
) -> Left:
    """What a step leaves; c before and after, gates as intmodel.Trace has them."""
    z = np.append(source, 1)
    if carried is None:
        return Left(z, h, None, h, {"H_a": _rnn_slope(q, h)})
    before, after = carried
    block = q.layer.block
    one = np.full(q.layer.n_blocks, ONE_Q14)
    i, f, o = (np.repeat(gates.get(k, one), block) for k in "ifo")
    g = gates["g"] >> (q.layer.opts.squash_g == "4s-2")  # 2 tanh(x / 2): T alone
    slopes = _input_slopes(q, i, f, g, before) | _output_slopes(q, o, after)
    for k in q.layer.feedback_gates:
        slopes[f"S_{k}"] = rs(gates[k] * (ONE_Q14 - gates[k]), 4)
    return Left(z, h, after, f, slopes)


def _rnn_slope(q: QLayer, h: Ints) -> Ints:
    function = q.layer.function("a")
    if function == "t":
        return rs(_SQUARE - h * h, 4)
    if function == "s":
        return rs(h * (ONE_Q14 - h), 4)
    return np.where(h > 0, 1 << 24, 0)


def _input_slopes(
    q: QLayer, i: Ints, f: Ints, g: Ints, c_before: Ints
) -> dict[str, Ints]:
    """d c / d of the arguments of i, f and g."""
    k = 2 if q.layer.opts.squash_g == "4s-2" else 1
    of_g = g * (ONE_Q14 - g) if q.layer.opts.squash_g == "s" else _SQUARE - g * g
    return {
        "C_i": rs(i * (ONE_Q14 - i) * g * k, 18),
        "C_f": rs_sat31(f * (ONE_Q14 - f) * c_before, 24),
        "C_g": rs(i * of_g, 18),
    }


def _output_slopes(q: QLayer, o: Ints, c: Ints) -> dict[str, Ints]:
    """d h / d c and d h / d of the argument of o."""
    slope = o * (ONE_Q14 - o)
    if q.layer.opts.squash_h == "identity":
        return {"H_c": o << 10, "H_o": rs_sat31(slope * c, 24)}
    half = int(q.layer.opts.squash_h == "2s-1")
    t = tanh_q14(sat16(rs(c, 8 + half)))
    return {"H_c": rs(o * (_SQUARE - t * t), 18 + half), "H_o": rs(slope * t, 18)}


def block_sum(q: QLayer, cells: Ints) -> Ints:
    """Sums over the cells of each block, (n_blocks,)."""
    return np.asarray(cells.reshape(-1, q.layer.block).sum(axis=1), np.int64)


def error_of_h(step: Left, error: Ints) -> Ints:
    """The error of h without what points outward."""
    return inward(error, step.h, -32768, 32767)


def error_of_c(step: Left, dh: Ints, after: Ints | int) -> Ints:
    """The error of c from that of h and from the step after."""
    assert step.c is not None
    dc = sat31(rs(dh * step.slopes["H_c"], 24) + after)
    return inward(dc, step.c, -C_LIMIT, C_LIMIT)


def back(
    q: QLayer, step: Left, dh: Ints, dc: Ints | int, dr: Ints
) -> tuple[dict[str, Ints], Ints | int]:
    """Errors of every gate's argument, and of c of the step before.

    ``dh`` (n,) is the whole error of h; ``dc`` that of c and ``dr`` (n_recurrent,) that
    of r from the step after, of which the gates' part is used here.
    """
    dh, slopes = error_of_h(step, dh), step.slopes
    if step.c is None:
        return {"a": rs(dh * slopes["H_a"], 24)}, 0
    fed_back = dr[q.layer.n :].reshape(-1, q.layer.n_blocks)
    of_gates = dict(zip(q.layer.feedback_gates, fed_back, strict=True))

    def gate(k: str, each: Ints) -> Ints:
        error = block_sum(q, rs(each, 24))
        if k in of_gates:
            error = error + rs(of_gates[k] * slopes[f"S_{k}"], 24)
        return sat31(error)

    dc = error_of_c(step, dh, dc)
    a = {"i": gate("i", dc * slopes["C_i"]), "g": rs(dc * slopes["C_g"], 24)}
    if "f" in q.layer.gates:
        a["f"] = gate("f", dc * slopes["C_f"])
    if "o" in q.layer.gates:
        a["o"] = gate("o", dh * slopes["H_o"])
    return a, rs(dc * step.f, 14)


def error_of_sources(gates: dict[str, Gate], a: dict[str, Ints]) -> Ints:
    """Errors of z = [x; r], with the weights as they are now."""
    of_gates = [
        rs_sat31(a[k] @ gate.hi, gate.source_shifts) for k, gate in gates.items()
    ]
    return sat31(np.sum(of_gates, axis=0))
