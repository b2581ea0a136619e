"""Commands that make something: demo, train, flash."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyvgrad import blob as blobs
from pyvgrad.calibrate import parse_ranges
from pyvgrad.cells import CELLS, Shape
from pyvgrad.cli_io import Json, Layout, answer, check_layout, executor_list, say
from pyvgrad.defaults import Recipe, Settings, recipe_for
from pyvgrad.files import check_writable, read_dataset, write_bytes
from pyvgrad.nets import NETS, altered
from pyvgrad.progress import Reporter
from pyvgrad.scaling import Units, normalised
from pyvgrad.tasks import TASKS, Task, make_task
from pyvgrad.tasks.data import from_arrays

if TYPE_CHECKING:
    from pyvgrad.refine import Refined


def demo(
    out: Annotated[Path, typer.Option("-o", metavar="FOLDER")] = Path("demo"),
    on: Annotated[str, typer.Option("--on", help="A list, or all.")] = "all",
    as_json: Json = False,
) -> int:
    """Train three models, run them on every executor, compare every bit, report.

    Then one is learnt in integers, from random weights, on the host and on m4, m33 and
    m0.  Exit code 1 if one bit differs or one string is wrong.
    """
    from pyvgrad.demo import as_dict, run_demo
    from pyvgrad.demo_learn import learn_everywhere
    from pyvgrad.demo_page import text, write_page

    page, names = out / "report.html", tuple(executor_list(on))
    with Reporter() as says:
        outcomes = run_demo(out, says, names)
        learning = learn_everywhere(out, says, names)
        write_page(outcomes, learning, page)
    lines = [*text(outcomes, learning), f"report: {page}"]
    answer(as_dict(outcomes, learning, page), as_json, lines)
    return 0 if learning.ok and all(o.ok for o in outcomes) else 1


# ---- train ---------------------------------------------------------------


def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option("-o", metavar="M.vg", help="The blob.")],
    task_name: Annotated[
        str | None, typer.Argument(metavar="TASK", help=", ".join(TASKS))
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="x, y, lengths in an npz, instead of a task.")
    ] = None,
    net: Annotated[str | None, typer.Option(help=", ".join(NETS))] = None,
    cell: Annotated[str | None, typer.Option(help=", ".join(CELLS))] = None,
    hidden: Annotated[int | None, typer.Option(help="Cells of a layer.")] = None,
    layers: Annotated[int | None, typer.Option(help="Recurrent layers.")] = None,
    block: Annotated[int | None, typer.Option(help="Cells of a memory block.")] = None,
    bidirectional: Annotated[
        bool, typer.Option("--bidirectional", help="So many cells in each direction.")
    ] = False,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    limit: Annotated[int | None, typer.Option(help="Sequences at most.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Draws weights, sets, exemplars.")
    ] = 0,
    weights: Annotated[int, typer.Option(help="Bits of a weight: 16 or 8.")] = 16,
    layout: Layout = "rows",
    ranges: Annotated[
        str,
        typer.Option(
            help="How exponents are chosen: minmax, percentile, mse; or the largest "
            "value of a signal: mse,logits=40,weights=minmax."
        ),
    ] = "minmax",
    qat: Annotated[
        bool, typer.Option("--qat", help="Then train on for the rounded integers.")
    ] = False,
    scale: Annotated[
        str | None,
        typer.Option(help="With --data: std or minmax; the blob keeps your units."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Say what each tensor's rounding costs.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Train in float until the integers are right; write M.vg and M.float.onnx.

    A task's own options follow as --lag 100.  Exit code 1 if it was not learnt (the
    files are written all the same).
    """
    from pyvgrad.onnx_build import write as write_onnx
    from pyvgrad.onnx_export import export_float
    from pyvgrad.solve import calibration, in_units, solve

    check_writable(out)
    float_path = out.with_suffix(".float.onnx")
    check_writable(float_path)
    check_layout(layout)
    options = task_options(context.args)
    if data is None and scale is not None:
        raise ValueError("--scale is for --data; a task has its own units")
    task, recipe, mode, units = _task(task_name, data, seed, options, scale)
    changes = {"cell": cell, "hidden": hidden, "layers": layers, "block": block}
    changes |= {"bidirectional": bidirectional or None}
    mode = "final" if bidirectional and mode == "last" else mode
    shape, settings = _shape(task, recipe, net, changes)
    settings = replace(
        settings,
        rate=settings.rate if rate is None else rate,
        limit=settings.limit if limit is None else limit,
    )
    shape, chosen = replace(shape, mode=mode), parse_ranges(ranges)
    with Reporter() as says:

        def progress(sequences: int, loss: float) -> None:
            says.update(task.name, sequences, settings.limit, f"loss {loss:.4f}")

        solution = solve(
            task,
            shape,
            settings,
            seed,
            weight_bits=weights,
            ranges=chosen,
            qat=qat,
            progress=progress,
        )
    if units is not None:
        solution = in_units(solution, task, shape, chosen, units)
    write_bytes(out, blobs.convert(solution.blob, layout))
    write_onnx(float_path, export_float(shape, solution.result.params))
    result = {
        "task": task.name,
        "weights": shape.n_weights,
        "sequences": solution.result.sequences,
        "success": solution.result.success,
        "right": solution.right,
        "blob_bytes": len(solution.blob),
        "files": [str(out), str(float_path)],
    }
    if solution.refined is not None:
        result["qat"] = _qat(solution.refined)
    lines = []
    if report:
        from pyvgrad.qreport import quantization_report, report_lines

        asked = calibration(task)
        params, x = solution.result.params, asked.x
        x = x if units is None else units.back(x)
        found = quantization_report(solution.model, x, asked.lengths, params)
        result["report"], lines = found, report_lines(found)
    said = "right on every sequence" if result["success"] else "not learnt"
    if solution.right is not None:
        ((n, of),) = solution.right.values()
        said = f"{n:,} of {of:,} of the test right"
    line = f"{task.name}: {said} after {result['sequences']:,} sequences: {out}"
    answer(result, as_json, [*lines, line])
    return 0 if result["success"] else 1


def _qat(refined: Refined) -> dict[str, float]:
    """The field ``qat`` of ``train --json``, said to people, too."""
    before, after = refined.before, refined.after
    say(f"pyvgrad: qat: loss of the integers {before:.4g} to {after:.4g}")
    return {
        "sequences": refined.sequences,
        "loss_before": before,
        "loss_after": after,
    }


def task_options(args: list[str]) -> dict[str, int]:
    """A task's options: --lag 100 to lag=100.  ValueError for what is no such pair."""
    options: dict[str, int] = {}
    for name, value in zip(args[::2], args[1::2], strict=False):
        if not re.fullmatch(r"-?[0-9]+", value):
            raise ValueError(f"{name} {value}: a task's options are whole numbers")
        options[name.removeprefix("--").replace("-", "_")] = int(value)
    if len(args) % 2 or not all(name.startswith("--") for name in args[::2]):
        raise ValueError(f"{' '.join(args)}: a task's options are pairs, --lag 100")
    return options


def _task(
    name: str | None,
    data: Path | None,
    seed: int,
    options: dict[str, int],
    scale: str | None,
) -> tuple[Task, Recipe, str, Units | None]:
    """The task, its recipe, the model's mode and the units of normalised arrays."""
    if (name is None) == (data is None):
        raise ValueError(f"give a task ({', '.join(TASKS)}) or --data D.npz")
    if name is not None:
        task = make_task(name, seed=seed, **options)
        return task, recipe_for(task), task.mode, None
    if options:
        raise ValueError(f"{', '.join(options)}: --data has no such options")
    assert data is not None
    arrays = read_dataset(data)
    if arrays.y is None:
        raise ValueError(f"{data}: there is no array y to learn")
    x, y, units = arrays.x, arrays.y, None
    if scale is not None:
        x, y, units = normalised(x, arrays.lengths, y, scale)
    task, mode = from_arrays(x, arrays.lengths, y)
    loss = "mse" if task.output == "linear" else "cross-entropy"
    settings = Settings(rate=0.01, optimizer="adam", loss=loss, batch=4, limit=20_000)
    return task, Recipe("lstm", 16, settings), mode, units


def _shape(
    task: Task, recipe: Recipe, net: str | None, changes: dict[str, Any]
) -> tuple[Shape, Settings]:
    """The recipe's shape, or a topology of the papers with its initial weights."""
    given = {name: value for name, value in changes.items() if value is not None}
    if net is None:
        return replace(recipe, **given).shape(task), recipe.settings
    if "bidirectional" in given:
        raise ValueError(f"the net {net} has its own directions; take --cell")
    if net not in NETS:
        raise ValueError(f"unknown net {net!r}; known: {', '.join(NETS)}")
    start = NETS[net]
    shape = altered(start.shape(task.n_in, task.n_out), **given)
    settings = replace(recipe.settings, scale=start.scale, biases=start.biases)
    return shape, replace(
        settings, loss="mse"
    ) if shape.output == "linear" else settings


# ---- flash ---------------------------------------------------------------


def flash(
    board: Annotated[str, typer.Argument(metavar="BOARD")],
    path: Annotated[
        Path | None, typer.Argument(metavar="[M.vg]", help="A blob for its flash.")
    ] = None,
    port: Annotated[str | None, typer.Option(help="Upload through this port.")] = None,
    as_json: Json = False,
) -> int:
    """Build the application for a board and upload it with PlatformIO.

    An emulated core (m0 .. m55) is only built: there is nothing to upload to.  The
    first use of a real board downloads its tool chain.
    """
    from pyvgrad.firmware import flash as build_and_upload

    blob = blobs.read(path) if path else None
    files, uploaded = build_and_upload(board, blob, port, say)
    names = [str(file) for file in files]
    result = {"board": board, "uploaded": uploaded, "files": names}
    done = "built and uploaded" if uploaded else "built"
    answer(result, as_json, [f"{board}: {done}", *names])
    return 0
