"""Plots of the lab as PNG, for pages that are read as files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

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


def seed_curves(
    panels: Mapping[str, Mapping[str, Sequence[tuple[Sequence[float], Floats]]]],
    xlabel: str,
    ylabel: str,
    columns: int = 3,
) -> bytes:
    """A line a seed; ``panels`` {title: {label: (x, y) of each seed}}.

    A label keeps its colour in every panel.
    """
    labels = list(dict.fromkeys(k for curves in panels.values() for k in curves))
    height = 0.6 + 1.9 * -(-len(panels) // columns)
    with _figure(8.4, height) as figure:
        every = _panels(figure, len(panels), columns, sharex=True, sharey=True)
        shown: dict[str, Any] = {}
        for axes, (title, curves) in zip(every, panels.items(), strict=True):
            for label, seeds in curves.items():
                colour = _COLOURS[labels.index(label)]
                for x, y in seeds:
                    (shown[label],) = axes.plot(x, y, lw=0.9, alpha=0.8, color=colour)
            axes.set(title=title)
        figure.supxlabel(xlabel, fontsize=8.0)
        figure.supylabel(ylabel, fontsize=8.0)
        figure.legend(
            shown.values(), shown.keys(), loc="outside upper center", ncols=len(shown)
        )
        return _png(figure)


def wall(
    axes_of: tuple[Floats, Floats],
    error: Floats,
    paths: Mapping[str, tuple[Floats, Floats]],
) -> bytes:
    """An error surface (w, b) from the side, and from above with paths; their errors.

    ``axes_of`` are w and b, ``paths`` {label: (points (n, 2), errors (n,))}.
    """
    w, b = axes_of
    with _figure(8.4, 3.1) as figure:
        side = figure.add_subplot(1, 3, 1, projection="3d")
        side.plot_surface(*np.meshgrid(w, b), error.T, cmap="viridis", rcount=80)
        side.set(xlabel="w", ylabel="b", zlabel="error")
        side.view_init(30.0, -60.0)
        above, over = figure.add_subplot(1, 3, 2), figure.add_subplot(1, 3, 3)
        above.pcolormesh(w, b, error.T, cmap="viridis", shading="nearest", alpha=0.6)
        for k, (label, (points, errors)) in enumerate(paths.items()):
            look = {"color": ("#d1495b", "#0b6bcb", "#222222")[k], "lw": 0.9}
            above.plot(*points.T, "o-", ms=1.5, **look)
            over.plot(errors, label=label, **look)
        above.set(xlabel="w", ylabel="b", xlim=(w[0], w[-1]), ylim=(b[0], b[-1]))
        over.set(xlabel="update", ylabel="error", yscale="log", xlim=(0, 250))
        figure.legend(loc="outside upper center", ncols=len(paths))
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


class Line(NamedTuple):
    """Points (x, y) of a label; ``look`` is matplotlib's: ``-``, ``--``, ``o`` ..."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    look: str = "-"


class Axis(NamedTuple):
    """What an axis shows; ``low`` and ``high`` None leave that end to the values."""

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None


def line_panels(
    panels: Mapping[str, Sequence[Line]],
    axes: Sequence[tuple[Axis, Axis]],
    columns: int = 2,
) -> bytes:
    """Lines and points by panel, ``panels`` {title: lines}; ``axes`` (x, y) of each.

    A label keeps its colour in every panel and stands in the legend once.
    """
    labels = list(
        dict.fromkeys(one.label for lines in panels.values() for one in lines)
    )
    rows = -(-len(panels) // columns)
    with _figure(8.4, 0.8 + 2.7 * rows) as figure:
        shown: dict[str, Any] = {}
        every = _panels(figure, len(panels), columns)
        for ax, (title, lines), (x, y) in zip(every, panels.items(), axes, strict=True):
            for one in lines:
                colour = _COLOURS[labels.index(one.label) % len(_COLOURS)]
                look = {"color": colour, "ms": 3.0, "lw": 1.2, "label": one.label}
                if one.look == "o":
                    look |= {"alpha": 0.4, "mew": 0.0}
                (drawn,) = ax.plot(one.x, one.y, one.look, **look)
                shown.setdefault(one.label, drawn)
            for name, axis in (("x", x), ("y", y)):
                if axis.log:
                    ax.set(**{f"{name}scale": "log"})
                ax.set(**{f"{name}label": axis.label})
                ax.set(**{f"{name}lim": (axis.low, axis.high)})
            ax.set(title=title)
        figure.legend(
            shown.values(),
            shown.keys(),
            loc="outside upper center",
            ncols=min(len(shown), 4),
        )
        return _png(figure)
