"""Texts as symbols: sets, Penn Treebank's form, and what is refused."""

from __future__ import annotations

import pytest
from data_wheels import needs_data

from pyvgrad.errors import VgradError
from pyvgrad.tasks.text import read_text, spelled, unspelled


def text_of(text, name):
    return "".join(text.alphabet[k] for k in getattr(text, name))


def test_a_file_is_divided_in_order(tmp_path):
    whole = "".join(chr(97 + k % 26) for k in range(4000))
    (tmp_path / "t.txt").write_text(whole)
    text = read_text(tmp_path / "t.txt")
    parts = [text_of(text, name) for name in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [3600, 200, 200]
    assert "".join(parts) == whole
    assert text.alphabet == "abcdefghijklmnopqrstuvwxyz"
    assert text.source == "t.txt"


def test_three_files_are_the_sets(tmp_path):
    for name in ("train", "valid", "test"):
        text = (f"{name} \u00e9\r\n") * 30
        (tmp_path / f"ptb.{name}.txt").write_bytes(text.encode())
    text = read_text(tmp_path)
    assert text_of(text, "valid") == "valid \u00e9\n" * 30  # the line ends of Windows


PENN = " a e r _ b a n k\n t h e _ < u n k > _ ' s\n"


def test_penn_treebanks_form_is_recognised_and_undone(tmp_path):
    assert spelled(PENN)
    assert unspelled(PENN) == "aer bank\nthe <unk> 's\n"
    (tmp_path / "p.txt").write_text(PENN * 200)
    text = read_text(tmp_path / "p.txt")
    assert "Penn Treebank" in text.source
    assert "_" not in text.alphabet
    whole = "".join(text_of(text, name) for name in ("train", "valid", "test"))
    assert whole == "aer bank\nthe <unk> 's\n" * 200


@pytest.mark.parametrize(
    "plain",
    [
        "",
        "a\nb\n",
        "a b c\nab c\n",
        "I am a_b\n",
        "a b\nplain text\n",
        "a  b c\n",
        "a   b\n",
    ],
)
def test_other_texts_stay_as_they_are(plain):
    assert not spelled(plain)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, r"t\.txt: No such file"),
        (b"abc \xff" + b"x" * 5000, r"t\.txt: byte 4 is no UTF-8"),
        (b"short", r"t\.txt: \d+ characters for train; 100 at least"),
        (b"x" * 1900, r"95 characters for valid"),
        ("".join(map(chr, range(20000, 24000))).encode(), "4,000 different char"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, data, said):
    if data is not None:
        (tmp_path / "t.txt").write_bytes(data)
    with pytest.raises(VgradError, match=said):
        read_text(tmp_path / "t.txt")


def test_a_folder_that_lacks_a_set_or_has_it_twice_is_refused(tmp_path):
    (tmp_path / "a.train.txt").write_text("x" * 200)
    with pytest.raises(VgradError, match="0 files have valid in their name"):
        read_text(tmp_path)
    (tmp_path / "b.train.txt").write_text("x" * 200)
    with pytest.raises(VgradError, match="2 files have train in their name"):
        read_text(tmp_path)


@needs_data
def test_the_default_is_the_divine_comedy():
    text = read_text()
    assert len(text.train) + len(text.valid) + len(text.test) == 532_422
    assert text_of(text, "train").startswith("LA DIVINA COMMEDIA\ndi Dante Alighieri")
    assert (
        text_of(text, "test")
        .rstrip()
        .endswith("che move il sole e l\u2019altre stelle.")
    )
    assert text.digest == "563e10f1409c5e06"
