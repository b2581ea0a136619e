"""What sounds when, of a score in compressed MusicXML (``.mxl``)."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from xml.etree import ElementTree

from pyvgrad.errors import VgradError

_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Note:
    """A pitch (MIDI: middle C is 60) from ``start`` to ``end``, in quarter notes."""

    pitch: int
    start: Fraction
    end: Fraction


@dataclass(frozen=True)
class Score:
    """The notes of each part.

    ``first_measure`` is its length in quarter notes, ``fifths`` the sharps of the first
    key signature, flats below 0.  Grace notes have no duration and are left out,
    repeats are not followed.
    """

    parts: tuple[tuple[Note, ...], ...]
    first_measure: Fraction
    fifths: int


def read_mxl(data: bytes, where: str) -> Score:
    """Read a score.  VgradError for a file that is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [n for n in archive.namelist() if not n.startswith("META-INF/")]
            text = archive.read(
                next(n for n in names if n.endswith((".xml", ".musicxml")))
            )
        root = ElementTree.fromstring(text)
        parts = [_part(part) for part in root.findall("part")]
        fifths = int(root.findtext(".//key/fifths", "0"))
    except (
        zipfile.BadZipFile,
        ElementTree.ParseError,
        StopIteration,
        KeyError,
        ValueError,
        ZeroDivisionError,
    ) as error:
        raise VgradError(f"{where}: no score in MusicXML ({error})") from None
    if not parts:
        raise VgradError(f"{where}: a score without a part")
    return Score(tuple(notes for notes, _ in parts), parts[0][1], fifths)


def _part(part: ElementTree.Element) -> tuple[tuple[Note, ...], Fraction]:
    """(its notes, the length of its first measure)."""
    notes: list[Note] = []
    start, first = Fraction(0), None
    units, transpose = 1, 0  # units a quarter note, semitones
    for measure in part.findall("measure"):
        now = longest = last = Fraction(0)
        for item in measure:
            if item.tag == "attributes":
                units = int(item.findtext("divisions", str(units)))
                transpose = _transposition(item, transpose)
                continue
            length = Fraction(item.findtext("duration", "0")) / units
            if item.tag == "backup":
                now -= length
            elif item.tag == "forward":
                now += length
            elif item.tag == "note" and item.find("grace") is None:
                if item.find("chord") is not None:
                    now = last
                last = now
                pitch = _pitch(item)
                if pitch is not None:
                    at = start + now
                    notes.append(Note(pitch + transpose, at, at + length))
                now += length
            longest = max(longest, now)
        start += longest
        first = longest if first is None else first
    return tuple(notes), first if first is not None else Fraction(0)


def _transposition(attributes: ElementTree.Element, now: int) -> int:
    """Semitones from what is written to what sounds."""
    change = attributes.find("transpose")
    if change is None:
        return now
    octaves = int(change.findtext("octave-change", "0"))
    return int(change.findtext("chromatic", "0")) + 12 * octaves


def _pitch(note: ElementTree.Element) -> int | None:
    """The written pitch, None for a rest."""
    pitch = note.find("pitch")
    if pitch is None:
        return None
    octave = int(pitch.findtext("octave", ""))
    alter = int(pitch.findtext("alter", "0"))
    return 12 * (octave + 1) + _SEMITONES[pitch.findtext("step", "")] + alter


def sounding(score: Score) -> list[tuple[int, ...]]:
    """The pitches that sound at each quarter of the measure, lowest first.

    Quarters are counted from bar lines, so that an upbeat shorter than one is skipped.
    """
    notes = [note for part in score.parts for note in part]
    start = score.first_measure % 1
    end = max((note.end for note in notes), default=Fraction(0))
    steps: list[set[int]] = [set() for _ in range(max(0, ceil(end - start)))]
    for note in notes:
        first, behind = ceil(note.start - start), ceil(note.end - start)
        for step in steps[max(first, 0) : behind]:
            step.add(note.pitch)
    return [tuple(sorted(step)) for step in steps]
