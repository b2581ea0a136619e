"""Many sequences through a blob in the C core: one call, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import pack, parse
from pyvgrad.native import linear
from pyvgrad.native_core import Core, Outcome, Rows, Run
from pyvgrad.qmodel import QModel
from pyvgrad.signals import Signals, to_signals


class HostRunner:
    """Asks a blob; every sequence starts fresh unless said otherwise.

    With a reversed layer, x is a whole sequence, and in mode ``final`` the last output
    is the final one.

    x are symbols (T,) uint16, raw signals (T, n_in) int16, or values (T, n_in) float in
    the user's unit, which are clamped into the input range.  Sequences have a step at
    least.  ``module`` is another build of the core (tests).  BlobError if the core
    refuses the blob.
    """

    def __init__(self, blob: bytes, module: ModuleType | None = None) -> None:
        self._core = Core(module)
        self._model = parse(blob)
        self._runs: dict[tuple[bool, bool], Run] = {}
        self.y_exp, self.logit_exp = self._model.y_exp, self._model.logit_exp
        self.opened(logits=False, last=False)

    def y(self, x: NDArray[Any], *, last: bool = False) -> Signals:
        """Outputs (T, n_out) of all steps, or (n_out,) of the last; raw / 2^y_exp."""
        y: Signals = self._ask(np.asarray(x)[np.newaxis], None, False, last)[0]
        return y

    def logits(
        self, x: NDArray[Any], *, last: bool = False, fresh: bool = True
    ) -> Signals:
        """As ``y``, before the output function; raw / 2^logit_exp.

        Not ``fresh``: from the state that the call before with the same ``last`` left.
        """
        x = np.asarray(x)[np.newaxis]
        y: Signals = self._ask(x, None, True, last, fresh=fresh)[0]
        return y

    def batch(
        self,
        x: NDArray[Any],
        lengths: ArrayLike | None = None,
        *,
        logits: bool = False,
        last: bool = False,
        threads: int = 1,
        out: Signals | None = None,
    ) -> Signals:
        """Sequences x (N, T) or (N, T, n_in), to their ``lengths`` (N,), in one call.

        Returns y or logits, (N, T, n_out), zero behind the ends, or (N, n_out).  Raw x
        in one piece are not copied; ``threads`` share the sequences.  With ``out``, of
        that shape and in one piece, it is written there, and not behind the ends.
        """
        x = np.asarray(x)
        return self._ask(x, lengths, logits, last, threads=threads, out=out)

    def many(
        self, xs: Sequence[NDArray[Any]], *, logits: bool, last: bool = False
    ) -> list[Signals]:
        """As ``y`` or ``logits`` of each of these sequences, in one call."""
        if not xs:
            return []
        x = self._signals(np.concatenate(xs))
        steps = np.array([len(one) for one in xs])
        first = np.cumsum(steps) - steps
        rows = Rows(x, first.astype(np.uint32), steps.astype(np.uint32))
        y = self._run(rows, logits, last).y
        return list(y if last else np.split(y, first[1:]))

    def _ask(
        self,
        x: NDArray[Any],
        lengths: ArrayLike | None,
        logits: bool,
        last: bool,
        *,
        out: Signals | None = None,
        **how: Any,
    ) -> Signals:
        rows = Rows.of(self._signals(x), lengths)
        shape = (*x.shape[: 1 if last else 2], self._model.shape.n_out)
        if out is not None and (out.shape != shape or not out.flags.c_contiguous):
            raise ValueError(f"out is {out.shape}, not {shape} in one piece")
        flat = None if out is None else out.reshape(-1, shape[-1])
        y = self._run(rows, logits, last, out=flat, **how).y
        return y.reshape(shape) if out is None else out

    def _run(self, rows: Rows, logits: bool, last: bool, **how: Any) -> Outcome:
        if not rows.steps.all():
            raise ValueError("a sequence has a step at least")
        run = self.opened(logits=logits, last=last)
        if run.model.whole:
            rows = replace(rows, x=_dense(rows.x, run.model))
        return run.batch(rows, every=not last, **how)

    def _signals(self, x: NDArray[Any]) -> NDArray[Any]:
        return to_signals(self._model, x)[0] if x.dtype.kind == "f" else x

    def opened(self, *, logits: bool, last: bool) -> Run:
        """The run of the model's y or logits, of every step or the last."""
        if (logits, last) not in self._runs:
            blob = _seen(self._model, logits, last)
            self._runs[logits, last] = Run(self._core, blob)
        return self._runs[logits, last]


def _seen(model: QModel, logits: bool, last: bool) -> bytes:
    """The same model, whose y are its logits if asked, and in the mode asked."""
    final = model.shape.mode == "final"
    mode = ("final" if final else "last") if last else "sequence"
    blob = pack(replace(model, shape=replace(model.shape, mode=mode), sections=()))
    return linear(blob) if logits else blob


def _dense(x: NDArray[Any], model: Any) -> NDArray[Any]:
    """The one-hot signals of symbols, for a model that takes whole sequences."""
    if x.dtype != np.uint16 or x.ndim != 1:
        return x
    if np.any(x >= model.n_in):
        raise ValueError(f"a symbol is not below {model.n_in}")
    dense = np.zeros((len(x), model.n_in), np.int16)
    dense[np.arange(len(x)), x] = 1 << model.x_exp
    return dense
