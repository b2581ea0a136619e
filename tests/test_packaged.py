"""Data of published packages: where they are found, and the files' formats."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from data_wheels import needs_data

from pyvgrad.errors import VgradError
from pyvgrad.tasks import packaged
from pyvgrad.tasks.musicxml import Note, read_mxl, sounding
from pyvgrad.tasks.ts import read_table, read_ts

# ---- where ---------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of wheels, and no aeon installed."""
    monkeypatch.setenv(packaged.FOLDER, str(tmp_path))
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    return tmp_path


def wheel(folder, version="1.6.0"):
    path = folder / f"aeon-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("aeon/datasets/data/X/X.ts", "@data\n1:a\n")
    return path


def test_a_wheel_is_read_as_it_is(folder):
    wheel(folder)
    assert packaged.read("aeon", "datasets", "data", "X", "X.ts") == b"@data\n1:a\n"


def test_an_installed_package_is_read_and_not_imported(tmp_path, monkeypatch):
    monkeypatch.setenv(packaged.FOLDER, str(tmp_path / "none"))
    (tmp_path / "aeon").mkdir()
    (tmp_path / "aeon" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "aeon" / "a.csv").write_text("here")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "aeon", raising=False)
    assert packaged.read("aeon", "a.csv") == b"here"
    assert "aeon" not in sys.modules


def test_a_mere_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    monkeypatch.setenv(packaged.FOLDER, str(tmp_path))
    (tmp_path / "aeon").mkdir()
    (tmp_path / "aeon" / "a.csv").write_text("wrong")
    monkeypatch.syspath_prepend(tmp_path)
    wheel(tmp_path)
    assert packaged.read("aeon", "datasets", "data", "X", "X.ts") == b"@data\n1:a\n"


def test_without_the_package_the_sentence_says_how_to_get_it(folder):
    with pytest.raises(VgradError, match=r"pip install pyvgrad\[data\], or pip downl"):
        packaged.read("aeon", "a.csv")
    wheel(folder, "1.7.0")  # not the version whose files are known
    with pytest.raises(VgradError, match=r"aeon==1\.6\.0"):
        packaged.read("aeon", "a.csv")


def test_a_damaged_wheel_and_a_missing_file_are_refused(folder):
    path = wheel(folder)
    with pytest.raises(VgradError, match=r"no readable datasets/none.ts .*1\.6\.0"):
        packaged.read("aeon", "datasets", "none.ts")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(VgradError, match="download it again"):
        packaged.read("aeon", "datasets", "data", "X", "X.ts")


@needs_data
@pytest.mark.parametrize(
    ("name", "parts", "digest"),
    [
        (
            "aeon",
            "datasets/data/JapaneseVowels/JapaneseVowels_TEST.ts",
            "b3d41d6a0ca3bcad",
        ),
        ("aeon", "datasets/data/BasicMotions/BasicMotions_TEST.ts", "79213102bc6fca1a"),
        ("aeon", "datasets/data/Daphnet_S06R02E0/S06R02E0.csv", "5a1d2990fec3846c"),
        ("music21", "corpus/bach/bwv269.mxl", "9676f11a2b26488b"),
    ],
)
def test_the_files_are_those_that_results_were_made_of(name, parts, digest):
    data = packaged.read(name, *parts.split("/"))
    assert hashlib.sha256(data).hexdigest()[:16] == digest


# ---- time series ---------------------------------------------------------


def test_a_ts_file_is_read():
    text = b"#c\n@problemName p\n@DATA\n1,2,3:4,5,6:one\n\n7,8.5:-1e1,0:two\n"
    series, labels = read_ts(text, "p.ts")
    assert labels == ["one", "two"]
    np.testing.assert_array_equal(series[0], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(series[1], [[7, -10], [8.5, 0]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"@data\n1,2:3,4:a\n1,?:3,4:a\n", "p.ts, line 3"),
        (b"@data\n1,2:3:a\n", "p.ts, line 2"),
        (b"@data\n1,nan:a\n", "p.ts, line 2"),
        (b"@data\na\n", "p.ts, line 2"),
        (b"1,2:a\n", "p.ts: there is no series"),
    ],
)
def test_what_is_no_ts_file_is_refused(text, said):
    with pytest.raises(VgradError, match=said):
        read_ts(text, "p.ts")


def test_a_table_is_read_by_its_columns():
    text = b"t,a,b\n2026-01-01,1,2\n2026-01-02,3,4\n"
    np.testing.assert_array_equal(
        read_table(text, "t.csv", ("b", "a")), [[2, 1], [4, 3]]
    )
    with pytest.raises(VgradError, match=r"t\.csv: there is no column c"):
        read_table(text, "t.csv", ("a", "c"))
    with pytest.raises(VgradError, match=r"t\.csv: no table of numbers"):
        read_table(text, "t.csv", ("t",))
    with pytest.raises(VgradError, match="there is no column a"):
        read_table(b"", "t.csv", ("a",))


# ---- scores --------------------------------------------------------------


def mxl(xml, name="score.xml"):
    """A compressed score."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
        archive.writestr(name, xml)
    return buffer.getvalue()


def note(step, octave, duration, extra="", alter=""):
    alter = f"<alter>{alter}</alter>" if alter else ""
    pitch = f"<pitch><step>{step}</step>{alter}<octave>{octave}</octave></pitch>"
    return f"<note>{extra}{pitch}<duration>{duration}</duration></note>"


ATTRIBUTES = "<attributes><divisions>2</divisions><key><fifths>-1</fifths></key>"
UPBEAT = f"<measure>{ATTRIBUTES}</attributes>{note('C', 4, 1)}</measure>"
BAR = (
    "<measure>"
    + note("F", 4, 2, alter="1")
    + note("A", 4, 2, "<chord/>")
    + "<note><grace/><pitch><step>B</step><octave>5</octave></pitch></note>"
    + "<note><rest/><duration>2</duration></note>"
    + "<backup><duration>2</duration></backup>"
    + "<forward><duration>1</duration></forward>"
    + note("C", 5, 3)
    + "</measure>"
)
LOW = (
    f"<measure>{ATTRIBUTES}<transpose><chromatic>-2</chromatic>"
    f"<octave-change>-1</octave-change></transpose></attributes>{note('D', 4, 5)}"
    "</measure>"
)
SCORE = f"<score-partwise><part>{UPBEAT}{BAR}</part><part>{LOW}</part></score-partwise>"


def test_a_score_is_read_note_by_note():
    """Upbeat of an eighth; chord, grace note, rest, two voices; a low part."""
    score = read_mxl(mxl(SCORE), "s.mxl")
    half = Fraction(1, 2)
    assert score.parts[0] == (
        Note(60, Fraction(0), half),
        Note(66, half, 3 * half),
        Note(69, half, 3 * half),
        Note(72, Fraction(2), Fraction(7, 2)),
    )
    assert score.parts[1] == (Note(48, Fraction(0), Fraction(5, 2)),)
    assert (score.first_measure, score.fifths) == (half, -1)
    # at 1/2, 3/2, 5/2: the quarters of the bar
    assert sounding(score) == [(48, 66, 69), (48,), (72,)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        mxl("<score"),
        mxl(SCORE, "score.txt"),
        mxl(SCORE.replace("<step>D", "<step>H")),
        mxl(SCORE.replace("<octave>5", "<octave>x")),
        mxl("<score-partwise/>"),
        mxl(SCORE.replace("<divisions>2", "<divisions>0")),
    ],
)
def test_what_is_no_score_is_refused(data):
    with pytest.raises(VgradError, match=r"s\.mxl: "):
        read_mxl(data, "s.mxl")


@needs_data
@pytest.mark.parametrize(
    ("name", "counts", "first"),
    [
        ("bwv269", [46, 61, 59, 63], (43, 59, 62, 67)),
        ("bwv66.6", [37, 42, 45, 41], (57, 64, 73)),
    ],
)
def test_a_chorale_is_what_music21_makes_of_it(name, counts, first):
    """Notes a part and the first quarter's pitches, by converter.parse of 10.5.1."""
    file = f"{name}.mxl"
    score = read_mxl(packaged.read("music21", "corpus", "bach", file), file)
    assert [len(part) for part in score.parts] == counts
    assert sounding(score)[0] == first
