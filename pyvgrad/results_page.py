"""learning.md and learning.png, made of what learning.json holds."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean, median
from typing import Any

from pyvgrad.lab import table
from pyvgrad.plots_lab import learning_bars

Rows = dict[str, dict[str, Any]]

_HEAD = ["row", "weights", "published", "integers", "float", "arena, tape", "traces"]


def figures(side: dict[str, Any]) -> dict[str, Any]:
    """Seeds, successes, and the sequences of these; None without any."""
    pairs = list(zip(side["success"], side["sequences"], strict=True))
    done = successes(side)
    return {
        "seeds": len(pairs),
        "successes": len(done),
        "mean": mean(done) if done else None,
        "median": median(done) if done else None,
        "min": min(done, default=None),
        "max": max(done, default=None),
    }


def successes(side: dict[str, Any]) -> list[int]:
    """The sequences that the successful seeds took."""
    pairs = zip(side["success"], side["sequences"], strict=True)
    return [n for ok, n in pairs if ok]


def learning_plot(rows: Rows) -> bytes:
    """Every seed's sequences, in integers and in float."""
    sides = {"integers": "integer", "float": "float"}
    groups = {
        label: [successes(row[side]) for row in rows.values()]
        for label, side in sides.items()
    }
    return learning_bars(list(rows), groups)


def learning_page(rows: Rows) -> str:
    """The table, at which lengths only last steps were right, and the settings."""
    lines = [
        "# Learning in integers, next to float",
        "",
        "Written by `pyvgrad lab learning --full -o docs/results`, row by row with "
        "`--only ROW`; every seed's result is in `learning.json`.",
        "",
        "From random weights, by the C core in integers. A seed draws the sets, the "
        "weights, the lessons and the tests; float has the same, and the same windows, "
        "clipping and rules. Every seed is counted. A cell has the seeds that "
        "succeeded and, of these, the mean, the median and the range of the sequences "
        "learnt from, counted to the test that said yes; a test follows every 100, "
        "with the weights frozen. Settings were found on other seeds than these. "
        "Right is, in embedded Reber, that the legal next symbols have the largest "
        "logits at every step; in the long lags that every output is within .25 of its "
        "target at every step of both strings, with noise at the last step and with "
        "distractors within .2 at the last step of 10,000 fresh sequences; in temporal "
        "order less than 1 % wrong of 10,000 fresh ones. Arenas are bytes: of a tape "
        "for a whole sequence, and of traces, where the method is defined.",
        "",
        *table(_HEAD, [_cells(name, row) for name, row in rows.items()]),
        "",
        "![sequences until success](learning.png)",
        "",
        *_at_end(rows),
        "## Settings",
        "",
        "What is not stated is IntRecipe's default (`pyvgrad/recipes.py`).",
        "",
    ]
    for name, row in rows.items():
        note = f". {row['note']}" if row.get("note") else ""
        lines += [f"**{name}**: {_stated(row)}{note}", "", f"    {command(row)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    arenas = [row["arena_bytes"][k] for k in ("tbptt", "rtrl97")]
    return [
        f"`{name}`",
        f"{row['weights']:,}",
        row["published"],
        _counted(figures(row["integer"])),
        _counted(figures(row["float"])),
        *("-" if a is None else f"{a:,}" for a in arenas),
    ]


def _counted(f: dict[str, Any]) -> str:
    share = f"{f['successes']}/{f['seeds']}" if f["seeds"] else "not run"
    if not f["successes"]:
        return share
    parts = f"{f['mean']:,.0f}, {f['median']:,.0f}, {f['min']:,}-{f['max']:,}"
    return f"{share}: {parts}"


def _at_end(rows: Rows) -> list[str]:
    """How it would be if only last steps counted, of the rows where that is asked."""
    lines = []
    for name, row in rows.items():
        ends = {k: [n for n in row[k]["at_end"] if n] for k in ("integer", "float")}
        if any(ends.values()):
            run = {k: v for k, v in ends.items() if row[k]["success"]}
            said = "; ".join(_ends(k, v, row[k]) for k, v in run.items())
            lines.append(f"- `{name}`: {said}")
    if not lines:
        return []
    return ["If only last steps counted (table 11 of 1997):", "", *lines, ""]


def _ends(side: str, ends: list[int], row: dict[str, Any]) -> str:
    share = f"{side} {len(ends)}/{len(row['success'])}"
    return f"{share}, mean {mean(ends):,.0f}" if ends else share


def _stated(row: dict[str, Any]) -> str:
    return ", ".join(f"{k} {_value(v)}" for k, v in row["settings"].items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{k} {_value(v)}" for k, v in value.items())
        return f"({inner})"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def command(row: dict[str, Any]) -> str:
    """The command that learns the row's integers again."""
    options = _flags(row["options"].items())
    net = "" if row["recipe"] == row["task"] else f" --net {row['recipe']}"
    n, first = len(row["integer"]["success"]), row["first_seed"]
    return (
        f"pyvgrad learn {row['task']}{net}{options} --seeds {n} --first-seed {first}"
        " --json"
    )


def _flags(options: Iterable[tuple[str, int]]) -> str:
    return "".join(f" --{k.replace('_', '-')} {v}" for k, v in options)
