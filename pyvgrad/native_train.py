"""Training in the C core on the host, through cffi: the same sources as on a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import parse
from pyvgrad.errors import BlobError
from pyvgrad.intloss import check_fit, check_layout
from pyvgrad.learning import PARTS, Counters, Learn, Trainer
from pyvgrad.native_core import Core
from pyvgrad.signals import known_flags, narrowed, raw_signals

_SOFTMAX, _E_ARG = 2, -1
_COUNTED = [f.name for f in fields(Counters)]


class HostTrainer(Trainer):
    """A blob in training in the C core.

    ``learn`` None goes on where the checkpoint in ``blob`` stopped.  ``module`` is
    another build of the core (tests).  BlobError for a blob that the core does not
    open, ValueError for settings that do not fit the model.
    """

    def __init__(
        self, blob: bytes, learn: Learn | None, module: ModuleType | None = None
    ) -> None:
        self._core = core = Core(module)
        self._ffi, self._lib = core.ffi, core.lib
        _blob, model = core.open(blob)  # the core copies it
        source = parse(blob)
        check_layout(source)
        if learn is not None:
            check_fit(source.shape, learn)
        raw = core.ffi.NULL if learn is None else _raw(core, learn)
        self.arena_bytes = self._fit(core.lib.vg_train_size(model, raw), learn)
        self._arena = core.words(self.arena_bytes)
        self._t = core.ffi.new("vg_train *")
        made = core.lib.vg_train_init(
            self._t, model, raw, self._arena, self.arena_bytes
        )
        self._fit(made, learn)
        self.learn = self._read_learn()
        self.n_in, self.n_out = int(self._t.model.n_in), int(self._t.model.n_out)
        self._softmax = int(self._t.model.output) == _SOFTMAX

    def _read_learn(self) -> Learn:
        raw = self._ffi.addressof(self._t, "learn")
        return Learn.from_bytes(bytes(self._ffi.buffer(raw)))

    def _fit(self, err: int, learn: Learn | None) -> int:
        """The number itself; ValueError or, without settings, BlobError if it is <0."""
        if err >= 0:
            return int(err)
        text = self._core.text(err)
        if learn is None:
            raise BlobError(
                f"the blob has no training to go on with: {text}; state the settings"
            )
        raise ValueError(
            f"the C core does not train this model by {learn.method} with {learn.loss}"
            f" and {learn.rule}: {text}"
        )

    def teach(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None = None
    ) -> int:
        """As in Trainer."""
        given, steps = self._given(x, target, known)
        if self.learn.symbols:
            call, inputs = self._lib.vg_train_symbols, given["symbol"]
        else:
            call, inputs = self._lib.vg_train_steps, given["x"]
        changed = call(self._t, inputs, given["target"], given["known"], steps)
        return self._in_range(changed, "no step was taken")

    def batch(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None = None
    ) -> int:
        """``teach`` and ``end`` of N sequences of T steps, one after the other.

        x is (N, T, n_in) or (N, T), target (N, T, n_out) or (N, T), known (N, T).  One
        call of the core, Python's lock released.  Returns how often the weights
        changed.  ValueError as in ``teach``; of a value out of range when the sequences
        before it have been learnt.
        """
        return self.prepared(x, target, known)()

    def prepared(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None = None
    ) -> Callable[[], int]:
        """The call of ``batch``, to be made as often as wanted.

        It reads x and target where they are, as they are by then, if they are in one
        piece of the core's type (int16, and uint16 for symbols); of others, and of
        known, it keeps a copy.
        """
        x = np.asarray(x)
        if x.ndim != (2 if self.learn.symbols else 3):
            raise ValueError(f"x is {x.dtype} {x.shape}, not sequences of equal length")
        n, steps = x.shape[:2]

        def rows(a: ArrayLike) -> NDArray[Any]:
            a = np.asarray(a)
            if a.shape[:2] != (n, steps):
                raise ValueError(f"{a.shape} is not for {n} sequences of {steps} steps")
            return a.reshape(n * steps, *a.shape[2:])

        mask = None if known is None else rows(known)
        given, _ = self._given(rows(x), rows(target), mask)
        lessons = self._ffi.new("vg_lessons *", given | {"n": n, "steps": steps})

        def call(_kept: Any = given) -> int:
            before = self._t.sequences
            changed = self._lib.vg_lessons_learn(self._t, lessons)
            at = (self._t.sequences - before) % 2**32
            return self._in_range(
                changed,
                "only the sequences before it were learnt",
                f" of sequence {at}",
            )

        return call

    def _given(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None
    ) -> tuple[dict[str, Any], int]:
        """What a vg_lessons points at, x and a target of each step; their number."""
        ffi, inputs = self._ffi, self._inputs(x)
        steps = len(inputs)
        mask = ffi.NULL
        if known is not None:
            flags = known_flags(known, steps).view(np.uint8)
            mask = ffi.from_buffer("uint8_t[]", flags)
        given = {
            "target": ffi.from_buffer("vg_sig[]", self._targets(target, steps)),
            "known": mask,
        }
        if self.learn.symbols:
            given["symbol"] = ffi.from_buffer("uint16_t[]", inputs)
        else:
            given["x"] = ffi.from_buffer("vg_sig[]", inputs)
        return given, steps

    def _in_range(self, changed: int, taken: str, where: str = "") -> int:
        """The number itself; ValueError if it is a vg_err."""
        if changed < 0:
            raise ValueError(
                f"an input or a target{where} is out of range "
                f"({self._core.text(changed)}): "
                "symbols count from 0 to n_in - 1, classes to n_out - 1, and logistic "
                f"targets lie in 0..16384; {taken}"
            )
        return int(changed)

    def _inputs(self, x: ArrayLike) -> NDArray[Any]:
        if not self.learn.symbols:
            return np.ascontiguousarray(raw_signals(x, -1, self.n_in))
        a = np.asarray(x)
        if a.dtype == np.uint16 and a.ndim == 1:
            return np.ascontiguousarray(a)
        symbols = a.astype(np.uint16) if a.dtype.kind in "iu" else None
        if symbols is None or a.ndim != 1 or np.any(symbols != a):
            raise ValueError(f"x is {a.dtype} {a.shape}, not symbols (T,) from 0")
        return symbols

    def _targets(self, target: ArrayLike, steps: int) -> NDArray[np.int16]:
        a = np.asarray(target)
        a = a if a.dtype == np.int16 else narrowed(a)
        want = (steps,) if self._softmax else (steps, self.n_out)
        if a.shape != want:
            raise ValueError(f"targets are {a.shape}, the model learns from {want}")
        return np.ascontiguousarray(a)

    def end(self) -> int:
        """As in Trainer."""
        return int(self._lib.vg_train_end(self._t))

    def rate(self, layer: int, gate: int, part: str, factor_q16: int) -> None:
        """As in Trainer."""
        if part not in PARTS:
            raise ValueError(f"a part is one of {', '.join(PARTS)}, not {part!r}")
        known = min(layer, gate) >= 0 and -(2**31) <= factor_q16 < 2**31
        err = _E_ARG
        if known:
            err = self._lib.vg_train_rate(
                self._t, layer, gate, PARTS.index(part), factor_q16
            )
        if err < 0:
            raise ValueError(
                f"layer {layer}, gate {gate} has no part {part!r} that takes the factor"
                f" {factor_q16}: {self._core.text(err)}"
            )

    def tune(self, learn: Learn) -> None:
        """As in Trainer."""
        if self._lib.vg_train_tune(self._t, _raw(self._core, learn)) < 0:
            raise ValueError(
                "only frozen, rate, decay, clip, epsilon and seed change during a "
                f"training, within their ranges: {self.learn} to {learn}"
            )
        self.learn = self._read_learn()

    def blob(self) -> bytes:
        """As in Trainer."""
        return self._bytes(self._lib.vg_train_blob)

    def checkpoint(self) -> bytes:
        """As in Trainer."""
        return self._bytes(self._lib.vg_train_checkpoint)

    def _bytes(self, call: Any) -> bytes:
        size = self._ffi.new("uint32_t *")
        at = call(self._t, size)
        return bytes(self._ffi.buffer(self._ffi.cast("char *", at), size[0]))

    @property
    def counters(self) -> Counters:
        """As in Trainer."""
        return Counters(*(int(getattr(self._t, name)) for name in _COUNTED))

    @property
    def loss_q16(self) -> int:
        """Of the last step with a target, without the other counters."""
        return int(self._t.loss_q16)


def _raw(core: Core, learn: Learn) -> Any:
    """The vg_learn of these settings."""
    raw = core.ffi.new("vg_learn *")
    core.ffi.memmove(raw, learn.to_bytes(), core.ffi.sizeof("vg_learn"))
    return raw


def train_bytes(
    blob: bytes, learn: Learn, module: ModuleType | None = None
) -> int | None:
    """Bytes of arena that training a blob like this needs; None where it is undefined.

    BlobError for a blob that the core does not open.
    """
    core = Core(module)
    _memory, model = core.open(blob)
    size = int(core.lib.vg_train_size(model, _raw(core, learn)))
    return size if size >= 0 else None
