"""A table of what a training counts, while it runs: live on a terminal, else lines.

Everything goes to standard error; standard output is for results.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Self

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pyvgrad.learning import Counters

COLUMNS = (
    *("sequences", "steps", "updates", "loss", "norm"),
    *("clipped", "falls", "saturated"),
)
_EVERY = 5.0  # seconds between two plain lines
_ROW = 100  # sequences between two rows that stay
_ROWS = 12  # rows shown at once


def row_of(now: Counters, losses: deque[float]) -> tuple[str, ...]:
    """One row of COLUMNS; ``loss`` is the mean of ``losses``, in the loss's unit."""
    clipped = now.clipped / now.updates if now.updates else 0.0
    return (
        f"{now.sequences:,}",
        f"{now.steps:,}",
        f"{now.updates:,}",
        f"{sum(losses) / max(1, len(losses)):.4f}",
        f"{now.norm_q16 / 65536:.4f}",
        f"{clipped:.1%}",
        f"{now.falls:,}",
        f"{now.saturated:,}",
    )


class TrainingTable:
    """Use as a context manager; ``update`` at each sequence's end.

    ``loss`` is the mean, over the newest hundred sequences, of each one's last step
    that had a target; ``norm`` the newest gradient's before clipping.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(file=sys.stderr, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4)
        self._rows: deque[tuple[str, ...]] = deque(maxlen=_ROWS)
        self._losses: deque[float] = deque(maxlen=_ROW)
        self._began = self._said = time.monotonic()
        self._newest: tuple[str, ...] | None = None
        self._test = "not tested yet"

    def update(self, now: Counters) -> None:
        """Show what was counted so far."""
        self._losses.append(now.loss_q16 / 65536)
        self._newest = row_of(now, self._losses)
        if self._console.is_terminal:
            self._live.update(self._table())
            if now.sequences % _ROW == 0:
                self._rows.append(self._newest)
        elif time.monotonic() - self._said >= _EVERY:
            self._say()

    def tested(self, right: int, asked: int) -> None:
        """Show what the newest test found."""
        self._test = f"{right:,} of {asked:,} right"
        if self._console.is_terminal:
            self._live.update(self._table())

    def _table(self) -> Table:
        table = Table(title=self._title, box=SIMPLE, caption=self._rest())
        for name in COLUMNS:
            table.add_column(name, justify="right")
        for row in self._rows:
            table.add_row(*row)
        if self._newest and self._newest not in self._rows:
            table.add_row(*self._newest)
        return table

    def _rest(self) -> str:
        """What is no count: the newest test, and the time since the beginning."""
        return f"{self._test}, {time.monotonic() - self._began:.1f} s"

    def _say(self) -> None:
        """One plain line, as ``sequences 100  steps 1,180``, of the newest row."""
        self._said = time.monotonic()
        if self._newest:
            words = zip(COLUMNS, self._newest, strict=True)
            text = "  ".join(f"{name} {value}" for name, value in words)
            text += f"  {self._rest()}"
            self._console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._live.stop()
        else:
            self._say()
