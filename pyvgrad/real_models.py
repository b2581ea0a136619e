"""Models of measured data as the experiments take them: by a task's default recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pyvgrad.blob import pack
from pyvgrad.calibrate import Exponents, calibrate
from pyvgrad.cells import Shape
from pyvgrad.defaults import Settings, recipe_for
from pyvgrad.model import Params
from pyvgrad.quantize import quantize
from pyvgrad.solve import calibration
from pyvgrad.tasks import Task
from pyvgrad.train import train_task

SHORT = 10  # a short training has this fraction of the sequences

Says = Callable[[str, int, int, str], None]  # label, done, of how many, more


@dataclass(frozen=True)
class Trained:
    """A float model and the exponents of its signals."""

    shape: Shape
    params: Params
    exponents: Exponents

    def int16(self) -> bytes:
        """The blob with weights of 16 bits."""
        return pack(quantize(self.shape, self.params, exponents=self.exponents))


def settings_of(task: Task, *, full: bool) -> Settings:
    """The default settings, or those of a short training."""
    settings = recipe_for(task).settings
    if full:
        return settings
    limit = max(settings.limit // SHORT, settings.batch)
    return replace(settings, limit=limit, chunk=max(limit // 2, settings.batch))


def shape_of(task: Task, cell: str | None = None) -> Shape:
    """The default model's shape, or the same with another cell."""
    recipe = recipe_for(task)
    chosen = replace(recipe, cell=cell or recipe.cell)
    return replace(chosen.shape(task), mode=task.mode)


def trained(
    task: Task,
    settings: Settings,
    seed: int,
    says: Says | None = None,
    *,
    label: str = "",
    cell: str | None = None,
) -> Trained:
    """Train the default model, or one of another cell, to the limit.

    No test is asked.
    """
    shape = shape_of(task, cell)
    params = train_task(
        task,
        shape,
        settings,
        seed,
        stop=never,
        progress=told(says, label or f"{task.name}, float, seed {seed}", settings),
    ).params
    data = calibration(task)
    exponents = calibrate(shape, params, data.x, data.lengths)
    return Trained(shape, params, exponents)


def never(*_: Any) -> bool:
    """No stop test."""
    return False


def told(
    says: Says | None, label: str, settings: Settings
) -> Callable[[int, float], None]:
    """A training's progress, handed on."""

    def progress(sequences: int, loss: float) -> None:
        if says is not None:
            says(label, sequences, settings.limit, f"loss {loss:.3f}")

    return progress
