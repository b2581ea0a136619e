"""A small LSTM blob and what it must compute, written from the specification.

    python tests/tiny_model.py      writes firmware/test/tiny_model.h

The tests on the target read that header, those in Python this module. Nothing
here comes from the package, so that it can bear witness against it.
"""

import random
import struct
import zlib
from pathlib import Path

import numpy as np

HEADER = Path(__file__).resolve().parents[1] / "firmware" / "test" / "tiny_model.h"
N_IN, N, N_OUT, STEPS = 3, 2, 2, 24
GATES = (11, 11, 11, 12)  # exponents of the arguments of i, f, o, g
SHIFT, LOGIT_SHIFT, LOGIT_EXP = 6, 5, 11
ARENA_SIZE = 256  # at least what the run needs

# The C of a stranger who has the library and that header: prints y of every step.
PROGRAM = """\
#include <stdio.h>
#include <vgrad.h>

#define TINY_MODEL_STEPS
#include "tiny_model.h"

static uint32_t arena[VG_MODEL_ARENA_SIZE / 4];

int main(void)
{
    vg_model model;
    vg_run run;
    vg_sig y[N_OUT];
    int t, k;

    if (vg_model_open(&model, vg_model_blob, VG_MODEL_BLOB_SIZE) ||
        vg_run_init(&run, &model, arena, sizeof arena))
        return 1;
    for (t = 0; t < STEPS; t++) {
        vg_run_step(&run, &model_x[t * N_IN], y);
        for (k = 0; k < N_OUT; k++)
            printf("%d ", y[k]);
    }
    return 0;
}
"""


def rs(x: int, n: int) -> int:
    """Shift right, rounding half up."""
    return (x + (1 << (n - 1))) >> n if n else x


def clamp(x: int, bits: int) -> int:
    return max(-(1 << bits), min((1 << bits) - 1, x))


def sigmoid(z: int) -> int:
    exact = 2**14 / (1 + np.exp(-np.longdouble(z) / 2**11))
    return int(np.floor(exact + np.longdouble(0.5)))


def tanh(z: int) -> int:
    exact = 2**14 * np.tanh(np.longdouble(z) / 2**12)
    return int(np.floor(exact + np.longdouble(0.5)))


class TinyModel:
    """Weights, and the state while running."""

    def __init__(self, seed: int = 1) -> None:
        draw = random.Random(seed)

        def rows(n_rows, n_columns, limit):
            return [
                [draw.randint(-limit, limit) for _ in range(n_columns)]
                for _ in range(n_rows)
            ]

        self.W = rows(4 * N, N_IN + N, 40)
        self.b = rows(1, 4 * N, 60000)[0]
        self.V = rows(N_OUT, N, 60)
        self.d = rows(1, N_OUT, 30000)[0]
        self.scaling = [(-100, 300, 4), (7, -20000, 12), (0, 1, 0)]
        self.x = np.array(rows(STEPS, N_IN, 32767), np.int16)
        self.reset()

    def reset(self) -> None:
        self.c, self.h, self.saturated = [0] * N, [0] * N, 0

    def blob(self) -> bytes:
        """Encode as BLOB.md says."""

        def matrix(rows):
            return b"".join(
                struct.pack(f"<{len(r)}h", *r) + bytes(2 * (-len(r) % 4)) for r in rows
            )

        body = b"".join(
            struct.pack("<ihBB", offset, mult, shift, 0)
            for offset, mult, shift in self.scaling
        )
        body += struct.pack("<BBBBHHHH", 4, 0x70, 3, 14, N, 1, N_IN, 0)
        body += bytes(e + SHIFT for e in GATES)
        body += matrix(self.W) + struct.pack(f"<{4 * N}i", *self.b)
        body += struct.pack("<BBBBHH", 0, 1, LOGIT_EXP, 0, N_OUT, N)
        body += bytes([LOGIT_EXP + LOGIT_SHIFT, 0, 0, 0])
        body += matrix(self.V) + struct.pack(f"<{N_OUT}i", *self.d)
        head = struct.pack("<4sHHI", b"VGRD", 1, 1, 24 + len(body) + 4)
        head += struct.pack("<HHBBBBBBH", N_IN, N_OUT, 16, 0, 0, 12, 3, 3, 0)
        return head + body + struct.pack("<I", zlib.crc32(head + body))

    def step(self, x) -> list[int]:
        """One step; y and logits are the same in a linear readout."""
        z = [*map(int, x), *self.h]
        acc = [
            sum(w * s for w, s in zip(row, z, strict=True)) + b
            for row, b in zip(self.W, self.b, strict=True)
        ]
        a = [clamp(rs(v, SHIFT), 15) for v in acc]
        for u in range(N):
            i, f, o = (sigmoid(a[k * N + u]) for k in range(3))
            g = tanh(a[3 * N + u])
            c = rs(f * self.c[u] + 64 * i * g, 14)
            self.c[u] = max(-(2**30), min(2**30, c))
            self.h[u] = rs(o * tanh(clamp(rs(self.c[u], 8), 15)), 14)
        logits = [
            rs(sum(v * h for v, h in zip(row, self.h, strict=True)) + d, LOGIT_SHIFT)
            for row, d in zip(self.V, self.d, strict=True)
        ]
        self.saturated += sum(clamp(v, 15) != v for v in logits)
        return [clamp(v, 15) for v in logits]

    def run(self, x) -> tuple[np.ndarray, list[bytes]]:
        """Return y (T, N_OUT) and the T saved states of a new sequence."""
        self.reset()
        y, states = [], []
        for row in x:
            y.append(self.step(row))
            states.append(self.state())
        return np.array(y, np.int16), states

    def state(self) -> bytes:
        crc = self.blob()[-4:]
        return crc + struct.pack(f"<I{N}i{N}h", self.saturated, *self.c, *self.h)

    def scale(self, counts) -> list[int]:
        return [
            clamp(rs((count - offset) * mult, shift), 15)
            for count, (offset, mult, shift) in zip(counts, self.scaling, strict=True)
        ]


def lines(values, per_line, form) -> str:
    texts = [form.format(v) for v in values]
    return "".join(
        "    " + ", ".join(texts[i : i + per_line]) + ",\n"
        for i in range(0, len(texts), per_line)
    )


def header() -> str:
    """The blob as `pyvgrad export --header` would write it, and its integers."""
    model = TinyModel()
    blob = model.blob()
    y, states = model.run(model.x)
    words = struct.unpack(f"<{len(blob) // 4}I", blob)
    return (
        "/* Written by tests/tiny_model.py. */\n/* clang-format off */\n"
        "#ifndef TINY_MODEL_H\n#define TINY_MODEL_H\n\n#include <stdint.h>\n\n"
        f"enum {{ VG_MODEL_BLOB_SIZE = {len(blob)}, "
        f"VG_MODEL_ARENA_SIZE = {ARENA_SIZE} }};\n\n"
        "static const uint32_t vg_model_blob[] = {\n"
        + lines(words, 6, "0x{:08x}")
        + "};\n\n#ifdef TINY_MODEL_STEPS /* x, y and the last state */\n\n"
        + f"enum {{ STEPS = {STEPS}, N_IN = {N_IN}, N_OUT = {N_OUT} }};\n\n"
        "static const int16_t model_x[STEPS * N_IN] = {\n"
        + lines(model.x.ravel(), 9, "{}")
        + "};\n\nstatic const int16_t model_y[STEPS * N_OUT] = {\n"
        + lines(y.ravel(), 9, "{}")
        + "};\n\nstatic const uint8_t model_state[] = {\n"
        + lines(states[-1], 12, "0x{:02x}")
        + "};\n\n#endif\n#endif\n"
    )


if __name__ == "__main__":
    HEADER.write_text(header(), "utf-8")
