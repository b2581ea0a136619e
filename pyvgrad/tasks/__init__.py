"""What is to be learnt, by name: in float (TASKS) and in integers (INT_TASKS)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pyvgrad.tasks.adding import adding
from pyvgrad.tasks.chorales import chorales, int_chorales
from pyvgrad.tasks.classified import (
    basic_motions,
    int_basic_motions,
    int_japanese_vowels,
    japanese_vowels,
)
from pyvgrad.tasks.gait import daphnet, int_daphnet
from pyvgrad.tasks.lesson import IntTask, Lesson, Verdict
from pyvgrad.tasks.long_lag import (
    int_long_lag,
    long_lag,
    long_lag_distractors,
    long_lag_noise,
)
from pyvgrad.tasks.order import temporal_order, temporal_order_97
from pyvgrad.tasks.reber import (
    continual_reber,
    embedded_reber,
    int_embedded_reber,
    int_reber,
    reber,
)
from pyvgrad.tasks.task import Outputs, Sequences, Task

__all__ = [
    "INT_TASKS",
    "TASKS",
    "IntTask",
    "Lesson",
    "Outputs",
    "Sequences",
    "Task",
    "Verdict",
    "make_int_task",
    "make_task",
]

TASKS: dict[str, Callable[..., Task]] = {
    "reber": reber,
    "embedded-reber": embedded_reber,
    "long-lag": long_lag,
    "japanese-vowels": japanese_vowels,
    "basic-motions": basic_motions,
    "daphnet": daphnet,
    "chorales": chorales,
}

INT_TASKS: dict[str, Callable[..., IntTask]] = {
    "reber": int_reber,
    "embedded-reber": int_embedded_reber,
    "continual-reber": continual_reber,
    "long-lag": int_long_lag,
    "long-lag-noise": long_lag_noise,
    "long-lag-distractors": long_lag_distractors,
    "temporal-order": temporal_order,
    "temporal-order-97": temporal_order_97,
    "adding": adding,
    "japanese-vowels": int_japanese_vowels,
    "basic-motions": int_basic_motions,
    "daphnet": int_daphnet,
    "chorales": int_chorales,
}


def make_task(name: str, *, seed: int = 0, **options: Any) -> Task:
    """Build a task; ``seed`` draws its sets, ``options`` are its own (``lag=10``).

    ValueError for a name or an option that does not exist.
    """
    task: Task = _maker(TASKS, name, options)(seed=seed, **options)
    return task


def make_int_task(name: str, *, seed: int = 0, **options: Any) -> IntTask:
    """Build a task for learning in integers, as ``make_task``."""
    task: IntTask = _maker(INT_TASKS, name, options)(seed=seed, **options)
    return task


def _maker(
    tasks: Mapping[str, Callable[..., Any]], name: str, options: dict[str, Any]
) -> Callable[..., Any]:
    if name not in tasks:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(tasks)}")
    known = list(inspect.signature(tasks[name]).parameters)
    for option in options:
        if option not in known:
            raise ValueError(f"task {name} has no option {option!r}; it has {known}")
    return tasks[name]
