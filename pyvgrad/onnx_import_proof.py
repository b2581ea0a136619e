"""The proof of an import: the file itself, run, against the float model made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from pyvgrad.errors import VgradError
from pyvgrad.model import forward
from pyvgrad.onnx_build import IR_VERSION
from pyvgrad.onnx_import import Imported, Resolved
from pyvgrad.onnx_import_symbols import Input
from pyvgrad.onnx_run import session

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Of the largest |y|, at least 1: what float32 against double makes of sums over many
# steps; a wrong gate, order, bias or step is far beyond it.
TOLERANCE = 1e-4
_SEQUENCES, _STEPS = 4, 12  # of random inputs, where the file takes any
_MOST_SEQUENCES = 64  # of the calibration data
_AT_ONCE = 16

_Runner = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Proof:
    """How far the file and the float model are apart.

    ``largest`` is the largest difference of ``values`` outputs, over the largest |y|
    or 1; ``by`` is who ran the file.
    """

    largest: float
    values: int
    by: str

    @property
    def ok(self) -> bool:
        """Whether they are the same function, as far as float32 can tell."""
        return self.largest <= TOLERANCE


def prove(
    model: Imported,
    x: Floats | None = None,
    lengths: Ints | None = None,
    *,
    seed: int = 0,
) -> Proof:
    """Run the file and the float model on random inputs and on x (N, T, n_in).

    Random inputs are normal, with the mean and deviation of x where it is given, once
    as they are and once three times as wide.  VgradError where nothing here can run
    the file.
    """
    ready = _Ready(model)
    largest, scale, values = 0.0, 1.0, 0
    for batch, ends in _inputs(model, x, lengths, np.random.default_rng(seed)):
        for rows in _pieces(len(batch), model.fixed[0]):
            got, want = ready.compare(batch[rows], ends[rows])
            if not np.isfinite(got).all():
                raise VgradError(
                    f"the file gives {got[~np.isfinite(got)][0]} in {ready.by}; "
                    "train the model again"
                )
            largest = max(largest, float(np.abs(got - want).max(initial=0.0)))
            scale = max(scale, float(np.abs(want).max(initial=0.0)))
            values += got.size
    return Proof(largest / scale, values, ready.by)


def random_inputs(
    model: Imported,
    rng: np.random.Generator,
    x: Floats | None = None,
    sequences: int | None = None,
) -> Floats:
    """Normal inputs (N, T, n_in), with x's mean and deviation a channel if given."""
    batch = sequences or model.fixed[0] or _SEQUENCES
    steps = model.fixed[1] or _STEPS
    noise = rng.normal(size=(batch, steps, model.shape.n_in))
    if x is None:
        return noise
    return np.asarray(noise * x.std(axis=(0, 1)) + x.mean(axis=(0, 1)))


def _inputs(
    model: Imported, x: Floats | None, lengths: Ints | None, rng: np.random.Generator
) -> Iterator[tuple[Floats, Ints]]:
    """Sequences and their lengths."""
    for width in (1.0, 3.0):
        noise = width * random_inputs(model, rng, x)
        batch, steps = noise.shape[:2]
        yield noise, np.full(batch, steps)
        if model.has_lengths:
            yield noise, rng.integers(1, steps + 1, batch)
    if x is None:
        return
    x, steps = x[:_MOST_SEQUENCES], model.fixed[1] or x.shape[1]
    repeats = -(-steps // x.shape[1])
    x = np.tile(x, (1, repeats, 1))[:, :steps]
    if model.has_lengths and lengths is not None:
        yield x, np.minimum(lengths[: len(x)], steps)
        return
    yield x, np.full(len(x), steps)


def _pieces(count: int, fixed: int | None) -> Iterator[Ints]:
    """Rows of a batch, as many at once as the file takes; the last may come twice."""
    size = fixed or min(count, _AT_ONCE)
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)


class _Ready:
    """The file, ready to run: in onnxruntime, else in the onnx package's reference."""

    def __init__(self, model: Imported) -> None:
        self.model, self.by = model, "onnxruntime"
        self._resolved: dict[tuple[int, int], Resolved] = {}
        proto = type(model.proto)()
        proto.CopyFrom(model.proto)
        proto.ir_version = min(proto.ir_version, IR_VERSION)
        self._proto = proto
        self._run: _Runner
        try:
            ready = session(proto)
            self._run = lambda feeds: ready.run([model.output], feeds)[0]
        except Exception as error:  # onnxruntime's own have no common base
            self._fall_back(error)

    def _fall_back(self, error: Exception) -> None:
        self.by = "the reference of the onnx package"
        said = " ".join(str(error).split())[:160]
        try:
            ready: Any = ReferenceEvaluator(self._proto)
        except Exception:
            raise VgradError(
                f"nothing here can run the file to compare it; onnxruntime: {said}"
            ) from None
        self._run = lambda feeds: ready.run([self.model.output], feeds)[0]

    def compare(self, x: Floats, lengths: Ints) -> tuple[Floats, Floats]:
        """What the file and the float model give, of all steps that count, flat."""
        size = x.shape[0], x.shape[1]
        if size not in self._resolved:
            self._resolved[size] = self.model.resolve(*size)
        r = self._resolved[size]
        # The same float32 values on both sides.
        x = x.astype(np.float32).astype(np.float64)
        out = self._call({k: _fed(r, k, x, lengths) for k in r.shapes})
        got = np.asarray(out, np.float64).ravel()[r.found.order]
        if r.found.log:
            got = np.exp(got)
        shape = self.model.shape
        y = forward(shape, self.model.params, x, lengths=lengths).y
        if shape.mode == "sequence":
            counts = np.arange(x.shape[1]) < lengths[:, None]
            return got[counts].ravel(), y[counts].ravel()
        return got[:, 0].ravel(), y[np.arange(len(y)), lengths - 1].ravel()

    def _call(self, feeds: dict[str, Any]) -> Any:
        try:
            return self._run(feeds)
        except Exception as error:
            if self.by != "onnxruntime":
                raise VgradError(
                    "nothing here can run the file to compare it: "
                    + " ".join(str(error).split())[:160]
                ) from None
            self._fall_back(error)
            return self._call(feeds)


def _fed(r: Resolved, name: str, x: Floats, lengths: Ints) -> NDArray[Any]:
    """An input of the file: x in its order, the lengths, or zeros of a state."""
    source: Input = r.interpreter.inputs[name]
    value = r.interpreter.values[name]
    dtype, shape = value.dtype, r.shapes[name]
    if source is r.found.x:
        order = ["NTF".index(role) for role in source.roles]
        return x.transpose(order).reshape(shape).astype(dtype)
    if source is r.found.lengths:
        return lengths.reshape(shape).astype(dtype)
    return np.zeros(shape, dtype)
