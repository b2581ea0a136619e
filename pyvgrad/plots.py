"""Plots as SVG to be put into a page, which gives them their colours.

Every colour is a variable of ``report.css``, so that one plot serves light, dark and
print; text stays text.  The same arguments give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import VgradError

Floats = NDArray[np.float64]

UNITS = 4  # as many lines as a panel of this size can tell apart
WIDTH = 5.2  # inches of 72 points; the page scales them

# Stands for a variable until the SVG is written; what is seen is in report.css.
_COLOURS = {
    name: f"#0000{k:02x}"
    for k, name in enumerate(
        ("ink", "soft", "grid", "band", "unit0", "unit1", "unit2", "unit3"), 1
    )
}
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _COLOURS["soft"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": _COLOURS["ink"],
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 9.0,
    "grid.color": _COLOURS["grid"],
    "grid.linewidth": 0.6,
    "legend.borderaxespad": 0.2,
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
    "svg.fonttype": "none",
    "text.color": _COLOURS["ink"],
    "text.parse_math": False,
    "xtick.color": _COLOURS["soft"],
    "xtick.labelcolor": _COLOURS["ink"],
    "ytick.color": _COLOURS["soft"],
    "ytick.labelcolor": _COLOURS["ink"],
}


@contextmanager
def _figure(height: float, salt: str) -> Iterator[Any]:
    """Give a matplotlib Figure in our style, whatever the user's configuration.

    ``salt`` keeps the ids of two plots in one page apart.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise VgradError(
            "matplotlib is not installed and plots need it: pip install pyvgrad[plot]"
        ) from error
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE | {"svg.hashsalt": f"pyvgrad {salt}"})
        yield Figure(figsize=(WIDTH, height))


def _svg(figure: Any, alt: str) -> str:
    """The figure as an <svg> element that is announced as ``alt``."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace("xlink:href", "href")
    foreign = r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->"
    text = re.sub(foreign, "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(
        r' id="([^"]*)"', lambda m: m.group() if m.group(1) in used else "", text
    )
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None
    head = f'<svg {view.group()} role="img" aria-label="{escape(alt)}">'
    text = head + text[text.index(">") + 1 :]
    for name, colour in _COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r" font-family: [^;]*;| transform=\"rotate\(-0 [^)]*\)\"", "", text)
    text = re.sub(r' (?:d|x|y|transform)="[^"]*"', _shorten, text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _shorten(attribute: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point."""
    return re.sub(
        r"-?\d+\.\d{3,}", lambda m: f"{float(m.group()):.2f}", attribute.group()
    )


def _margins(
    height: float, *, top: float, right: float = 0.1, between: float = 0.0
) -> dict[str, float]:
    """Where panels are in a figure, of inches: fixed, so that all plots line up."""
    sides = {"left": 0.64 / WIDTH, "right": 1.0 - right / WIDTH}
    low, high = 0.46 / height, 1.0 - top / height
    return sides | {"bottom": low, "top": high, "hspace": between}


def _unit(k: int) -> str:
    return _COLOURS[f"unit{k % UNITS}"]


# ---- training ------------------------------------------------------------


def training(
    loss_at: Floats, losses: Floats, solved_at: int | None, *, alt: str, salt: str
) -> str:
    """Loss (chunks,), logarithmic, against sequences seen, with a running median."""
    shown = np.isfinite(losses) & (losses > 0)
    at, loss = loss_at[shown], losses[shown]
    with _figure(2.7, salt) as figure:
        axes = figure.subplots(gridspec_kw=_margins(2.7, top=0.1, right=0.3))
        half = len(loss) // 60
        axes.plot(at, loss, color=_unit(0), lw=1.0, alpha=0.35 if half else 1.0)
        if len(loss) == 1:
            axes.plot(at, loss, "o", color=_unit(0))
        if half:
            axes.plot(at, running_median(loss, half), color=_unit(0), lw=1.8)
        if solved_at is not None:
            _mark_solved(axes, solved_at, float(at.mean()))
        axes.set_yscale("log")
        for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis(lambda value, _: _log_label(value, loss))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.get_major_locator().set_params(nbins=6, integer=True)
        axes.set(xlabel="sequences seen", ylabel="mean loss of a sequence")
        return _svg(figure, alt)


def learning(
    at: Floats,
    loss: Floats,
    shares: Mapping[str, Floats],
    solved_at: int | None,
    *,
    alt: str,
    salt: str,
) -> str:
    """Loss (points,), logarithmic, above shares (points,) from 0 to 1, in percent."""
    with _figure(3.4, salt) as figure:
        margins = _margins(3.4, top=0.1, right=0.3, between=0.3)
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw=margins)
        shown = np.isfinite(loss) & (loss > 0)
        upper.plot(at[shown], loss[shown], "o-", ms=2.5, color=_unit(0), lw=1.4)
        for k, (label, share) in enumerate(shares.items(), 1):
            look = {"color": _unit(k), "ms": 2.5, "lw": 1.4}
            lower.plot(at, 100.0 * share, "o-", label=label, **look)
        if solved_at is not None:
            _mark_solved(upper, solved_at, float(at.mean()))
            lower.axvline(solved_at, color=_COLOURS["ink"], lw=1.0, ls=(0, (4, 2)))
        upper.set_yscale("log")
        for axis in (upper.yaxis.set_major_formatter, upper.yaxis.set_minor_formatter):
            axis(lambda value, _: _log_label(value, loss[shown]))
        lower.set_ylim(-4, 104)
        lower.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        lower.xaxis.get_major_locator().set_params(nbins=6, integer=True)
        lower.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(shares))
        upper.set_ylabel("loss of a step")
        lower.set(xlabel="sequences seen", ylabel="%")
        for axes in (upper, lower):
            axes.yaxis.set_label_coords(-0.105, 0.5)
        return _svg(figure, alt)


def running_median(values: Floats, half: int) -> Floats:
    """The median of up to 2 half + 1 neighbours of each value."""
    windows = (values[max(0, k - half) : k + half + 1] for k in range(len(values)))
    return np.array([np.median(window) for window in windows])


def _log_label(value: float, values: Floats) -> str:
    """1, 2 and 5 of each decade, or only 1 if there are many decades."""
    lead = round(value / 10.0 ** np.floor(np.log10(value)))
    few = values.max() < 100 * values.min()
    return f"{value:g}" if lead == 1 or (few and lead in (2, 5)) else ""


def _mark_solved(axes: Any, solved_at: int, middle: float) -> None:
    axes.axvline(solved_at, color=_COLOURS["ink"], lw=1.0, ls=(0, (4, 2)))
    late = solved_at > middle
    axes.annotate(
        f"solved after {solved_at:,}",
        (solved_at, 1.0),
        (-5 if late else 5, -2),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
    )


# ---- one signal ----------------------------------------------------------


def signal(
    fixed: Floats,
    float_: Floats,
    units: Sequence[int],
    labels: Sequence[str],
    lsb: float | None,
    *,
    alt: str,
    salt: str,
) -> str:
    """Float as lines and fixed as points of ``units``; below, how far all units differ.

    ``fixed`` and ``float_`` are (T, n), labels (T,); ``lsb`` is the value of one, None
    where it is not known.
    """
    error = (fixed - float_) / (lsb or 1.0)
    steps = np.arange(len(fixed))
    with _figure(2.75, salt) as figure:
        upper, strip = figure.subplots(
            2,
            1,
            sharex=True,
            height_ratios=(3, 1),
            gridspec_kw=_margins(2.75, top=0.28, between=0.12),
        )
        for k, unit in enumerate(units):
            line = {"color": _unit(k), "label": f"unit {unit}"}
            upper.plot(steps, float_[:, unit], lw=2.6, alpha=0.4, **line)
            _points(upper, steps, fixed[:, unit], _unit(k))
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": UNITS}
        upper.legend(handlelength=1.0, columnspacing=1.5, **place)
        _strip(strip, steps, error)
        strip.set_ylabel("lsb" if lsb else "value")
        upper.set_ylabel("value")
        upper.yaxis.get_major_locator().set_params(nbins=5)
        _label_steps(strip, labels)
        for axes in (upper, strip):
            axes.yaxis.set_label_coords(-0.105, 0.5)
            axes.tick_params(axis="x", bottom=False)
            axes.grid(visible=False, axis="x")
        return _svg(figure, alt)


def _points(axes: Any, x: NDArray[np.int64], y: Floats, colour: str) -> None:
    """Points as one path of lines without length: a tenth of the bytes of markers."""
    gap = np.full(len(x), np.nan)
    xs, ys = (np.stack([v, v, gap], axis=1).ravel() for v in (x, y))
    (line,) = axes.plot(xs, ys, color=colour, lw=3.2, solid_capstyle="round")
    line.get_path().should_simplify = False


def _strip(axes: Any, steps: NDArray[np.int64], error: Floats) -> None:
    """The band from the least to the greatest error of all units, centred on zero."""
    low, high = np.minimum(error.min(1), 0.0), np.maximum(error.max(1), 0.0)
    edges = np.arange(len(steps) + 1) - 0.5
    axes.stairs(high, edges, baseline=low, fill=True, color=_COLOURS["band"])
    axes.axhline(0.0, color=_COLOURS["soft"], lw=0.6)
    top = 1.15 * float(np.abs(error).max()) or 1.0
    axes.set_ylim(-top, top)
    axes.yaxis.get_major_locator().set_params(nbins=3, symmetric=True)


def _label_steps(axes: Any, labels: Sequence[str]) -> None:
    """A label under each step, or under every k-th where they would not fit."""
    widest = max(map(len, labels))
    every = -(-len(labels) * (widest if widest == 1 else widest + 1) // 48)
    at = range(0, len(labels), every)
    axes.set_xticks(at, [labels[k] for k in at])
    axes.set_xlim(-0.7, len(labels) - 0.3)
    axes.set_xlabel("symbol read, one a step")


# ---- errors --------------------------------------------------------------


def histogram(
    errors: Mapping[str, Floats], legends: Mapping[str, str], *, alt: str, salt: str
) -> str:
    """Errors in lsb, one panel a kind, each on its own scale.

    A panel ends where 0.2 percent of the values are beyond.  +-1/2 lsb is shaded.
    """
    height = 0.46 + 1.4 * len(errors)
    with _figure(height, salt) as figure:
        margins = _margins(height, top=0.3, right=0.25, between=0.55)
        panels = figure.subplots(len(errors), 1, squeeze=False, gridspec_kw=margins)[
            :, 0
        ]
        for k, (axes, (kind, lsb)) in enumerate(
            zip(panels, errors.items(), strict=True)
        ):
            span = max(float(np.quantile(np.abs(lsb), 0.998)), 1.0)
            counts, edges = np.histogram(lsb, 61, (-span, span))
            axes.axvspan(-0.5, 0.5, color=_COLOURS["grid"], lw=0.0, zorder=0.5)
            share = 100.0 * counts / lsb.size
            look = {"fill": True, "alpha": 0.85, "color": _unit(k)}
            axes.stairs(share, edges, label=legends[kind], **look)
            axes.set_xlim(-span, span)
            axes.set_ylabel("% of values")
            axes.yaxis.set_label_coords(-0.105, 0.5)
            axes.grid(visible=False, axis="x")
            place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
            axes.legend(handlelength=0.8, handleheight=0.8, **place)
        panels[-1].set_xlabel("error, lsb")
        return _svg(figure, alt)
