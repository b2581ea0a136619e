"""TBPTT and RTRL97 in integers: from what steps left to a gradient.

``docs/numbers-learning.md``, TBPTT(k1, k2) and RTRL97.  A method is given each step as
it is made (``add``), then the error of the last layer's h where there is a target
(``error``), and adds its gradient to the gates' in ``gather``.  What is returned are
values clamped, as ``Counters.saturated`` counts them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pyvgrad.fixed import rs, sat30, sat31
from pyvgrad.intback import (
    Errors,
    Left,
    back,
    block_sum,
    error_of_c,
    error_of_h,
    error_of_sources,
)
from pyvgrad.intgate import Gate
from pyvgrad.qmodel import Ints, QLayer

LayerGates = list[dict[str, Gate]]


class Method(Protocol):
    """What the trainer asks of a method."""

    def add(self, step: list[Left]) -> int:
        """Take what a step left in each layer."""

    def error(self, dh: Ints) -> int:
        """Take the error of the last layer's h in this step."""

    def gather(self) -> int:
        """Bring the layers' gradients up to date."""

    def used(self) -> None:
        """No step is pending any more."""

    def clear(self) -> None:
        """Start a sequence."""


@dataclass
class _Taped:
    """A step on the tape; ``error`` is that of h, None where there was no target."""

    layers: list[Left]
    error: Ints | None = None


class Tape:
    """TBPTT: the newest k2 steps."""

    def __init__(self, layers: tuple[QLayer, ...], gates: LayerGates, k2: int) -> None:
        self.layers, self.gates = layers, gates
        self.steps: deque[_Taped] = deque(maxlen=k2)

    def add(self, step: list[Left]) -> int:
        """As in Method."""
        self.steps.append(_Taped(step))
        return 0

    def error(self, dh: Ints) -> int:
        """As in Method."""
        self.steps[-1].error = dh
        return 0

    def used(self) -> None:
        """As in Method."""
        for step in self.steps:
            step.error = None

    def clear(self) -> None:
        """As in Method."""
        self.steps.clear()

    def gather(self) -> int:
        """As in Method: one exact sum over the tape for each weight."""
        if not self.steps:
            return 0
        errors = self._errors()  # of the newest step first
        clamps = 0
        for k, gates in enumerate(self.gates):
            steps = [step.layers[k] for step in reversed(self.steps)]
            for letter, gate in gates.items():
                a = np.stack([step[k][letter] for step in errors])
                z = np.stack([step.source(self.layers[k], letter) for step in steps])
                own = [step.own[letter] for step in steps if letter in step.own]
                clamps += gate.gather(_gradient(gate, a, z, own))
        return clamps

    def _errors(self) -> list[list[Errors]]:
        """Errors of the arguments, [step from the newest][layer][gate]."""
        dr = [np.zeros(q.layer.n_recurrent, np.int64) for q in self.layers]
        dc: list[Ints | int] = [0] * len(self.layers)
        errors = []
        for step in reversed(self.steps):
            above = np.zeros(self.layers[-1].layer.n, np.int64)
            above = above if step.error is None else step.error
            by_layer: list[Errors] = []
            for k in reversed(range(len(self.layers))):
                q, n_in = self.layers[k], self.layers[k].layer.n_in
                now, gates = step.layers[k], self.gates[k]
                a, dc[k] = back(q, gates, now, above, dr[k], dc[k])
                sources = error_of_sources(q, gates, now, a)
                above, dr[k] = sources[:n_in], sources[n_in:]
                by_layer.insert(0, a)
            errors.append(by_layer)
        return errors


def _gradient(gate: Gate, a: Ints, z: Ints, own: list[Ints]) -> Ints:
    """The sum over steps of errors (steps, rows) times sources, (rows, width).

    ``z`` (steps, columns and a 1) is what all rows read, ``own`` what each row does.
    """
    n, e = z.shape[1] - 1, gate.e
    G = [rs(a.T @ z[:, :n], e[:n])]
    if own:
        G.append(rs(a * np.stack(own), e[n]).sum(axis=0)[:, np.newaxis])
    if gate.bias is not None:
        G.append(a.sum(axis=0)[:, np.newaxis])
    return np.concatenate(G, axis=1)


def _sources(q: QLayer, step: Left, letter: str, gate: Gate) -> Ints:
    """What each row of a gate reads in a step, (rows, width)."""
    z = step.source(q, letter)
    rows = np.tile(z if gate.bias is not None else z[:-1], (len(gate.hi), 1))
    if letter not in step.own:
        return rows
    return np.insert(rows, len(z) - 1, step.own[letter], axis=1)


class Traces:
    """RTRL97: a trace q20 of each cell for each weight of the gates that feed c."""

    def __init__(self, q: QLayer, gates: dict[str, Gate]) -> None:
        self.q, self.gates = q, gates
        self.traced = [k for k in gates if k != "o"]
        self.clear()

    def clear(self) -> None:
        """As in Method."""
        n = self.q.layer.n
        self.e = {k: np.zeros((n, len(self.gates[k].e)), np.int64) for k in self.traced}

    def add(self, step: list[Left]) -> int:
        """As in Method: every trace goes one step on."""
        [self.now] = step
        clamps = 0
        for k in self.traced:
            gate, slope = self.gates[k], self.now.slopes[f"C_{k}"]
            z = np.repeat(
                _sources(self.q, self.now, k, gate), len(slope) // len(gate.hi), axis=0
            )
            kept = rs(self.now.f[:, np.newaxis] * self.e[k], 14)
            exact = kept + rs(slope[:, np.newaxis] * z, 4 + gate.e)
            e = np.where(gate.live, sat30(exact), self.e[k])
            clamps += int(np.count_nonzero((e != exact) & gate.live))
            self.e[k] = e
        return clamps

    def error(self, dh: Ints) -> int:
        """As in Method: traces and an error make gradient."""
        dh = error_of_h(self.q, self.now, dh)
        clamps = 0
        if "o" in self.gates:
            gate = self.gates["o"]
            a = sat31(block_sum(self.q, rs(dh * self.now.slopes["H_o"], 24)))
            z = _sources(self.q, self.now, "o", gate)
            clamps += gate.gather(rs(a[:, np.newaxis] * z, gate.e))
        dc = error_of_c(self.now, dh, 0)
        for k in self.traced:
            each = rs(dc[:, np.newaxis] * self.e[k], 20)
            rows, width = self.gates[k].M.shape
            of_rows = each.reshape(rows, -1, width).sum(axis=1)
            clamps += self.gates[k].gather(of_rows)
        return clamps

    def gather(self) -> int:
        """As in Method: the gradient is there already."""
        return 0

    def used(self) -> None:
        """As in Method: traces go on."""
