"""Proof of agreement: the same integers from every executor.

The NumPy integer model, written from the specification, is what the others are held
against.  Compared are y, logits, the whole state and the count of clamps, at every
step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import parse
from pyvgrad.executor import Executor
from pyvgrad.executors import open_executor
from pyvgrad.intmodel import IntModel, Trace
from pyvgrad.qmodel import Ints, QModel
from pyvgrad.signals import Signals

Open = Callable[[bytes, str], Executor]


class Watcher:
    """Told what ``agree`` does; override what is of interest."""

    def start(self, name: str) -> None:
        """Executor ``name`` is about to start."""

    def output(self, name: str, sequence: int, y: Signals, logits: Signals) -> None:
        """One sequence's y and logits, each (T, n_out), came from an executor."""

    def end(self, name: str, executor: Executor) -> None:
        """Executor ``name`` has run everything and is about to be closed."""


@dataclass(frozen=True)
class Difference:
    """The first value that differs on an executor."""

    executor: str
    signal: str  # y, logits, saturated, or c, h, i, o of a layer: "layer 1 c"
    sequence: int
    step: int
    unit: int
    expected: int
    got: int

    def __str__(self) -> str:
        return (
            f"{self.executor}: sequence {self.sequence}, step {self.step}, "
            f"{self.signal} of unit {self.unit} is {self.got}, not {self.expected}"
        )


@dataclass(frozen=True)
class Agreement:
    """``values`` were compared on each executor; ``differing`` of them differ."""

    steps: int
    values: int
    differing: dict[str, int]
    first: Difference | None

    @property
    def ok(self) -> bool:
        """Whether no bit differs."""
        return not any(self.differing.values())

    def as_dict(self) -> dict[str, object]:
        """The fields of ``verify --json``."""
        return {
            "steps": self.steps,
            "values": self.values,
            "differing": self.differing,
            "first": None if self.first is None else asdict(self.first),
        }


def split_images(model: QModel, images: NDArray[np.uint8]) -> dict[str, Ints]:
    """Saved states (T, state_size) as integers by name, each (T, n)."""
    images = np.ascontiguousarray(images)

    def ints(dtype: str, at: int, n: int) -> Ints:
        width = np.dtype(dtype).itemsize * n
        part = np.ascontiguousarray(images[:, at : at + width])
        return part.view(dtype).astype(np.int64)

    signals = {"saturated": ints("<u4", 4, 1)}
    at = 8
    for k, q in enumerate(model.layers):
        if q.layer.row.carry:
            signals[f"layer {k + 1} c"] = ints("<i4", at, q.layer.n)
            at += 4 * q.layer.n
        r = ints("<i2", at, q.state_length)
        ends = q.layer.n + q.layer.n_blocks * np.arange(3)
        for name, part in zip("hio", np.split(r, ends[:-1], axis=1), strict=True):
            if part.shape[1]:
                signals[f"layer {k + 1} {name}"] = part
        at += 2 * (q.state_length + q.state_length % 2)
    return signals


def _values(
    model: QModel, y: Signals, logits: Signals, images: NDArray[np.uint8]
) -> dict[str, Ints]:
    """All signals in the order of the flow, so that the first wrong one is a cause."""
    outputs = {"logits": logits.astype(np.int64), "y": y.astype(np.int64)}
    return split_images(model, images) | outputs


def _expected(model: QModel, trace: Trace, n: int, end: int) -> dict[str, Ints]:
    """Signals of one sequence as Executor.run gives them."""
    assert trace.images is not None
    whole = model.shape.whole
    once = whole and model.shape.mode != "sequence"
    steps = slice(end - 1 if once else 0, end)
    images = trace.images[n, : 1 if whole else end]
    return _values(model, trace.y[n, steps], trace.logits[n, steps], images)


@dataclass
class _Count:
    """What one executor's comparison has found so far."""

    executor: str
    values: int = 0
    differing: int = 0
    first: Difference | None = None

    def compare(
        self, sequence: int, want: Mapping[str, Ints], got: Mapping[str, Ints]
    ) -> None:
        """Hold one sequence's signals, each (T, n), against the expected ones."""
        found = []
        for signal, expected in want.items():
            wrong = np.argwhere(expected != got[signal])
            self.values += expected.size
            self.differing += len(wrong)
            if len(wrong):
                step, unit = (int(i) for i in wrong[0])
                pair = int(expected[step, unit]), int(got[signal][step, unit])
                name = self.executor
                found.append(Difference(name, signal, sequence, step, unit, *pair))
        if self.first is None and found:
            self.first = min(found, key=lambda d: d.step)


def agree(
    blob: bytes,
    x: Signals,
    lengths: Ints | None = None,
    on: Iterable[str] = ("host",),
    *,
    opener: Open = open_executor,
    watcher: Watcher | None = None,
) -> Agreement:
    """Run x (N, T, n_in), raw int16, on each executor and compare every integer.

    Steps from ``lengths`` (N,) on are left out.  ``opener(blob, name)`` starts an
    executor.  Raises what the opener raises.
    """
    watcher = watcher or Watcher()
    model = parse(blob)
    ends = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    trace = IntModel(blob).run(x, ends, states=True)
    expected = [_expected(model, trace, n, int(end)) for n, end in enumerate(ends)]
    counts = []
    for name in on:
        watcher.start(name)
        count = _Count(name)
        with closing(opener(blob, name)) as executor:
            for n, got in enumerate(executor.sequences(x, ends, states=True)):
                assert got.images is not None
                watcher.output(name, n, got.y, got.logits)
                values = _values(model, got.y, got.logits, got.images)
                count.compare(n, expected[n], values)
            watcher.end(name, executor)
        counts.append(count)
    return Agreement(
        int(ends.sum()),
        counts[0].values if counts else 0,
        {count.executor: count.differing for count in counts},
        next((count.first for count in counts if count.first), None),
    )


def random_inputs(model: QModel, sequences: int = 16, steps: int = 32) -> Signals:
    """Inputs where a user gives none, (N, T, n_in) raw: seeded, one-hot to extreme."""
    rng = np.random.default_rng(sequences)
    n = model.shape.n_in
    hot = np.eye(n, dtype=np.int64)[rng.integers(n, size=(sequences, steps))]
    x = hot << model.x_exp
    wide = rng.integers(-32768, 32768, x.shape)
    unit = rng.integers(-(1 << model.x_exp), (1 << model.x_exp) + 1, x.shape)
    kind = np.arange(sequences)[:, None, None] % 3
    return np.choose(kind, [x, unit, wide]).clip(-32768, 32767).astype(np.int16)


def lines(agreement: Agreement) -> list[str]:
    """The agreement in words."""
    said = [f"{agreement.values:,} values over {agreement.steps:,} steps"]
    for name, n in agreement.differing.items():
        said.append(f"  {name:<6} {n:,} differ")
    if agreement.first is not None:
        said.append(f"first: {agreement.first}")
    return said
