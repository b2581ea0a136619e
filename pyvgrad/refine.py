"""Fine-tune a float model for its integers: quantization-aware training that is kept
only as far as it helps.
"""  # noqa: D205

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pyvgrad.cells import Shape
from pyvgrad.defaults import Settings
from pyvgrad.intmodel import IntModel
from pyvgrad.model import Params
from pyvgrad.qat import Rounding
from pyvgrad.qmodel import QModel
from pyvgrad.quantize import quantize
from pyvgrad.signals import to_signals
from pyvgrad.tasks.task import Sequences
from pyvgrad.train import Draw, Progress, train

RATES = (0.03, 0.01)  # of the float training's, one stage after the other
_CHUNKS = 20  # tests of the integers in a stage, at most


@dataclass(frozen=True)
class Refined:
    """The best of a fine-tuning, by the integers' loss on the calibration data.

    ``before`` is the loss of what the float training gave, ``after`` that of
    ``params``, never more.  ``sequences`` were seen.
    """

    params: Params
    before: float
    after: float
    sequences: int


def refine(
    shape: Shape,
    params: Params,
    draw: Draw,
    settings: Settings,
    rng: np.random.Generator,
    *,
    rounding: Rounding,
    data: Sequences,
    progress: Progress | None = None,
) -> Refined:
    """Train on the rounded model in stages of falling rates and keep the best params.

    Each stage sees a tenth of ``settings.limit`` sequences.  Trained weights hop over
    the edges of their grid to the end, so the last ones are not the best: after each
    chunk the integers are asked for their loss on ``data``.
    """

    def loss_of(now: Params) -> float:
        return integer_loss(quantized(shape, now, rounding), settings.loss, data)

    def loss_or_infinity(now: Params) -> float:
        try:
            return loss_of(now)
        except ValueError:  # they have grown beyond the integers
            return float("inf")

    before = loss_of(params)
    best, now, seen = (before, params), params, 0
    limit = max(settings.batch, settings.limit // 10)
    chunk = max(settings.batch, min(settings.chunk, limit), limit // _CHUNKS)

    def keep(tried: Params, sequences: int, loss: float) -> bool:
        nonlocal best
        best = min(best, (loss_or_infinity(tried), tried), key=lambda pair: pair[0])
        if progress is not None:
            progress(seen + sequences, best[0])
        return False

    for factor in RATES:
        slower = replace(
            settings, rate=factor * settings.rate, limit=limit, chunk=chunk
        )
        result = train(shape, now, draw, slower, rng, stop=keep, rounding=rounding)
        now, seen = result.params, seen + result.sequences
        if not np.isfinite(result.losses[-1]):
            break
    return Refined(best[1], before, best[0], seen)


def quantized(shape: Shape, params: Params, rounding: Rounding) -> QModel:
    """The integers that a rounding stands for."""
    return quantize(
        shape,
        params,
        weight_bits=rounding.weight_bits,
        exponents=rounding.exponents,
        weights=rounding.weights,
    )


def integer_loss(model: QModel, loss: str, data: Sequences) -> float:
    """The mean over sequences of the integers' loss, grad.step_loss summed over steps.

    The cross-entropy is that of the logits' values.  Infinity where it is not finite.
    """
    trace = IntModel(model).run(to_signals(model, data.x)[0], data.lengths)
    z, y = trace.logits / 2.0**model.logit_exp, trace.y / 2.0**model.y_exp
    target = np.where(data.mask[..., None], data.y, 0.0)
    if loss == "mse":
        each = 0.5 * np.sum((y - target) ** 2, axis=-1)
    elif model.shape.output == "softmax":
        top = z.max(axis=-1, keepdims=True)
        log_sum = top + np.log(np.exp(z - top).sum(axis=-1, keepdims=True))
        each = np.sum(target * (log_sum - z), axis=-1)
    else:
        each = np.sum(np.logaddexp(0.0, z) - target * z, axis=-1)
    value = float(np.sum(np.where(data.mask, each, 0.0)) / len(data))
    return value if np.isfinite(value) else float("inf")
