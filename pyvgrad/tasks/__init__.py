"""What is to be learnt, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pyvgrad.tasks.long_lag import long_lag
from pyvgrad.tasks.reber import embedded_reber, reber
from pyvgrad.tasks.task import Outputs, Sequences, Task

__all__ = ["TASKS", "Outputs", "Sequences", "Task", "make_task"]

TASKS: dict[str, Callable[..., Task]] = {
    "reber": reber,
    "embedded-reber": embedded_reber,
    "long-lag": long_lag,
}


def make_task(name: str, *, seed: int = 0, **options: Any) -> Task:
    """Build a task; ``seed`` draws its sets, ``options`` are its own (``lag=10``).

    ValueError for a name or an option that does not exist.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(TASKS)}")
    known = list(inspect.signature(TASKS[name]).parameters)
    for option in options:
        if option not in known:
            raise ValueError(f"task {name} has no option {option!r}; it has {known}")
    return TASKS[name](seed=seed, **options)
