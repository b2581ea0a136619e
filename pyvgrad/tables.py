"""What both tables of the papers share: rows, the jobs of their seeds, the files.

The raw results are in ``NAME.json``, each trial on a line of its own; the page and the
plot are made of it.  Rows that are not run stay as they are there.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, rows_asked, saved, trials_json
from pyvgrad.results_learning import read as read_learning
from pyvgrad.spread import Says, spread
from pyvgrad.tables_page import figures, page, plot
from pyvgrad.trials import Progress, Trial

FIRST_SEED = 10_000  # settings were found on smaller ones

Learner = Callable[[Sequence[int], int, Progress | None], list[Trial]]
Results = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a table.

    ``learn(seeds, limit, progress)`` gives each seed's trial.  ``published`` are the
    share of successes and the sequences until then, as printed; ``lanes`` how many
    seeds learn in one job, ``few`` seeds and limit of the short form.
    """

    method: str
    net: str
    weights: int
    rate: str
    published: tuple[str, str]
    learn: Learner
    limit: int
    seeds: int = 10
    lanes: int = 10
    few: tuple[int, int] | None = None
    note: str = ""
    group: str = ""  # the plot's panel


@dataclass(frozen=True)
class Table:
    """A table: its rows, what is said above it, and rows of learning.json beside it."""

    name: str
    title: str
    intro: str
    rows: Mapping[str, Row]
    integers: Mapping[str, str]  # the row of learning.json: what it stands for
    ylabel: str
    end: str = ""  # what is said below


def jobs_of(
    table: Table, name: str, first: int, seeds: int, limit: int
) -> list[dict[str, Any]]:
    """The jobs of a row, so many seeds in each as its lanes."""
    lanes = table.rows[name].lanes
    starts = range(first, first + seeds, lanes)
    return [
        {
            "key": f"{name} {start} {min(lanes, first + seeds - start)} {limit}",
            "row": name,
            "first": start,
            "seeds": min(lanes, first + seeds - start),
            "limit": limit,
        }
        for start in starts
    ]


def work(rows: Mapping[str, Row], job: Mapping[str, Any]) -> dict[str, Any]:
    """Learn the trials of a job."""
    row = rows[job["row"]]
    seeds = range(job["first"], job["first"] + job["seeds"])
    return {"trials": [as_json(t) for t in row.learn(seeds, job["limit"], None)]}


def as_json(trial: Trial) -> dict[str, Any]:
    """A trial for JSON, with a few points of its curve."""
    kept = thinned(len(trial.curve))
    return {
        "seed": trial.seed,
        "success": bool(trial.success),
        "sequences": trial.sequences,
        "always_at": trial.always_at,
        "end_at": trial.end_at,
        **trial.more,
        "curve": [[n, _rounded(v)] for n, v in (trial.curve[k] for k in kept)],
    }


def _rounded(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return round(value, 4) if np.isfinite(value) else None


def thinned(n: int) -> list[int]:
    """Indices of some of n points, the more apart the later; the last is in."""
    grid = np.unique(np.rint(1.25 ** np.arange(80)).astype(np.int64)) - 1
    return [*grid[grid < n - 1].tolist(), n - 1] if n else []


# ---- the experiment --------------------------------------------------------


def run_table(
    table: Table,
    do: Callable[[dict[str, Any]], dict[str, Any]],
    folder: Path,
    *,
    full: bool = False,
    seeds: int | None = None,
    first: int = FIRST_SEED,
    only: Sequence[str] = (),
    workers: str | int | None = None,
    says: Says | None = None,
) -> Lab:
    """Learn the rows and write NAME.json, .md and .png into ``folder``.

    With its first two arguments given it is a lab's ``run``.  ``do`` is the module's
    own ``work``, which a worker can import.  Without ``full`` the rows that have a
    short form, in it.  ValueError for an unknown row, VgradError for a damaged JSON.
    """
    short = (name for name, row in table.rows.items() if row.few is not None)
    chosen = rows_asked(only, table.rows, table.rows if full else short)
    make_folder(folder)
    files = [folder / f"{table.name}.{end}" for end in ("md", "png", "json")]
    source, store = files[2], folder / f"{table.name}.store"
    results = read(source)
    integers = integer_rows(folder / "learning.json", table)
    for name in chosen:
        row = table.rows[name]
        usual, limit = (row.seeds, row.limit) if full or row.few is None else row.few
        n = seeds or usual
        jobs = jobs_of(table, name, first, n, limit)
        found = spread(do, jobs, store=store, workers=workers, says=says, label=name)
        trials = [t for result in found for t in result["trials"]]
        results[name] = {
            "first_seed": first,
            "seeds": n,
            "limit": limit,
            "versions": versions(),
            "trials": trials,
        }
        write_bytes(source, to_json(table, results))
        known = {name: results[name] for name in table.rows if name in results}
        write_bytes(files[0], page(table, known, integers).encode())
        write_bytes(files[1], plot(table, known))
    store.unlink(missing_ok=True)
    rows: list[dict[str, Any]] = [
        {"row": name, **figures(results[name]["trials"])} for name in chosen
    ]
    return Lab(rows, files, [_line(r) for r in rows])


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    names = ("pyvgrad", "jax", "numpy")
    found = {name: version(name) for name in names}
    return found | {"python": platform.python_version(), "machine": platform.machine()}


def read(path: Path) -> Results:
    """The rows of NAME.json with their trials, none where there is no such file."""
    return saved(path, _with_trials)


def _with_trials(whole: Any) -> Results:
    found: Results = {name: {**row, "trials": []} for name, row in whole["rows"]}
    for trial in whole["trials"]:
        mine = found[trial["row"]]["trials"]
        mine.append({k: v for k, v in trial.items() if k != "row"})
    return found


def to_json(table: Table, results: Results) -> bytes:
    """The rows in the table's order, then the trials."""
    ordered = [name for name in table.rows if name in results]
    rows = [
        [name, {k: v for k, v in results[name].items() if k != "trials"}]
        for name in ordered
    ]
    trials = [{"row": name, **t} for name in ordered for t in results[name]["trials"]]
    command = f"pyvgrad lab {table.name} --full -o docs/results"
    return trials_json({"command": command, "rows": rows, "trials": trials})


def integer_rows(path: Path, table: Table) -> dict[str, Any]:
    """The rows of learning.json that stand beside the table's, as far as they exist."""
    found = read_learning(path)
    return {name: found[name] for name in table.integers if name in found}


def _line(row: dict[str, Any]) -> str:
    mean = "" if row["mean"] is None else f", mean {row['mean']:,.0f}"
    return f"{row['row']}: {row['successes']} of {row['seeds']}{mean}"
