"""The underflow measurement as a page, its figures and its plot."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, table
from pyvgrad.long_run import NET_MAKERS, STEPS
from pyvgrad.plots_lab import flow_curves
from pyvgrad.underflow import (
    BLOCK,
    CHOSEN,
    FIXED,
    FROM_ARGUMENTS,
    FROM_OUTPUTS,
    GOOD,
    REFERENCE,
    START,
    TOWARD_ZERO,
    Carried,
    by_size,
    measure,
    saturation,
)

Measured = dict[str, dict[str, Carried]]

_SHORT = ("rnn_tanh, radius 0.95", "lstm, f bias 4", "lstm97, h(x) = x")
_DRAWN = (REFERENCE, "q12", "q16", "q20", CHOSEN, BLOCK)
_SIZES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_SIZED, _SIZED_STEPS = "lstm, f bias 4", 200


def run(folder: Path, *, full: bool) -> Lab:
    """Measure and write underflow.md, .png and .json into ``folder``.

    Not ``full``: three nets, 100 steps.
    """
    make_folder(folder)
    names, steps = (list(NET_MAKERS), STEPS) if full else (list(_SHORT), 100)
    measured = measure(names, steps)
    sizes = by_size(_SIZED, _SIZES, _SIZED_STEPS if full else 50)
    figures = as_dict(measured, sizes, steps)
    files = [folder / f"underflow.{end}" for end in ("md", "png", "json")]
    contents = (page(figures, full=full).encode(), _plot(measured), _json(figures))
    for file, data in zip(files, contents, strict=True):
        write_bytes(file, data)
    lines = [
        f"{name}: a gradient errs by {worst:.1g} of its norm at most ({net})"
        for name, (worst, net) in _worst(figures).items()
    ]
    return Lab(figures["rows"], files, lines)


def _json(figures: dict[str, Any]) -> bytes:
    return (json.dumps(figures, indent=1, allow_nan=False) + "\n").encode()


def as_dict(
    measured: Measured, sizes: dict[str, list[float]], steps: int
) -> dict[str, Any]:
    """The figures, as in underflow.json."""
    rows = [
        {
            "net": net,
            "format": name,
            "gradient_error": c.gradient,
            "carried_steps": c.lag,
            "smallest_carried": c.smallest if np.isfinite(c.smallest) else None,
            "norm_first": float(c.norm[0]),
            "norm_last": float(c.norm[-1]),
        }
        for net, formats in measured.items()
        for name, c in formats.items()
    ]
    return {
        "steps": steps,
        "start": START,
        "rows": rows,
        "sizes": {"net": _SIZED, "error": list(_SIZES), "gradient_error": sizes},
        "saturation": [asdict(s) for s in saturation()],
    }


def _plot(measured: Measured) -> bytes:
    return flow_curves(
        {
            net: {name: formats[name].norm for name in _DRAWN}
            for net, formats in measured.items()
        }
    )


def _worst(figures: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """{format: (its largest gradient error, the net of it)}."""
    worst: dict[str, tuple[float, str]] = {}
    for row in figures["rows"]:
        found = row["gradient_error"], row["net"]
        name = row["format"]
        if name != REFERENCE:
            worst[name] = max(worst.get(name, (0.0, "")), found)
    return worst


# ---- the page ------------------------------------------------------------


def page(figures: dict[str, Any], *, full: bool) -> str:
    """underflow.md; ``full`` false says that it is the short form."""
    command = "pyvgrad lab underflow" + (" --full -o docs/results" if full else "")
    steps = figures["steps"]
    worst = _worst(figures)
    lines = [
        "# How far back integers carry an error",
        "",
        f"Written by `{command}`; the figures are in `underflow.json`.",
        "",
        f"An error of norm {figures['start']} at h of the last step flows back through "
        f"{steps:,} steps of nets with random weights, in float64 and in other "
        "formats of errors. All follow the same run, the integers', with the same "
        "weights. What is compared are the errors of the gates' arguments: their sum "
        "over steps, times what the gates read, is the gradient.",
        "",
        "![norms of the flows](underflow.png)",
        "",
        "## The gradient",
        "",
        f"The relative error of the whole gradient of one error {steps:,} steps long.",
        "",
        *_gradients(figures, worst),
        "",
        "## Which format",
        "",
        *_choice(figures, worst),
        "",
        "## How far back",
        "",
        f"Steps back until a flow's relative error passes {GOOD:.0%}, and the norm of "
        "the float flow there.",
        "",
        *_lags(figures),
        "",
        "## Small and large errors",
        "",
        f"The gradient's relative error by the size of the error at the last step "
        f"({figures['sizes']['net']}).",
        "",
        *_sizes(figures["sizes"]),
        "",
        "## Saturated gates",
        "",
        *_saturated(figures["saturation"], worst),
    ]
    return "\n".join(lines) + "\n"


def _gradients(figures: dict[str, Any], worst: dict[str, Any]) -> list[str]:
    names = list(worst)
    nets = list(dict.fromkeys(row["net"] for row in figures["rows"]))
    at = {(r["net"], r["format"]): r["gradient_error"] for r in figures["rows"]}
    rows = [[net, *(_percent(at[net, k]) for k in names)] for net in nets]
    rows.append(["**worst**", *(f"**{_percent(worst[k][0])}**" for k in names)])
    return table(["net", *names], rows)


def _choice(figures: dict[str, Any], worst: dict[str, Any]) -> list[str]:
    sizes = figures["sizes"]["gradient_error"]
    last = dict(zip(figures["sizes"]["error"], sizes["q28"], strict=True))
    ours = dict(zip(figures["sizes"]["error"], sizes[CHOSEN], strict=True))
    return [
        f"**int32 q24**, values within +-128. Its worst gradient errs by "
        f"{_percent(worst[CHOSEN][0])} of its norm ({worst[CHOSEN][1]}); q20 errs by "
        f"{_percent(worst['q20'][0])}, q16 by {_percent(worst['q16'][0])}. q28 errs by "
        f"{_percent(worst['q28'][0])}, but holds only +-8: with an error of "
        f"10 at the last step its gradient errs by {_percent(last[10.0])}, q24's by "
        f"{_percent(ours[10.0])}. Int16 mantissas with one exponent a vector neither "
        f"underflow nor overflow and err by {_percent(worst[BLOCK][0])}; they would "
        "halve what errors take, but not the gradient's and the weights' int32 beside "
        "them, and cost a search for the largest and a shift for every vector.",
        "",
        "Rounding must be to nearest: cut off toward zero, the worst gradient errs by "
        f"{_percent(worst[TOWARD_ZERO][0])}. The price is that an error of a few last "
        "places, 6e-8 each, no longer decays, so a curve that falls ends on a floor.",
    ]


def _lags(figures: dict[str, Any]) -> list[str]:
    names = [*FIXED, BLOCK]
    by_net: dict[str, dict[str, Any]] = {}
    for row in figures["rows"]:
        by_net.setdefault(row["net"], {})[row["format"]] = row
    rows = []
    for net, formats in by_net.items():
        first, last = (formats[REFERENCE][k] for k in ("norm_first", "norm_last"))
        cells = [_carried(formats[name], figures["steps"]) for name in names]
        rows.append([net, f"{first:.0e} to {last:.0e}", *cells])
    return table(["net", "float, first to last", *names], rows)


def _carried(row: dict[str, Any], steps: int) -> str:
    lag = row["carried_steps"]
    if lag >= steps:
        return "all"
    small = row["smallest_carried"]
    return f"{lag:,}" if small is None else f"{lag:,} ({small:.0e})"


def _sizes(sizes: dict[str, Any]) -> list[str]:
    head = ["format", *(f"{size:g}" for size in sizes["error"])]
    rows = [
        [name, *(_percent(e) for e in errors)]
        for name, errors in sizes["gradient_error"].items()
    ]
    return table(head, rows)


def _saturated(rows: list[dict[str, Any]], worst: dict[str, Any]) -> list[str]:
    text = table(
        ["derivative", "off by 10 % from net input", "by half from", "0 from"],
        [
            [
                f"{row['function']}'",
                *(f"{row[k]:.2f}" for k in ("tenth", "half", "zero")),
            ]
            for row in rows
        ],
    )
    slopes = " and ".join(f"{row['slope']:.0e}" for row in rows)
    return [
        "Derivatives are made of the q14 outputs, s' = s (1 - s), tanh' = 1 - tanh^2, "
        "so they are coarse where a gate is saturated:",
        "",
        *text,
        "",
        f"Where that begins the derivatives are {slopes}: an error that passes is "
        "nearly gone in float, too. With derivatives of the stored arguments the worst "
        f"gradient of q24 errs by {_percent(worst[FROM_ARGUMENTS][0])} instead of "
        f"{_percent(worst[CHOSEN][0])}, and errors in float64 with derivatives of the "
        f"outputs by {_percent(worst[FROM_OUTPUTS][0])}: the tape need not keep the "
        "arguments.",
    ]


def _percent(value: float) -> str:
    if value >= 10.0:
        return "> 1,000 %"
    return f"{100 * value:.2g} %" if value < 1.0 else f"{100 * value:.0f} %"
