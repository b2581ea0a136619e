"""temporal-order.md and its plots, made of what temporal-order.json holds."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from pyvgrad.lab import table
from pyvgrad.params import STARTS
from pyvgrad.plots_lab import mean_curves, seed_curves

Rows = dict[str, dict[str, Any]]

PAPER_LIMIT = 5_000_000  # updates
_PUBLISHED = (
    "The paper has its success rates as a figure without numbers. The last column is "
    f"of its text, cited from memory: within at most {PAPER_LIMIT:,} updates "
    "MSGD-CR succeeds in every run up to L = 200, MSGD and MSGD-C fail as L grows; and "
    "one model of the basic tanh start, trained by MSGD-CR on lengths from 50 to 200, "
    "is right in all five runs, and at any length up to 5,000."
)


def rates(row: dict[str, Any]) -> dict[str, Any]:
    """Of each method: seeds, how many solved it, and their updates' median."""
    return {
        method: {
            "seeds": len(of["solved"]),
            "solved": sum(of["solved"]),
            "median": median(done) if (done := _updates(of)) else None,
            "max": max(done, default=None),
        }
        for method, of in row["methods"].items()
    }


def _updates(of: dict[str, Any]) -> list[int]:
    """The updates of the seeds that solved it."""
    pairs = zip(of["solved"], of["updates"], strict=True)
    return [n for ok, n in pairs if ok]


def one_length(rows: Rows) -> Rows:
    """The rows of sequences of one length, start by start, the shortest first."""
    found = [(k, r) for k, r in rows.items() if r["lengths"][0] == r["lengths"][1]]
    order = list(STARTS)
    return dict(
        sorted(found, key=lambda row: (order.index(row[1]["start"]), row[1]["lengths"]))
    )


# ---- plots ---------------------------------------------------------------


def success_plot(rows: Rows) -> bytes:
    """The share of seeds that solved it, over L, a panel a start."""
    curves = success_curves(rows)
    return mean_curves(curves, "L", "share of the seeds that solved it", columns=3)


def success_curves(
    rows: Rows,
) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """L and the share of seeds that solved it, by start and method."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for row in one_length(rows).values():
        for method, f in rates(row).items():
            of = panels.setdefault(row["start"], {})
            x, y = of.setdefault(method, ([], []))
            x.append(row["lengths"][0])
            y.append(f["solved"] / f["seeds"])
    return panels


def loss_plot(rows: Rows) -> bytes:
    """Every seed's loss while it learns, a panel a row."""
    return seed_curves(loss_curves(rows), "thousand updates", "loss; ln 4 by chance")


def loss_curves(rows: Rows) -> dict[str, dict[str, list[tuple[list[float], Any]]]]:
    """Thousands of updates and the loss of every seed, by row and method."""
    return {
        name: {
            method: [_curve(c) for c in of["curve"]]
            for method, of in row["methods"].items()
        }
        for name, row in (one_length(rows) | rows).items()
    }


def _curve(points: list[list[float]]) -> tuple[list[float], Any]:
    return [p[0] / 1000.0 for p in points], np.array([p[1] for p in points])


# ---- the page ------------------------------------------------------------


def order_page(rows: Rows) -> str:
    """The table, the model of all lengths, what differs from the paper."""
    lines = [
        "# Temporal order: gradients that explode and vanish",
        "",
        "Written by `pyvgrad lab temporal-order --full -o docs/results`, row by row "
        "with `--only ROW`; every seed's result and curve is in "
        "`temporal-order.json`, with the versions and the command of each row.",
        "",
        *_setting(rows),
        "",
        *_by_length(rows),
        "![losses](temporal-order-loss.png)",
        "",
        *_far(rows),
        "## Beside the paper",
        "",
        _PUBLISHED,
        "",
        *_differs(rows),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _limits(rows: Rows) -> list[int]:
    """The limits of all trainings, the smallest first."""
    found = {of["limit"] for row in rows.values() for of in row["methods"].values()}
    return sorted(found)


def _listed(limits: list[int]) -> str:
    return " or ".join(f"{n:,}" for n in limits)


def _setting(rows: Rows) -> list[str]:
    return [
        "Two of L symbols, one in the second tenth and one in the sixth, decide which "
        "of four classes a sequence has; the rest are distractors (Pascanu, Mikolov "
        "and Bengio 2013, 4.1). 50 plain units, minibatches of 20, rate .01 without "
        "momentum. *MSGD* is plain, *MSGD-C* clips the gradient's norm to 1, *MSGD-CR* "
        "adds 4 times Omega. Starts: *sigmoid* N(0, .01), *basic tanh* N(0, .1), "
        "*smart tanh* N(0, .01) with 15 weights a row of W_rec, scaled to a spectral "
        "radius of .95; second figures are standard deviations. Solved: less than 1 % "
        "wrong of 10,000 fresh sequences, within the updates of the third column. A "
        "cell has the seeds that solved it and the median of their updates, counted to "
        "the test (one every 500); all seeds are counted.",
    ]


def _by_length(rows: Rows) -> list[str]:
    if not one_length(rows):
        return []
    methods = sorted({m for row in one_length(rows).values() for m in row["methods"]})
    head = ["start", "L", "updates, at most", *methods, "paper, MSGD-CR"]
    return [
        *table(head, _cells(rows, methods)),
        "",
        "![share of the seeds that solved it, over L](temporal-order.png)",
        "",
    ]


def _cells(rows: Rows, methods: list[str]) -> list[list[str]]:
    return [
        [
            row["start"],
            str(row["lengths"][0]),
            _listed(_limits({"": row})),
            *(_counted(rates(row).get(method)) for method in methods),
            _in_the_paper(row),
        ]
        for row in one_length(rows).values()
    ]


def _in_the_paper(row: dict[str, Any]) -> str:
    """As far as its text says it: of MSGD-CR up to 200."""
    told = row["start"] != "sigmoid" and 50 <= row["lengths"][0] <= 200
    return "5/5" if told else "-"


def _counted(f: dict[str, Any] | None) -> str:
    if f is None:
        return "not run"
    share = f"{f['solved']}/{f['seeds']}"
    return f"{share}: {f['median']:,.0f}" if f["solved"] else share


def _far(rows: Rows) -> list[str]:
    """How the models of many lengths do at others."""
    lines: list[str] = []
    for row in rows.values():
        if row["lengths"][0] == row["lengths"][1]:
            continue
        low, high = row["lengths"]
        for method, of in row["methods"].items():
            f = rates(row)[method]
            lines += [
                f"## Trained on {low} to {high}, asked further on",
                "",
                f"Every minibatch has a length of its own from {low} to {high} "
                f"({row['start']}, {method}), and training goes on until none of "
                "10,000 fresh sequences is wrong, as in the published code, or to "
                f"{of['limit']:,} updates. Less than 1 % wrong at the end: "
                f"{f['solved']} of {f['seeds']} seeds ("
                + ", ".join(
                    f"seed {seed}: {n:,}{'' if ok else ', not solved'}"
                    for seed, n, ok in zip(
                        of["seeds"], of["updates"], of["solved"], strict=True
                    )
                )
                + ").",
                "",
            ]
            lines += _far_table(of["seeds"], of["far"])
    return lines


def _far_table(seeds: list[int], far: list[dict[str, float]]) -> list[str]:
    asked = [(seed, of) for seed, of in zip(seeds, far, strict=True) if of]
    if not asked:
        return []
    lengths = list(asked[0][1])
    rows = [[f"seed {s}", *(f"{of[n]:.2%}" for n in lengths)] for s, of in asked]
    return [
        "Wrong of 10,000 fresh sequences of each length; by chance 75 %:",
        "",
        *table(["L", *(f"{int(n):,}" for n in lengths)], rows),
        "",
    ]


def _differs(rows: Rows) -> list[str]:
    limits = _limits(rows)
    return [
        f"What differs here: at most {_listed(limits)} updates, no more than "
        f"{100 * limits[-1] / PAPER_LIMIT:g} % of the paper's, so that a row without a "
        "success says nothing about more "
        "updates; shorter lengths beside the paper's, and what is not in the table was "
        "not run. Omega is the mean over the steps "
        "(those whose error has a norm above 1e-10) and sequences, as in the "
        "published code; the paper's formula is a sum. Its ratio is that of "
        "the norms, as in the paper; the published code has their squares. A row of "
        "the smart start's W_rec are a unit's incoming weights. The published code "
        "stops at no error in 10,000, the paper's criterion is the 1 % used here.",
        "",
        "One training runs as fast alone as in a batch of seeds: on one core of this "
        "kind of machine 5 or 15 seeds under `vmap` took the same time a seed within "
        "20 %, so that seeds are spread over processes (`--workers local`).",
    ]
