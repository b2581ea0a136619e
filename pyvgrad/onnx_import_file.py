"""An ONNX file, read and checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyvgrad.errors import VgradError
from pyvgrad.onnx_build import inliner, onnx

OLDEST_OPSET = 11
RECURRENT = ("LSTM", "GRU", "RNN")
_OWN_DOMAINS = ("", "ai.onnx")
_LOOPS = ("Loop", "Scan", "If")
_UNROLLED = (
    "export the layer as one node instead: in PyTorch use nn.LSTM, nn.GRU or nn.RNN, "
    "not a cell in a Python loop (nn.RNN with dynamo=False); in Keras unroll=False, "
    "and TF_USE_LEGACY_KERAS=1 where tf2onnx makes a Loop of a GRU"
)


def read_file(path: str | Path) -> Any:
    """The ModelProto of a file, its external weights loaded, functions inlined.

    VgradError, one sentence, for what is no ONNX file, is empty or damaged, lacks its
    external data, is older than opset 11, has operators of other domains, or no
    recurrent node: loops and unrolled recurrences say how to export them better.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise VgradError(f"{path}: {error.strerror}; is the path right?") from None
    try:
        proto = onnx.load_model_from_string(data)
    except Exception:  # protobuf's own, which has several names
        proto = None
    if proto is None or not proto.ir_version or not proto.HasField("graph"):
        raise VgradError(f"{path}: not an ONNX file; give one that an exporter wrote")
    if not proto.graph.node:
        raise VgradError(f"{path}: its graph is empty; export the model again")
    _load_external(proto, Path(path))
    return checked(proto, path)


def checked(proto: Any, path: str | Path) -> Any:
    """A ModelProto with functions inlined.  VgradError as ``read_file``."""
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    opset = opset_of(proto)
    if opset < OLDEST_OPSET:
        raise VgradError(
            f"{path}: opset {opset} is too old; export with opset {OLDEST_OPSET} or "
            "later, or convert it with onnx.version_converter"
        )
    for node in proto.graph.node:
        if node.domain not in _OWN_DOMAINS:
            raise refused(
                path, node, f"its operators are of {node.domain}, not ONNX's own"
            )
    try:
        onnx.checker.check_model(proto)
        _names(proto.graph)
    except Exception as error:  # onnx has several of its own
        said = " ".join(str(error).split())[:200]
        raise VgradError(f"{path}: not a valid ONNX graph: {said}") from None
    _refuse_loops(proto, path)
    return proto


def opset_of(proto: Any) -> int:
    """The version of ONNX's own operators that a file asks for; 0 for none."""
    versions = [o.version for o in proto.opset_import if o.domain in _OWN_DOMAINS]
    return int(max(versions, default=0))


def refused(path: object, node: Any, reason: str) -> VgradError:
    """The error for a node that is not taken, with its name, operator and reason."""
    return VgradError(f"{path}: {label(node)}: {reason}")


def label(node: Any) -> str:
    """A node for people: its name, or what it gives, and its operator."""
    gives = next((name for name in node.output if name), "nothing")
    called = f"node {node.name!r}" if node.name else f"the node that gives {gives!r}"
    return f"{called} ({node.op_type})"


def _load_external(proto: Any, path: Path) -> None:
    """Read weights that lie in files beside it.  VgradError if one is missing."""
    outside = [t for t in _tensors(proto.graph) if t.data_location == t.EXTERNAL]
    for tensor in outside:
        try:
            onnx.external_data_helper.load_external_data_for_tensor(
                tensor, str(path.parent)
            )
        except Exception:  # onnx's checker and the system have no common base
            where = {e.key: e.value for e in tensor.external_data}
            raise VgradError(
                f"{path}: the weights {tensor.name!r} are in "
                f"{where.get('location')!r}, which is not beside it or is cut short; "
                "put that file there or export with external_data=False"
            ) from None
        tensor.data_location = tensor.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        yield from (a.t for a in node.attribute if a.HasField("t"))


def _names(graph: Any) -> None:
    """UnicodeError or TypeError for a name that is no text."""
    names = [tensor.name for tensor in graph.initializer]
    for node in graph.node:
        names += [node.name, *node.input, *node.output]
        names += [a.name for a in node.attribute]
    for info in (*graph.input, *graph.output):
        names += [info.name, *(d.dim_param for d in info.type.tensor_type.shape.dim)]
    "".join(names).encode()


def _refuse_loops(proto: Any, path: str | Path) -> None:
    nodes = list(proto.graph.node)
    for node in nodes:
        if node.op_type in _LOOPS:
            raise refused(path, node, f"a recurrence written out; {_UNROLLED}")
    if any(node.op_type in RECURRENT for node in nodes):
        return
    kinds = [node.op_type for node in nodes]
    products = kinds.count("MatMul") + kinds.count("Gemm")
    squashes = kinds.count("Sigmoid") + kinds.count("Tanh") + kinds.count("Relu")
    if products > 2 and squashes > 1:
        raise VgradError(
            f"{path}: there is no LSTM, GRU or RNN node but {products} products and "
            f"{squashes} squashing functions, a recurrence unrolled step by step; "
            f"{_UNROLLED}"
        )
    raise VgradError(
        f"{path}: there is no LSTM, GRU or RNN node in it; pyvgrad takes recurrent "
        "networks only"
    )
