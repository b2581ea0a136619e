"""The layout of a blob, ``firmware/lib/vgrad/BLOB.md``, version 1, and its writing."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from pyvgrad.cells import (
    DIRECTIONS,
    MODES,
    OUTPUTS,
    SQUASH_G,
    SQUASH_H,
    Cell,
    Fields,
    Layer,
)
from pyvgrad.qmodel import LAYOUTS, Ints, QLayer, QModel, QReadout, Scaling

VERSION = 1
HEADER = struct.Struct("<4sHHIHHBBBBBBH")
LAYER = struct.Struct("<BBBBHHHH")
READOUT = struct.Struct("<BBBBHH")
SCALING = np.dtype([("offset", "<i4"), ("mult", "<i2"), ("shift", "u1"), ("pad", "u1")])


def encode_fields(layer: Layer) -> int:
    """The byte `fields` of the blob (BLOB.md)."""
    f = layer.opts
    return (
        SQUASH_G.index(f.squash_g)
        | SQUASH_H.index(f.squash_h) << 2
        | f.output_gate << 4
        | f.forget_gate << 5
        | f.recurrent << 6
        | f.feedback << 7
    )


def decode_fields(cell: Cell, byte: int) -> Fields:
    """The inverse of encode_fields.  ValueError for what no cell has."""
    if byte & 3 > 2 or byte >> 2 & 3 > 2:
        raise ValueError(f"unknown squashing function in fields {byte:#x}")
    return Fields(
        SQUASH_G[byte & 3],
        SQUASH_H[byte >> 2 & 3],
        *(bool(byte >> k & 1) for k in range(4, 8)),
    )


def _pad4(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@dataclass(frozen=True)
class Packing:
    """How the matrices of a blob are written: the bits of a weight and the layout."""

    bits: int
    layout: str = "rows"

    @property
    def group(self) -> int:
        """Rows whose weights lie side by side: 1, or in words as many as fill one."""
        return 32 // self.bits if self.layout == "words" else 1

    def padded(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of a matrix in the blob."""
        return rows + -rows % self.group, columns + -columns % 4

    def flip(self, grouped: Ints) -> Ints:
        """Weights (groups, columns, group) to what is stored, or back."""
        sign = 1 << (self.bits - 1)
        moved = grouped.copy()
        moved[..., :-1] = (moved[..., :-1] & (2 * sign - 1)) - sign
        return moved

    def write(self, weights: Ints) -> bytes:
        """Return the bytes of weights (rows, columns)."""
        rows, columns = self.padded(*weights.shape)
        padded = np.zeros((rows, columns), np.int64)
        padded[: len(weights), : weights.shape[1]] = weights
        grouped = padded.reshape(-1, self.group, columns).transpose(0, 2, 1)
        return self.flip(grouped).astype(f"<i{self.bits // 8}").tobytes()

    def read(self, stored: Ints, rows: int, columns: int) -> Ints:
        """Return the padded weights of a matrix (rows, columns), of what is stored."""
        shape = self.padded(rows, columns)
        grouped = stored.reshape(-1, shape[1], self.group)
        return self.flip(grouped).transpose(0, 2, 1).reshape(shape)


def _exps(exps: list[Ints], bits: int) -> bytes:
    values = np.concatenate([e if bits == 8 else e[:1] for e in exps])
    return _pad4(values.astype(np.uint8).tobytes())


def _state(c: Ints | None, r: Ints) -> bytes:
    """One layer's state as in a saved state: int32 c, then int16 r, padded to 4."""
    head = b"" if c is None else c.astype("<i4").tobytes()
    return head + _pad4(r.astype("<i2").tobytes())


def _pack_layer(q: QLayer, packing: Packing) -> bytes:
    layer = q.layer
    flags = layer.cell_biases | layer.gate_biases << 1 | (q.r0 is not None) << 2
    parts = [
        LAYER.pack(
            layer.row.code,
            encode_fields(layer),
            flags,
            q.h_exp,
            layer.n,
            layer.block,
            layer.n_in,
            DIRECTIONS.index(layer.direction),
        ),
        _exps([q.exps[k] for k in layer.gates], packing.bits),
        *(packing.write(q.weights[k]) for k in layer.gates),
        *(q.biases[k].astype("<i4").tobytes() for k in layer.gates if k in q.biases),
    ]
    if q.r0 is not None:
        parts.append(_state(q.c0, q.r0))
    return _pad4(b"".join(parts))


def _pack_readout(q: QReadout, packing: Packing) -> bytes:
    r = q.readout
    flags = r.biases | bool(r.shortcuts) << 1
    head = READOUT.pack(OUTPUTS.index(r.output), flags, q.logit_exp, 0, r.n_out, r.n_in)
    biases = b"" if q.biases is None else q.biases.astype("<i4").tobytes()
    return head + _exps([q.exps], packing.bits) + packing.write(q.weights) + biases


def _pack_scaling(s: Scaling) -> bytes:
    table = np.zeros(len(s.offset), SCALING)
    table["offset"], table["mult"], table["shift"] = s.offset, s.mult, s.shift
    return table.tobytes()


def encode(model: QModel) -> bytes:
    """The bytes of a model, whose values are not checked: ``blob.pack`` does."""
    packing = Packing(model.weight_bits, model.layout)
    body = b"".join(
        [
            _pack_scaling(model.scaling) if model.scaling else b"",
            *(_pack_layer(q, packing) for q in model.layers),
            _pack_readout(model.readout, packing) if model.readout else b"",
            *(
                tag.encode("ascii") + struct.pack("<I", len(data)) + _pad4(data)
                for tag, data in model.sections
            ),
        ]
    )
    head = HEADER.pack(
        b"VGRD",
        VERSION,
        len(model.layers),
        HEADER.size + len(body) + 4,
        model.shape.n_in,
        model.shape.n_out,
        model.weight_bits,
        LAYOUTS.index(model.layout),
        MODES.index(model.shape.mode),
        model.x_exp,
        model.count_exp,
        (model.scaling is not None) | (model.readout is not None) << 1,
        0,
    )
    data = head + body
    return data + struct.pack("<I", zlib.crc32(data))
