"""The demo's other half: the embedded Reber grammar learnt in integers, on the boards.

From random weights by the RTRL of 1997, on the host and on three emulated cores, the
smallest of which has 16 KB of RAM.  The cores take symbols through the protocol and
hand back a blob every 100 sequences, which the host tests; at the end it must be the
host's own, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import crc
from pyvgrad.files import write_bytes
from pyvgrad.firmware import build, sizes
from pyvgrad.learn import Job, Point, Result, learn_one
from pyvgrad.learning import Learn, Trainer
from pyvgrad.native_run import HostRunner
from pyvgrad.native_train import HostTrainer
from pyvgrad.recipes import RECIPES
from pyvgrad.tasks.lesson import Lesson, legal_win
from pyvgrad.tasks.reber import EMBEDDED_REBER, draw_repeating_sets, lesson

TASK = "embedded-reber"
TITLE = "Embedded Reber grammar learnt in integers from random weights"
SEED = 0
BOARDS = ("m4", "m33", "m0")
STRINGS = 256  # in each of the two sets, for training and for testing


class Says(Protocol):
    """What the learning tells while it runs (progress.Reporter)."""

    def note(self, text: str) -> None:
        """Say one line."""

    def update(self, label: str, done: int, total: int, extra: str = "") -> None:
        """Say how far what ``label`` names is."""


@dataclass(frozen=True)
class Learner:
    """What came of it in one place.  ``flash``: of the C core with learning."""

    name: str
    result: Result
    equal: bool  # its final blob is the host's
    flash: int | None = None


@dataclass(frozen=True)
class Learning:
    """The learning everywhere; ``curve`` and ``right`` (points,) are of the host's run.

    Each point is the test after so many sequences, ``right`` the share of all strings
    that were right in it.
    """

    learners: list[Learner]  # the host first
    right: NDArray[np.float64]
    file: Path

    @property
    def host(self) -> Result:
        """The host's result, which the others must equal."""
        return self.learners[0].result

    @property
    def curve(self) -> tuple[Point, ...]:
        """The host's tests."""
        return self.host.curve

    @property
    def ok(self) -> bool:
        """Whether all learnt it and no byte differs."""
        return all(p.equal and p.result.success for p in self.learners)

    def as_dict(self) -> dict[str, Any]:
        """The field ``learning`` of ``demo --json``."""
        return {
            "task": TASK,
            "method": self.host.learn.method,
            "weights": self.host.weights,
            "seed": SEED,
            "blob_crc": f"{crc(self.host.blob):08x}",
            "on": {p.name: _as_dict(p) for p in self.learners},
        }


def _as_dict(p: Learner) -> dict[str, Any]:
    return {
        "success": p.result.success,
        "sequences": p.result.sequences,
        "arena_bytes": p.result.arena_bytes,
        "equal": p.equal,
    } | ({} if p.flash is None else {"flash": p.flash})


def learn_everywhere(folder: Path, says: Says, on: Iterable[str]) -> Learning:
    """Learn on the host and on those of BOARDS that are in ``on``, one by one.

    The blob goes to ``folder``.  DeviceError for a board that is not to be had.
    """
    job = Job(RECIPES[TASK], TASK)
    right, host = _on_host(job, says)
    file = folder / f"{TASK}.learnt.vg"
    write_bytes(file, host.blob)
    learners = [Learner("host", host, True)]
    asked = set(on)
    for name in BOARDS:
        if name in asked:
            learners.append(_on_board(job, name, host, says))
    return Learning(learners, np.array(right), file)


def _on_host(job: Job, says: Says) -> tuple[list[float], Result]:
    """The host's run, and the share of right strings at each of its tests."""
    trainers: list[HostTrainer] = []
    right: list[float] = []
    strings = asked_strings()

    def start(blob: bytes, learn: Learn | None) -> Trainer:
        trainers.append(HostTrainer(blob, learn))
        return trainers[0]

    def progress(seed: int, point: Point) -> None:
        asked = HostRunner(trainers[0].blob())
        right.append(float(np.mean(legal_win.of(asked, strings))))
        _say(says, "host", job.recipe.limit, point)

    result = learn_one(job, SEED, progress, start)
    n = f"{result.sequences:,} sequences"
    says.note(
        f"{TITLE}: right on every string after {n}"
        if result.success
        else f"{TITLE}: not learnt within {n}"
    )
    return right, result


def asked_strings() -> list[Lesson]:
    """All strings that the task's test asks, those for training first."""
    sets = draw_repeating_sets(EMBEDDED_REBER, STRINGS, STRINGS, SEED)
    return [lesson(EMBEDDED_REBER, string) for strings in sets for string in strings]


def _on_board(job: Job, name: str, host: Result, says: Says) -> Learner:
    """A board's run, which has as many sequences as the host needed."""
    recipe = replace(job.recipe, limit=host.sequences)

    def progress(seed: int, point: Point) -> None:
        _say(says, name, recipe.limit, point)

    result = learn_one(replace(job, on=name, recipe=recipe), SEED, progress)
    image = sizes(build(f"qemu_{name}"))
    flash = image["library_flash"] + image["learning_flash"]
    equal = result.blob == host.blob
    says.note(f"learnt on {name}: {'the same blob' if equal else 'ANOTHER BLOB'}")
    return Learner(name, result, equal, flash)


def _say(says: Says, name: str, limit: int, point: Point) -> None:
    extra = f"loss {point.loss:.4f}, {point.clipped:.0%} clipped"
    says.update(f"learning on {name}", point.sequences, limit, extra)
