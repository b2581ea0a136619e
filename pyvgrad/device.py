"""A blob on a board, or on an emulated one: what others call an executor."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad import firmware
from pyvgrad.blob import crc, parse
from pyvgrad.board import MACHINES, Board, sizes_told
from pyvgrad.errors import BlobError, DeviceError
from pyvgrad.executor import Executor
from pyvgrad.link import LONGEST, RefusalError
from pyvgrad.native import linear
from pyvgrad.signals import Signals, int32_counts, raw_signals


def _words(x: Signals) -> str:
    return x.astype(">i2").tobytes().hex()


def _signals(text: str) -> Signals:
    return np.frombuffer(bytes.fromhex(text), ">i2").astype(np.int16)


class Device(Executor):
    """One sequence passing through a blob on a board.

    ``on`` is m0, m3, m4, m7, m33 or m55 (emulated by QEMU; the firmware is built
    when needed), native (the same program on the host) or a serial port.  A blob
    that the RAM cannot hold, or not beside a whole sequence, goes into the flash of an
    emulated board.

    Every call raises DeviceError when a tool is missing or the board is silent,
    gone or not understood; none waits for ever.
    """

    def __init__(self, blob: bytes, on: str) -> None:
        """Load the blob and reset.  BlobError if the core refuses it."""
        self.name, self._in_flash = on, False
        self._board = Board(on)
        try:
            told = sizes_told(self._open(blob))
            self._blob, self._shape = blob, parse(blob).shape
            self.whole = self._shape.whole
            self.n_in, self.n_out = told["n_in"], told["n_out"]
            self.arena_bytes = told["arena"]
            self._state_size = told["state"]
        except BaseException:
            self.close()
            raise

    def _open(self, blob: bytes) -> str:
        """Send the blob, or put it into flash if that is or was the only way."""
        if self._in_flash:
            return self._open_flash(blob)
        try:
            self._board.load(blob)
            return self._board.ask("open")
        except RefusalError as refusal:
            if refusal.reason != "memory" or self.name not in MACHINES:
                raise self._board.explained(refusal) from None
        return self._open_flash(blob)

    def _open_flash(self, blob: bytes) -> str:
        """Start the emulated board again, the blob in its flash."""
        self._in_flash = True
        self._board.restart_with(blob)
        try:
            return self._board.ask("flash")
        except RefusalError as refusal:
            raise self._board.explained(refusal) from None

    def reset(self) -> None:
        """As in Executor."""
        self._board.ask("reset")

    def run(
        self, x: ArrayLike, *, states: bool = False
    ) -> tuple[Signals, Signals, NDArray[np.uint8] | None]:
        """As in Executor."""
        x = raw_signals(x, -1, self.n_in)
        if self.whole:
            return self._run_whole(x, states)
        y = np.empty((len(x), self.n_out), np.int16)
        logits = np.empty_like(y)
        images = np.empty((len(x), self._state_size), np.uint8)
        verb = "trace" if states else "step"
        answers = self._board.ask_all(f"{verb} {_words(row)}" for row in x)
        for t, answer in enumerate(answers):
            fields = answer.split(" ")
            y[t], logits[t] = _signals(fields[0]), _signals(fields[1])
            if states:
                images[t] = np.frombuffer(bytes.fromhex(fields[2]), np.uint8)
        return y, logits, images if states else None

    def _run_whole(
        self, x: Signals, states: bool
    ) -> tuple[Signals, Signals, NDArray[np.uint8] | None]:
        if not len(x):
            raise ValueError("a whole sequence has a step at least")
        before = self.state
        y, logits = self._pass(x, self._blob)
        after = self.state
        if len(y) > len(logits) and self._shape.output == "linear":
            logits = y.copy()
        elif len(y) > len(logits):
            # The core keeps those of one step: the same model without the function.
            plain = linear(self._blob)
            self._open(plain)
            self.state = crc(plain).to_bytes(4, "little") + before[4:]
            logits, _ = self._pass(x, plain)
            self._open(self._blob)
            self.state = after
        return y, logits, np.frombuffer(after, np.uint8)[np.newaxis] if states else None

    def _pass(self, x: Signals, blob: bytes) -> tuple[Signals, Signals]:
        """All y that the mode means, and the logits of the last; (., n_out) both.

        ``blob`` is the one that is open.
        """
        if not self._announced(x) and not self._announced_without(blob, x):
            raise DeviceError(
                f"a whole sequence of {len(x)} steps needs more RAM than {self.name} "
                "has for it: give it a shorter one, or fewer cells"
            )
        rows = len(x) if self._shape.mode == "sequence" else 1
        if 4 * self.n_out * (rows + 1) > LONGEST - 64:  # in hexadecimal, on one line
            raise DeviceError(
                f"{rows} outputs of {self.n_out} values are more than a board says at "
                "once; give it shorter sequences"
            )
        self._board.send("input", x.astype("<i2").tobytes())
        y, logits = map(_signals, self._board.ask("whole").split())
        return y.reshape(-1, self.n_out), logits.reshape(1, self.n_out)

    def _announced(self, x: Signals) -> bool:
        """Whether there is room for a sequence, which then may be sent."""
        try:
            self._board.ask(f"sequence {len(x)}")
        except RefusalError as refusal:
            if refusal.reason != "memory":
                raise
            return False
        return True

    def _announced_without(self, blob: bytes, x: Signals) -> bool:
        """The same once the blob has left the RAM of an emulated board, if it can."""
        if self.name not in MACHINES or self._in_flash or x.nbytes > self._board.ram:
            return False
        before = self.state
        self._open_flash(blob)
        self.state = before
        return self._announced(x)

    @property
    def state(self) -> bytes:
        """As in Executor."""
        return bytes.fromhex(self._board.ask("save"))

    @state.setter
    def state(self, image: bytes) -> None:
        if len(image) != self._state_size:
            raise BlobError(
                f"a saved state of this blob has {self._state_size} bytes, "
                f"not {len(image)}"
            )
        try:
            self._board.send("state", image)
            self._board.ask("restore")
        except RefusalError as refusal:
            raise self._board.explained(refusal) from None

    @property
    def saturated(self) -> int:
        """As in Executor."""
        return int(self._board.ask("saturated"))

    def scale(self, counts: ArrayLike) -> tuple[Signals, int]:
        """Counts (n_in,) to signals by the blob's scaling; how many were clamped.

        ValueError for what is no int32 or has another shape.
        """
        counts = int32_counts(counts)
        if counts.shape != (self.n_in,):
            raise ValueError(f"counts are {counts.shape}, not ({self.n_in},)")
        words = counts.astype(">i4").tobytes().hex()
        x, clamped = self._board.ask(f"scale {words}").split(" ")
        return _signals(x), int(clamped)

    def stack_bytes(self) -> int:
        """Return the most bytes of stack that were in use at any time so far."""
        return int(self._board.ask("stack"))

    def sizes(self) -> dict[str, int]:
        """Return flash, ram, library_flash, library_ram of the image, in bytes."""
        if self.name not in MACHINES or self._board.image is None:
            raise DeviceError(f"the image on {self.name} is not known here")
        return firmware.sizes(self._board.image)

    def close(self) -> None:
        """End the emulator, or let go of the port."""
        self._board.close()
