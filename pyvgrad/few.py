"""Learning from a few sequences where the model runs: passes until all are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyvgrad.blob import parse
from pyvgrad.learn import Start, Teacher
from pyvgrad.learning import Learn
from pyvgrad.native_run import HostRunner
from pyvgrad.native_train import HostTrainer
from pyvgrad.tasks import Lesson
from pyvgrad.tasks.recordings import Recordings, last_right


@dataclass(frozen=True)
class Few:
    """How a few sequences are taught: in order, an update after each.

    ``passes`` at most; with ``until_right`` no more once all have their class at the
    last step.  ``readout_only``: layers stay as they are.  One recurrent layer.
    """

    rate: float
    passes: int
    clip: float = 1.0
    readout_only: bool = False
    until_right: bool = True

    def learn(self, steps: int) -> Learn:
        """As the core takes it, with a tape of this many steps."""
        return Learn(
            method="tbptt",
            loss="cross-entropy",
            k2=steps,
            frozen=int(self.readout_only),
            rate_q24=round(self.rate * 2**24),
            clip_q16=round(self.clip * 2**16),
        )


@dataclass(frozen=True)
class Taught:
    """What came of it: the blob, how many sequences were learnt from, bytes of RAM."""

    blob: bytes
    sequences: int
    steps: int
    arena_bytes: int | None


def teach(
    blob: bytes, lessons: list[Lesson], how: Few, start: Start = HostTrainer
) -> Taught:
    """Teach these sequences; ``start`` makes the trainer, the C core on the host's."""
    learn = how.learn(max(map(len, lessons)))
    with start(blob, learn) as trainer:
        teacher = Teacher(trainer, parse(blob))
        for _ in range(how.passes):
            for lesson in lessons:
                teacher.teach(lesson)
            if how.until_right and all_right(trainer.blob(), lessons):
                break
        counters = trainer.counters
        return Taught(
            trainer.blob(), counters.sequences, counters.steps, trainer.arena_bytes
        )


def all_right(blob: bytes, lessons: list[Lesson]) -> bool:
    """Whether every sequence has its class at the last step."""
    runner = HostRunner(blob)
    return all(last_right(runner, lesson)[0] for lesson in lessons)


def share_right(blob: bytes, asked: Recordings) -> float:
    """The share of sequences that have their class at the last step; NaN of none."""
    runner = HostRunner(blob)
    right = [last_right(runner, lesson)[0] for lesson in asked.lessons()]
    return float(np.mean(right)) if right else float("nan")
