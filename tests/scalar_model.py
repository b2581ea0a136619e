"""docs/numbers.md once more: one sequence, Python integers and fractions, loops.

It shares the QModel with pyvgrad/intmodel.py and nothing else: no array, no rounding
function, no table.  Slow, and short enough to be checked against the page by eye.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import floor

import mpmath

HALF = Fraction(1, 2)


def rs(x, n):
    """One rounding, half up."""
    return floor(Fraction(x, 2**n) + HALF) if n else x


def clamp(x, lo, hi):
    """x within lo..hi."""
    return min(max(x, lo), hi)


def sat16(x):
    """x within int16."""
    return clamp(x, -32768, 32767)


def _round(real):
    return int(mpmath.floor(real + mpmath.mpf(1) / 2))


@cache
def sigmoid(z):
    """Logistic function, q11 to q14."""
    with mpmath.workdps(40):
        return _round(16384 / (1 + mpmath.exp(-mpmath.mpf(z) / 2048)))


@cache
def tanh(z):
    """Tanh, q12 to q14."""
    with mpmath.workdps(40):
        return _round(16384 * mpmath.tanh(mpmath.mpf(z) / 4096))


@cache
def exp(d, e):
    """exp(-d / 2^e) in q16."""
    with mpmath.workdps(40):
        return _round(65536 * mpmath.exp(-mpmath.mpf(d) / 2**e))


class ScalarModel:
    """State: for each layer lists c, h, i, o; and the count of clamps."""

    def __init__(self, model):
        self.model, self.saturated = model, 0
        self.c, self.h, self.i, self.o = [], [], [], []
        for q in model.layers:
            n, blocks = q.layer.n, q.layer.n // q.layer.block
            r0 = [0] * (n + 2 * blocks) if q.r0 is None else [int(v) for v in q.r0]
            c0 = [0] * n if q.c0 is None else [int(v) for v in q.c0]
            self.c.append(c0)
            self.h.append(r0[:n])
            self.i.append(r0[n : n + blocks])
            self.o.append(r0[n + blocks : n + 2 * blocks])

    def counted(self, value, lo, hi):
        """Clamp and count."""
        if not lo <= value <= hi:
            self.saturated += 1
        return clamp(value, lo, hi)

    def counted16(self, value):
        """Clamp to int16 and count."""
        return self.counted(value, -32768, 32767)

    def before_clamp(self, weights, bias, exps, argument_exp, source):
        """rs(acc, E - e) of each row; the source is one list, or one a row."""
        accs = self.accumulators(weights, bias, source)
        return [rs(a, int(e) - argument_exp) for a, e in zip(accs, exps, strict=True)]

    def accumulators(self, weights, bias, source):
        """b + sum w z of each row."""
        out = []
        for k, row in enumerate(weights):
            acc = 0 if bias is None else int(bias[k])
            z = source[k] if source and isinstance(source[0], list) else source
            for w, value in zip(row, z, strict=True):
                acc += int(w) * value
            out.append(acc)
        return out

    def layer(self, index, x):
        """Step one layer: what it gives."""
        q = self.model.layers[index]
        f = q.layer.fields
        x, old = list(x), list(self.h[index])
        r = old if f.recurrent else []
        if f.feedback:
            r = r + self.i[index]
            if f.output_gate:
                r = r + self.o[index]

        def gate(k, e, source=None):
            if source is None:
                source = x if (q.layer.cell, k) == ("plus_rnn", "u") else x + r
            return self.before_clamp(
                q.weights[k], q.biases.get(k), q.exps[k], e, source
            )

        name = q.layer.cell
        if name == "rnn_tanh":
            h = [tanh(sat16(a)) for a in gate("a", 12)]
        elif name == "rnn_sigmoid":
            h = [sigmoid(sat16(a)) for a in gate("a", 11)]
        elif name in ("rnn_relu", "indrnn"):
            own = [[*x, value] for value in old] if name == "indrnn" else None
            h = self.positive(gate("a", q.h_exp, own))
        elif name in ("lstm97", "lstm"):
            h = self.lstm(index, gate)
        elif name in ("lstm_coupled", "lstm_peephole"):
            h = self.other_lstm(index, gate, x + r)
        else:
            h = self.gru(index, gate, x, old)
        self.h[index] = h
        return self.highway(q, gate) if name == "plus_rnn" else h

    def positive(self, arguments):
        """max(a, 0); a clamp at 32767 is counted."""
        self.saturated += sum(a > 32767 for a in arguments)
        return [max(sat16(a), 0) for a in arguments]

    def other_lstm(self, index, gate, z):
        """h' of a coupled or a peephole LSTM; c moves on."""
        peephole = self.model.layers[index].layer.cell == "lstm_peephole"

        def seeing():
            return [[*z, rs(c, 6)] for c in self.c[index]] if peephole else None

        i = [sigmoid(sat16(a)) for a in gate("i", 11, seeing())]
        if peephole:
            f = [sigmoid(sat16(a)) for a in gate("f", 11, seeing())]
        else:
            f = [16384 - v for v in i]
        g = [tanh(sat16(a)) for a in gate("g", 12)]
        self.c[index] = [
            self.counted(rs(kept * c + 64 * fed * value, 14), -(2**30), 2**30)
            for kept, c, fed, value in zip(f, self.c[index], i, g, strict=True)
        ]
        o = [sigmoid(sat16(a)) for a in gate("o", 11, seeing())]
        return [
            rs(out * tanh(sat16(rs(c, 8))), 14)
            for out, c in zip(o, self.c[index], strict=True)
        ]

    def gru(self, index, gate, x, old):
        """h' of GRU and its kin; c moves on."""
        q = self.model.layers[index]
        z = [sigmoid(sat16(a)) for a in gate("z", 11)]
        if q.layer.cell == "gru":
            r = [sigmoid(sat16(a)) for a in gate("r", 11)]
            acc_n, acc_m = (
                self.accumulators(q.weights[k], q.biases.get(k), source)
                for k, source in (("n", x), ("m", old))
            )
            assert q.exps["n"].tolist() == q.exps["m"].tolist()
            a_n = [
                rs(2**14 * acc_n[u] + r[u] * acc_m[u], int(q.exps["n"][u]) + 2)
                for u in range(q.layer.n)
            ]
        elif q.layer.cell == "gru_reset_before":
            r = [sigmoid(sat16(a)) for a in gate("r", 11)]
            s = [rs(reset * h, 14) for reset, h in zip(r, old, strict=True)]
            a_n = gate("n", 12, x + s)
        else:
            a_n = gate("n", 12)
        n = [tanh(sat16(a)) for a in a_n]
        self.c[index] = [
            self.counted(rs(z[u] * c + 64 * (16384 - z[u]) * n[u], 14), -(2**30), 2**30)
            for u, c in enumerate(self.c[index])
        ]
        return [self.counted16(rs(c, 6)) for c in self.c[index]]

    def highway(self, q, gate):
        """y of plus_rnn."""
        g = [sigmoid(sat16(a)) for a in gate("y", 11)]
        p = self.positive(gate("p", q.h_exp))
        u = [self.counted16(a) for a in gate("u", q.h_exp)]
        return [rs(g[k] * u[k] + (16384 - g[k]) * p[k], 14) for k in range(q.layer.n)]

    def lstm(self, index, gate):
        """h' of the LSTM family; c, i and o move on."""
        q = self.model.layers[index]
        f = q.layer.fields
        i = [sigmoid(sat16(a)) for a in gate("i", 11)]
        forget = [sigmoid(sat16(a)) for a in gate("f", 11)] if f.forget_gate else None
        o = [sigmoid(sat16(a)) for a in gate("o", 11)] if f.output_gate else None
        a_g = [sat16(a) for a in gate("g", 12 if f.squash_g == "tanh" else 11)]
        g = [sigmoid(a) if f.squash_g == "s" else tanh(a) for a in a_g]
        m = {"tanh": 64, "4s-2": 128, "s": 64}[f.squash_g]
        h = []
        for u in range(q.layer.n):
            b = u // q.layer.block
            kept = (16384 if forget is None else forget[b]) * self.c[index][u]
            c = self.counted(rs(kept + m * i[b] * g[u], 14), -(2**30), 2**30)
            self.c[index][u] = c
            if f.squash_h == "identity":
                value = rs(c, 20 - q.h_exp) if o is None else rs(o[b] * c, 34 - q.h_exp)
                h.append(self.counted16(value))
            else:
                t = tanh(sat16(rs(c, 8 if f.squash_h == "tanh" else 9)))
                h.append(t if o is None else rs(o[b] * t, 14))
        self.i[index] = i
        self.o[index] = o or []
        return h

    def step(self, x):
        """x, a list of n_in integers: y and logits, lists."""
        x = [int(v) for v in x]
        h = x
        for index in range(len(self.model.layers)):
            h = self.layer(index, h)
        return self.readout(h, x)

    def run_whole(self, xs):
        """A sequence through reversed layers too: y and logits of the mode's steps."""
        xs = [[int(v) for v in x] for x in xs]
        source, halves, ends = xs, [], []
        for index, q in enumerate(self.model.layers):
            backwards = q.layer.direction in ("reverse", "reverse-half")
            steps = list(reversed(source)) if backwards else source
            given = [self.layer(index, x) for x in steps]
            end = given[-1]
            if backwards:
                given.reverse()
            if q.layer.direction == "forward-half":
                halves = [given, end]
                continue
            if q.layer.direction == "reverse-half":
                given = [a + b for a, b in zip(halves[0], given, strict=True)]
                end = halves[1] + end
            source, ends = given, end
        if self.model.shape.mode == "final":
            return [self.readout(ends, xs[-1])]
        if self.model.shape.mode == "last":
            return [self.readout(source[-1], xs[-1])]
        return [self.readout(h, x) for h, x in zip(source, xs, strict=True)]

    def readout(self, h, x):
        """y and logits, lists."""
        q = self.model.readout
        if q is None:
            return h, h
        source = h + (x if q.readout.shortcuts else [])
        exact = self.before_clamp(q.weights, q.biases, q.exps, q.logit_exp, source)
        if q.readout.output == "logistic":
            logits = [sat16(a) for a in exact]
            return [sigmoid(a) for a in logits], logits
        logits = [self.counted16(a) for a in exact]
        if q.readout.output == "linear":
            return logits, logits
        e = [exp(max(logits) - a, q.logit_exp) for a in logits]
        return [floor(Fraction(2**15 * k + sum(e), 2 * sum(e))) for k in e], logits

    def saved(self):
        """The state as BLOB.md has it, less the CRC."""
        out = self.saturated.to_bytes(4, "little")
        for index, q in enumerate(self.model.layers):
            f = q.layer.fields
            if not q.layer.cell.startswith("rnn_") and q.layer.cell != "indrnn":
                for v in self.c[index]:
                    out += v.to_bytes(4, "little", signed=True)
            for v in (
                self.h[index]
                + (self.i[index] if f.feedback else [])
                + (self.o[index] if f.feedback and f.output_gate else [])
            ):
                out += v.to_bytes(2, "little", signed=True)
            out += bytes(-len(out) % 4)
        return out
