"""Many sequences through a blob in the C core: one call, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import pack, parse
from pyvgrad.native import Core, Outcome, Rows, Run, linear
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
        self._opened(False, False)

    def y(self, x: NDArray[Any], *, last: bool = False) -> Signals:
        """Outputs (T, n_out) of all steps, or (n_out,) of the last; raw / 2^y_exp."""
        y: Signals = self._ask(x[np.newaxis], None, False, last)[0]
        return y

    def logits(
        self, x: NDArray[Any], *, last: bool = False, fresh: bool = True
    ) -> Signals:
        """As ``y``, before the output function; raw / 2^logit_exp.

        Not ``fresh``: from the state that the call before with the same ``last`` left.
        """
        y: Signals = self._ask(x[np.newaxis], None, True, last, fresh=fresh)[0]
        return y

    def batch(
        self,
        x: NDArray[Any],
        lengths: ArrayLike | None = None,
        *,
        logits: bool = False,
        last: bool = False,
        threads: int = 1,
    ) -> Signals:
        """Sequences x (N, T) or (N, T, n_in), to their ``lengths`` (N,), in one call.

        Returns y or logits, (N, T, n_out), zero behind the ends, or (N, n_out).  Raw x
        in one piece are not copied; ``threads`` share the sequences.
        """
        return self._ask(x, lengths, logits, last, threads=threads)

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
        fresh: bool = True,
        threads: int = 1,
    ) -> Signals:
        rows = Rows.of(self._signals(x), lengths)
        y = self._run(rows, logits, last, fresh=fresh, threads=threads).y
        return y if last else y.reshape(*x.shape[:2], -1)

    def _run(self, rows: Rows, logits: bool, last: bool, **how: Any) -> Outcome:
        if not rows.steps.all():
            raise ValueError("a sequence has a step at least")
        run = self._opened(logits, last)
        rows = replace(rows, x=_dense(rows.x, run.model))
        return run.batch(rows, every=not last, **how)

    def _signals(self, x: NDArray[Any]) -> NDArray[Any]:
        return to_signals(self._model, x)[0] if x.dtype.kind == "f" else x

    def _opened(self, logits: bool, last: bool) -> Run:
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
    if x.dtype != np.uint16 or x.ndim != 1 or not model.whole:
        return x
    if np.any(x >= model.n_in):
        raise ValueError(f"a symbol is not below {model.n_in}")
    dense = np.zeros((len(x), model.n_in), np.int16)
    dense[np.arange(len(x)), x] = 1 << model.x_exp
    return dense
