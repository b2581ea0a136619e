"""Fixed-point arithmetic of ``docs/numbers.md`` as ONNX nodes in float64.

Every value in it is an integer that a double holds
exactly, or the argument or result of S, T or exp before its one rounding:

- a sum W z + b with the rounding half is below 2^48 + 2^31 + 2^30 < 2^53, and so is
  every part of it in any order, with or without fused multiply-add;
- |f c + m i g| + 2^13 < 2^44 + 2^35 + 2^13 and |o c| + 2^33 <= 2^44 + 2^33;
- a shift is a Mul by 2^-n: it changes the exponent only, so Floor sees the exact
  quotient, and rs(x, n) = Floor((x + 2^(n-1)) 2^-n) is exact;
- S and T: no int16 argument comes nearer to a tie than 2e-10 of a unit, and a double
  Sigmoid or Tanh is off by some 1e-12; the tests try all 2^16 arguments, and all
  arguments of exp on its 15 exponents;
- softmax: 2^15 p + P < 2^32 and 2 P < 2^32, so a quotient that is no integer is at
  least 2^-32 away from one, while Div is off by less than 2^-38: Floor is right.
"""

from __future__ import annotations

import numpy as np

from pyvgrad.onnx_build import Graph
from pyvgrad.qmodel import Ints


class Exact(Graph):
    """A graph in float64 with the specification's arithmetic."""

    def rs(self, x: str, shift: int | Ints, plus: Ints | None = None) -> str:
        """Floor((x + plus + 2^(shift-1)) / 2^shift), shift >= 1."""
        n = np.asarray(shift)
        constant = 2.0 ** (n - 1) + (0 if plus is None else plus)
        half = self.op("Add", x, self.constant(constant))
        return self.op("Floor", self.op("Mul", half, self.constant(2.0**-n)))

    def clamp(self, x: str, low: int | None, high: int) -> str:
        """min(max(x, low), high); no lower bound for None."""
        floor = "" if low is None else self.constant(low)
        return self.op("Clip", x, floor, self.constant(high))

    def sat16(self, x: str) -> str:
        """An int16."""
        return self.clamp(x, -32768, 32767)

    def differing(self, x: str, clamped: str) -> str:
        """How many values of the last axis a clamp changed, (..., 1)."""
        changed = self.op("Not", self.op("Equal", x, clamped))
        axis = self.constant([-1], np.int64)
        return self.op("ReduceSum", self.cast(changed, np.float64), axis)

    def q14(self, function: str, z: str, exp: int) -> str:
        """Floor(2^14 f(z / 2^exp) + 1/2): S and T."""
        f = self.op(function, self.op("Mul", z, self.constant(2.0**-exp)))
        scaled = self.op("Mul", f, self.constant(2.0**14))
        return self.op("Floor", self.op("Add", scaled, self.constant(0.5)))

    def s(self, z: str) -> str:
        """S of an argument q11."""
        return self.q14("Sigmoid", z, 11)

    def t(self, z: str) -> str:
        """T of an argument q12."""
        return self.q14("Tanh", z, 12)

    def softmax(self, logits: str, logit_exp: int) -> str:
        """y_k = floor((2^15 p_k + P) / (2 P)),  p_k = floor(2^16 exp(-d_k) + 1/2)."""
        axis = self.constant([-1], np.int64)
        d = self.op("Sub", self.op("ReduceMax", logits, axis), logits)
        e = self.op("Exp", self.op("Mul", d, self.constant(-(2.0**-logit_exp))))
        p = self.op("Mul", e, self.constant(2.0**16))
        p = self.op("Floor", self.op("Add", p, self.constant(0.5)))
        total = self.op("ReduceSum", p, axis)
        top = self.op("Add", self.op("Mul", p, self.constant(2.0**15)), total)
        return self.op(
            "Floor", self.op("Div", top, self.op("Mul", total, self.constant(2)))
        )
