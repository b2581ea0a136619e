"""One step of one layer as ONNX nodes that compute the specification's integers.

Written from ``docs/numbers.md`` alone.  Values are names of nodes, (N, .) float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pyvgrad.cells import Layer
from pyvgrad.errors import VgradError
from pyvgrad.onnx_fixed import Exact
from pyvgrad.qmodel import Ints, QLayer

_EXACT = 1 << 53  # below it a double holds every integer


@dataclass(frozen=True)
class Step:
    """What a step makes: the layer's output, the new r and c, counts of clamps."""

    out: str
    r: str
    c: str | None
    counts: list[str]


@dataclass(frozen=True)
class Cell:
    """A layer under construction in the body of a Scan.

    ``g`` is the graph around, where weights are kept, ``body`` that of a step; ``k``
    is the layer's number from 1.
    """

    g: Exact
    body: Exact
    q: QLayer
    k: int

    def step(self, x: str, r: str, c: str | None) -> Step:
        """One step of x (N, n_in) from r (N, state_length) and c (N, n)."""
        layer = self.q.layer
        h = self.body.head(r, self.q.state_length, layer.n)
        if c is None:
            return self._rnn(x, r, h)
        if layer.row.carry == "c":
            return self._lstm(x, r, c)
        return self._gru(x, r, c, h)

    # ---- affine maps -----------------------------------------------------

    def accumulators(self, gates: str, z: dict[str, str], own: str = "") -> str:
        """sum_j w_j z_j of gates that read the same, side by side, without biases.

        ``z`` has the sources of the columns W and U, ``own`` (N, n) that of the last.
        """
        q, g = self.q, self.body
        parts = q.layer.parts(gates[0])
        weights = np.concatenate([q.weights[k] for k in gates])
        shared = weights[:, : weights.shape[1] - ("P" in parts)]
        name = f"layer_{self.k}" + ("" if gates == q.layer.gates else f"/{gates}")
        matrix = integers(self.g, shared, name)
        source = g.concat([z[part] for part in parts if part != "P"])
        acc = g.op("MatMul", source, matrix, name=f"acc_{gates}")
        if "P" not in parts:
            return acc
        column = self.g.constant(weights[:, -1], name=f"{name}/own")
        seen = g.concat([own] * len(gates))
        return g.op("Add", acc, g.op("Mul", seen, column))

    def arguments(self, gates: str, z: dict[str, str], own: str = "") -> dict[str, str]:
        """A = rs(acc, E - e) by gate, not yet saturated, (N, rows)."""
        q = self.q
        rows = [q.layer.rows(k) for k in gates]
        shifts = [q.exps[k] - q.argument_exp(k) for k in gates]
        acc = self.accumulators(gates, z, own)
        a = self.body.rs(
            acc, np.concatenate(shifts), np.concatenate(self._biases(gates))
        )
        return self.body.split(a, gates, rows)

    def _biases(self, gates: str) -> list[Ints]:
        return [
            self.q.biases.get(k, np.zeros(self.q.layer.rows(k), np.int64))
            for k in gates
        ]

    def _sources(self, x: str, r: str) -> dict[str, str]:
        return {"W": x} | ({"U": r} if self.q.layer.n_recurrent else {})

    def _positive(self, a: str) -> tuple[str, str]:
        """max(sat16(a), 0), and the count of clamps but those at -32768."""
        h = self.body.clamp(a, None, 32767)
        return self.body.op("Relu", h), self.body.differing(a, h)

    # ---- cells -----------------------------------------------------------

    def _rnn(self, x: str, r: str, h: str) -> Step:
        """h' = T(a), S(a) or max(a, 0)."""
        g = self.body
        a = self.arguments("a", self._sources(x, r), h)["a"]
        function = self.q.layer.function("a")
        if function == "r":
            h, count = self._positive(a)
            return Step(h, h, None, [count])
        a = g.sat16(a)
        h = g.t(a) if function == "t" else g.s(a)
        return Step(h, h, None, [])

    def _lstm(self, x: str, r: str, c: str) -> Step:
        """c' = sat30(rs(f c + m i g, 14)),  h' = rs(o h(c'), .)."""
        g, layer = self.body, self.q.layer
        opts, z = layer.opts, self._sources(x, r)
        a: dict[str, str] = {}
        for gates in _alike(layer):
            own = g.rs(c, 6) if layer.reads(gates[0]) == "p" else ""
            a |= self.arguments(gates, z, own)
        gate = {k: g.s(g.sat16(a[k])) for k in a if k != "g"}
        wide = {k: g.spread(v, layer.block) for k, v in gate.items()}
        a_g = g.sat16(a["g"])
        squashed = g.s(a_g) if opts.squash_g == "s" else g.t(a_g)
        m = 128 if opts.squash_g == "4s-2" else 64
        f = wide.get("f") or g.constant(16384)
        if layer.cell == "lstm_coupled":
            f = g.op("Sub", g.constant(16384), wide["i"])
        fed = g.op("Mul", g.op("Mul", wide["i"], squashed), g.constant(m))
        raw = g.rs(g.op("Add", g.op("Mul", f, c), fed), 14)
        c = g.clamp(raw, -(2**30), 2**30)
        counts = [g.differing(raw, c)]
        for k in layer.row.late:
            late = self.arguments(k, z, g.rs(c, 6))
            gate[k] = wide[k] = g.s(g.sat16(late[k]))
        h, more = self._squashed(wide.get("o"), c)
        r = g.concat([h, *(gate[k] for k in layer.feedback_gates)])
        return Step(h, r, c, counts + more)

    def _squashed(self, o: str | None, c: str) -> tuple[str, list[str]]:
        """h' of c', and the counts of its clamps."""
        g, squash = self.body, self.q.layer.opts.squash_h
        if squash == "identity":
            raw = g.rs(g.op("Mul", o, c), 34 - self.q.h_exp) if o else ""
            raw = raw or g.rs(c, 20 - self.q.h_exp)
            h = g.sat16(raw)
            return h, [g.differing(raw, h)]
        h = g.t(g.sat16(g.rs(c, 8 if squash == "tanh" else 9)))
        return (g.rs(g.op("Mul", o, h), 14) if o else h), []

    def _gru(self, x: str, r: str, c: str, h: str) -> Step:
        """c' = sat30(rs(z c + 64 (16384 - z) n, 14)),  h' = sat16(rs(c', 6))."""
        g, layer, z = self.body, self.q.layer, self._sources(x, r)
        early = "".join(k for k in layer.gates if layer.reads(k) == "b")
        a = self.arguments(early, z)
        gate = {k: g.s(g.sat16(a[k])) for k in early if layer.function(k) == "s"}
        if layer.cell == "gru":
            a_n = self._reset_after(x, h, gate["r"])
        elif layer.cell == "gru_reset_before":
            s = g.rs(g.op("Mul", gate["r"], h), 14)
            a_n = self.arguments("n", {"W": x, "U": s})["n"]
        else:
            a_n = a["n"]
        n = g.op("Mul", g.t(g.sat16(a_n)), g.constant(64))
        rest = g.op("Sub", g.constant(16384), gate["z"])
        mixed = g.op("Add", g.op("Mul", gate["z"], c), g.op("Mul", rest, n))
        raw = g.rs(mixed, 14)
        c = g.clamp(raw, -(2**30), 2**30)
        wide = g.rs(c, 6)
        h = g.sat16(wide)
        counts = [g.differing(raw, c), g.differing(wide, h)]
        if layer.cell != "plus_rnn":
            return Step(h, h, c, counts)
        out, more = self._highway(x, a["p"], gate["y"])
        return Step(out, h, c, counts + more)

    def _reset_after(self, x: str, h: str, r: str) -> str:
        """a_n = rs(2^14 acc_n + r acc_m, E + 2)."""
        q, g = self.q, self.body
        for row in range(q.layer.n):
            if _largest_sum(q, row) >= _EXACT:
                raise VgradError(
                    f"layer {self.k}: the weights of its gates n and m are too many or "
                    "too large for exact integers in ONNX's doubles; run it on another "
                    "executor"
                )
        acc = {}
        for k, source in (("n", {"W": x}), ("m", {"U": h})):
            [bias] = self._biases(k)
            acc[k] = g.op("Add", self.accumulators(k, source), g.constant(bias))
        n = g.op("Mul", acc["n"], g.constant(1 << 14))
        total = g.op("Add", n, g.op("Mul", r, acc["m"]))
        return g.rs(total, q.exps["n"] + 2)

    def _highway(self, x: str, a_p: str, gate: str) -> tuple[str, list[str]]:
        """y = rs(g u + (16384 - g) p, 14)."""
        g = self.body
        p, count = self._positive(a_p)
        raw = self.arguments("u", {"W": x})["u"]
        u = g.sat16(raw)
        rest = g.op("Sub", g.constant(16384), gate)
        mixed = g.op("Add", g.op("Mul", gate, u), g.op("Mul", rest, p))
        return g.rs(mixed, 14), [count, g.differing(raw, u)]


def _alike(layer: Layer) -> list[str]:
    """Early gates in runs that read the same."""
    early = (k for k in layer.gates if k not in layer.row.late)
    return ["".join(run) for _, run in groupby(early, layer.reads)]


def _largest_sum(q: QLayer, row: int) -> int:
    """What |2^14 acc_n + r acc_m| and the rounding half cannot exceed."""
    most = 0
    for k in "nm":
        weights = sum(abs(int(w)) for w in q.weights[k][row])
        bias = abs(int(q.biases[k][row])) if k in q.biases else 0
        most += (weights << 15) + bias
    return (most << 14) + (1 << int(q.exps["n"][row]) + 1)


def integers(g: Exact, weights: Ints, name: str) -> str:
    """The blob's own weights, (rows, columns), as float64 (columns, rows)."""
    dtype = np.int8 if abs(weights).max() <= 127 else np.int16
    return g.cast(g.constant(weights.T, dtype, f"{name}/weights"), np.float64)
