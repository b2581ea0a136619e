"""The layout of a blob, ``firmware/lib/vgrad/BLOB.md``, version 1, and its writing."""

from __future__ import annotations

import struct
import zlib

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
from pyvgrad.qmodel import Ints, QLayer, QModel, QReadout, Scaling

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


def _matrix(weights: Ints, bits: int) -> bytes:
    rows, columns = weights.shape
    padded = np.zeros((rows, columns + -columns % 4), f"<i{bits // 8}")
    padded[:, :columns] = weights
    return padded.tobytes()


def _exps(exps: list[Ints], bits: int) -> bytes:
    values = np.concatenate([e if bits == 8 else e[:1] for e in exps])
    return _pad4(values.astype(np.uint8).tobytes())


def _state(c: Ints | None, r: Ints) -> bytes:
    """One layer's state as in a saved state: int32 c, then int16 r, padded to 4."""
    head = b"" if c is None else c.astype("<i4").tobytes()
    return head + _pad4(r.astype("<i2").tobytes())


def _pack_layer(q: QLayer, bits: int) -> bytes:
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
        _exps([q.exps[k] for k in layer.gates], bits),
        *(_matrix(q.weights[k], bits) for k in layer.gates),
        *(q.biases[k].astype("<i4").tobytes() for k in layer.gates if k in q.biases),
    ]
    if q.r0 is not None:
        parts.append(_state(q.c0, q.r0))
    return _pad4(b"".join(parts))


def _pack_readout(q: QReadout, bits: int) -> bytes:
    r = q.readout
    flags = r.biases | bool(r.shortcuts) << 1
    head = READOUT.pack(OUTPUTS.index(r.output), flags, q.logit_exp, 0, r.n_out, r.n_in)
    biases = b"" if q.biases is None else q.biases.astype("<i4").tobytes()
    return head + _exps([q.exps], bits) + _matrix(q.weights, bits) + biases


def _pack_scaling(s: Scaling) -> bytes:
    table = np.zeros(len(s.offset), SCALING)
    table["offset"], table["mult"], table["shift"] = s.offset, s.mult, s.shift
    return table.tobytes()


def encode(model: QModel) -> bytes:
    """The bytes of a model, whose values are not checked: ``blob.pack`` does."""
    body = b"".join(
        [
            _pack_scaling(model.scaling) if model.scaling else b"",
            *(_pack_layer(q, model.weight_bits) for q in model.layers),
            _pack_readout(model.readout, model.weight_bits) if model.readout else b"",
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
        0,
        MODES.index(model.shape.mode),
        model.x_exp,
        model.count_exp,
        (model.scaling is not None) | (model.readout is not None) << 1,
        0,
    )
    data = head + body
    return data + struct.pack("<I", zlib.crc32(data))
