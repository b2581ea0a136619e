"""Polyphonic music as piano rolls of 88 keys, in three sets.

From the chorales that music21 ships, or from the user's files: a folder of MIDI files
with the subfolders train, valid and test, or a pickle of the form that
Boulanger-Lewandowski, Bengio and Vincent 2012 published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import VgradError
from pyvgrad.tasks.chorales import rolls
from pyvgrad.tasks.midi import read_midi
from pyvgrad.tasks.plain_pickle import load_plain
from pyvgrad.tasks.recordings import FOLD

LOWEST, KEYS = 21, 88  # MIDI's number of a piano's lowest key, and how many it has
SETS = ("train", "valid", "test")
_PICKLES = (".pickle", ".pkl")
_MIDI = (".mid", ".midi")

Roll = NDArray[np.uint8]  # (T, 88) of 0 and 1


@dataclass(frozen=True)
class Music:
    """Pieces of two steps at least, by set; ``source`` says what they are."""

    source: str
    train: list[Roll]
    valid: list[Roll]
    test: list[Roll]

    @property
    def digest(self) -> str:
        """16 hex digits that tell one music from another."""
        found = hashlib.sha256()
        for name in SETS:
            for roll in getattr(self, name):
                found.update(f"{name} {len(roll)}\n".encode() + roll.tobytes())
        return found.hexdigest()[:16]


def read_music(path: Path | None = None) -> Music:
    """Read a folder of MIDI files or a pickle; without a path, the chorales.

    VgradError for files that are missing or malformed.
    """
    if path is None:
        return _chorales()
    if path.is_dir():
        return _from_folder(path)
    if path.suffix.lower() in _PICKLES:
        return _from_pickle(path)
    what = "is neither a folder of MIDI files nor a .pickle"
    raise VgradError(f"{path}: {what if path.exists() else 'there is no such file'}")


def _chorales() -> Music:
    """Every fifth is for the test and, of the others, every fifth for validation."""
    narrow, low = rolls()
    pieces: list[Roll] = []
    for piece in narrow:
        wide = np.zeros((len(piece), KEYS), np.uint8)
        wide[:, low - LOWEST : low - LOWEST + piece.shape[1]] = piece
        pieces.append(wide)
    others = [piece for k, piece in enumerate(pieces) if k % FOLD != FOLD - 1]
    return Music(
        "four-part chorales of J. S. Bach in music21, a step a quarter note",
        [piece for k, piece in enumerate(others) if k % FOLD != FOLD - 1],
        others[FOLD - 1 :: FOLD],
        pieces[FOLD - 1 :: FOLD],
    )


# ---- a folder of MIDI files ----------------------------------------------


def _from_folder(path: Path) -> Music:
    sets = {name: _read_set(path / name) for name in SETS}
    return Music(f"{path.name}, MIDI files, a step an eighth note", **sets)


def _read_set(folder: Path) -> list[Roll]:
    """The pieces of a folder and those below it, in the order of their names."""
    if not folder.is_dir():
        names = ", ".join(SETS)
        raise VgradError(f"{folder}: there is no such folder; the data have {names}")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _MIDI)
    pieces = []
    for file in files:
        try:
            steps = read_midi(file.read_bytes(), str(file))
        except OSError as error:
            raise VgradError(f"{file}: {error.strerror}") from None
        pieces.append(_roll(steps))
    return _checked(pieces, str(folder))


def _roll(steps: Sequence[Iterable[int]]) -> Roll:
    """The roll of the pitches at each step; those beyond a piano's are left out."""
    roll = np.zeros((len(steps), KEYS), np.uint8)
    for row, pitches in zip(roll, steps, strict=True):
        row[[p - LOWEST for p in pitches if LOWEST <= p < LOWEST + KEYS]] = 1
    return roll


def _checked(pieces: list[Roll], where: str) -> list[Roll]:
    """Those of two steps at least: one step has no next one."""
    long = [piece for piece in pieces if len(piece) > 1]
    if not long:
        raise VgradError(f"{where}: there is no piece of two steps in it")
    return long


# ---- a pickle ------------------------------------------------------------


def _from_pickle(path: Path) -> Music:
    """Three sets by name, of pieces, of steps, of MIDI pitches."""
    try:
        found = load_plain(path.read_bytes(), str(path))
    except OSError as error:
        raise VgradError(f"{path}: {error.strerror}") from None
    if not isinstance(found, dict) or not set(SETS) <= set(found):
        raise VgradError(f"{path}: not a dict with {', '.join(SETS)}")
    sets = {name: _pieces(found[name], f"{path}, {name}") for name in SETS}
    return Music(f"{path.stem}, the pickle's steps", **sets)


def _pieces(found: Any, where: str) -> list[Roll]:
    pieces = []
    for k, piece in enumerate(_sequence(found, where)):
        at = f"{where}[{k}]"
        steps = [_sequence(step, at) for step in _sequence(piece, at)]
        for pitch in (p for step in steps for p in step):
            if not isinstance(pitch, int | float) or pitch not in range(128):
                raise VgradError(f"{at}: a pitch is an integer from 0 to 127")
        pieces.append(_roll([[int(p) for p in step] for step in steps]))
    return _checked(pieces, where)


def _sequence(found: Any, where: str) -> Sequence[Any]:
    if not isinstance(found, list | tuple):
        raise VgradError(f"{where}: a list was expected, not {type(found).__name__}")
    return found
