"""States of a training that cannot have come about are refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from checkpoints import HEAD, KINDS, begun, decode, section
from trainings import Training, blob_of, make, small_model, tame_model


def resealed(checkpoint, at, new):
    """Bytes of the section replaced from ``at`` on, and a CRC that fits."""
    data = section(checkpoint)
    start = checkpoint.index(data, len(checkpoint) - len(data) - 12)
    body = checkpoint[: start + at] + new + checkpoint[start + at + len(new) : -4]
    return body + struct.pack("<I", zlib.crc32(body))


def refused(checkpoint):
    """It opens and runs, but no training goes on, and the arena stays as it was."""
    whole = Training(checkpoint, None)
    if whole.size < 0:
        assert whole.size == whole.lib.VG_E_FORMAT
    before = whole.memory()
    got = whole.init()
    assert whole.memory() == before
    return got == whole.lib.VG_E_FORMAT


FIELD = {"version": 0, **{name: 12 + 4 * k for k, name in enumerate(HEAD[7:])}}
BIG = [2**31, 2**32 - 1]
WRONG = [
    ("version", "rtrl97", [0, 2, *BIG]),
    ("pending", "rtrl97, every step", [1, 2, *BIG]),
    ("pending", "tbptt, stack", [2, 3, *BIG]),
    ("pending", "tbptt, relu", [4, *BIG]),
    ("hot", "rtrl97", [2, *BIG]),
    ("tape_at", "rtrl97", [1, *BIG]),
    ("tape_len", "rtrl97", [1, *BIG]),
    ("tape_at", "tbptt, stack", [0, 2, 4, 5, *BIG]),
    ("tape_len", "tbptt, stack", [0, 2, 4, 6, *BIG]),
    ("tape_at", "tbptt, gate feedback", [3, 4, *BIG]),
    ("n_seen", "tbptt, gate feedback", [1, 3, *BIG]),
    ("n_fresh", "tbptt, gate feedback", [1, 3, *BIG]),
    ("n_seen", "rtrl97", [1, 3, *BIG]),
    ("n_fresh", "rtrl97", [1, 3, *BIG]),
    ("n_seen", "rtrl97, every step", [0, 1, 3, 4, *BIG]),
    ("n_fresh", "rtrl97, every step", [1, 3, 4, *BIG]),
    ("n_fresh", "rtrl97, blocks", [1, 3, 4, *BIG]),
]


@pytest.fixture(scope="module")
def midway():
    """A checkpoint of each kind after 3 steps, symbols 0, 2, 0 or any signals."""
    found = {}
    for kind in KINDS:
        training, _ = begun(kind, "sgd")
        rng = np.random.default_rng(0)
        x = [0, 2, 0]
        if not training.learn.symbols:
            x = rng.integers(-9, 9, (3, 3)).astype(np.int16)
        for row in x:
            training.step(row, [1])
        found[kind] = training.checkpoint()
    return found


@pytest.mark.parametrize(("name", "kind", "values"), WRONG)
def test_a_head_that_cannot_be_is_refused(midway, name, kind, values):
    good = midway[kind]
    now = decode(good).head[name]
    same = resealed(good, FIELD[name], struct.pack("<I", now))
    assert same == good
    assert not refused(same)
    for value in values:
        assert value != now
        assert refused(resealed(good, FIELD[name], struct.pack("<I", value))), value


def test_hot_without_pending_steps_is_refused(midway):
    good = midway["rtrl97, every step"]
    assert decode(good).head["pending"] == 0
    assert refused(resealed(good, FIELD["hot"], struct.pack("<I", 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_do_not_fit_are_refused(midway, kind):
    good = midway[kind]
    for at in (4, 5, 6, 7):
        assert refused(resealed(good, at, b"\xff"))
    assert refused(resealed(good, 8, b"\xff\xff"))  # k1 > k2
    assert refused(resealed(good, 12, b"\0\0\0\x40"))  # a layer that is not there
    for at in (16, 20, 24, 28):
        assert refused(resealed(good, at, b"\xff\xff\xff\xff"))


@pytest.mark.parametrize("kind", ["rtrl97, every step", "rtrl97, blocks"])
def test_a_list_of_symbols_that_cannot_be_is_refused(midway, kind):
    good = midway[kind]
    state = decode(good)
    entries, marks = state.lists["seen"]
    n = state.head["n_seen"]
    assert (n, entries[:2].tolist(), marks.tolist()) == (2, [0, 2], [1, 0, 2])
    data = section(good)
    at = len(data) - 8 * len(state.lists) * 2  # 3 symbols take 8 bytes
    assert data[at : at + 4] == struct.pack("<2H", 0, 2)
    for wrong in [(0, 0), (0, 1), (2, 0), (0, 3), (0, 65535), (2, 2)]:
        assert refused(resealed(good, at, struct.pack("<2H", *wrong))), wrong
    for wrong in [(1, 3, 2), (2, 0, 1), (1, 0, 3), (1, 0, 0), (0, 0, 2)]:
        assert refused(resealed(good, at + 8, struct.pack("<3H", *wrong))), wrong
    assert not refused(resealed(good, at + 4, b"\xff\xff"))  # behind the list


def test_the_first_symbol_that_is_none_is_refused_whatever_stands_behind():
    """Its mark would be the next list's first symbol, which is 1 as it ought to."""
    kind = {"cell": "lstm", "n_layers": 1, "shortcuts": True, "n_in": 4}
    model = small_model(1, output="softmax", **kind)
    training = Training(blob_of(model), make(method="rtrl97", symbols=True))
    training.step(1, [0])
    good = training.checkpoint()
    lists = struct.pack("<16H", 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0)
    assert section(good)[-32:] == lists
    at = len(section(good)) - 32
    assert not refused(resealed(good, at, lists))
    assert refused(resealed(good, at, struct.pack("<H", 4)))


@pytest.mark.parametrize("kind", ["tbptt, gate feedback", "tbptt, relu"])
def test_symbols_on_the_tape_are_below_n_in(midway, kind):
    good = midway[kind]
    k2 = decode(good).head["k2"]
    at = len(section(good)) - (2 * k2 + 3) // 4 * 4
    for k in range(k2):
        for wrong in (3, 65535):
            assert refused(resealed(good, at + 2 * k, struct.pack("<H", wrong)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_another_length_is_refused(midway, kind):
    good = midway[kind]
    data = section(good)
    head = len(good) - len(data) - 4
    for wrong in (data[:-4], data + bytes(4), data[:96], data[:92], b""):
        body = bytearray(good[:head] + wrong)
        body[head - 4 : head] = struct.pack("<I", len(wrong))
        body[8:12] = struct.pack("<I", len(body) + 4)
        assert refused(bytes(body) + struct.pack("<I", zlib.crc32(body)))


def test_a_state_with_c_out_of_range_is_refused(midway):
    for c in (2**30 + 1, -(2**30) - 1):
        assert refused(resealed(midway["rtrl97"], 96, struct.pack("<i", c)))
    assert not refused(resealed(midway["rtrl97"], 96, struct.pack("<i", 2**30)))


def test_a_negative_factor_can_only_freeze():
    model = tame_model(1, sizes=(3, 2, 2), output="softmax")
    training = Training(blob_of(model), make(method="rtrl97", symbols=True))
    training.steps([0, 2, 0], [1, 1, 0])
    good, letter = training.checkpoint(), "i"
    state = decode(good)
    at = 96 + sum((i.size + 3) // 4 * 4 for i in state.images)
    one = struct.pack("<i", 65536)
    assert section(good)[at : at + 12] == one * 3
    bad = Training(resealed(good, at, struct.pack("<3i", *[-65536] * 3)), None)
    assert bad.end() == 1
    free = Training(good, None)
    assert free.end() == 1
    lo = [decode(c.checkpoint()).gates[0, letter]["lo"] for c in (bad, free)]
    assert (lo[0] == state.gates[0, letter]["lo"]).all()
    assert (lo[1] != lo[0]).any()


def test_the_state_means_nothing_where_it_is_not_last(midway):
    good = midway["rtrl97"]
    body = bytearray(good[:-4] + struct.pack("<4sI", b"note", 0))
    body[8:12] = struct.pack("<I", len(body) + 4)
    assert refused(bytes(body) + struct.pack("<I", zlib.crc32(body)))


def test_a_blob_of_8_bits_is_no_checkpoint():
    model = small_model(1, bits=8, cell="lstm", n_layers=1, output="softmax")
    assert refused(blob_of(model))
