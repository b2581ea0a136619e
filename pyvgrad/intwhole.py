"""Whole sequences through layers of which some are reversed, in integers.

``docs/numbers.md``, Directions: layer by layer, each over all steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyvgrad.intcells import Gates, Stepped, step
from pyvgrad.model import flipped
from pyvgrad.qmodel import Ints, QLayer, QModel


@dataclass(frozen=True)
class Passed:
    """What a layer made of whole sequences, each (batch, T, .) in the order of x.

    ``out`` is what it gives, ``h`` and ``c`` its state after each step that it took,
    ``r_end`` and ``c_end`` (batch, .) that after its last, ``clamps`` (batch,).
    """

    out: Ints
    h: Ints
    c: Ints | None
    gates: Gates
    r_end: Ints
    c_end: Ints | None
    clamps: Ints


def recurrent(q: QLayer, now: Stepped) -> Ints:
    """R of the next step, [h; the gates that feed back], (batch, state_length)."""
    fed_back = [now.gates[k] for k in q.layer.feedback_gates]
    return np.concatenate([now.h, *fed_back], axis=-1)


def pass_layers(
    model: QModel, r: tuple[Ints, ...], c: tuple[Ints | None, ...], x: Ints, ends: Ints
) -> list[Passed]:
    """Every layer over x (batch, T, n_in), with sequences of ``ends`` (batch,) steps.

    ``r`` and ``c`` are each layer's state at its start.
    """
    passed: list[Passed] = []
    for k, q in enumerate(model.layers):
        below = [passed[i].out for i in model.shape.below(k)]
        source = np.concatenate(below, axis=-1) if below else x
        passed.append(_pass(q, source, r[k], c[k], ends))
    return passed


def _pass(q: QLayer, x: Ints, r: Ints, c: Ints | None, ends: Ints) -> Passed:
    """One layer; a state stays as it is from its sequence's end on."""

    def ordered(v: Ints) -> Ints:
        return np.asarray(flipped(v, ends)) if q.layer.reversed else v

    x = ordered(x)
    steps: list[Stepped] = []
    clamps = np.zeros(len(x), np.int64)
    for t in range(x.shape[1]):
        now = step(q, x[:, t], r, c)
        steps.append(now)
        runs = t < ends
        clamps += np.where(runs, now.clamps, 0)
        r = np.where(runs[:, np.newaxis], recurrent(q, now), r)
        if c is not None and now.c is not None:
            c = np.where(runs[:, np.newaxis], now.c, c)

    def series(values: list[Ints]) -> Ints:
        return ordered(np.stack(values, axis=1))

    cs = [now.c for now in steps if now.c is not None]
    return Passed(
        out=series([now.out for now in steps]),
        h=series([now.h for now in steps]),
        c=series(cs) if cs else None,
        gates={k: series([now.gates[k] for now in steps]) for k in steps[0].gates},
        r_end=r,
        c_end=c,
        clamps=clamps,
    )
