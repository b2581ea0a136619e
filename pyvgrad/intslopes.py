"""The derivatives of one step, in integers, q24: ``docs/numbers-learning.md``.

They have the specification's names, C_i, H_o, ..., and are made from what a step left:
the gates' outputs, c before and after, h.  Arrays are of one sequence: (n,) for every
cell, S_i and S_o (n_blocks,).
"""

from __future__ import annotations

import numpy as np

from pyvgrad.fixed import ONE_Q14, rs, rs_sat31, sat16, tanh_q14
from pyvgrad.qmodel import Ints, QLayer

_SQUARE = 1 << 28  # 1.0 in q28

Slopes = dict[str, Ints]
Gates = dict[str, Ints]


def _logistic(s: Ints) -> Ints:
    """s (1 - s) in q28, of s in q14."""
    return s * (ONE_Q14 - s)


def rnn(q: QLayer, h: Ints) -> Slopes:
    """H_a."""
    function = q.layer.function("a")
    if function == "t":
        return {"H_a": rs(_SQUARE - h * h, 4)}
    if function == "s":
        return {"H_a": rs(_logistic(h), 4)}
    return {"H_a": np.where(h > 0, 1 << 24, 0)}


# ---- the LSTM family -------------------------------------------------------


def lstm(q: QLayer, gates: Gates, before: Ints, after: Ints) -> tuple[Slopes, Ints]:
    """The derivatives, and by how much c is kept, q14 (n,); c before and after."""
    one = np.full(q.layer.n_blocks, ONE_Q14)
    i, f, o = (np.repeat(gates.get(k, one), q.layer.block) for k in "ifo")
    g = gates["g"] >> (q.layer.opts.squash_g == "4s-2")  # 2 tanh(x / 2): T alone
    slopes = _input_slopes(q, i, g) | _output_slopes(q, o, after)
    if q.layer.cell == "lstm_coupled":
        f = ONE_Q14 - i
        slopes["C_i"] = rs_sat31(_logistic(i) * (64 * g - before), 24)
    elif "f" in gates:
        slopes["C_f"] = rs_sat31(_logistic(f) * before, 24)
    for k in q.layer.feedback_gates:
        slopes[f"S_{k}"] = rs(_logistic(gates[k]), 4)
    return slopes, f


def _input_slopes(q: QLayer, i: Ints, g: Ints) -> Slopes:
    """d c / d of the arguments of i and g."""
    k = 2 if q.layer.opts.squash_g == "4s-2" else 1
    of_g = _logistic(g) if q.layer.opts.squash_g == "s" else _SQUARE - g * g
    return {"C_i": rs(_logistic(i) * g * k, 18), "C_g": rs(i * of_g, 18)}


def _output_slopes(q: QLayer, o: Ints, c: Ints) -> Slopes:
    """d h / d c and d h / d of the argument of o."""
    if q.layer.opts.squash_h == "identity":
        return {"H_c": o << 10, "H_o": rs_sat31(_logistic(o) * c, 24)}
    half = int(q.layer.opts.squash_h == "2s-1")
    t = tanh_q14(sat16(rs(c, 8 + half)))
    return {
        "H_c": rs(o * (_SQUARE - t * t), 18 + half),
        "H_o": rs(_logistic(o) * t, 18),
    }


# ---- GRU and its kin -------------------------------------------------------


def gru(q: QLayer, gates: Gates, before: Ints, h: Ints) -> Slopes:
    """C_z, C_n and what the cell has beside them; c and h of the step before."""
    z, n = gates["z"], gates["n"]
    slopes = {
        "C_z": rs_sat31(_logistic(z) * (before - 64 * n), 24),
        "C_n": rs((ONE_Q14 - z) * (_SQUARE - n * n), 18),
    }
    if q.layer.cell == "gru":
        r, m = gates["r"], gates["m"]
        slopes["C_m"] = rs(slopes["C_n"] * r, 14)
        slopes["C_r"] = rs_sat31(slopes["C_n"] * rs(_logistic(r) * m, 15), 24)
    elif q.layer.cell == "gru_reset_before":
        slopes["R_s"] = rs(_logistic(gates["r"]) * h, 18)
    elif q.layer.cell == "plus_rnn":
        slopes |= _highway(q, gates)
    return slopes


def _highway(q: QLayer, gates: Gates) -> Slopes:
    """d y / d of the arguments of y, u and p."""
    g, p, u = (gates[k] for k in "ypu")
    return {
        "Y_y": rs_sat31(_logistic(g) * (u - p), 4 + q.h_exp),
        "Y_u": g << 10,
        "Y_p": np.where(p > 0, (ONE_Q14 - g) << 10, 0),
    }
