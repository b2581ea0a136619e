"""A blob as one C header: the bytes, their sizes and how to run them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pyvgrad.blob import parse
from pyvgrad.native import HostExecutor
from pyvgrad.qmodel import QModel

_TEXT = """\
/* {name}: a model for vgrad, {weights} weights of {bits} bits.
 * Made by `pyvgrad export --header`; blob CRC {crc:08x}.
 *
 *     #include "vgrad.h"
 *
 *     static uint32_t arena[VG_MODEL_ARENA_SIZE / 4];
 *     static vg_model m;
 *     static vg_run r;
{arrays}
 *
 *     if (vg_model_open(&m, vg_model_blob, VG_MODEL_BLOB_SIZE) != VG_OK ||
 *         vg_run_init(&r, &m, arena, sizeof arena) != VG_OK{call}
 *
 * A step has n_in = {n_in} signals x = raw / 2^{x_exp} and n_out = {n_out} signals
 * y = raw / 2^{y_exp}; vg_run_reset(&r) starts another sequence.
 */
#ifndef VG_MODEL_H
#define VG_MODEL_H

#include <stdint.h>

enum {{
    VG_MODEL_BLOB_SIZE = {size}, /* bytes of flash */
    VG_MODEL_ARENA_SIZE = {arena}, /* bytes of RAM */
    VG_MODEL_STATE_SIZE = {state}, /* bytes of a saved state */
    VG_MODEL_N_IN = {n_in},
    VG_MODEL_N_OUT = {n_out},
    VG_MODEL_X_EXP = {x_exp},
    VG_MODEL_Y_EXP = {y_exp}
}};

/* Words, so that it is aligned; little-endian like the core. */
static const uint32_t vg_model_blob[VG_MODEL_BLOB_SIZE / 4] = {{
{words}
}};

#endif
"""


_STEP = (
    """\
 *     vg_sig x[VG_MODEL_N_IN] = {0}, y[VG_MODEL_N_OUT];
""",
    """)
 *         return;
 *     vg_run_step(&r, x, y);
""",
)
# of a model with a reversed layer
_STEPS = 16
_WHOLE = (
    """\
 *     enum { STEPS = %d };
 *     static vg_sig x[STEPS][VG_MODEL_N_IN], y[%s];
 *     static uint32_t buf[%d];
""",
    """ ||
 *         vg_run_whole(&r, x[0], STEPS, %s, buf, sizeof buf) != VG_OK)
 *         return;
 *
 * buf is for that many steps: vg_run_whole_size(&m, STEPS) bytes.
""",
)


def _usage(model: QModel, core: HostExecutor) -> dict[str, str]:
    """The lines of the comment that depend on how the model is run."""
    arrays, call = _STEP
    if model.shape.whole:
        every = model.shape.mode == "sequence"
        y = "STEPS][VG_MODEL_N_OUT" if every else "VG_MODEL_N_OUT"
        arrays = _WHOLE[0] % (_STEPS, y, core.whole_bytes(_STEPS) // 4)
        call = _WHOLE[1] % ("y[0]" if every else "y")
    return {"arrays": arrays.rstrip(), "call": call.rstrip()}


def header(blob: bytes, name: str) -> str:
    """C source of a header that embeds the blob, with its arena's size in bytes.

    BlobError if the blob is damaged.
    """
    model = parse(blob)
    blob = blob[: int.from_bytes(blob[8:12], "little")]
    with HostExecutor(blob) as core:
        arena, state = core.arena_bytes, len(core.state)
        usage = _usage(model, core)
    words = [f"0x{w:08x}u" for w in np.frombuffer(blob, "<u4")]
    lines = [", ".join(words[k : k + 6]) for k in range(0, len(words), 6)]
    return _TEXT.format(
        name=re.sub(r"[^\w.-]", "_", Path(name).name),
        weights=f"{model.shape.n_weights:,}",
        bits=model.weight_bits,
        crc=int.from_bytes(blob[-4:], "little"),
        size=len(blob),
        arena=arena,
        state=state,
        n_in=model.shape.n_in,
        n_out=model.shape.n_out,
        x_exp=model.x_exp,
        y_exp=model.y_exp,
        **usage,
        words=",\n".join(f"    {line}" for line in lines),
    )
