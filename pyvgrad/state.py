"""What a sequence carries from step to step, and its bytes (a saved state, BLOB.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import BlobError
from pyvgrad.fixed import C_LIMIT
from pyvgrad.qmodel import Ints, QModel

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class State:
    """The state of a batch of sequences.

    A layer has ``c`` (batch, n) q20, None without a carried state, and ``r`` (batch,
    state_length): h, then the gates that feed back.  ``saturated`` is (batch,).
    """

    c: tuple[Ints | None, ...]
    r: tuple[Ints, ...]
    saturated: Ints


def initial(model: QModel, batch: int) -> State:
    """Return the state that each of ``batch`` sequences starts from."""

    def rows(start: Ints | None, n: int) -> Ints:
        one = np.zeros(n, np.int64) if start is None else start
        return np.tile(one, (batch, 1))

    return State(
        tuple(
            rows(q.c0, q.layer.n) if q.layer.row.carry else None for q in model.layers
        ),
        tuple(rows(q.r0, q.state_length) for q in model.layers),
        np.zeros(batch, np.int64),
    )


def _c_and_r(model: QModel) -> list[tuple[int, int]]:
    """Lengths of c and of r in each layer."""
    return [(q.layer.n * len(q.layer.row.carry), q.state_length) for q in model.layers]


def size(model: QModel) -> int:
    """Bytes of a saved state."""
    return 8 + sum(4 * n_c + 2 * (n_r + n_r % 2) for n_c, n_r in _c_and_r(model))


def to_bytes(state: State, crc: int) -> Image:
    """Return the saved states of a batch, (batch, size), for the blob with this CRC."""
    batch = len(state.saturated)
    head = np.stack([np.full(batch, crc, np.int64), state.saturated], axis=1)
    parts = [head.astype("<u4").view(np.uint8)]
    for c, r in zip(state.c, state.r, strict=True):
        if c is not None:
            parts.append(c.astype("<i4").view(np.uint8))
        padded = np.pad(r, ((0, 0), (0, r.shape[1] % 2)))
        parts.append(padded.astype("<i2").view(np.uint8))
    return np.concatenate(parts, axis=1)


def from_bytes(model: QModel, crc: int, image: bytes) -> State:
    """Read a saved state, as a batch of one.

    BlobError unless it is whole and of the blob with this CRC.
    """
    if len(image) != size(model):
        raise BlobError(
            f"a saved state of this model has {size(model)} bytes, not {len(image)}: "
            "it is cut short or of another model"
        )
    owner, saturated = np.frombuffer(image, "<u4", 2).tolist()
    if owner != crc:
        raise BlobError("the saved state is of another model: run it with that one")
    at, c, r = 8, list[Ints | None](), list[Ints]()
    for n_c, n_r in _c_and_r(model):
        c_q20 = np.frombuffer(image, "<i4", n_c, at).astype(np.int64)
        at += 4 * n_c
        padded = np.frombuffer(image, "<i2", n_r + n_r % 2, at).astype(np.int64)
        at += 2 * len(padded)
        if np.any(abs(c_q20) > C_LIMIT) or np.any(padded[n_r:]):
            raise BlobError("the saved state is damaged: save it again")
        c.append(c_q20[None] if n_c else None)
        r.append(padded[None, :n_r])
    return State(tuple(c), tuple(r), np.array([saturated]))
