"""Many sequences through a blob in the C core: one call a sequence, for tests."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import pack, parse
from pyvgrad.native import Core, linear
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
        self._views: dict[tuple[bool, bool], _View] = {}
        self.y_exp, self.logit_exp = self._model.y_exp, self._model.logit_exp

    def y(self, x: NDArray[Any], *, last: bool = False) -> Signals:
        """Outputs (T, n_out) of all steps, or (n_out,) of the last; raw / 2^y_exp."""
        return self._view(False, last).run(self._signals(x), fresh=True)

    def logits(
        self, x: NDArray[Any], *, last: bool = False, fresh: bool = True
    ) -> Signals:
        """As ``y``, before the output function; raw / 2^logit_exp.

        Not ``fresh``: from the state that the call before with the same ``last`` left.
        """
        return self._view(True, last).run(self._signals(x), fresh=fresh)

    def _signals(self, x: NDArray[Any]) -> NDArray[Any]:
        signals = to_signals(self._model, x)[0] if x.dtype.kind == "f" else x
        return np.ascontiguousarray(signals)

    def _view(self, logits: bool, last: bool) -> _View:
        if (logits, last) not in self._views:
            self._views[logits, last] = _View(
                self._core, _seen(self._model, logits, last)
            )
        return self._views[logits, last]


def _seen(model: QModel, logits: bool, last: bool) -> bytes:
    """The same model, whose y are its logits if asked, and in the mode asked."""
    final = model.shape.mode == "final"
    mode = ("final" if final else "last") if last else "sequence"
    blob = pack(replace(model, shape=replace(model.shape, mode=mode), sections=()))
    return linear(blob) if logits else blob


class _View:
    """One blob, opened once, and a run of it."""

    def __init__(self, core: Core, blob: bytes) -> None:
        self._ffi, self._lib, self._check = core.ffi, core.lib, core.check
        self._memory, self._model = core.open(blob)
        size = int(core.lib.vg_run_size(self._model))
        self._arena, self._run = core.words(size), core.ffi.new("vg_run *")
        self._check(core.lib.vg_run_init(self._run, self._model, self._arena, size))
        self._last = bool(self._model.mode)
        self._n_in, self._n_out = int(self._model.n_in), int(self._model.n_out)

    def run(self, x: NDArray[Any], fresh: bool) -> Signals:
        """Outputs of x in the blob's mode.  ValueError for another shape or type."""
        steps = len(x)
        y = np.empty((steps, self._n_out)[self._last :], np.int16)
        out = self._ffi.from_buffer("vg_sig[]", y)
        if fresh:
            self._lib.vg_run_reset(self._run)
        if self._model.whole:
            self._run_whole(self._dense(x), out)
        elif x.dtype == np.uint16 and x.ndim == 1 and steps:
            symbols = self._ffi.from_buffer("uint16_t[]", x)
            if self._lib.vg_run_symbols(self._run, symbols, steps, out) < 0:
                raise ValueError(f"a symbol is not below {self._n_in}")
        elif x.dtype == np.int16 and x.ndim == 2 and x.shape[1] == self._n_in and steps:
            signals = self._ffi.from_buffer("vg_sig[]", x)
            self._lib.vg_run_steps(self._run, signals, steps, out)
        else:
            raise ValueError(self._refusal(x))
        return y

    def _dense(self, x: NDArray[Any]) -> NDArray[Any]:
        """The one-hot signals of symbols."""
        if x.dtype != np.uint16 or x.ndim != 1:
            return x
        if np.any(x >= self._n_in):
            raise ValueError(f"a symbol is not below {self._n_in}")
        dense = np.zeros((len(x), self._n_in), np.int16)
        dense[np.arange(len(x)), x] = 1 << self._model.x_exp
        return dense

    def _run_whole(self, x: NDArray[Any], out: Any) -> None:
        if x.dtype != np.int16 or x.ndim != 2 or x.shape[1] != self._n_in or not len(x):
            raise ValueError(self._refusal(x))
        size = self._check(self._lib.vg_run_whole_size(self._model, len(x)))
        buf = self._ffi.new("uint32_t[]", size // 4)
        signals = self._ffi.from_buffer("vg_sig[]", x)
        self._check(self._lib.vg_run_whole(self._run, signals, len(x), out, buf, size))

    def _refusal(self, x: NDArray[Any]) -> str:
        return (
            f"x is {x.dtype} {x.shape}, not uint16 symbols (T,) or int16 signals "
            f"(T, {self._n_in})"
        )
