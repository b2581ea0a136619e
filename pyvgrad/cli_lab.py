"""The command of the experiments: a table or a curve, written as files."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from pyvgrad.cli_io import Json, answer, say
from pyvgrad.errors import VgradError
from pyvgrad.lab import Lab
from pyvgrad.progress import Reporter


class Entry(NamedTuple):
    """A lab's module and what it is.

    The module has ``run(out, *, full, seeds, first, only, workers, says) -> Lab``, or
    those of the arguments that mean something there; a user's option that run does not
    take is refused.
    """

    module: str
    text: str


_LABS = {
    "underflow": Entry("underflow_page", "how far back integers carry an error"),
    "learning": Entry(
        "results_learning",
        "the tasks of the papers learnt in integers, next to float",
    ),
    "table-1": Entry(
        "table_1",
        "embedded Reber strings by RTRL, Elman's net, RCC, LSTM and integers",
    ),
    "table-2": Entry(
        "table_2",
        "long time lags by RTRL, BPTT, the chunker, LSTM and integers",
    ),
    "theory": Entry(
        "theory_lab",
        "the error flow of 1998 and 2013: bounds, weights, cells, learning, integers",
    ),
    "temporal-order": Entry(
        "results_order",
        "gradients that explode and vanish: clipping, Omega, three starts",
    ),
    "cliff": Entry(
        "results_cliff",
        "the error surface of one unit, and what clipping does at its wall",
    ),
    "real-data": Entry(
        "real_data",
        "measured data in float, int16 and int8, on the host and on an M4",
    ),
    "new-class": Entry(
        "new_class",
        "a model learns a new speaker from a few sequences, in integers",
    ),
    "recalibration": Entry(
        "recalibration",
        "a sensor is changed or turned, and the model learns it",
    ),
    "quantization": Entry(
        "results_quantization",
        "what 8 bits cost, and what training for them gains",
    ),
    "instructions": Entry(
        "instructions",
        "what a step takes on Cortex-M, counted, and what others need",
    ),
    "host": Entry("host_page", "times on this machine, next to other runtimes"),
    "onnx-suite": Entry(
        "onnx_suite",
        "the onnx package's own tests of recurrent nodes on the C core",
    ),
    "music": Entry(
        "natural_music", "which keys sound next, in nats a step, with Omega and without"
    ),
    "characters": Entry(
        "natural_text", "the next character and the fifth, in bits, likewise"
    ),
}
_OPTIONS = {"first": "--first-seed"}  # where they are not named like the argument


def lab(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="; ".join(f"{k}: {v.text}" for k, v in _LABS.items())
        ),
    ],
    out: Annotated[Path, typer.Option("-o", metavar="FOLDER")] = Path("lab"),
    full: Annotated[
        bool, typer.Option("--full", help="All of it, not the short form.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(help="Rows of the table, with commas between.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many, for every row.")
    ] = None,
    first_seed: Annotated[
        int | None, typer.Option(min=0, help="The first of them.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Processes that share the seeds: local, local:N, or the address of a "
            "scheduler of dask.distributed.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="music: a folder of MIDI files or a pickle; characters: a text, or "
            "a folder of three.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run an experiment and write its page, plot and figures into a folder.

    Exit code 1 if a row that should be learnt was not (the files are written).
    """
    if name not in _LABS:
        raise ValueError(f"there is no lab {name!r}; known: {', '.join(_LABS)}")
    rows = [row.strip() for row in (only or "").split(",") if row.strip()]
    asked = {
        "full": full or None,
        "only": rows or None,
        "seeds": seeds,
        "first": first_seed,
        "workers": workers,
        "data": data,
    }
    module = _module(name)
    try:
        found = _run(name, module.run, out, asked)
    except KeyboardInterrupt as stop:
        if stop.args:
            say(f"pyvgrad: {stop}")
        raise
    files = [str(file) for file in found.files]
    result = {"rows": found.rows, "files": files}
    answer(result, as_json, [*found.lines, *files])
    return 0 if found.success else 1


def _module(name: str) -> Any:
    """The lab's module; VgradError where JAX is not there for it."""
    try:
        return importlib.import_module(f"pyvgrad.{_LABS[name].module}")
    except ModuleNotFoundError as error:
        if error.name != "jax":
            raise
        raise VgradError(
            f"jax is not installed and lab {name} needs it: pip install pyvgrad[train]"
        ) from error


def _run(name: str, run: Callable[..., Lab], out: Path, asked: dict[str, Any]) -> Lab:
    """Call a lab with what was asked; ValueError for what it does not take."""
    takes = inspect.signature(run).parameters
    given = {k: v for k, v in asked.items() if v is not None}
    for argument in given:
        if argument not in takes:
            option = _OPTIONS.get(argument, f"--{argument}")
            raise ValueError(f"{name} has no {option}")
    if "full" in takes:
        given.setdefault("full", False)
    with Reporter() as says:
        return run(out, **given, **({"says": says.update} if "says" in takes else {}))
