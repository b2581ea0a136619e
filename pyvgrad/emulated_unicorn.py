"""An image on a core in unicorn, with its instructions counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pyvgrad.errors import DeviceError
from pyvgrad.thumb import Ran, tally

_SECONDS = 120


class Unicorn:
    """A core that an image was loaded into, as emulated_qemu.Qemu.

    ``memory`` is bytes by address; ``segments`` are (address, bytes) of the image; a
    call ends at ``stop``.  DeviceError when unicorn is missing.
    """

    def __init__(
        self,
        core: str,
        memory: dict[int, int],
        segments: list[tuple[int, bytes]],
        stop: int,
    ) -> None:
        unicorn = _unicorn()
        from unicorn import arm_const

        self._registers = arm_const
        self._fault = unicorn.UcError
        self._stop = stop
        self._uc = uc = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_CORTEX_{core.upper()}"))
        for address, size in memory.items():
            uc.mem_map(address, size)
        for address, data in segments:
            uc.mem_write(address, data)
        self._runs: Counter[tuple[int, int]] = Counter()  # of blocks: address, bytes
        uc.hook_add(unicorn.UC_HOOK_BLOCK, self._block)  # before the first start

    def _block(self, _: Any, address: int, size: int, __: object) -> None:
        self._runs[address, size] += 1

    def write(self, address: int, data: bytes) -> None:
        """Overwrite memory."""
        self._uc.mem_write(address, data)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        return bytes(self._uc.mem_read(address, size))

    def call(
        self, address: int, arguments: list[int], top: int
    ) -> tuple[int, list[Ran]]:
        """Call a function with up to four registers, the stack's top given: r0, blocks.

        DeviceError where it does not return.
        """
        uc, names = self._uc, self._registers
        for k, value in enumerate(arguments):
            uc.reg_write(getattr(names, f"UC_ARM_REG_R{k}"), value)
        uc.reg_write(names.UC_ARM_REG_SP, top)
        uc.reg_write(names.UC_ARM_REG_LR, self._stop | 1)
        self._runs.clear()
        try:
            uc.emu_start(address | 1, self._stop, timeout=int(_SECONDS * 1e6))
        except self._fault as fault:
            at = uc.reg_read(names.UC_ARM_REG_PC)
            raise DeviceError(f"stopped at {at:#x}: {fault}") from None
        if uc.reg_read(names.UC_ARM_REG_PC) & ~1 != self._stop:
            raise DeviceError(f"has not returned in {_SECONDS} s")
        ran = [
            Ran(at, runs, tally(self.read(at, size)))
            for (at, size), runs in self._runs.items()
        ]
        return int(uc.reg_read(names.UC_ARM_REG_R0)), ran


def _unicorn() -> Any:
    try:
        import unicorn
    except ImportError:
        raise DeviceError(
            "counting instructions needs unicorn: pip install pyvgrad[bench]"
        ) from None
    return unicorn
