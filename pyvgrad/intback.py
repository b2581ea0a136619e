"""Errors of one step, in integers: what a step leaves, and the way back.

``docs/numbers-learning.md``, One step back.  Arrays are of one sequence: (n,) for
cells, (n_blocks,) for gates that a block shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyvgrad import intslopes
from pyvgrad.fixed import C_LIMIT, rs, rs_sat31, sat31
from pyvgrad.intcells import Stepped
from pyvgrad.intgate import Gate
from pyvgrad.intloss import inward
from pyvgrad.qmodel import Ints, QLayer

LayerGates = dict[str, Gate]
Errors = dict[str, Ints]  # of gates' arguments


@dataclass(frozen=True)
class Left:
    """What a step left in one layer.

    ``z`` is [x; r of the step before; 1], ``h`` and ``c`` (None without one) the new
    state, ``f`` (n,) how much of c is kept, q14; ``gates`` as in intcells.Stepped.
    ``slopes`` are the derivatives q24 under the specification's names; S_i and S_o are
    (n_blocks,).  ``own`` has what a gate's own column reads, (rows,), and ``s`` what
    takes the place of h for gates that read it.
    """

    z: Ints
    h: Ints
    c: Ints | None
    f: Ints
    gates: dict[str, Ints]
    slopes: dict[str, Ints]
    own: dict[str, Ints]
    s: Ints | None = None

    def source(self, q: QLayer, gate: str) -> Ints:
        """What a gate's shared columns and, last, its bias read: no own column."""
        parts, n_in = q.layer.parts(gate), q.layer.n_in
        x, r = self.z[:n_in], self.z[n_in:-1]
        if q.layer.reads(gate) == "s":
            assert self.s is not None
            r = self.s
        pieces = [x] * ("W" in parts) + [r] * ("U" in parts)
        return np.concatenate([*pieces, self.z[-1:]])


def left(
    q: QLayer, source: Ints, before: tuple[Ints, Ints | None], now: Stepped
) -> Left:
    """What a step leaves.

    ``source`` [x; r of the step before], ``before`` h and c then, ``now`` what the step
    made, all of one sequence, without the batch's axis.
    """
    z, (h, c) = np.append(source, 1), before
    own = {
        k: h if q.layer.reads(k) == "d" else rs(_seen(q, k, c, now.c), 6)
        for k in q.layer.gates
        if "P" in q.layer.parts(k)
    }
    if c is None or now.c is None:
        slopes = intslopes.rnn(q, now.h)
        return Left(z, now.h, None, now.h, {}, slopes, own)
    if q.layer.row.carry == "c":
        slopes, f = intslopes.lstm(q, now.gates, c, now.c)
        return Left(z, now.h, now.c, f, now.gates, slopes, own)
    slopes = intslopes.gru(q, now.gates, c, h)
    s = rs(now.gates["r"] * h, 14) if "r" in now.gates else None
    return Left(z, now.h, now.c, now.gates["z"], now.gates, slopes, own, s)


def _seen(q: QLayer, gate: str, before: Ints | None, after: Ints | None) -> Ints:
    """The c that a peephole sees."""
    c = after if q.layer.reads(gate) == "q" else before
    assert c is not None
    return c


# ---- the way back ----------------------------------------------------------


def block_sum(q: QLayer, cells: Ints) -> Ints:
    """Sums over the cells of each block, (n_blocks,)."""
    return np.asarray(cells.reshape(-1, q.layer.block).sum(axis=1), np.int64)


def error_of_h(q: QLayer, step: Left, error: Ints) -> Ints:
    """The error of h without what points outward; h of a GRU loses nothing."""
    if q.layer.row.carry == "h":
        return error
    return inward(error, step.h, -32768, 32767)


def error_of_c(step: Left, dh: Ints, after: Ints | int) -> Ints:
    """The error of c from that of h and from what else reads it."""
    assert step.c is not None
    of_h = rs(dh * step.slopes["H_c"], 24) if "H_c" in step.slopes else dh
    return inward(sat31(of_h + after), step.c, -C_LIMIT, C_LIMIT)


def back(
    q: QLayer,
    gates: LayerGates,
    step: Left,
    above: Ints,
    dr: Ints,
    dc: Ints | int,
) -> tuple[Errors, Ints | int]:
    """Errors of every gate's argument, and of c of the step before.

    ``above`` (n,) is the error of what the layer gives; ``dr`` (n_recurrent,) that of r
    and ``dc`` that of c, from the step after.
    """
    of_r = dr[: q.layer.n] if q.layer.n_recurrent else np.zeros(q.layer.n, np.int64)
    if "Y_y" in step.slopes:
        a = _highway_back(step, above)
        more, dc = _gru_back(q, gates, step, of_r, dc)
        return a | more, dc
    dh = error_of_h(q, step, sat31(above + of_r))
    if step.c is None:
        return {"a": rs(dh * step.slopes["H_a"], 24)}, 0
    if q.layer.row.carry == "h":
        return _gru_back(q, gates, step, dh, dc)
    return _lstm_back(q, gates, step, dh, dr, dc)


def _lstm_back(
    q: QLayer,
    gates: LayerGates,
    step: Left,
    dh: Ints,
    dr: Ints,
    dc: Ints | int,
) -> tuple[Errors, Ints]:
    slopes = step.slopes
    fed_back = dr[q.layer.n :].reshape(-1, q.layer.n_blocks)
    of_gates = dict(zip(q.layer.feedback_gates, fed_back, strict=True))

    def gate(k: str, each: Ints) -> Ints:
        error = block_sum(q, rs(each, 24))
        if k in of_gates:
            error = error + rs(of_gates[k] * slopes[f"S_{k}"], 24)
        return sat31(error)

    def own(k: str) -> Ints | int:
        return _own_error(gates[k], a[k], 14) if k in step.own else 0

    a: Errors = {}
    if "o" in q.layer.gates:
        a["o"] = gate("o", dh * slopes["H_o"])
        dc = dc + own("o")
    dc = error_of_c(step, dh, dc)
    for k in "if":
        if k in q.layer.gates:
            a[k] = gate(k, dc * slopes[f"C_{k}"])
    a["g"] = rs(dc * slopes["C_g"], 24)
    kept = rs(dc * step.f, 14)
    return a, sat31(kept + own("i") + own("f"))


def _own_error(gate: Gate, a: Ints, e: int) -> Ints:
    """The error of what a gate's own column reads, on the exponent e."""
    return rs_sat31(gate.hi[:, -1] * a, gate.E - e)


def _gru_back(
    q: QLayer, gates: LayerGates, step: Left, dh: Ints, dc: Ints | int
) -> tuple[Errors, Ints]:
    slopes = step.slopes
    dc = error_of_c(step, dh, dc)
    a = {k: rs_sat31(dc * slopes[f"C_{k}"], 24) for k in "znmr" if f"C_{k}" in slopes}
    if "R_s" in slopes:
        a["r"] = rs(_error_of_s(q, gates["n"], a["n"]) * slopes["R_s"], 24)
    return a, rs(dc * step.f, 14)


def _error_of_s(q: QLayer, n: Gate, a: Ints) -> Ints:
    """The error of s = r h, which n reads."""
    n_in = q.layer.n_in
    return rs_sat31(a @ n.hi[:, n_in:], n.source_shifts[n_in:])


def _highway_back(step: Left, dy: Ints) -> Errors:
    a = {k: rs_sat31(dy * step.slopes[f"Y_{k}"], 24) for k in "yup"}
    a["u"] = inward(a["u"], step.gates["u"], -32768, 32767)
    a["p"] = inward(a["p"], step.gates["p"], -32768, 32767)
    return a


def error_of_sources(q: QLayer, gates: LayerGates, step: Left, a: Errors) -> Ints:
    """Errors of z = [x; r], with the weights as they are now."""
    n_in = q.layer.n_in
    total = np.zeros(n_in + q.layer.n_recurrent, np.int64)
    for k, gate in gates.items():
        parts = q.layer.parts(k)
        first, end = (0 if "W" in parts else n_in), (None if "U" in parts else n_in)
        shared = gate.hi.shape[1] - ("P" in parts)
        error = rs_sat31(a[k] @ gate.hi[:, :shared], gate.source_shifts[:shared])
        if q.layer.reads(k) == "s":
            error[n_in:] = rs(error[n_in:] * step.gates["r"], 14)
        total[first:end] += error
        if q.layer.reads(k) == "d":
            total[n_in:] += _own_error(gate, a[k], int(gate.e[shared]))
    return sat31(total)
