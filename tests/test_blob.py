"""The blob: what is written reads back, and damage is refused, never an accident.

firmware/lib/vgrad/BLOB.md.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel

from pyvgrad.blob import convert, crc, pack, parse, read
from pyvgrad.cells import CELLS, OUTPUTS, Fields
from pyvgrad.errors import BlobError
from pyvgrad.qmodel import LAYOUTS


def sealed(body):
    return bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "little")


def refused_or_canonical(blob):
    try:
        model = parse(blob)
    except BlobError:
        return
    assert pack(model) == blob[: int.from_bytes(blob[8:12], "little")]


def small(seed, **fixed):
    return random_qmodel(np.random.default_rng(seed), n_max=3, n_in=2, **fixed)


@given(st.one_of(qmodels(layout="any"), qmodels(whole=True, layout="any")))
@settings(max_examples=300, deadline=None)
def test_parse_is_the_inverse_of_pack(model):
    blob = pack(model)
    assert parse(blob) == model
    assert len(blob) % 4 == 0
    assert pack(parse(blob)) == blob


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("output", [*OUTPUTS, "none"])
@pytest.mark.parametrize("cell", list(CELLS))
def test_every_cell_and_output_reads_back(cell, output, bits):
    for seed in range(5):
        model = small(seed, cell=cell, output=output, bits=bits, extreme=seed == 0)
        assert parse(pack(model)) == model


def test_bytes_by_hand():
    # One rnn_tanh cell, one input, no biases, no readout: E = 20, W = [3, -2].
    model = small(
        0,
        cell="rnn_tanh",
        n_layers=1,
        output="none",
        bits=16,
        scaling=False,
        initial_state=False,
        sections=False,
        mode="last",
    )
    q = model.layers[0]
    layer = dataclasses.replace(
        q.layer, n=1, n_in=1, cell_biases=False, gate_biases=False
    )
    q = dataclasses.replace(
        q,
        layer=layer,
        exps={"a": np.array([20])},
        weights={"a": np.array([[3, -2]])},
        biases={},
    )
    shape = dataclasses.replace(model.shape, layers=(layer,))
    model = dataclasses.replace(model, shape=shape, layers=(q,), x_exp=7, count_exp=7)
    body = (
        b"VGRD"
        + bytes([1, 0, 1, 0, 52, 0, 0, 0, 1, 0, 1, 0, 16, 0, 1, 7, 7, 0, 0, 0])
        + bytes([0, 0x40, 0, 14, 1, 0, 1, 0, 1, 0, 0, 0])
        + bytes([20, 0, 0, 0])
        + bytes([3, 0, 0xFE, 0xFF, 0, 0, 0, 0])
    )
    assert pack(model) == sealed(body)
    assert crc(sealed(body)) == zlib.crc32(body)


def by_hand_in_words(weights, bits):
    """BLOB.md, Layout words: the bytes of weights, a list of rows, word by word."""
    group, columns = 32 // bits, -(-len(weights[0]) // 4) * 4
    found = b""
    for first in range(0, len(weights), group):
        for j in range(columns):
            word = 0
            for k in range(group):
                row = weights[first + k] if first + k < len(weights) else []
                w = row[j] if j < len(row) else 0
                flipped = 2 ** (bits - 1) if k < group - 1 else 0
                word += ((w + flipped) % 2**bits) << bits * k
            found += word.to_bytes(4, "little")
    return found


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_words_of_a_matrix_by_hand(n, bits):
    model = random_qmodel(
        *(np.random.default_rng([n, bits]),),
        **{"cell": "rnn_tanh", "n_layers": 1, "output": "none", "bits": bits},
        **{"sections": False, "scaling": False, "initial_state": False},
        layout="words",
    )
    layer = dataclasses.replace(model.layers[0].layer, n=n, cell_biases=False)
    rng = np.random.default_rng(n)
    w = rng.integers(1 - 2 ** (bits - 1), 2 ** (bits - 1), (n, layer.columns("a")))
    q = dataclasses.replace(
        *(model.layers[0],),
        layer=layer,
        weights={"a": w},
        biases={},
        exps={"a": np.full(n, 20)},
    )
    shape = dataclasses.replace(model.shape, layers=(layer,))
    blob = pack(dataclasses.replace(model, shape=shape, layers=(q,)))
    words = by_hand_in_words(w.tolist(), bits)
    assert blob[17] == 1
    assert blob[:-4].endswith(words)
    exps = n if bits == 8 else 1
    assert len(blob) == 24 + 12 + exps + -exps % 4 + len(words) + 4
    for at in range(len(blob) - 4 - len(words), len(blob) - 4, bits // 8):
        bad = bytearray(blob[:-4])
        bad[at : at + bits // 8] = b"\x01" * (bits // 8)
        refused_or_canonical(sealed(bad))


@given(st.one_of(qmodels(), qmodels(whole=True)), st.sampled_from(LAYOUTS))
@settings(max_examples=100, deadline=None)
def test_a_blob_converted_there_and_back_is_the_same_bytes(model, layout):
    blob = pack(model)
    there = convert(blob + b"behind", layout)
    assert there[17] == LAYOUTS.index(layout)
    assert parse(there) == dataclasses.replace(model, layout=layout)
    assert convert(there, "rows") == blob


def test_unknown_layouts_are_refused_in_a_sentence():
    model = small(3)
    with pytest.raises(ValueError, match="a layout is rows or words, not 'tiles'"):
        convert(pack(model), "tiles")
    body = bytearray(pack(model)[:-4])
    body[17] = len(LAYOUTS)
    with pytest.raises(BlobError, match=f"layout {len(LAYOUTS)} of matrices"):
        parse(sealed(body))


def test_bytes_after_the_blob_are_ignored():
    model = small(3)
    assert parse(pack(model) + b"\xff" * 37) == model


@pytest.mark.parametrize("seed", range(3))
def test_every_truncation_is_refused(seed):
    blob = pack(small(seed, n_layers=1 + seed % 2))
    for n in range(len(blob)):
        with pytest.raises(BlobError):
            parse(blob[:n])


@pytest.mark.parametrize("seed", range(3))
def test_every_body_cut_short_and_sealed_again_is_refused_or_canonical(seed):
    body = pack(small(seed))[:-4]
    for n in range(24, len(body), 4):
        cut = bytearray(body[:n])
        cut[8:12] = (n + 4).to_bytes(4, "little")
        refused_or_canonical(sealed(cut))


@pytest.mark.parametrize("seed", range(3))
def test_every_flipped_bit_is_refused(seed):
    blob = pack(small(seed, n_layers=1))
    for bit in range(8 * len(blob)):
        bad = bytearray(blob)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlobError):
            parse(bytes(bad))


@pytest.mark.parametrize("seed", range(6))
def test_every_flipped_bit_with_a_new_crc_is_refused_or_canonical(seed):
    body = pack(small(seed, n_layers=1, scaling=seed % 2 == 0))[:-4]
    for bit in range(8 * len(body)):
        bad = bytearray(body)
        bad[bit // 8] ^= 1 << bit % 8
        refused_or_canonical(sealed(bad))


@given(
    st.one_of(qmodels(n_max=4, layout="any"), qmodels(n_max=4, whole=True)), st.data()
)
@settings(max_examples=300, deadline=None)
def test_mutated_bytes_with_a_new_crc_are_refused_or_canonical(model, data):
    bad = bytearray(pack(model)[:-4])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at] = data.draw(st.integers(0, 255))
    refused_or_canonical(sealed(bad))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_refused(data):
    with pytest.raises(BlobError):
        parse(data)
    body = bytearray(b"VGRD\x01\x00\x01\x00\x00\x00\x00\x00" + data)
    body += bytes(-len(body) % 4)
    body[8:12] = (len(body) + 4).to_bytes(4, "little")
    refused_or_canonical(sealed(body))


def changed(model, **fields):
    layer = dataclasses.replace(model.layers[0], **fields)
    return dataclasses.replace(model, layers=(layer, *model.layers[1:]))


def lstm():
    return small(
        1, cell="lstm", n_layers=1, output="softmax", bits=16, scaling=True,
        initial_state=True,
    )  # fmt: skip


def with_first(array, value):
    out = array.copy()
    out.flat[0] = value
    return out


@pytest.mark.parametrize(
    "break_it",
    [
        lambda m: changed(m, h_exp=13),
        lambda m: changed(m, h_exp=300),
        lambda m: changed(
            m, weights=m.layers[0].weights | {"i": m.layers[0].weights["i"] * 0 - 32768}
        ),
        lambda m: changed(
            m, weights=m.layers[0].weights | {"i": m.layers[0].weights["i"] * 0 + 65537}
        ),
        lambda m: changed(
            m, exps=m.layers[0].exps | {"i": m.layers[0].exps["i"] + 256}
        ),
        lambda m: changed(m, exps=m.layers[0].exps | {"f": m.layers[0].exps["f"] * 0}),
        lambda m: changed(m, c0=with_first(m.layers[0].c0, 2**30 + 1)),
        lambda m: changed(m, c0=None),
        lambda m: changed(m, r0=None),
        lambda m: changed(m, r0=with_first(m.layers[0].r0, 32768)),
        lambda m: dataclasses.replace(m, x_exp=15),
        lambda m: dataclasses.replace(m, count_exp=31),
        lambda m: dataclasses.replace(m, weight_bits=4),
        lambda m: dataclasses.replace(
            m, scaling=dataclasses.replace(m.scaling, shift=m.scaling.shift * 0 + 48)
        ),
        lambda m: dataclasses.replace(
            m, scaling=dataclasses.replace(m.scaling, mult=m.scaling.mult * 0 + 40000)
        ),
        lambda m: dataclasses.replace(m, readout=None),
        lambda m: dataclasses.replace(m, sections=(("Note", b""),)),
        lambda m: dataclasses.replace(m, sections=(("notes", b"abcd"),)),
        lambda m: dataclasses.replace(m, sections=(("n\xf6te", b""),)),
    ],
)
def test_a_model_that_no_core_would_open_is_not_written(break_it):
    model = lstm()
    pack(model)
    with pytest.raises(BlobError):
        pack(break_it(model))


@pytest.mark.parametrize("bits", [8, 16])
def test_n_and_m_of_a_gru_with_unlike_exponents_are_refused(bits):
    model = small(3, cell="gru", n_layers=1, bits=bits)
    exps = {k: e.copy() for k, e in model.layers[0].exps.items()}
    exps["m"] += np.where(exps["m"] > 30, -1, 1)
    with pytest.raises(BlobError, match="gates n and m with unlike exponents"):
        pack(changed(model, exps=exps))


def directed(*layers, h_exps=(14, 14)):
    """A blob of one-cell layers (cell, direction byte), without a readout."""
    n_in, body = 1, b""
    for k, (code, direction) in enumerate(layers):
        e = h_exps[k]
        reads = 1 if direction == 3 else n_in
        body += bytes([code, 0x40, 0, e, 1, 0, 1, 0, reads, 0, direction, 0])
        body += bytes([20, 0, 0, 0]) + bytes(8)  # one gate, no more than 4 columns
        n_in = 2 if [d for _, d in layers[: k + 1]][-2:] == [2, 3] else 1
    head = b"VGRD" + bytes([1, 0, len(layers), 0, 28 + len(body), 0, 0, 0, 1, 0, n_in])
    return sealed(head + bytes([0, 16, 0, 2, 14, 14, 0, 0, 0]) + body)


TANH, RELU = 0, 2


@pytest.mark.parametrize(
    "layers", [[(TANH, 0)], [(TANH, 1)], [(TANH, 2), (RELU, 3)], [(TANH, 1), (TANH, 0)]]
)
def test_directions_are_read_as_they_are_written(layers):
    model = parse(directed(*layers))
    names = ("forward", "reverse", "forward-half", "reverse-half")
    assert [q.layer.direction for q in model.layers] == [names[d] for _, d in layers]
    assert model.shape.mode == "final"
    assert pack(model) == directed(*layers)


@pytest.mark.parametrize(
    ("layers", "h_exps", "said"),
    [
        ([(TANH, 4)], (14,), "direction 4"),
        ([(TANH, 2)], (14,), "forward half without a reverse one"),
        ([(TANH, 3)], (14,), "reverse half without a forward one"),
        ([(TANH, 2), (TANH, 0)], (14, 14), "forward half without a reverse one"),
        ([(TANH, 0), (TANH, 3)], (14, 14), "reverse half without a forward one"),
        ([(TANH, 2), (RELU, 3)], (14, 9), "halves of unlike h_exp as y"),
    ],
)
def test_directions_that_do_not_fit_are_refused(layers, h_exps, said):
    with pytest.raises(BlobError, match=said):
        parse(directed(*layers, h_exps=h_exps))


@pytest.mark.parametrize("part", ["int16", "int8", "readout"])
@pytest.mark.parametrize(
    ("shift", "admitted"), [(0, False), (1, True), (31, True), (32, False)]
)
def test_a_shift_is_1_to_31(part, shift, admitted):
    model = small(
        6, cell="lstm", n_layers=1, output="linear", bits=8 + 8 * (part != "int8")
    )
    if part == "readout":
        q = model.readout
        q = dataclasses.replace(q, exps=q.exps * 0 + q.logit_exp + shift)
        model = dataclasses.replace(model, readout=q)
    else:
        exps = model.layers[0].exps
        exps = exps | {"o": with_first(exps["o"] * 0 + 20, 11 + shift)}
        if part == "int16":
            exps["o"][:] = 11 + shift
        model = changed(model, exps=exps)
    if admitted:
        assert parse(pack(model)) == model
    else:
        with pytest.raises(BlobError, match=r"shift out of 1\.\.31"):
            pack(model)


def test_sections_of_one_tag_keep_their_order():
    model = dataclasses.replace(lstm(), sections=(("note", b"b"), ("note", b"a")))
    assert parse(pack(model)).sections == (("note", b"b"), ("note", b"a"))


def test_models_differ_by_one_weight():
    model, other = lstm(), lstm()
    assert model == other
    other.layers[0].weights["o"][0, 0] += 1
    assert model != other


def test_a_large_field_is_refused_without_its_memory():
    body = bytearray(pack(small(2, n_layers=1, scaling=False))[:-4])
    body[28:30] = (65535).to_bytes(2, "little")  # n of the first layer
    with pytest.raises(BlobError):
        parse(sealed(body))


def test_read_names_the_file(tmp_path):
    path = tmp_path / "model.vg"
    with pytest.raises(BlobError, match=r"model\.vg"):
        read(path)
    path.write_bytes(b"VGRD")
    with pytest.raises(BlobError, match=r"model\.vg.*cut short"):
        read(path)
    blob = pack(small(4))
    path.write_bytes(blob)
    assert read(path) == blob


def test_feedback_without_recurrent_weights_is_refused():
    model = small(
        5, cell="lstm97", fields=Fields(), n_layers=1, scaling=False, sections=False
    )
    body = bytearray(pack(model)[:-4])
    assert body[25] == 0x70
    body[25] = 0xB0
    with pytest.raises(BlobError, match="feedback"):
        parse(sealed(body))
