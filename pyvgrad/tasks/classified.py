"""Measured sequences that are each of one class.

Japanese vowels: Kudo, Toyama and Shimbo 1999 (UCI).  Basic motions: UEA archive
(Bagnall et al. 2018).  Both sets of each are the archive's, as aeon ships them.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from pyvgrad.tasks.lesson import IntTask
from pyvgrad.tasks.packaged import read
from pyvgrad.tasks.recordings import Recordings, Sets, int_whole_task, whole_task
from pyvgrad.tasks.task import Floats, Task
from pyvgrad.tasks.ts import read_ts

VOWELS, MOTIONS = "japanese-vowels", "basic-motions"
MOTION_RATE = 10.0  # samples a second
_FILES = {VOWELS: "JapaneseVowels", MOTIONS: "BasicMotions"}
_GOAL = {VOWELS: 0.9, MOTIONS: 0.9}
_NOISE = {VOWELS: 0.3, MOTIONS: 0.3}


@cache
def _read(name: str) -> tuple[Recordings, Recordings]:
    """(train, test) in the archive's unit; classes in the order of their labels."""
    found = []
    for part in ("TRAIN", "TEST"):
        file = f"{_FILES[name]}_{part}.ts"
        found.append(
            read_ts(read("aeon", "datasets", "data", _FILES[name], file), file)
        )
    labels = sorted(set(found[0][1]))
    train, test = (
        Recordings(x, [labels.index(k) for k in y], len(labels)) for x, y in found
    )
    return train, test


def scaling(name: str) -> tuple[Floats, Floats]:
    """(mean, deviation) of each channel over all steps of the training set."""
    every = np.concatenate(_read(name)[0].x)
    return every.mean(axis=0), every.std(axis=0)


def raw_sets(name: str) -> Sets:
    """Both sets as the archive has them."""
    return Sets(*_read(name))


def scaled(sets: Sets, mean: Floats, deviation: Floats) -> Sets:
    """Every channel with mean 0 and deviation 1."""

    def change(x: Floats) -> Floats:
        return (x - mean) / deviation

    return Sets(sets.train.changed(change), sets.test.changed(change))


def class_sets(name: str, validate: int = 0) -> Sets:
    """Both sets as models take them; ``validate``: without the test set."""
    sets = scaled(raw_sets(name), *scaling(name))
    return sets.validating() if validate else sets


def japanese_vowels(seed: int = 0, validate: int = 0) -> Task:
    """Which of 9 speakers said /ae/: 12 LPC cepstrum coefficients, 7 to 29 steps.

    270 sequences to learn from, 370 to be asked; ``seed`` draws nothing.  With
    ``validate`` 1 a fifth of the 270 is asked instead: so were settings chosen.
    """
    sets = class_sets(VOWELS, validate)
    return whole_task(VOWELS, sets, goal=_GOAL[VOWELS], noise=_NOISE[VOWELS])


def basic_motions(seed: int = 0, validate: int = 0) -> Task:
    """Standing, walking, running, badminton: a watch's accelerometer and gyroscope.

    40 sequences of 100 steps, a tenth of a second each, to learn from and 40 to be
    asked; ``seed`` and ``validate`` as in ``japanese_vowels``.
    """
    sets = class_sets(MOTIONS, validate)
    return whole_task(MOTIONS, sets, goal=_GOAL[MOTIONS], noise=_NOISE[MOTIONS])


def int_japanese_vowels(seed: int = 0, validate: int = 0) -> IntTask:
    """The same for learning in integers."""
    return int_whole_task(VOWELS, class_sets(VOWELS, validate), goal=_GOAL[VOWELS])


def int_basic_motions(seed: int = 0, validate: int = 0) -> IntTask:
    """The same for learning in integers."""
    return int_whole_task(MOTIONS, class_sets(MOTIONS, validate), goal=_GOAL[MOTIONS])
