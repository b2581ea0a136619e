"""ONNX graphs in onnxruntime: an exact one is an executor of a blob."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyvgrad.blob import crc, parse
from pyvgrad.errors import VgradError
from pyvgrad.executor import Executor
from pyvgrad.onnx_exact import export_exact
from pyvgrad.qmodel import QModel
from pyvgrad.signals import Signals, raw_signals
from pyvgrad.state import Image, State, from_bytes, initial, size, to_bytes

try:
    import onnxruntime
except ImportError as error:
    raise VgradError(
        "onnxruntime is not installed and running ONNX files needs it: "
        "pip install pyvgrad[onnx]"
    ) from error

Floats = NDArray[np.float64]

_COUNT_MASK = 0xFFFFFFFF  # saturated is counted modulo 2^32


class OnnxExecutor(Executor):
    """One sequence passing through a blob in onnxruntime, on one CPU thread.

    ``optimize`` False turns off all of onnxruntime's rewriting of the graph; the bits
    are the same.  BlobError if the blob is damaged.
    """

    name = "onnx"

    def __init__(self, blob: bytes, *, optimize: bool = True) -> None:
        model = parse(blob)
        self.n_in, self.whole = model.shape.n_in, model.shape.whole
        if not self.whole:  # a y of every step, whatever the mode
            model = replace(model, shape=replace(model.shape, mode="sequence"))
        self.model = model
        self.crc = crc(blob)
        self._optimize = optimize
        self._sessions: dict[bool, Any] = {}
        self.reset()

    def reset(self) -> None:
        """As in Executor."""
        self._state = initial(self.model, 1)

    def run(
        self, x: ArrayLike, *, states: bool = False
    ) -> tuple[Signals, Signals, Image | None]:
        """As in Executor."""
        signals = raw_signals(x, -1, self.n_in)[np.newaxis]
        steps = signals.shape[1]
        if self.whole:
            return self._run_whole(signals, states)
        if not steps:  # a Scan needs one
            none = np.zeros((0, self.model.shape.n_out), np.int16)
            images = np.zeros((0, size(self.model)), np.uint8)
            return none, none.copy(), images if states else None
        out = self._call(states, {"x": signals} | _feeds(self._state))
        self._state = _state(self.model, out, "", 1)
        rows = _state(self.model, out, "_steps", steps) if states else None
        images_or_none = None if rows is None else to_bytes(rows, self.crc)
        return out["y"][0], out["logits"][0], images_or_none

    def _run_whole(
        self, signals: Signals, states: bool
    ) -> tuple[Signals, Signals, Image | None]:
        if not signals.shape[1]:
            raise ValueError("a model with a reversed layer needs a step at least")
        out = self._call(False, {"x": signals} | _feeds(self._state))
        self._state = _state(self.model, out, "", 1)
        images = to_bytes(self._state, self.crc) if states else None
        n_out = self.model.shape.n_out
        y, logits = (out[k].reshape(-1, n_out) for k in ("y", "logits"))
        return y, logits, images

    def run_batch(self, x: ArrayLike) -> tuple[Signals, Signals]:
        """Whole sequences x (N, T, n_in), T >= 1: y and logits, (N, T, n_out).

        With a reversed layer those that the mode means.  Each starts from the blob's
        initial state; the executor's own state stays.
        """
        out = self._call(False, {"x": raw_signals(x, -1, -1, self.n_in)})
        return out["y"], out["logits"]

    @property
    def state(self) -> bytes:
        """As in Executor."""
        return to_bytes(self._state, self.crc).tobytes()

    @state.setter
    def state(self, image: bytes) -> None:
        self._state = from_bytes(self.model, self.crc, image)

    @property
    def saturated(self) -> int:
        """As in Executor."""
        return int(self._state.saturated[0])

    def close(self) -> None:
        """Give the sessions' memory back."""
        self._sessions.clear()

    def _call(self, states: bool, feeds: dict[str, Any]) -> dict[str, Any]:
        if states not in self._sessions:
            proto = export_exact(self.model, states=states)
            self._sessions[states] = session(proto, optimize=self._optimize)
        run = self._sessions[states]
        names = [output.name for output in run.get_outputs()]
        return dict(zip(names, run.run(names, feeds), strict=True))


def run_float(
    path: str | Path, x: ArrayLike, lengths: ArrayLike | None = None
) -> dict[str, Floats]:
    """Every signal of a file of ``export_float`` for values x (N, T, n_in).

    Returns ``logits``, ``y``, and ``layer k h`` and ``layer k c``, k from 1, each
    (N, T, n) whatever the file's mode: it is run step by step.  Of a file with a
    reversed layer ``logits`` and ``y`` alone, of whole sequences that end at
    ``lengths`` (N,), where there is one output, at every step.  VgradError if it is not
    such a file, ValueError if x does not fit.
    """
    values = np.asarray(x, np.float32)
    run = _float_session(Path(path))
    n_in = run.get_inputs()[0].shape[-1]
    if values.ndim != 3 or values.shape[2] != n_in or not values.shape[1]:
        raise ValueError(
            f"{path}: x must be (N, T, {n_in}), T >= 1, it is {values.shape}"
        )
    if "whole" in run.get_modelmeta().custom_metadata_map:
        return _whole_float(path, run, values, lengths)
    names = [output.name for output in run.get_outputs()]
    steps: list[dict[str, Any]] = []
    state: dict[str, Any] = {}
    for t in range(values.shape[1]):
        try:
            found = run.run(names, {"x": values[:, t : t + 1]} | state)
        except Exception as error:  # onnxruntime's own have no common base
            raise _refused(path, error) from None
        out = dict(zip(names, found, strict=True))
        state = {f"{k}_in": v for k, v in out.items() if k.startswith("state_")}
        steps.append(out)
    signals = {_signal(k): k for k in names if k[-2:] not in ("_i", "_o")}
    n = len(values)
    return {
        signal: np.stack([out[k].reshape(n, -1) for out in steps], 1).astype(np.float64)
        for signal, k in signals.items()
    }


def _whole_float(
    path: str | Path, run: Any, x: Any, lengths: ArrayLike | None
) -> dict[str, Floats]:
    """Logits and y, (N, T, n_out), 0 behind each sequence's end."""
    N, T = x.shape[:2]
    ends = np.broadcast_to(T if lengths is None else np.asarray(lengths), (N,))
    signals: dict[str, Floats] = {}
    for n, end in enumerate(ends):
        try:
            found = run.run(["logits", "y"], {"x": x[n : n + 1, :end]})
        except Exception as error:
            raise _refused(path, error) from None
        for name, values in zip(("logits", "y"), found, strict=True):
            signal = signals.setdefault(name, np.zeros((N, T, values.shape[-1])))
            signal[n, :end] = values[0]
    return signals


def _float_session(path: Path) -> Any:
    try:
        run = session(path.read_bytes())
    except OSError as error:
        raise VgradError(f"{path}: {error.strerror}; is the path right?") from None
    except Exception as error:
        raise _refused(path, error) from None
    if run.get_modelmeta().custom_metadata_map.get("format") != "float":
        raise VgradError(f"{path} is not a float model that pyvgrad exported")
    return run


def _refused(path: str | Path, error: Exception) -> VgradError:
    said = " ".join(str(error).split())[:200]
    return VgradError(f"{path}: onnxruntime cannot take it: {said}")


def _signal(output: str) -> str:
    """``state_2_h`` as ``layer 2 h``; y and logits stay."""
    return output.replace("state_", "layer ").replace("_", " ")


def session(model: Any, *, optimize: bool = True) -> Any:
    """An onnxruntime.InferenceSession of a ModelProto or its bytes, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised; warnings are of defaults
    if not optimize:
        options.graph_optimization_level = (
            onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        )
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )


def _feeds(state: State) -> dict[str, Any]:
    """The graph's state inputs."""
    feeds: dict[str, Any] = {"saturated_in": state.saturated[:, np.newaxis]}
    for k, (c, r) in enumerate(zip(state.c, state.r, strict=True), 1):
        if c is not None:
            feeds[f"c_{k}_in"] = c.astype(np.int32)
        feeds[f"r_{k}_in"] = r.astype(np.int16)
    return feeds


def _state(model: QModel, out: dict[str, Any], suffix: str, rows: int) -> State:
    """The graph's state outputs, ``rows`` of them: steps, or the last alone."""

    def ints(name: str) -> Any:
        return out[f"{name}{suffix}"].reshape(rows, -1).astype(np.int64)

    numbered = list(enumerate(model.layers, 1))
    return State(
        tuple(ints(f"c_{k}") if q.layer.row.carry else None for k, q in numbered),
        tuple(ints(f"r_{k}") for k, _ in numbered),
        ints("saturated")[:, 0] & _COUNT_MASK,
    )
