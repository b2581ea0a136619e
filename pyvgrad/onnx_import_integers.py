"""An imported model in integers, and whether they are good enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyvgrad.accuracy import Error, headline, integer_signals
from pyvgrad.calibrate import Ranges, calibrate
from pyvgrad.intmodel import IntModel
from pyvgrad.model import forward
from pyvgrad.onnx_import import Imported
from pyvgrad.qmodel import QModel
from pyvgrad.quantize import quantize
from pyvgrad.signals import to_signals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_BITS = {16: 10.0, 8: 5.0}  # effective bits of the output, by bits of a weight
_SEQUENCES = 64
MOST_CLAMPED = 0.001  # of the values in and out


@dataclass(frozen=True)
class Fit:
    """How near the integers come to the float model on data.

    ``error`` is that of ``signal``; ``clamps`` counts clamped inputs and saturated
    signals, ``values`` the inputs and outputs.
    """

    signal: str
    error: Error
    clamps: int
    values: int
    weight_bits: int

    @property
    def clamped(self) -> float:
        """Clamps a value of the inputs and outputs."""
        return self.clamps / self.values

    def reasons(self) -> list[str]:
        """Why it is not good enough; none if it is."""
        bits, least = self.error.effective_bits, LEAST_BITS[self.weight_bits]
        found = []
        if bits is not None and bits < least:
            found.append(
                f"{self.signal} has {bits:.2f} effective bits, "
                f"{self.weight_bits}-bit weights should keep {least:g}"
            )
        if self.clamped > MOST_CLAMPED:
            found.append(
                f"{self.clamps} clamps on {self.values} values, "
                f"{100 * MOST_CLAMPED:g} % at most is admitted"
            )
        return found


def to_integers(
    model: Imported,
    x: Floats,
    lengths: Ints,
    weight_bits: int,
    ranges: Ranges | None = None,
) -> tuple[QModel, Fit]:
    """Quantize with x (N, T, n_in) as calibration, and run it on the same.

    ``ranges`` says how exponents are chosen: the largest values, if not given.
    Of more than 64 sequences it runs 64, evenly spread.  ValueError for weights or
    signals that fit no integers.
    """
    ranges = Ranges() if ranges is None else ranges
    q = quantize(
        model.shape,
        model.params,
        weight_bits=weight_bits,
        exponents=calibrate(model.shape, model.params, x, lengths, ranges),
        weights=ranges.of_weights,
    )
    some = np.unique(np.linspace(0, len(x) - 1, _SEQUENCES).astype(int))
    x, lengths = x[some], lengths[some]
    signals, _ = to_signals(q, x)
    trace = IntModel(q).run(signals, lengths, states=True)
    steps = np.arange(x.shape[1])
    valid = steps < lengths[:, None]
    mask = valid if q.shape.mode == "sequence" else steps == lengths[:, None] - 1
    # Against the trained model on the user's own values: the total error.
    run = forward(model.shape, model.params, x, lengths=lengths)
    name = headline(q)
    got, exp = integer_signals(q, trace)[name]
    want = (run.y if name == "y" else run.logits)[mask]
    error = Error.of(got[mask] - want, exp, _full_scale(q, want))
    values = int(valid.sum()) * q.shape.n_in + int(mask.sum()) * q.shape.n_out
    _, clamped = to_signals(q, x[valid])  # not those of padding
    clamps = clamped + int(trace.saturated.sum())
    return q, Fit(name, error, clamps, values, weight_bits)


def _full_scale(q: QModel, output: Floats) -> float:
    """32 for a softmax's logits, 1 logistic, 2 for a bounded h, else the range."""
    if q.shape.output != "linear":
        return {"softmax": 32.0, "logistic": 1.0}[q.shape.output]
    if q.readout is None and q.y_exp == 14:
        return 2.0
    return float(output.max() - output.min()) or 1.0
