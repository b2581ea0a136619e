"""Train in float until the integers are right: the criterion is asked of the blob."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pyvgrad.blob import pack
from pyvgrad.calibrate import input_exp
from pyvgrad.cells import Shape
from pyvgrad.defaults import Settings
from pyvgrad.intmodel import IntModel
from pyvgrad.model import Params
from pyvgrad.qmodel import QModel
from pyvgrad.quantize import quantize
from pyvgrad.signals import to_signals
from pyvgrad.tasks import Outputs, Sequences, Task
from pyvgrad.train import Progress, TrainResult, train_task


@dataclass(frozen=True)
class Solution:
    """A float training, and the integers it was stopped for.

    ``right`` {set: (items right, of how many)} where the task has a goal below 1.
    """

    result: TrainResult
    model: QModel
    blob: bytes
    right: dict[str, tuple[int, int]] | None = None


def calibration(task: Task) -> Sequences:
    """The sequences that set exponents: the task's own, or its first set."""
    return task.calibrate or next(iter(task.checks.values()))


def integers(task: Task, shape: Shape, params: Params, weight_bits: int) -> QModel:
    """Quantize with the task's own sequences as calibration."""
    data = calibration(task)
    return quantize(
        shape,
        params,
        weight_bits=weight_bits,
        x_exp=input_exp(data.x),
        calibration=data.x,
        lengths=data.lengths,
    )


def integer_outputs(model: QModel) -> Callable[[Sequences], Outputs]:
    """What the NumPy integer model answers, as a task's criterion takes it."""
    runner = IntModel(model)

    def run(sequences: Sequences) -> Outputs:
        x, _ = to_signals(model, sequences.x)
        trace = runner.run(x, sequences.lengths)
        return Outputs(trace.logits, trace.y, model.y_exp)

    return run


def solve(
    task: Task,
    shape: Shape,
    settings: Settings,
    seed: int,
    *,
    weight_bits: int = 16,
    progress: Progress | None = None,
) -> Solution:
    """Train until the quantized model meets the task's criterion, or to the limit.

    Always to the limit where the task has a goal below 1.  ``result.success`` says
    whether the criterion is met.  ValueError where the shape does not fit the task or
    the weights have grown beyond the integers.
    """
    if weight_bits not in (8, 16):
        raise ValueError(f"weights have 8 or 16 bits, not {weight_bits}")
    input_exp(calibration(task).x)  # refuses inputs that do not fit before the work

    def stop(params: Params, sequences: int, loss: float) -> bool:
        if task.goal < 1.0:
            return False
        model = integers(task, shape, params, weight_bits)
        return task.solved(integer_outputs(model))

    result = train_task(task, shape, settings, seed, stop=stop, progress=progress)
    if not np.isfinite(result.losses[-1]):
        raise ValueError(
            f"the loss of {task.name} is not finite after {result.sequences} "
            "sequences; take a smaller rate or clip"
        )
    model = integers(task, shape, result.params, weight_bits)
    if task.goal == 1.0:
        return Solution(result, model, pack(model))
    right = task.right(integer_outputs(model))
    success = all(n >= task.goal * of for n, of in right.values())
    return Solution(replace(result, success=success), model, pack(model), right)
