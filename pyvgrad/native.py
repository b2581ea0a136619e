"""The C core on the host, through cffi: the same sources that a board compiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import pack, parse
from pyvgrad.errors import BlobError
from pyvgrad.executor import NO_STEP, Executor, Passed
from pyvgrad.native_core import Core, Opened, Rows, Run
from pyvgrad.signals import Signals, int32_counts, raw_signals


def linear(blob: bytes) -> bytes:
    """The same model with its logits for y."""
    model = parse(blob)
    if model.readout is None:
        return blob
    form = replace(model.readout.readout, output="linear")
    shape = replace(model.shape, readout=form)
    readout = replace(model.readout, readout=form)
    return pack(replace(model, shape=shape, readout=readout, sections=()))


class HostExecutor(Executor):
    """One sequence passing through a blob in the C core.

    ``blob`` is the whole blob; ``module`` another build of the core (tests).
    BlobError if the core refuses the blob.
    """

    name = "host"

    def __init__(self, blob: bytes, module: ModuleType | None = None) -> None:
        core = Core(module)
        self._bytes, self._module = blob, module
        self._ffi, self._lib, self._check = core.ffi, core.lib, core.check
        self._opened = Run(core, blob)
        self._model, self._run = self._opened.model, self._opened.run
        self.arena_bytes = self._opened.bytes
        self.n_in, self.n_out = int(self._model.n_in), int(self._model.n_out)
        self.whole = bool(self._model.whole)
        self._linear: HostExecutor | None = None

    @property
    def opened(self) -> Opened:
        """What the core found of the blob, as a constant of a program in C."""
        return self._opened.opened()

    def _in(self, x: Signals) -> Any:
        return self._ffi.from_buffer("vg_sig[]", x)

    def reset(self) -> None:
        """As in Executor."""
        self._lib.vg_run_reset(self._run)

    def step(self, x: ArrayLike) -> tuple[Signals, Signals]:
        """As in Executor."""
        if self.whole:
            raise ValueError(NO_STEP)
        given = np.ascontiguousarray(raw_signals(x, self.n_in))
        y = np.empty(self.n_out, np.int16)
        self._lib.vg_run_step(
            self._run, self._in(given), self._ffi.from_buffer("vg_sig[]", y)
        )
        inner = self._ffi.buffer(self._lib.vg_run_logits(self._run), 2 * self.n_out)
        return y, np.frombuffer(inner, np.int16).copy()

    def run(
        self, x: ArrayLike, *, states: bool = False
    ) -> tuple[Signals, Signals, NDArray[np.uint8] | None]:
        """As in Executor."""
        x = np.ascontiguousarray(raw_signals(x, -1, self.n_in))
        if self.whole:
            return self._run_whole(x, states)
        done = self._opened.batch(
            Rows.of(x[np.newaxis]), every=True, fresh=False, logits=True, states=states
        )
        assert done.logits is not None
        return done.y, done.logits, done.images

    def sequences(
        self,
        x: Signals,
        lengths: ArrayLike | None = None,
        *,
        states: bool = False,
        threads: int = 1,
    ) -> Iterator[Passed]:
        """As in Executor, in one call before the first is given.

        ``threads`` share the sequences; which one the executor then stands at the end
        of is left open.
        """
        if self.whole:
            yield from super().sequences(x, lengths, states=states)
            return
        signals = raw_signals(x, -1, -1, self.n_in)
        rows = Rows.of(signals, lengths)
        done = self._opened.batch(
            rows, every=True, logits=True, states=states, threads=threads
        )
        assert done.logits is not None
        for k, (begin, n) in enumerate(zip(rows.first, rows.steps, strict=True)):
            steps = slice(int(begin), int(begin) + int(n))
            images = None if done.images is None else done.images[steps]
            clamps = int(done.saturated[k])
            yield Passed(done.y[steps], done.logits[steps], images, clamps)

    def whole_bytes(self, steps: int) -> int:
        """Bytes of the buffer that a whole sequence of so many steps takes."""
        return self._check(self._lib.vg_run_whole_size(self._model, steps))

    def run_whole(self, x: ArrayLike) -> Signals:
        """A whole sequence x (T, n_in), T >= 1, by vg_run_whole, as ``run`` goes on.

        Returns y as the blob's mode means it, (T, n_out) or (1, n_out).  ValueError for
        another shape, for no step, and for what is not int16.
        """
        x = np.ascontiguousarray(raw_signals(x, -1, self.n_in))
        if not len(x):
            raise ValueError("a whole sequence has a step at least")
        every = self._model.mode == self._lib.VG_EVERY
        y = np.empty((len(x) if every else 1, self.n_out), np.int16)
        size = self.whole_bytes(len(x))
        buf = self._ffi.new("uint32_t[]", size // 4)
        out = self._ffi.from_buffer("vg_sig[]", y, require_writable=True)
        self._check(
            self._lib.vg_run_whole(self._run, self._in(x), len(x), out, buf, size)
        )
        return y

    def _run_whole(
        self, x: Signals, states: bool
    ) -> tuple[Signals, Signals, NDArray[np.uint8] | None]:
        before = self.state
        y = self.run_whole(x)
        if len(y) == 1:
            inner = self._ffi.unpack(self._lib.vg_run_logits(self._run), self.n_out)
            logits = np.array([inner], np.int16)
        elif self._model.output == self._lib.VG_LINEAR:
            logits = y.copy()
        else:  # the core keeps those of one step: the same model without the function
            if self._linear is None:
                self._linear = HostExecutor(linear(self._bytes), self._module)
            own = self._linear.state[:4]  # the CRC of its blob
            self._linear.state = own + before[4:]
            logits = self._linear.run_whole(x)
        images = np.frombuffer(self.state, np.uint8)[np.newaxis]
        return y, logits, images if states else None

    @property
    def state(self) -> bytes:
        """As in Executor."""
        buf = self._ffi.new("uint8_t[]", self._model.state_size)
        self._check(self._lib.vg_run_save(self._run, buf, len(buf)))
        return bytes(self._ffi.buffer(buf))

    @state.setter
    def state(self, image: bytes) -> None:
        size = int(self._model.state_size)
        if len(image) != size:  # the core takes what stands behind a state for padding
            raise BlobError(
                f"a saved state of this model has {size} bytes, not {len(image)}: "
                "it is cut short or of another model"
            )
        self._check(self._lib.vg_run_restore(self._run, bytes(image), size))

    @property
    def saturated(self) -> int:
        """As in Executor."""
        return int(self._run.saturated)

    def scale(self, counts: ArrayLike) -> tuple[Signals, int]:
        """Counts (n_in,) to signals by the blob's scaling; how many were clamped.

        ValueError for what is no int32 or has another shape.
        """
        x = np.empty(self.n_in, np.int16)
        counts = np.ascontiguousarray(int32_counts(counts))
        if counts.shape != (self.n_in,):
            raise ValueError(f"counts are {counts.shape}, not ({self.n_in},)")
        clamped = self._lib.vg_model_scale(
            self._model,
            self._ffi.from_buffer("int32_t[]", counts),
            self._ffi.from_buffer("vg_sig[]", x, require_writable=True),
        )
        return x, int(clamped)
