"""The theory lab's page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from pyvgrad import flow_bounds
from pyvgrad.lab import table
from pyvgrad.theory import LAG, LENGTH, SCALE, N

Figures = dict[str, Any]

W_STEPS = 10  # over which weights are varied
TIMES = tuple(float(t) for t in np.round(np.linspace(0.4, 2.5, 15), 3))


def summary(figures: Figures) -> list[Figures]:
    """A row a net: the factor over 1, 10 and all steps, and after learning."""
    rows = []
    for name, of in figures["over_q"].items():
        mean = of["all"]["mean"]
        learnt = [r for r in figures["learning"] if r["net"] == name]
        ends = [r["points"][-1] for r in learnt]
        starts = [r["points"][0] for r in learnt]
        rows.append(
            {
                "net": name,
                "steps": len(mean),
                "factor_1": mean[0],
                "factor_10": mean[9],
                "factor_last": mean[-1],
                "carousel": of["carousel"]["mean"][-1] if "carousel" in of else None,
                "lag_before": median(p["factors"][LAG - 1] for p in starts),
                "lag_after": median(p["factors"][LAG - 1] for p in ends),
                "ratio_before": _ratio(starts),
                "ratio_after": _ratio(ends),
                "right": median(p["right"] for p in ends),
                "all_right": sum(
                    any(p["right"] == 1.0 for p in r["points"]) for r in learnt
                ),
                "trained": len(ends),
            }
        )
    return rows


def _ratio(points: Sequence[Figures]) -> float:
    """Of the factor over LAG steps to that over one, the median."""
    pairs = [(p["factors"][LAG - 1], p["factors"][0]) for p in points]
    return float(median(far / near if near else 0.0 for far, near in pairs))


def page(figures: Figures) -> str:
    """theory.md."""
    seeds = f"{figures['seeds']} seeds from {figures['first_seed']:,} on"
    versions = ", ".join(f"{k} {v}" for k, v in figures["versions"].items())
    return "\n".join(
        [
            "# Error flow, theory and measurement",
            "",
            "Written by `pyvgrad lab theory --full -o docs/results`; every figure is "
            f"in `theory.json` ({versions}). What it means is told in "
            "[The vanishing gradient, hands on](../vanishing-gradient.md).",
            "",
            *([] if figures["full"] else ["A short run, no results.", ""]),
            "The factor is d net_u(t) / d net_v(t-q), by which an error at unit u is "
            "scaled on its way to unit v, q steps before (Hochreiter 1998, eq. 1-3), "
            "computed by products of Jacobians; of all pairs u, v the largest absolute "
            f"one is taken. {N} units, weights uniform in +-{SCALE} unless said "
            f"otherwise, random symbols as input, {seeds}, geometric means. IndRNN's u "
            "starts within 0.9 to 1; LSTM 1997 has no forget gate.",
            "",
            *_over_q(figures),
            *_over_w(figures),
            *_conditions(figures),
            *_learning(figures),
            *_integers(figures),
        ]
    )


def _over_q(figures: Figures) -> list[str]:
    rows = summary(figures)
    last = rows[0]["steps"]
    mu = flow_bounds.mu(N, SCALE)
    return [
        "## Over q steps",
        "",
        "![factors over q](theory-q.png)",
        "",
        *table(
            ["net", "1 step", "10 steps", f"{last} steps", "carousel alone"],
            [
                [
                    r["net"],
                    *(f"{r[k]:.1e}" for k in ("factor_1", "factor_10", "factor_last")),
                    "-" if r["carousel"] is None else f"{r['carousel']:.1e}",
                ]
                for r in rows
            ],
        ),
        "",
        f"Bound for the logistic net: n mu^q with mu = n w_max / 4 = {mu:g}, "
        f"{N * mu**last:.1e} over {last} steps. The carousel is what c (GRU: h) "
        "carries to itself where weights pass no error, over one step more.",
        "",
    ]


def _over_w(figures: Figures) -> list[str]:
    rows = figures["over_w"]
    best = max(rows, key=lambda r: median(r["factor"]))
    chosen = [r for k, r in enumerate(rows) if k % 4 == 0 or r is best]
    peaks = [
        [f"{c['y']:g}", f"{c['rest']:g}", *(f"{v:.4f}" for v in c["peak"])]
        for c in figures["rho"]
    ]
    return [
        "## Over the weights",
        "",
        "![factors over w_max, and rho](theory-w.png)",
        "",
        f"Logistic net, {W_STEPS} steps, weights uniform in +-w_max. The median is "
        f"largest at w_max = {best['w_max']:.3g}; larger weights saturate the units.",
        "",
        *table(
            ["w_max", "mu", "n mu^q", "smallest", "median", "largest"],
            [
                [
                    f"{r['w_max']:.3g}",
                    f"{r['mu']:.3g}",
                    f"{r['bound']:.1e}",
                    f"{r['factor'][0]:.1e}",
                    f"{median(r['factor']):.1e}",
                    f"{r['factor'][-1]:.1e}",
                ]
                for r in chosen
            ],
        ),
        "",
        "rho(w) = |s'(net) w|, net = w y + rest, is largest where "
        "w = (1/y) coth(net/2):",
        "",
        *table(["y", "rest", "w", "rho"], peaks),
        "",
    ]


def _conditions(figures: Figures) -> list[str]:
    rows = []
    for unit, by in figures["conditions"].items():
        for drive, nets in by.items():
            must = [r for r in nets if r["must_vanish"]]
            grow = [r for r in nets if r["rate"] > 1.0]
            free = [r for r in nets if not r["must_vanish"]]
            kept = [r for r in free if r["rate"] <= 1.0]
            rows.append(
                [
                    unit,
                    drive,
                    f"{sum(r['rate'] < 1.0 for r in must)} of {len(must)}",
                    f"{sum(r['gain'] >= 1.0 for r in grow)} of {len(grow)}",
                    f"{len(kept)} of {len(free)}",
                ]
            )
    return [
        "## Conditions on W",
        "",
        "![rate over the radius](theory-radius.png)",
        "",
        "With gamma the largest slope of a unit (1 for tanh, 1/4 for logistic): gamma "
        "times the largest singular value below 1 is sufficient for vanishing, so that "
        "above 1 is necessary for exploding, and not sufficient. The rate is "
        "||d h(t) / d h(t-50)||^(1/50). W is normal, scaled to spectral radii of "
        f"{TIMES[0]:g} to {TIMES[-1]:g} / gamma.",
        "",
        *table(
            [
                "unit",
                "input",
                "vanish that must",
                "explode that may",
                "may explode and vanish",
            ],
            rows,
        ),
        "",
    ]


def _learning(figures: Figures) -> list[str]:
    limit = figures["learning"][0]["limit"]
    return [
        "## While a net learns",
        "",
        "![factors while learning](theory-training.png)",
        "",
        "Embedded Reber strings, an update after each, "
        f"{limit:,} of them, weights as Glorot and Bengio have them at the start, "
        f"{figures['learn_seeds']} seeds from {figures['first_seed']:,} on. Strings of "
        f"{LENGTH} symbols of the test set are followed over the {LAG} steps from the "
        "last-but-one symbol's prediction to where the second was read; the ratio is "
        "that to the factor over one step. Right is the share of test strings; medians "
        "of seeds. Who guesses the last-but-one symbol has half of them right.",
        "",
        *table(
            ["net", "factor", "at the end", "ratio", "at the end", "right", "once all"],
            [
                [
                    r["net"],
                    *(f"{r[k]:.1e}" for k in ("lag_before", "lag_after")),
                    *(f"{r[k]:.1e}" for k in ("ratio_before", "ratio_after")),
                    f"{r['right']:.1%}",
                    f"{r['all_right']} of {r['trained']}",
                ]
                for r in summary(figures)
            ],
        ),
        "",
        f"Once all: the seeds that had every test string right at one of the looks, "
        f"{figures['learning'][0]['every']} sequences apart.",
        "",
    ]


def _integers(figures: Figures) -> list[str]:
    formats = [row["format"] for row in next(iter(figures["integers"].values()))]
    rows = []
    for net, found in figures["integers"].items():
        cells = []
        for row in found:
            carried = "all" if row["carried"] is None else row["carried"]
            below = "-" if row["below"] is None else row["below"]
            cells.append(f"{carried} ({below})")
        rows.append([net, *cells])
    return [
        "## In integers",
        "",
        "![steps until underflow](theory-integers.png)",
        "",
        "An error of norm 0.1 sent back by the C core's rules, with errors in other "
        "formats: the steps over which it stays within 10 % of float64's; in brackets, "
        "from where on float64's is below half a last place. Rounding to nearest keeps "
        "a noise of a few last places alive behind that. More nets and formats: "
        "[underflow](underflow.md).",
        "",
        *table(["net", *formats], rows),
        "",
    ]
