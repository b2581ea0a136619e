"""real-data.md and real-data.png, made of what real-data.json holds."""

from __future__ import annotations

from statistics import mean
from typing import Any

from pyvgrad.lab import table
from pyvgrad.plots_lab import seed_dots

KINDS = ("float", "int16", "int8", "qat")
SAID = {"float": "float", "int16": "int16", "int8": "int8", "qat": "int8, QAT"}
CORE = "m4"

_ASKED = {
    "japanese-vowels": "9 speakers, 370 sequences, a decision at the last step",
    "basic-motions": "4 activities, 40 sequences, a decision at the last step",
    "daphnet": "foot in motion or not, 2,560 steps of one stream, a decision a step",
    "chorales": "notes of the next quarter, 72 chorales; right are notes that are on",
}
_HEAD = ["row", *SAID.values(), "same as float: int16", "int8", "int8, QAT"]
_COSTS = [
    "row",
    "weights",
    "flash int16",
    "flash int8",
    "RAM int16",
    "RAM int8",
    "M4 int16",
    "M4 int8",
    "on the emulated M4",
]


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """Of each kind the means over seeds; costs; what was compared on the core."""
    found: dict[str, Any] = {"seeds": len(row["scores"]["float"])}
    for kind in KINDS:
        scores = row["scores"][kind]
        names = [k for k in ("accuracy", "nats", "same") if scores[0][k] is not None]
        found[kind] = {k: mean(s[k] for s in scores) for k in names} | row.get(kind, {})
    return found | {CORE: row[CORE]}


def page(rows: dict[str, dict[str, Any]]) -> str:
    """What the numbers are, and the two tables."""
    seeds = {len(row["scores"]["float"]) for row in rows.values()}
    first = {row["first_seed"] for row in rows.values()}
    short = [name for name, row in rows.items() if not row["full"]]
    said = [f"Short trainings, no results: {', '.join(short)}.", ""] if short else []
    return "\n".join(
        [
            "# Measured data",
            "",
            "Written by `pyvgrad lab real-data --full -o docs/results`, a row with "
            "`--only ROW`; every seed's figures are in `real-data.json`.",
            "",
            *said,
            "Trained in float, rounded to 16 and to 8 bits, and to 8 bits after "
            "quantization-aware training (as `pyvgrad train --weights 8 --qat` does). "
            f"Means over {_list(seeds)} seeds from {_list(first)} on, which "
            "draw weights and exemplars; in brackets the worst seed. Test sets had "
            "no part in the trainings nor in the choice of settings. What is asked:",
            "",
            *(
                f"- `{name}`: {row['cell'].upper()}, {row['hidden']} cells; "
                f"{_ASKED[row['task']]}"
                for name, row in rows.items()
            ),
            "",
            "*Same* is the share of items that are decided as the float model decides: "
            "the class, or of each note on or off. Notes: accuracy is TP / (TP + FP + "
            "FN), behind it nats a step.",
            "",
            *table(_HEAD, [_scores(name, row) for name, row in rows.items()]),
            "",
            "Bytes of flash are the blob's, of RAM the arena's (`vg_run_size`); "
            "instructions of one step on a Cortex-M4, counted "
            "(`pyvgrad bench --on m4`). Last, the logits of the first seed's three "
            "models on the emulated M4 that differ from the host's, of how many.",
            "",
            *table(_COSTS, [_costs(name, row) for name, row in rows.items()]),
            "",
            "![accuracy of every seed](real-data.png)",
            "",
        ]
    )


def plot(rows: dict[str, dict[str, Any]]) -> bytes:
    """The accuracy of every seed, a panel a row."""
    panels = {
        name: {
            SAID[kind].replace(", ", "\n"): [s["accuracy"] for s in row["scores"][kind]]
            for kind in KINDS
        }
        for name, row in rows.items()
    }
    return seed_dots(panels, "accuracy on the test set")


def _scores(name: str, row: dict[str, Any]) -> list[str]:
    scores = row["scores"]
    accuracies = []
    for kind in KINDS:
        values = [s["accuracy"] for s in scores[kind]]
        text = f"{mean(values):.2%} ({min(values):.2%})"
        if scores[kind][0]["nats"] is not None:
            text += f", {mean(s['nats'] for s in scores[kind]):.3f}"
        accuracies.append(text)
    same = [
        f"{mean(s['same'] for s in scores[kind]):.3%}"
        for kind in KINDS
        if kind != "float"
    ]
    return [f"`{name}`", *accuracies, *same]


def _costs(name: str, row: dict[str, Any]) -> list[str]:
    core = row[CORE]
    figures_of = [
        f"{row[kind][what]:,}"
        for what in ("blob_bytes", "arena_bytes", "instructions")
        for kind in ("int16", "int8")
    ]
    differing = f"{core['differing']} of {core['values']:,}"
    return [f"`{name}`", f"{row['weights']:,}", *figures_of, differing]


def _list(numbers: set[int]) -> str:
    return " or ".join(f"{n:,}" for n in sorted(numbers))
