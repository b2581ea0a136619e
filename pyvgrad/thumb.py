"""What Thumb code does, as far as counting goes (Arm v7-M Architecture, A5)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Tally(NamedTuple):
    """Instructions, and registers that they load from memory."""

    instructions: int
    loads: int


class Ran(NamedTuple):
    """A piece of straight code, how often it ran, and what it does each time.

    ``address`` is that of its first byte, without the bit that means Thumb.
    """

    address: int
    runs: int
    each: Tally


@lru_cache(1 << 14)  # a call runs the blocks of the one before
def tally(code: bytes, most: int | None = None) -> Tally:
    """Count a piece of straight code, or its first instructions, each once."""
    at = instructions = loads = 0
    while at < len(code) and instructions != most:
        first = int.from_bytes(code[at : at + 2], "little")
        if first >> 11 >= 0b11101:  # one of 32 bits
            loads += _wide(first, int.from_bytes(code[at + 2 : at + 4], "little"))
            at += 4
        else:
            loads += _narrow(first)
            at += 2
        instructions += 1
    return Tally(instructions, loads)


def _narrow(word: int) -> int:
    """Registers that a 16-bit instruction loads."""
    if word >> 11 == 0b01001:  # literal
        return 1
    if word >> 12 == 0b0101:  # by registers: stores, then the loads
        return int(word >> 9 & 7 >= 3)
    if word >> 13 == 0b011 or word >> 12 in (0b1000, 0b1001):  # by an offset
        return word >> 11 & 1
    if word >> 9 == 0b1011110:  # pop
        return (word & 0x1FF).bit_count()
    if word >> 11 == 0b11001:  # many
        return (word & 0xFF).bit_count()
    return 0


def _wide(first: int, second: int) -> int:
    """Registers that a 32-bit instruction loads, those of the FPU left out."""
    if not first & 0x10:  # a store, or no access
        return 0
    if first >> 9 == 0b1110100:
        if not first & 0x40:  # many
            return second.bit_count()
        return 2 if first & 0x120 else 1  # two; exclusive, or a table's branch
    if first >> 9 == 0b1111100:
        hint = second >> 12 == 15 and not first & 0x40  # no word: a preload
        return int(not hint)
    return 0
