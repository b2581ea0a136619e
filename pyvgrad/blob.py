"""Bytes to integers and back: the blob of ``firmware/lib/vgrad/BLOB.md``, version 1.

``parse`` checks all that the C core's ``vg_model_open`` checks and refuses the same
blobs, so a file that this module reads is one that a board opens.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from pyvgrad.blob_format import (
    HEADER,
    LAYER,
    READOUT,
    SCALING,
    VERSION,
    Packing,
    decode_fields,
    encode,
)
from pyvgrad.cells import CELLS, DIRECTIONS, MODES, OUTPUTS, Layer, Readout, Shape
from pyvgrad.errors import BlobError
from pyvgrad.qmodel import LAYOUTS, Ints, QLayer, QModel, QReadout, Scaling

__all__ = ["VERSION", "convert", "crc", "pack", "parse", "read"]

_CELL_OF = {c.code: c for c in CELLS.values()}


def pack(model: QModel) -> bytes:
    """Write a model as a blob.  BlobError if it is not one that a core would open."""
    _require(model.weight_bits in (8, 16), "model", f"{model.weight_bits}-bit weights")
    if model.layout not in LAYOUTS:
        raise ValueError(f"a layout is {' or '.join(LAYOUTS)}, not {model.layout!r}")
    try:
        blob = encode(model)
    except (struct.error, UnicodeEncodeError) as error:
        raise BlobError(f"the model does not fit a blob: {error}") from None
    # NumPy narrows silently: what reads back must be what was written.
    if parse(blob) != model:
        raise BlobError("the model has a value out of the range of its field in a blob")
    return blob


class _Reader:
    """Takes records off the front of a blob and never reads past its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int, what: str) -> bytes:
        if n > len(self.data) - self.at:
            raise BlobError(f"the blob ends inside {what}: it is cut short or damaged")
        self.at += n
        return self.data[self.at - n : self.at]

    def array(self, dtype: str, n: int, what: str) -> Ints:
        size = np.dtype(dtype).itemsize * n
        raw = self.take(size + -size % 4, what)
        _require(not any(raw[size:]), what, "padding that is not zero")
        return np.frombuffer(raw, dtype, n).astype(np.int64)


def _require(ok: bool, where: str, what: str) -> None:
    if not ok:
        raise BlobError(f"{where}: {what}; this version of pyvgrad does not admit it")


def _read_exps(
    reader: _Reader, rows: list[int], bits: int, args: list[int], where: str
) -> list[Ints]:
    n = sum(rows) if bits == 8 else len(rows)
    flat = reader.array("u1", n, where)
    split = (
        np.split(flat, np.cumsum(rows)[:-1])
        if bits == 8
        else [np.full(r, e) for r, e in zip(rows, flat, strict=True)]
    )
    for e, arg in zip(split, args, strict=True):
        _require(
            bool(np.all((e - arg >= 1) & (e - arg <= 31))),
            where,
            "a shift out of 1..31",
        )
    return split


def _read_matrix(
    reader: _Reader, rows: int, columns: int, packing: Packing, where: str
) -> Ints:
    n_rows, stride = packing.padded(rows, columns)
    stored = reader.array(f"<i{packing.bits // 8}", n_rows * stride, where)
    w = packing.read(stored, rows, columns)
    zeros = not w[rows:].any() and not w[:, columns:].any()
    _require(zeros, where, "padding that is not zero")
    least = -(1 << (packing.bits - 1))
    _require(bool((w != least).all()), where, "a weight out of range")
    return w[:rows, :columns]


def _read_layer(reader: _Reader, n_in: int, packing: Packing, where: str) -> QLayer:
    code, byte, flags, h_exp, n, block, source, direction = LAYER.unpack(
        reader.take(LAYER.size, where)
    )
    _require(code in _CELL_OF, where, f"cell {code}")
    cell = _CELL_OF[code]
    _require(source == n_in, where, f"{source} inputs where {n_in} come")
    _require(flags <= 7, where, "unknown flags")
    _require(direction < len(DIRECTIONS), where, f"direction {direction}")
    try:
        layer = Layer(
            cell.name,
            n_in,
            n,
            block,
            decode_fields(cell, byte),
            bool(flags & 1),
            bool(flags & 2),
            DIRECTIONS[direction],
        )
    except ValueError as error:
        raise BlobError(f"{where}: {error}") from None
    _require(h_exp == 14 or (h_exp < 14 and not layer.bounded), where, f"h_exp {h_exp}")
    gates, rows = layer.gates, [layer.rows(k) for k in layer.gates]
    q = QLayer(layer, h_exp, {}, {}, {})
    args = [q.argument_exp(k) for k in gates]
    found = _read_exps(reader, rows, packing.bits, args, where)
    exps = dict(zip(gates, found, strict=True))
    joined = [exps[k] for k in cell.joined]
    _require(
        all(np.array_equal(e, joined[0]) for e in joined),
        where,
        f"gates {' and '.join(cell.joined)} with unlike exponents",
    )
    weights = {
        k: _read_matrix(reader, layer.rows(k), layer.columns(k), packing, where)
        for k in gates
    }
    biases = {
        k: reader.array("<i4", layer.rows(k), where) for k in gates if layer.has_bias(k)
    }
    c0 = r0 = None
    if flags & 4:
        c0 = reader.array("<i4", n, where) if cell.carry else None
        _require(
            c0 is None or bool((abs(c0) <= 1 << 30).all()), where, "c out of range"
        )
        r0 = reader.array("<i2", q.state_length, where)
    return QLayer(layer, h_exp, exps, weights, biases, c0, r0)


def _read_readout(
    reader: _Reader, n: int, n_in: int, n_out: int, packing: Packing
) -> QReadout:
    where = "readout"
    kind, flags, logit_exp, zero, outs, source = READOUT.unpack(
        reader.take(READOUT.size, where)
    )
    _require(kind < len(OUTPUTS), where, f"output function {kind}")
    _require(flags <= 3 and zero == 0, where, "unknown flags")
    _require(outs == n_out and source == n, where, f"{source} inputs, {outs} outputs")
    exp_ok = logit_exp == 11 if OUTPUTS[kind] == "logistic" else logit_exp <= 14
    _require(exp_ok, where, f"logit_exp {logit_exp}")
    readout = Readout(
        n, n_out, OUTPUTS[kind], n_in if flags & 2 else 0, bool(flags & 1)
    )
    [exps] = _read_exps(reader, [n_out], packing.bits, [logit_exp], where)
    w = _read_matrix(reader, n_out, n + readout.shortcuts, packing, where)
    biases = reader.array("<i4", n_out, where) if flags & 1 else None
    return QReadout(readout, logit_exp, exps, w, biases)


def _read_sections(reader: _Reader, end: int) -> tuple[tuple[str, bytes], ...]:
    sections: list[tuple[str, bytes]] = []
    while reader.at < end:
        raw = reader.take(8, "a section")
        tag, length = raw[:4], int.from_bytes(raw[4:], "little")
        _require(tag.isalpha(), "a section", f"tag {tag!r}")
        _require(tag[:1].islower(), "a section", f"unknown critical tag {tag!r}")
        content = reader.array("u1", length, "a section").astype(np.uint8)
        sections.append((tag.decode("ascii"), content.tobytes()))
    return tuple(sections)


def _checked(data: bytes) -> tuple[bytes, tuple[int, ...]]:
    if len(data) < HEADER.size + 4:
        raise BlobError(f"{len(data)} bytes are too few for a blob: it is cut short")
    magic, version, *rest = HEADER.unpack(data[: HEADER.size])
    if magic != b"VGRD":
        raise BlobError("this is not a blob: it does not start with VGRD")
    _require(version == VERSION, "header", f"blob version {version}")
    size = rest[1]
    if size > len(data) or size < HEADER.size + 4 or size % 4:
        raise BlobError(
            f"the blob says it has {size} bytes, {len(data)} are here: it is cut short"
        )
    data = bytes(data[:size])
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise BlobError("the blob is damaged: its CRC does not match; copy it again")
    return data[:-4], tuple(rest)


def parse(data: bytes) -> QModel:
    """Read a blob.  Bytes after its own size are ignored, as on a flash page.

    BlobError for anything that vg_model_open refuses.
    """
    body, head = _checked(data)
    n_layers, _, n_in, n_out, bits, layout, mode, x_exp, count_exp, flags, zero = head
    reader = _Reader(body)
    reader.take(HEADER.size, "the header")
    _require(1 <= n_layers <= 255, "header", f"{n_layers} layers")
    _require(n_in >= 1 and 1 <= n_out <= 32767, "header", f"{n_in} to {n_out}")
    _require(bits in (8, 16), "header", f"{bits}-bit weights")
    _require(layout < len(LAYOUTS), "header", f"layout {layout} of matrices")
    _require(mode < len(MODES), "header", f"mode {mode}")
    packing = Packing(bits, LAYOUTS[layout])
    _require(x_exp <= 14 and count_exp <= 30, "header", f"x_exp {x_exp}")
    _require(flags <= 3 and zero == 0, "header", "unknown flags")
    _require(bool(flags & 1) or count_exp == x_exp, "header", f"count_exp {count_exp}")
    scaling = _read_scaling(reader, n_in) if flags & 1 else None
    layers, n = _read_layers(reader, n_layers, n_in, packing)
    readout = _read_readout(reader, n, n_in, n_out, packing) if flags & 2 else None
    _require(readout is not None or n == n_out, "header", f"{n_out} outputs of {n}")
    sections = _read_sections(reader, len(body))
    try:
        shape = Shape(
            tuple(q.layer for q in layers),
            readout.readout if readout else None,
            MODES[mode],
        )
    except ValueError as error:
        raise BlobError(f"layers: {error}") from None
    one_exp = len({layers[k].h_exp for k in shape.top}) == 1
    _require(readout is not None or one_exp, "layers", "halves of unlike h_exp as y")
    return QModel(
        *(shape, tuple(layers), readout, bits, x_exp, count_exp, scaling, sections),
        packing.layout,
    )


def convert(blob: bytes, layout: str) -> bytes:
    """Return the blob with its matrices in another layout, one of qmodel.LAYOUTS.

    The way back gives the same bytes, without what lay behind the blob.  BlobError as
    ``parse``, ValueError for an unknown layout.
    """
    return pack(replace(parse(blob), layout=layout))


def _read_layers(
    reader: _Reader, n_layers: int, n_in: int, packing: Packing
) -> tuple[list[QLayer], int]:
    """The layers, and how many values the last of them, or its halves, give."""
    layers: list[QLayer] = []
    below = given = n_in
    for index in range(n_layers):
        half = bool(layers) and layers[-1].layer.direction == "forward-half"
        below = below if half else given
        q = _read_layer(reader, below, packing, f"layer {index + 1}")
        both = half and q.layer.direction == "reverse-half"
        given = q.layer.n + (layers[-1].layer.n if both else 0)
        layers.append(q)
    return layers, given


def _read_scaling(reader: _Reader, n_in: int) -> Scaling:
    raw = reader.take(SCALING.itemsize * n_in, "the input scaling")
    table = np.frombuffer(raw, SCALING)
    ok = bool((table["shift"] <= 47).all()) and not table["pad"].any()
    _require(ok, "input scaling", "a shift above 47")
    return Scaling(*(table[k].astype(np.int64) for k in ("offset", "mult", "shift")))


def crc(data: bytes) -> int:
    """The CRC-32 that a blob ends with."""
    size = int.from_bytes(data[8:12], "little")
    return int.from_bytes(data[size - 4 : size], "little")


def read(path: str | Path) -> bytes:
    """The bytes of a blob file, checked.  BlobError with the file's name."""
    try:
        data = Path(path).read_bytes()
        parse(data)
    except OSError as error:
        raise BlobError(f"{path}: {error.strerror}; is the path right?") from None
    except BlobError as error:
        raise BlobError(f"{path}: {error}") from None
    return data
