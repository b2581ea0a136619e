"""Functions of the C core on an emulated Cortex-M, their instructions counted.

An instruction counts when the core passes it: one in an IT block whose condition is
false, too, and a load of many registers once, so the registers loaded are counted
beside.  Nothing here is accurate to the cycle.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pyvgrad.emulated_qemu import Qemu
from pyvgrad.emulated_unicorn import Unicorn
from pyvgrad.errors import DeviceError
from pyvgrad.firmware import ARM, FIRMWARE, require

LIB = FIRMWARE / "lib" / "vgrad"
CORES = ("m0", "m3", "m4", "m7", "m33", "m55")
OPTIMIZATION = "-O2"
_PLATFORM = FIRMWARE / "platform" / "armqemu"
_BENCH = FIRMWARE / "bench"
_MACHINES = {"m55": "mps3-an547"}  # of QEMU, for cores that unicorn does not know
_ROM_SIZE, _RAM_SIZE, _HEAP_SIZE = 0x0020_0000, 0x0040_0000, 0x0400_0000  # bytes
_IMAGE = 0x1_0000  # from the ROM's begin
_PAINTED = 0x1_0000  # bytes of the stack
_KEPT, _KEPT_SECONDS = 32, 3600  # images, and those used since, however many
_PAINT = 0xA5


@dataclass(frozen=True)
class Places:
    """Where a core's memories begin."""

    rom: int
    ram: int
    heap: int

    @property
    def stop(self) -> int:
        """Where nothing is: a call is over when it gets there."""
        return self.rom + 0x1000


def places_of(core: str) -> Places:
    """Where memory is: for M55 in the secure half of QEMU's machine."""
    if core == "m55":
        return Places(0x1100_0000, 0x3100_0000, 0x7000_0000)
    return Places(0, 0x2000_0000, 0x2100_0000)


# ---- build ---------------------------------------------------------------


def core_sources() -> list[Path]:
    """The C files of the core, and the objects that are counted on."""
    return [*sorted(LIB.glob("src/*.c")), _BENCH / "bench.c"]


def _command(core: str, flags: Sequence[str]) -> list[str]:
    places = places_of(core)
    memory = {
        "ROM_ORIGIN": places.rom + _IMAGE,
        "ROM_LENGTH": _ROM_SIZE - _IMAGE,
        "RAM_ORIGIN": places.ram,
        "RAM_LENGTH": _RAM_SIZE,
    }
    # vectors need the registers of the FPU
    floats = "hard" if core == "m55" else "soft"
    return [
        *(ARM + "gcc", f"-mcpu=cortex-{core}", "-mthumb", f"-mfloat-abi={floats}"),
        *("-std=c99", OPTIMIZATION, *flags, f"-I{LIB / 'include'}"),
        *("--specs=nano.specs", "--specs=nosys.specs", "-nostartfiles"),
        *("-Wl,--entry=0", f"-Wl,-T{_PLATFORM / 'ldscripts' / 'cortexm.ld'}"),
        *(f"-Wl,--defsym={name}={value:#x}" for name, value in memory.items()),
    ]


def compiler_version() -> str:
    """Version of arm-none-eabi-gcc; DeviceError when it is missing."""
    require(ARM + "gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    return _run(ARM + "gcc", "-dumpfullversion").strip()


def _digest(command: list[str], sources: Sequence[Path], version: str) -> str:
    headers = sorted([*LIB.rglob("*.h"), *_PLATFORM.rglob("*.ld")])
    total = hashlib.sha256(json.dumps([command, version]).encode())
    for path in [*sources, *headers]:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def build(
    core: str, sources: Sequence[Path] | None = None, flags: Sequence[str] = ()
) -> Path:
    """Return an image of C files for a core, built if it is not kept from before.

    Without ``sources`` it is the core's library with ``firmware/bench``; ``flags`` are
    more of the compiler's.  ValueError for an unknown core; DeviceError when the
    compiler is missing or fails.
    """
    if core not in CORES:
        raise ValueError(f"instructions are counted on {', '.join(CORES)}, not {core}")
    files = core_sources() if sources is None else list(sources)
    files.append(_BENCH / "vectors.c")
    if not all(path.is_file() for path in files):
        raise DeviceError("the core's C files are not here: install from a checkout")
    version = compiler_version()
    command = _command(core, flags)
    name = _digest(command, files, version)[:16]
    folder = FIRMWARE / ".pio" / "counted"
    image = folder / f"{core}-{name}.elf"
    if not image.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            built = Path(scratch, "image.elf")
            _run(*command, *map(str, files), "-o", str(built))
            built.replace(image)
        _forget_old(folder)
    else:
        image.touch()
    return image


def _forget_old(folder: Path) -> None:
    """Delete images that nobody used for long; others may be about to run theirs."""
    used = {path: path.stat().st_mtime for path in folder.glob("*.elf")}
    for path in sorted(used, key=lambda path: used[path])[:-_KEPT]:
        if used[path] < time.time() - _KEPT_SECONDS:
            path.unlink(missing_ok=True)


# ---- run -----------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """What came of a call: r0 as int32, instructions, loads, bytes of stack.

    Loads are registers loaded from memory.  ``functions`` are the instructions by the
    function they stand in: what the compiler has put into another one is that one's.
    ``code`` are the bytes of these functions by their addresses, as two of one file
    each may have the same name.
    """

    result: int
    instructions: int
    loads: int
    stack: int
    functions: dict[str, int]
    code: dict[int, int]


class Function(NamedTuple):
    """A function of an image; 0 bytes of a piece of assembly that states none."""

    address: int
    name: str
    size: int


class Emulator:
    """An image on a core; arguments and memory are the caller's affair.

    In unicorn, or, with ``machine`` or on a core that unicorn does not know, in QEMU.
    DeviceError when the emulator is missing, the image cannot be read or a call faults.
    """

    def __init__(self, image: Path, core: str, machine: str | None = None) -> None:
        places = places_of(core)
        machine = machine or _MACHINES.get(core)
        segments = _segments(image.read_bytes())
        self._core: Unicorn | Qemu
        if machine is None:
            memory = {
                places.rom: _ROM_SIZE,
                places.ram: _RAM_SIZE,
                places.heap: _HEAP_SIZE,
            }
            self._core = Unicorn(core, memory, segments, places.stop)
        else:
            self._core = Qemu(machine, image, segments, places.stop)
        self.symbols, self._functions = _symbols(image)
        self._stack = places.ram + _RAM_SIZE
        self._free, self._end = places.heap, places.heap + _HEAP_SIZE
        if machine is not None:
            self.call("bench_enable")

    def place(self, data: bytes | int) -> int:
        """Address of fresh memory, 8-byte aligned, that holds the data or n zeros."""
        content = bytes(data)  # of an int: zeros
        address = self._free
        if address + len(content) > self._end:
            raise DeviceError(f"the emulated RAM does not hold {len(content)} bytes")
        self._free += -(-len(content) // 8) * 8
        self._core.write(address, content)
        return address

    def write(self, address: int, data: bytes) -> None:
        """Overwrite memory."""
        self._core.write(address, data)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        return self._core.read(address, size)

    def call(self, name: str, *arguments: int) -> Call:
        """Call a function with 32-bit arguments, the first four in registers."""
        first, rest = arguments[:4], [value & 0xFFFF_FFFF for value in arguments[4:]]
        top = self._stack - (4 * len(rest) + 7) // 8 * 8
        self.write(self._stack - _PAINTED, bytes([_PAINT]) * _PAINTED)
        self.write(top, struct.pack(f"<{len(rest)}I", *rest))
        try:
            result, ran = self._core.call(
                self.symbols[name] & ~1, [value & 0xFFFF_FFFF for value in first], top
            )
        except DeviceError as error:
            raise DeviceError(f"{name} {error}") from None
        untouched = self.read(self._stack - _PAINTED, _PAINTED - (self._stack - top))
        unused = len(untouched) - len(untouched.lstrip(bytes([_PAINT])))
        functions: Counter[str] = Counter()
        code: dict[int, int] = {}
        for block in ran:
            of = self._function(block.address)
            functions[of.name] += block.runs * block.each.instructions
            code[of.address] = of.size
        return Call(
            result - (result >> 31 << 32),
            functions.total(),
            sum(block.runs * block.each.loads for block in ran),
            len(untouched) - unused,
            dict(functions),
            code,
        )

    def _function(self, address: int) -> Function:
        """The function that code stands in."""
        at = bisect.bisect_right(self._functions, address, key=lambda f: f.address)
        return self._functions[at - 1]


def _segments(elf: bytes) -> list[tuple[int, bytes]]:
    """(address, bytes) of what an ELF file loads, where it runs, not where it lies."""
    start, size, count = (
        *struct.unpack_from("<I", elf, 28),
        *struct.unpack_from("<HH", elf, 42),
    )
    found = []
    for k in range(count):
        kind, at, address, _, length = struct.unpack_from("<5I", elf, start + size * k)
        if kind == 1 and length:  # PT_LOAD
            found.append((address, elf[at : at + length]))
    return found


def _symbols(image: Path) -> tuple[dict[str, int], list[Function]]:
    """Addresses by name, and the functions in the order of theirs."""
    lines = _run(ARM + "nm", "--format=posix", str(image)).splitlines()
    rows = [row for row in map(str.split, lines) if len(row) > 2]
    functions = [
        Function(int(at, 16) & ~1, name, int(size[0], 16) if size else 0)
        for name, kind, at, *size in rows
        if kind in "Tt"
    ]
    return {name: int(at, 16) for name, _, at, *_ in rows}, sorted(functions)
