"""Functions of the C core on an emulated Cortex-M, their instructions counted.

An instruction counts when the core passes it: one in an IT block whose condition is
false, too, and a load of many registers once, so the registers loaded are counted
beside.  Nothing here is accurate to the cycle.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyvgrad.errors import DeviceError
from pyvgrad.firmware import ARM, FIRMWARE, require
from pyvgrad.thumb import Tally, tally

LIB = FIRMWARE / "lib" / "vgrad"
CORES = ("m0", "m3", "m4", "m7", "m33")
OPTIMIZATION = "-O2"
_PLATFORM = FIRMWARE / "platform" / "armqemu"
_ROM, _RAM, _HEAP = 0x0001_0000, 0x2000_0000, 0x2040_0000
_SIZE, _HEAP_SIZE = 0x0040_0000, 0x0400_0000  # bytes, of ROM and RAM, of the heap
_STACK, _PAINTED = _RAM + _SIZE, 0x1_0000
_RETURN = 0x1000  # where nothing is: a call is over when it gets there
_SECONDS = 120
_KEPT = 32  # images
_PAINT = 0xA5


# ---- build ---------------------------------------------------------------


def core_sources() -> list[Path]:
    """The C files of the core, and the objects that are counted on."""
    return [*sorted(LIB.glob("src/*.c")), FIRMWARE / "bench" / "bench.c"]


def _command(core: str, flags: Sequence[str]) -> list[str]:
    memory = {
        "ROM_ORIGIN": _ROM,
        "ROM_LENGTH": _SIZE - _ROM,
        "RAM_ORIGIN": _RAM,
        "RAM_LENGTH": _SIZE,
    }
    return [
        *(ARM + "gcc", f"-mcpu=cortex-{core}", "-mthumb", "-mfloat-abi=soft"),
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
        images = sorted(folder.glob("*.elf"), key=lambda path: path.stat().st_mtime)
        for path in images[:-_KEPT]:
            path.unlink(missing_ok=True)
    return image


# ---- run -----------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """What came of a call: r0 as int32, instructions, loads, bytes of stack.

    Loads are registers loaded from memory.
    """

    result: int
    instructions: int
    loads: int
    stack: int


def _unicorn() -> Any:
    try:
        import unicorn
    except ImportError:
        raise DeviceError(
            "counting instructions needs unicorn: pip install pyvgrad[bench]"
        ) from None
    return unicorn


class Emulator:
    """An image on a core; arguments and memory are the caller's affair.

    DeviceError when unicorn is missing, the image cannot be read or a call faults.
    """

    def __init__(self, image: Path, core: str) -> None:
        unicorn = _unicorn()
        from unicorn import arm_const

        self._registers = arm_const
        self._fault = unicorn.UcError
        self._uc = uc = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_CORTEX_{core.upper()}"))
        uc.mem_map(0, _SIZE)
        uc.mem_map(_RAM, _SIZE)
        uc.mem_map(_HEAP, _HEAP_SIZE)
        for address, data in _segments(image.read_bytes()):
            uc.mem_write(address, data)
        self.symbols = _symbols(image)
        self._free = _HEAP
        self._known: dict[tuple[int, int], Tally] = {}
        self._instructions = self._loads = 0
        uc.hook_add(unicorn.UC_HOOK_BLOCK, self._block)  # before the first start

    def _block(self, uc: Any, address: int, size: int, _: object) -> None:
        known = self._known.get((address, size))
        if known is None:
            known = tally(bytes(uc.mem_read(address, size)))
            self._known[address, size] = known
        self._instructions += known[0]
        self._loads += known[1]

    def place(self, data: bytes | int) -> int:
        """Address of fresh memory, 8-byte aligned, that holds the data or n zeros."""
        content = bytes(data)  # of an int: zeros
        address = self._free
        if address + len(content) > _HEAP + _HEAP_SIZE:
            raise DeviceError(f"the emulated RAM does not hold {len(content)} bytes")
        self._free += -(-len(content) // 8) * 8
        self._uc.mem_write(address, content)
        return address

    def write(self, address: int, data: bytes) -> None:
        """Overwrite memory."""
        self._uc.mem_write(address, data)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        return bytes(self._uc.mem_read(address, size))

    def call(self, name: str, *arguments: int) -> Call:
        """Call a function with 32-bit arguments, the first four in registers."""
        uc, names = self._uc, self._registers
        rest = [value & 0xFFFF_FFFF for value in arguments[4:]]
        top = _STACK - (4 * len(rest) + 7) // 8 * 8
        uc.mem_write(_STACK - _PAINTED, bytes([_PAINT]) * _PAINTED)
        uc.mem_write(top, struct.pack(f"<{len(rest)}I", *rest))
        for k, value in enumerate(arguments[:4]):
            uc.reg_write(getattr(names, f"UC_ARM_REG_R{k}"), value & 0xFFFF_FFFF)
        uc.reg_write(names.UC_ARM_REG_SP, top)
        uc.reg_write(names.UC_ARM_REG_LR, _RETURN | 1)
        self._instructions = self._loads = 0
        try:
            uc.emu_start(self.symbols[name] | 1, _RETURN, timeout=int(_SECONDS * 1e6))
        except self._fault as fault:
            at = uc.reg_read(names.UC_ARM_REG_PC)
            raise DeviceError(f"{name} stopped at {at:#x}: {fault}") from None
        if uc.reg_read(names.UC_ARM_REG_PC) & ~1 != _RETURN:
            raise DeviceError(f"{name} has not returned in {_SECONDS} s")
        result = uc.reg_read(names.UC_ARM_REG_R0)
        untouched = self.read(_STACK - _PAINTED, _PAINTED - (_STACK - top))
        unused = len(untouched) - len(untouched.lstrip(bytes([_PAINT])))
        signed = result - (result >> 31 << 32)
        stack = len(untouched) - unused
        return Call(signed, self._instructions, self._loads, stack)


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


def _symbols(image: Path) -> dict[str, int]:
    rows = (line.split() for line in _run(ARM + "nm", str(image)).splitlines())
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3}
