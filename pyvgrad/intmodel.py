"""The integers of ``docs/numbers.md`` in NumPy, many sequences at once.

Written from that page alone, so that agreement with the C core means something.
Sums are int64 and exact: |acc| < 2^53 by the bound stated there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from pyvgrad.blob import crc, pack, parse
from pyvgrad.executor import Executor
from pyvgrad.fixed import (
    ONE_Q14,
    rs,
    sat16,
    sat30,
    sigmoid_q14,
    softmax_q14,
    tanh_q14,
)
from pyvgrad.qmodel import Ints, QLayer, QModel, QReadout
from pyvgrad.signals import Signals, narrowed, raw_signals
from pyvgrad.state import Image, State, from_bytes, initial, size, to_bytes

Gates = dict[str, Ints]


@dataclass(frozen=True)
class Trace:
    """What a run made.

    ``y`` and ``logits`` (batch, T, n_out); ``saturated`` (batch,) over the valid
    steps; ``state`` after the last step.  On request ``images``, the saved state after
    each step, (batch, T, state_size); and for each layer ``c`` (batch, T, n) q20 or
    None, ``h`` (batch, T, n) on h_exp, ``gates`` {letter: (batch, T, rows)} q14, of
    which g is the value of g(x), up to 2.0 for ``4s-2``.
    """

    y: Signals
    logits: Signals
    saturated: Ints
    state: State
    images: Image | None = None
    c: list[Ints | None] = field(default_factory=list)
    h: list[Ints] = field(default_factory=list)
    gates: list[Gates] = field(default_factory=list)


def _clamps(exact: Ints, clamped: Ints) -> Ints:
    """Clamped values of each sequence, (batch,)."""
    return np.asarray(np.count_nonzero(exact != clamped, axis=-1), np.int64)


def _affine(q: QLayer, gate: str, z: Ints) -> Ints:
    """A gate's argument before it is clamped, (batch, rows)."""
    acc = z @ q.weights[gate].T + q.biases.get(gate, 0)
    return rs(acc, q.exps[gate] - q.argument_exp(gate))


def _rnn(q: QLayer, z: Ints) -> tuple[Ints, Ints]:
    """Return h' (batch, n) and the clamps of it (batch,)."""
    exact = _affine(q, "a", z)
    a, clamps = sat16(exact), np.zeros(len(z), np.int64)
    function = q.layer.function("a")
    if function == "t":
        return tanh_q14(a), clamps
    if function == "s":
        return sigmoid_q14(a), clamps
    # A clamp at -32768 is not counted: h' is 0 all the same.
    return np.maximum(a, 0), _clamps(np.maximum(exact, -32768), a)


def _lstm(q: QLayer, z: Ints, c: Ints) -> tuple[Ints, Ints, Gates, Ints]:
    """Return h', c' (batch, n), the gates (batch, rows), the clamps (batch,)."""
    layer, opts = q.layer, q.layer.opts
    a = {k: sat16(_affine(q, k, z)) for k in layer.gates}
    gates = {k: sigmoid_q14(a[k]) for k in "ifo" if k in a}
    wide = {k: np.repeat(v, layer.block, axis=-1) for k, v in gates.items()}
    g = sigmoid_q14(a["g"]) if opts.squash_g == "s" else tanh_q14(a["g"])
    m = 128 if opts.squash_g == "4s-2" else 64
    exact = rs(wide.get("f", ONE_Q14) * c + m * wide["i"] * g, 14)
    c = sat30(exact)
    clamps = _clamps(exact, c)
    o = wide.get("o")
    if opts.squash_h == "identity":
        exact = rs(c, 20 - q.h_exp) if o is None else rs(o * c, 34 - q.h_exp)
        h = sat16(exact)
        clamps += _clamps(exact, h)
    else:
        h = tanh_q14(sat16(rs(c, 8 if opts.squash_h == "tanh" else 9)))
        if o is not None:
            h = rs(o * h, 14)
    return h, c, gates | {"g": m // 64 * g}, clamps


def _readout(q: QReadout, z: Ints) -> tuple[Ints, Ints, Ints]:
    """Return y and logits (batch, n_out) and the clamps (batch,)."""
    acc = z @ q.weights.T
    if q.biases is not None:
        acc = acc + q.biases
    exact = rs(acc, q.exps - q.logit_exp)
    logits = sat16(exact)
    if q.readout.output == "logistic":
        return sigmoid_q14(logits), logits, np.zeros(len(z), np.int64)
    clamps = _clamps(exact, logits)
    if q.readout.output == "softmax":
        return softmax_q14(logits, q.logit_exp), logits, clamps
    return logits, logits, clamps


class IntModel:
    """A model in integers, batched.  ``model`` is a QModel or a blob's bytes.

    BlobError for bytes that are no blob of this version.
    """

    def __init__(self, model: QModel | bytes) -> None:
        blob = pack(model) if isinstance(model, QModel) else model
        self.model = model if isinstance(model, QModel) else parse(model)
        self.crc = crc(blob)
        self.state_size = size(self.model)

    def init_state(self, batch: int) -> State:
        """Return the state that each of ``batch`` sequences starts from."""
        return initial(self.model, batch)

    def step(self, state: State, x: ArrayLike) -> tuple[Signals, Signals, State]:
        """One step of x (batch, n_in): y, logits (batch, n_out) and the next state.

        ValueError for another shape and for what is no integer within int16.
        """
        batch = len(state.saturated)
        ints = raw_signals(narrowed(x), batch, self.model.shape.n_in).astype(np.int64)
        y, logits, state, _ = self.step_gates(state, ints)
        return y, logits, state

    def step_gates(
        self, state: State, x: Ints
    ) -> tuple[Signals, Signals, State, list[Gates]]:
        """As ``step``, of int64 x that is not checked, and the gates of each layer.

        Gates are {letter: (batch, rows)} as in Trace, none for a cell without c.
        """
        below, saturated = x, state.saturated
        c, r, gates = list(state.c), list(state.r), []
        for k, q in enumerate(self.model.layers):
            z = np.concatenate([below, r[k][:, : q.layer.n_recurrent]], axis=-1)
            carried, by_gate = c[k], Gates()
            if carried is None:
                below, clamps = _rnn(q, z)
            else:
                below, c[k], by_gate, clamps = _lstm(q, z, carried)
            fed_back = [by_gate[g] for g in q.layer.feedback_gates]
            r[k] = np.concatenate([below, *fed_back], axis=-1)
            saturated = saturated + clamps
            gates.append(by_gate)
        y = logits = below
        if self.model.readout is not None:
            z = np.concatenate([below, x[:, : self._shortcuts]], axis=-1)
            y, logits, clamps = _readout(self.model.readout, z)
            saturated = saturated + clamps
        state = State(tuple(c), tuple(r), saturated & 0xFFFFFFFF)
        return y.astype(np.int16), logits.astype(np.int16), state, gates

    @property
    def _shortcuts(self) -> int:
        readout = self.model.shape.readout
        return readout.shortcuts if readout else 0

    def run(
        self,
        x: ArrayLike,
        lengths: ArrayLike | None = None,
        *,
        state: State | None = None,
        states: bool = False,
        gates: bool = False,
    ) -> Trace:
        """Run x (batch, T, n_in) from ``state``, else from the initial one.

        Steps from ``lengths`` (batch,) on are padding: computed, but their clamps are
        not counted.  ``states`` asks for images, c and h, ``gates`` for the gates.
        ValueError as ``step``.
        """
        n_in, n_out = self.model.shape.n_in, self.model.shape.n_out
        ints = raw_signals(narrowed(x), -1, -1, n_in).astype(np.int64)
        batch, T = ints.shape[:2]
        state = self.init_state(batch) if state is None else state
        ends = np.broadcast_to(T if lengths is None else np.asarray(lengths), (batch,))
        y, logits = np.zeros((2, batch, T, n_out), np.int16)
        record = _Record(self, batch, T) if states or gates else None
        for t in range(T):
            y[:, t], logits[:, t], after, by_layer = self.step_gates(state, ints[:, t])
            counted = np.where(t < ends, after.saturated, state.saturated)
            state = State(after.c, after.r, counted)
            if record is not None:
                record.write(t, self, state, by_layer)
        trace = Trace(y, logits, state.saturated, state)
        if record is not None and states:
            trace = replace(trace, images=record.images, c=record.c, h=record.h)
        if record is not None and gates:
            trace = replace(trace, gates=record.gates)
        return trace


class _Record:
    """Arrays for the signals of T steps."""

    def __init__(self, model: IntModel, batch: int, T: int) -> None:
        def ints(n: int) -> Ints:
            return np.zeros((batch, T, n), np.int64)

        layers = [q.layer for q in model.model.layers]
        self.images = np.zeros((batch, T, model.state_size), np.uint8)
        self.c = [ints(p.n) if p.row.carry else None for p in layers]
        self.h = [ints(p.n) for p in layers]
        self.gates = [
            {k: ints(p.rows(k)) for k in p.gates if p.row.carry} for p in layers
        ]

    def write(self, t: int, model: IntModel, state: State, gates: list[Gates]) -> None:
        """Write step t."""
        self.images[:, t] = to_bytes(state, model.crc)
        for k, h in enumerate(self.h):
            h[:, t] = state.r[k][:, : h.shape[-1]]
            into, c = self.c[k], state.c[k]
            if into is not None and c is not None:
                into[:, t] = c
            for letter, values in gates[k].items():
                self.gates[k][letter][:, t] = values


class NumpyExecutor(Executor):
    """One sequence through IntModel, with the interface that all executors have."""

    def __init__(self, blob: bytes) -> None:
        self.model = IntModel(blob)
        self.n_in = self.model.model.shape.n_in
        self.reset()

    def reset(self) -> None:
        """As in Executor."""
        self._state = self.model.init_state(1)

    def run(
        self, x: ArrayLike, *, states: bool = False
    ) -> tuple[Signals, Signals, Image | None]:
        """As in Executor."""
        signals = raw_signals(x, -1, self.n_in)[np.newaxis]
        trace = self.model.run(signals, state=self._state, states=states)
        self._state = trace.state
        images = None if trace.images is None else trace.images[0]
        return trace.y[0], trace.logits[0], images

    @property
    def state(self) -> bytes:
        """As in Executor."""
        return to_bytes(self._state, self.model.crc).tobytes()

    @state.setter
    def state(self, image: bytes) -> None:
        self._state = from_bytes(self.model.model, self.model.crc, image)

    @property
    def saturated(self) -> int:
        """As in Executor."""
        return int(self._state.saturated[0])
