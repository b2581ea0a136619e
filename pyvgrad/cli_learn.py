"""The command that learns in integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pyvgrad import blob as blobs
from pyvgrad.cells import CELLS, Shape
from pyvgrad.cli_io import Json, answer, say
from pyvgrad.cli_make import task_options
from pyvgrad.executors import NAMES, is_port
from pyvgrad.files import check_writable, read_dataset, write_bytes
from pyvgrad.learn import Job, Point, Result, summary
from pyvgrad.learn_seeds import learn_seeds
from pyvgrad.learning import METHODS, RULES
from pyvgrad.nets import NETS
from pyvgrad.progress import Reporter
from pyvgrad.recipes import RECIPES, IntRecipe, recipe_for
from pyvgrad.tasks import INT_TASKS
from pyvgrad.tensors import tensors

_TRAINING = "lrns"  # the section of a checkpoint


def learn(
    context: typer.Context,
    task_name: Annotated[
        str | None, typer.Argument(metavar="TASK", help=", ".join(INT_TASKS))
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", metavar="M.vg", help="The first seed's blob.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The first seed's blob, with its training.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="x, y, lengths in an npz, instead of a task.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="A blob, or a checkpoint to resume.")
    ] = None,
    net: Annotated[str | None, typer.Option(help=", ".join([*NETS, *RECIPES]))] = None,
    cell: Annotated[str | None, typer.Option(help=", ".join(CELLS))] = None,
    hidden: Annotated[int | None, typer.Option(help="Cells of a layer.")] = None,
    layers: Annotated[int | None, typer.Option(help="Recurrent layers.")] = None,
    block: Annotated[int | None, typer.Option(help="Cells of a memory block.")] = None,
    method: Annotated[str | None, typer.Option(help=", ".join(METHODS))] = None,
    rule: Annotated[str | None, typer.Option(help=", ".join(RULES))] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm; 0: none.")] = None,
    k1: Annotated[
        int | None, typer.Option(help="Steps between updates; 0: at the end.")
    ] = None,
    k2: Annotated[
        int | None, typer.Option(help="Steps looked back; 0: a sequence.")
    ] = None,
    decay: Annotated[
        float | None, typer.Option(help="Of the momentum, or RMSprop's mean.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Sequences at most.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    first_seed: Annotated[
        int, typer.Option(min=0, help="Draws weights, sets, exemplars, tests.")
    ] = 0,
    on: Annotated[
        str, typer.Option("--on", help="host, m0 .. m55, or a port.")
    ] = "host",
    as_json: Json = False,
) -> int:
    """Learn a task in integers with the C core, from random weights, over seeds.

    A task's own options follow as --lag 100.  Exit code 1 if a seed did not learn it
    (the files are written all the same).
    """
    _check_files(out, checkpoint)
    _check_place(on)
    changes = {
        "cell": cell,
        "hidden": hidden,
        "layers": layers,
        "block": block,
        "method": method,
        "rule": rule,
        "rate": rate,
        "clip": clip,
        "k1": k1,
        "k2": k2,
        "decay": decay,
        "limit": limit,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    job = job_of(task_name, data, task_options(context.args), start, (net, given))
    job = replace(job, on=on, checkpoint=checkpoint is not None)
    name = task_name or "data"
    with Reporter() as says:

        def progress(seed: int, p: Point) -> None:
            extra = f"loss {p.loss:.4f}, clipped {p.clipped:.0%}, {p.right} right"
            label = f"{name}, seed {seed}"
            says.update(label, p.sequences, job.recipe.limit, extra)

        results = learn_seeds(job, first_seed, seeds, progress=progress)
    return _report(name, job, results, (out, checkpoint), as_json)


def _check_files(out: Path | None, checkpoint: Path | None) -> None:
    for file in (out, checkpoint):
        if file is not None:
            check_writable(file)
    if out and checkpoint and out.resolve() == checkpoint.resolve():
        raise ValueError(f"-o and --checkpoint are both {out}; take two names")


def _check_place(on: str) -> None:
    places = [name for name in NAMES if name not in ("numpy", "onnx")]
    if on not in places and not is_port(on):
        raise ValueError(f"--on takes {', '.join(places)}, or a port, not {on!r}")


def job_of(
    name: str | None,
    data: Path | None,
    options: dict[str, int],
    start: Path | None,
    settings: tuple[str | None, dict[str, Any]],
) -> Job:
    """What to learn.  ValueError for words that do not go together."""
    if (name is None) == (data is None):
        raise ValueError(f"give a task ({', '.join(INT_TASKS)}) or --data D.npz")
    net, given = settings
    shaped = [k for k in ("cell", "hidden", "layers", "block") if k in given]
    if start is not None and (net or shaped):
        what = ", ".join([*(["net"] if net else []), *shaped])
        raise ValueError(f"{what}: the model of --from has its shape already")
    blob = None if start is None else blobs.read(start)
    if data is not None:
        if options:
            raise ValueError(f"{', '.join(options)}: --data has no such options")
        if blob is None:
            raise ValueError("--data needs --from M.vg, the blob that is to learn")
        job = Job(_DATA, data=read_dataset(data), blob=blob)
    else:
        job = Job(_DATA, task=name, options=options, blob=blob)
    task = job.make_task(0)
    recipe = _DATA if data is not None else recipe_for(task)
    if net is not None:
        recipe = _named(recipe, net)
    recipe = replace(recipe, **given)
    shape = recipe.shape(task) if blob is None else blobs.parse(blob).shape
    recipe = _fitting(recipe, shape, given)
    _check_used(recipe, given)
    resume = blob is not None and _has_training(blob)
    changed = [f"--{k}" for k in given if k != "limit"]
    if resume and changed:
        say(f"{start}: its training is left out, for {', '.join(changed)} begins anew")
    return replace(job, recipe=recipe, resume=resume and not changed)


def _check_used(recipe: IntRecipe, given: dict[str, Any]) -> None:
    """ValueError for a setting that this method or this rule would not look at."""
    if recipe.method == "rtrl97" and given.get("k2"):
        raise ValueError("--k2 is for tbptt: rtrl97 keeps no tape; leave it out")
    if recipe.rule == "sgd" and given.get("decay"):
        raise ValueError("--decay is for momentum and rmsprop; give --rule too")


def _named(base: IntRecipe, net: str) -> IntRecipe:
    """Another recipe by name, or this one with another topology and its weights."""
    if net in RECIPES:
        return RECIPES[net]
    if net not in NETS:
        known = ", ".join([*NETS, *RECIPES])
        raise ValueError(f"unknown net {net!r}; known: {known}")
    plain: dict[str, Any] = {"scales": {}, "scale": None, "biases": None}
    plain |= dict.fromkeys(("cell", "hidden", "layers", "block"))
    return replace(base, net=net, **plain)


def _fitting(recipe: IntRecipe, shape: Shape, given: dict[str, Any]) -> IntRecipe:
    """The recipe with what this shape cannot have replaced, unless it was asked for.

    A linear output has the squared error only, a softmax the cross-entropy; RTRL97 is
    for one layer of some cells, of which GRU and its kin learn better by TBPTT; a
    factor needs its tensor.
    """
    only = {"linear": "mse", "softmax": "cross-entropy"}
    recipe = replace(recipe, loss=only.get(shape.output, recipe.loss))
    lstm = shape.rtrl97 and "i" in shape.layers[0].gates
    if not lstm and "method" not in given:
        recipe = replace(recipe, method="tbptt")
    names = [t.name for t in tensors(shape)]
    there = {
        name: factor
        for name, factor in recipe.factors.items()
        if any(f"{n}.".startswith(f"{name}.") for n in names)
    }
    return replace(recipe, factors=there)


def _has_training(blob: bytes) -> bool:
    return any(tag == _TRAINING for tag, _ in blobs.parse(blob).sections)


def _report(
    name: str,
    job: Job,
    results: list[Result],
    files: tuple[Path | None, Path | None],
    as_json: bool,
) -> int:
    """Write the files and answer; 0 if every seed learnt it."""
    written = []
    for path, data in zip(files, (results[0].blob, results[0].checkpoint), strict=True):
        if path is not None and data is not None:
            write_bytes(path, data)
            written.append(str(path))
    found = summary(results)
    learn = results[0].learn
    result = {"task": name, "method": learn.method, "on": job.on, **found}
    result["files"] = written
    n, of = found["successes"], found["seeds"]
    line = (
        f"{name}: {n} of {of} learnt it by {learn.method}, {found['weights']} weights"
    )
    if n:
        line += (
            f"; {found['mean']:,.0f} sequences (median {found['median']:,.0f}, "
            f"{found['min']:,} to {found['max']:,})"
        )
    answer(result, as_json, [line, *written])
    return 0 if n == of else 1


_DATA = IntRecipe(rate=0.01, cell="lstm", method="tbptt", limit=20_000)
