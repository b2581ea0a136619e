"""Checkpoints: every kind of them, and what is in one by BLOB.md.

``decode`` was written from that page alone, to bear witness against plan.c.
"""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
from trainings import Training, blob_of, make, random_lesson, small_model, teach

from pyvgrad.blob import parse
from pyvgrad.cells import Fields

FEEDBACK = Fields("4s-2", "2s-1", True, True, feedback=True)
RULES = ("sgd", "momentum", "nesterov", "rmsprop")
# A model and settings for every way a checkpoint can look.
KINDS = {
    "rtrl97": ({"cell": "lstm97", "n_layers": 1}, {"method": "rtrl97"}),
    "rtrl97, every step": (
        {"cell": "lstm", "n_layers": 1, "shortcuts": True},
        {"method": "rtrl97", "k1": 1, "symbols": True},
    ),
    "rtrl97, blocks": (
        {"cell": "lstm97", "n_layers": 1, "block": 2, "fields": FEEDBACK},
        {"method": "rtrl97", "symbols": True},
    ),
    "tbptt, stack": ({"n_layers": 3}, {"k2": 5, "k1": 2}),
    "tbptt, gate feedback": (
        {"cell": "lstm97", "block": 2, "fields": FEEDBACK, "n_layers": 2},
        {"k2": 3, "k1": 3, "symbols": True},
    ),
    "rtrl97, peepholes": (
        {"cell": "lstm_peephole", "n_layers": 1},
        {"method": "rtrl97", "symbols": True},
    ),
    "rtrl97, gru": ({"cell": "gru", "n_layers": 1}, {"method": "rtrl97", "k1": 1}),
    "tbptt, gru": ({"cell": "gru", "n_layers": 2}, {"k2": 4, "k1": 2, "symbols": True}),
    "tbptt, peepholes": ({"cell": "lstm_peephole", "n_layers": 2}, {"k2": 4, "k1": 4}),
    "tbptt, r before": (
        {"cell": "gru_reset_before", "n_layers": 1},
        {"k2": 3, "k1": 1, "symbols": True},
    ),
    "tbptt, plus": ({"cell": "plus_rnn", "n_layers": 2}, {"k2": 3, "k1": 2}),
    "tbptt, diagonal": ({"cell": "indrnn", "n_layers": 2}, {"k2": 5, "symbols": True}),
    "tbptt, relu": ({"cell": "rnn_relu", "n_layers": 2}, {"k2": 6, "symbols": True}),
    "tbptt, no recurrent weights": (
        {"cell": "lstm97", "fields": Fields(recurrent=False), "shortcuts": True},
        {"k2": 4, "k1": 1, "symbols": True},
    ),
}


def begun(kind, rule, seed=1):
    """A training, and four sequences of 9 steps for it."""
    shape, what = KINDS[kind]
    model = small_model(seed, output="softmax", **shape)
    learn = make(rule=rule, seed=7, clip_q16=1 << 15, **what)
    rng = np.random.default_rng(seed)
    lessons = [random_lesson(rng, model, learn, 9) for _ in range(4)]
    return Training(blob_of(model), learn), lessons


def finished(training, lessons, first=0):
    """The rest of the lessons from a step on; all that it led to."""
    seen = []
    for lesson in lessons:
        seen += teach(training, lesson, slice(first, None))
        seen.append(training.end())
        first = 0
    assert training.arena.whole()
    return seen, training.counters(), training.checkpoint()


# ---- a checkpoint, by BLOB.md -----------------------------------------------

HEAD = (  # noqa: SIM905
    "version method rule loss flags k1 k2 frozen rate decay clip epsilon seed "
    "sequences steps updates clipped falls saturated norm loss_q16 run_saturated "
    "pending hot tape_at tape_len n_seen n_fresh"
).split()
HEAD_FORM = struct.Struct("<I4B2HI4iI7IiI6I")


@dataclasses.dataclass
class State:
    """The section lrns, taken apart; gates by (layer, letter), readout ``y``."""

    head: dict
    images: list
    gates: dict
    tapes: list
    dh_tape: np.ndarray | None
    lists: dict
    symbol_tape: np.ndarray | None


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, kind, *shape):
        n = int(np.prod(shape))
        a = np.frombuffer(self.data, kind, n, self.at).reshape(shape)
        self.at += (a.nbytes + 3) // 4 * 4
        return a


def section(checkpoint):
    """Bytes of the section lrns, which is the last."""
    tag, data = parse(checkpoint).sections[-1]
    assert tag == "lrns"
    return data


def _weights(r, rows, columns, biased):
    n = rows * columns
    flat = r.take("<i4", n + rows * biased)
    return flat[:n].reshape(rows, columns), flat[n:]


def _gate(r, rows, columns, biased, head, *, has_g, cells=0):
    gate = {
        "factors": r.take("<i4", 3),
        "lo": r.take("<i2", rows, (columns + 3) // 4 * 4),
    }
    if has_g:
        gate["G"] = _weights(r, rows, columns, biased)
    if head["rule"]:
        gate["V"] = _weights(r, rows, columns, biased)
    if cells:
        gate["traces"] = _weights(r, cells, columns, biased)
    return gate


def _layer(r, k, q, head, state):
    layer, k2, tbptt = q.layer, head["k2"], head["method"] == 0
    tape = {}
    if tbptt:
        n_x = 0 if head["flags"] & 2 and k == 0 else layer.n_in
        tape["z"] = r.take("<i2", n_x + layer.n_recurrent, k2)
        if layer.row.carry:
            tape["c"] = r.take("<i4", layer.n, k2)
        if not layer.n_recurrent:
            tape["h"] = r.take("<i2", layer.n, k2)
    state.tapes.append(tape)
    for letter in layer.gates:
        cells = layer.n if not tbptt and letter != "o" else 0
        rows, columns = layer.rows(letter), layer.columns(letter)
        biased = layer.has_bias(letter)
        gate = _gate(r, rows, columns, biased, head, has_g=not tbptt, cells=cells)
        if tbptt and layer.row.carry:
            gate["out"] = r.take("<i2", rows, k2)
        state.gates[k, letter] = gate


def decode(checkpoint):
    """The State in a checkpoint; every byte of the section belongs to it."""
    model, data = parse(checkpoint), section(checkpoint)
    r = _Reader(data)
    head = dict(zip(HEAD, HEAD_FORM.unpack(data[:96]), strict=True))
    r.at = 96
    state = State(head, [], {}, [], None, {}, None)
    tbptt, symbols, n_in = head["method"] == 0, head["flags"] & 2, model.shape.n_in
    for q in model.layers:
        c = 4 * q.layer.n if q.layer.row.carry else 0
        state.images.append(r.take("u1", c + 2 * q.state_length))
    for k, q in enumerate(model.layers):
        _layer(r, k, q, head, state)
    if tbptt:
        state.dh_tape = r.take("<i4", model.layers[-1].layer.n, head["k2"])
    shortcuts = 0
    if model.readout is not None:
        p = model.readout.readout
        shortcuts = p.shortcuts
        columns, biased = p.n_in + shortcuts, p.biases
        state.gates["y"] = _gate(r, p.n_out, columns, biased, head, has_g=True)
    if symbols and not tbptt:
        state.lists["seen"] = r.take("<u2", n_in), r.take("<u2", n_in)
    if symbols and shortcuts:
        state.lists["fresh"] = r.take("<u2", n_in), r.take("<u2", n_in)
    if symbols and tbptt:
        state.symbol_tape = r.take("<u2", head["k2"])
    assert r.at == len(data)
    return state


def masters(checkpoint):
    """{gate: (weights, biases or None)}: the values of the masters, exact in double."""
    model, state = parse(checkpoint), decode(checkpoint)
    found = {}
    for key, gate in state.gates.items():
        if key == "y":
            q, exps = model.readout, model.readout_exps
            E, hi, b = q.exps, q.weights, q.biases
        else:
            (index, letter), q = key, model.layers[key[0]]
            exps = model.column_exps(index, letter)
            E, hi, b = q.exps[letter], q.weights[letter], q.biases.get(letter)
        M = hi.astype(np.int64) * 65536 + gate["lo"][:, : hi.shape[1]]
        scale = 2.0 ** (exps[None] - E[:, None] - 16.0)
        found[key] = M * scale, None if b is None else b * 2.0**-E
    return found
