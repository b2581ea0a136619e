"""What an experiment of the lab gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def trials_json(result: Mapping[str, Any]) -> bytes:
    """JSON of an experiment, each of its ``trials`` on a line of its own.

    ValueError for what is not finite.
    """
    rest = {k: v for k, v in result.items() if k != "trials"}
    head = json.dumps(rest, indent=1, allow_nan=False).removesuffix("\n}")
    lines = [json.dumps(trial, allow_nan=False) for trial in result["trials"]]
    body = ",\n  ".join(lines)
    return f'{head},\n "trials": [\n  {body}\n ]\n}}\n'.encode()
