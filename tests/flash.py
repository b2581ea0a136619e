"""Two slots in a simulated flash, which the C core saves blobs in.

A bit goes from erased to written only, whole blocks are erased, every byte is written
once between erases, in granules. Power fails in any operation (one block erased or
one granule written) and leaves it undone, torn or done. Cells may be worn.
"""

from __future__ import annotations

import numpy as np

from pyvgrad.native_core import library

UNDONE, TORN, DONE = "undone", "torn", "done"
MARGIN = 512  # bytes before, between and behind the slots, which nobody may touch


class Flash:
    """Flash of two slots, and the ``vg_slots`` of the C core that saves in it.

    ``block``: bytes erased at once, ``granule``: bytes written at once. ``erased``:
    what an erased byte reads; a write moves bits away from it. A broken rule of
    flash is noted in ``mistakes``.
    """

    def __init__(self, size, *, block=64, granule=8, erased=0xFF, seed=0):
        core = library()
        self.ffi, self.lib = core.ffi, core.lib
        self.size, self.block, self.granule = size, block, granule
        self.erased = np.uint8(erased)
        self.rng = np.random.default_rng(seed)
        self._room = self.ffi.new("uint64_t[]", (3 * MARGIN + 2 * size + 16) // 8 + 1)
        self.bytes = np.frombuffer(self.ffi.buffer(self._room), np.uint8)
        self.starts = (MARGIN, (2 * MARGIN + size + 7) // 8 * 8)
        self.bytes[:] = erased
        self.written = np.zeros(len(self.bytes), bool)
        self.stuck = np.zeros((2, len(self.bytes)), np.uint8)  # bits at 0, bits at 1
        self.erases = [0, 0]
        self.mistakes = []
        self.log = []  # what was asked: (slot, offset), or (slot, None) for an erase
        self._erase = self.ffi.callback("int(void *, int)", self._erase_slot, error=1)
        form = "int(void *, int, uint32_t, const void *, uint32_t)"
        self._write = self.ffi.callback(form, self._write_bytes, error=1)
        at = [self.address(start) for start in self.starts]
        self.slots = self.ffi.new(
            "vg_slots *",
            {"at": at, "size": size, "erase": self._erase, "write": self._write},
        )
        self.power_on()

    def address(self, at):
        return self.ffi.cast("uint8_t *", self._room) + at

    def slot(self, k):
        """The bytes of slot k, to read and to change behind the core's back."""
        return self.bytes[self.starts[k] : self.starts[k] + self.size]

    # ---- failures ----------------------------------------------------------

    def power_on(self):
        """Let everything work, and count operations from 0."""
        self.operations, self.fails_in, self.how = 0, None, DONE
        self.failure, self.silent, self.off = 1, False, False

    def fail(self, operation, how, *, failure=1, silent=False):
        """Let one operation fail: its callback returns ``failure``, and power is off.

        ``silent``: all goes on as if nothing had happened.
        """
        self.power_on()
        self.fails_in, self.how = operation, how
        self.failure, self.silent = failure, silent

    def wear(self, slot, at, *, bit, value):
        """Let a bit of a slot read ``value`` for ever."""
        self.stuck[value, self.starts[slot] + at] |= 1 << bit
        self._show_wear()

    def mend(self):
        self.stuck[:] = 0

    def state(self):
        """All that outlives a power cut, for ``restore``."""
        return self.bytes.copy(), self.written.copy(), list(self.erases)

    def restore(self, state):
        self.bytes[:], self.written[:] = state[:2]
        self.erases = list(state[2])
        self.power_on()

    def _show_wear(self):
        self.bytes &= ~self.stuck[0]
        self.bytes |= self.stuck[1]

    # ---- operations --------------------------------------------------------

    def _operate(self, n, operate):
        """Do the n operations of a callback, all at once but for one that fails.

        ``operate(first, last, how)`` does those from first to before last.
        """
        if self.off:
            self.mistakes.append("goes on after a failure")
        bad = -1 if self.fails_in is None else self.fails_in - self.operations
        if 0 <= bad < n:
            operate(0, bad, DONE)
            operate(bad, bad + 1, self.how)
            self.off = not self.silent
            if self.silent:
                operate(bad + 1, n, DONE)
        else:
            operate(0, n, DONE)
        self.operations += bad + 1 if self.off else n
        self._show_wear()
        return self.failure if self.off else 0

    def _erase_slot(self, _, slot):
        start, end = self.starts[slot], self.starts[slot] + self.size
        self.erases[slot] += 1
        self.log.append((slot, None))

        def erase(first, last, how):
            place = slice(
                start + first * self.block, min(start + last * self.block, end)
            )
            if how == DONE:
                self.bytes[place] = self.erased
                self.written[place] = False
            elif how == TORN:
                noise = self.rng.integers(0, 256, place.stop - place.start, np.uint8)
                if self.rng.random() < 0.5:  # only some bits got erased
                    noise = noise & (self.bytes[place] ^ self.erased) ^ self.erased
                self.bytes[place] = noise
                self.written[place] = True

        return self._operate(-(-self.size // self.block), erase)

    def _write_bytes(self, _, slot, at, p, n):
        self.log.append((slot, at))
        if at % self.granule or n % self.granule or at + n > self.size:
            self.mistakes.append(f"writes {n} bytes at {at}")
            return 1
        if int(self.ffi.cast("uintptr_t", p)) % 4:
            self.mistakes.append("a source that is not aligned")
        data = np.frombuffer(self.ffi.buffer(p, n), np.uint8) ^ self.erased
        begin = self.starts[slot] + at

        def write(first, last, how):
            part = slice(first * self.granule, last * self.granule)
            place = slice(begin + part.start, begin + part.stop)
            if self.written[place].any():
                self.mistakes.append(f"writes twice from {at + part.start} on")
            if how == UNDONE:
                return
            self.written[place] = True
            change = data[part] & ~(self.bytes[place] ^ self.erased)
            if how == TORN:
                change &= self.rng.integers(0, 256, len(change), np.uint8)
            self.bytes[place] ^= change

        return self._operate(n // self.granule, write)

    # ---- the C core --------------------------------------------------------

    def newest(self):
        """The bytes of the newest whole blob, or None."""
        size = self.ffi.new("uint32_t *", 0xDEAD)
        blob = self.lib.vg_slots_newest(self.slots, size)
        if blob == self.ffi.NULL:
            assert size[0] == 0xDEAD
            return None
        return bytes(self.ffi.buffer(blob, size[0]))

    def save(self, blob):
        """Save a blob that lies in RAM; what vg_slots_save returned."""
        words = self.ffi.new("uint32_t[]", -(-len(blob) // 4))
        self.ffi.memmove(words, blob, len(blob))
        return self.lib.vg_slots_save(self.slots, words, len(blob))
