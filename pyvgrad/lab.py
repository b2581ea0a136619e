"""What an experiment of the lab gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Lab:
    """The rows of the experiment's table, the files written, lines for people.

    ``success``: whether everything came out as it should.
    """

    rows: list[dict[str, Any]]
    files: list[Path]
    lines: list[str]
    success: bool = True


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    every = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(row)} |" for row in every]
