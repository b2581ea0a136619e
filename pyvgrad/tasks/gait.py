"""Walking as a stream: a decision at every step, and a state that is never reset.

The recording is S06R02E0 of Daphnet (Bachlin et al. 2010), 110 s at 64 Hz from three
accelerometers.  The excerpt that aeon ships has no episode of freezing (its labels are
all 0), so that freezing cannot be learnt from it.  What is asked instead is measured by
a sensor that the model does not see: whether the foot is in motion, by the ankle's
accelerometer, from those of thigh and trunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from pyvgrad.tasks.lesson import IntTask, Lesson
from pyvgrad.tasks.packaged import read
from pyvgrad.tasks.recordings import ask_share, known_right, steps_right
from pyvgrad.tasks.task import Bools, Floats, Ints, Sequences, Task
from pyvgrad.tasks.ts import read_table

RATE = 64  # samples a second
NAME = "daphnet"
_SECONDS = 70  # to learn from; what follows is the test
_VALIDATED = 20  # of these, with ``validate``
_WINDOW, _WARM = 256, 32  # steps of a lesson, and how many of them are not asked
_MOTION_STEPS, _MOTION = 8, 0.5  # 1/8 s; in g
_NOISE = 0.1  # in g, added to what is learnt from in float
_GOAL = 0.8
_AXES = ("horiz_fwd", "vert", "horiz_lateral")
_COLUMNS = tuple(
    f"{place}_{axis}" for place in ("ankle", "leg", "trunk") for axis in _AXES
)


@dataclass(frozen=True)
class Stream:
    """x (T, 6) in g, thigh and trunk; classes (T,); which steps are learnt, asked."""

    x: Floats
    y: Ints
    learnt: int
    asked: Bools

    def window(self, start: int) -> Lesson:
        """A lesson from this step on; its first steps have no target."""
        part = slice(start, start + _WINDOW)
        known = np.arange(_WINDOW) >= _WARM
        return Lesson(self.x[part], self.y[part], known)


@cache
def _read() -> Floats:
    file = "S06R02E0.csv"
    data = read("aeon", "datasets", "data", "Daphnet_S06R02E0", file)
    return read_table(data, file, _COLUMNS) / 1000.0  # mg to g


def in_motion(ankle: Floats) -> Ints:
    """1 where the ankle's acceleration (T, 3), in g, was far from 1 g a moment ago.

    By more than half a g in the last eighth of a second; 0 elsewhere.
    """
    away = np.abs(np.linalg.norm(ankle, axis=1) - 1.0) > _MOTION
    seen = np.convolve(away, np.ones(_MOTION_STEPS, np.int64))[: len(away)]
    return (seen > 0).astype(np.int64)


def stream(validate: int = 0) -> Stream:
    """The recording; with ``validate`` 1 the test's part is not there."""
    data = _read()
    learnt = _SECONDS * RATE
    if validate:
        data, learnt = data[:learnt], learnt - _VALIDATED * RATE
    asked = np.arange(len(data)) >= learnt
    return Stream(data[:, 3:], in_motion(data[:, :3]), learnt, asked)


def daphnet(seed: int = 0, validate: int = 0) -> Task:
    """Whether the foot is in motion, at each of 64 steps a second.

    The first 70 s are learnt from, in windows of 4 s; then the whole recording is run
    once and the last 40 s are asked.  ``seed`` draws nothing; with ``validate`` 1 the
    first 50 s are learnt from and the next 20 s asked.
    """
    s = stream(validate)

    def draw(rng: np.random.Generator, n: int) -> Sequences:
        starts = rng.integers(s.learnt - _WINDOW, size=n)
        windows = _sequences([s.window(int(k)) for k in starts])
        noise = _NOISE * rng.standard_normal(windows.x.shape)
        return replace(windows, x=windows.x + noise)

    whole = Lesson(s.x, s.y, s.asked)
    return Task(
        NAME,
        s.x.shape[1],
        2,
        "softmax",
        draw,
        {"test": _sequences([whole])},
        steps_right,
        goal=_GOAL,
        calibrate=_sequences([Lesson(s.x[: s.learnt], s.y[: s.learnt])]),
    )


def int_daphnet(seed: int = 0, validate: int = 0) -> IntTask:
    """The same for learning in integers."""
    s = stream(validate)
    whole = Lesson(s.x, s.y, s.asked)
    return IntTask(
        NAME,
        s.x.shape[1],
        2,
        lambda rng: s.window(int(rng.integers(s.learnt - _WINDOW))),
        ask_share([whole], known_right, _GOAL),
        steps=_WINDOW,
        symbols=False,
        largest=float(np.abs(s.x[: s.learnt]).max()),
    )


def _sequences(lessons: list[Lesson]) -> Sequences:
    """Lessons of equal lengths."""
    x = np.stack([lesson.x for lesson in lessons])
    classes = np.stack([lesson.target for lesson in lessons])
    mask = np.stack(
        [np.ones(len(k), bool) if k.known is None else k.known for k in lessons]
    )
    n, steps = classes.shape
    y = (classes[..., None] == np.arange(2)).astype(np.float64)
    lengths = np.full(n, steps)
    return Sequences(x, y, lengths, mask, np.full((n, steps + 1), -1))
