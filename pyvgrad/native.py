"""The C core on the host, through cffi: the same sources that a board compiles."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import pack, parse
from pyvgrad.errors import BlobError, VgradError
from pyvgrad.executor import Executor
from pyvgrad.signals import Signals, int32_counts, raw_signals


def library() -> ModuleType:
    """Load the compiled core.  VgradError where it was never built."""
    try:
        return importlib.import_module("pyvgrad._vgrad")
    except ImportError as error:
        raise VgradError(
            f"the C core is not built ({error}); run: python tools/build_native.py, "
            "or pip install the package again with a C compiler present"
        ) from None


class Core:
    """A build of the core: its functions ``lib`` and cffi's view ``ffi`` of them."""

    def __init__(self, module: ModuleType | None = None) -> None:
        module = module or library()
        self.ffi: Any = module.ffi
        self.lib: Any = module.lib

    def words(self, n: int) -> Any:
        """Memory of n bytes, aligned for the core."""
        return self.ffi.new("uint32_t[]", (n + 3) // 4)

    def text(self, err: int) -> str:
        """What a vg_err says."""
        return str(self.ffi.string(self.lib.vg_err_text(err)).decode())

    def check(self, err: int) -> int:
        """The number itself; BlobError if it is a vg_err."""
        if err < 0:
            raise BlobError(f"the C core refuses this: {self.text(err)}")
        return int(err)

    def open(self, blob: bytes) -> tuple[Any, Any]:
        """(memory with the blob, the vg_model on it); BlobError if it is refused.

        The model is good as long as the memory is kept.
        """
        memory, model = self.words(len(blob)), self.ffi.new("vg_model *")
        self.ffi.memmove(memory, blob, len(blob))
        self.check(self.lib.vg_model_open(model, memory, len(blob)))
        return memory, model


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
        self._blob, self._model = core.open(blob)
        self.arena_bytes = int(self._lib.vg_run_size(self._model))
        self.n_in, self.n_out = int(self._model.n_in), int(self._model.n_out)
        self.whole = bool(self._model.whole)
        self._linear: HostExecutor | None = None
        self._arena = core.words(self.arena_bytes)
        self._run = self._ffi.new("vg_run *")
        self._check(
            self._lib.vg_run_init(self._run, self._model, self._arena, self.arena_bytes)
        )

    def _in(self, x: Signals) -> Any:
        return self._ffi.from_buffer("vg_sig[]", x)

    def reset(self) -> None:
        """As in Executor."""
        self._lib.vg_run_reset(self._run)

    def run(
        self, x: ArrayLike, *, states: bool = False
    ) -> tuple[Signals, Signals, NDArray[np.uint8] | None]:
        """As in Executor."""
        x = np.ascontiguousarray(raw_signals(x, -1, self.n_in))
        if self.whole:
            return self._run_whole(x, states)
        y = np.empty((len(x), self.n_out), np.int16)
        logits = np.empty_like(y)
        images = np.empty((len(x), self._model.state_size), np.uint8)
        lib, run, out = self._lib, self._run, self._ffi.new("vg_sig[]", self.n_out)
        size = 2 * self.n_out
        for t in range(len(x)):
            lib.vg_run_step(run, self._in(x[t]), out)
            y[t] = np.frombuffer(self._ffi.buffer(out), np.int16)
            inner = self._ffi.buffer(lib.vg_run_logits(run), size)
            logits[t] = np.frombuffer(inner, np.int16)
            if states:
                images[t] = np.frombuffer(self.state, np.uint8)
        return y, logits, images if states else None

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
