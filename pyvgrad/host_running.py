"""The ways to run a model on this machine that are timed (host_times.py).

``core``: one vg_run_steps of many steps; ``batch``: HostRunner.batch; ``single``:
HostExecutor.step; ``plain_c``: many steps of an LSTM written in float,
``plain_c_fast``: the same with -ffast-math; onnxruntime's and PyTorch's are one step a
call but for ``..._batch``, the same batch in one call.  All are on one thread and
compute the y of every step.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad import plain_c
from pyvgrad.dequantize import dequantize
from pyvgrad.errors import VgradError
from pyvgrad.executor import NO_STEP
from pyvgrad.native import HostExecutor
from pyvgrad.native_core import Core, Run
from pyvgrad.native_run import HostRunner
from pyvgrad.qmodel import QModel
from pyvgrad.signals import Signals

SEQUENCES, LENGTH = 64, 32  # of a batch
STREAM = 64  # steps one by one


@dataclass(frozen=True)
class Way:
    """One way to take ``steps`` steps: ``run`` does, and returns y, raw or float."""

    name: str
    run: Callable[[], Any]
    steps: int


def running_ways(blob: bytes, model: QModel) -> list[Way]:
    """Every way to run seeded inputs: first those of the core, then the others'.

    ValueError for a model that takes whole sequences.
    """
    if model.shape.whole:
        raise ValueError(NO_STEP)
    rng = np.random.default_rng(0)
    one = 1 << model.x_exp
    size = (SEQUENCES, LENGTH, model.shape.n_in)
    x = rng.integers(-one, one, size).clip(-32768, 32767).astype(np.int16)
    stream = x.reshape(-1, model.shape.n_in)[:STREAM]
    values = (x / one).astype(np.float32)
    own = [_core(blob, x), _batch(blob, x), _single(blob, stream)]
    lstm = lstm_of(model)
    floats = [] if lstm is None else _lstm_ways(*lstm, values)
    return own + floats + _onnx_ways(model, x, values)


# ---- the core ------------------------------------------------------------


def _core(blob: bytes, x: Signals) -> Way:
    """The core alone: the call is one, and what it costs vanishes among its steps."""
    every = HostRunner(blob).opened(logits=False, last=False)
    run = Run(Core(), every.blob)
    ffi, lib = run.core.ffi, run.core.lib
    steps = SEQUENCES * LENGTH
    y = np.zeros((steps, run.model.n_out), np.int16)
    given, out = ffi.from_buffer("vg_sig[]", x), ffi.from_buffer("vg_sig[]", y)

    def call() -> Any:
        lib.vg_run_reset(run.run)
        lib.vg_run_steps(run.run, given, steps, out)
        return y

    return Way("core", call, steps)


def _batch(blob: bytes, x: Signals) -> Way:
    runner = HostRunner(blob)
    y = np.zeros_like(runner.batch(x))  # fresh memory for y costs what it costs
    return Way("batch", lambda: runner.batch(x, out=y), SEQUENCES * LENGTH)


def _single(blob: bytes, x: Signals) -> Way:
    host = HostExecutor(blob)

    def call() -> Any:
        host.reset()
        return np.array([host.step(one)[0] for one in x])

    return Way("single", call, len(x))


# ---- others --------------------------------------------------------------


def _onnx_ways(model: QModel, x: Signals, values: Any) -> list[Way]:
    """Both graphs of the model in onnxruntime; none where it is not installed."""
    try:
        from pyvgrad.onnx_export import export_exact, export_float
        from pyvgrad.onnx_run import session
    except (ImportError, VgradError):
        return []
    exact = session(export_exact(model))
    graph = session(export_float(model.shape, dequantize(model)))
    return [
        _onnx_stream("onnx_exact", exact, x),
        _onnx_stream("onnx_float", graph, values),
        _onnx_batch("onnx_exact_batch", exact, x),
        _onnx_batch("onnx_float_batch", graph, values),
    ]


def _onnx_batch(name: str, graph: Any, x: Any) -> Way:
    steps = SEQUENCES * LENGTH
    return Way(name, lambda: graph.run(["y"], {"x": x})[0], steps)


def _onnx_stream(name: str, graph: Any, x: Any) -> Way:
    """Step by step, each state fed back."""
    names = [output.name for output in graph.get_outputs()]
    known = {given.name for given in graph.get_overridable_initializers()}
    states = [n for n in names if f"{n}_in" in known]
    wanted = ["y", *states]
    steps = list(x.reshape(-1, 1, 1, x.shape[-1])[:STREAM])

    def call() -> Any:
        feeds: dict[str, Any] = {}
        ys = []
        for one in steps:
            feeds["x"] = one
            y, *found = graph.run(wanted, feeds)
            feeds = {f"{n}_in": v for n, v in zip(states, found, strict=True)}
            ys.append(y)
        return np.concatenate(ys)

    return Way(name, call, STREAM)


def lstm_of(model: QModel) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Weights (n_in + n, 4 n) and biases (4 n) of gates i, f, g, o in float.

    None for any other model than one LSTM layer that starts from zeros, without a
    readout.
    """
    if [q.layer.cell for q in model.layers] != ["lstm"] or model.readout is not None:
        return None
    if model.layers[0].r0 is not None:
        return None
    n = model.layers[0].layer.n
    (params,) = dequantize(model)["layers"]
    zeros = {gate: np.zeros(n) for gate in "ifgo"}
    w, u, b = (
        np.concatenate([(zeros | params[part])[gate] for gate in "ifgo"])
        for part in "WUb"
    )
    return np.hstack([w, u]).T.astype(np.float32), b.astype(np.float32)


def _lstm_ways(
    w: NDArray[np.float32], b: NDArray[np.float32], values: NDArray[np.float32]
) -> list[Way]:
    ways = []
    if plain_c.available():
        x = values.reshape(-1, values.shape[-1])
        for name, fast in (("plain_c", False), ("plain_c_fast", True)):
            run = plain_c.PlainLstm(w, b, fast=fast).run
            ways.append(Way(name, partial(run, x), len(x)))
    if importlib.util.find_spec("torch") is not None:
        ways += _torch_ways(w, b, values)
    return ways


def _torch_ways(
    w: NDArray[np.float32], b: NDArray[np.float32], values: NDArray[np.float32]
) -> list[Way]:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    n, n_in = len(b) // 4, values.shape[-1]
    lstm = torch.nn.LSTM(n_in, n, batch_first=True)
    cell = torch.nn.LSTMCell(n_in, n)
    parts = {"weight_ih": w[:n_in].T, "weight_hh": w[n_in:].T, "bias_ih": b}
    with torch.no_grad():
        for to, end in ((lstm, "_l0"), (cell, "")):
            for name, part in parts.items():
                getattr(to, name + end).copy_(torch.tensor(part))
            getattr(to, f"bias_hh{end}").zero_()
    x = torch.tensor(values)
    steps = list(x.reshape(-1, 1, values.shape[-1])[:STREAM])
    start = torch.zeros(1, n), torch.zeros(1, n)

    def single() -> Any:
        with torch.inference_mode():
            state, ys = start, []
            for one in steps:
                state = cell(one, state)
                ys.append(state[0])
            return torch.cat(ys).numpy()

    def batch() -> Any:
        with torch.inference_mode():
            return lstm(x)[0].numpy()

    several = SEQUENCES * LENGTH
    return [Way("torch", single, STREAM), Way("torch_batch", batch, several)]
