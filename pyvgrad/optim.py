"""Update rules: norm clipping and what optax has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from pyvgrad.cells import Array, Shape
from pyvgrad.errors import VgradError

try:
    import optax
except ImportError as error:
    raise VgradError(
        "optax is not installed and training needs it: pip install pyvgrad[train]"
    ) from error

OPTIMIZERS = ("sgd", "momentum", "adam")


def norm(tree: Any) -> Array:
    """The Euclidean norm over all arrays of a tree."""
    return jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(tree)))


def clip_norm(tree: Any, theta: float) -> Any:
    """If ||g|| >= theta then g := theta / ||g|| * g (Pascanu et al. 2013, algorithm 1).

    The direction stays, the norm becomes theta, not 1.
    """
    length = norm(tree)
    factor = jnp.where(length >= theta, theta / jnp.maximum(length, 1e-30), 1.0)
    return jax.tree.map(lambda g: factor * g, tree)


def bound_own(shape: Shape, params: Any) -> Any:
    """IndRNN's u within +-1 (Li et al. 2018): beyond it h grows without bound."""
    bounded = [
        p | {"P": {k: jnp.clip(u, -1.0, 1.0) for k, u in p["P"].items()}}
        if layer.cell == "indrnn"
        else p
        for layer, p in zip(shape.layers, params["layers"], strict=True)
    ]
    return params | {"layers": bounded}


def scale_rates(tree: Any, rates: Mapping[str, float]) -> Any:
    """Multiply updates by the rates of their names, such as ``readout.V`` or ``b.i``.

    A name fits an array if it is a run of whole parts of its path (``layers.0.b.i``);
    the last that fits holds.  A rate of 0 freezes.
    """

    def scaled(path: Any, g: Array) -> Array:
        name = ".".join(str(getattr(k, "key", getattr(k, "idx", k))) for k in path)
        fits = [r for part, r in rates.items() if f".{part}." in f".{name}."]
        return fits[-1] * g if fits else g

    return jax.tree_util.tree_map_with_path(scaled, tree)


def optimizer(name: str, rate: float, momentum: float) -> Any:
    """The optax rule of that name.  ValueError for one that is not known."""
    if name == "sgd":
        return optax.sgd(rate)
    if name == "momentum":
        return optax.sgd(rate, momentum=momentum)
    if name == "adam":
        return optax.adam(rate)
    raise ValueError(f"an optimizer is one of {OPTIMIZERS}, not {name!r}")


def quickprop(
    slope: Array, before: Array, step: Array, rate: float, growth: float = 2.0
) -> Array:
    """The next step of each weight down an error, by Fahlman's quickprop (1988).

    ``slope`` and ``before`` are d error / d weight now and before the last ``step``.  A
    parabola through both slopes gives its minimum, at most ``growth`` times the last
    step; where that went downhill and the slope still does, ``rate`` times it is added.
    """
    goes_on = slope * step < 0.0
    still = (step == 0.0) | goes_on
    shrink = growth / (1.0 + growth)
    steep = jnp.where(step > 0.0, slope <= shrink * before, slope >= shrink * before)
    gap = before - slope
    parabola = step * slope / jnp.where(gap == 0.0, 1.0, gap)
    jump = jnp.where(steep | (gap == 0.0), growth * step, parabola)
    return jnp.where(step == 0.0, 0.0, jump) - jnp.where(still, rate * slope, 0.0)
