"""A build of the C core, and runs of many sequences in one call of it."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.errors import BlobError, VgradError
from pyvgrad.signals import Signals


def library() -> ModuleType:
    """Load the build of the core that suits this processor; all give the same bits.

    VgradError where it was never built.
    """
    try:
        found = importlib.import_module("pyvgrad._vgrad")
        if found.lib.vg_has_avx2():
            found = importlib.import_module("pyvgrad._vgrad_avx2")
        return found
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


@dataclass(frozen=True)
class Rows:
    """Sequences in one array: ``steps[k]`` rows of x from row ``first[k]`` on.

    x are signals (rows, n_in) int16, or symbols (rows,) uint16, in one piece.
    """

    x: NDArray[Any]
    first: NDArray[np.uint32]
    steps: NDArray[np.uint32]

    @classmethod
    def of(cls, x: NDArray[Any], lengths: ArrayLike | None = None) -> Rows:
        """Sequences x (N, T, n_in) or (N, T), up to their ends ``lengths`` (N,).

        No copy of what is in one piece.  ValueError for an x of another form and an
        end beyond it.
        """
        if x.ndim not in (2, 3):
            raise ValueError(
                f"x is {x.dtype} {x.shape}, not sequences (N, T) of symbols or "
                "(N, T, n_in) of signals"
            )
        n, longest = x.shape[:2]
        flat = np.ascontiguousarray(x).reshape(n * longest, *x.shape[2:])
        first = np.arange(n, dtype=np.uint32) * np.uint32(longest)
        if lengths is None:
            return cls(flat, first, np.full(n, longest, np.uint32))
        steps = np.asarray(lengths)
        if steps.shape != (n,) or np.any((steps < 0) | (steps > longest)):
            raise ValueError(f"lengths are {n} numbers from 0 to {longest}")
        return cls(flat, first, steps.astype(np.uint32))

    def shares(self, n: int) -> list[tuple[int, int]]:
        """Up to n runs of sequences, begin and end, of about as many steps each."""
        if n == 1:
            return [(0, len(self.steps))] if len(self.steps) else []
        total = np.cumsum(self.steps, dtype=np.int64)
        fair = int(self.steps.sum(dtype=np.int64)) * np.arange(1, n) / n
        cuts = np.searchsorted(total, fair)
        return list(pairwise(sorted({0, *map(int, cuts), len(total)})))


@dataclass(frozen=True)
class Outcome:
    """Of each row of x, or, of last steps alone, of each sequence: y, logits, states.

    Rows that are in no sequence are zero; ``saturated`` (N,) are clamps.
    """

    y: Signals
    logits: Signals | None
    images: NDArray[np.uint8] | None
    saturated: NDArray[np.uint32]


@dataclass(frozen=True)
class Opened:
    """What the core finds of a blob: the parts of a vg_opened, for C.

    ``model`` are the numbers of vg_model, behind its pointer; ``version`` is
    VG_OPENED_VERSION.
    """

    version: int
    model: tuple[int, ...]
    places: NDArray[np.uint32]
    arena_bytes: int


class Run:
    """A blob opened in a build of the core, with the arena of one vg_run.

    BlobError if the core refuses the blob.
    """

    def __init__(self, core: Core, blob: bytes) -> None:
        self.core, self.blob = core, blob
        self._memory, self.model = core.open(blob)
        self.bytes = int(core.lib.vg_run_size(self.model))
        self._arena, self.run = core.words(self.bytes), core.ffi.new("vg_run *")
        core.check(core.lib.vg_run_init(self.run, self.model, self._arena, self.bytes))

    def opened(self) -> Opened:
        """What the core found, which is the same on every machine."""
        ffi, places = self.core.ffi, self.run.places
        n = self.run.arena - places
        numbers = [name for name, _ in ffi.typeof(self.model[0]).fields]
        return Opened(
            int(self.core.lib.VG_OPENED_VERSION),
            tuple(int(getattr(self.model, name)) for name in numbers[1:]),
            np.array(ffi.unpack(places, n), np.uint32),
            self.bytes - 4 * n,
        )

    def batch(
        self,
        rows: Rows,
        *,
        every: bool,
        fresh: bool = True,
        logits: bool = False,
        states: bool = False,
        threads: int = 1,
        out: Signals | None = None,
    ) -> Outcome:
        """Run sequences one after the other in one call, Python's lock released.

        Every step's y, or the last one's of each; a model that takes whole sequences
        has that in its mode, and no logits or states.  ``fresh``: each starts anew.
        More ``threads`` share fresh sequences, the same bits; this run is one of them.
        ``out`` is where y shall be written, in one piece; rows that are in no sequence
        stay as they are.  ValueError for arrays of another shape or type, symbols
        beyond n_in, no step where one is needed, and no threads.
        """
        if not isinstance(threads, int | np.integer) or threads < 1:
            raise ValueError(f"threads is a whole number from 1 on, not {threads}")
        self._check(rows, every)
        n = len(rows.x) if every else len(rows.steps)
        y = np.zeros((n, self.model.n_out), np.int16) if out is None else out
        if y.shape != (n, self.model.n_out) or y.dtype != np.int16:
            raise ValueError(
                f"out is {y.dtype} {y.shape}, not int16 ({n}, {self.model.n_out})"
            )
        size = self.model.state_size
        done = Outcome(
            y,
            np.zeros_like(y) if logits else None,
            np.zeros((len(rows.x), size), np.uint8) if states else None,
            np.zeros(len(rows.steps), np.uint32),
        )
        shares = rows.shares(threads if fresh else 1)
        runs = [self, *(Run(self.core, self.blob) for _ in shares[1:])]
        calls = [run._call(rows, done, every, fresh) for run in runs[: len(shares)]]
        todo = list(zip(runs, calls, shares, strict=False))
        if len(todo) > 1:
            with ThreadPoolExecutor(len(todo)) as pool:
                list(pool.map(_pass, todo))
        elif todo:
            _pass(todo[0])
        return done

    def _check(self, rows: Rows, every: bool) -> None:
        x, n_in = rows.x, int(self.model.n_in)
        if x.dtype == np.uint16 and x.ndim == 1 and not self.model.whole:
            if np.any(x >= n_in):
                raise ValueError(f"a symbol is not below {n_in}")
        elif x.dtype != np.int16 or x.ndim != 2 or x.shape[1] != n_in:
            raise ValueError(
                f"x is {x.dtype} {x.shape}, not uint16 symbols (T,) or int16 signals "
                f"(T, {n_in})"
            )
        if (self.model.whole or not every) and not rows.steps.all():
            raise ValueError("a sequence has a step at least")

    def _call(self, rows: Rows, done: Outcome, every: bool, fresh: bool) -> Any:
        """The vg_batch on these arrays, and what it points at."""
        ffi, lib = self.core.ffi, self.core.lib

        def at(array: NDArray[Any] | None, kind: str) -> Any:
            if array is None:
                return ffi.NULL
            return ffi.from_buffer(f"{kind}[]", array)

        symbols = rows.x.ndim == 1
        size = 0
        if self.model.whole and len(rows.steps):
            longest = int(rows.steps.max())
            size = self.core.check(lib.vg_run_whole_size(self.model, longest))
        kept = {
            "first": at(rows.first, "uint32_t"),
            "steps": at(rows.steps, "uint32_t"),
            "x": at(None if symbols else rows.x, "vg_sig"),
            "symbol": at(rows.x if symbols else None, "uint16_t"),
            "y": ffi.from_buffer("vg_sig[]", done.y, require_writable=True),
            "logits": at(done.logits, "vg_sig"),
            "image": at(done.images, "uint8_t"),
            "saturated": at(done.saturated, "uint32_t"),
            "buf": self.core.words(size),
        }
        plain = {"size": size, "every": every, "fresh": fresh}
        return ffi.new("vg_batch *", kept | plain), kept


def _pass(todo: tuple[Run, Any, tuple[int, int]]) -> None:
    """Run one share of the sequences."""
    run, (call, _), share = todo
    run.core.check(run.core.lib.vg_batch_run(run.run, call, *share))
