"""Four-part chorales of J. S. Bach: which notes sound at the next quarter.

From the corpus that music21 ships.  The measure is the negative log-likelihood a step
of independent logistic outputs, all in the key without sharps, as in
Boulanger-Lewandowski, Bengio and Vincent 2012 (another edition, and another division
into sets).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from pyvgrad.errors import VgradError
from pyvgrad.tasks.lesson import Asked, IntTask, Lesson
from pyvgrad.tasks.musicxml import read_mxl, sounding
from pyvgrad.tasks.packaged import package
from pyvgrad.tasks.recordings import FOLD, Recordings, Sets, ask_share
from pyvgrad.tasks.task import Bools, Floats, Outputs, Sequences, Task

NAME = "chorales"
ARGUMENT = 2.0**11  # a logistic output's argument is q11
_VOICES = 4
_BOUND = 10.0  # nats a step; a chorale below it counts as right
_GOAL = 0.9


@cache
def rolls() -> tuple[tuple[Floats, ...], int]:
    """(piano rolls (T, notes) of 0 and 1, the lowest note), none twice."""
    folder = package("music21").joinpath("corpus", "bach")
    files = [f for f in folder.iterdir() if f.name.startswith("bwv")]
    found: dict[tuple[tuple[int, ...], ...], None] = {}
    for file in sorted(files, key=lambda f: f.name):
        if not file.name.endswith(".mxl"):
            continue
        score = read_mxl(file.read_bytes(), file.name)
        if len(score.parts) == _VOICES:
            shift = _to_no_sharps(score.fifths)
            steps = (tuple(p + shift for p in step) for step in sounding(score))
            found[tuple(steps)] = None
    if not found:
        raise VgradError(
            "music21 is here without its corpus; install it from its wheel"
        )
    pitches = {p for piece in found for step in piece for p in step}
    low, high = min(pitches), max(pitches)
    made = []
    for piece in found:
        roll = np.zeros((len(piece), high - low + 1))
        for row, step in zip(roll, piece, strict=True):
            row[[p - low for p in step]] = 1.0
        made.append(roll)
    return tuple(made), low


def _to_no_sharps(fifths: int) -> int:
    """Semitones to the nearest key of no sharps and no flats, -5 to 6."""
    return (-7 * fifths + 5) % 12 - 5


def chorale_sets(validate: int = 0) -> Sets:
    """Every fifth chorale, in the order of their names, is for the test."""
    every_roll, _ = rolls()
    every = Recordings(
        [roll[:-1] for roll in every_roll],
        [roll[1:] for roll in every_roll],
        every_roll[0].shape[1],
    )
    fifth = np.arange(len(every)) % FOLD == FOLD - 1
    sets = Sets(every.where(~fifth), every.where(fifth))
    return sets.validating() if validate else sets


def step_nats(logits: Floats, target: Floats) -> Floats:
    """The negative log-likelihood of each step, (..., T); both (..., T, notes)."""
    nats: Floats = (np.logaddexp(0.0, logits) - target * logits).sum(axis=-1)
    return nats


def _right(sequences: Sequences, outputs: Outputs) -> Bools:
    """Whether a chorale takes fewer nats a step than the bound, (N,)."""
    logits = outputs.logits.astype(np.float64)
    if outputs.y_exp is not None:
        logits = logits / ARGUMENT
    nats = step_nats(logits, sequences.y) * sequences.mask
    right: Bools = nats.sum(axis=1) < _BOUND * sequences.lengths
    return right


def _one_right(asked: Asked, lesson: Lesson) -> tuple[int, int]:
    nats = step_nats(asked.logits(lesson.x) / ARGUMENT, lesson.target)
    return int(nats.mean() < _BOUND), 1


def chorales(seed: int = 0, validate: int = 0) -> Task:
    """Which notes sound at the next quarter of a chorale, from those that sound now.

    A chorale of the test is right if it takes fewer than 10 nats a step.  ``seed``
    draws nothing; with ``validate`` 1 a fifth of the training set is asked instead.
    """
    sets = chorale_sets(validate)
    learnt = sets.train.sequences()

    def draw(rng: np.random.Generator, n: int) -> Sequences:
        return learnt.take(rng.integers(len(learnt), size=n))

    n = sets.train.n_out
    return Task(
        NAME,
        n,
        n,
        "logistic",
        draw,
        {"test": sets.test.sequences()},
        _right,
        goal=_GOAL,
        calibrate=learnt,
    )


def int_chorales(seed: int = 0, validate: int = 0) -> IntTask:
    """The same for learning in integers."""
    sets = chorale_sets(validate)
    lessons = sets.train.lessons()
    return IntTask(
        NAME,
        sets.train.n_in,
        sets.train.n_out,
        lambda rng: lessons[rng.integers(len(lessons))],
        ask_share(sets.test.lessons(), _one_right, _GOAL),
        steps=max(map(len, lessons)),
        symbols=False,
    )
