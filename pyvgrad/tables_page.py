"""The page and the plot of a table of the papers, made of its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from statistics import mean, median
from typing import Any, Protocol

from pyvgrad.lab import table as markdown
from pyvgrad.plots_lab import Axis, Line, line_panels
from pyvgrad.results_page import command as integer_command
from pyvgrad.results_page import figures as integer_figures

Trials = Sequence[Mapping[str, Any]]


class RowText(Protocol):
    """What the page asks of a row (tables.Row)."""

    @property
    def method(self) -> str:
        """Its name in the table."""

    @property
    def net(self) -> str:
        """Hidden units, or the lag."""

    @property
    def weights(self) -> int:
        """How many; 0 where the method adds units."""

    @property
    def rate(self) -> str:
        """The learning rate."""

    @property
    def published(self) -> tuple[str, str]:
        """Successes, and sequences until then, as printed."""

    @property
    def note(self) -> str:
        """The set-up, where the papers leave a choice, and what came of it."""

    @property
    def group(self) -> str:
        """The plot's panel."""


class TableText(Protocol):
    """What the page asks of a table (tables.Table)."""

    @property
    def name(self) -> str:
        """The lab's name."""

    @property
    def title(self) -> str:
        """The page's title."""

    @property
    def intro(self) -> str:
        """What is said above the table."""

    @property
    def end(self) -> str:
        """What is said below it."""

    @property
    def ylabel(self) -> str:
        """What the curves show."""

    @property
    def rows(self) -> Mapping[str, Any]:
        """RowTexts by name."""

    @property
    def integers(self) -> Mapping[str, str]:
        """The rows of learning.json, and the method's name here."""


_HEAD = ["row", "method", "net", "weights", "rate", "published", "after", "here"]
_HEAD += ["sequences: mean, median, range", "limit"]


def figures(trials: Trials) -> dict[str, Any]:
    """Seeds, successes, and the sequences of these; None without any."""
    done = [t["sequences"] for t in trials if t["success"]]
    return {
        "seeds": len(trials),
        "successes": len(done),
        "mean": mean(done) if done else None,
        "median": median(done) if done else None,
        "min": min(done, default=None),
        "max": max(done, default=None),
    }


def page(table: TableText, results: Mapping[str, Any], integers: Any) -> str:
    """The table with the published figures beside it, and what was set."""
    rows = [_cells(table, name, results[name]) for name in results]
    rows += [_integer_cells(table, name, row) for name, row in integers.items()]
    lines = [
        f"# {table.title}",
        "",
        f"Written by `pyvgrad lab {table.name} --full -o docs/results`, row by row "
        f"with `--only ROW`; every seed's result and curve is in `{table.name}.json`.",
        "",
        table.intro,
        "",
        *markdown(_HEAD, rows),
        "",
        f"![learning curves]({table.name}.png)",
        "",
        "One line a seed; a line ends where its trial did.",
        "",
        *_missing(table, results),
        *_ends(results),
        "## Settings, and what differs",
        "",
    ]
    lines += [
        f"- **{name}**: {table.rows[name].note}"
        for name in results
        if table.rows[name].note
    ]
    if integers:
        lines += ["", "Integers, from [learning.md](learning.md):", ""]
        lines += [f"    {integer_command(row)}" for row in integers.values()]
    lines += ["", *([table.end, ""] if table.end else []), _made(results)]
    return "\n".join(lines).rstrip() + "\n"


def _missing(table: TableText, results: Mapping[str, Any]) -> list[str]:
    """The rows that have no results."""
    names = [f"`{name}`" for name in table.rows if name not in results]
    return [f"Not run: {', '.join(names)}.", ""] if names else []


def _cells(table: TableText, name: str, result: Mapping[str, Any]) -> list[str]:
    row: RowText = table.rows[name]
    f = figures(result["trials"])
    sizes = [t["weights"] for t in result["trials"] if t["success"] and "weights" in t]
    weights = f"{row.weights:,}" if row.weights else "-"
    if sizes:
        weights = f"{min(sizes)}-{max(sizes)}"
    limit = f"{result['limit']:,}"
    here = [f"{f['successes']}/{f['seeds']}", _counted(f)]
    return [
        f"`{name}`",
        row.method,
        row.net,
        weights,
        row.rate,
        *row.published,
        *here,
        limit,
    ]


def _counted(f: Mapping[str, Any]) -> str:
    if not f["successes"]:
        return "-"
    return f"{f['mean']:,.0f}, {f['median']:,.0f}, {f['min']:,}-{f['max']:,}"


def _integer_cells(table: TableText, name: str, row: Any) -> list[str]:
    f = integer_figures(row["integer"])
    rate = f"{row['settings'].get('rate', '-')}"
    method, net = table.integers[name].split(": ")
    share = f"{f['successes']}/{f['seeds']}"
    start = [f"`{name}`", method, net, f"{row['weights']:,}", rate, "-", "-"]
    return [*start, share, _counted(f), f"{row['limit']:,}"]


def _ends(results: Mapping[str, Any]) -> list[str]:
    """Successes at last steps, and errors left at the limit, where that is asked."""
    lines = []
    for name, result in results.items():
        trials = result["trials"]
        ends = [t["end_at"] for t in trials if t.get("end_at") is not None]
        left = [t["curve"][-1][1] for t in trials if not t["success"] and t["curve"]]
        if "end_at" not in trials[0] or trials[0].get("tested"):
            continue
        said = f"{len(ends)}/{len(trials)} right at the end"
        said += f", after {mean(ends):,.0f}" if ends else ""
        known = [v for v in left if v is not None]
        if known:
            said += (
                f"; without success the last step's error is {min(known):.2f} to "
                f"{max(known):.2f} at the limit"
            )
        lines.append(f"- `{name}`: {said}")
    if not lines:
        return []
    return ["If only last steps counted (table 11 of 1997):", "", *lines, ""]


def _made(results: Mapping[str, Any]) -> str:
    made = {
        ", ".join(f"{k} {v}" for k, v in result["versions"].items())
        for result in results.values()
    }
    seeds = sorted(
        {
            f"{r['first_seed']} to {r['first_seed'] + r['seeds'] - 1}"
            for r in results.values()
        }
    )
    return f"Seeds {', '.join(seeds)}. Made with {'; '.join(sorted(made))}."


def plot(table: TableText, results: Mapping[str, Any]) -> bytes:
    """Curves of every trial, a panel for each group of rows."""
    panels: dict[str, list[Line]] = {}
    for name, result in results.items():
        row: RowText = table.rows[name]
        lines = panels.setdefault(row.group or row.method, [])
        for trial in result["trials"]:
            x = [point[0] for point in trial["curve"]]
            y = [nan if point[1] is None else point[1] for point in trial["curve"]]
            lines.append(Line(f"rate {row.rate}", x, y))
    axis = Axis("sequences", log=True), Axis(table.ylabel, low=0.0)
    return line_panels(panels, [axis] * len(panels), columns=3)
