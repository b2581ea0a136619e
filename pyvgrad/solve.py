"""Train in float until the integers are right: the criterion is asked of the blob."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pyvgrad.blob import pack
from pyvgrad.calibrate import Exponents, Ranges, calibrate, input_exp
from pyvgrad.cells import Shape
from pyvgrad.defaults import Settings
from pyvgrad.intmodel import IntModel
from pyvgrad.model import Params
from pyvgrad.qat import Rounding
from pyvgrad.qmodel import QModel
from pyvgrad.quantize import quantize
from pyvgrad.refine import Refined, quantized, refine
from pyvgrad.scaling import Units, fold_outputs, input_scaling
from pyvgrad.signals import to_signals
from pyvgrad.tasks import Outputs, Sequences, Task
from pyvgrad.train import Progress, TrainResult, train_task

_REFINE = 1  # tells the exemplars of a fine-tuning from the training's


@dataclass(frozen=True)
class Solution:
    """A float training, and the integers it was stopped for.

    ``refined`` says what quantization-aware training made of it, None without;
    ``right`` {set: (items right, of how many)} where the task has a goal below 1.
    """

    result: TrainResult
    model: QModel
    blob: bytes
    refined: Refined | None = None
    right: dict[str, tuple[int, int]] | None = None


def calibration(task: Task) -> Sequences:
    """The sequences that set exponents: the task's own, or its first set."""
    return task.calibrate or next(iter(task.checks.values()))


def integers(
    task: Task,
    shape: Shape,
    params: Params,
    weight_bits: int,
    ranges: Ranges | None = None,
) -> QModel:
    """Quantize with the task's own sequences as calibration."""
    ranges = Ranges() if ranges is None else ranges
    return quantize(
        shape,
        params,
        weight_bits=weight_bits,
        exponents=exponents(task, shape, params, ranges),
        weights=ranges.of_weights,
    )


def exponents(task: Task, shape: Shape, params: Params, ranges: Ranges) -> Exponents:
    """What the task's own sequences choose."""
    data = calibration(task)
    return calibrate(shape, params, data.x, data.lengths, ranges)


def in_units(
    solution: Solution, task: Task, shape: Shape, ranges: Ranges, units: Units
) -> Solution:
    """The solution whose blob takes and gives values in the user's units.

    The readout that was trained on normalised targets is folded and quantized anew.
    """
    result, model = solution.result, solution.model
    if units.y is not None:
        folded = fold_outputs(shape, result.params, *units.y)
        result = replace(result, params=folded)
        model = integers(task, shape, folded, model.weight_bits, ranges)
    scaling, count_exp = input_scaling(*units.x, x_exp=model.x_exp)
    model = replace(model, scaling=scaling, count_exp=count_exp)
    return replace(solution, result=result, model=model, blob=pack(model))


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
    ranges: Ranges | None = None,
    qat: bool = False,
    progress: Progress | None = None,
) -> Solution:
    """Train until the quantized model meets the task's criterion, or to the limit.

    ``ranges`` says how exponents are chosen.  With ``qat`` the model is then trained on
    for its integers (refine.refine), and kept where that lowers their loss and does not
    lose the criterion; by the loss alone where the task has a goal below 1, when the
    training goes on to its limit, too.  ``result.success`` says whether it is met.
    ValueError where the shape does not fit the task or the weights have grown beyond
    the integers.
    """
    if weight_bits not in (8, 16):
        raise ValueError(f"weights have 8 or 16 bits, not {weight_bits}")
    ranges = Ranges() if ranges is None else ranges
    if qat and ranges.of_weights == "percentile":
        raise ValueError("training for integers takes weights by minmax or mse")
    input_exp(calibration(task).x)  # refuses inputs that do not fit before the work

    def right(params: Params) -> bool:
        model = integers(task, shape, params, weight_bits, ranges)
        return task.solved(integer_outputs(model))

    def stop(params: Params, sequences: int, loss: float) -> bool:
        return task.goal == 1.0 and right(params)

    result = train_task(task, shape, settings, seed, stop=stop, progress=progress)
    if not np.isfinite(result.losses[-1]):
        raise ValueError(
            f"the loss of {task.name} is not finite after {result.sequences} "
            "sequences; take a smaller rate or clip"
        )
    model = integers(task, shape, result.params, weight_bits, ranges)
    refined = None
    if qat:
        result, model, refined = _refined(
            task, shape, result, model, settings, seed, ranges, progress
        )
    if task.goal == 1.0:
        return Solution(result, model, pack(model), refined)
    counted = task.right(integer_outputs(model))
    success = all(n >= task.goal * of for n, of in counted.values())
    result = replace(result, success=success)
    return Solution(result, model, pack(model), refined, counted)


def _refined(
    task: Task,
    shape: Shape,
    result: TrainResult,
    model: QModel,
    settings: Settings,
    seed: int,
    ranges: Ranges,
    progress: Progress | None,
) -> tuple[TrainResult, QModel, Refined]:
    """What quantization-aware training makes of a training and its integers."""
    chosen = exponents(task, shape, result.params, ranges)
    rounding = Rounding(model.weight_bits, chosen, ranges.of_weights)
    refined = refine(
        shape,
        result.params,
        task.draw,
        settings,
        np.random.default_rng([seed, _REFINE]),
        rounding=rounding,
        data=calibration(task),
        progress=progress,
    )
    tried = quantized(shape, refined.params, rounding)
    if task.goal < 1.0:
        return replace(result, params=refined.params), tried, refined
    success = task.solved(integer_outputs(tried))
    if success or not result.success:
        result = replace(result, params=refined.params, success=success)
        model = tried
    return result, model, refined
