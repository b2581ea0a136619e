"""What the commands share: options, and how they answer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pyvgrad.executors import NAMES, is_port
from pyvgrad.qmodel import LAYOUTS

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Blob = Annotated[Path, typer.Argument(metavar="M.vg", help="A blob.")]
On = Annotated[str, typer.Option("--on", help=f"{', '.join(NAMES)}, or a port.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse values beyond the input range.")
]
Layout = Annotated[
    str,
    typer.Option("--layout", help="Of the blob's matrices: rows, or words for M0, M3."),
]


def check_layout(layout: str) -> None:
    """ValueError for a layout that is none."""
    if layout not in LAYOUTS:
        raise ValueError(f"--layout takes {' or '.join(LAYOUTS)}, not {layout!r}")


def say(text: str) -> None:
    """Say a line to people, not to programs."""
    print(text, file=sys.stderr)


def answer(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """Print a result: the object for programs, the lines for people.

    JSON has no infinity and no NaN; a result with one is a bug (ValueError).
    """
    text = "\n".join(lines)
    if as_json:
        text = json.dumps(result, indent=2, allow_nan=False)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader left (| head): the exit code still is the answer.  Python writes
        # what is left at its end, which then must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn_clamped(clamped: int, strict: bool, where: object) -> None:
    """Say once that inputs were clamped; with ``strict`` refuse them."""
    if not clamped:
        return
    if strict:
        raise ValueError(f"{where}: {clamped} values are beyond the blob's input range")
    say(f"pyvgrad: {where}: {clamped} values beyond the input range were clamped")


def executor_list(on: str) -> list[str]:
    """Split ``--on``, each name once; ValueError for a name that is none."""
    asked = NAMES if on == "all" else (name.strip() for name in on.split(","))
    names = list(dict.fromkeys(filter(None, asked)))
    if not names or not all(name in NAMES or is_port(name) for name in names):
        raise ValueError(f"--on takes {', '.join(NAMES)}, all, or ports, not {on!r}")
    return names
