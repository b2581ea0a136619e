"""Functions of C on AArch64, without a compiler's libraries: clang and unicorn do."""

import struct
import subprocess

import unicorn
from unicorn import arm64_const


class Arm64:
    """A C file by clang, emulated, with the calls of pyvgrad.emulated.Emulator.

    Its functions may call no others and have no data: nothing is linked.
    """

    CODE, HEAP, STOP = 0x10000, 0x100000, 0x1000

    def __init__(self, source, include):
        path = source.with_suffix(".o")
        flags = ["-ffreestanding", "-std=c99", "-O2", f"-I{include}"]
        target = "--target=aarch64-none-elf"
        subprocess.run(["clang", target, *flags, "-c", source, "-o", path], check=True)
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.uc.mem_map(0, 4 << 20)
        self.uc.reg_write(arm64_const.UC_ARM64_REG_CPACR_EL1, 3 << 20)  # vectors
        elf = path.read_bytes()
        [at] = struct.unpack_from("<Q", elf, 40)
        size, n, names = struct.unpack_from("<HHH", elf, 58)
        parts = [
            struct.unpack_from("<IIQQQQIIQQ", elf, at + size * k) for k in range(n)
        ]
        text = {self.name(elf, parts[names], part[0]): part for part in parts}
        assert not any(name.startswith(".rela") for name in text)
        start, length = text[".text"][4:6]
        self.uc.mem_write(self.CODE, elf[start : start + length])
        start, length, strings = text[".symtab"][4:7]
        self.symbols = {}
        for k in range(start, start + length, 24):
            name, _, _, value, _ = struct.unpack_from("<IBxHQQ", elf, k)
            self.symbols[self.name(elf, parts[strings], name)] = self.CODE + value

    @staticmethod
    def name(elf, strings, at):
        return elf[strings[4] + at :].split(b"\0")[0].decode()

    def place(self, size):
        del size
        return self.HEAP

    def write(self, at, data):
        self.uc.mem_write(at, data)

    def read(self, at, size):
        return bytes(self.uc.mem_read(at, size))

    def call(self, name, *arguments):
        for k, value in enumerate(arguments):
            self.uc.reg_write(getattr(arm64_const, f"UC_ARM64_REG_X{k}"), value)
        self.uc.reg_write(arm64_const.UC_ARM64_REG_SP, 4 << 20)
        self.uc.reg_write(arm64_const.UC_ARM64_REG_LR, self.STOP)
        self.uc.emu_start(self.symbols[name], self.STOP)
