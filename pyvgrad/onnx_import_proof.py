"""The proof of an import: the file itself, run, against the float model made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import VgradError
from pyvgrad.model import forward
from pyvgrad.onnx_import import Imported
from pyvgrad.onnx_import_run import FloatFile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Of the largest |y|: what float32 against double makes of sums over many
# steps; a wrong gate, order, bias or step is far beyond it.
TOLERANCE = 1e-4
_LEAST = 0.01  # of the largest |y|, for an output of zeros
_SEQUENCES, _STEPS = 8, 12  # of random inputs; steps where the file takes any
_MOST_SEQUENCES, _MOST_STEPS = 16, 200  # of the calibration data
_AT_ONCE = 16


@dataclass(frozen=True)
class Proof:
    """How far the file and the float model are apart.

    ``largest`` is the largest difference of ``values`` outputs, over the largest |y|
    seen; ``by`` is who ran the file.
    """

    largest: float
    values: int
    by: str
    tolerance: float = TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether they are the same function, as far as float32 can tell."""
        return self.largest <= self.tolerance


def prove(
    model: Imported,
    x: Floats | None = None,
    lengths: Ints | None = None,
    *,
    seed: int = 0,
) -> Proof:
    """Run the file and the float model on random inputs and on x (N, T, n_in).

    Random inputs are normal, with the mean and deviation of x where it is given, a
    third as wide, as they are, and three times as wide; states that are inputs of the
    file are random then.  VgradError where nothing here can run the file.
    """
    file, rng = FloatFile(model), np.random.default_rng(seed)
    largest, scale, values = 0.0, _LEAST, 0
    for batch, ends, own in _inputs(model, x, lengths, rng):
        for rows in _pieces(len(batch), model.fixed[0]):
            got, want = _both(file, batch[rows], ends[rows], None if own else rng)
            if not np.isfinite(got).all():
                raise VgradError(
                    f"the file gives {got[~np.isfinite(got)][0]} in {file.by}; "
                    "train the model again"
                )
            largest = max(largest, float(np.abs(got - want).max(initial=0.0)))
            scale = max(scale, float(np.abs(want).max(initial=0.0)))
            values += got.size
    return Proof(largest / scale, values, file.by)


def random_inputs(
    model: Imported,
    rng: np.random.Generator,
    x: Floats | None = None,
    sequences: int = 64,
) -> Floats:
    """Normal inputs (N, T, n_in), with x's mean and deviation a channel if given."""
    steps = model.fixed[1] or _STEPS
    noise = rng.normal(size=(sequences, steps, model.shape.n_in))
    if x is None:
        return noise
    return np.asarray(noise * x.std(axis=(0, 1)) + x.mean(axis=(0, 1)))


def _both(
    file: FloatFile, x: Floats, lengths: Ints, rng: np.random.Generator | None
) -> tuple[Floats, Floats]:
    """What the file and the float model give, at all steps that count, flat.

    ``rng`` draws the states that are inputs of the file; they are zeros without it.
    """
    x = x.astype(np.float32).astype(np.float64)  # the same values on both sides
    model, given, state = file.model, None, None
    if rng is not None:
        given, state = file.random_states(x.shape[0], x.shape[1], rng)
    got = file.run(x, lengths, given)
    y = forward(model.shape, model.params, x, state, lengths).y
    if model.shape.mode == "sequence":
        counts = np.arange(x.shape[1]) < lengths[:, None]
        return got[counts].ravel(), y[counts].ravel()
    return got[:, 0].ravel(), y[np.arange(len(y)), lengths - 1].ravel()


def _inputs(
    model: Imported, x: Floats | None, lengths: Ints | None, rng: np.random.Generator
) -> Iterator[tuple[Floats, Ints, bool]]:
    """Sequences, their lengths, and whether they are the user's own."""
    for width in (1 / 3, 1.0, 3.0):
        noise = width * random_inputs(model, rng, x, _SEQUENCES)
        batch, steps = noise.shape[:2]
        yield noise, np.full(batch, steps), False
        if model.has_lengths:
            yield noise, rng.integers(1, steps + 1, batch), False
    if x is None:
        return
    x, steps = x[:_MOST_SEQUENCES], model.fixed[1] or min(x.shape[1], _MOST_STEPS)
    repeats = -(-steps // x.shape[1])
    x = np.tile(x, (1, repeats, 1))[:, :steps]
    if model.has_lengths and lengths is not None:
        yield x, np.minimum(lengths[: len(x)], steps), True
        return
    yield x, np.full(len(x), steps), True


def _pieces(count: int, fixed: int | None) -> Iterator[Ints]:
    """Rows of a batch, as many at once as the file takes; the last may come twice."""
    size = fixed or min(count, _AT_ONCE)
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)
