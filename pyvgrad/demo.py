"""The main job: train three models, quantize them, run them everywhere, compare.

Every string of each task runs on the NumPy integer model, the C core on the host, the
exact ONNX graph and six emulated Cortex-M cores; every integer is compared.  What is
learnt in integers is in ``demo_learn``.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.accuracy import (
    Error,
    arithmetic_reference,
    errors,
    float_signals,
    summary,
)
from pyvgrad.defaults import recipe_for
from pyvgrad.demo_learn import Learning, Says
from pyvgrad.device import Device
from pyvgrad.errors import VgradError
from pyvgrad.executor import Executor
from pyvgrad.executors import CORES, NAMES
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.firmware import build, require
from pyvgrad.header import header
from pyvgrad.intmodel import IntModel, Trace
from pyvgrad.native import HostExecutor
from pyvgrad.onnx_build import write as write_onnx
from pyvgrad.onnx_exact import export_exact
from pyvgrad.onnx_export import export_float
from pyvgrad.recall import recall
from pyvgrad.signals import Signals, to_signals
from pyvgrad.solve import Solution, solve
from pyvgrad.tasks import Outputs, Sequences, Task, make_task
from pyvgrad.tasks.reber import SYMBOLS
from pyvgrad.verify import Agreement, Watcher, agree


@dataclass(frozen=True)
class Demo:
    """One model of the demo: the task's default recipe, with its seed."""

    name: str
    title: str
    letters: tuple[str, ...]  # of the task's symbols
    options: tuple[tuple[str, int], ...] = ()
    seed: int = 0

    def make_task(self) -> Task:
        """The task, its sets drawn by the demo's seed."""
        return make_task(self.name, seed=self.seed, **dict(self.options))


LAG = 10
DEMOS = (
    Demo("embedded-reber", "LSTM, 12 units, embedded Reber grammar", tuple(SYMBOLS)),
    Demo("reber", "tanh RNN, 12 units, Reber grammar", tuple(SYMBOLS)),
    Demo(
        "long-lag",
        f"LSTM, 6 units, long lag 2a at p = {LAG}",
        ("y", "x", *(f"a{k}" for k in range(1, LAG))),
        (("lag", LAG),),
    ),
)


@dataclass
class Place:
    """One executor's answers on one model."""

    name: str
    y: Signals
    logits: Signals
    right: int = 0
    memory: dict[str, int] = field(default_factory=dict)  # bytes


@dataclass
class Outcome:
    """One model, trained, quantized and run everywhere."""

    demo: Demo
    task: Task
    solution: Solution
    sequences: Sequences  # every string of every set of the task
    trace: Trace
    agreement: Agreement
    places: list[Place]
    references: dict[str, dict[str, NDArray[np.float64]]]  # total, arithmetic
    files: list[Path]

    @property
    def ok(self) -> bool:
        """Whether no bit differs and every string is right everywhere."""
        n = len(self.sequences)
        return self.agreement.ok and all(p.right == n for p in self.places)

    @property
    def errors(self) -> dict[str, dict[str, Error]]:
        """Error by reference and signal."""
        return {
            name: errors(
                self.solution.model, self.trace, self.sequences.mask, reference
            )
            for name, reference in self.references.items()
        }


def joined(sets: Iterable[Sequences]) -> Sequences:
    """All sequences of some sets as one, padded to the longest."""
    parts = list(sets)
    steps = max(s.steps for s in parts)

    def join(name: str, fill: int | bool, extra: int = 0) -> NDArray[Any]:
        arrays = []
        for s in parts:
            a = getattr(s, name)
            pad = [(0, 0)] * a.ndim
            pad[1] = (0, steps + extra - a.shape[1])
            arrays.append(np.pad(a, pad, constant_values=fill))
        return np.concatenate(arrays)

    return Sequences(
        join("x", 0),
        join("y", 0),
        np.concatenate([s.lengths for s in parts]),
        join("mask", False),
        join("symbols", -1, 1),
        None if parts[0].legal is None else join("legal", False),
    )


class _Collect(Watcher):
    """Keeps what the executors answer and what they cost."""

    def __init__(self, says: Says, label: str, n: int, empty: Signals) -> None:
        self.places: list[Place] = []
        self._says, self._label, self._n, self._empty = says, label, n, empty

    def start(self, name: str) -> None:
        self.places.append(Place(name, self._empty.copy(), self._empty.copy()))

    def output(self, name: str, sequence: int, y: Signals, logits: Signals) -> None:
        place = self.places[-1]
        place.y[sequence, : len(y)] = y
        place.logits[sequence, : len(y)] = logits
        self._says.update(f"{self._label} on {name}", sequence + 1, self._n)

    def end(self, name: str, executor: Executor) -> None:
        memory = self.places[-1].memory
        if isinstance(executor, HostExecutor | Device):
            memory["arena"] = executor.arena_bytes
        if isinstance(executor, Device):
            if name in CORES:  # what runs behind a port is not known here
                memory |= executor.sizes()
            memory["stack"] = executor.stack_bytes()


def train_one(demo: Demo, folder: Path, says: Says) -> tuple[Task, Solution]:
    """Train a model of the demo, or recall the training from an earlier run.

    VgradError if it does not meet its criterion.
    """
    task = demo.make_task()
    recipe = recipe_for(task)
    shape, settings = recipe.shape(task), recipe.settings

    def progress(sequences: int, loss: float) -> None:
        says.update(
            f"training {demo.name}", sequences, settings.limit, f"loss {loss:.4f}"
        )

    solution = recall(
        folder / f"{demo.name}.training.npz",
        f"{demo} {recipe}",
        lambda: solve(task, shape, settings, demo.seed, progress=progress),
    )
    if not solution.result.success:
        raise VgradError(
            f"{demo.name} was not learnt within {settings.limit} sequences"
        )
    says.note(
        f"{demo.title}: {shape.n_weights:,} weights, right on every string "
        f"after {solution.result.sequences:,} sequences"
    )
    return task, solution


def write_files(demo: Demo, solution: Solution, folder: Path) -> list[Path]:
    """Write the blob, both ONNX files and the C header."""
    paths = [
        folder / f"{demo.name}{s}" for s in (".vg", ".float.onnx", ".exact.onnx", ".h")
    ]
    write_bytes(paths[0], solution.blob)
    write_onnx(paths[1], export_float(solution.model.shape, solution.result.params))
    write_onnx(paths[2], export_exact(solution.model))
    write_bytes(paths[3], header(solution.blob, paths[0].name).encode())
    return paths


def run_one(
    demo: Demo,
    task: Task,
    solution: Solution,
    folder: Path,
    on: Iterable[str],
    says: Says,
) -> Outcome:
    """Write a trained model's files, run it on every executor and compare."""
    files = write_files(demo, solution, folder)
    model = solution.model
    sequences = joined(task.checks.values())
    x, _ = to_signals(model, sequences.x)
    empty = np.zeros((*x.shape[:2], task.n_out), np.int16)
    watcher = _Collect(says, demo.name, len(x), empty)
    agreement = agree(solution.blob, x, sequences.lengths, on, watcher=watcher)
    for place in watcher.places:
        outputs = Outputs(place.logits, place.y, model.y_exp)
        place.right = int(np.count_nonzero(task.correct(sequences, outputs)))
    trace = IntModel(model).run(x, sequences.lengths, states=True, gates=True)
    references = {
        "total": float_signals(
            model, solution.result.params, sequences.x, sequences.lengths
        ),
        "arithmetic": arithmetic_reference(model, x, sequences.lengths),
    }
    return Outcome(
        demo,
        task,
        solution,
        sequences,
        trace,
        agreement,
        watcher.places,
        references,
        files,
    )


def run_demo(folder: Path, says: Says, on: tuple[str, ...] = NAMES) -> list[Outcome]:
    """Run the whole demo; files go to ``folder``.

    The firmware is built beside the training; whatever ends the training ends the
    building after the image under way.  VgradError where a tool is missing or a model
    is not learnt.
    """
    make_folder(folder)
    cores = [name for name in on if name in CORES]
    if cores:  # asked before the training, not after it
        require("qemu-system-arm", "qemu-system-arm")
    with ThreadPoolExecutor(1) as pool:
        images = [pool.submit(build, f"qemu_{name}") for name in cores]
        try:
            trained = [train_one(demo, folder, says) for demo in DEMOS]
            for image in images:
                image.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [
        run_one(demo, task, solution, folder, on, says)
        for demo, (task, solution) in zip(DEMOS, trained, strict=True)
    ]


def as_dict(
    outcomes: list[Outcome], learning: Learning, report: Path
) -> dict[str, Any]:
    """The fields of ``demo --json``."""
    paths = [p for o in outcomes for p in o.files] + [learning.file, report]
    return {
        "agreement": {o.demo.name: o.agreement.as_dict() for o in outcomes},
        "float_error": {
            o.demo.name: {k: summary(o.solution.model, e) for k, e in o.errors.items()}
            for o in outcomes
        },
        "success": {
            o.demo.name: {
                "strings": len(o.sequences),
                "right": {p.name: p.right for p in o.places},
                "sequences": o.solution.result.sequences,
            }
            for o in outcomes
        },
        "sizes": {
            o.demo.name: {"blob": len(o.solution.blob)}
            | {p.name: p.memory for p in o.places if p.memory}
            for o in outcomes
        },
        "learning": learning.as_dict(),
        "files": [str(path) for path in paths],
    }
