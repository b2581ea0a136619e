"""Lines to a board and back: checksums, order, time-outs (firmware/PROTOCOL.md)."""

import binascii
import secrets
import select
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from pyvgrad.errors import DeviceError

SECONDS = 30.0  # without a sign of life
LONGEST = 1 << 20  # bytes of an answer
EXIT_CODES = {
    3: "its stack is exhausted",
    127: "the processor met a fault (exit code 127)",
}


class Channel(Protocol):
    """Bytes to a board and back; both calls raise DeviceError after SECONDS."""

    def send(self, data: bytes) -> None:
        """Send all of data."""

    def receive(self) -> bytes:
        """Wait for bytes; never empty."""

    def close(self) -> None:
        """Let go of the board; may be called twice."""


class ProgramChannel:
    """The standard streams of a program that is the board, or emulates it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._name = Path(command[0]).name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until close()
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            raise DeviceError(f"{self._name} does not start: {error}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def send(self, data: bytes) -> None:
        """Send data in pieces that a pipe takes at once, so that nothing blocks."""
        for i in range(0, len(data), select.PIPE_BUF):
            if not select.select([], [self._in], [], SECONDS)[1]:
                raise DeviceError(f"{self._name} has not read for {SECONDS:g} s")
            try:
                self._in.write(data[i : i + select.PIPE_BUF])
            except BrokenPipeError:
                raise self._death() from None

    def receive(self) -> bytes:
        """Return what the program wrote."""
        if not select.select([self._out], [], [], SECONDS)[0]:
            raise DeviceError(f"{self._name} has not answered for {SECONDS:g} s")
        data = self._out.read(1 << 16)
        if not data:
            raise self._death()
        return data

    def _death(self) -> DeviceError:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return DeviceError(f"{self._name} has closed its output")
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-500:]
        why = EXIT_CODES.get(code, f"exit code {code}")
        return DeviceError(f"{self._name} has ended: {why}. {said}".strip())

    def close(self) -> None:
        """End the program: by closing its streams, or by force."""
        self._in.close()
        self._out.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


class SerialChannel:
    """A serial port, through pyserial."""

    def __init__(self, port: str) -> None:
        try:
            import serial
        except ImportError:
            raise DeviceError("a serial port needs pyserial: install it") from None
        try:
            self._port: Any = serial.Serial(
                port, 115200, timeout=SECONDS, write_timeout=SECONDS
            )
        except (OSError, ValueError) as error:
            raise DeviceError(f"{port} cannot be opened: {error}") from None
        self._failure: type[Exception] = serial.SerialException

    def send(self, data: bytes) -> None:
        """Send all of data."""
        try:
            self._port.write(data)
        except self._failure as error:
            raise DeviceError(f"{self._port.port} takes no data: {error}") from None

    def receive(self) -> bytes:
        """Return what has arrived, at least one byte."""
        try:
            data = bytes(self._port.read(max(1, self._port.in_waiting)))
        except (OSError, self._failure) as error:
            raise DeviceError(f"{self._port.port} gives no data: {error}") from None
        if not data:
            raise DeviceError(
                f"the board on {self._port.port} has not answered for {SECONDS:g} s"
            )
        return data

    def close(self) -> None:
        """Close the port."""
        self._port.close()


class RefusalError(DeviceError):
    """The board's answer is an error line."""

    def __init__(self, request: str, reason: str) -> None:
        verb = request.partition(" ")[0]
        super().__init__(f"the board refuses '{verb}': {reason}")
        self.reason = reason


class Link:
    """Requests in, answers out, in order; many may be under way at once.

    ``line`` is the longest request, ``ahead`` the bytes that may be under way; both
    may be raised to what the board says.  After a DeviceError other than a RefusalError
    nothing more can be asked.
    """

    def __init__(self, channel: Channel) -> None:
        self.line = self.ahead = 64
        self._channel = channel
        self._lines: deque[bytes] = deque()
        self._cut = b""  # the beginning of a line
        self._id = secrets.randbelow(1 << 20)  # none that an older session left
        self._failure: DeviceError | None = None

    def greet(self) -> dict[str, str]:
        """Return what hello tells; skip what a board may still have to say."""
        self._channel.send(b"\n")
        line, _ = self._frame("hello")
        self._channel.send(line)
        for _ in range(10000):
            number, status, rest = self._parse(self._receive_line())
            if number == self._id and status == "ok" and rest:
                words = rest.split()
                told = dict(w.split("=", 1) for w in words if "=" in w)
                return told | {"name": words[0], "core": words[-1]}
        raise DeviceError("no answer to hello among ten thousand lines")

    def ask(self, requests: Iterable[str]) -> list[str]:
        """Send requests without waiting for each answer; return the answers.

        Raises RefusalError for the first error line, once all answers are here, and
        DeviceError when the board is silent, gone, or not understood.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._ask(requests)
        except RefusalError:
            raise
        except DeviceError as error:
            self._failure = error
            raise

    def _ask(self, requests: Iterable[str]) -> list[str]:
        waiting: deque[tuple[str, int, int]] = deque()
        answers: list[str] = []
        refusals: list[RefusalError] = []
        under_way = 0
        unsent = bytearray()

        def collect(limit: int) -> None:
            nonlocal under_way
            if unsent:
                self._channel.send(bytes(unsent))
                unsent.clear()
            while waiting and under_way > limit:
                request, number, size = waiting.popleft()
                under_way -= size
                try:
                    answers.append(self._answer(request, number))
                except RefusalError as refusal:
                    refusals.append(refusal)

        for request in requests:
            line, number = self._frame(request)
            if under_way + len(line) > self.ahead:
                collect(max(0, min(self.ahead // 2, self.ahead - len(line))))
            waiting.append((request, number, len(line)))
            under_way += len(line)
            unsent += line
        collect(0)
        if refusals:
            raise refusals[0]
        return answers

    def _frame(self, request: str) -> tuple[bytes, int]:
        self._id = self._id % 0xFFFFFFF + 1
        body = f"{self._id} {request}".encode("ascii")
        line = b"%b*%04x\n" % (body, binascii.crc_hqx(body, 0xFFFF))
        if len(line) - 1 > self.line:
            raise DeviceError(
                f"a request of {len(line) - 1} characters is too long for this board, "
                f"which takes {self.line}"
            )
        return line, self._id

    def _receive_line(self) -> bytes:
        while not self._lines:
            *lines, self._cut = (self._cut + self._channel.receive()).split(b"\n")
            self._lines.extend(lines)
            if len(self._cut) > LONGEST:
                raise DeviceError("the board sends something that has no line ends")
        return self._lines.popleft()

    def _parse(self, line: bytes) -> tuple[int, str, str]:
        """Return id, status and the rest; id -1 if the line is damaged."""
        body, _, crc = line.rstrip(b"\r").rpartition(b"*")
        number, _, rest = body.partition(b" ")
        if crc != b"%04x" % binascii.crc_hqx(body, 0xFFFF) or not number.isdigit():
            return -1, "", ""
        status, _, rest = rest.partition(b" ")
        return int(number), status.decode("ascii"), rest.decode("ascii")

    def _answer(self, request: str, number: int) -> str:
        found, status, rest = self._parse(self._receive_line())
        if found != number or status not in ("ok", "error"):
            raise DeviceError(
                "the line to the board is disturbed: a request or an answer was lost"
            )
        if status == "error":
            raise RefusalError(request, rest)
        return rest

    def close(self) -> None:
        """Let go of the board."""
        self._failure = DeviceError("this device is closed")
        self._channel.close()
