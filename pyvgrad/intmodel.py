"""The integers of ``docs/numbers.md`` in NumPy, many sequences at once.

Written from that page alone, so that agreement with the C core means something.
Sums are int64 and exact: |acc| < 2^53 by the bound stated there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from pyvgrad.blob import crc, pack, parse
from pyvgrad.executor import NO_STEP, Executor
from pyvgrad.fixed import rs, sat16, sigmoid_q14, softmax_q14
from pyvgrad.intcells import Gates, Stepped, clamps_of, step
from pyvgrad.intwhole import pass_layers, recurrent
from pyvgrad.model import readout_sources
from pyvgrad.qmodel import Ints, QModel, QReadout
from pyvgrad.signals import Signals, narrowed, raw_signals
from pyvgrad.state import Image, State, from_bytes, initial, size, to_bytes


@dataclass(frozen=True)
class Trace:
    """What a run made.

    ``y`` and ``logits`` (batch, T, n_out); ``saturated`` (batch,) over the valid
    steps; ``state`` after the last step.  On request ``images``, the saved state after
    each step, (batch, T, state_size); and for each layer ``c`` (batch, T, n) q20 or
    None, ``h`` (batch, T, n) of the state, ``gates`` as in intcells.Stepped with an
    axis T.

    A model with a reversed layer has one image, that after the sequence; in mode
    ``final`` every step has the y and logits of the whole sequence.
    """

    y: Signals
    logits: Signals
    saturated: Ints
    state: State
    images: Image | None = None
    c: list[Ints | None] = field(default_factory=list)
    h: list[Ints] = field(default_factory=list)
    gates: list[Gates] = field(default_factory=list)


def _readout(q: QReadout, z: Ints) -> tuple[Ints, Ints, Ints]:
    """Return y and logits (batch, n_out) and the clamps (batch,)."""
    acc = z @ q.weights.T
    if q.biases is not None:
        acc = acc + q.biases
    exact = rs(acc, q.exps - q.logit_exp)
    logits = sat16(exact)
    if q.readout.output == "logistic":
        return sigmoid_q14(logits), logits, np.zeros(len(z), np.int64)
    clamps = clamps_of(exact, logits)
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

        ValueError for another shape, for what is no integer within int16, and for a
        model with a reversed layer, which has no single step.
        """
        if self.model.shape.whole:
            raise ValueError(NO_STEP)
        batch = len(state.saturated)
        ints = raw_signals(narrowed(x), batch, self.model.shape.n_in).astype(np.int64)
        y, logits, state, _ = self.step_layers(state, ints)
        return y, logits, state

    def step_layers(
        self, state: State, x: Ints
    ) -> tuple[Signals, Signals, State, list[Stepped]]:
        """As ``step``, of int64 x that is not checked, and what each layer made."""
        below, saturated = x, state.saturated
        c, r, layers = list(state.c), list(state.r), []
        for k, q in enumerate(self.model.layers):
            now = step(q, below, r[k], c[k])
            below, c[k], r[k] = now.out, now.c, recurrent(q, now)
            saturated = saturated + now.clamps
            layers.append(now)
        y, logits, clamps = self.readout(below, x)
        state = State(tuple(c), tuple(r), (saturated + clamps) & 0xFFFFFFFF)
        return y.astype(np.int16), logits.astype(np.int16), state, layers

    def readout(self, h: Ints, x: Ints) -> tuple[Ints, Ints, Ints]:
        """Y, logits (batch, n_out) and clamps (batch,) of what the last layer gives."""
        q = self.model.readout
        if q is None:
            return h, h, np.zeros(len(h), np.int64)
        return _readout(q, np.concatenate([h, x[:, : q.readout.shortcuts]], axis=-1))

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
        not counted, and no reversed layer reads them.  ``states`` asks for images, c
        and h, ``gates`` for the gates.  ValueError as ``step``.
        """
        ints = raw_signals(narrowed(x), -1, -1, self.model.shape.n_in).astype(np.int64)
        batch, T = ints.shape[:2]
        state = self.init_state(batch) if state is None else state
        ends = np.broadcast_to(T if lengths is None else np.asarray(lengths), (batch,))
        if self.model.shape.whole:
            trace = self._run_whole(state, ints, ends)
        else:
            trace = self._run_steps(state, ints, ends, record=states or gates)
        if not states:
            trace = replace(trace, images=None, c=[], h=[])
        return trace if gates else replace(trace, gates=[])

    def _run_steps(self, state: State, x: Ints, ends: Ints, record: bool) -> Trace:
        batch, T = x.shape[:2]
        y, logits = np.zeros((2, batch, T, self.model.shape.n_out), np.int16)
        kept = _Record(self, batch, T) if record else None
        for t in range(T):
            y[:, t], logits[:, t], after, by_layer = self.step_layers(state, x[:, t])
            counted = np.where(t < ends, after.saturated, state.saturated)
            state = State(after.c, after.r, counted)
            if kept is not None:
                kept.write(t, self, state, by_layer)
        trace = Trace(y, logits, state.saturated, state)
        if kept is None:
            return trace
        return replace(trace, images=kept.images, c=kept.c, h=kept.h, gates=kept.gates)

    def _run_whole(self, state: State, x: Ints, ends: Ints) -> Trace:
        shape, T = self.model.shape, x.shape[1]
        if not T or np.any(ends < 1):
            raise ValueError("a model with a reversed layer needs a step at least")
        passed = pass_layers(self.model, state.r, state.c, x, ends)
        given = [p.out for p in passed]
        h, shortcut = readout_sources(shape, given, x, ends)
        each = [self.readout(h[:, t], shortcut[:, t]) for t in range(T)]
        y, logits, clamps = (np.stack(v, axis=1) for v in zip(*each, strict=True))
        steps = np.arange(T)
        # The readout is computed at every step, or once.
        last = steps == ends[:, np.newaxis] - 1
        asked = steps < ends[:, np.newaxis] if shape.mode == "sequence" else last
        total = sum((p.clamps for p in passed), np.sum(clamps * asked, axis=1))
        state = State(
            tuple(p.c_end for p in passed),
            tuple(p.r_end for p in passed),
            (state.saturated + total) & 0xFFFFFFFF,
        )
        return Trace(
            y.astype(np.int16),
            logits.astype(np.int16),
            state.saturated,
            state,
            to_bytes(state, self.crc)[:, np.newaxis],
            [p.c for p in passed],
            [p.h for p in passed],
            [p.gates for p in passed],
        )


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

    def write(
        self, t: int, model: IntModel, state: State, layers: list[Stepped]
    ) -> None:
        """Write step t."""
        self.images[:, t] = to_bytes(state, model.crc)
        for k, h in enumerate(self.h):
            h[:, t] = state.r[k][:, : h.shape[-1]]
            into, c = self.c[k], state.c[k]
            if into is not None and c is not None:
                into[:, t] = c
            for letter, values in layers[k].gates.items():
                self.gates[k][letter][:, t] = values


class NumpyExecutor(Executor):
    """One sequence through IntModel, with the interface that all executors have."""

    def __init__(self, blob: bytes) -> None:
        self.model = IntModel(blob)
        self.n_in = self.model.model.shape.n_in
        self.whole = self.model.model.shape.whole
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
        shape = self.model.model.shape
        first = -1 if shape.whole and shape.mode != "sequence" else 0
        return trace.y[0, first:], trace.logits[0, first:], images

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
