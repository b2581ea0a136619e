"""One step of one layer in the integers of ``docs/numbers.md``, many sequences at once.

Written from that page alone, so that agreement with the C core means something.
Sums are int64 and exact: an accumulator is below 2^53 by the bound stated there, the
sum of a ``gru``'s n below 2^62.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyvgrad.fixed import ONE_Q14, rs, sat16, sat30, sigmoid_q14, tanh_q14
from pyvgrad.qmodel import Ints, QLayer

Gates = dict[str, Ints]


@dataclass(frozen=True)
class Stepped:
    """What a step of a layer made.

    ``out`` (batch, n) on h_exp is what the layer gives; ``h`` (batch, n) and ``c``
    (batch, n) or None the new state; ``gates`` {letter: (batch, rows)} q14, none for a
    cell without c, of which g is the value of g(x), up to 2.0 for ``4s-2``, m of a
    ``gru`` is its argument q11, and p and u of ``plus_rnn`` are on h_exp; ``clamps``
    (batch,) those that count.
    """

    out: Ints
    h: Ints
    c: Ints | None
    gates: Gates
    clamps: Ints


def alone(now: Stepped) -> Stepped:
    """The first sequence of a batch, without the batch's axis."""
    c = None if now.c is None else now.c[0]
    gates = {k: v[0] for k, v in now.gates.items()}
    return Stepped(now.out[0], now.h[0], c, gates, now.clamps[0])


def clamps_of(exact: Ints, clamped: Ints) -> Ints:
    """How many values of each sequence a clamp changed, (batch,)."""
    return np.asarray(np.count_nonzero(exact != clamped, axis=-1), np.int64)


def step(q: QLayer, x: Ints, r: Ints, c: Ints | None) -> Stepped:
    """One step of x (batch, n_in), from r (batch, state_length) and c before it.

    ``x`` is what the layer reads, on the exponents of ``QModel.x_exps``.
    """
    z = np.concatenate([x, r[:, : q.layer.n_recurrent]], axis=-1)
    if c is None:
        return _rnn(q, z, r[:, : q.layer.n])
    return _lstm(q, z, c) if q.layer.row.carry == "c" else _gru(q, z, c)


def _accumulator(q: QLayer, gate: str, z: Ints, own: Ints | None = None) -> Ints:
    """b + sum_j w_j z_j, (batch, rows); z = [x; r], ``own`` (batch, rows)."""
    parts, n_in, w = q.layer.parts(gate), q.layer.n_in, q.weights[gate]
    used = z[:, None if "W" in parts else n_in : None if "U" in parts else n_in]
    acc = used @ w[:, : used.shape[1]].T + q.biases.get(gate, 0)
    if "P" in parts:
        assert own is not None
        acc = acc + w[:, -1] * own
    return np.asarray(acc, np.int64)


def _argument(q: QLayer, gate: str, z: Ints, own: Ints | None = None) -> Ints:
    """A gate's argument before it is clamped, (batch, rows)."""
    acc = _accumulator(q, gate, z, own)
    return rs(acc, q.exps[gate] - q.argument_exp(gate))


def _rnn(q: QLayer, z: Ints, h: Ints) -> Stepped:
    """h' = T(a), S(a) or max(a, 0)."""
    exact = _argument(q, "a", z, h)
    a, clamps = sat16(exact), np.zeros(len(z), np.int64)
    function = q.layer.function("a")
    if function == "t":
        h = tanh_q14(a)
    elif function == "s":
        h = sigmoid_q14(a)
    else:
        h, clamps = _positive(exact)
    return Stepped(h, h, None, {}, clamps)


def _positive(exact: Ints) -> tuple[Ints, Ints]:
    """max(sat16(exact), 0) and its clamps; at -32768 it is 0 all the same."""
    a = sat16(exact)
    return np.maximum(a, 0), clamps_of(np.maximum(exact, -32768), a)


# ---- the LSTM family -------------------------------------------------------


def _lstm(q: QLayer, z: Ints, c: Ints) -> Stepped:
    """c' = sat30(rs(f c + m i g, 14)), then h'."""
    layer, opts = q.layer, q.layer.opts
    seen = rs(c, 6)  # by peepholes
    early = [k for k in layer.gates if k not in layer.row.late]
    a = {k: sat16(_argument(q, k, z, seen)) for k in early}
    gates = {k: sigmoid_q14(a[k]) for k in "ifo" if k in a}
    wide = {k: np.repeat(v, layer.block, axis=-1) for k, v in gates.items()}
    g = sigmoid_q14(a["g"]) if opts.squash_g == "s" else tanh_q14(a["g"])
    m = 128 if opts.squash_g == "4s-2" else 64
    coupled = ONE_Q14 - wide["i"] if layer.cell == "lstm_coupled" else ONE_Q14
    exact = rs(wide.get("f", coupled) * c + m * wide["i"] * g, 14)
    c = sat30(exact)
    clamps = clamps_of(exact, c)
    for k in layer.row.late:
        wide[k] = gates[k] = sigmoid_q14(sat16(_argument(q, k, z, rs(c, 6))))
    h, clamped = _squashed(q, wide.get("o"), c)
    return Stepped(h, h, c, gates | {"g": m // 64 * g}, clamps + clamped)


def _squashed(q: QLayer, o: Ints | None, c: Ints) -> tuple[Ints, Ints]:
    """h' = o h(c'), and its clamps."""
    if q.layer.opts.squash_h == "identity":
        exact = rs(c, 20 - q.h_exp) if o is None else rs(o * c, 34 - q.h_exp)
        h = sat16(exact)
        return h, clamps_of(exact, h)
    h = tanh_q14(sat16(rs(c, 8 if q.layer.opts.squash_h == "tanh" else 9)))
    return h if o is None else rs(o * h, 14), np.zeros(len(c), np.int64)


# ---- GRU and its kin -------------------------------------------------------


def _gru(q: QLayer, z: Ints, c: Ints) -> Stepped:
    """c' = sat30(rs(z c + 64 (16384 - z) n, 14)),  h' = sat16(rs(c', 6))."""
    gates = {
        k: sigmoid_q14(sat16(_argument(q, k, z))) for k in "zry" if k in q.layer.gates
    }
    if q.layer.cell == "gru":
        # One E for both: a_n is one rounding of the exact sum.
        acc = _accumulator(q, "m", z)
        gates["m"] = sat16(rs(acc, q.exps["m"] - 11))
        acc = (_accumulator(q, "n", z) << 14) + gates["r"] * acc
        exact = rs(acc, q.exps["n"] + 2)
    elif q.layer.cell == "gru_reset_before":
        n_in = q.layer.n_in
        s = rs(gates["r"] * z[:, n_in:], 14)
        exact = _argument(q, "n", np.concatenate([z[:, :n_in], s], axis=-1))
    else:
        exact = _argument(q, "n", z)
    gates["n"] = tanh_q14(sat16(exact))
    update = gates["z"]
    exact = rs(update * c + 64 * (ONE_Q14 - update) * gates["n"], 14)
    c = sat30(exact)
    wide = rs(c, 6)
    h = sat16(wide)
    clamps = clamps_of(exact, c) + clamps_of(wide, h)
    if q.layer.cell != "plus_rnn":
        return Stepped(h, h, c, gates, clamps)
    y, more, clamped = _highway(q, z, gates["y"])
    return Stepped(y, h, c, gates | more, clamps + clamped)


def _highway(q: QLayer, z: Ints, g: Ints) -> tuple[Ints, Gates, Ints]:
    """y = rs(g u + (16384 - g) p, 14), p and u, and the clamps of these."""
    p, clamps = _positive(_argument(q, "p", z))
    exact = _argument(q, "u", z)
    u = sat16(exact)
    y = rs(g * u + (ONE_Q14 - g) * p, 14)
    return y, {"p": p, "u": u}, clamps + clamps_of(exact, u)
