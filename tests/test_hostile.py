"""Hostile blobs: refused, or run clean; and Python refuses just those that C does.

Each blob goes through tests/fuzz/hostile.c, built with the address and undefined
behaviour sanitizers: what it admits is stepped with extreme inputs, saved, and
restored from damaged states, in buffers of exactly the size asked for.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from random_models import random_qmodel

from pyvgrad.blob import convert, pack, parse
from pyvgrad.cells import CELLS, OUTPUTS, Fields, Layer, Readout, Shape
from pyvgrad.errors import BlobError
from pyvgrad.qmodel import LAYOUTS, QLayer, QModel, QReadout

ROOT = Path(__file__).parents[1]
LIB = ROOT / "firmware" / "lib" / "vgrad"
FUZZ = ROOT / "tests" / "fuzz"
SOURCES = sorted(LIB.glob("src/*.c"))
SANITIZE = [
    *("-std=c99", "-g", "-O1", "-fno-sanitize-recover=all"),
    *("-include", "assert.h", "-DVG_ASSERT=assert", f"-I{LIB / 'include'}"),
]
OK, E_SIZE, E_MAGIC, E_FORMAT, E_CRC = 0, -3, -4, -5, -6
HEADER, CRC = 24, 4


def compile_c(compiler, sanitizers, main, program):
    command = [compiler, *SANITIZE, f"-fsanitize={sanitizers}", FUZZ / main]
    subprocess.run([*command, *SOURCES, "-o", program], check=True)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    program = tmp_path_factory.mktemp("hostile") / "hostile"
    compile_c("gcc", "address,undefined", "hostile.c", program)
    return program


def codes(driver, blobs):
    """What vg_model_open returned for each blob, after all it was put through."""
    stream = b"".join(struct.pack("<I", len(b)) + b for b in blobs)
    done = subprocess.run(
        [driver], input=stream, capture_output=True, check=False, timeout=60
    )
    found = [int(line) for line in done.stdout.split()]
    if done.returncode:
        bad = blobs[len(found)] if len(found) < len(blobs) else b""
        pytest.fail(f"blob {bad.hex()}\n{done.stderr.decode()}")
    assert len(found) == len(blobs)
    return found


def admitted(blob):
    try:
        parse(blob)
    except BlobError:
        return False
    return True


def agree(driver, blobs):
    """Codes of C, after a proof that Python admits the same blobs."""
    found = codes(driver, blobs)
    for blob, code in zip(blobs, found, strict=True):
        assert admitted(blob) == (code == OK), f"C says {code} to {blob.hex()}"
    return found


def sealed(body, *, size=None):
    """A body with a size and a CRC that fit it, as far as ``size`` lets them."""
    body = bytearray(body)
    body += bytes(-len(body) % 4)
    size = len(body) + CRC if size is None else size
    body[8:12] = struct.pack("<I", size)
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


def resealed(blob):
    """A blob with a CRC that fits the rest."""
    return blob[:-CRC] + struct.pack("<I", zlib.crc32(blob[:-CRC]))


def with_bytes(blob, at, new):
    return blob[:at] + new + blob[at + len(new) :]


def flips(blob):
    for bit in range(8 * len(blob)):
        bad = bytearray(blob)
        bad[bit // 8] ^= 1 << bit % 8
        yield bytes(bad)


def small(seed, **fixed):
    fixed = {"n_max": 3, "n_in": 2, **fixed}
    return pack(random_qmodel(np.random.default_rng(seed), **fixed))


# One of each cell; 1997 with gate feedback; both widths; all parts.
SMALL = {
    "rnn_tanh": small(1, cell="rnn_tanh", n_layers=1, output="linear", bits=16),
    "rnn_sigmoid": small(
        2, cell="rnn_sigmoid", n_layers=1, output="none", bits=8, scaling=True
    ),
    "rnn_relu": small(
        3, cell="rnn_relu", n_layers=2, output="linear", bits=8, shortcuts=True
    ),
    "lstm": small(
        4, cell="lstm", n_layers=1, output="softmax", bits=16, initial_state=True
    ),
    "lstm97": small(
        *(5,),
        cell="lstm97",
        fields=Fields("4s-2", "identity", feedback=True),
        block=3,
        n_layers=1,
        output="logistic",
        bits=8,
        scaling=True,
        initial_state=True,
    ),
    "lstm_coupled": small(
        6, cell="lstm_coupled", n_layers=1, output="softmax", bits=8, mode="final"
    ),
    "lstm_peephole": small(
        7, cell="lstm_peephole", n_layers=1, output="none", bits=16, initial_state=True
    ),
    "gru": small(8, cell="gru", n_layers=1, output="none", bits=8),
    "gru_reset_before": small(
        9, cell="gru_reset_before", n_layers=1, output="linear", bits=16
    ),
    "indrnn": small(10, cell="indrnn", n_layers=2, output="none", bits=16),
    "ugrnn": small(11, cell="ugrnn", n_layers=1, output="logistic", bits=8),
    "plus_rnn": small(12, cell="plus_rnn", n_layers=2, output="linear", bits=8),
    "both ways": small(
        13, n_layers=2, output="linear", bits=8, whole=True, initial_state=True
    ),
}
SMALL |= {
    f"{name} in words": convert(SMALL[name], "words")
    for name in ("rnn_relu", "lstm_peephole", "gru", "gru_reset_before", "both ways")
}
each_small = pytest.mark.parametrize("blob", SMALL.values(), ids=SMALL.keys())


# ---- damage ----------------------------------------------------------------


@each_small
def test_sound_blob_is_admitted_with_or_without_bytes_after_it(driver, blob):
    assert agree(driver, [blob, blob + b"\xff", blob + bytes(64)]) == [OK] * 3


@each_small
def test_blob_cut_at_any_byte_is_a_size_error(driver, blob):
    cuts = [blob[:n] for n in range(len(blob))]
    assert set(agree(driver, cuts)) == {E_SIZE}


@each_small
def test_any_flipped_bit_is_refused(driver, blob):
    assert set(agree(driver, list(flips(blob)))) == {E_SIZE, E_MAGIC, E_FORMAT, E_CRC}


# ---- lies with a right CRC -------------------------------------------------


@each_small
def test_any_flipped_bit_under_a_right_crc_is_refused_or_runs(driver, blob):
    found = agree(driver, [resealed(b + bytes(CRC)) for b in flips(blob[:-CRC])])
    # Where it is the size that changed, the CRC is looked for elsewhere.
    assert set(found) == {OK, E_SIZE, E_MAGIC, E_FORMAT, E_CRC}


@each_small
def test_any_value_of_any_of_the_first_bytes_is_refused_or_runs(driver, blob):
    ends = min(len(blob) - CRC, 24 + 16 + 12 + 8)
    blobs = [
        resealed(with_bytes(blob, at, bytes([value])))
        for at in range(ends)
        for value in range(256)
    ]
    found = agree(driver, blobs)
    assert found.count(OK) > 0


@each_small
def test_a_cut_at_any_byte_under_a_right_crc_is_refused_or_runs(driver, blob):
    # Where only sections are cut away, what is left is whole.
    cuts = [sealed(blob[:n]) for n in range(12, len(blob) - CRC)]
    found = agree(driver, cuts)
    assert E_SIZE in found
    assert E_MAGIC not in found
    assert E_CRC not in found


def edge(rng):
    """A number that programs trip over, in 1, 2 or 4 bytes."""
    width = int(rng.choice([1, 2, 4]))
    top = 1 << 8 * width
    value = int(rng.choice([0, 1, 2, 3, top // 2 - 1, top // 2, top - 2, top - 1]))
    return value.to_bytes(width, "little")


def mutated(rng, blob):
    """A blob with 1 to 5 changes of bytes or words, sealed."""
    body = bytearray(blob[:-CRC])
    for _ in range(int(rng.integers(1, 6))):
        reach = len(body) if rng.random() < 0.5 else min(len(body), 80)
        at = int(rng.integers(4, reach))
        word = at & ~3
        change = rng.integers(0, 6)
        if change <= 1:
            body[at] = int(rng.integers(0, 256))
        elif change <= 3:
            new = edge(rng)[: len(body) - at]
            body[at : at + len(new)] = new
        elif change == 4:
            body[word:word] = rng.bytes(4)
        elif len(body) > HEADER + 8:
            del body[word : word + 4]
    if rng.random() < 0.5:
        body[4:8] = blob[4:8]  # version and layers: most changes there end it
    return sealed(body)


@pytest.mark.parametrize("seed", range(4))
def test_blobs_changed_in_many_places_are_refused_or_run(driver, seed):
    rng = np.random.default_rng(seed)
    sources = [
        *SMALL.values(),
        *(small([seed, k], n_max=4, layout="any") for k in range(25)),
    ]
    blobs = [mutated(rng, sources[k % len(sources)]) for k in range(1500)]
    found = agree(driver, blobs)
    assert 20 < found.count(OK) < 1400


# ---- absurd sizes ----------------------------------------------------------


def head(
    n_in=1, n_out=1, *, n_layers=1, bits=8, mode=0, x_exp=14, count_exp=14, flags=0
):
    return struct.pack(
        *("<4sHHIHHBBBBBBH", b"VGRD", 1, n_layers, 0, n_in, n_out),
        *(bits, 0, mode, x_exp, count_exp, flags, 0),
    )


def layer(cell, fields, n, block, n_in, *, flags=0, h_exp=14, direction=0):
    return struct.pack(
        "<BBBBHHHH", cell, fields, flags, h_exp, n, block, n_in, direction
    )


def padded(data):
    return data + bytes(-len(data) % 4)


# Of BLOB.md: the fields of the cells that have but one value; and what gates read.
FIXED = {
    cell: {4: 0x70, 5: 0x50, 6: 0x70}.get(cell, 0x40) for cell in range(12) if cell != 3
}
READS = {4: "bbbb", 5: "bbb", 6: "ppbq", 7: "bbxh", 8: "bbs", 9: "d", 10: "bb"}
READS |= {11: "bbbbx", **dict.fromkeys(range(3), "b")}
CAROUSEL = 0  # fields of lstm97: gates i and g alone, no recurrent weights


@pytest.mark.parametrize("extra", [0, 4, 1000])
@pytest.mark.parametrize(
    ("bits", "n", "n_exps"),
    [(8, 65535, 65536), (16, 32767, 2)],  # (n + 1) * 65536 * bits / 8 is 2^32
)
def test_matrix_of_2_to_the_32_bytes_is_not_taken_for_none(
    driver, bits, n, n_exps, extra
):
    body = head(65535, 1, bits=bits) + layer(3, CAROUSEL, n, n, 65535)
    body += padded(b"\x14" * n_exps) + bytes(extra)
    assert agree(driver, [sealed(body)]) == [E_SIZE]


@pytest.mark.parametrize("n", [1, 2, 255, 256, 4095, 32767, 32768, 65535])
@pytest.mark.parametrize("n_in", [1, 4096, 65535])
def test_matrix_larger_than_the_blob_is_a_size_error(driver, n_in, n):
    blobs = [
        sealed(head(n_in, 1, bits=bits) + layer(cell, f, n, 1, n_in) + bytes(64))
        for bits in (8, 16)
        for cell, f in [(3, 0xF5), *((k, f) for k, f in FIXED.items() if k != 3)]
        if n * n_in > 64
    ]
    if blobs:
        assert set(agree(driver, blobs)) <= {E_SIZE, E_FORMAT}


@pytest.mark.parametrize("n_out", [32767, 32768, 65535])
def test_readout_larger_than_the_blob_is_refused(driver, n_out):
    body = head(1, n_out, flags=2) + layer(3, CAROUSEL, 1, 1, 1)
    body += b"\x14\x14\0\0" + bytes(8) + struct.pack("<BBBBHH", 0, 0, 11, 0, n_out, 1)
    [code] = agree(driver, [sealed(body)])
    assert code == (E_SIZE if n_out == 32767 else E_FORMAT)


@pytest.mark.parametrize("n_layers", [0, 2, 255, 256, 65535])
def test_layers_that_are_not_there_are_refused(driver, n_layers):
    blob = small(7, cell="lstm", n_layers=1, output="none", n_in=3, sections=False)
    lie = resealed(with_bytes(blob, 6, struct.pack("<H", n_layers)))
    [code] = agree(driver, [lie])
    assert code == (E_SIZE if n_layers in (2, 255) else E_FORMAT)


@pytest.mark.parametrize(
    "size", [0, 4, 24, 27, 28, 29, 0x7FFFFFFC, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF]
)
@each_small
def test_any_size_in_the_header_is_refused(driver, blob, size):
    lies = [
        sealed(blob[:-CRC], size=size),
        with_bytes(blob, 8, struct.pack("<I", size)),
    ]
    expected = E_CRC if size == 28 else E_SIZE
    assert agree(driver, lies) == [expected, expected]


@pytest.mark.parametrize("length", [1, 4, 2**31, 2**32 - 8, 2**32 - 4, 2**32 - 1])
def test_section_longer_than_the_blob_is_a_size_error(driver, length):
    body = small(8, sections=False)[:-CRC] + struct.pack("<4sI", b"note", length)
    assert agree(driver, [sealed(body)]) == [E_SIZE]


def test_scaling_of_more_channels_than_there_are_is_a_size_error(driver):
    blobs = [
        sealed(head(n_in, 1, flags=1) + bytes(n))
        for n_in in (2, 65535)
        for n in (0, 4, 8, 12)
    ]
    assert set(agree(driver, blobs)) == {E_SIZE}


# ---- absurd shapes that are sound ------------------------------------------


def qlayer(cell, n_in, n, block, fields=None, *, limit=127):
    shape = Layer(cell, n_in, n, block, fields, cell_biases=True, gate_biases=False)
    q = QLayer(shape, 14 if shape.bounded else 0, {}, {}, {})
    for gate in shape.gates:
        rows = shape.rows(gate)
        q.exps[gate] = np.full(rows, q.argument_exp(gate) + 1)
        q.weights[gate] = np.full((rows, shape.columns(gate)), limit)
        if shape.has_bias(gate):
            q.biases[gate] = np.full(rows, 2**31 - 1)
    return q


def qmodel(layers, output="none", n_out=1, *, shortcuts=False):
    n, n_in = layers[-1].layer.n, layers[0].layer.n_in
    readout = q = None
    if output != "none":
        readout = Readout(n, n_out, output, n_in if shortcuts else 0)
        logit_exp = 11 if output == "logistic" else 14
        columns = n + readout.shortcuts
        q = QReadout(
            readout,
            logit_exp,
            np.full(n_out, logit_exp + 1),
            np.full((n_out, columns), -127),
            np.full(n_out, -(2**31)),
        )
    shape = Shape(tuple(p.layer for p in layers), readout)
    return QModel(shape, tuple(layers), q, weight_bits=8)


BARE = Fields("s", "identity", False, False, recurrent=False)
FED_BACK = Fields("4s-2", "identity", True, True, feedback=True)
ABSURD = {
    "65535 inputs": qmodel([qlayer("rnn_tanh", 65535, 1, 1)]),
    "65535 inputs read twice": qmodel(
        [qlayer("rnn_relu", 65535, 1, 1)], "softmax", 3, shortcuts=True
    ),
    "65535 cells in one block": qmodel(
        [qlayer("lstm97", 1, 65535, 65535, BARE)], "linear", 1
    ),
    "32767 outputs of softmax": qmodel([qlayer("rnn_tanh", 1, 1, 1)], "softmax", 32767),
    "32767 outputs of logistic": qmodel(
        [qlayer("rnn_tanh", 1, 1, 1)], "logistic", 32767
    ),
    "32767 outputs of a layer": qmodel([qlayer("lstm97", 1, 32767, 7, BARE)]),
    "255 layers": qmodel(
        [qlayer("lstm97", 1, 1, 1, FED_BACK) for _ in range(255)], "linear", 1
    ),
    "255 layers of 3 cells": qmodel([qlayer("rnn_relu", 3, 3, 1) for _ in range(255)]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", ABSURD.values(), ids=ABSURD.keys())
def test_shape_at_a_limit_runs_clean(driver, model, layout):
    assert agree(driver, [pack(replace(model, layout=layout))]) == [OK]


def test_every_cell_output_and_width_runs_clean_at_its_numbers_limits(driver):
    blobs = [
        pack(
            random_qmodel(
                np.random.default_rng([seed, len(cell), bits]),
                cell=cell,
                output=output,
                bits=bits,
                extreme=True,
                layout=LAYOUTS[seed % len(LAYOUTS)],
            )
        )
        for seed in range(4)
        for cell in CELLS
        for output in (*OUTPUTS, "none")
        for bits in (8, 16)
    ]
    assert set(agree(driver, blobs)) == {OK}


def columns_of_numbers_md(cell, fields, n_in, n):
    """Columns of each gate."""
    if cell == 3:
        gates = 2 + (fields >> 4 & 1) + (fields >> 5 & 1)
        fed_back = (fields >> 7) * (1 + (fields >> 4 & 1))
        return [n_in + (fields >> 6 & 1) * n * (1 + fed_back)] * gates
    b = n_in + n
    by_letter = {"b": b, "x": n_in, "h": n, "d": n_in + 1, "p": b + 1, "q": b + 1}
    return [{**by_letter, "s": b}[letter] for letter in READS.get(cell, "b")]


def one_layer(cell, fields, *, n=2, **head_of):
    """A blob of one layer of zeros, without readout, as long as its fields ask for."""
    columns = columns_of_numbers_md(cell, fields, 3, n)
    matrix = bytes(sum(2 * n * len(padded(bytes(k))) for k in columns))
    exps = padded(b"\x14" * len(columns))
    body = layer(cell, fields, n, 1, 3, **head_of) + exps + matrix
    return sealed(head(3, n, bits=16) + body)


def fields_of_blob_md(cell, fields):
    """Whether BLOB.md admits these fields."""
    known = fields & 3 != 3 and fields >> 2 & 3 != 3
    return known and (fields >> 6) != 2 if cell == 3 else fields == FIXED.get(cell)


@pytest.mark.parametrize("cell", range(14))
def test_fields_are_admitted_as_the_format_says(driver, cell):
    # h_exp 14 is right for every cell.
    found = agree(driver, [one_layer(cell, fields) for fields in range(256)])
    expected = [fields_of_blob_md(cell, fields) for fields in range(256)]
    assert [code == OK for code in found] == expected
    assert set(found) <= {OK, E_FORMAT}


@pytest.mark.parametrize("cell", range(12))
def test_h_exp_is_14_but_where_what_a_layer_gives_is_unbounded(driver, cell):
    fields = FIXED.get(cell, 0x78)  # h(x) = identity
    found = agree(driver, [one_layer(cell, fields, h_exp=e) for e in range(256)])
    free = cell in (2, 3, 9, 11)
    assert [code == OK for code in found] == [
        e == 14 or (free and e < 14) for e in range(256)
    ]


@pytest.mark.parametrize("cell", range(12))
def test_blocks_are_for_lstm97_and_lstm_alone(driver, cell):
    fields = FIXED.get(cell, 0x70)
    columns = columns_of_numbers_md(cell, fields, 3, 4)
    rows = [2, 2, 2, 4] if cell in (3, 4) else [4] * len(columns)
    matrix = bytes(
        sum(2 * r * len(padded(bytes(k))) for r, k in zip(rows, columns, strict=True))
    )
    body = layer(cell, fields, 4, 2, 3) + padded(b"\x14" * len(columns)) + matrix
    [code] = agree(driver, [sealed(head(3, 4, bits=16) + body)])
    assert code == (OK if cell in (3, 4) else E_FORMAT)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("cell", range(12))
def test_nothing_of_a_length_of_zero_is_admitted(driver, cell, bits):
    fields = FIXED.get(cell, CAROUSEL)
    readout = struct.pack("<BBBBHH", 0, 0, 11, 0, 1, 0) + b"\x14\0\0\0"
    gates = len(columns_of_numbers_md(cell, fields, 1, 0))
    exps = b"\x14" * (0 if bits == 8 else gates)
    no_cells = layer(cell, fields, 0, 1, 1) + padded(exps)
    bodies = [
        head(1, 1, bits=bits, flags=2) + no_cells + readout,
        head(1, 0, bits=bits) + no_cells,
        head(0, 1, bits=bits) + bytes(100),
    ]
    assert agree(driver, [sealed(b) for b in bodies]) == [E_FORMAT] * 3


# ---- directions, and the exponents of a gru ---------------------------------


def layers_of_one_cell(directions, h_exps=None):
    """A blob of `rnn_relu` layers of zeros, n 1, each reading what is below it."""
    body, below, width = b"", 2, 1
    for k, d in enumerate(directions):
        h_exp = 14 if h_exps is None else h_exps[k]
        cell = layer(2, 0x40, 1, 1, below, direction=d, h_exp=h_exp)
        body += cell + b"\x20\0\0\0" + bytes(2 * len(padded(bytes(below + 1))))
        if d != 2:
            below = width = 2 if d == 3 else 1
    return sealed(head(2, width, n_layers=len(directions), bits=16) + body)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_halves_are_admitted_in_pairs_alone(driver, n):
    every = list(product(range(5), repeat=n))
    found = agree(driver, [layers_of_one_cell(d) for d in every])
    pairs = [re.fullmatch("(0|1|23)+", "".join(map(str, d))) for d in every]
    assert [code == OK for code in found] == [match is not None for match in pairs]
    assert set(found) == {OK, E_FORMAT}


def test_no_direction_is_known_above_3(driver):
    found = agree(
        driver, [layers_of_one_cell([d]) for d in (4, 255, 256, 512, 32768, 65535)]
    )
    assert set(found) == {E_FORMAT}


def test_halves_that_are_y_have_one_exponent(driver):
    exps = [(9, 9), (9, 8), (14, 9)]
    tops = [layers_of_one_cell([2, 3], e) for e in exps]
    assert agree(driver, tops) == [OK, E_FORMAT, E_FORMAT]
    below = [layers_of_one_cell([2, 3, 0], (*e, 3)) for e in exps]
    assert agree(driver, below) == [OK] * 3


def test_mode_is_one_of_three(driver):
    body = layer(0, 0x40, 1, 1, 1) + b"\x14\0\0\0" + bytes(8)
    found = agree(driver, [sealed(head(bits=16, mode=k) + body) for k in range(256)])
    assert [code == OK for code in found] == [k < 3 for k in range(256)]


@pytest.mark.parametrize("bits", [8, 16])
def test_n_and_m_of_a_gru_have_one_exponent(driver, bits):
    blob = small(8, cell="gru", n_layers=1, output="none", bits=bits, scaling=False)
    n = struct.unpack_from("<H", blob, HEADER + 4)[0]
    rows = n if bits == 8 else 1
    exps = HEADER + 12
    for k in range(2 * rows, 4 * rows):
        up, down = (
            resealed(with_bytes(blob, exps + k, bytes([blob[exps + k] + step])))
            for step in (1, -1)
        )
        assert agree(driver, [up, down]) == [E_FORMAT] * 2
    for k in range(2 * rows, 3 * rows):
        pair = bytes([21])
        both = with_bytes(with_bytes(blob, exps + k, pair), exps + k + rows, pair)
        assert agree(driver, [resealed(both)]) == [OK]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("cell", list(CELLS))
def test_shift_is_admitted_in_1_to_31_and_nowhere_else(driver, cell, bits):
    model = random_qmodel(
        np.random.default_rng(9),
        cell=cell,
        n_layers=1,
        bits=bits,
        output="none",
        scaling=False,
    )
    blob = pack(model)
    [q] = model.layers
    gate = q.layer.gates[0]
    at = HEADER + 12
    blobs = [resealed(with_bytes(blob, at, bytes([e]))) for e in range(256)]
    arg = q.argument_exp(gate)  # no cell's first gate is a gru's n
    assert agree(driver, blobs) == [
        OK if 1 <= e - arg <= 31 else E_FORMAT for e in range(256)
    ]


# ---- libFuzzer -------------------------------------------------------------


def has_libfuzzer():
    if not shutil.which("clang"):
        return False
    command = ["clang", "-print-resource-dir"]
    folder = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return any(Path(folder.strip()).rglob("libclang_rt.fuzzer*"))


def fuzz(place, main, seeds, runs, **options):
    """Run a fuzzer from the seeds (name: bytes); it must find nothing."""
    program, corpus = place / "fuzz", place / "corpus"
    compile_c("clang", "fuzzer,address,undefined", main, program)
    corpus.mkdir()
    for name, data in seeds.items():
        (corpus / name).write_bytes(data)
    # A process begins with the peak of the one that forked it: pytest's is large.
    stated = {"runs": runs, "seed": 1, "artifact_prefix": f"{place}/", **options}
    stated["rss_limit_mb"] = 1 << 14
    done = subprocess.run(
        [program, *(f"-{key}={value}" for key, value in stated.items()), corpus],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr


needs_libfuzzer = pytest.mark.skipif(
    not has_libfuzzer(), reason="clang with libFuzzer is not installed"
)


@needs_libfuzzer
def test_fuzzer_finds_nothing_in_a_short_run(tmp_path):
    fuzz(tmp_path, "fuzz_blob.c", SMALL, 100_000, max_len=512, timeout=5)
