"""The cliff as a page, its figures and its plot."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad import __version__
from pyvgrad.cliff import FIRST, STEPS, TARGET, Paths, Surface, descend, surface
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, table
from pyvgrad.plots_lab import wall
from pyvgrad.tasks.task import Floats

W, B = (4.0, 7.0), (-3.6, -1.0)  # what is drawn
START_W, START_B = (4.5, 6.5), (-2.6, -1.0)  # where descents start
RATE, UPDATES = 0.3, 500
THETAS = (None, 10.0, 1.0, 0.3, 0.1, 0.03)
SHOWN, SHOWN_START = (None, 0.1), (5.5, -2.0)
LOW, LAST = 0.01, 100  # kept: the median error of so many last updates is below
BEHIND = 0.1  # an error above it is behind the wall


def run(folder: Path, *, full: bool) -> Lab:
    """Compute the surface and descend; write cliff.md, .png and .json.

    Not ``full``: a coarse surface and few descents.
    """
    make_folder(folder)
    points = 121 if full else 31
    made = surface(np.linspace(*W, points), np.linspace(*B, points))
    starts = _starts(made_of=21 if full else 5)
    rows = [_row(theta, descend(starts, RATE, theta, UPDATES)) for theta in THETAS]
    drawn = {
        _named(theta): descend(np.array([SHOWN_START]), RATE, theta, UPDATES)
        for theta in SHOWN
    }
    figures = {
        "command": "pyvgrad lab cliff" + (" --full -o docs/results" if full else ""),
        "versions": {"pyvgrad": __version__, "jax": version("jax")},
        "steps": STEPS,
        "first": FIRST,
        "target": TARGET,
        "rate": RATE,
        "updates": UPDATES,
        "starts": len(starts),
        "rows": rows,
        "steepest": float(made.slope.max()),
        "median_slope": float(np.median(made.slope)),
    }
    files = [folder / f"cliff.{end}" for end in ("md", "png", "json")]
    contents = page(figures).encode(), _plot(made, drawn), _json(figures, made, drawn)
    for file, data in zip(files, contents, strict=True):
        write_bytes(file, data)
    return Lab(rows, files, [_line(row, len(starts)) for row in rows])


def _starts(made_of: int) -> Floats:
    """A grid (n, 2) without what is behind the wall, where there is no slope."""
    w, b = np.linspace(*START_W, made_of), np.linspace(*START_B, made_of)
    near = surface(w, b).error < BEHIND
    grid = np.stack(np.meshgrid(w, b, indexing="ij"), axis=-1)
    return np.asarray(grid[near])


def _named(theta: float | None) -> str:
    return "no clipping" if theta is None else f"clipped to {theta:g}"


def _row(theta: float | None, paths: Paths) -> dict[str, Any]:
    steps = np.linalg.norm(np.diff(paths.points, axis=0), axis=-1)
    last = np.median(paths.error[-LAST:], axis=0)
    return {
        "theta": theta,
        "kept": int(np.count_nonzero(last < LOW)),
        "median_error": float(np.median(last)),
        "longest_step": float(steps.max()),
        "steepest": float(paths.slope.max()),
    }


# ---- what is said --------------------------------------------------------


def page(figures: dict[str, Any]) -> str:
    """cliff.md."""
    n = figures["starts"]
    rows = [
        [
            _named(row["theta"]),
            f"{row['kept']}/{n} ({row['kept'] / n:.0%})",
            f"{row['median_error']:.2g}",
            f"{row['longest_step']:,.3g}",
            f"{row['steepest']:,.0f}",
        ]
        for row in figures["rows"]
    ]
    return "\n".join(
        [
            "# The cliff",
            "",
            f"Written by `{figures['command']}`; the figures are in `cliff.json`.",
            "",
            "One unit that reads itself alone, x_t = w s(x_{t-1}) + b with s the "
            f"logistic function, from x_0 = {figures['first']:g}, is run for "
            f"{figures['steps']} steps; the error is (s(x_{figures['steps']}) - "
            f"{figures['target']:g})^2, as in Pascanu, Mikolov and Bengio 2013. For w "
            "above 4 there are two stable fixed points and an unstable one between. "
            "On one side of the line b = x_0 - w s(x_0) the unit starts above the "
            "unstable one and ends high, on the other it ends low: the surface has a "
            "wall. On "
            f"the map's grid the gradient's norm is up to {figures['steepest']:,.0f}, "
            f"its median {figures['median_slope']:.2g}.",
            "",
            "![the surface, two descents, their errors](cliff.png)",
            "",
            f"Both descents start at w = {SHOWN_START[0]:g}, b = {SHOWN_START[1]:g} "
            "and go the same way down to the foot of the wall. There one gradient "
            "throws the unclipped one onto the plateau, where next to nothing leads "
            "back. The clipped one bounces off the wall and stays in the valley.",
            "",
            f"The same from {n} starts on the near side, {figures['updates']} updates "
            f"at rate {figures['rate']:g}. *Kept*: the median error of the last {LAST} "
            f"updates is below {LOW:g}.",
            "",
            *table(
                ["descent", "kept", "median error", "longest step", "steepest met"],
                rows,
            ),
            "",
            "Clipping bounds a step by rate times theta: with a theta too large the "
            "wall still throws, with one too small the valley is not reached in time. "
            "Range, starts, rate and thresholds are chosen here.",
            "",
        ]
    )


def _line(row: dict[str, Any], n: int) -> str:
    return (
        f"{_named(row['theta'])}: {row['kept']} of {n} stay in the valley, "
        f"longest step {row['longest_step']:.3g}"
    )


def _plot(made: Surface, drawn: dict[str, Paths]) -> bytes:
    paths = {k: (p.points[:, 0], p.error[:, 0]) for k, p in drawn.items()}
    return wall((made.w, made.b), made.error, paths)


def _json(figures: dict[str, Any], made: Surface, drawn: dict[str, Paths]) -> bytes:
    """The figures, then the surface and the paths, a row a line."""

    def rows(values: Floats) -> str:
        body = ",\n   ".join(json.dumps(row) for row in np.round(values, 5).tolist())
        return f"[\n   {body}\n  ]"

    paths = {
        k: np.column_stack([p.points[:, 0], p.error[:, 0], p.slope[:, 0]])
        for k, p in drawn.items()
    }
    head = json.dumps(figures, indent=1, allow_nan=False).removesuffix("\n}")
    axes = json.dumps({"w": list(W), "b": list(B), "points": len(made.w)})
    listed = ",\n  ".join(f'"{k}": {rows(v)}' for k, v in paths.items())
    return (
        f'{head},\n "surface": {{"axes": {axes}, "error": {rows(made.error)}}},\n'
        f' "paths, w b error slope": {{\n  {listed}\n }}\n}}\n'
    ).encode()
