"""The command of the experiments: a table or a curve, written as files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from pyvgrad.cli_io import Json, answer
from pyvgrad.lab import Lab
from pyvgrad.progress import Reporter

_MODULES = {
    "learning": "results_learning",
    "real-data": "real_data",
    "new-class": "new_class",
    "recalibration": "recalibration",
}
_ONE_ROW = ("new-class", "recalibration")
_LABS = {
    "underflow": "how far back integers carry an error",
    "learning": "the tasks of the papers learnt in integers, next to float",
    "real-data": "measured data in float, int16 and int8, on the host and on an M4",
    "new-class": "a model learns a new speaker from a few sequences, in integers",
    "recalibration": "a sensor is changed or turned, and the model learns it",
    "quantization": "what 8 bits cost, and what training for them gains",
    "instructions": "what a step takes on Cortex-M, counted, and what others need",
    "onnx-suite": "the onnx package's own tests of recurrent nodes on the C core",
}


def lab(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="; ".join(f"{k}: {v}" for k, v in _LABS.items())
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
    as_json: Json = False,
) -> int:
    """Run an experiment and write its page, plot and figures into a folder.

    Exit code 1 if a row that should be learnt was not (the files are written).
    """
    if name not in _LABS:
        raise ValueError(f"there is no lab {name!r}; known: {', '.join(_LABS)}")
    asked = any(v is not None for v in (only, seeds, first_seed))
    if name in ("underflow", "onnx-suite") and asked:
        raise ValueError(f"{name} draws nothing and has no --only, no --seeds")
    if name == "underflow":
        from pyvgrad.underflow_page import run as run_underflow

        found = run_underflow(out, full=full)
    elif name == "onnx-suite":
        from pyvgrad.onnx_suite import run as run_suite

        found = run_suite(out)
    elif name == "instructions":
        from pyvgrad.instructions import run as run_instructions

        with Reporter() as says:
            found = run_instructions(out, full=full, says=says.update)
    elif name == "quantization":
        if full or only is not None:
            raise ValueError("quantization has no --full and no --only")
        found = _quantization(out, seeds, first_seed)
    else:
        rows = [row.strip() for row in (only or "").split(",") if row.strip()]
        with Reporter() as says:
            found = _run(
                name,
                out,
                full=full,
                only=rows,
                seeds=seeds,
                first=first_seed,
                says=says.update,
            )
    files = [str(file) for file in found.files]
    result = {"rows": found.rows, "files": files}
    answer(result, as_json, [*found.lines, *files])
    return 0 if found.success else 1


def _quantization(out: Path, seeds: int | None, first: int | None) -> Lab:
    from pyvgrad.results_quantization import FIRST_SEED, SEEDS, run

    with Reporter() as says:
        return run(
            out,
            seeds=SEEDS if seeds is None else seeds,
            first=FIRST_SEED if first is None else first,
            says=says.update,
        )


def _run(
    name: str, out: Path, *, full: bool, only: list[str], first: int | None, **more: Any
) -> Lab:
    """An experiment that has rows and seeds; those of ``first`` None are its own."""
    module = importlib.import_module(f"pyvgrad.{_MODULES[name]}")
    if only and name in _ONE_ROW:
        raise ValueError(f"{name} has no rows and no --only")
    chosen = {} if name in _ONE_ROW else {"only": only}
    start = module.FIRST_SEED if first is None else first
    found: Lab = module.run(out, full=full, first=start, **chosen, **more)
    return found
