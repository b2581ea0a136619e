"""The part of the report on a model that was learnt in integers."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from pyvgrad import plots
from pyvgrad.cells import Array
from pyvgrad.page import Table, check_table, figure, table


@dataclass(frozen=True)
class LearningReport:
    """A model that was learnt in integers; a point of the curve is a test."""

    title: str
    table: Table
    at: Array  # (points,) sequences seen
    loss: Array  # (points,) mean loss of a step
    right: Array  # (points,) share of the strings that were right
    clipped: Array  # (points,) share of the updates that were clipped
    solved_at: int | None


def _check(learning: LearningReport) -> None:
    check_table(learning.title, learning.table)
    of = (learning.loss, learning.right, learning.clipped)
    if np.ndim(learning.at) != 1 or any(
        np.shape(a) != np.shape(learning.at) for a in of
    ):
        raise ValueError(f"{learning.title}: the curve's arrays must all be (points,)")
    if not np.any(np.asarray(learning.loss) > 0) or not np.isfinite(of).all():
        raise ValueError(f"{learning.title}: the curve is not finite, or has no loss")


def section(learning: LearningReport) -> str:
    """The section of the page as HTML, with the id ``learning``.

    ValueError if there is nothing to show or arrays do not fit.
    """
    _check(learning)
    at, loss, right, clipped = (
        np.asarray(a, float)
        for a in (learning.at, learning.loss, learning.right, learning.clipped)
    )
    alt = (
        f"Loss from {loss[0]:.3g} to {loss[-1]:.3g}, right strings from {right[0]:.0%} "
        f"to {right[-1]:.0%} over {at[-1]:,.0f} sequences."
    )
    shares = {"strings right": right, "updates clipped": clipped}
    svg = plots.learning(at, loss, shares, learning.solved_at, alt=alt, salt="learning")
    caption = (
        "<strong>Learning</strong> in integers: a point is a test, every string asked "
        "of the weights as they were; loss and clipping are since the test before. The "
        "curve is of the run on the host; the table says which boards ended with the "
        "same bytes."
    )
    return f"""<section id="learning">
<h2>{escape(learning.title)}</h2>
<div class="grid">
<div>
{table("The same learning in each place", learning.table)}
</div>
{figure(svg, caption)}
</div>
</section>"""
