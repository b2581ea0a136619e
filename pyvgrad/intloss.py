"""What learns how; the error at the output and the loss of a step, in integers.

``docs/numbers-learning.md``, Errors at the output and The loss of a step.
"""

from __future__ import annotations

import numpy as np

from pyvgrad.cells import RTRL97, Shape
from pyvgrad.fixed import ERROR_LIMIT, ONE_Q14, exp_q16, rs, rs_sat31
from pyvgrad.learning import Learn
from pyvgrad.qmodel import Ints, QModel

_PAIRS = {
    ("linear", "mse"),
    ("logistic", "mse"),
    ("logistic", "cross-entropy"),
    ("softmax", "cross-entropy"),
}
_LN_2_Q16 = 45426


def check_pair(output: str, loss: str) -> None:
    """ValueError if outputs of this kind do not learn with this loss."""
    if (output, loss) not in _PAIRS:
        fits = " or ".join(sorted(b for a, b in _PAIRS if a == output))
        raise ValueError(f"{output} outputs do not learn with {loss}; take {fits}")


def check_layout(model: QModel) -> None:
    """ValueError if the model's blob is not of the layout that learning takes."""
    if model.layout != "rows":
        raise ValueError(
            f"the blob's layout is {model.layout}, and learning takes rows: pyvgrad "
            "convert M.vg --layout rows -o ROWS.vg"
        )


def check_fit(shape: Shape, learn: Learn) -> None:
    """ValueError if a model of this shape does not learn with these settings."""
    check_pair(shape.output, learn.loss)
    if shape.whole:
        raise ValueError(
            "a layer of the model is reversed, and such a model learns only in float"
        )
    if learn.method == "rtrl97" and not shape.rtrl97:
        raise ValueError(f"rtrl97 is for one layer of {', '.join(RTRL97)}; take tbptt")


def inward(error: Ints, value: Ints, low: int, high: int) -> Ints:
    """The error, 0 where it would move a value on its limit further out."""
    outward = ((value == high) & (error < 0)) | ((value == low) & (error > 0))
    return np.where(outward, 0, error)


def output_error(
    output: str, loss: str, y_exp: int, y: Ints, logits: Ints, target: Ints
) -> Ints:
    """d E / d logits (n_out,), q24; target (n_out,) on y_exp, or (1,), the class."""
    if output == "softmax":
        hot = np.zeros_like(y)
        hot[target[0]] = ONE_Q14
        return inward((y - hot) << 10, logits, -32768, 32767)
    if output == "linear":
        return inward(rs_sat31(y - target, y_exp - 24), y, -32768, 32767)
    if loss == "mse":
        return rs((y - target) * y * (ONE_Q14 - y), 18)
    return (y - target) << 10


def step_loss(
    output: str, loss: str, exps: tuple[int, int], y: Ints, logits: Ints, target: Ints
) -> int:
    """The loss of one step, q16, clamped at 2^31 - 1.

    ``exps`` are y_exp and logit_exp; the rest as for ``output_error``.
    """
    y_exp, logit_exp = exps
    if loss == "mse":
        n = 2 * y_exp - 15
        total = int(np.sum((y - target) ** 2))
        exact = total << -n if n <= 0 else (total + (1 << (n - 1))) >> n
    elif output == "softmax":
        d = logits.max() - logits
        P = exp_q16(d, logit_exp).sum()
        exact = (int(d[target[0]]) << (16 - logit_exp)) + int(log_q16(P))
    else:
        linear = rs((np.maximum(logits, 0) << 14) - target * logits, 9)
        rest = log_q16((1 << 16) + exp_q16(np.abs(logits), 11))
        exact = int(np.sum(linear + rest))
    return min(exact, ERROR_LIMIT)


def log_q16(v: Ints) -> Ints:
    """L(v): the natural logarithm of v / 2^16, q16, for 2^16 <= v < 2^31.

    At most 1.2e-4 from the true one.
    """
    v = np.asarray(v, np.int64)
    k = np.frexp(v.astype(np.float64))[1].astype(np.int64) - 17
    f = (v >> (k + 1)) - (1 << 15)
    slope = 14376 - rs(f * 7833, 15) + rs(f * f * 2691, 30)
    b = f + rs(f * ((1 << 15) - f) * slope, 30)
    return rs(((k << 15) + b) * _LN_2_Q16, 15)
