"""The experiments on music and text: their jobs, and what they write.

``NAME.json`` holds every seed's result by row; the page and the plot are made of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from statistics import mean
from typing import Any

from pyvgrad.errors import VgradError
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, rows_asked, saved, saved_rows, table
from pyvgrad.natural import Method
from pyvgrad.plots_lab import mean_curves
from pyvgrad.spread import spread

FIRST_SEED = 10_000  # rates were found on smaller ones, by the validation set
BLOCK = 5  # seeds that are one computation
SETS = ("train", "valid", "test")
_PACKAGES = ("pyvgrad", "numpy", "jax", "jaxlib", "optax")

Says = Callable[[str, int, int, str], None]  # label, done, of how many, more


@dataclass(frozen=True)
class Row:
    """A method under its name in the papers; ``options`` of the data it learns from."""

    label: str
    method: Method
    options: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How much is learnt: ``hidden`` units, epochs, seeds from ``first`` on."""

    hidden: int
    epochs: int
    seeds: int
    first: int = FIRST_SEED

    def of(self, seeds: int | None, first: int) -> Plan:
        """The same with other seeds."""
        return replace(self, seeds=seeds or self.seeds, first=first)


@dataclass(frozen=True)
class Experiment:
    """What is learnt from, and how it is told.

    ``short`` are the rows of a short run; ``scale`` turns nats into ``unit``; ``floor``
    are the nats of a model that knows frequencies alone, by set; ``intro`` and
    ``published`` are lines of the page.
    """

    name: str
    title: str
    unit: str
    rows: dict[str, Row]
    short: tuple[str, ...]
    source: str
    digest: str
    floor: dict[str, float]
    intro: list[str]
    published: list[str]
    scale: float = 1.0


# ---- jobs ----------------------------------------------------------------


def jobs_of(
    experiment: Experiment, name: str, plan: Plan, data: Path | None, *, full: bool
) -> list[dict[str, Any]]:
    """The jobs of a row (natural_jobs.results_of), each of BLOCK seeds at most."""
    row, seeds = experiment.rows[name], range(plan.first, plan.first + plan.seeds)
    blocks = [list(seeds[k : k + BLOCK]) for k in range(0, len(seeds), BLOCK)]
    return [
        {
            "key": f"{name}, seeds {block[0]}-{block[-1]}",
            "row": name,
            "method": asdict(row.method),
            "options": row.options,
            "hidden": plan.hidden,
            "epochs": plan.epochs,
            "seeds": block,
            "data": None if data is None else str(data.resolve()),
            "digest": experiment.digest,
            "short": not full,
        }
        for block in blocks
    ]


def run_experiment(
    experiment: Experiment,
    folder: Path,
    plan: Plan,
    *,
    work: Callable[[dict[str, Any]], dict[str, Any]],
    full: bool,
    only: Sequence[str],
    data: Path | None,
    workers: str | None,
    says: Says | None,
) -> Lab:
    """Learn the rows that ``only`` names, or all, and write the files.

    Rows that are not run stay as they are in the folder's JSON.  ValueError for an
    unknown row, VgradError for a folder with results of other data or of another form.
    """
    rows = experiment.rows
    chosen = rows_asked(only, rows, rows if full else experiment.short)
    make_folder(folder)
    files = [folder / f"{experiment.name}.{end}" for end in ("md", "png", "json")]
    made_of = {"full": full, "data": experiment.source, "digest": experiment.digest}
    known = read(files[2], experiment, made_of)
    jobs = {name: jobs_of(experiment, name, plan, data, full=full) for name in chosen}
    every = [job for name in chosen for job in jobs[name]]
    store = folder / f"{experiment.name}.jsonl"
    found = iter(spread(work, every, store=store, workers=workers, says=says))
    for name, of_row in jobs.items():
        known[name] = _merged(rows[name], plan, [next(found) for _ in of_row])
    known = {name: known[name] for name in rows if name in known}
    result = {
        "command": command(experiment.name, full, data),
        "versions": {"python": python_version()} | {k: version(k) for k in _PACKAGES},
        **made_of,
        "floor": experiment.floor,
        "rows": known,
    }
    write_bytes(files[0], page(experiment, result).encode())
    write_bytes(files[1], plot(experiment, known))
    write_bytes(files[2], _json(result))
    summary = [{"row": k, **figures(known[k], experiment.scale)} for k in chosen]
    return Lab(summary, files, [_line(row, experiment.unit) for row in summary])


def _merged(row: Row, plan: Plan, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "label": row.label,
        **asdict(row.method),
        **row.options,
        "hidden": plan.hidden,
        "epochs": plan.epochs,
        "weights": parts[0]["weights"],
        "trials": [trial for part in parts for trial in part["trials"]],
    }


def command(name: str, full: bool, data: Path | None) -> str:
    """The command that writes the files again."""
    options = (" --full" if full else "") + (f" --data {data}" if data else "")
    return f"pyvgrad lab {name}{options}" + (" -o docs/results" if full else "")


def read(path: Path, experiment: Experiment, made_of: dict[str, Any]) -> dict[str, Any]:
    """The rows of a JSON file, none where there is no such file."""

    def parts(whole: Any) -> dict[str, Any]:
        page(experiment, whole)  # fails here rather than after the training
        return {k: whole[k] for k in made_of} | {"rows": saved_rows(whole)}

    found = saved(path, parts)
    if not found:
        return {}
    if {k: found[k] for k in made_of} != made_of:
        raise VgradError(
            f"{path}: results of {found['data']}{', --full' * bool(found['full'])}; "
            "give another folder for these"
        )
    rows: dict[str, Any] = found["rows"]
    return rows


def _json(result: dict[str, Any]) -> bytes:
    """Each trial on a line of its own."""
    text = json.dumps({**result, "rows": {}}, indent=1, allow_nan=False)
    rows = []
    for name, row in result["rows"].items():
        head = json.dumps({k: v for k, v in row.items() if k != "trials"})[1:-1]
        trials = [json.dumps(trial, allow_nan=False) for trial in row["trials"]]
        body = ",\n    ".join(trials)
        rows.append(f'  "{name}": {{{head}, "trials": [\n    {body}]}}')
    return (text.removesuffix("{}\n}") + "{\n" + ",\n".join(rows) + "}\n}\n").encode()


# ---- what is said --------------------------------------------------------


def figures(row: dict[str, Any], scale: float) -> dict[str, Any]:
    """Means over seeds, and the range of the test."""
    trials = row["trials"]
    of = {k: [scale * trial["nats"][k] for trial in trials] for k in SETS}
    return {
        **{k: mean(values) for k, values in of.items()},
        "test_min": min(of["test"]),
        "test_max": max(of["test"]),
        "epoch": mean(trial["epoch"] for trial in trials),
        "not_finite": sum(None in trial["curve"] for trial in trials),
        "seeds": len(trials),
    }


def _line(row: dict[str, Any], unit: str) -> str:
    return (
        f"{row['row']}: test {row['test']:.3f} {unit} ({row['test_min']:.3f}-"
        f"{row['test_max']:.3f}, {row['seeds']} seeds), train {row['train']:.3f}"
    )


def page(experiment: Experiment, result: dict[str, Any]) -> str:
    """The table and what it means."""
    name, rows = experiment.name, result["rows"]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    lines = [
        f"# {experiment.title}",
        "",
        f"Written by `{result['command']}`; every seed is in `{name}.json`.",
        "",
        *([] if result["full"] else ["A short run, no results.", ""]),
        *experiment.intro,
        "",
        *_results(experiment, result),
        "",
        f"![validation by epoch]({name}.png)",
        "",
        "## Settings",
        "",
        *table(
            ["row", "cell", "units", "rule", "rate", "clip", "Omega", "epochs"],
            [[f"`{key}`", *_settings(row)] for key, row in rows.items()],
        ),
        "",
        "## Published",
        "",
        *experiment.published,
        "",
        f"Data `{result['digest']}`; {versions}.",
    ]
    return "\n".join(lines) + "\n"


def _results(experiment: Experiment, result: dict[str, Any]) -> list[str]:
    scale = experiment.scale
    head = ["row", "method", "weights", "train", "validation", "test"]
    head += ["best epoch", "seeds", "not finite"]
    floor = [f"{scale * result['floor'][k]:.3f}" for k in SETS]
    cells = [["-", "frequencies alone", "-", *floor, "-", "-", "-"]]
    for key, row in result["rows"].items():
        f = figures(row, scale)
        first = row["trials"][0]["seed"]
        cells.append(
            [
                f"`{key}`",
                row["label"],
                f"{row['weights']:,}",
                f"{f['train']:.3f}",
                f"{f['valid']:.3f}",
                f"**{f['test']:.3f}** ({f['test_min']:.3f}-{f['test_max']:.3f})",
                f"{f['epoch']:.0f}",
                f"{first}-{first + f['seeds'] - 1}",
                str(f["not_finite"]),
            ]
        )
    return table(head, cells)


def _settings(row: dict[str, Any]) -> list[str]:
    numbers = [f"{row[k]:g}" if row[k] else "-" for k in ("rate", "clip", "omega")]
    return [
        row["cell"],
        str(row["hidden"]),
        row["optimizer"],
        *numbers,
        str(row["epochs"]),
    ]


def plot(experiment: Experiment, rows: dict[str, Any]) -> bytes:
    """The validation error by epoch, the mean over seeds, a panel for equal options."""
    panels: dict[str, Any] = {}
    for name, row in rows.items():
        options = experiment.rows[name].options
        title = ", ".join(f"{k} ahead: {v}" for k, v in options.items())
        curves = [trial["curve"] for trial in row["trials"]]
        whole = [of for of in zip(*curves, strict=False) if None not in of]
        y = [experiment.scale * mean(of) for of in whole]
        x = list(range(1, len(y) + 1))
        panels.setdefault(title, {})[row["label"]] = (x, y)
    return mean_curves(
        panels, "epoch", f"validation, {experiment.unit}", columns=len(panels)
    )
