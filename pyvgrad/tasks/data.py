"""A task from a user's own arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.tasks.lesson import IntTask, Lesson, ask_set, class_wins
from pyvgrad.tasks.lesson import classes_win as int_classes_win
from pyvgrad.tasks.lesson import within as int_within
from pyvgrad.tasks.task import Bools, Floats, Ints, Outputs, Sequences, Task

MAX_OUTPUTS = 32767  # of a readout
LARGEST = 32767.0  # of a linear output in integers, on exponent 0


def classes_win(sequences: Sequences, outputs: Outputs) -> Bools:
    """Whether the target class has the largest logit at every step with one, (N,).

    A tie fails, and so does a NaN.
    """
    logits = outputs.logits.astype(np.float64)  # exact for int16
    target = sequences.y > 0.5
    best = np.where(target, -np.inf, logits).max(axis=-1)
    mine = np.where(target, logits, np.inf).min(axis=-1)
    right: Bools = ((mine > best) | ~sequences.mask).all(axis=-1)
    return right


def within(tolerance: float) -> Any:
    """A criterion: every output is nearer than ``tolerance`` to its target."""

    def near(sequences: Sequences, outputs: Outputs) -> Bools:
        scale = 1.0 if outputs.y_exp is None else 2.0**-outputs.y_exp
        error = np.abs(outputs.y * scale - sequences.y).max(axis=-1)
        right: Bools = ((error < tolerance) | ~sequences.mask).all(axis=-1)
        return right

    return near


def from_arrays(
    x: Floats, lengths: Ints, y: NDArray[Any], tolerance: float = 0.25
) -> tuple[Task, str]:
    """A task and its mode from x (N, T, n_in), lengths (N,) and targets y.

    ``y`` are integer classes, (N,) at the sequence's end (mode ``last``) or (N, T) a
    step, or values (N, T, n_out).  The same sequences are learnt from and tested on.
    ValueError for targets of another shape or kind, for classes out of range, NaN.
    """
    valid = np.arange(x.shape[1]) < lengths[:, None]
    last = y.ndim == 1
    if y.dtype.kind in "iu" and y.shape in (x.shape[:1], x.shape[:2]):
        steps = np.broadcast_to(y[:, None], x.shape[:2]) if last else y
        if steps[valid].min() < 0:
            raise ValueError("y has negative classes; they count from 0")
        n_out = int(steps[valid].max()) + 1
        if n_out > MAX_OUTPUTS:
            raise ValueError(
                f"y has class {n_out - 1}; classes count from 0 to {MAX_OUTPUTS - 1}"
            )
        targets = (steps[..., None] == np.arange(n_out)).astype(np.float64)
        output, criterion = "softmax", classes_win
    elif y.dtype.kind == "f" and y.ndim == 3 and y.shape[:2] == x.shape[:2]:
        if not (np.abs(y[valid]) <= LARGEST).all():
            raise ValueError(
                f"y holds NaN or a value beyond {LARGEST:g}; remove it or scale y"
            )
        targets = np.where(valid[..., None], y, 0.0)
        output, criterion = "linear", within(tolerance)
    else:
        raise ValueError(
            f"y is {y.dtype} {y.shape}; it must be integer classes {x.shape[:1]} or "
            f"{x.shape[:2]}, or float values ({x.shape[0]}, {x.shape[1]}, n_out)"
        )
    end = np.arange(x.shape[1]) == lengths[:, None] - 1
    mask = end if last else valid
    no_symbols = np.full((len(x), x.shape[1] + 1), -1)
    inputs = np.where(valid[..., None], x, 0.0)
    every = Sequences(inputs, targets, lengths, mask, no_symbols)

    def draw(rng: np.random.Generator, n: int) -> Sequences:
        return every.take(rng.integers(len(every), size=n))

    sizes = x.shape[2], targets.shape[2]
    task = Task("data", *sizes, output, draw, {"all": every}, criterion)
    return task, "last" if last else "sequence"


def int_from_arrays(
    x: Floats,
    lengths: Ints,
    y: NDArray[Any],
    n_out: int | None = None,
    tolerance: float = 0.25,
) -> IntTask:
    """The same for learning in integers; ``n_out`` outputs, None for the fewest.

    ValueError as ``from_arrays``, and for classes beyond n_out.
    """
    task, mode = from_arrays(x, lengths, y, tolerance)
    outputs = task.n_out if n_out is None else n_out
    classes, last = y.dtype.kind in "iu", mode == "last"
    if classes and task.n_out > outputs:
        raise ValueError(f"y has class {task.n_out - 1}, the model {outputs} outputs")
    lessons = [
        Lesson.at_end(x[k, :n], y[k]) if last else Lesson(x[k, :n], y[k, :n])
        for k, n in enumerate(lengths)
    ]
    right = int_within(tolerance, last=False)
    if classes:
        right = class_wins if last else int_classes_win
    ask = ask_set(lessons, right)
    return IntTask(
        "data",
        task.n_in,
        outputs if classes else task.n_out,
        lambda rng: lessons[rng.integers(len(lessons))],
        lambda asked, _: ask(asked),
        steps=int(lengths.max()),
        symbols=False,
        mode=mode,
    )
