"""The theory lab's plots."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyvgrad import flow_bounds
from pyvgrad.plots_lab import Axis, Line, line_panels
from pyvgrad.theory import LAG, NETS, SCALE, N
from pyvgrad.underflow import FIXED

Figures = dict[str, Any]

_LOWEST = 1e-20  # of factors shown


def plots(figures: Figures) -> dict[str, bytes]:
    """{file name: PNG}."""
    return {
        "theory-q.png": _over_q(figures),
        "theory-w.png": _over_w(figures),
        "theory-radius.png": _radius(figures),
        "theory-training.png": _training(figures),
        "theory-integers.png": _integers(figures),
    }


def _over_q(figures: Figures) -> bytes:
    every, alone = [], []
    for name, of in figures["over_q"].items():
        mean = of["all"]["mean"]
        every.append(Line(name, range(1, len(mean) + 1), mean))
        if "carousel" in of:
            kept = of["carousel"]["mean"]
            alone.append(Line(name, range(1, len(kept) + 1), kept))
    q = range(1, len(mean) + 1)
    mu = flow_bounds.mu(N, SCALE)
    every.append(Line("logistic", q, [N * mu**k for k in q], "--"))
    axes = (
        Axis("steps back, q"),
        Axis("largest factor", log=True, low=_LOWEST, high=10.0),
    )
    same = axes[0], Axis("factor of c to c", log=True, low=_LOWEST, high=10.0)
    panels = {"all paths; dashed: n mu^q": every, "the carousel alone": alone}
    return line_panels(panels, [axes, same])


def _over_w(figures: Figures) -> bytes:
    rows = figures["over_w"]
    w = [r["w_max"] for r in rows]
    seeds = list(zip(*(r["factor"] for r in rows), strict=True))
    dots = [Line("a seed", w, found, "o") for found in seeds]
    medians = [float(np.median(r["factor"])) for r in rows]
    bounds = [r["bound"] for r in rows]
    first = [*dots, Line("median", w, medians), Line("n mu^q", w, bounds, "--")]
    second = []
    for c in figures["rho"]:
        label = f"y = {c['y']:g}, rest {c['rest']:g}"
        second.append(Line(label, c["w"], c["rho"]))
        second.append(Line(label, [c["peak"][0]], [c["peak"][1]], "s"))
    x = Axis("w_max", log=True), Axis("factor", log=True, low=_LOWEST, high=100.0)
    y = Axis("w", low=0.0, high=12.0), Axis("|s'(net) w|", low=0.0)
    panels = {"logistic units, ten steps": first, "rho, a path's factor a step": second}
    return line_panels(panels, [x, y])


def _radius(figures: Figures) -> bytes:
    panels, axes = {}, []
    for unit, by in figures["conditions"].items():
        for drive, nets in by.items():
            title = f"{unit}, {'driven' if float(drive) else 'without input'}"
            lines = []
            for label, must in (("must vanish", True), ("may explode", False)):
                some = [r for r in nets if r["must_vanish"] == must]
                x = [r["radius"] for r in some]
                lines.append(Line(label, x, [r["rate"] for r in some], "o"))
            radii = sorted({r["radius"] for r in nets})
            lines.append(Line("the radius: linear units", radii, radii, "--"))
            lines.append(Line("neither", radii, [1.0] * len(radii), ":"))
            panels[title] = lines
            axes.append((Axis("gamma x radius"), Axis("rate a step", low=0.0)))
    return line_panels(panels, axes)


def _training(figures: Figures) -> bytes:
    flow: list[Line] = []
    ratio: list[Line] = []
    right: list[Line] = []
    for name in NETS:
        runs = [r["points"] for r in figures["learning"] if r["net"] == name]
        if not runs:
            continue
        seen = [p["sequences"] for p in runs[0]]
        factors = np.array([[p["factors"] for p in r] for r in runs])
        share = np.array([[p["right"] for p in r] for r in runs])
        far, near = factors[:, :, LAG - 1], factors[:, :, 0]
        for lines, values in (
            (flow, far),
            (ratio, far / np.maximum(near, _LOWEST)),
            (right, share),
        ):
            lines.append(Line(name, seen, np.median(values, axis=0).tolist()))
    x = Axis("sequences learnt")
    factor = Axis("factor", log=True, low=1e-6, high=10.0)
    panels = {
        f"largest factor over {LAG} steps": flow,
        "next to that over one step": ratio,
        "test strings right": right,
    }
    axes = [(x, factor), (x, factor._replace(label="ratio")), (x, Axis("share"))]
    return line_panels(panels, axes, columns=3)


def _integers(figures: Figures) -> bytes:
    lines = []
    bits = list(FIXED.values())
    for net, rows in figures["integers"].items():
        for key, look in (("carried", "o-"), ("below", "--")):
            steps = [np.nan if r[key] is None else r[key] for r in rows]
            lines.append(Line(net, bits, steps, look))
    x, y = Axis("bits behind the point"), Axis("steps back", log=True)
    title = "steps carried within 10 %; dashed: float below half a last place"
    return line_panels({title: lines}, [(x, y)], columns=1)
