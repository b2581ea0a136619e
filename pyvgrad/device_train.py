"""Training on a board, or on an emulated one: what others call a trainer."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import parse
from pyvgrad.board import Board, sizes_told
from pyvgrad.errors import BlobError, DeviceError, RoomError
from pyvgrad.intloss import check_layout
from pyvgrad.learning import PARTS, Counters, Learn, Trainer
from pyvgrad.link import RefusalError
from pyvgrad.signals import known_flags, narrowed, raw_signals

_OVERHEAD = 23  # characters of a request beside the digits: id, verb, spaces, crc
_PIECE = 512  # bytes of a blob in one answer
_LOGISTIC, _SOFTMAX = 1, 2
_VG_ONE = 1 << 14
# VG_E_ARG, which opening a blob that is there never gives; VG_E_LAYOUT
_ARGUMENT, _LAYOUT = "core -1 ", "core -9 "


class DeviceTrainer(Trainer):
    """A blob in training on a board.

    ``learn`` None goes on where the checkpoint in ``blob`` stopped.  ``on`` as in
    Board.  BlobError for a blob that the core does not open, ValueError for settings
    that do not fit the model, DeviceError where the arena is too large for the board.

    A sequence is sent in as few lines as the board takes, one sent while the one
    before is still learnt; the weights are on the board alone until ``blob``.
    """

    arena_bytes: int

    def __init__(self, blob: bytes, learn: Learn | None, on: str) -> None:
        self.name = on
        self._board = Board(on)
        try:
            told = sizes_told(self._begin(blob, learn))
            self.n_in, self.n_out = told["n_in"], told["n_out"]
            self.arena_bytes, self._output = told["arena"], told["output"]
            self.learn = self._settings()
        except BaseException:
            self.close()
            raise

    def _begin(self, blob: bytes, learn: Learn | None) -> str:
        request = "resume" if learn is None else f"train {learn.to_bytes().hex()}"
        try:
            self._board.load(blob)
            return self._board.ask(request)
        except RefusalError as refusal:
            raise self._explained(refusal, blob, learn) from None

    def _explained(
        self, refusal: RefusalError, blob: bytes, learn: Learn | None
    ) -> ValueError | BlobError | DeviceError:
        """What the refusal of a blob or of settings means for the caller."""
        if refusal.reason == "memory":
            method = "rtrl97, " if _has_rtrl97(blob) else ""
            return RoomError(
                f"training this model needs more RAM than {self.name} has for it, "
                f"{self._board.ram} bytes; {method}a smaller k2, fewer cells need less"
            )
        if refusal.reason.startswith(_LAYOUT):
            check_layout(parse(blob))
        if learn is not None and refusal.reason.startswith(_ARGUMENT):
            return ValueError(
                f"the C core on {self.name} does not train this model by "
                f"{learn.method} with {learn.loss} and {learn.rule}: {refusal.reason}"
            )
        return self._board.explained(refusal)

    def _settings(self) -> Learn:
        return Learn.from_bytes(bytes.fromhex(self._board.ask("settings")))

    def teach(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None = None
    ) -> int:
        """As in Trainer."""
        inputs = self._inputs(x)
        flags = None if known is None else known_flags(known, len(inputs))
        targets = self._targets(target, len(inputs), flags)
        answers = self._board.ask_all(self._lines(inputs, targets, flags))
        return sum(map(int, answers))

    def _inputs(self, x: ArrayLike) -> NDArray[np.int16]:
        """Steps (T, n_in), or symbols (T, 1)."""
        if not self.learn.symbols:
            return raw_signals(x, -1, self.n_in)
        a = np.asarray(x)
        if a.dtype.kind not in "iu" or a.ndim != 1:
            raise ValueError(f"x is {a.dtype} {a.shape}, not symbols (T,) from 0")
        if a.size and not 0 <= a.min() <= a.max() < self.n_in:
            raise ValueError(f"symbols are 0 to {self.n_in - 1}, not up to {a.max()}")
        return a.astype(np.uint16).view(np.int16)[:, np.newaxis]

    def _targets(
        self, target: ArrayLike, steps: int, flags: NDArray[np.bool_] | None
    ) -> NDArray[np.int16]:
        """Targets (T, n_out), or classes (T, 1); 0 where there is none."""
        a = narrowed(target)
        want = (steps,) if self._output == _SOFTMAX else (steps, self.n_out)
        if a.shape != want:
            raise ValueError(f"targets are {a.shape}, the model learns from {want}")
        a = a if a.ndim == 2 else a[:, np.newaxis]
        if flags is not None:
            a = a * flags[:, np.newaxis]
        most = {_LOGISTIC: _VG_ONE, _SOFTMAX: self.n_out - 1}.get(self._output)
        if most is not None and a.size and not 0 <= a.min() <= a.max() <= most:
            raise ValueError(
                f"targets are 0 to {most}, not {a.min()} to {a.max()}; "
                "no step was taken"
            )
        return a

    def _lines(
        self,
        inputs: NDArray[np.int16],
        targets: NDArray[np.int16],
        flags: NDArray[np.bool_] | None,
    ) -> Iterator[str]:
        """Requests for all steps, as many in each as the board takes, one at least."""
        width = 4 * (inputs.shape[1] + targets.shape[1]) + (flags is not None)
        many = max(1, (self._board.line - _OVERHEAD) // width)
        for k in range(0, len(inputs), many):
            words = [_words(inputs[k : k + many]), _words(targets[k : k + many])]
            if flags is not None:
                words.append("".join("01"[int(flag)] for flag in flags[k : k + many]))
            yield "teach " + " ".join(words)

    def end(self) -> int:
        """As in Trainer."""
        return int(self._board.ask("end"))

    def rate(self, layer: int, gate: int, part: str, factor_q16: int) -> None:
        """As in Trainer."""
        if part not in PARTS:
            raise ValueError(f"a part is one of {', '.join(PARTS)}, not {part!r}")
        try:
            self._board.ask(f"rate {layer} {gate} {PARTS.index(part)} {factor_q16}")
        except RefusalError as refusal:
            raise ValueError(
                f"layer {layer}, gate {gate} has no part {part!r} that takes the factor"
                f" {factor_q16}: {refusal.reason}"
            ) from None

    def tune(self, learn: Learn) -> None:
        """As in Trainer."""
        try:
            self._board.ask(f"tune {learn.to_bytes().hex()}")
        except RefusalError:
            raise ValueError(
                "only frozen, rate, decay, clip, epsilon and seed change during a "
                f"training, within their ranges: {self.learn} to {learn}"
            ) from None
        self.learn = self._settings()

    def blob(self) -> bytes:
        """As in Trainer."""
        return self._fetch("seal")

    def checkpoint(self) -> bytes:
        """As in Trainer."""
        return self._fetch("checkpoint")

    def crc(self) -> str:
        """Return the last four bytes of ``blob()`` in hexadecimal, without the rest."""
        return self._board.ask("seal").split()[1]

    def _fetch(self, verb: str) -> bytes:
        words, crc = self._board.ask(verb).split()
        size = int(words)
        pieces = self._board.ask_all(
            f"fetch {at} {min(_PIECE, size - at)}" for at in range(0, size, _PIECE)
        )
        blob = bytes.fromhex("".join(pieces))
        if (len(blob), blob[-4:].hex()) != (size, crc):
            raise DeviceError(
                f"the blob from {self.name} is not the one that it sealed"
            )
        return blob

    @property
    def counters(self) -> Counters:
        """As in Trainer."""
        raw = bytes.fromhex(self._board.ask("counters"))
        return Counters(*struct.unpack(">7Ii", raw))

    def stack_bytes(self) -> int:
        """Return the most bytes of stack that were in use at any time so far."""
        return int(self._board.ask("stack"))

    def close(self) -> None:
        """End the emulator, or let go of the port."""
        self._board.close()


def _has_rtrl97(blob: bytes) -> bool:
    try:
        return parse(blob).shape.rtrl97
    except BlobError:
        return False


def _words(signals: NDArray[np.int16]) -> str:
    return signals.astype(">i2").tobytes().hex()
