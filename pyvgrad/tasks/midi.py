"""What sounds when, of a standard MIDI file, by the package mido."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from pyvgrad.errors import VgradError

_DRUMS = 9  # the channel whose pitches are instruments
_MOST = 100_000  # steps of a piece: seven hours of eighths
# Semitones from C of a key's tonic, by its letter.
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}

Steps = list[set[int]]


def read_midi(data: bytes, where: str, step: Fraction = Fraction(1, 2)) -> Steps:
    """The pitches (middle C is 60) that sound at each step.

    Step k samples the instant k x ``step`` quarter notes after the file's start: a note
    sounds from its start until before its end, and one that lies between two samples
    is lost.  Tempo, loudness, pedals and drums are not looked at.  As in
    Boulanger-Lewandowski et al. 2012 the piece is moved, by 6 semitones at most, so
    that the tonic of its first key signature is C; without a signature it stays.

    VgradError for what is no MIDI file, for time in seconds instead of beats, for more
    than 100,000 steps, and without mido.
    """
    file = _parse(data, where)
    ticks = file.ticks_per_beat * step
    if ticks <= 0:
        raise VgradError(f"{where}: its time is in seconds, not in beats; convert it")
    notes, key = _notes(file)
    end = max((note[2] for note in notes), default=0)
    length = _ceil(end, ticks)
    if length > _MOST:
        raise VgradError(
            f"{where}: {length:,} steps are more than {_MOST:,}; is it damaged?"
        )
    steps: Steps = [set() for _ in range(length)]
    for pitch, start, stop in notes:
        for now in steps[_ceil(start, ticks) : _ceil(stop, ticks)]:
            now.add(pitch + key)
    return steps


def _ceil(tick: int, ticks: Fraction) -> int:
    """The first step at ``tick`` or after it."""
    return int(-(-tick // ticks))


def _parse(data: bytes, where: str) -> Any:
    try:
        import mido
    except ImportError as error:
        raise VgradError(
            "mido is not installed and MIDI files need it: pip install pyvgrad[lab]"
        ) from error
    try:
        return mido.MidiFile(file=io.BytesIO(data))
    except Exception as error:  # damaged bytes make mido raise nearly any
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VgradError(f"{where}: no MIDI file ({reason}); is it damaged?") from None


def _notes(file: Any) -> tuple[list[tuple[int, int, int]], int]:
    """(pitch, start, end in ticks) of every note, and semitones to C."""
    notes: list[tuple[int, int, int]] = []
    keys: list[tuple[int, str]] = []
    for track in file.tracks:
        on: dict[tuple[int, int], int] = {}
        now = 0
        for now, message in _timed(track):
            if message.type == "key_signature":
                keys.append((now, message.key))
            elif message.type in ("note_on", "note_off") and message.channel != _DRUMS:
                note = message.channel, message.note
                if note in on:  # ended, or struck again
                    notes.append((message.note, on.pop(note), now))
                if message.type == "note_on" and message.velocity > 0:
                    on[note] = now
        notes += [(pitch, start, now) for (_, pitch), start in on.items()]
    first = min(keys, key=lambda k: k[0])[1] if keys else "C"
    return notes, _to_c(first)


def _timed(track: Any) -> Iterator[tuple[int, Any]]:
    """Each message with the ticks since the start."""
    now = 0
    for message in track:
        now += message.time
        yield now, message


def _to_c(key: str) -> int:
    """Semitones from a key such as ``F#m`` to the nearest C, -5 to 6."""
    tonic = _LETTERS[key[0]] + key.count("#") - key.count("b")
    return (5 - tonic) % 12 - 5
