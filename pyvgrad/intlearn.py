"""A blob learns in NumPy, by ``docs/numbers-learning.md`` to the bit.

Written from that page alone, so that agreement with the C core means something.  One
sequence at a time; sums are int64 and exact by the bounds stated there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import pack, parse
from pyvgrad.fixed import ERROR_LIMIT, ONE_Q14, rs, rs_sat31
from pyvgrad.intback import Left, left
from pyvgrad.intcells import Stepped, alone
from pyvgrad.intgate import Gate, gates_of, live_model
from pyvgrad.intloss import check_fit, check_layout, output_error, step_loss
from pyvgrad.intmethods import Method, Tape, Traces
from pyvgrad.intmodel import IntModel
from pyvgrad.intupdate import Updated, update
from pyvgrad.learning import PARTS, READOUT_BIT, Counters, Learn, Trainer
from pyvgrad.qmodel import Ints, QModel
from pyvgrad.signals import known_flags, narrowed, raw_signals
from pyvgrad.state import State

_TUNED = ("frozen", "rate_q24", "decay_q14", "clip_q16", "epsilon_q24", "seed")
_NO_CHECKPOINT = "the NumPy model keeps no checkpoints; resume in the C core"


class NoCheckpointError(ValueError, NotImplementedError):
    """What was asked needs a checkpoint, which only the C core reads and writes."""


class IntTrainer(Trainer):
    """A blob in training in NumPy; ``learn`` None goes on from a checkpoint.

    BlobError for bytes that are no blob, ValueError for settings that do not fit it.
    """

    name = "numpy"
    arena_bytes = None

    def __init__(self, blob: bytes, learn: Learn | None) -> None:
        if learn is None:
            raise NoCheckpointError(_NO_CHECKPOINT)
        source = parse(blob)
        check_layout(source)
        check_fit(source.shape, learn)
        _check_frozen(source, learn)
        self.learn = learn
        self.layers, self.readout = gates_of(source)
        self.model = live_model(source, self.layers, self.readout)
        self._run = IntModel(self.model)
        self._method = self._method_of(learn)
        self._counters = Counters(0, 0, 0, 0, 0, 0, 0, 0)
        self._steps = 0  # of this sequence
        self._targets = False  # has a step since the last update had a target
        self._state = self._run.init_state(1)
        self._set_rates()

    def _method_of(self, learn: Learn) -> Method:
        if learn.method == "tbptt":
            return Tape(self.model.layers, self.layers, learn.k2)
        return Traces(self.model.layers[0], self.layers[0])

    @property
    def _gates(self) -> list[Gate]:
        """All, in the order of the blob."""
        gates = [gate for layer in self.layers for gate in layer.values()]
        return gates if self.readout is None else [*gates, self.readout]

    # ---- settings --------------------------------------------------------

    def _set_rates(self) -> None:
        for k, layer in enumerate(self.layers):
            masked = k < READOUT_BIT and bool(self.learn.frozen >> k & 1)
            for gate in layer.values():
                gate.set_rates(self.learn.rate_q24, masked)
        if self.readout is not None:
            masked = bool(self.learn.frozen >> READOUT_BIT & 1)
            self.readout.set_rates(self.learn.rate_q24, masked)

    def rate(self, layer: int, gate: int, part: str, factor_q16: int) -> None:
        """As in Trainer; factors are 0 to below 32768 (2^31 - 1 in q16)."""
        if not 0 <= factor_q16 <= ERROR_LIMIT:
            raise ValueError(f"a factor is 0 to 2^31 - 1 in q16, not {factor_q16}")
        gates = dict(enumerate(list(g.values()) for g in self.layers))
        if self.readout is not None:
            gates[len(self.layers)] = [self.readout]
        there = part in PARTS and layer in gates and 0 <= gate < len(gates[layer])
        if not there or part not in gates[layer][gate].factor:
            raise ValueError(f"layer {layer} has no gate {gate} with a part {part!r}")
        gates[layer][gate].factor[part] = factor_q16
        self._set_rates()

    def tune(self, learn: Learn) -> None:
        """As in Trainer."""
        kept = replace(learn, **{k: getattr(self.learn, k) for k in _TUNED})
        if kept != self.learn:
            raise ValueError(f"a training changes only {', '.join(_TUNED)}")
        _check_frozen(self.model, learn)
        self.learn = learn
        self._set_rates()

    # ---- steps -----------------------------------------------------------

    def teach(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None = None
    ) -> int:
        """As in Trainer."""
        xs = self._inputs(x)
        has = known_flags([True] * len(xs) if known is None else known, len(xs))
        targets = self._targets_of(target, has)
        return sum(
            self._step(xs[t], targets[t] if has[t] else None) for t in range(len(xs))
        )

    def _inputs(self, x: ArrayLike) -> Ints:
        n_in = self.model.shape.n_in
        if not self.learn.symbols:
            return raw_signals(narrowed(x), -1, n_in).astype(np.int64)
        symbols = np.asarray(x)
        if symbols.ndim != 1 or (symbols.size and symbols.dtype.kind not in "iu"):
            raise ValueError(f"symbols are integers (T,), not {symbols.shape}")
        if np.any((symbols < 0) | (symbols >= n_in)):
            raise ValueError(f"a symbol is 0 to {n_in - 1}")
        one_hot = np.zeros((len(symbols), n_in), np.int64)
        one_hot[np.arange(len(symbols)), symbols.astype(int)] = 1 << self.model.x_exp
        return one_hot

    def _targets_of(self, target: ArrayLike, has: NDArray[np.bool_]) -> Ints:
        """Targets (T, n_out), or (T, 1) of a softmax, checked where there are any."""
        n_out, output = self.model.shape.n_out, self.model.shape.output
        t = narrowed(target).astype(np.int64)
        shape = (len(has),) if output == "softmax" else (len(has), n_out)
        if t.shape != shape:
            raise ValueError(f"targets have shape {t.shape}, not {shape}")
        t = t.reshape(len(has), 1 if output == "softmax" else n_out)
        most = {"softmax": n_out - 1, "logistic": ONE_Q14}
        low, high = (-32768, 32767) if output == "linear" else (0, most[output])
        if np.any((t[has] < low) | (t[has] > high)):
            raise ValueError(f"a target of {output} outputs is {low} to {high}")
        return t

    def _step(self, x: Ints, target: Ints | None) -> int:
        before = self._state
        y, logits, self._state, layers = self._run.step_layers(before, x[np.newaxis])
        self._steps += 1
        made = [alone(now) for now in layers]
        clamps = self._method.add(self._left(x, before, made))
        self._count(steps=1, saturated=clamps)
        if target is not None:
            self._targets = True
            y, logits = y.astype(np.int64), logits.astype(np.int64)
            self._learn_from(np.append(made[-1].out, x), y[0], logits[0], target)
        due = self.learn.k1 and self._steps % self.learn.k1 == 0
        return self._update() if due else 0

    def _left(self, x: Ints, before: State, made: list[Stepped]) -> list[Left]:
        """What the step left in every layer."""
        steps = []
        below = x
        for k, q in enumerate(self.model.layers):
            r, c = before.r[k][0], before.c[k]
            source = np.concatenate([below, r[: q.layer.n_recurrent]])
            old = r[: q.layer.n], None if c is None else c[0]
            steps.append(left(q, source, old, made[k]))
            below = made[k].out
        return steps

    def _learn_from(self, source: Ints, y: Ints, logits: Ints, target: Ints) -> None:
        """Gather the readout's gradient and hand its error to the method.

        ``source`` is [what the last layer gave; x].
        """
        model, loss = self.model, self.learn.loss
        output, exps = model.shape.output, (model.y_exp, model.logit_exp)
        self._set(loss_q16=step_loss(output, loss, exps, y, logits, target))
        d = output_error(output, loss, model.y_exp, y, logits, target)
        gate = self.readout
        if gate is not None:
            last = model.layers[-1].layer
            z = np.append(source[: gate.hi.shape[1]], 1)[: len(gate.e)]
            self._count(saturated=gate.gather(rs(d[:, np.newaxis] * z, gate.e)))
            d = rs_sat31(d @ gate.hi[:, : last.n], gate.source_shifts[: last.n])
        self._count(saturated=self._method.error(d))

    # ---- updates ---------------------------------------------------------

    def _update(self) -> int:
        """Change the weights if a pending step had a target."""
        had, self._targets = self._targets, False
        if had:
            self._count(saturated=self._method.gather())
            self._book(update(self._gates, self.learn, self._counters.updates))
        self._method.used()
        return int(had)

    def _book(self, done: Updated) -> None:
        self._count(
            updates=1, clipped=done.clipped, falls=done.falls, saturated=done.saturated
        )
        self._set(norm_q16=done.norm_q16)

    def end(self) -> int:
        """As in Trainer."""
        changed = self._update()
        self._method.clear()
        self._steps = 0
        self._state = self._run.init_state(1)
        self._count(sequences=1)
        return changed

    # ---- what comes out --------------------------------------------------

    def gradient(self) -> list[Ints]:
        """The gradient q24 that an update would take now; nothing changes.

        (rows, columns and one for the bias) of each gate in the order of the blob, the
        readout last.
        """
        before = [gate.G for gate in self._gates]
        self._method.gather()
        gradient = [gate.G * gate.live for gate in self._gates]
        for gate, G in zip(self._gates, before, strict=True):
            gate.G = G
        return gradient

    def _count(self, **more: int) -> None:
        """Add to counters, modulo 2^32."""
        c = self._counters
        self._set(**{k: (getattr(c, k) + v) & 0xFFFFFFFF for k, v in more.items()})

    def _set(self, **values: int) -> None:
        self._counters = replace(self._counters, **values)

    def blob(self) -> bytes:
        """As in Trainer."""
        return pack(self.model)

    def checkpoint(self) -> bytes:
        """As in Trainer."""
        raise NoCheckpointError(_NO_CHECKPOINT)

    @property
    def counters(self) -> Counters:
        """As in Trainer."""
        return self._counters


def _check_frozen(model: QModel, learn: Learn) -> None:
    """ValueError if the mask names a layer or a readout that is not there."""
    there = (1 << min(len(model.layers), READOUT_BIT)) - 1
    if model.readout is not None:
        there |= 1 << READOUT_BIT
    if learn.frozen & ~there:
        raise ValueError(
            f"frozen {learn.frozen:#x} names a layer that is not there; "
            f"this model admits bits of {there:#x}"
        )
