"""What is asked of a model of measured data, in float and in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Shape
from pyvgrad.model import Params, forward
from pyvgrad.native_run import HostRunner
from pyvgrad.tasks import Outputs, Sequences, Task
from pyvgrad.tasks.chorales import ARGUMENT, step_nats
from pyvgrad.tasks.task import Bools, Floats


@dataclass(frozen=True)
class Score:
    """What a model answers on a test set.

    ``accuracy``: the share of items that are right; of notes, those that are on both in
    the answer and in truth, of those that are on in either (Bay et al. 2009).  ``nats``
    a step, of notes, else None.  ``same``: the share of items that are decided as the
    float model decides: the class with the largest logit, and of notes on or off.
    """

    accuracy: float
    nats: float | None
    same: float


def float_logits(shape: Shape, params: Params, test: Sequences) -> Floats:
    """Logits (N, T, n_out) of the float model."""
    return np.asarray(forward(shape, params, test.x).logits, np.float64)


def host_logits(blob: bytes, test: Sequences) -> NDArray[np.int16]:
    """Raw logits (N, T, n_out) of the C core on the host, zeros behind the ends."""
    return HostRunner(blob).batch(test.x, test.lengths, logits=True)


def score(
    task: Task, test: Sequences, logits: NDArray[Any], reference: Floats
) -> Score:
    """Judge logits, raw or float, next to the float model's (both (N, T, n_out))."""
    decided, as_float = decisions(task, logits), decisions(task, reference)
    same = float((decided == as_float)[test.mask].mean())
    if task.output != "logistic":
        right = task.correct(test, Outputs(logits, logits))
        return Score(float(right.mean()), None, same)
    on, true = decided[test.mask], test.y[test.mask] > 0.5
    accuracy = np.count_nonzero(on & true) / np.count_nonzero(on | true)
    scale = 1.0 if logits.dtype.kind == "f" else ARGUMENT
    nats = step_nats(logits / scale, test.y)[test.mask].mean()
    return Score(float(accuracy), float(nats), same)


def decisions(task: Task, logits: NDArray[Any]) -> NDArray[np.int64] | Bools:
    """Classes (N, T), or which notes are on (N, T, notes)."""
    if task.output == "logistic":
        return np.asarray(logits > 0)
    return np.asarray(logits.argmax(axis=-1))
