"""Float weights that answer a task's test in place of a blob."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Array, Shape
from pyvgrad.float_maps import Maps, forward, starting_states, where
from pyvgrad.model import outputs

PAD = 16  # steps: lengths are padded to a multiple
RESOLUTION = 20  # bits behind the point in which a test reads outputs and logits


@lru_cache(maxsize=32)
def _tester(shape: Shape) -> Any:
    """f(maps, states, x (T, ...), n) -> states after n steps, logits (T, n_out)."""

    def f(maps: Maps, states: Any, x: Array, n: Array) -> Any:
        def body(carry: Any, now: Array) -> Any:
            states, t = carry
            new, _, logits = forward(shape, maps, states, now)
            return (where(t < n, new, states), t + 1), logits

        (states, _), logits = jax.lax.scan(body, (states, 0), x)
        return states, logits

    return jax.jit(f)


class FloatAsked:
    """Float weights that answer a task's test, as tasks.lesson.Asked says.

    A test compares integers: outputs and logits are rounded to 2^-20.
    """

    y_exp = RESOLUTION

    def __init__(self, shape: Shape, maps: Maps) -> None:
        self._shape, self._maps = shape, maps
        self._fresh = jax.tree.map(np.asarray, starting_states(shape, maps))
        self._states = self._fresh

    def logits(
        self, x: NDArray[Any], *, last: bool = False, fresh: bool = True
    ) -> NDArray[Any]:
        """As Asked.logits; int64 on 2^-20."""
        return self._fixed(self._logits(x, last, fresh))

    def y(self, x: NDArray[Any], *, last: bool = False) -> NDArray[Any]:
        """As Asked.y; int64 on 2^-20."""
        return self._fixed(outputs(self._shape.readout, self._logits(x, last, True)))

    def many(
        self, xs: Sequence[NDArray[Any]], *, logits: bool, last: bool = False
    ) -> list[NDArray[Any]]:
        """As Asked.many."""
        ask = self.logits if logits else self.y
        return [ask(x, last=last) for x in xs]

    def _logits(self, x: NDArray[Any], last: bool, fresh: bool) -> NDArray[Any]:
        states = self._fresh if fresh else self._states
        steps = -(-len(x) // PAD) * PAD
        kind = np.int32 if x.ndim == 1 else np.float32
        width = [(0, steps - len(x))] + [(0, 0)] * (x.ndim - 1)
        full = np.pad(np.asarray(x, kind), width)
        self._states, logits = _tester(self._shape)(self._maps, states, full, len(x))
        mine = np.asarray(logits, np.float64)[: len(x)]
        return mine[-1] if last else mine

    @staticmethod
    def _fixed(values: NDArray[Any]) -> NDArray[Any]:
        fixed: NDArray[Any] = np.rint(np.ldexp(values, RESOLUTION)).astype(np.int64)
        return fixed
