"""A shape whose signals are rounded as integers round them, for float computations.

The float model's own step runs it: only the cells' units are wrapped, so that it holds
for every cell, and in NumPy as in JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pyvgrad.calibrate import Exponents
from pyvgrad.cells import CELLS, Array, Cell, Layer, Shape
from pyvgrad.qmodel import QLayer

Round = Callable[[Array, int], Array]
"""round(value, e): what an int16 on exponent e makes of a value."""


def round_int16(v: Array, e: int) -> Array:
    """Round half up and clamp to int16, in NumPy."""
    return np.clip(np.floor(v * 2.0**e + 0.5), -32768, 32767) * 2.0**-e


@dataclass(frozen=True)
class RoundedLayer(Layer):
    """A layer that rounds the arguments of its functions, and h where r or another
    layer reads it.

    A carried state keeps its width, as it nearly does in integers (q20), and so does h
    where it is that state; so do the parts of the argument of a ``gru``.
    """  # noqa: D205

    h_exp: int = 14
    round: Round = round_int16

    @property
    def row(self) -> Cell:
        """The cell's row with its unit wrapped."""
        row = CELLS[self.cell]
        return replace(row, unit=_rounded_unit)

    def argument_exp(self, gate: str) -> int | None:
        """The exponent of a gate's argument, None where it is not rounded."""
        if gate in self.row.joined:
            return None
        return QLayer(self, self.h_exp, {}, {}, {}).argument_exp(gate)


def _rounded_unit(
    layer: Any, a: Mapping[str, Array], s: Mapping[str, Array], xp: Any
) -> dict[str, Array]:
    exps = {k: layer.argument_exp(k) for k in a}
    near = {k: v if exps[k] is None else layer.round(v, exps[k]) for k, v in a.items()}
    new = CELLS[layer.cell].unit(layer, near, s, xp)
    wide = "h" if CELLS[layer.cell].carry == "h" else "c"
    rounded = {k: layer.round(new[k], layer.h_exp) for k in ("h", "out") if k in new}
    return new | {k: v for k, v in rounded.items() if k != wide}


def rounded_shape(
    shape: Shape,
    exponents: Exponents,
    round_value: Round = round_int16,
    only: int | None = None,
) -> Shape:
    """The shape with layers, or one of them, that round their signals like this."""
    names = [f.name for f in fields(Layer)]
    layers = tuple(
        RoundedLayer(
            **{name: getattr(layer, name) for name in names},
            h_exp=exponents.h[k],
            round=round_value,
        )
        if only in (None, k)
        else layer
        for k, layer in enumerate(shape.layers)
    )
    return replace(shape, layers=layers)
