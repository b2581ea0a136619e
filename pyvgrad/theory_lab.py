"""The theory lab: what is measured, and with how many seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad import flow_bounds, theory, theory_plots
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab
from pyvgrad.spread import Says, spread
from pyvgrad.theory import NETS, SCALE, UNITS, N
from pyvgrad.theory_page import TIMES, W_STEPS, page, summary
from pyvgrad.underflow import measure

FIRST_SEED = 10_000
SEEDS, SHORT_SEEDS = 10, 2
LEARN_SEEDS = 5  # of these, nets that learn
STEPS = 101
W_MAX = tuple(float(w) for w in np.round(np.geomspace(0.1, 100.0, 25), 3))
DRIVES = (0.0, 0.5)
RHO = ((1.0, 0.0), (0.5, 0.0), (0.2, 0.0), (1.0, -4.0))  # y, what else net is
FORMAT_NETS = (
    "rnn_tanh, radius 0.8",
    "rnn_tanh, radius 0.95",
    "lstm, f bias 1",
    "lstm, f bias 2",
    "lstm, f bias 6",
    "lstm97, h(x) = 2s - 1",
)
LIMIT, EVERY = 15_000, 500  # sequences, and between two looks

Figures = dict[str, Any]


def run(
    out: Path,
    *,
    full: bool,
    seeds: int | None = None,
    first: int = FIRST_SEED,
    only: Sequence[str] = (),
    workers: str | None = None,
    says: Says | None = None,
) -> Lab:
    """Measure, and write theory.md, .json and the plots into ``out``.

    Not ``full``: few seeds and steps, and nets learn shortly.  ``only``: of NETS.
    ``workers`` share the nets that learn; theory.jsonl keeps those that have.
    ValueError for an unknown net.
    """
    for name in only:
        if name not in NETS:
            raise ValueError(f"there is no net {name!r}; known: {', '.join(NETS)}")
    nets = list(only) or list(NETS)
    make_folder(out)
    n = seeds or (SEEDS if full else SHORT_SEEDS)
    every = list(range(first, first + n))
    few = every if seeds or not full else every[:LEARN_SEEDS]
    learnt = learn(out, nets, few, full=full, workers=workers, says=says)
    figures = {
        "full": full,
        "versions": {name: version(name) for name in ("pyvgrad", "jax", "numpy")},
        "first_seed": first,
        "seeds": n,
        "learn_seeds": len(few),
        **random_nets(nets, every, full=full, says=says),
        "learning": learnt,
        "integers": in_integers(full=full),
    }
    files = {
        "theory.md": page(figures).encode(),
        "theory.json": (json.dumps(figures, allow_nan=False) + "\n").encode(),
        **theory_plots.plots(figures),
    }
    for name, data in files.items():
        write_bytes(out / name, data)
    rows = summary(figures)
    lines = [
        f"{r['net']}: factor {r['factor_1']:.1e} over 1 step, {r['factor_last']:.1e} "
        f"over {r['steps']}"
        for r in rows
    ]
    return Lab(rows, [out / name for name in files], lines, holds(figures))


# ---- what is measured ----------------------------------------------------


def random_nets(
    nets: Sequence[str], seeds: Sequence[int], *, full: bool, says: Says | None
) -> Figures:
    """Nets of random weights: over q, over w_max, over the radius of W."""
    steps = STEPS if full else 21
    of_q = {}
    for k, name in enumerate(nets):
        of_q[name] = theory.over_q(name, seeds, steps)
        if says is not None:
            says("random nets", k + 1, len(nets), name)
    times = TIMES if full else TIMES[::5]
    return {
        "over_q": of_q,
        "over_w": theory.over_w(seeds, W_MAX if full else W_MAX[::6], W_STEPS),
        "rho": [rho_curve(y, rest) for y, rest in RHO],
        "conditions": {
            unit: {str(d): theory.conditions(unit, seeds, times, d) for d in DRIVES}
            for unit in UNITS
        },
    }


def rho_curve(y: float, rest: float) -> Figures:
    """rho over w, and its peak."""
    w = np.linspace(0.0, 12.0, 241)
    best = flow_bounds.peak(y, rest)
    top = float(flow_bounds.rho(np.array(best), y, rest))
    curve = flow_bounds.rho(w, y, rest)
    return {
        "y": y,
        "rest": rest,
        "w": w.tolist(),
        "rho": curve.tolist(),
        "peak": [best, top],
    }


def learn(
    out: Path,
    nets: Sequence[str],
    seeds: Sequence[int],
    *,
    full: bool,
    workers: str | None,
    says: Says | None,
) -> list[Figures]:
    """Every net on every seed: its job and what came of it."""
    limit, every = (LIMIT, EVERY) if full else (400, 200)
    jobs = [
        {
            "key": f"{name}, seed {s}",
            "net": name,
            "seed": s,
            "limit": limit,
            "every": every,
        }
        for s in seeds
        for name in nets
    ]
    found = spread(
        theory.while_learning,
        jobs,
        store=out / "theory.jsonl",
        workers=workers,
        says=says,
        label="nets that learn",
    )
    return [job | result for job, result in zip(jobs, found, strict=True)]


def in_integers(*, full: bool) -> Figures:
    """{net: rows of theory.lost}."""
    names, steps = (FORMAT_NETS, 1000) if full else (FORMAT_NETS[:1], 100)
    measured = measure(names, steps)
    return {net: theory.lost(formats) for net, formats in measured.items()}


def holds(figures: Figures) -> bool:
    """Whether no factor is above its bound, and no net explodes that must not."""
    mu, below = flow_bounds.mu(N, SCALE), True
    if "logistic" in figures["over_q"]:
        found = figures["over_q"]["logistic"]["all"]["high"]
        below = all(v <= N * mu ** (q + 1) for q, v in enumerate(found))
    over_w = all(r["factor"][-1] <= r["bound"] for r in figures["over_w"])
    every = [r for by in figures["conditions"].values() for d in by.values() for r in d]
    return below and over_w and all(r["rate"] < 1 for r in every if r["must_vanish"])
