"""Proof of agreement in learning: the same weights from every trainer.

The NumPy model of learning, written from the specification, is what the others are
held against.  A blob is trained by every method, rule and loss that are defined for it;
after every sequence all weights, exponents and counters are compared, and within the
last one the checkpoints, with tape and traces, of all builds of the C core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import parse
from pyvgrad.differences import Found, in_bytes, in_counters, in_weights
from pyvgrad.errors import RoomError
from pyvgrad.executors import CORES, is_port
from pyvgrad.fixed import ONE_Q14
from pyvgrad.intlearn import IntTrainer
from pyvgrad.intloss import check_pair
from pyvgrad.learning import LOSSES, METHODS, RULES, Learn, Trainer
from pyvgrad.native_train import HostTrainer
from pyvgrad.qmodel import Ints, QModel
from pyvgrad.signals import Signals

Start = Callable[[bytes, Learn, str], Trainer]
Progress = Callable[[str, int, int], None]
Lesson = tuple[Signals, Signals, NDArray[np.bool_]]  # x, target, known, as in teach

_RATES = {"sgd": 1 << 20, "momentum": 1 << 18, "rmsprop": 1 << 17}
_KNOWN = 0.8  # share of the steps that have a target


@dataclass(frozen=True)
class WeightDifference:
    """The first value that differs on an executor.

    ``tensor`` is named as in pyvgrad.tensors, ``layer1.i.E`` is the exponents of a
    gate; ``row`` and ``column`` count within it.  A ``counter clipped`` has neither, of
    ``blob`` or ``checkpoint`` the row is a byte.
    """

    executor: str
    method: str
    rule: str
    loss: str
    sequence: int
    tensor: str
    row: int | None
    column: int | None
    expected: int
    got: int

    def __str__(self) -> str:
        at = [str(k) for k in (self.row, self.column) if k is not None]
        where = f"{self.tensor}[{', '.join(at)}]" if at else self.tensor
        return (
            f"{self.executor}: {self.method} with {self.rule} and {self.loss}, after "
            f"sequence {self.sequence}, {where} is {self.got}, not {self.expected}"
        )


@dataclass(frozen=True)
class LearningAgreement:
    """Each of ``combinations`` trainings took ``steps`` steps on each executor.

    ``weights`` were compared after them.  ``differing`` counts weights, exponents,
    counters and bytes of the checkpoint that differ where a training first does; it is
    not followed further.  ``left_out`` {executor: trainings that its RAM does not
    hold}; one that holds none is not in ``differing``.
    """

    steps: int
    combinations: int
    weights: int
    differing: dict[str, int]
    first: WeightDifference | None
    left_out: dict[str, list[str]]

    @property
    def ok(self) -> bool:
        """Whether no bit differs."""
        return not any(self.differing.values())

    def as_dict(self) -> dict[str, object]:
        """The field ``learn`` of ``verify --learn --json``."""
        return asdict(self)


# ---- what is trained -----------------------------------------------------


def start_trainer(blob: bytes, learn: Learn, on: str) -> Trainer:
    """A trainer: numpy, host, a core, or the port of a board.

    RoomError where the board's RAM does not hold it.  Other errors as the trainers'.
    """
    if on == "numpy":
        return IntTrainer(blob, learn)
    if on == "host":
        return HostTrainer(blob, learn)
    if on in CORES or is_port(on):
        from pyvgrad.device_train import DeviceTrainer

        return DeviceTrainer(blob, learn, on)
    raise ValueError(f"{on} does not train; numpy, host, {', '.join(CORES)}, ports do")


def combinations(model: QModel) -> list[Learn]:
    """Settings of every method x rule x loss that is defined for the model.

    Every second one rounds stochastically, and its momentum is Nesterov's.
    """
    methods = METHODS if model.shape.rtrl97 else METHODS[:1]
    losses = [loss for loss in LOSSES if _fits(model.shape.output, loss)]
    names = [(m, r, e) for m in methods for e in losses for r in RULES]
    return [_settings(*name, second=bool(k % 2)) for k, name in enumerate(names)]


def _fits(output: str, loss: str) -> bool:
    try:
        check_pair(output, loss)
    except ValueError:
        return False
    return True


def _settings(method: str, rule: str, loss: str, *, second: bool) -> Learn:
    tape = method == "tbptt"
    return Learn(
        method,
        rule,
        loss,
        nesterov=second and rule == "momentum",
        k1=3 if tape else int(second),
        k2=6 if tape else 0,
        rate_q24=_RATES[rule],
        decay_q14=0 if rule == "sgd" else 14746,
        clip_q16=1 << 16,
        epsilon_q24=1 << 14 if rule == "rmsprop" else 0,
        seed=int(second),
    )


def named(learn: Learn) -> str:
    """A training in words: ``tbptt sgd mse``."""
    return f"{learn.method} {learn.rule} {learn.loss}"


def lessons_of(
    model: QModel, x: Signals, lengths: Ints, steps: int
) -> Iterator[Lesson]:
    """The sequences of x over and over, ``steps`` steps in all, with seeded targets.

    ``lengths`` are 1 at least.
    """
    k = 0
    while steps:
        n = k % len(x)
        end = min(int(lengths[n]), steps)
        rng = np.random.default_rng(k)
        yield x[n, :end], _targets(model, rng, end), rng.random(end) < _KNOWN
        steps, k = steps - end, k + 1


def _targets(model: QModel, rng: np.random.Generator, steps: int) -> Signals:
    """Classes (T,) for a softmax, else (T, n_out) on y_exp, linear ones within +-1."""
    n_out, output = model.shape.n_out, model.shape.output
    if output == "softmax":
        return rng.integers(n_out, size=steps).astype(np.int16)
    one = min(1 << model.y_exp, 32767)
    low, high = (-one, one) if output == "linear" else (0, ONE_Q14)
    return rng.integers(low, high + 1, (steps, n_out)).astype(np.int16)


# ---- the comparison ------------------------------------------------------


@dataclass
class _Count:
    """What was found on one executor so far."""

    executor: str
    differing: int = 0
    first: WeightDifference | None = None
    left_out: list[str] = field(default_factory=list)

    def add(self, learn: Learn, sequence: int, found: list[Found]) -> None:
        self.differing += len(found)
        if self.first is None:
            tensor, row, column, expected, got = found[0]
            self.first = WeightDifference(
                self.executor,
                learn.method,
                learn.rule,
                learn.loss,
                sequence,
                tensor,
                row,
                column,
                expected,
                got,
            )


class _Training:
    """One combination, on the reference and on all executors that hold it."""

    def __init__(self, learn: Learn, counts: Iterable[_Count]) -> None:
        self._learn = learn
        self._counts = {count.executor: count for count in counts}
        self._trainers: dict[str, Trainer] = {}

    def begin(self, blob: bytes, start: Start, stack: ExitStack) -> None:
        """Start all trainers, but for those whose board has too little RAM."""
        self._reference = stack.enter_context(IntTrainer(blob, self._learn))
        for name, count in self._counts.items():
            try:
                trainer = start(blob, self._learn, name)
            except RoomError:
                count.left_out.append(named(self._learn))
                continue
            self._trainers[name] = stack.enter_context(trainer)

    def teach(self, sequence: int, lesson: Lesson, *, last: bool) -> None:
        """One sequence on all, then compare; one that differs is not followed."""
        for trainer in (self._reference, *self._trainers.values()):
            trainer.teach(*lesson)
        hidden = self._hidden() if last else {}
        self._reference.end()
        blob, counters = self._reference.blob(), self._reference.counters
        for name, trainer in list(self._trainers.items()):
            trainer.end()
            found = in_weights(blob, trainer.blob())
            found += in_counters(counters, trainer.counters)
            found += hidden.get(name, [])
            if found:
                self._counts[name].add(self._learn, sequence, found)
                del self._trainers[name]

    def _hidden(self) -> dict[str, list[Found]]:
        """What differs in the checkpoints of those that write one, host's or the first.

        Within a sequence, so that tape and traces are in them.
        """
        images = {}
        for name, trainer in self._trainers.items():
            try:
                images[name] = trainer.checkpoint()
            except NotImplementedError:  # NumPy's
                continue
        expected = images.get("host", next(iter(images.values()), b""))
        return {k: in_bytes("checkpoint", expected, v) for k, v in images.items()}


def agree_learning(
    blob: bytes,
    x: Signals,
    lengths: Ints,
    steps: int,
    on: Iterable[str],
    *,
    start: Start = start_trainer,
    progress: Progress | None = None,
) -> LearningAgreement:
    """Train on x (N, T, n_in), raw int16, on each executor and compare all weights.

    ``lengths`` (N,); ``progress(training, done, of)`` counts sequences.  Raises what
    ``start`` raises, RoomError only if no executor holds any training.
    """
    model = parse(blob)
    counts = [_Count(name) for name in on]
    every = combinations(model)
    lessons = list(lessons_of(model, x, lengths, steps))
    for learn in every:
        training = _Training(learn, counts)
        with ExitStack() as stack:
            training.begin(blob, start, stack)
            for k, lesson in enumerate(lessons):
                training.teach(k, lesson, last=k == len(lessons) - 1)
                if progress is not None:
                    progress(named(learn), k + 1, len(lessons))
    compared = [count for count in counts if len(count.left_out) < len(every)]
    if not compared:
        names = ", ".join(count.executor for count in counts)
        raise RoomError(f"training this model needs more RAM than there is on {names}")
    return LearningAgreement(
        steps,
        len(every),
        len(every) * model.shape.n_weights,
        {count.executor: count.differing for count in compared},
        next((count.first for count in compared if count.first), None),
        {count.executor: count.left_out for count in counts if count.left_out},
    )


def learning_lines(found: LearningAgreement) -> list[str]:
    """The agreement in words."""
    said = [
        f"learning: {found.weights:,} weights after {found.combinations} trainings of "
        f"{found.steps:,} steps"
    ]
    said += [f"  {name:<6} {n:,} differ" for name, n in found.differing.items()]
    for name, trainings in found.left_out.items():
        which = ", ".join(trainings) if name in found.differing else "any training"
        said.append(f"  {name:<6} has too little RAM for {which}")
    if found.first is not None:
        said.append(f"first: {found.first}")
    return said
