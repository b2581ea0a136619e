"""What the commands share: options, and how they answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pyvgrad.executors import NAMES

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Blob = Annotated[Path, typer.Argument(metavar="M.vg", help="A blob.")]
On = Annotated[str, typer.Option("--on", help=f"{', '.join(NAMES)}, or a port.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse values beyond the input range.")
]


def say(text: str) -> None:
    """Say a line to people, not to programs."""
    print(text, file=sys.stderr)


def answer(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """Print a result: the object for programs, the lines for people."""
    print(json.dumps(result, indent=2) if as_json else "\n".join(lines))


def warn_clamped(clamped: int, strict: bool, where: object) -> None:
    """Say once that inputs were clamped; with ``strict`` refuse them."""
    if not clamped:
        return
    if strict:
        raise ValueError(f"{where}: {clamped} values are beyond the blob's input range")
    say(f"pyvgrad: {where}: {clamped} values beyond the input range were clamped")


def executor_list(on: str) -> list[str]:
    """Split ``--on``; ValueError for a name that is none."""
    names = list(NAMES) if on == "all" else [name for name in on.split(",") if name]
    ports = [n for n in names if n not in NAMES and "/" not in n and "COM" not in n]
    if ports or not names:
        raise ValueError(f"--on takes {', '.join(NAMES)}, all, or ports, not {on!r}")
    return names
