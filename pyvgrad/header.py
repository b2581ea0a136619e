"""A blob as one C header: the bytes, opened here, their sizes and how to run them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import parse
from pyvgrad.native import HostExecutor
from pyvgrad.native_core import Opened
from pyvgrad.qmodel import QModel

_TEXT = """\
/* {name}: a model for vgrad, {weights} weights of {bits} bits.
 * Made by `pyvgrad export --header`; blob CRC {crc:08x}.
 *
 *     static uint32_t arena[VG_MODEL_OPENED_SIZE / 4];
 *     static vg_run r;
{arrays}
 *
 *     if (vg_run_init_opened(&r, &vg_model_opened, arena, sizeof arena) !=
 *         VG_OK{call}
 *
 * A step has n_in = {n_in} signals x = raw / 2^{x_exp} and n_out = {n_out} signals
 * y = raw / 2^{y_exp}; vg_run_reset(&r) starts another sequence.
 *
 * The model was opened when this was made.  To have the blob checked again where
 * it runs, at the cost of some code and, for it, of an arena of
 * VG_MODEL_ARENA_SIZE bytes: vg_model_open(&m, vg_model_blob,
 * VG_MODEL_BLOB_SIZE), then vg_run_init.
 */
#ifndef VG_MODEL_H
#define VG_MODEL_H

#include "vgrad.h"

#if VG_OPENED_VERSION != {version}
#error "another vgrad made this header: export the model again"
#endif

enum {{
    VG_MODEL_BLOB_SIZE = {size}, /* bytes of flash */
    VG_MODEL_OPENED_SIZE = {opened}, /* bytes of RAM for vg_model_opened */
    VG_MODEL_ARENA_SIZE = {arena}, /* bytes of RAM for vg_run_init */
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

/* For vg_model_opened alone. */
static const uint32_t vg_model_places[{n_places}] = {{
{places}
}};

static const vg_opened vg_model_opened = {{
    {{(const uint8_t *)vg_model_blob, {fields}}},
    vg_model_places,
    VG_MODEL_OPENED_SIZE
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
 * buf is for that many steps: vg_run_whole_size(&vg_model_opened.model, STEPS)
 * bytes.
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


def _lines(words: NDArray[np.uint32]) -> str:
    """Numbers of an array in C."""
    texts = [f"0x{w:08x}u" for w in words]
    rows = [", ".join(texts[k : k + 6]) for k in range(0, len(texts), 6)]
    return ",\n".join(f"    {row}" for row in rows)


def header(blob: bytes, name: str) -> str:
    """C source of a header with the blob, opened, and its arena's sizes in bytes.

    BlobError if the blob is damaged.
    """
    model = parse(blob)
    blob = blob[: int.from_bytes(blob[8:12], "little")]
    with HostExecutor(blob) as core:
        opened: Opened = core.opened
        arena, state = core.arena_bytes, len(core.state)
        usage = _usage(model, core)
    return _TEXT.format(
        name=re.sub(r"[^\w.-]", "_", Path(name).name),
        weights=f"{model.shape.n_weights:,}",
        bits=model.weight_bits,
        crc=int.from_bytes(blob[-4:], "little"),
        version=opened.version,
        size=len(blob),
        opened=opened.arena_bytes,
        arena=arena,
        state=state,
        n_in=model.shape.n_in,
        n_out=model.shape.n_out,
        x_exp=model.x_exp,
        y_exp=model.y_exp,
        **usage,
        words=_lines(np.frombuffer(blob, "<u4")),
        n_places=len(opened.places),
        places=_lines(opened.places),
        fields=", ".join(map(str, opened.model)),
    )
