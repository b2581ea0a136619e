"""How near the integers are to float: two references, told apart.

*Total* is against the trained float model; *arithmetic* against the blob's own weights,
dequantized, so that the difference is what the arithmetic costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyvgrad.dequantize import dequantize
from pyvgrad.errors import VgradError
from pyvgrad.intmodel import IntModel, Trace
from pyvgrad.model import Params, forward
from pyvgrad.qmodel import QModel
from pyvgrad.signals import Signals

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Error:
    """Integers against a float reference, over all units and valid steps.

    One lsb is 2^-e of the signal; effective bits = log2(FS / (rms error sqrt(12))),
    None where there is no error at all.
    """

    max_lsb: float
    mean_lsb: float
    effective_bits: float | None

    @staticmethod
    def of(error: Floats, exp: int, full_scale: float) -> Error:
        """``error`` in values, any shape."""
        lsb = np.abs(error) * 2.0**exp
        rms = float(np.sqrt(np.mean(np.square(error))))
        bits = float(np.log2(full_scale / (rms * np.sqrt(12.0)))) if rms else None
        return Error(float(lsb.max()), float(lsb.mean()), bits)

    @property
    def bits_text(self) -> str:
        """The effective bits for people; ``exact`` without an error."""
        return "exact" if self.effective_bits is None else f"{self.effective_bits:.2f}"

    def __str__(self) -> str:
        bits = "" if self.effective_bits is None else " effective bits"
        return (
            f"largest {self.max_lsb:.2f} lsb, mean {self.mean_lsb:.3f}, "
            f"{self.bits_text}{bits}"
        )


def float_signals(
    model: QModel,
    params: Params,
    x: Floats,
    lengths: NDArray[np.int64] | None = None,
) -> dict[str, Floats]:
    """h and c of each layer, logits and y of a float model of the same shape.

    x (N, T, n_in) with sequences of ``lengths`` (N,) steps; signals are (N, T, n),
    named as in ``integer_signals``.
    """
    t = forward(model.shape, params, x, lengths=lengths)
    signals = {"logits": t.logits, "y": t.y}
    for k, layer in enumerate(t.layers):
        signals |= {f"layer {k + 1} {s}": layer[s] for s in "hc" if s in layer}
    return signals


def integer_signals(model: QModel, trace: Trace) -> dict[str, tuple[Floats, int]]:
    """(values, exponent) of the same signals in integers."""
    raw: dict[str, tuple[NDArray[np.integer], int]] = {
        "logits": (trace.logits, model.logit_exp),
        "y": (trace.y, model.y_exp),
    }
    for k, q in enumerate(model.layers):
        raw[f"layer {k + 1} h"] = (trace.h[k], q.r_exp)
        c = trace.c[k]
        if c is not None:
            raw[f"layer {k + 1} c"] = (c, 20)
    return {name: (v / 2.0**e, e) for name, (v, e) in raw.items()}


def errors(
    model: QModel,
    trace: Trace,
    mask: Bools,
    reference: Mapping[str, Floats],
) -> dict[str, Error]:
    """Error of every signal that the reference has, over the steps of mask (N, T).

    Full scale is 2 for c and bounded h, 32 for logits, else the reference's range.
    Arguments of a logistic output are left out: they are clamped without harm.
    """
    found = {}
    for name, (values, exp) in integer_signals(model, trace).items():
        logistic = name == "logits" and model.shape.output == "logistic"
        if name not in reference or logistic:
            continue
        want = reference[name][mask]
        full_scale = float(want.max() - want.min()) or 1.0
        if name == "logits" and model.readout is not None:
            full_scale = 32.0
        elif name.endswith(" c") or (name.endswith(" h") and exp == 14):
            full_scale = 2.0
        found[name] = Error.of(values[mask] - want, exp, full_scale)
    return found


def headline(model: QModel) -> str:
    """The signal that tells a model's error: logits, or y if they are logistic."""
    return "y" if model.shape.output == "logistic" else "logits"


def arithmetic_reference(
    model: QModel, x: Signals, lengths: NDArray[np.int64] | None = None
) -> dict[str, Floats]:
    """What the blob's own weights give in float for raw inputs x (N, T, n_in)."""
    return float_signals(model, dequantize(model), x / 2.0**model.x_exp, lengths)


def accuracy(
    model: QModel,
    x: Signals,
    lengths: NDArray[np.int64],
    float_onnx: Path | None = None,
) -> dict[str, object]:
    """The field ``float`` of ``verify --json``: arithmetic, and total if it can be.

    x (N, T, n_in) raw; ``float_onnx`` is the trained model as ``train`` writes it.
    Each has max_lsb, mean_lsb, effective_bits (None without an error) of the headline
    signal, which is named, and the same of every other under ``signals``.  VgradError
    for a float model that is not of the blob's shape, or not finite.
    """
    trace = IntModel(model).run(x, lengths, states=True)
    steps, ends = np.arange(x.shape[1]), lengths[:, None]
    once = model.shape.whole and model.shape.mode != "sequence"
    mask = steps == ends - 1 if once else steps < ends
    own = arithmetic_reference(model, x, lengths)
    references = {"arithmetic": own}
    if float_onnx is not None:
        from pyvgrad.onnx_run import run_float

        trained = run_float(float_onnx, x / 2.0**model.x_exp, lengths)
        if model.shape.whole:
            own = {name: own[name] for name in ("logits", "y")}
        _check_reference(float_onnx, trained, own)
        references["total"] = trained
    return {
        name: summary(model, errors(model, trace, mask, reference))
        for name, reference in references.items()
    }


def _check_reference(
    path: Path, trained: Mapping[str, Floats], own: Mapping[str, Floats]
) -> None:
    """VgradError unless a float model has all the signals of the blob's own weights."""
    for name, signal in own.items():
        if name not in trained or trained[name].shape != signal.shape:
            raise VgradError(
                f"{path}: its {name} has another shape than the blob's; give the float "
                "model that the blob was made of"
            )
        if not np.isfinite(trained[name]).all():
            raise VgradError(f"{path}: {name} is not finite on this data")


def summary(model: QModel, found: Mapping[str, Error]) -> dict[str, object]:
    """The headline's error with its name, and all signals'."""
    name = headline(model)
    return {"signal": name, **asdict(found[name])} | {
        "signals": {k: asdict(v) for k, v in found.items()}
    }
