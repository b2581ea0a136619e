"""The error flow of a model: how much of an error arrives, step by step back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pyvgrad import flow_bounds
from pyvgrad.cells import Shape
from pyvgrad.flow import error_flow
from pyvgrad.flow_bounds import Reals
from pyvgrad.model import forward
from pyvgrad.plots_lab import Axis, Line, line_panels

_SLOPES = {"rnn_tanh": lambda h: 1.0 - h * h, "rnn_sigmoid": lambda h: h * (1.0 - h)}
_LOWEST = 1e-20  # of factors drawn


@dataclass(frozen=True)
class ModelFlow:
    """The largest |d net_u(t) / d net_v(t-q)|, medians over sequences, q = 1, 2 ...

    ``bound``: n (f'max ||W||)^q with the largest slope that was met (Hochreiter 1998),
    of a single layer of tanh or logistic units; else None.
    """

    factors: Reals
    bound: Reals | None


def model_flow(shape: Shape, params: Any, x: Reals) -> ModelFlow:
    """Follow errors from the last step of x (N, T, n_in) back to the first.

    ValueError for a model with a reversed layer and for T below 2.
    """
    if shape.whole:
        raise ValueError("a model with a reversed layer has no single way back")
    if x.shape[1] < 2:
        raise ValueError(
            "an error flows back from one step to another: give 2 at least"
        )
    with jax.enable_x64(True):
        found = np.asarray(error_flow(shape, params, x), np.float64)
    factors = np.median(abs(found).max(axis=(-2, -1)), axis=0)
    return ModelFlow(factors, _bound(shape, params, x))


def _bound(shape: Shape, params: Any, x: Reals) -> Reals | None:
    (layer, *more) = shape.layers
    if more or layer.cell not in _SLOPES:
        return None
    h = forward(shape, params, x).layers[0]["h"]
    slope = float(_SLOPES[layer.cell](h).max())
    q = np.arange(1.0, x.shape[1])
    return flow_bounds.bound(params["layers"][0]["U"]["a"], slope, q)


def flow_plot(flow: ModelFlow) -> bytes:
    """The factors over q, and the bound."""
    q = range(1, len(flow.factors) + 1)
    lines = [Line("largest factor", q, flow.factors.tolist())]
    if flow.bound is not None:
        lines.append(Line("n (f'max ||W||)^q", q, flow.bound.tolist(), "--"))
    high = 10.0 * max(1.0, float(flow.factors.max()))
    axes = Axis("steps back, q"), Axis("factor", log=True, low=_LOWEST, high=high)
    return line_panels({"error flow": lines}, [axes], columns=1)
