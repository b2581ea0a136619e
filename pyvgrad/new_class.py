"""A speaker whom the model never heard, learnt from a few sequences in integers.

A model of eight speakers, trained in float, has a ninth output that nothing was ever
said to.  The C core then learns the ninth from 1 to 10 of his sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from pyvgrad.blob import crc
from pyvgrad.device_train import DeviceTrainer
from pyvgrad.few import Few, Taught, share_right, teach
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, table, trials_json
from pyvgrad.plots_lab import mean_curves
from pyvgrad.real_models import Says, settings_of, trained
from pyvgrad.tasks import Lesson
from pyvgrad.tasks.classified import VOWELS, class_sets
from pyvgrad.tasks.recordings import Sets, whole_task

FIRST_SEED = 10_000  # rates and passes were found on smaller ones, with validation
SEEDS, SHORT_SEEDS = 3, 1
COUNTS = (1, 3, 5, 10)
NOISE = 0.3  # as in the task
CORE = "m4"


@dataclass(frozen=True)
class Way:
    """How the ninth is learnt; with ``rehearse`` one stored sequence of each other."""

    few: Few
    rehearse: bool


WAYS: dict[str, Way] = {
    "readout, alone": Way(Few(0.3, 100, readout_only=True), rehearse=False),
    "all layers, alone": Way(Few(0.1, 100), rehearse=False),
    "readout, with rehearsal": Way(
        Few(0.3, 20, readout_only=True, until_right=False), rehearse=True
    ),
    "all layers, with rehearsal": Way(Few(0.1, 20, until_right=False), rehearse=True),
}


def run(
    folder: Path,
    *,
    full: bool,
    seeds: int | None = None,
    first: int = FIRST_SEED,
    says: Says | None = None,
) -> Lab:
    """Learn every speaker in every way; write new-class.json, .md and .png.

    Without ``full`` the trainings are short, and one speaker is learnt.
    """
    make_folder(folder)
    sets = class_sets(VOWELS)
    n = seeds or (SEEDS if full else SHORT_SEEDS)
    speakers = range(sets.train.n_out if full else 1)
    trials: list[dict[str, Any]] = []
    for seed in range(first, first + n):
        for k in speakers:
            trials += _trials(sets, k, seed, full=full, says=says)
    result: dict[str, Any] = {
        "full": full,
        "first_seed": first,
        "seeds": n,
        "trials": trials,
    }
    result[CORE] = _on_core(sets, first, full=full, says=says)
    files = [folder / f"new-class.{end}" for end in ("md", "png", "json")]
    rows = figures(trials)
    write_bytes(files[0], page(result, rows).encode())
    write_bytes(files[1], plot(rows))
    write_bytes(files[2], trials_json(result))
    same = result[CORE]["same"]
    lines = [_line(row) for row in rows]
    return Lab(rows, files, lines, success=same)


def _trials(
    sets: Sets, k: int, seed: int, *, full: bool, says: Says | None
) -> list[dict[str, Any]]:
    blob = without(sets, k, seed, full=full, says=says)
    mine, others = _asked(sets, k)
    found = []
    for name, way in WAYS.items():
        for n in COUNTS:
            taught = teach(
                blob, lessons(sets, k, n, seed, rehearse=way.rehearse), way.few
            )
            found.append(
                {
                    "way": name,
                    "speaker": k,
                    "seed": seed,
                    "n": n,
                    "before": [share_right(blob, mine), share_right(blob, others)],
                    "after": [
                        share_right(taught.blob, mine),
                        share_right(taught.blob, others),
                    ],
                    "sequences": taught.sequences,
                    "arena_bytes": taught.arena_bytes,
                }
            )
    return found


def _asked(sets: Sets, k: int) -> tuple[Any, Any]:
    """(the speaker's test sequences, those of the others)."""
    is_k = sets.test.classes == k
    return sets.test.where(is_k), sets.test.where(~is_k)


def without(
    sets: Sets, k: int, seed: int, *, full: bool, says: Says | None = None
) -> bytes:
    """The blob of a model with an output for every speaker that never heard k."""
    known = Sets(sets.train.where(sets.train.classes != k), sets.test)
    task = whole_task(VOWELS, known, goal=0.9, noise=NOISE)
    label = f"without speaker {k + 1}, seed {seed}"
    return trained(task, settings_of(task, full=full), seed, says, label=label).int16()


def lessons(sets: Sets, k: int, n: int, seed: int, *, rehearse: bool) -> list[Lesson]:
    """One pass: n sequences of k; or these and one of each other by turns.

    The seed draws which; where one kind is fewer its sequences come again.
    """
    rng = np.random.default_rng([seed, k])
    classes = sets.train.classes
    own = rng.permutation(np.flatnonzero(classes == k))[:n]
    if not rehearse:
        return sets.train.take(own).lessons()
    stored = [
        rng.choice(np.flatnonzero(classes == j))
        for j in range(sets.train.n_out)
        if j != k
    ]
    turns = max(n, len(stored))
    order = [i for t in range(turns) for i in (own[t % n], stored[t % len(stored)])]
    return sets.train.take(order).lessons()


def _on_core(sets: Sets, seed: int, *, full: bool, says: Says | None) -> dict[str, Any]:
    """Learn the first speaker on the emulated core, too, and compare the weights."""
    name, n = "all layers, with rehearsal", 5
    way, blob = WAYS[name], without(sets, 0, seed, full=full, says=says)
    order = lessons(sets, 0, n, seed, rehearse=True)
    if says is not None:
        says(f"{name}, on {CORE}", 0, 1, "")

    def on_core(start: bytes, learn: Any) -> DeviceTrainer:
        return DeviceTrainer(start, learn, on=CORE)

    host: Taught = teach(blob, order, way.few)
    core: Taught = teach(blob, order, way.few, on_core)
    return {
        "way": name,
        "n": n,
        "steps": core.steps,
        "same": host.blob == core.blob,
        "crc": f"{crc(core.blob):08x}",
    }


# ---- what is said --------------------------------------------------------


def figures(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over speakers and seeds, by way and number of sequences."""
    rows = []
    for way in WAYS:
        for n in COUNTS:
            some = [t for t in trials if (t["way"], t["n"]) == (way, n)]
            pairs = {
                w: [[t[w][i] for t in some] for i in (0, 1)]
                for w in ("before", "after")
            }
            rows.append(
                {
                    "way": way,
                    "n": n,
                    "trials": len(some),
                    "before": [mean(values) for values in pairs["before"]],
                    "after": [mean(values) for values in pairs["after"]],
                    "worst": min(pairs["after"][0]),
                    "worst_others": min(pairs["after"][1]),
                    "sequences": mean(t["sequences"] for t in some),
                    "arena_bytes": max(t["arena_bytes"] for t in some),
                }
            )
    return rows


def page(result: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The table and what it means."""
    core, before = result[CORE], rows[0]["before"]
    seeds = f"{result['seeds']} seeds from {result['first_seed']:,} on"
    rule = {w: way.few for w, way in WAYS.items()}
    return "\n".join(
        [
            "# A new class, learnt on the device",
            "",
            "Written by `pyvgrad lab new-class --full -o docs/results`; every trial is "
            "in `new-class.json`.",
            "",
            *([] if result["full"] else ["A short run, no results.", ""]),
            "Japanese vowels: a model of eight speakers (LSTM, 16 cells, int16) was "
            "trained in float without speaker k and has a spare output. The C core "
            f"learns k from n of his 30 sequences. Means over all k and {seeds}, in "
            "brackets the worst k and seed; the test set is the archive's, speaker k's "
            "and the others' apart. Before: "
            f"{before[0]:.1%} on k, {before[1]:.1%} on the others.",
            "",
            "*Alone*: passes over the n sequences until each is right (rate "
            f"{rule['readout, alone'].rate:g} for the readout, "
            f"{rule['all layers, alone'].rate:g} for all layers). *With rehearsal*: "
            "one stored sequence of each other speaker comes by turns with the n, "
            f"{rule['readout, with rehearsal'].passes} passes. An update after each "
            "sequence, TBPTT over all of it, clip 1. Learnt are sequences, repeated "
            "ones counted.",
            "",
            *table(
                ["way", "n", "on k", "on the others", "learnt", "RAM"],
                [
                    [
                        row["way"],
                        str(row["n"]),
                        f"{row['after'][0]:.1%} ({row['worst']:.0%})",
                        f"{row['after'][1]:.1%} ({row['worst_others']:.0%})",
                        f"{row['sequences']:,.0f}",
                        f"{row['arena_bytes']:,}",
                    ]
                    for row in rows
                ],
            ),
            "",
            f"On the emulated M4 ({core['way']}, n = {core['n']}, {core['steps']:,} "
            f"steps) the weights are {'the same' if core['same'] else 'NOT the same'}, "
            f"bit for bit (CRC {core['crc']}).",
            "",
            "![accuracy on k and on the others](new-class.png)",
            "",
        ]
    )


def plot(rows: list[dict[str, Any]]) -> bytes:
    """Accuracy by the number of sequences, on k and on the others."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for i, title in enumerate(("the new speaker", "the eight others")):
        panels[title] = {
            way: (
                [0.0, *(float(n) for n in COUNTS)],
                [rows[0]["before"][i]]
                + [row["after"][i] for row in rows if row["way"] == way],
            )
            for way in WAYS
        }
    return mean_curves(panels, "sequences of the new speaker", "accuracy")


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['way']}, n = {row['n']}: {row['after'][0]:.1%} on the new speaker, "
        f"{row['after'][1]:.1%} on the others (before {row['before'][1]:.1%})"
    )
