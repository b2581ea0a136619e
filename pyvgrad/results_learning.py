"""The table of learning in integers, next to the same trainings in float.

``learning.json`` holds the raw results by row and seed, so that rows can be run one at
a time; the page and the plot are made of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, rows_asked, saved, saved_rows
from pyvgrad.learn import Job, Point
from pyvgrad.learn_seeds import learn_seeds
from pyvgrad.native_train import train_bytes
from pyvgrad.recipes import RECIPES, IntRecipe
from pyvgrad.results_page import figures, learning_page, learning_plot
from pyvgrad.tasks import IntTask

FIRST_SEED = 10_000  # recipes were found on smaller ones

Says = Callable[[str, int, int, str], None]  # label, done, of how many, more


@dataclass(frozen=True)
class Row:
    """A task, its recipe, and over how many seeds it is learnt.

    ``published`` is what the paper reports; ``goal`` a row where nobody's every seed
    succeeds, so that it decides no exit code; ``float_limit`` where float stops, if
    not at the recipe's limit.
    """

    task: str
    recipe: str
    seeds: int
    published: str
    options: dict[str, int] = field(default_factory=dict)
    goal: bool = False
    note: str = ""  # the set-up, where the papers leave a choice
    float_limit: int | None = None

    def job(self) -> Job:
        """What learn_seeds runs."""
        return Job(RECIPES[self.recipe], self.task, dict(self.options))


_LSTM97 = "LSTM, 1997"
_STRINGS = (
    "256 strings to learn and 256 to be tested, disjoint; within a set a string may "
    "occur again; mean length 14. Both sets must be right."
)
_LAG, _P13 = "long-lag", "temporal-order"

ROWS: dict[str, Row] = {
    "reber": Row(
        "embedded-reber",
        "embedded-reber",
        100,
        f"{_LSTM97}: 100 %, 8,440, 276 weights",
        note=_STRINGS,
    ),
    "reber-276": Row(
        "embedded-reber",
        "reber-276",
        100,
        f"{_LSTM97}: 100 %, 8,440, 276 weights",
        note=_STRINGS,
    ),
    "lag-4": Row(_LAG, _LAG, 30, "RTRL: 78 %, 1,043,000", {"lag": 4}),
    "lag-10": Row(_LAG, _LAG, 30, "RTRL: 0 % within 5,000,000", {"lag": 10}),
    "lag-100": Row(_LAG, _LAG, 30, f"{_LSTM97}: 100 %, 5,040", {"lag": 100}),
    "lag-1000": Row(
        _LAG,
        "long-lag-1000",
        10,
        "-",
        {"lag": 1000},
        note=(
            "Integers clamp h at +-64, and what is clamped passes no error outward. "
            "Float has no such limit: within the first 100 sequences its c drifts "
            "far beyond (`pytest tests/test_float_learn.py -k drifts`). It was run for "
            "1,000 sequences."
        ),
        float_limit=1000,
    ),
    "noise-100": Row(
        "long-lag-noise",
        "long-lag-noise",
        30,
        f"{_LSTM97}: 100 %, 5,680",
        {"lag": 100},
        note="Only the last symbol is a target: with --every 1 no setting learnt.",
    ),
    "distractors-50": Row(
        "long-lag-distractors",
        "long-lag-distractors",
        10,
        f"{_LSTM97}: 30,000",
        {"lag": 50},
    ),
    "order-100": Row(_P13, _P13, 30, "clipped RNN: short L", {"length": 100}),
    "order-200": Row(_P13, _P13, 30, "clipped RNN: short L", {"length": 200}),
    "adding-100": Row(
        "adding",
        "adding",
        10,
        "about 74,000",
        goal=True,
        note="Success: less than 1 % of 10,000 fresh sequences off by .04 or more.",
    ),
    "continual": Row(
        "continual-reber",
        "continual-reber",
        10,
        "18-62 %",
        goal=True,
        note=(
            "A sequence is a training stream of 20 strings (about 240 symbols), from "
            "a reset on. Success: 10 streams of 100,000 symbols without an error."
        ),
    ),
}
SIDES = ("integer", "float")
SHORT = {"reber": 2, "lag-10": 3}  # rows and seeds without --full


def run(
    folder: Path,
    *,
    full: bool,
    only: Sequence[str] = (),
    seeds: int | None = None,
    first: int = FIRST_SEED,
    says: Says | None = None,
) -> Lab:
    """Learn the rows and write learning.json, .md and .png into ``folder``.

    ``only`` are rows, all if there is none; rows that are not run stay as they are in
    the folder's learning.json.  ``seeds`` in place of each row's own number.
    ValueError for an unknown row, VgradError for a damaged learning.json.
    """
    chosen = rows_asked(only, ROWS, ROWS if full else SHORT)
    make_folder(folder)
    source = folder / "learning.json"
    results = read(source)
    for name in chosen:
        row = ROWS[name]
        few = row.seeds if full else SHORT.get(name, 2)
        results[name] = learn_row(name, row, first, seeds or few, says)
        for other in set(results) & set(ROWS):
            results[other]["note"] = ROWS[other].note
        write_bytes(source, _json(results))
    known = {name: results[name] for name in ROWS if name in results}
    page, plot = folder / "learning.md", folder / "learning.png"
    write_bytes(page, learning_page(known).encode())
    write_bytes(plot, learning_plot(known))
    rows: list[dict[str, Any]] = [
        {"row": name, **{side: figures(known[name][side]) for side in SIDES}}
        for name in chosen
    ]
    counted = [r["integer"] for r in rows if not ROWS[r["row"]].goal]
    good = all(f["successes"] == f["seeds"] for f in counted)
    return Lab(rows, [page, plot, source], [_line(r) for r in rows], good)


def read(path: Path) -> dict[str, Any]:
    """The rows of learning.json, none where there is no such file."""
    return saved(path, saved_rows, learning_page)


def _json(results: dict[str, Any]) -> bytes:
    ordered = {name: results[name] for name in ROWS if name in results}
    return (json.dumps({"rows": ordered}, indent=1, allow_nan=False) + "\n").encode()


# ---- one row -------------------------------------------------------------


def learn_row(
    name: str, row: Row, first: int, n: int, says: Says | None = None
) -> dict[str, Any]:
    """Learn a row in integers and in float; what learning.json has of it."""
    job = row.job()
    task = job.make_task(first)

    def point(seed: int, p: Point) -> None:
        if says is not None:
            label = f"{name}, integers, seed {seed}"
            says(label, p.sequences, job.recipe.limit, f"loss {p.loss:.4f}")

    found = learn_seeds(job, first, n, progress=point)
    return {
        "task": row.task,
        "options": row.options,
        "recipe": row.recipe,
        "settings": settings(job.recipe),
        "published": row.published,
        "weights": found[0].weights,
        "limit": job.recipe.limit,
        "every": job.recipe.every,
        "first_seed": first,
        "arena_bytes": arenas(job.recipe, task),
        "integer": {
            "success": [r.success for r in found],
            "sequences": [r.sequences for r in found],
            "at_end": [r.sequences_at_end for r in found],
        },
        "float": _in_float(name, row, range(first, first + n), says),
    }


def _in_float(
    name: str, row: Row, seeds: Sequence[int], says: Says | None
) -> dict[str, Any]:
    from pyvgrad.float_learn import learn_float

    job = row.job()
    recipe = replace(job.recipe, limit=row.float_limit or job.recipe.limit)

    def progress(seed: int, sequences: int) -> None:
        if says is not None:
            says(f"{name}, float, seed {seed}", sequences, recipe.limit, "")

    found = {
        r.seed: r for r in learn_float(recipe, job.make_task, seeds, progress=progress)
    }
    every = [found[seed] for seed in seeds]
    return {
        "success": [r.success for r in every],
        "sequences": [r.sequences for r in every],
        "at_end": [r.sequences_at_end for r in every],
    }


def settings(recipe: IntRecipe) -> dict[str, Any]:
    """What a recipe states, without what is IntRecipe's default."""
    plain = {f.name: f.default for f in fields(recipe)}
    stated = asdict(recipe)
    return {k: v for k, v in stated.items() if v != plain[k] and v not in ({}, None)}


def arenas(recipe: IntRecipe, task: IntTask) -> dict[str, int | None]:
    """Bytes of both methods' arenas: a tape for a whole sequence, and traces."""
    blob = recipe.start(task, 0)
    methods: dict[str, IntRecipe] = {
        "tbptt": replace(recipe, method="tbptt", k1=0, k2=0),
        "rtrl97": replace(recipe, method="rtrl97", k1=0, k2=0),
    }
    return {k: train_bytes(blob, r.learn(task)) for k, r in methods.items()}


# ---- what is said --------------------------------------------------------


def _line(row: dict[str, Any]) -> str:
    sides = []
    for side in SIDES:
        f = row[side]
        mean = "" if f["mean"] is None else f", mean {f['mean']:,.0f}"
        sides.append(f"{side} {f['successes']} of {f['seeds']}{mean}")
    return f"{row['row']}: {'; '.join(sides)}"
