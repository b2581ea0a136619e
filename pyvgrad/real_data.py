"""Measured data: trained in float, quantized, and asked on the host and on a core.

``real-data.json`` holds every seed's results by task; the page and the plot are made of
it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad.blob import pack, parse
from pyvgrad.defaults import Recipe, Settings, recipe_for
from pyvgrad.device import Device
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.icount import step_instructions
from pyvgrad.lab import Lab, rows_asked, saved, saved_rows
from pyvgrad.native import HostExecutor
from pyvgrad.qat import Rounding
from pyvgrad.qmodel import QModel
from pyvgrad.quantize import quantize
from pyvgrad.real_models import Says, settings_of, shape_of, told, trained
from pyvgrad.real_page import KINDS, figures, page, plot
from pyvgrad.real_scores import float_logits, host_logits, score
from pyvgrad.refine import refine
from pyvgrad.signals import to_signals
from pyvgrad.solve import calibration
from pyvgrad.tasks import Task, make_task

FIRST_SEED = 10_000  # settings were found on smaller ones, and without the test sets
ROWS: dict[str, tuple[str, str]] = {  # task and cell
    "japanese-vowels": ("japanese-vowels", "lstm"),
    "japanese-vowels-gru": ("japanese-vowels", "gru"),
    "basic-motions": ("basic-motions", "lstm"),
    "daphnet": ("daphnet", "lstm"),
    "daphnet-gru": ("daphnet", "gru"),
    "chorales": ("chorales", "lstm"),
}
SEEDS, SHORT_SEEDS = 5, 1
CORE_STEPS = 2000  # of the first seed, asked of the emulated core
CORE = "m4"
SAME, LOST = 0.999, 0.01  # the goals: int16 decides as float, int8 loses a point


def run(
    folder: Path,
    *,
    full: bool,
    only: Sequence[str] = (),
    seeds: int | None = None,
    first: int = FIRST_SEED,
    says: Says | None = None,
) -> Lab:
    """Measure the rows and write real-data.json, .md and .png into ``folder``.

    Rows that are not run stay as they are in the folder's real-data.json.  Without
    ``full`` trainings are short, and there is one seed.  ValueError for an unknown row,
    VgradError where the data are not to be had.
    """
    chosen = rows_asked(only, ROWS, ROWS)
    make_folder(folder)
    source = folder / "real-data.json"
    results = read(source)
    for name in chosen:
        n = seeds or (SEEDS if full else SHORT_SEEDS)
        results[name] = measure(name, first, n, full=full, says=says)
        known = {row: results[row] for row in ROWS if row in results}
        text = json.dumps({"rows": known}, indent=1, allow_nan=False)
        write_bytes(source, f"{text}\n".encode())
    files = [folder / "real-data.md", folder / "real-data.png", source]
    write_bytes(files[0], page(known).encode())
    write_bytes(files[1], plot(known))
    rows = [{"row": name, **figures(known[name])} for name in chosen]
    good = all(met(row) for row in rows)
    return Lab(rows, files, [_line(row) for row in rows], good)


def read(path: Path) -> dict[str, Any]:
    """The rows of real-data.json, none where there is no such file."""
    return saved(path, saved_rows, page)


def met(row: dict[str, Any]) -> bool:
    """Whether the goals are: decisions of int16, accuracy of int8, bits of the core."""
    lost = min(row["float"]["accuracy"] - row[k]["accuracy"] for k in ("int8", "qat"))
    return bool(
        row["int16"]["same"] >= SAME
        and round(lost, 9) <= LOST
        and row[CORE]["differing"] == 0
    )


def _line(row: dict[str, Any]) -> str:
    parts = [f"{k} {row[k]['accuracy']:.2%}" for k in KINDS]
    return (
        f"{row['row']}: {', '.join(parts)}; int16 decides {row['int16']['same']:.2%} "
        f"as float; {row[CORE]['differing']} of {row[CORE]['values']:,} values differ "
        f"on {CORE}"
    )


# ---- one row -------------------------------------------------------------


def measure(
    name: str, first: int, n: int, *, full: bool, says: Says | None = None
) -> dict[str, Any]:
    """Train and ask ``n`` seeds of a row; what real-data.json has of it."""
    task_name, cell = ROWS[name]
    task = make_task(task_name)
    recipe = recipe_for(task)
    settings = settings_of(task, full=full)
    found: dict[str, list[dict[str, Any]]] = {k: [] for k in KINDS}
    blobs: dict[str, bytes] = {}
    for seed in range(first, first + n):
        models, reference = _models(task, cell, settings, seed, says)
        (test,) = task.checks.values()
        found["float"].append(asdict(score(task, test, reference, reference)))
        for kind, model in models.items():
            blob = pack(model)
            blobs.setdefault(kind, blob)
            answer = score(task, test, host_logits(blob, test), reference)
            found[kind].append(asdict(answer))
    return {
        "task": task_name,
        "cell": cell,
        "hidden": recipe.hidden,
        "weights": shape_of(task, cell).n_weights,
        "settings": _stated(recipe, settings),
        "first_seed": first,
        "full": full,
        "items": _items(task),
        "scores": found,
        **{k: _costs(blob) for k, blob in blobs.items()},
        CORE: _on_core(task, blobs),
    }


def _models(
    task: Task, cell: str, settings: Settings, seed: int, says: Says | None
) -> tuple[dict[str, QModel], Any]:
    """(the integer models of one training by name, the float model's logits)."""
    label = f"{task.name}, {cell}, float, seed {seed}"
    first = trained(task, settings, seed, says, label=label, cell=cell)
    shape, exps = first.shape, first.exponents
    rounding = Rounding(8, exps)
    aware = refine(
        shape,
        first.params,
        task.draw,
        settings,
        np.random.default_rng([seed, 1]),
        rounding=rounding,
        data=calibration(task),
        progress=told(says, f"{task.name}, {cell}, QAT, seed {seed}", settings),
    ).params
    models = {
        "int16": quantize(shape, first.params, exponents=exps),
        "int8": quantize(shape, first.params, weight_bits=8, exponents=exps),
        "qat": quantize(shape, aware, weight_bits=8, exponents=exps),
    }
    (test,) = task.checks.values()
    return models, float_logits(shape, first.params, test)


def _items(task: Task) -> int:
    (test,) = task.checks.values()
    steps = int(test.mask.sum())
    return steps * task.n_out if task.output == "logistic" else steps


def _stated(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    names = ("optimizer", "rate", "clip", "batch", "limit")
    return {k: getattr(settings, k) for k in names} | {"layers": recipe.layers}


def _costs(blob: bytes) -> dict[str, int]:
    """Bytes of flash and RAM, and instructions of a step on the core."""
    return {
        "blob_bytes": len(blob),
        "arena_bytes": HostExecutor(blob).arena_bytes,
        "instructions": step_instructions(blob, CORE),
    }


def _on_core(task: Task, blobs: dict[str, bytes]) -> dict[str, int]:
    """Ask the emulated core and count the logits that differ from the host's."""
    (test,) = task.checks.values()
    steps = values = differing = 0
    for blob in blobs.values():
        want = host_logits(blob, test)
        x, _ = to_signals(parse(blob), test.x)
        left = CORE_STEPS
        with Device(blob, CORE) as core:
            for k, n in enumerate(test.lengths):
                length = min(int(n), left)
                if not length:
                    break
                left -= length
                core.reset()
                _, logits, _ = core.run(x[k, :length])
                differing += int(np.count_nonzero(logits != want[k, :length]))
                values += logits.size
        steps += CORE_STEPS - left
    return {"steps": steps, "values": values, "differing": differing}
