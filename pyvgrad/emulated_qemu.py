"""An image on a core in QEMU, which knows vectors, with its instructions counted.

GDB's remote protocol sets memory and registers and runs from one address to another;
a plugin (firmware/bench/counter.c) counts how often each block of code has run.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from pyvgrad.errors import DeviceError
from pyvgrad.firmware import FIRMWARE, require
from pyvgrad.link import ProgramChannel
from pyvgrad.thumb import Ran, tally

PLUGIN = FIRMWARE / "bench" / "counter.c"
_BLOCK = np.dtype([("address", "<u4"), ("instructions", "<u4"), ("runs", "<u8")])
_BLOCKS = 1 << 16
_PIECE = 1024  # bytes of memory in a packet; QEMU takes up to 4096 characters
_SP, _LR, _PC, _XPSR = 13, 14, 15, 25  # registers as GDB numbers them
_THUMB = 1 << 24  # of XPSR


def build_plugin(folder: Path) -> Path:
    """Compile the counter for the QEMU on PATH into folder; DeviceError if it fails."""
    require("qemu-system-arm", "qemu-system-arm")
    require("gcc", "gcc libc6-dev")
    said = subprocess.run(
        ["qemu-system-arm", "--version"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"version (\d+)", said)
    version = 2 if found and int(found[1]) >= 9 else 1
    plugin = folder / "counter.so"
    defines = [f"-DPLUGIN_VERSION={version}", f"-DBLOCKS={_BLOCKS}"]
    flags = ["-std=c99", "-D_DEFAULT_SOURCE", "-O2", "-fPIC", "-shared", *defines]
    done = subprocess.run(
        ["gcc", *flags, str(PLUGIN), "-o", str(plugin)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeviceError(f"QEMU's counter does not build: {done.stderr[-2000:]}")
    return plugin


class Qemu:
    """A core that an image was loaded into; memory and calls are the caller's affair.

    ``machine`` is QEMU's; ``segments`` are (address, bytes) of the image; a call ends
    at ``stop``, where there is memory and no code.  DeviceError when QEMU is missing,
    dies or is silent.
    """

    def __init__(
        self,
        machine: str,
        image: Path,
        segments: list[tuple[int, bytes]],
        stop: int,
    ) -> None:
        self._segments, self._stop = segments, stop
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        plugin = build_plugin(folder)
        counts = folder / "counts"
        counts.write_bytes(bytes(_BLOCKS * _BLOCK.itemsize))
        with counts.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._blocks = np.frombuffer(self._map, _BLOCK)
        quiet = ["-display", "none", "-monitor", "none", "-serial", "none"]
        self._channel = ProgramChannel(
            [
                *("qemu-system-arm", "-M", machine, *quiet, "-kernel", str(image)),
                *("-plugin", f"{plugin},counts={counts}", "-S", "-gdb", "stdio"),
            ]
        )
        self._received = b""
        self._ask("qXfer:features:read:target.xml:0,400")  # else no single registers
        for address, data in segments:
            self.write(address, data)
        self._said(f"Z0,{stop:x},2", "OK")

    def write(self, address: int, data: bytes) -> None:
        """Overwrite memory."""
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            self._said(f"M{address + at:x},{len(piece):x}:{piece.hex()}", "OK")

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        pieces = (
            self._ask(f"m{address + at:x},{min(_PIECE, size - at):x}")
            for at in range(0, size, _PIECE)
        )
        return b"".join(bytes.fromhex(piece) for piece in pieces)

    def call(
        self, address: int, arguments: list[int], top: int
    ) -> tuple[int, list[Ran]]:
        """Call a function with up to four registers, the stack's top given: r0, blocks.

        DeviceError where it does not return.
        """
        registers = {**dict(enumerate(arguments)), _SP: top, _LR: self._stop | 1}
        registers |= {_PC: address, _XPSR: _THUMB}
        for number, value in registers.items():
            self._said(f"P{number:x}={value.to_bytes(4, 'little').hex()}", "OK")
        before = self._blocks["runs"].copy()
        self._said("c", "T05")
        at = self._register(_PC)
        if at != self._stop:
            raise DeviceError(f"stopped at {at:#x}")
        return self._register(0), self._ran(before)

    def _ran(self, before: np.ndarray) -> list[Ran]:
        """What ran since the blocks' runs were those."""
        runs = self._blocks["runs"] - before
        ran = []
        for k in np.flatnonzero(runs):
            address, count, _ = map(int, self._blocks[k])
            ran.append(
                Ran(address, int(runs[k]), tally(self._code(address, 4 * count), count))
            )
        return ran

    def _code(self, address: int, size: int) -> bytes:
        """Code of the image, so many bytes if there are."""
        for start, data in self._segments:
            if start <= address < start + len(data):
                return data[address - start :][:size]
        raise DeviceError(f"there is no code at {address:#x}")

    # ---- GDB's remote protocol ---------------------------------------------

    def _register(self, number: int) -> int:
        return int.from_bytes(bytes.fromhex(self._ask(f"p{number:x}")), "little")

    def _said(self, request: str, answer: str) -> None:
        got = self._ask(request)
        if not got.startswith(answer):
            raise DeviceError(f"QEMU answers {got[:60]!r} to {request[:60]!r}")

    def _ask(self, request: str) -> str:
        check = sum(request.encode()) % 256
        self._channel.send(f"+${request}#{check:02x}".encode())  # +: what was said came
        while True:
            found = re.search(rb"\$([^#]*)#..", self._received)
            if found:
                self._received = self._received[found.end() :]
                return found[1].decode()
            self._received += self._channel.receive()

    def close(self) -> None:
        """End QEMU; may be called twice."""
        with contextlib.suppress(DeviceError, ValueError):
            self._channel.send(b"$k#6b")
        self._channel.close()
        self._folder.cleanup()

    def __del__(self) -> None:
        if hasattr(self, "_channel"):
            self.close()
