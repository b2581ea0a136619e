"""A blob on a board, or on an emulated one: what others call an executor."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad import firmware
from pyvgrad.errors import BlobError, DeviceError
from pyvgrad.executor import Executor
from pyvgrad.link import Channel, Link, ProgramChannel, RefusalError, SerialChannel
from pyvgrad.signals import Signals, int32_counts, raw_signals

PROTOCOL_VERSION = 1
MACHINES = {  # QEMU's
    "m0": "microbit",
    "m3": "mps2-an385",
    "m4": "mps2-an386",
    "m7": "mps2-an500",
    "m33": "mps2-an505",
    "m55": "mps3-an547",
}


def _start(on: str, image: Path | None) -> Channel:
    """Start the emulator, or the program of the host, or open a port."""
    if image is None:
        return SerialChannel(on)
    if on == "native":
        return ProgramChannel([str(image)])
    firmware.require("qemu-system-arm", "qemu-system-arm")
    quiet = ["-display", "none", "-monitor", "none", "-serial", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    command = ["qemu-system-arm", "-M", MACHINES[on], *quiet, *semihosting]
    return ProgramChannel([*command, "-kernel", str(image)])


def _words(x: Signals) -> str:
    return x.astype(">i2").tobytes().hex()


def _signals(text: str) -> Signals:
    return np.frombuffer(bytes.fromhex(text), ">i2").astype(np.int16)


class Device(Executor):
    """One sequence passing through a blob on a board.

    ``on`` is m0, m3, m4, m7, m33 or m55 (emulated by QEMU; the firmware is built
    when needed), native (the same program on the host) or a serial port.  A blob
    that the RAM cannot hold goes into the flash of an emulated board.

    Every call raises DeviceError when a tool is missing or the board is silent,
    gone or not understood; none waits for ever.
    """

    def __init__(self, blob: bytes, on: str) -> None:
        """Load the blob and reset.  BlobError if the core refuses it."""
        self.name = on
        self._env = {"native": "native", **{m: f"qemu_{m}" for m in MACHINES}}.get(on)
        self._image = None if self._env is None else firmware.build(self._env)
        self._connect()
        try:
            told = self._open(blob)
            self.n_in, self.n_out = int(told["n_in"]), int(told["n_out"])
            self.arena_bytes = int(told["arena"])
            self._state_size = int(told["state"])
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        """Start and greet; take the board's limits."""
        self._link = Link(_start(self.name, self._image))
        try:
            told = self._link.greet()
            spoken = told.get("name"), told.get("protocol")
            if spoken != ("pyvgrad", str(PROTOCOL_VERSION)):
                raise DeviceError(f"{self.name} runs another firmware: {told}")
            core = f"cortex-{self.name}"
            if self.name in MACHINES and told["core"] != core:
                raise DeviceError(f"{self.name} says that it is {told['core']}")
            self._link.line, self._link.ahead = int(told["line"]), int(told["ahead"])
        except BaseException:
            self.close()
            raise

    def _open(self, blob: bytes) -> dict[str, str]:
        """Send the blob, or put it into flash if that is the only way."""
        try:
            self._link.ask([f"load {len(blob)}"])
            self._send("blob", blob)
            told = self._ask("open")
        except RefusalError as refusal:
            if refusal.reason != "memory" or self.name not in MACHINES:
                raise self._explained(refusal) from None
            told = self._open_in_flash(blob)
        return dict(word.split("=", 1) for word in told.split())

    def _open_in_flash(self, blob: bytes) -> str:
        assert self._env is not None
        self.close()
        self._image = firmware.build(self._env, blob)
        self._connect()
        try:
            return self._ask("flash")
        except RefusalError as refusal:
            raise self._explained(refusal) from None

    def _explained(self, refusal: RefusalError) -> BlobError | DeviceError:
        """Return what a refusal means for the caller."""
        if refusal.reason.startswith("core "):
            text = refusal.reason.split(" ", 2)[2]
            return BlobError(f"the C core on {self.name} refuses this: {text}")
        if refusal.reason == "memory":
            return DeviceError(f"this model needs more RAM than {self.name} has")
        return refusal

    def _ask(self, request: str) -> str:
        return self._link.ask([request])[0]

    def _send(self, verb: str, data: bytes) -> None:
        """Send bytes in lines that the board can take."""
        # beside the digits: id, verb, offset and checksum
        size = min(self._link.line, self._link.ahead) // 2 - 20
        self._link.ask(
            f"{verb} {i} {data[i : i + size].hex()}" for i in range(0, len(data), size)
        )

    def reset(self) -> None:
        """As in Executor."""
        self._ask("reset")

    def run(
        self, x: ArrayLike, *, states: bool = False
    ) -> tuple[Signals, Signals, NDArray[np.uint8] | None]:
        """As in Executor."""
        x = raw_signals(x, -1, self.n_in)
        y = np.empty((len(x), self.n_out), np.int16)
        logits = np.empty_like(y)
        images = np.empty((len(x), self._state_size), np.uint8)
        verb = "trace" if states else "step"
        answers = self._link.ask(f"{verb} {_words(row)}" for row in x)
        for t, answer in enumerate(answers):
            fields = answer.split(" ")
            y[t], logits[t] = _signals(fields[0]), _signals(fields[1])
            if states:
                images[t] = np.frombuffer(bytes.fromhex(fields[2]), np.uint8)
        return y, logits, images if states else None

    @property
    def state(self) -> bytes:
        """As in Executor."""
        return bytes.fromhex(self._ask("save"))

    @state.setter
    def state(self, image: bytes) -> None:
        if len(image) != self._state_size:
            raise BlobError(
                f"a saved state of this blob has {self._state_size} bytes, "
                f"not {len(image)}"
            )
        try:
            self._send("state", image)
            self._ask("restore")
        except RefusalError as refusal:
            raise self._explained(refusal) from None

    @property
    def saturated(self) -> int:
        """As in Executor."""
        return int(self._ask("saturated"))

    def scale(self, counts: ArrayLike) -> tuple[Signals, int]:
        """Counts (n_in,) to signals by the blob's scaling; how many were clamped.

        ValueError for what is no int32 or has another shape.
        """
        counts = int32_counts(counts)
        if counts.shape != (self.n_in,):
            raise ValueError(f"counts are {counts.shape}, not ({self.n_in},)")
        words = counts.astype(">i4").tobytes().hex()
        x, clamped = self._ask(f"scale {words}").split(" ")
        return _signals(x), int(clamped)

    def stack_bytes(self) -> int:
        """Return the most bytes of stack that were in use at any time so far."""
        return int(self._ask("stack"))

    def sizes(self) -> dict[str, int]:
        """Return flash, ram, library_flash, library_ram of the image, in bytes."""
        if self.name not in MACHINES or self._image is None:
            raise DeviceError(f"the image on {self.name} is not known here")
        return firmware.sizes(self._image)

    def close(self) -> None:
        """End the emulator, or let go of the port."""
        self._link.close()
