"""What long work says while it runs: a bar on a terminal, plain lines elsewhere.

Everything goes to standard error; standard output is for results.
"""

from __future__ import annotations

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

_EVERY = 5.0  # seconds between two plain lines of one label


class Reporter:
    """Use as a context manager; ``note`` says a line, ``update`` moves a bar."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[extra]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, int] = {}
        self._said: dict[str, float] = {}

    def note(self, text: str) -> None:
        """Say one line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def update(self, label: str, done: int, total: int, extra: str = "") -> None:
        """Say that ``done`` of ``total`` of what ``label`` names is done."""
        if self._console.is_terminal:
            if label not in self._tasks:
                self._tasks[label] = self._bars.add_task(label, total=total, extra="")
            bar = self._bars
            bar.update(self._tasks[label], completed=done, total=total, extra=extra)  # type: ignore[arg-type]
            return
        now = time.monotonic()
        if done >= total or now - self._said.setdefault(label, now) >= _EVERY:
            self._said[label] = now
            self.note(f"{label}: {done}/{total} {extra}".rstrip())

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()
