"""Learning in integers: a task, from random weights, over seeds.

A seed draws the task's sets, the weights, the lessons and the tests, each from a stream
of its own, so that a result depends on nothing else: not on the number of processes,
and not on where a training was interrupted and resumed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import crc, parse
from pyvgrad.files import Dataset
from pyvgrad.fixed import half_up
from pyvgrad.learning import Counters, Learn, Trainer
from pyvgrad.native_run import HostRunner
from pyvgrad.native_train import HostTrainer
from pyvgrad.qmodel import QModel
from pyvgrad.recipes import IntRecipe
from pyvgrad.signals import to_signals
from pyvgrad.tasks import INT_TASKS, IntTask, Lesson, make_int_task
from pyvgrad.tasks.data import int_from_arrays

_LESSONS, _TESTS = 1, 2  # streams of random numbers of a seed; 0 are its weights
_LOSS_EVERY = 10  # lessons between two of which the loss is read at every step


@dataclass(frozen=True)
class Point:
    """One test: where it was made and what it found.

    ``loss`` is the mean over the steps of a tenth of the lessons since the test before,
    ``clipped`` the share of their updates that were; ``right`` of the ``asked``
    sequences, before it stopped.
    """

    sequences: int
    loss: float
    clipped: float
    right: int
    asked: int


Progress = Callable[[int, Point], None]
Start = Callable[[bytes, Learn | None], Trainer]


@dataclass(frozen=True)
class Job:
    """What to learn: a task by name or ``data``, a recipe, and where.

    ``blob`` is where to start, None for random weights.  ``resume``: it is a checkpoint
    whose training goes on with its own settings.  ``checkpoint``: the results have one.
    """

    recipe: IntRecipe
    task: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    data: Dataset | None = None
    on: str = "host"
    blob: bytes | None = None
    resume: bool = False
    checkpoint: bool = False

    def make_task(self, seed: int) -> IntTask:
        """The task with the sets of this seed.  ValueError for an unknown option."""
        if self.data is not None:
            d = self.data
            if d.y is None:
                raise ValueError("the data have no array y to learn")
            n_out = None if self.blob is None else parse(self.blob).shape.n_out
            return int_from_arrays(d.x, d.lengths, d.y, n_out)
        assert self.task is not None
        _check_options(self.task, self.options)
        return make_int_task(self.task, seed=seed, **self.options)


def _check_options(task: str, options: dict[str, Any]) -> None:
    """ValueError for an option that this task lacks; a seed is the caller's."""
    if "seed" in options:
        raise ValueError("seed is no option of a task; take --first-seed")
    if task not in INT_TASKS:
        return  # make_int_task says which there are
    known = [k for k in inspect.signature(INT_TASKS[task]).parameters if k != "seed"]
    for option in options:
        if option not in known:
            raise ValueError(
                f"task {task} has no option {option!r}; it has {', '.join(known)}"
            )


@dataclass(frozen=True)
class Result:
    """What came of one seed.

    ``sequences`` were learnt when the test said yes, or in all.  ``sequences_at_end``:
    the same if only last steps counted, None if never or where that is no question.
    """

    seed: int
    learn: Learn
    sequences: int
    success: bool
    sequences_at_end: int | None
    weights: int
    arena_bytes: int | None
    blob: bytes
    checkpoint: bytes | None
    counters: Counters
    curve: tuple[Point, ...]


class Encoder:
    """Lessons as the trainer of one model takes them."""

    def __init__(self, model: QModel) -> None:
        self._model = model
        self._softmax = model.shape.output == "softmax"
        one = 1 << model.y_exp
        self._one_hot = (
            None
            if self._softmax
            else (np.eye(model.shape.n_out) * min(one, 32767)).astype(np.int16)
        )

    def signals(self, lesson: Lesson) -> NDArray[Any]:
        """Symbols, or values (T, n_in) as int16 signals."""
        if lesson.x.ndim == 1:
            return lesson.x
        return to_signals(self._model, lesson.x)[0]

    def targets(self, lesson: Lesson) -> NDArray[np.int16]:
        """Classes (T,) for a softmax, else (T, n_out) on y_exp."""
        target = lesson.target
        if target.ndim == 2:
            raw = half_up(np.ldexp(target, self._model.y_exp))
            return np.clip(raw, -32768, 32767).astype(np.int16)
        if self._one_hot is None:
            return target.astype(np.int16)
        rows: NDArray[np.int16] = self._one_hot[target]
        return rows


class Teacher:
    """A trainer that takes lessons, and what its trainings cost meanwhile."""

    def __init__(self, trainer: Trainer, model: QModel) -> None:
        self.trainer = trainer
        self._encode = Encoder(model)
        self._losses: list[float] = []
        self._before = trainer.counters

    def teach(self, lesson: Lesson, *, look: bool = False) -> None:
        """Take a lesson; ``look``: read the loss of its steps, which changes no bit."""
        x, target = self._encode.signals(lesson), self._encode.targets(lesson)
        known = lesson.known
        at_end = known is not None and not known[:-1].any()
        if look and isinstance(self.trainer, HostTrainer) and not at_end:
            for k in range(len(x)):
                one = slice(k, k + 1)
                here = known is None or bool(known[k])
                self.trainer.teach(x[one], target[one], None if here else [False])
                if here:
                    self._losses.append(self.trainer.loss_q16 / 65536)
        else:
            self.trainer.teach(x, target, known)
            if look:
                self._losses.append(self.trainer.counters.loss_q16 / 65536)
        self.trainer.end()

    def since(self) -> tuple[float, float]:
        """(mean loss, share of updates clipped) since the last call."""
        now, before = self.trainer.counters, self._before
        updates = (now.updates - before.updates) % 2**32
        clipped = (now.clipped - before.clipped) % 2**32
        loss = mean(self._losses) if self._losses else 0.0
        self._losses, self._before = [], now
        return loss, clipped / updates if updates else 0.0


def open_trainer(
    blob: bytes,
    learn: Learn | None,
    recipe: IntRecipe,
    on: str = "host",
    start: Start | None = None,
) -> Trainer:
    """A trainer with the recipe's factors; those of a checkpoint are its own.

    ``start`` makes another trainer than that of ``on``.
    """
    trainer: Trainer
    if start is not None:
        trainer = start(blob, learn)
    elif on == "host":
        trainer = HostTrainer(blob, learn)
    else:
        from pyvgrad.device_train import DeviceTrainer

        trainer = DeviceTrainer(blob, learn, on=on)
    if learn is not None:
        try:
            for factor in recipe.raw_factors(parse(blob).shape):
                trainer.rate(*factor)
        except ValueError:
            trainer.close()
            raise
    return trainer


def learn_one(
    job: Job,
    seed: int,
    progress: Progress | None = None,
    start: Start | None = None,
) -> Result:
    """Learn until the task's test says yes, or to the recipe's limit.

    The test is asked after every ``recipe.every`` sequences, of the blob, with the
    weights as they are then.  ``start`` makes another trainer than that of ``job.on``.
    ValueError where model, task and settings do not fit.
    """
    task, recipe = job.make_task(seed), job.recipe
    blob = job.blob if job.blob is not None else recipe.start(task, seed)
    model = parse(blob)
    _check_sizes(task, model)
    learn = None if job.resume else recipe.learn(task)
    with open_trainer(blob, learn, recipe, job.on, start) as trainer:
        teacher = Teacher(trainer, model)
        seen = trainer.counters.sequences
        if job.resume and seen >= recipe.limit:
            raise ValueError(
                f"the checkpoint has learnt {seen} sequences, the limit is "
                f"{recipe.limit}; take a larger --limit"
            )
        curve: list[Point] = []
        success, at_end = False, None
        while seen < recipe.limit and not success:
            upto = min(seen - seen % recipe.every + recipe.every, recipe.limit)
            _block(task, teacher, seed, (seen, upto), recipe.every)
            seen = upto
            test_rng = np.random.default_rng([seed, _TESTS, seen])
            verdict = task.test(HostRunner(trainer.blob()), test_rng)
            success = verdict.success
            if verdict.at_end and at_end is None:
                at_end = seen
            point = Point(seen, *teacher.since(), verdict.right, verdict.asked)
            curve.append(point)
            if progress is not None:
                progress(seed, point)
        return Result(
            seed,
            trainer.learn,
            seen,
            success,
            at_end,
            model.shape.n_weights,
            trainer.arena_bytes,
            trainer.blob(),
            trainer.checkpoint() if job.checkpoint else None,
            trainer.counters,
            tuple(curve),
        )


def _check_sizes(task: IntTask, model: QModel) -> None:
    n_in, n_out = model.shape.n_in, model.shape.n_out
    if (n_in, n_out) != (task.n_in, task.n_out):
        raise ValueError(
            f"task {task.name} has {task.n_in} inputs and {task.n_out} outputs, "
            f"the model {n_in} and {n_out}"
        )


def _block(
    task: IntTask, teacher: Teacher, seed: int, span: tuple[int, int], every: int
) -> None:
    """Teach lessons span[0] .. span[1] - 1, all of one block of ``every`` lessons.

    A block has random numbers of its own, so that a training can begin at any.
    """
    first, end = span
    block = first // every
    rng = np.random.default_rng([seed, _LESSONS, block])
    for k in range(block * every, end):
        lesson = task.draw(rng)
        if k >= first:
            teacher.teach(lesson, look=k % _LOSS_EVERY == 0)


def summary(results: list[Result]) -> dict[str, Any]:
    """What the seeds have in common: the figures of ``learn --json``.

    Mean, median, min and max are over the seeds that learnt it; None without any.
    """
    done = [r.sequences for r in results if r.success]
    ends = [r.sequences_at_end for r in results if r.sequences_at_end is not None]
    return {
        "weights": results[0].weights,
        "seeds": len(results),
        "successes": len(done),
        "mean": mean(done) if done else None,
        "median": median(done) if done else None,
        "min": min(done, default=None),
        "max": max(done, default=None),
        "at_end": {"successes": len(ends), "mean": mean(ends)} if ends else None,
        "sequences": [r.sequences for r in results],
        "arena_bytes": results[0].arena_bytes,
        "blob_crc": [f"{crc(r.blob):08x}" for r in results],
    }
