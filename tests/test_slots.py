"""Two slots in flash: whatever fails, and whenever, a whole blob is there."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from flash import DONE, MARGIN, TORN, UNDONE, Flash
from random_models import random_qmodel
from test_hostile import fuzz, needs_libfuzzer

from pyvgrad.blob import pack, parse
from pyvgrad.errors import BlobError

OK, E_ARG, E_ALIGN, E_SIZE, E_MAGIC, E_CRC, E_FLASH = 0, -1, -2, -3, -4, -6, -8
HEADER = PIECE = 32
SIZE = 320  # of a slot, where it does not matter


@cache
def base():
    rng = np.random.default_rng(1)
    fixed = {"n_layers": 1, "n_in": 1, "n_max": 1, "bits": 8, "output": "none"}
    fixed |= {"scaling": False, "initial_state": False}
    return random_qmodel(rng, cell="rnn_tanh", sections=False, **fixed)


@cache
def blob(length, seed=0):
    """A blob of this length; another seed gives another one."""
    smallest = len(pack(base()))
    if length == smallest:
        assert seed == 0
        return pack(base())
    note = np.random.default_rng([length, seed]).bytes(length - smallest - 8)
    made = pack(replace(base(), sections=(("note", note),)))
    assert len(made) == length
    return made


SMALLEST = len(pack(base()))
# Growing and shrinking; 0, 4, .. 28 bytes behind a multiple of a piece.
LENGTHS = (SMALLEST, 60, 64, 256, 100, 284, 68, 72, 140, 208, 60, 96)


def header(sequence, blob, **lies):
    """As BLOB.md says; ``lies`` are other values of its fields, sealed."""
    fields = {"magic": b"VGSL", "length": len(blob), "crc": blob[-4:]}
    fields |= {"rest": bytes(12), **lies}
    body = struct.pack(
        *("<4sII4s12s", fields["magic"], sequence, fields["length"]),
        *(fields["crc"], fields["rest"]),
    )
    return body + struct.pack("<I", zlib.crc32(body))


def put(flash, slot, *parts):
    """Bring bytes into a slot as if they had been saved."""
    data = np.frombuffer(b"".join(parts), np.uint8)
    flash.slot(slot)[: len(data)] = data
    flash.written[flash.starts[slot] :][: len(data)] = True


def sequences(flash):
    return [struct.unpack("<I", flash.slot(k)[4:8].tobytes())[0] for k in (0, 1)]


def newest_by_the_page(flash):
    """What BLOB.md says is the newest blob, in Python."""
    whole = []
    for k in (0, 1):
        data = flash.slot(k).tobytes()
        length = int.from_bytes(data[8:12], "little")
        found = data[HEADER : HEADER + length]
        sequence = int.from_bytes(data[4:8], "little")
        if length > len(data) - HEADER or header(sequence, found) != data[:HEADER]:
            continue
        try:
            parse(found)
        except BlobError:
            continue
        whole.append((sequence, found))
    if len(whole) == 2 and 0 < (whole[1][0] - whole[0][0]) % 2**32 < 2**31:
        return whole[1][1]
    return whole[0][1] if whole else None


def save(flash, blob):
    """Save, and prove what holds however it ends; the code."""
    before, memory = flash.newest(), flash.bytes.copy()
    erased = sum(flash.erases)
    code = flash.save(blob)
    after = flash.newest()
    assert flash.mistakes == []
    assert code in (OK, E_FLASH)
    assert sum(flash.erases) == erased + 1
    assert after == blob if code == OK else after in (before, blob)
    assert after == newest_by_the_page(flash)
    changed = np.flatnonzero(memory != flash.bytes)
    inside = [(changed >= s) & (changed < s + flash.size) for s in flash.starts]
    assert (inside[0] | inside[1]).all()
    assert not (inside[0].any() and inside[1].any())
    if before is not None:
        slot = 1 if inside[1].any() else 0
        assert before in flash.slot(1 - slot).tobytes() or not len(changed)
    return code


def operations(flash, blob):
    """Operations of a save, which is undone afterwards."""
    state = flash.state()
    flash.power_on()
    assert save(flash, blob) == OK
    n = flash.operations
    flash.restore(state)
    return n


def cuts(flash, blob, hows=(UNDONE, TORN, DONE)):
    """Cut the save at every operation, in every way; yields after each cut."""
    n = operations(flash, blob)
    state = flash.state()
    for cut in range(n):
        for how in hows:
            flash.fail(cut, how)
            assert save(flash, blob) == E_FLASH
            assert flash.operations == cut + 1
            flash.power_on()
            yield cut, how, n
            flash.restore(state)


# ---- saves and cuts --------------------------------------------------------

each_granule = pytest.mark.parametrize("granule", [1, 4, 8, 16, 32])


@each_granule
@pytest.mark.parametrize("erased", [0xFF, 0x00])
def test_saves_alternate_and_each_is_the_newest(granule, erased):
    flash = Flash(SIZE, granule=granule, erased=erased)
    assert flash.newest() is None
    for k, length in enumerate(LENGTHS):
        assert save(flash, blob(length)) == OK
        assert flash.slot(k % 2)[:HEADER].tobytes() == header(k, blob(length))
        assert flash.slot(k % 2)[HEADER:][:length].tobytes() == blob(length)


@each_granule
def test_cut_at_any_operation_leaves_the_last_blob_or_the_one_before(granule):
    flash = Flash(SIZE, granule=granule, seed=granule)
    last = None
    for length in LENGTHS:
        new, third = blob(length), blob(76, length)
        found = set()
        for cut, how, n in cuts(flash, new):
            newest = flash.newest()
            assert newest in (last, new)
            if cut < n - HEADER // granule:  # before the header
                assert newest == last
            if (cut, how) == (n - 1, DONE):
                assert newest == new
            found.add(newest)
            assert save(flash, third) == OK
        assert found == {last, new}
        assert save(flash, new) == OK
        last = new


@pytest.mark.parametrize("granule", [1, 4, 8])
def test_cut_at_any_operation_of_the_save_after_a_cut(granule):
    flash = Flash(192, granule=granule, seed=granule)
    blobs = [blob(SMALLEST), blob(60), blob(64), blob(68)]
    hows = (TORN,) if granule < 8 else (UNDONE, TORN, DONE)
    assert save(flash, blobs[0]) == OK
    for k in (0, 1):  # for both slots
        last, new, third = blobs[k : k + 3]
        for _ in cuts(flash, new, hows):
            first = flash.newest()
            assert first in (last, new)
            for _ in cuts(flash, third, hows):
                assert flash.newest() in (first, third)
        assert save(flash, new) == OK


@pytest.mark.parametrize("seed", range(6))
def test_no_row_of_saves_and_cuts_loses_the_newest_blob(seed):
    rng = np.random.default_rng(seed)
    granule, block = int(rng.choice([1, 4, 8])), int(rng.choice([32, 64, 160]))
    flash = Flash(320, block=block, granule=granule, seed=seed)
    last, outcomes = None, set()
    for k in range(400):
        new = blob(4 * int(rng.integers(15, 73)), k)
        if rng.random() < 0.7:
            flash.fail(int(rng.integers(0, 330 // granule)), rng.choice([TORN, DONE]))
        code = save(flash, new)
        newest = flash.newest()
        assert newest == new if code == OK else newest in (last, new)
        outcomes.add((code, newest == new))
        last = newest
        flash.power_on()
    assert outcomes >= {(OK, True), (E_FLASH, False)}


@pytest.mark.parametrize("length", LENGTHS)
def test_slot_is_erased_then_comes_the_blob_and_the_header_last(length):
    flash = Flash(SIZE)
    for slot in (0, 1, 0):
        flash.log.clear()
        assert save(flash, blob(length)) == OK
        places = [*range(HEADER, HEADER + length, PIECE), 0]
        assert flash.log == [(slot, None), *((slot, at) for at in places)]


def test_wear_is_even():
    flash = Flash(SIZE)
    for k in range(101):
        assert save(flash, blob(LENGTHS[k % len(LENGTHS)])) == OK
        assert abs(flash.erases[0] - flash.erases[1]) <= 1
    assert sum(flash.erases) == 101


@pytest.mark.parametrize("content", ["erased", "zeros", "random"])
def test_first_save_needs_no_particular_content(content):
    flash = Flash(SIZE)
    rng = np.random.default_rng(1)
    for k in (0, 1):
        if content != "erased":
            put(flash, k, bytes(SIZE) if content == "zeros" else rng.bytes(SIZE))
    assert flash.newest() is None
    assert save(flash, blob(100)) == OK


def test_sequence_numbers_go_on_past_their_end():
    flash = Flash(SIZE)
    put(flash, 1, header(2**32 - 3, blob(64)), blob(64))
    for k in range(6):
        assert save(flash, blob(96, k)) == OK
        assert sequences(flash)[k % 2] == (2**32 - 2 + k) % 2**32


# ---- the source ------------------------------------------------------------


def test_newest_blob_can_be_saved_from_its_own_slot():
    flash = Flash(SIZE)
    size = flash.ffi.new("uint32_t *")
    assert save(flash, blob(100)) == OK
    for k in range(1, 5):
        source = flash.lib.vg_slots_newest(flash.slots, size)
        assert flash.lib.vg_slots_save(flash.slots, source, size[0]) == OK
        assert flash.mistakes == []
        assert sequences(flash)[k % 2] == k
        assert flash.newest() == blob(100)
        assert flash.slot(k % 2)[HEADER:][:100].tobytes() == blob(100)


def save_from(flash, at, blob):
    """Save a blob that is put at a place in the flash's own memory."""
    flash.bytes[at : at + len(blob)] = np.frombuffer(blob, np.uint8)
    before, done = flash.bytes.copy(), flash.operations
    code = flash.lib.vg_slots_save(flash.slots, flash.address(at), len(blob))
    if code != OK:
        assert flash.operations == done
        assert np.array_equal(before, flash.bytes)
    return code


@pytest.mark.parametrize("slot", [0, 1])
def test_source_that_the_erase_would_reach_is_refused(slot):
    for at in range(4 - 100, SIZE, 4):
        flash = Flash(SIZE)
        if slot == 1:
            assert save(flash, blob(256)) == OK
        assert save_from(flash, flash.starts[slot] + at, blob(100)) == E_ARG


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("at", [-100, SIZE])
def test_source_beside_the_slot_is_saved(slot, at):
    flash = Flash(SIZE)
    if slot == 1:
        assert save(flash, blob(256)) == OK
    assert save_from(flash, flash.starts[slot] + at, blob(100)) == OK
    assert flash.newest() == blob(100)


def test_bytes_behind_the_blob_are_not_saved():
    flash = Flash(SIZE)
    assert flash.save(blob(100) + b"\xaa" * 2000) == OK
    assert flash.newest() == blob(100)
    assert (flash.slot(0)[HEADER + 100 :] == 0xFF).all()


# ---- worn flash and failing callbacks --------------------------------------


@pytest.mark.parametrize("how", [UNDONE, TORN, DONE])
@pytest.mark.parametrize("failure", [-1, 2, -(2**31)])
def test_callback_that_fails_ends_the_save(how, failure):
    flash = Flash(SIZE, granule=32)
    assert save(flash, blob(64)) == OK
    state = flash.state()
    n = operations(flash, blob(100))
    for k in range(n):
        flash.restore(state)
        flash.fail(k, how, failure=failure)
        assert save(flash, blob(100)) == E_FLASH
        assert flash.operations == k + 1
        assert flash.newest() == blob(100 if (k, how) == (n - 1, DONE) else 64)


@pytest.mark.parametrize("value", [0, 1])
def test_worn_bit_is_an_error_and_the_blob_before_stays(value):
    flash = Flash(192)
    old, new = blob(64), blob(100)
    assert save(flash, old) == OK
    state = flash.state()
    expected = np.frombuffer(header(1, new) + new, np.uint8)
    for at in range(160):
        for bit in range(8):
            flash.wear(1, at, bit=bit, value=value)
            matters = at < len(expected) and expected[at] >> bit & 1 != value
            code = save(flash, new)
            assert code == (E_FLASH if matters else OK)
            assert flash.newest() == (old if matters else new)
            flash.mend()
            flash.restore(state)


def test_worn_slot_keeps_the_other_one_for_ever():
    flash = Flash(SIZE)
    assert save(flash, blob(100)) == OK
    flash.wear(1, HEADER + 8, bit=7, value=1)
    for k in range(1, 20):
        assert save(flash, blob(64, k)) == E_FLASH
        assert flash.newest() == blob(100)


@pytest.mark.parametrize("granule", [1, 4, 8, 32])
@pytest.mark.parametrize("how", [UNDONE, TORN])
def test_operation_that_fails_in_silence_is_found(granule, how):
    flash = Flash(SIZE, granule=granule)
    old, new = blob(256), blob(100)
    for k in range(2):
        assert save(flash, blob(284, k)) == OK
    assert save(flash, old) == OK
    state = flash.state()
    codes = []
    for k in range(operations(flash, new)):
        flash.restore(state)
        flash.fail(k, how, silent=True)
        codes.append(flash.save(new))
        flash.mistakes.clear()  # what was not erased is written twice
        assert flash.newest() == (new if codes[-1] == OK else old)
    # What fails in vain: a block behind the blob, a granule that stays erased.
    assert codes.count(E_FLASH) > 0.8 * (160 // granule)
    assert set(codes) == {OK, E_FLASH}


# ---- hostile content -------------------------------------------------------


def beside(data, other=b""):
    """Two slots: 0 holds a whole blob, 1 these bytes; and the other way round."""
    for slot in (0, 1):
        flash = Flash(SIZE)
        put(flash, 1 - slot, other or header(7, blob(64)) + blob(64))
        put(flash, slot, data)
        yield flash


def refused(data):
    """Hold that a slot with these bytes is none, and that saving goes on."""
    for flash in beside(data):
        assert newest_by_the_page(flash) == blob(64)
        assert flash.newest() == blob(64)
        assert save(flash, blob(100)) == OK
        assert sorted(sequences(flash)) == [7, 8]


def test_slot_that_is_whole_is_the_newest_by_its_number():
    for flash in beside(header(8, blob(100)) + blob(100)):
        assert flash.newest() == newest_by_the_page(flash) == blob(100)
    for flash in beside(header(6, blob(100)) + blob(100)):
        assert flash.newest() == newest_by_the_page(flash) == blob(64)


@pytest.mark.parametrize(
    ("first", "second", "newest"),
    [
        (2**32 - 1, 0, 1),
        (0, 2**32 - 1, 0),
        (2**32 - 1, 5, 1),
        (5, 2**32 - 5, 0),
        (0, 1, 1),
        (1, 0, 0),
        (0, 2**31 - 1, 1),
        (0, 2**31 + 1, 0),
        (2**31 - 1, 2**31, 1),
        (2**31, 2**31 - 1, 0),
        (9, 9, 0),  # cannot be; but one it must be
    ],
)
def test_numbers_are_compared_around_their_end(first, second, newest):
    flash = Flash(SIZE)
    blobs = [blob(64), blob(100)]
    put(flash, 0, header(first, blobs[0]), blobs[0])
    put(flash, 1, header(second, blobs[1]), blobs[1])
    assert flash.newest() == newest_by_the_page(flash) == blobs[newest]
    assert save(flash, blob(96)) == OK
    assert flash.newest() == blob(96)
    assert blobs[newest] in flash.bytes.tobytes()


def test_any_flipped_bit_makes_a_slot_none():
    data = header(8, blob(72)) + blob(72)
    for flash in beside(data):
        slot = 0 if flash.slot(0)[4] == 8 else 1
        for bit in range(8 * len(data)):
            flash.slot(slot)[bit // 8] ^= 1 << bit % 8
            assert flash.newest() == blob(64)
            flash.slot(slot)[bit // 8] ^= 1 << bit % 8
        assert flash.newest() == blob(72)


@pytest.mark.parametrize(
    "length",
    [
        *(0, 1, 4, 24, 27, 28, 71, 73, 68, 76, SIZE - 32, SIZE - 31, SIZE),
        *(2**31, 2**32 - 32, 2**32 - 28, 2**32 - 4, 2**32 - 1),
    ],
)
def test_length_that_is_not_the_blobs_makes_a_slot_none(length):
    refused(header(8, blob(72), length=length) + blob(72))


@pytest.mark.parametrize("size", [0, 8, 12, 31, 32, 36, 60, 100, 104, 127, 131, 132])
def test_what_reaches_beyond_the_slot_is_none(size):
    flash = Flash(size)
    data = header(8, blob(100)) + blob(100)
    for start in flash.starts:
        flash.bytes[start : start + len(data)] = np.frombuffer(data, np.uint8)
    assert flash.newest() == (blob(100) if size == len(data) else None)


def test_sealed_header_must_fit_its_blob_in_every_field():
    good = blob(72)
    assert blob(72, 1)[-4:] != good[-4:]
    refused(header(8, good, crc=blob(72, 1)[-4:]) + good)
    refused(header(8, blob(72, 1)) + good)
    refused(header(8, good, magic=b"VGRD") + good)
    refused(header(8, good, rest=bytes(11) + b"\x01") + good)
    refused(good)
    refused(header(8, good))


def test_sealed_header_before_a_blob_that_does_not_open_is_refused():
    body = b"VGRD" + blob(72)[4:16] + bytes(72 - 20)
    bad = body + struct.pack("<I", zlib.crc32(body))  # right CRC, no weight bits
    refused(header(8, bad) + bad)


@pytest.mark.parametrize("seed", range(3))
def test_random_content_is_none(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        noise = rng.bytes(SIZE)
        refused(noise)
        refused(b"VGSL" + noise[4:8] + struct.pack("<I", 72) + noise[12:])


def test_both_slots_damaged_are_no_blob_and_the_next_save_helps():
    flash = Flash(SIZE)
    for k in (0, 1):
        put(flash, k, header(k, blob(72)), blob(72)[:-1], b"\x00")
    assert flash.newest() is None
    assert save(flash, blob(100)) == OK


# ---- wrong calls -----------------------------------------------------------


@pytest.fixture
def two():
    """Both slots hold a blob; 284 bytes, the newest, in slot 1."""
    flash = Flash(SIZE)
    assert save(flash, blob(64)) == OK
    assert save(flash, blob(284)) == OK
    return flash


def changed(flash, **fields):
    """The slots with other fields, and the cdata that must live as long."""
    s = flash.ffi.new("vg_slots *", flash.slots[0])
    for name, value in fields.items():
        setattr(s, name, value)
    return s


def held(flash, slots, source, length):
    """What a save returns that may do nothing."""
    before, done = flash.bytes.copy(), flash.operations
    erases = list(flash.erases)
    code = flash.lib.vg_slots_save(slots, source, length)
    assert flash.operations == done
    assert flash.erases == erases
    assert np.array_equal(before, flash.bytes)
    return code


@pytest.fixture
def source(two):
    words = two.ffi.new("uint32_t[]", 500)
    two.ffi.memmove(words, blob(100), 100)
    return words


def test_null_pointers_are_refused(two, source):
    null = two.ffi.NULL
    assert held(two, null, source, 100) == E_ARG
    assert held(two, two.slots, null, 100) == E_ARG
    for name in ("erase", "write"):
        assert held(two, changed(two, **{name: null}), source, 100) == E_ARG
    for k in (0, 1):
        slots = changed(two)
        slots.at[k] = null
        assert held(two, slots, source, 100) == E_ARG
        assert two.lib.vg_slots_newest(slots, two.ffi.new("uint32_t *")) == null
    assert two.lib.vg_slots_newest(null, two.ffi.new("uint32_t *")) == null
    assert two.lib.vg_slots_newest(two.slots, null) == null


def test_newest_needs_no_callbacks(two):
    null = two.ffi.NULL
    slots = changed(two, erase=null, write=null, ctx=null)
    size = two.ffi.new("uint32_t *")
    found = two.lib.vg_slots_newest(slots, size)
    assert bytes(two.ffi.buffer(found, size[0])) == blob(284)


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("off", range(1, 8))
def test_slot_that_is_not_aligned_is_refused(two, source, slot, off):
    slots = changed(two)
    slots.at[slot] += off
    assert held(two, slots, source, 100) == E_ALIGN
    assert two.lib.vg_slots_newest(slots, two.ffi.new("uint32_t *")) == two.ffi.NULL


@pytest.mark.parametrize("off", [1, 2, 3])
def test_blob_that_is_not_aligned_is_refused(two, source, off):
    source = two.ffi.cast("uint8_t *", source) + off
    two.ffi.memmove(source, blob(100), 100)
    assert held(two, two.slots, source, 100) == E_ALIGN


@pytest.mark.parametrize("apart", [0, 8, SIZE - 8])
def test_slots_that_overlap_are_refused(two, source, apart):
    for near in (0, 1):
        slots = changed(two)
        slots.at[1 - near] = slots.at[near] + apart
        assert held(two, slots, source, 100) == E_ARG
        assert two.lib.vg_slots_newest(slots, two.ffi.new("uint32_t *")) == two.ffi.NULL
    slots = changed(two)
    slots.at[1] = slots.at[0] + SIZE  # side by side
    assert two.lib.vg_slots_newest(slots, two.ffi.new("uint32_t *")) != two.ffi.NULL


def test_what_is_no_blob_is_refused(two, source):
    assert held(two, two.slots, source, 99) == E_SIZE
    assert held(two, two.slots, source, 0) == E_SIZE
    source[10] ^= 1
    assert held(two, two.slots, source, 100) == E_CRC
    source[0] ^= 1
    assert held(two, two.slots, source, 100) == E_MAGIC


@pytest.mark.parametrize("length", [SMALLEST, 64, 68, 92, 96, 100])
def test_slot_one_byte_too_small_is_refused(length):
    need = HEADER + -(-length // PIECE) * PIECE
    source = Flash(SIZE).ffi.new("uint32_t[]", length // 4)
    for size in (0, 1, 31, 32, 63, need - 1):
        small = Flash(size)
        small.ffi.memmove(source, blob(length), length)
        assert held(small, small.slots, source, length) == E_SIZE
        assert small.newest() is None
    fits = Flash(need)
    assert save(fits, blob(length)) == OK
    assert save(fits, blob(length)) == OK


# ---- the simulated flash itself --------------------------------------------


def raw_write(flash, at, data):
    words = flash.ffi.new("uint32_t[]", len(data) // 4)
    flash.ffi.memmove(words, data, len(data))
    return flash.slots.write(flash.ffi.NULL, 0, at, words, len(data))


def test_simulated_flash_notes_a_broken_rule():
    flash = Flash(SIZE, granule=8)
    assert raw_write(flash, 8, b"\x0f" * 8) == 0
    assert raw_write(flash, 16, b"\x0f" * 8) == 0
    assert flash.mistakes == []
    assert raw_write(flash, 8, b"\x0e" * 8) == 0
    assert raw_write(flash, 4, b"\x0f" * 8) == 1
    assert raw_write(flash, SIZE - 8, b"\x0f" * 16) == 1
    assert [m.split()[0] for m in flash.mistakes] == ["writes"] * 3
    flash.fail(0, UNDONE)
    assert raw_write(flash, 24, bytes(8)) == 1
    assert raw_write(flash, 32, bytes(8)) == 1
    assert flash.mistakes[3:] == ["goes on after a failure"]


def test_simulated_flash_only_moves_bits_away_from_erased():
    for erased, result in ((0xFF, 0x05), (0x00, 0x5F)):
        flash = Flash(SIZE, granule=8, erased=erased)
        for data in (b"\x0f" * 8, b"\x55" * 8):
            raw_write(flash, 8, data)
        assert (flash.slot(0)[8:16] == result).all()
        assert flash.slots.erase(flash.ffi.NULL, 0) == 0
        assert (flash.slot(0) == erased).all()


def test_simulated_tear_leaves_some_bits():
    flash = Flash(SIZE, granule=8)
    flash.fail(1, TORN)
    raw_write(flash, 32, bytes(24))
    assert not flash.slot(0)[32:40].any()
    assert 0 < np.unpackbits(flash.slot(0)[40:48]).sum() < 64
    assert (flash.slot(0)[48:] == 0xFF).all()
    assert flash.bytes[:MARGIN].min() == 0xFF


# ---- libFuzzer -------------------------------------------------------------


@needs_libfuzzer
def test_fuzzer_finds_no_slot_that_harms(tmp_path):
    seeds = {}
    for length in (64, 100):  # with room for a save; not mended, and mended
        slot = header(0, blob(length)) + blob(length) + bytes(-length % PIECE)
        for first in (b"\x13", b"\x17"):
            seeds[f"{length} {first.hex()}"] = first + b"\x1f" + slot
    fuzz(tmp_path, "fuzz_slots.c", seeds, 50_000, max_len=256, timeout=5)
