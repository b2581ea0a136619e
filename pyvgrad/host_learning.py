"""The ways to train a model on this machine that are timed (host_times.py).

``core``: sequences of 16 steps, each with its updates, in one call of the C core;
``batch``: HostTrainer.batch; ``single``: teach and end of each; ``plain_c``: an LSTM in
float, ``plain_c_fast``: the same with -ffast-math; ``torch``: autograd, sequence by
sequence; ``jax``: all in one compiled call.  All learn the same from the same weights:
the settings are those of icount.bench_training.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad import plain_c
from pyvgrad.blob import parse
from pyvgrad.dequantize import dequantize
from pyvgrad.errors import VgradError
from pyvgrad.host_running import Way, lstm_of
from pyvgrad.icount import SEQUENCE, bench_learn, bench_lessons
from pyvgrad.learning import Learn
from pyvgrad.native_train import HostTrainer
from pyvgrad.qmodel import QModel
from pyvgrad.signals import Signals

SEQUENCES = 64  # a call
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LearningWay(Way):
    """``run`` learns from all sequences; ``params`` gives the weights by then."""

    params: Callable[[], Any]  # as dequantize has them


@dataclass(frozen=True)
class _Lessons:
    """The sequences in float: x (N, T, n_in) and what y shall be, (N, T, n_out)."""

    x: Floats
    target: Floats
    rate: float
    clip: float


def learning_ways(
    blob: bytes, model: QModel, method: str, sequences: int = SEQUENCES
) -> list[LearningWay]:
    """Every way to learn from seeded sequences: first the core's, then the others'.

    Others have backpropagation alone.  ValueError for a model that does not learn by
    ``method``.
    """
    learn = bench_learn(model.shape, method)
    x, target = bench_lessons(model.shape, sequences)
    ways = [
        _core(blob, learn, x, target),
        _batch(blob, learn, x, target),
        _single(blob, learn, x, target),
    ]
    if method == "rtrl97":
        return ways
    start = parse(HostTrainer(blob, learn).blob())  # rounded as a training has it
    if model.shape.output == "softmax":
        wanted = np.eye(model.shape.n_out)[target]
    else:
        wanted = target / (1 << model.y_exp)
    lessons = _Lessons(
        (x / (1 << model.x_exp)).astype(np.float32),
        wanted.astype(np.float32),
        learn.rate_q24 / 2.0**24,
        learn.clip_q16 / 2.0**16,
    )
    lstm = lstm_of(start)
    floats = [] if lstm is None else _lstm_ways(*lstm, lessons)
    return ways + floats + _jax_ways(start, learn.loss, lessons)


def _steps(x: NDArray[Any]) -> int:
    return len(x) * SEQUENCE


# ---- the core ------------------------------------------------------------


def _params(trainer: HostTrainer) -> Any:
    return dequantize(parse(trainer.blob()))


def _core(blob: bytes, learn: Learn, x: Signals, target: Signals) -> LearningWay:
    trainer = HostTrainer(blob, learn)
    call = trainer.prepared(x, target)
    return LearningWay("core", call, _steps(x), partial(_params, trainer))


def _batch(blob: bytes, learn: Learn, x: Signals, target: Signals) -> LearningWay:
    trainer = HostTrainer(blob, learn)
    call = partial(trainer.batch, x, target)
    return LearningWay("batch", call, _steps(x), partial(_params, trainer))


def _single(blob: bytes, learn: Learn, x: Signals, target: Signals) -> LearningWay:
    trainer = HostTrainer(blob, learn)

    def call() -> None:
        for lesson, aim in zip(x, target, strict=True):
            trainer.teach(lesson, aim)
            trainer.end()

    return LearningWay("single", call, _steps(x), partial(_params, trainer))


# ---- others --------------------------------------------------------------


def _lstm_params(w: Floats, b: Floats) -> Any:
    """The reverse of lstm_of."""
    n = len(b) // 4
    parts = {"W": w[:-n].T, "U": w[-n:].T, "b": b}
    layer = {
        part: dict(zip("ifgo", np.split(array, 4), strict=True))
        for part, array in parts.items()
    }
    return {"layers": [layer]}


def _lstm_ways(w: Floats, b: Floats, lessons: _Lessons) -> list[LearningWay]:
    ways = []
    if plain_c.available():
        for name, fast in (("plain_c", False), ("plain_c_fast", True)):
            ways.append(_plain_way(name, w, b, lessons, fast))
    if importlib.util.find_spec("torch") is not None:
        ways.append(_torch_way(w, b, lessons))
    return ways


def _plain_way(
    name: str, w: Floats, b: Floats, lessons: _Lessons, fast: bool
) -> LearningWay:
    rates = SEQUENCE, lessons.rate, lessons.clip
    learner = plain_c.PlainLearner(w, b, *rates, fast=fast)
    return LearningWay(
        name,
        partial(learner.learn, lessons.x, lessons.target),
        _steps(lessons.x),
        lambda: _lstm_params(*learner.weights),
    )


def _torch_way(w: Floats, b: Floats, lessons: _Lessons) -> LearningWay:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    n, n_in = len(b) // 4, lessons.x.shape[-1]
    lstm = torch.nn.LSTM(n_in, n, batch_first=True)
    learnt = [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0]
    lstm.bias_hh_l0.requires_grad_(False)  # the other bias again
    with torch.no_grad():
        for to, part in zip(learnt, (w[:n_in].T, w[n_in:].T, b), strict=True):
            to.copy_(torch.tensor(part))
        lstm.bias_hh_l0.zero_()
    rule = torch.optim.SGD(learnt, lr=lessons.rate)
    pairs = list(
        zip(
            torch.tensor(lessons.x).split(1),
            torch.tensor(lessons.target).split(1),
            strict=True,
        )
    )

    def call() -> None:
        for x, target in pairs:
            rule.zero_grad()
            loss = 0.5 * ((lstm(x)[0] - target) ** 2).sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learnt, lessons.clip)
            rule.step()

    def params() -> Any:
        w_x, w_h, bias = (one.detach().numpy() for one in learnt)
        return _lstm_params(np.hstack([w_x, w_h]).T, bias)

    return LearningWay("torch", call, _steps(lessons.x), params)


def _jax_ways(start: QModel, loss: str, lessons: _Lessons) -> list[LearningWay]:
    """None where JAX is not installed, nor of a model whose initial state is given."""
    try:
        from pyvgrad.defaults import Settings
        from pyvgrad.train import make_update
    except (ImportError, VgradError):
        return []
    if any(q.r0 is not None for q in start.layers):
        return []  # which JAX would learn, too
    settings = Settings(lessons.rate, loss=loss, clip=lessons.clip)
    rule, chunk = make_update(start.shape, settings)
    params = dequantize(start)
    kept = [params, rule.init(params)]
    x, target = lessons.x[:, np.newaxis], lessons.target[:, np.newaxis]
    known = np.ones(x.shape[:3], bool)

    def call() -> Any:
        *kept[:], losses = chunk(*kept, x, target, known)
        return np.asarray(losses)  # which waits for them

    return [LearningWay("jax", call, _steps(lessons.x), lambda: kept[0])]
