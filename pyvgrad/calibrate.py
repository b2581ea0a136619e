"""Exponents of signals, and the method for weights, chosen from data or given.

``docs/numbers.md``, "Quantizing a float model", is the specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.cells import Shape
from pyvgrad.fixed import half_up
from pyvgrad.model import Params, forward

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

METHODS = ("minmax", "percentile", "mse")
PERCENTILE = 99.9  # of |value|; what is beyond it may be clamped
MAX_EXP = 14
MAX_CLIP = 7  # binary digits by which E may exceed the largest without a clamp
WEIGHT_LIMIT = {16: 32767, 8: 127}
DEFAULT_H_EXP = 11
DEFAULT_LOGIT_EXP = {"linear": 11, "logistic": 11, "softmax": 9}


@dataclass(frozen=True)
class Exponents:
    """The exponents of a model's signals: value = raw / 2^e, each 0 to 14.

    ``h`` has one a layer; where h is bounded it is 14.  ValueError for another range.
    """

    x: int
    h: tuple[int, ...]
    logits: int

    def __post_init__(self) -> None:
        if not all(0 <= e <= MAX_EXP for e in (self.x, *self.h, self.logits)):
            raise ValueError(f"exponents of signals are 0 to 14, not {self}")

    def below(self, shape: Shape, index: int) -> Ints:
        """Of each value that layer ``index`` reads from below (the readout: as h)."""
        layers = shape.below(index)
        if not layers:
            return np.full(shape.n_in, self.x)
        return np.concatenate([np.full(shape.layers[k].n, self.h[k]) for k in layers])


@dataclass(frozen=True)
class Ranges:
    """How ranges are found: by a method for all, and by what is given for some.

    ``given`` are the largest |value| of signals by name: ``x``, ``layer1.h``,
    ``logits``.  ``weights`` is the method for weights, None for ``method``.
    """

    method: str = "minmax"
    weights: str | None = None
    given: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for method in (self.method, self.weights or self.method):
            if method not in METHODS:
                raise ValueError(f"a range is found by one of {METHODS}, not {method}")
        for name, largest in self.given.items():
            if not 0.0 < largest <= 32767.0:
                raise ValueError(
                    f"the range of {name} is above 0 and at most 32767, not {largest:g}"
                )

    @property
    def of_weights(self) -> str:
        """The method for weights."""
        return self.weights or self.method


def parse_ranges(text: str) -> Ranges:
    """Read ``mse``, ``logits=40`` or ``percentile,x=2,layer1.h=8,weights=minmax``.

    ValueError for what is neither a method nor name=number.
    """
    method, weights, given = "minmax", None, {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        if not equals:
            method = name
        elif name == "weights":
            weights = value
        else:
            try:
                given[name] = float(value)
            except ValueError:
                raise ValueError(
                    f"--ranges {item}: give a method ({', '.join(METHODS)}) or "
                    "signal=largest, such as logits=40"
                ) from None
    return Ranges(method, weights, given)


# ---- one signal ----------------------------------------------------------


def free_exp(largest: float, headroom: int = 0) -> int:
    """clamp(floor(log2(32767 / largest)) - headroom, 0, 14), 14 of zeros."""
    if largest == 0.0:
        return MAX_EXP
    # frexp: 32767 / max = m 2^e with m in [1/2, 1), so the floor of log2 is e - 1
    _, e = np.frexp(32767.0 / largest)
    return int(np.clip(int(e) - 1 - headroom, 0, MAX_EXP))


def exp_by(method: str, values: Floats, headroom: int = 0) -> int:
    """The exponent of a signal that has these values.

    ``minmax``: none is clamped, with ``headroom`` binary digits to spare.
    ``percentile``: the 99.9th percentile of |value| is not.  ``mse``: the sum of the
    squares of what rounding and clamping change is the least, of equals the largest.
    """
    if method == "mse":
        exps = range(MAX_EXP, -1, -1)
        return min(exps, key=lambda e: float(np.sum(rounding_error(values, e) ** 2)))
    size = np.abs(values)
    if method == "percentile":
        return free_exp(float(np.percentile(size, PERCENTILE)) if size.size else 0.0)
    return free_exp(float(size.max(initial=0.0)), headroom)


def rounding_error(values: Floats, e: int) -> Floats:
    """What an int16 on exponent e makes of values, less the values."""
    steps = np.ldexp(np.clip(values, -65536.0, 65536.0), e)
    raw = np.clip(half_up(steps), -32768, 32767).astype(np.float64)
    return np.asarray(np.ldexp(raw, -e) - values)


# ---- one map of weights ----------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """What weights are rounded to: their bits, and the method for their range."""

    bits: int
    method: str = "minmax"

    @property
    def limit(self) -> int:
        """The largest |integer|."""
        return WEIGHT_LIMIT[self.bits]


def weights_exp(grid: Grid, w: Floats, columns: Ints, exps: Sequence[int]) -> int:
    """The exponent E of ``exps`` by the grid's method, the smallest of equals.

    w (rows, columns) are values; ``columns`` the sources' exponents.  ``mse``: the sum
    of squares of w_j - w'_j, w' what the integers stand for, is the least.
    ``percentile``: the largest on which the 99.9th percentile of |w_j| 2^-e_j rounds to
    at most the limit.
    """
    if grid.method == "percentile":
        top = float(np.percentile(np.abs(np.ldexp(w, -columns)), PERCENTILE))
        fits = [e for e in exps if np.ldexp(top, e) < grid.limit + 0.5]
        return max(fits, default=exps[0])

    def error(e: int) -> float:
        steps = np.clip(np.ldexp(w, e - columns), -grid.limit, grid.limit)
        rounded = np.ldexp(half_up(steps).astype(np.float64), columns - e)
        return float(np.sum((rounded - w) ** 2))

    return min(exps, key=error)


# ---- a model's signals ---------------------------------------------------


def default_exponents(shape: Shape, x: int = 14, h: int = DEFAULT_H_EXP) -> Exponents:
    """What holds without data: x, h of unbounded signals, 11 or 9 for the logits."""
    hs = [MAX_EXP if layer.bounded else h for layer in shape.layers]
    return Exponents(x, _one_y_exp(shape, hs), DEFAULT_LOGIT_EXP[shape.output])


def _one_y_exp(shape: Shape, hs: list[int]) -> tuple[int, ...]:
    """The exponents, where both halves of the last layer are y, which has one."""
    if shape.readout is not None:
        return tuple(hs)
    bounded = any(shape.layers[k].bounded for k in shape.top)
    one = MAX_EXP if bounded else min(hs[k] for k in shape.top)
    return tuple(one if k in shape.top else e for k, e in enumerate(hs))


def calibrate(
    shape: Shape,
    params: Params,
    x: NDArray[Any],
    lengths: NDArray[Any] | None = None,
    ranges: Ranges | None = None,
    *,
    x_exp: int | None = None,
) -> Exponents:
    """Choose the exponents of all signals from sequences x (N, T, n_in).

    Steps from ``lengths`` (N,) on do not count.  ``x_exp`` gives that of the inputs.
    ValueError for x of another shape, inputs beyond 32,767, signals that overflow, and
    a range for a signal that has none to choose.
    """
    ranges = Ranges() if ranges is None else ranges
    values = np.asarray(x, np.float64)
    if values.ndim != 3 or not values.size or values.shape[2] != shape.n_in:
        raise ValueError(f"calibration x is (N, T, {shape.n_in}), not {values.shape}")
    signals = free_signals(shape, params, values, lengths)
    for name in ranges.given:
        if name not in signals:
            raise ValueError(
                f"the range of {name} is not to be chosen; of this model are: "
                + ", ".join(signals)
            )

    def choose(name: str, headroom: int) -> int:
        if name in ranges.given:
            return free_exp(ranges.given[name])
        return exp_by(ranges.method, signals[name], headroom)

    plain = default_exponents(shape)
    if x_exp is None:
        input_exp(values)  # refuses what no exponent fits
        x_exp = choose("x", 0)
    h = list(plain.h)
    for k, (layer, p) in enumerate(zip(shape.layers, params["layers"], strict=True)):
        name = f"layer{k + 1}.h"
        if name not in signals:
            continue
        h[k] = choose(name, 1)
        if not layer.r_bounded and "h0" in p:
            start = float(np.abs(p["h0"]).max())
            h[k] = min(h[k], free_exp(start, int(ranges.method == "minmax")))
    logits = choose("logits", 1) if "logits" in signals else plain.logits
    return Exponents(x_exp, _one_y_exp(shape, h), logits)


def check_exponents(shape: Shape, given: Exponents) -> None:
    """ValueError unless bounded signals have the exponents that they must have."""
    plain = default_exponents(shape)
    pairs = zip(shape.layers, given.h, plain.h, strict=False)
    fits = len(given.h) == len(plain.h) and all(
        e == must for layer, e, must in pairs if layer.bounded
    )
    if not fits or (shape.output == "logistic" and given.logits != plain.logits):
        raise ValueError(
            f"{given}: a bounded h has exponent 14, logistic outputs have 11"
        )


def input_exp(x: Floats) -> int:
    """The largest exponent, 14 at most, on which no input is clamped.

    ValueError for inputs that no exponent fits.
    """
    largest = float(np.abs(x).max(initial=0.0))
    if not largest <= 32767:
        raise ValueError(f"an input is {largest:g}; scale inputs into +-32767")
    return free_exp(largest)


def free_signals(
    shape: Shape, params: Params, x: Floats, lengths: NDArray[Any] | None = None
) -> dict[str, Floats]:
    """Values at the valid steps of each signal whose exponent is to be chosen.

    ``x``, ``layer<k>.h`` where what the layer gives is unbounded, ``logits`` unless
    they are logistic.
    ValueError where they overflow.
    """
    ends = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    valid = np.arange(x.shape[1]) < ends[:, None]
    bounded = [layer.bounded for layer in shape.layers]
    free_logits = shape.readout is not None and shape.output != "logistic"
    found = {"x": x[valid]}
    if all(bounded) and not free_logits:
        return found
    run = forward(shape, params, x, lengths=lengths)
    for k, signals in enumerate(run.layers):
        # What plus_rnn gives lies between p and u, which have its exponent too.
        names = ("p", "u") if "out" in signals else ("h",)
        if not bounded[k]:
            each = [signals[name][valid] for name in names]
            found[f"layer{k + 1}.h"] = np.concatenate(each)
    if free_logits:
        found["logits"] = run.logits[valid]
    for values in found.values():
        if not np.isfinite(values).all():
            raise ValueError("the model's signals overflow on the calibration data")
    return found
