"""What an experiment of the lab gives back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyvgrad.errors import VgradError

T = TypeVar("T")
# of reading what is not as it was written
_DAMAGED = ValueError, LookupError, TypeError, AttributeError, ArithmeticError


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


def rows_asked(
    only: Sequence[str], rows: Iterable[str], usual: Iterable[str]
) -> list[str]:
    """The rows that a user named, else the usual ones.  ValueError for an unknown."""
    for name in only:
        known_row(name, rows)
    return list(only or usual)


def known_row(name: str, rows: Iterable[str]) -> None:
    """ValueError for a row that there is not, with those that there are."""
    known = list(rows)
    if name not in known:
        raise ValueError(f"there is no row {name!r}; known: {', '.join(known)}")


def saved_rows(whole: Any) -> dict[str, Any]:
    """The rows of a lab's JSON.  TypeError for a row that is none."""
    rows = whole["rows"]
    if not all(isinstance(row, dict) for row in rows.values()):
        raise TypeError("a row is no object")
    return dict(rows)


def saved(
    path: Path,
    rows_of: Callable[[Any], dict[str, T]],
    tell: Callable[[dict[str, T]], object] | None = None,
) -> dict[str, T]:
    """What ``rows_of`` finds in a lab's JSON file; nothing where there is no file.

    ``tell`` makes of rows what the lab will write of them, so that what cannot be told
    is known before anything is trained.  VgradError for a file in which ``rows_of``
    finds no rows, or rows that ``tell`` fails on.
    """
    if not path.exists():
        return {}
    try:
        rows = rows_of(json.loads(path.read_text()))
        if tell is not None and rows:
            tell(rows)
        return rows
    except _DAMAGED as error:
        raise VgradError(
            f"{path}: no results of this command ({error}); remove the file"
        ) from None
