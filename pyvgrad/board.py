"""A board that runs the application in firmware/, emulated ones included."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pyvgrad import firmware
from pyvgrad.errors import BlobError, DeviceError
from pyvgrad.link import Channel, Link, ProgramChannel, RefusalError, SerialChannel

PROTOCOL_VERSION = 3
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


class Board:
    """Requests to a board and answers (firmware/PROTOCOL.md); close it.

    ``on`` is m0, m3, m4, m7, m33 or m55 (emulated by QEMU; the firmware is built
    when needed), native (the same program on the host) or a serial port.  Every call
    raises DeviceError when a tool is missing or the board is silent, gone or not
    understood; none waits for ever.
    """

    def __init__(self, on: str) -> None:
        self.name = on
        self._env = {"native": "native", **{m: f"qemu_{m}" for m in MACHINES}}.get(on)
        self.image = None if self._env is None else firmware.build(self._env)
        self._connect()

    def _connect(self) -> None:
        """Start and greet; take the board's limits."""
        self._link = Link(_start(self.name, self.image))
        try:
            told = self._link.greet()
            if told.get("name") != "pyvgrad":
                raise DeviceError(f"{self.name} runs another firmware: {told}")
            if told.get("protocol") != str(PROTOCOL_VERSION):
                raise DeviceError(
                    f"{self.name} speaks version {told.get('protocol')} of the "
                    f"protocol, this is version {PROTOCOL_VERSION}: flash it again"
                )
            core = f"cortex-{self.name}"
            if self.name in MACHINES and told["core"] != core:
                raise DeviceError(f"{self.name} says that it is {told['core']}")
            self._link.line, self._link.ahead = int(told["line"]), int(told["ahead"])
            self.ram = int(told["ram"])
        except BaseException:
            self.close()
            raise

    @property
    def line(self) -> int:
        """The longest request for which no buffer is too small, in characters."""
        return min(self._link.line, self._link.ahead - 1)

    def ask(self, request: str) -> str:
        """Return the answer to one request.  RefusalError if it is an error line."""
        return self._link.ask([request])[0]

    def ask_all(self, requests: Iterable[str]) -> list[str]:
        """Return the answers to many, sent ahead.  RefusalError for the first error."""
        return self._link.ask(requests)

    def send(self, verb: str, data: bytes) -> None:
        """Send bytes in lines that the board can take."""
        # beside the digits: id, verb, offset and checksum
        size = self.line // 2 - 20
        self._link.ask(
            f"{verb} {i} {data[i : i + size].hex()}" for i in range(0, len(data), size)
        )

    def load(self, blob: bytes) -> None:
        """Send a blob into the board's RAM.  RefusalError ``memory``."""
        self.ask(f"load {len(blob)}")
        self.send("blob", blob)

    def restart_with(self, blob: bytes) -> None:
        """Start an emulated board again, the blob built into its flash."""
        assert self._env is not None
        self.close()
        self.image = firmware.build(self._env, blob)
        self._connect()

    def explained(self, refusal: RefusalError) -> BlobError | DeviceError:
        """Return what the refusal of a blob or a state means for the caller."""
        if refusal.reason.startswith("core "):
            text = refusal.reason.split(" ", 2)[2]
            return BlobError(f"the C core on {self.name} refuses this: {text}")
        if refusal.reason == "memory":
            return DeviceError(f"this model needs more RAM than {self.name} has")
        return refusal

    def close(self) -> None:
        """End the emulator, or let go of the port; may be called twice."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def sizes_told(answer: str) -> dict[str, int]:
    """Read an answer of ``name=number`` words."""
    return {
        name: int(number)
        for name, number in (word.split("=", 1) for word in answer.split())
    }
