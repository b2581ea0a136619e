"""ONNX operators that compute on elements, as far as a model can have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyvgrad.onnx_build import helper
from pyvgrad.onnx_import_file import label
from pyvgrad.onnx_import_symbols import (
    Act,
    Dense,
    Floats,
    Sources,
    Symbols,
    UnclearError,
    Value,
)

_LINEAR = ("Add", "Sub", "Mul", "Div", "Neg", "BatchNormalization")
_FUNCTIONS = {"Sigmoid": "logistic", "Softmax": "softmax", "LogSoftmax": "logsoftmax"}
_WRONG_TYPES = ("float64", "float16", "bfloat16")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def compute(
    sources: Sources, node: Any, inputs: list[Value | None], opset: int
) -> Symbols:
    """The output of a node that reads elements.  UnclearError with the reason if none.

    Products with constants, scales and offsets, and the functions of a readout.
    """
    kind = node.op_type
    if kind in _FUNCTIONS:
        return _function(sources, node, inputs, opset)
    if kind not in _HANDLERS:
        raise UnclearError(_no_such_operator(kind))
    return _HANDLERS[kind](sources, node, inputs)


def _no_such_operator(kind: str) -> str:
    if kind in _QUANTIZED or kind.startswith("QLinear"):
        return (
            "its activations are quantized already; export the float model, "
            "pyvgrad makes the integers itself"
        )
    if kind in ("Relu", "Tanh"):
        return (
            f"{kind} outside of a recurrent layer; a readout is linear, or ends in "
            "Softmax or Sigmoid"
        )
    return "pyvgrad has no such operator; cut the model before or behind it"


def _finite(value: Value | None, what: str) -> Floats:
    """A constant in double.  UnclearError for what is none, or not finite."""
    if not isinstance(value, np.ndarray):
        raise UnclearError(f"its {what} depends on the input; it must be a constant")
    if str(value.dtype) in _WRONG_TYPES:
        raise UnclearError(f"its {what} is {value.dtype}; export the model in float32")
    if not np.isfinite(value).all():
        raise UnclearError(f"its {what} holds NaN or infinity; train the model again")
    return value.astype(np.float64)


def _signal(sources: Sources, value: Value | None) -> Symbols:
    """A tensor of elements that are still linear: no function was applied to them."""
    if not isinstance(value, Symbols):
        raise UnclearError("it multiplies a constant by a signal from the right")
    for kind in sources.kinds(value):
        if isinstance(kind, Act):
            raise UnclearError(f"it reads what {kind.where} made")
    return value


def _product(sources: Sources, x: Symbols, W: Floats) -> Symbols:
    """Elements x (..., K) times W (K, n_out), (..., n_out)."""
    if W.ndim != 2 or x.shape[-1:] != W.shape[:1] or len(x.shape) < 1:
        raise UnclearError(f"it multiplies {x.shape} by {W.shape}")
    rows = x.reshape(-1, W.shape[0])
    dense = sources.add(Dense((rows.shape[0], W.shape[1]), rows, W))
    return Symbols.of(dense.ids().reshape(*x.shape[:-1], W.shape[1]))


def _matmul(sources: Sources, node: Any, inputs: list[Value | None]) -> Symbols:
    x, W = _signal(sources, inputs[0]), _finite(inputs[1], "matrix")
    return _product(sources, x, W.reshape(W.shape[-2:]) if W.size and W.ndim > 2 else W)


def _gemm(sources: Sources, node: Any, inputs: list[Value | None]) -> Symbols:
    has = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if has.get("transA", 0):
        raise UnclearError("it transposes a signal")
    W = _finite(inputs[1], "matrix") * has.get("alpha", 1.0)
    x = _signal(sources, inputs[0])
    y = _product(sources, x, W.T if has.get("transB", 0) else W)
    if len(inputs) < 3 or inputs[2] is None:
        return y
    return y.scaled(1.0, _finite(inputs[2], "bias") * has.get("beta", 1.0))


def _linear(sources: Sources, node: Any, inputs: list[Value | None]) -> Symbols:
    """Scale and offset by constants."""
    kind = node.op_type
    if kind == "Neg":
        return _signal(sources, inputs[0]).scaled(-1.0, 0.0)
    if kind == "BatchNormalization":
        return _normalized(sources, node, inputs)
    a, b = inputs
    if isinstance(a, Symbols) and isinstance(b, Symbols):
        raise UnclearError("it combines two signals; pyvgrad has layers in a row only")
    x, first = (a, True) if isinstance(a, Symbols) else (b, False)
    signal, c = _signal(sources, x), _finite(b if first else a, "constant")
    if kind == "Add":
        return signal.scaled(1.0, c)
    if kind == "Sub":
        return signal.scaled(1.0, -c) if first else signal.scaled(-1.0, c)
    if kind == "Mul":
        return signal.scaled(c, 0.0)
    if not first or not c.all():
        raise UnclearError("it divides by a signal, or by zero")
    return signal.scaled(1.0 / c, 0.0)


def _normalized(sources: Sources, node: Any, inputs: list[Value | None]) -> Symbols:
    """BatchNormalization for inference; the channels are axis 1."""
    x = _signal(sources, inputs[0])
    has = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if has.get("training_mode", 0):
        raise UnclearError("it is in training mode; export the model for inference")
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        _finite(v, what) for v, what in zip(inputs[1:], names, strict=False)
    )
    factor = scale / np.sqrt(variance + has.get("epsilon", 1e-5))
    axes = (-1, *(1 for _ in x.shape[2:]))
    return x.scaled(factor.reshape(axes), (bias - mean * factor).reshape(axes))


def _function(
    sources: Sources, node: Any, inputs: list[Value | None], opset: int
) -> Symbols:
    """Sigmoid, Softmax, LogSoftmax."""
    x = _signal(sources, inputs[0])
    kind = _FUNCTIONS[node.op_type]
    group = np.arange(x.ids.size).reshape(x.shape)
    if kind != "logistic":
        old = opset < 13  # before it the axes from ``axis`` on were flattened
        has = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axis = has.get("axis", 1 if old else -1) % len(x.shape)
        axes = tuple(range(axis, len(x.shape))) if old else (axis,)
        group = np.broadcast_to(group.min(axis=axes, keepdims=True), x.shape)
    act = Act(x.shape, kind, x.reshape(-1), group.ravel(), label(node))
    return Symbols.of(sources.add(act).ids())


def _cast(sources: Sources, node: Any, inputs: list[Value | None]) -> Symbols:
    """A cast that changes no value that pyvgrad could have."""
    x = inputs[0]
    assert isinstance(x, Symbols)
    to = str(helper.tensor_dtype_to_np_dtype(node.attribute[0].i))
    kinds = {x.dtype: np.dtype(x.dtype).kind, to: np.dtype(to).kind}
    if to in ("float16", "bfloat16") or kinds[x.dtype] != kinds[to]:
        raise UnclearError(f"it casts {x.dtype} to {to}; export the model in float32")
    return Symbols(x.ids, x.scale, x.offset, to)


def _dropout(sources: Sources, node: Any, inputs: list[Value | None]) -> Symbols:
    """Nothing, in inference."""
    training = inputs[2] if len(inputs) > 2 else None
    if isinstance(training, Symbols) or (training is not None and np.any(training)):
        raise UnclearError("it is in training mode; export the model for inference")
    x = inputs[0]
    assert isinstance(x, Symbols)
    return x


_Handler = Callable[[Sources, Any, list[Value | None]], Symbols]
_HANDLERS: dict[str, _Handler] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Cast": _cast,
    "Dropout": _dropout,
    **dict.fromkeys(_LINEAR, _linear),
}
