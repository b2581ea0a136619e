"""Plots of the lab as PNG, for pages that are read as files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import VgradError

Floats = NDArray[np.float64]

_COLOURS = ("#222222", "#0b6bcb", "#d1495b", "#2e8b57", "#b07d12", "#7a4fb5")
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.0,
    "figure.facecolor": "white",
    "font.size": 8.0,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
_DPI = 144
_TINY = 1e-12  # norms below this are not shown


@contextmanager
def _figure(width: float, height: float) -> Iterator[Any]:
    """Give a matplotlib Figure in our style, whatever the user's configuration."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise VgradError(
            "matplotlib is not installed and plots need it: pip install pyvgrad[plot]"
        ) from error
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield Figure(figsize=(width, height), layout="constrained")


def _png(figure: Any) -> bytes:
    """The figure; the same arguments give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _panels(figure: Any, n: int, columns: int, **shared: Any) -> list[Any]:
    """``n`` axes in rows of ``columns``, those left over removed."""
    rows = -(-n // columns)
    every = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for axes in every[n:]:
        axes.remove()
    return list(every[:n])


def flow_curves(panels: Mapping[str, Mapping[str, Floats]]) -> bytes:
    """Norms (steps,) of flows by how many steps back, both logarithmic.

    ``panels`` {title: {label: norms}}; the first of each is drawn broad, below the
    others.
    """
    columns = 3
    height = 0.5 + 2.0 * -(-len(panels) // columns)
    with _figure(8.4, height) as figure:
        every = _panels(figure, len(panels), columns, sharex=True, sharey=True)
        for axes, (title, curves) in zip(every, panels.items(), strict=True):
            for k, (label, norms) in enumerate(curves.items()):
                look = {"lw": 4.0, "alpha": 0.25} if k == 0 else {"lw": 1.0}
                shown = np.where(norms > _TINY, norms, np.nan)
                back = np.arange(1, len(norms) + 1)
                colour = _COLOURS[k % len(_COLOURS)]
                axes.plot(back, shown, color=colour, label=label, **look)
            axes.set(xscale="log", yscale="log", title=title)
        figure.supxlabel("steps back")
        figure.supylabel("norm of the arguments' errors")
        handles, labels = every[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        return _png(figure)


def learning_bars(
    rows: Sequence[str], groups: Mapping[str, Sequence[Sequence[int]]]
) -> bytes:
    """Sequences until success of each seed as a point; a row a task, log scale.

    ``groups`` {label: for each row the sequences of its successes}; the median is a
    bar.
    """
    height = 0.9 + 0.5 * len(rows)
    with _figure(8.4, height) as figure:
        (axes,) = _panels(figure, 1, 1)
        n = len(groups)
        for k, (label, of_rows) in enumerate(groups.items()):
            colour, drawn = _COLOURS[1 + k], False
            for row, found in enumerate(of_rows):
                if not len(found):
                    continue
                y = row + (k - (n - 1) / 2) * 0.32
                name = None if drawn else label
                spread = y + 0.16 * (np.arange(len(found)) % 5 / 4 - 0.5)
                axes.plot(found, spread, "o", ms=2.5, alpha=0.5, color=colour)
                axes.plot(
                    [np.median(found)] * 2,
                    [y - 0.14, y + 0.14],
                    color=colour,
                    lw=2.2,
                    label=name,
                )
                drawn = True
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set(xscale="log", xlabel="sequences until success; bar: median")
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper center", ncols=n)
        return _png(figure)


def seed_dots(
    panels: Mapping[str, Mapping[str, Sequence[float]]], ylabel: str
) -> bytes:
    """Values of each seed as points, a column a label, the mean as a bar.

    ``panels`` {title: {label: values}}.
    """
    columns_of = min(len(panels), 3)
    with _figure(8.4, 2.6 * -(-len(panels) // columns_of)) as figure:
        every = _panels(figure, len(panels), columns_of)
        for axes, (title, columns) in zip(every, panels.items(), strict=True):
            for k, values in enumerate(columns.values()):
                colour = _COLOURS[k % len(_COLOURS)]
                spread = k + 0.3 * (np.arange(len(values)) % 5 / 4 - 0.5)
                axes.plot(spread, values, "o", ms=3.5, alpha=0.6, color=colour)
                axes.plot([k - 0.3, k + 0.3], [np.mean(values)] * 2, color=colour, lw=2)
            axes.set_xticks(range(len(columns)), list(columns))
            axes.set(title=title, xlim=(-0.6, len(columns) - 0.4))
            low, high = axes.get_ylim()
            if high - low < 0.02:  # one seed, or no difference
                axes.set_ylim(low - 0.01, high + 0.01)
        figure.supylabel(ylabel, fontsize=8.0)
        return _png(figure)


def mean_curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    xlabel: str,
    ylabel: str,
    columns: int = 2,
) -> bytes:
    """Lines through points; ``panels`` {title: {label: (x, y)}}.

    A label keeps its colour in every panel.
    """
    labels = list(dict.fromkeys(k for curves in panels.values() for k in curves))
    height = 0.6 + 2.4 * -(-len(panels) // columns)
    with _figure(8.4, height) as figure:
        every = _panels(figure, len(panels), columns, sharex=True, sharey=True)
        for axes, (title, curves) in zip(every, panels.items(), strict=True):
            for label, (x, y) in curves.items():
                colour = _COLOURS[labels.index(label) % len(_COLOURS)]
                axes.plot(x, y, "o-", ms=3.5, lw=1.2, color=colour, label=label)
            axes.set(title=title)
        figure.supxlabel(xlabel, fontsize=8.0)
        figure.supylabel(ylabel, fontsize=8.0)
        shown: dict[str, Any] = {}
        for axes in every:
            handles, names = axes.get_legend_handles_labels()
            shown |= dict(zip(names, handles, strict=True))
        figure.legend(
            shown.values(),
            shown.keys(),
            loc="outside upper center",
            ncols=min(len(shown), 4),
        )
        return _png(figure)


def trial_curves(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[Sequence[float | None]]]]],
    xlabel: str,
    ylabel: str,
) -> bytes:
    """A line for each trial, x logarithmic.

    ``panels`` {title: {label: for each trial its points (x, y), y None for none}}.
    """
    columns = 3
    with _figure(8.4, 0.6 + 2.1 * -(-len(panels) // columns)) as figure:
        every = _panels(figure, len(panels), columns, sharey=True)
        for axes, (title, groups) in zip(every, panels.items(), strict=True):
            for k, (label, trials) in enumerate(groups.items()):
                colour = _COLOURS[1 + k % (len(_COLOURS) - 1)]
                for j, points in enumerate(trials):
                    x = [p[0] for p in points]
                    y = [np.nan if p[1] is None else p[1] for p in points]
                    name = label if j == 0 else None
                    axes.plot(x, y, lw=0.8, alpha=0.7, color=colour, label=name)
            axes.set(xscale="log", title=title)
            axes.legend(fontsize=7.0)
        figure.supxlabel(xlabel, fontsize=8.0)
        figure.supylabel(ylabel, fontsize=8.0)
        return _png(figure)
