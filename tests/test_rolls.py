"""Music: MIDI files and pickles as piano rolls, and what is refused."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from data_wheels import needs_data

from pyvgrad.errors import VgradError
from pyvgrad.tasks.chorales import chorale_sets
from pyvgrad.tasks.midi import read_midi
from pyvgrad.tasks.rolls import read_music

DIVISION = 96  # ticks a quarter note in the files below: an eighth is 48

# ---- MIDI files, written byte by byte after the format's description -------


def number(value):
    """A variable-length number: seven bits a byte, the highest set but for the last."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, 0x80 | value & 0x7F)
    return bytes(digits)


def midi(*tracks, division=DIVISION, kind=1):
    """A file of tracks, each [(ticks since the event before, bytes), ...]."""
    head = kind.to_bytes(2) + len(tracks).to_bytes(2) + (division & 0xFFFF).to_bytes(2)
    data = b"MThd" + (6).to_bytes(4) + head
    for track in tracks:
        events = b"".join(number(t) + event for t, event in [*track, (0, END)])
        data += b"MTrk" + len(events).to_bytes(4) + events
    return data


END = b"\xff\x2f\x00"


def on(pitch, velocity=64, channel=0):
    return bytes([0x90 | channel, pitch, velocity])


def off(pitch, channel=0):
    return bytes([0x80 | channel, pitch, 0])


def key(sharps, minor=0):
    return b"\xff\x59\x02" + sharps.to_bytes(1, signed=True) + bytes([minor])


def test_a_step_holds_what_sounds_at_its_instant():
    """Sampled at ticks 0, 48, 96, ...: a start counts, an end does not."""
    data = midi(
        [(0, on(60)), (48, off(60)), (0, on(62)), (1, off(62)), (46, on(64))],
        [
            (49, on(65)),
            (46, off(65)),
            (1, on(67)),
            (96, on(67, velocity=0)),
            (48, off(70)),
        ],
    )
    # 60: [0, 48). 62: [48, 49). 64: [95, 95) up to its track's end. 65: [49, 95).
    # 67: [96, 192).
    assert read_midi(data, "m") == [{60}, {62}, {67}, {67}]
    assert read_midi(data, "m", Fraction(1)) == [{60}, {67}]


def test_a_note_struck_again_ends_and_begins():
    data = midi([(0, on(60)), (48, on(60)), (48, off(60)), (48, on(61)), (48, off(61))])
    assert read_midi(data, "m") == [{60}, {60}, set(), {61}]


def test_running_status_and_other_events_are_read():
    """A status byte may be left out; tempo and pedal change nothing."""
    tempo, pedal = b"\xff\x51\x03\x01\x00\x00", b"\xb0\x40\x7f"
    data = midi([(0, tempo), (0, pedal), (0, on(60)), (48, b"\x40\x40"), (48, off(60))])
    assert read_midi(data, "m") == [{60}, {60, 64}]


def test_drums_are_left_out():
    data = midi([(0, on(60)), (0, on(35, channel=9)), (48, off(60))])
    assert read_midi(data, "m") == [{60}]


@pytest.mark.parametrize(
    ("signature", "moved"),
    [
        (key(0), 0),
        (key(1), 5),  # G major up to C
        (key(2), -2),  # D major down to C
        (key(-1), -5),  # F major
        (key(-2), 2),  # B flat major
        (key(0, 1), 3),  # A minor to C minor
        (key(-3, 1), 0),  # C minor
        (key(3, 1), 6),  # F sharp minor: a tritone, upwards
        (key(-6), 6),  # G flat major
        (key(-7), 1),  # C flat major
    ],
)
def test_the_first_key_signature_moves_the_tonic_to_c(signature, moved):
    notes = [(0, on(60)), (0, signature), (0, key(4)), (48, off(60))]
    assert read_midi(midi(notes), "m") == [{60 + moved}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "m: no MIDI file"),
        (b"RIFF" + bytes(100), "m: no MIDI file"),
        (midi([(0, on(60)), (48, off(60))])[:-6], "m: no MIDI file"),
        (midi([(0, key(9))]), "m: no MIDI file"),
        (midi([(0, on(60)), (48, off(60))], division=0), "time is in seconds"),
        (midi([(0, on(60)), (48, off(60))], division=-0x1980), "time is in seconds"),
        (midi([(0, on(60)), (0xFFFFFFF, off(60))]), "steps are more than 100,000"),
    ],
)
def test_what_is_no_music_is_one_sentence(data, said):
    with pytest.raises(VgradError, match=said) as refused:
        read_midi(data, "m")
    assert "\n" not in str(refused.value)


# ---- the sets --------------------------------------------------------------


def write_sets(folder, **files):
    """Subfolders train, valid and test; a set's files by name."""
    for name in ("train", "valid", "test"):
        (folder / name).mkdir(parents=True)
        for file, data in files.get(name, {"a.mid": CHORD}).items():
            (folder / name / file).write_bytes(data)
    return folder


CHORD = midi([(0, on(21)), (0, on(108)), (0, on(20)), (96, off(21)), (0, off(108))])
ALONE = midi([(0, on(60)), (48, off(60))])


def test_a_folder_of_midi_files_is_read(tmp_path):
    late = midi([(48, on(60)), (48, off(60))])
    train = {"b.MID": late, "a.midi": CHORD, "one-step.mid": ALONE, "notes.txt": b"?"}
    music = read_music(write_sets(tmp_path / "Nottingham", train=train))
    assert "Nottingham" in music.source
    assert [len(of) for of in (music.train, music.valid, music.test)] == [2, 1, 1]
    chord, silence_first = music.train  # in the order of names
    assert chord.shape == silence_first.shape == (2, 88)
    np.testing.assert_array_equal(np.flatnonzero(chord[0]), [0, 87])  # 20: no such key
    np.testing.assert_array_equal(silence_first.sum(axis=1), [0, 1])
    assert silence_first[1, 60 - 21] == 1


def test_a_folder_without_a_set_or_with_an_empty_one_is_refused(tmp_path):
    with pytest.raises(VgradError, match=r"train: there is no such folder"):
        read_music(tmp_path)
    folder = write_sets(tmp_path / "m", valid={"one-step.mid": ALONE})
    with pytest.raises(VgradError, match=r"valid: there is no piece of two steps"):
        read_music(folder)
    (folder / "valid" / "bad.mid").write_bytes(b"bad")
    with pytest.raises(VgradError, match=r"bad\.mid: no MIDI file"):
        read_music(folder)


def write_pickle(path, found):
    path.write_bytes(pickle.dumps(found))
    return path


def test_a_pickle_of_the_published_form_is_read(tmp_path):
    piece = [(21, 108.0), [], (60,)]
    sets = {"train": [piece, [()]], "valid": [piece], "test": (piece, piece)}
    music = read_music(write_pickle(tmp_path / "Nottingham.pickle", sets))
    assert [len(of) for of in (music.train, music.valid, music.test)] == [1, 1, 2]
    found = [np.flatnonzero(step).tolist() for step in music.train[0]]
    assert found == [[0, 87], [], [39]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("valid"), "not a dict with train, valid, test"),
        (lambda s: s.update(train=[]), "train: there is no piece"),
        (lambda s: s.update(train=3), "train: a list was expected, not int"),
        (lambda s: s.update(train=[[60, 61]]), r"train\[0\]: a list was expected"),
        (lambda s: s.update(test=[[(60,), ("x",)]]), r"test\[0\]: a pitch is an int"),
        (lambda s: s.update(test=[[(60.5,), ()]]), r"test\[0\]: a pitch is an int"),
        (lambda s: s.update(test=[[(10**5000,), ()]]), r"test\[0\]: a pitch is an int"),
        (lambda s: s.update(test=[[(np.int64(60),), ()]]), "it asks for numpy"),
    ],
)
def test_what_is_no_music_in_a_pickle_is_refused(tmp_path, change, said):
    sets = {name: [[(60,), (62,)]] for name in ("train", "valid", "test")}
    change(sets)
    with pytest.raises(VgradError, match=said):
        read_music(write_pickle(tmp_path / "m.pkl", sets))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(VgradError, match=r"m\.pickle: No such file"):
        read_music(tmp_path / "m.pickle")
    with pytest.raises(VgradError, match=r"m: there is no such file"):
        read_music(tmp_path / "m")
    (tmp_path / "m.txt").write_text("")
    with pytest.raises(VgradError, match=r"neither a folder of MIDI files nor"):
        read_music(tmp_path / "m.txt")


@needs_data
def test_the_chorales_are_those_of_the_task_on_88_keys():
    music, sets = read_music(), chorale_sets()
    assert [len(of) for of in (music.train, music.valid, music.test)] == [232, 58, 72]
    for wide, narrow in zip(music.test, sets.test.x, strict=True):
        assert wide.shape[1] == 88
        assert wide.sum() > 0
        used = np.flatnonzero(wide.sum(axis=0))
        assert 21 + used.min() >= 31  # the lowest note of a bass, E flat moved down
        np.testing.assert_array_equal(wide[:-1].sum(axis=1), narrow.sum(axis=1))
    asked = chorale_sets(validate=1).test.x
    for wide, narrow in zip(music.valid, asked, strict=True):
        np.testing.assert_array_equal(wide[:-1].sum(axis=1), narrow.sum(axis=1))
    assert music.digest == read_music().digest
