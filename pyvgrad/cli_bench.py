"""The command that counts instructions on emulated cores, or times the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pyvgrad import blob as blobs
from pyvgrad.cells import CELLS
from pyvgrad.cli_io import Json, answer, check_layout, say
from pyvgrad.emulated import CORES
from pyvgrad.host_times import host_row
from pyvgrad.icount import SIZES, bench_blob, bench_row, taught_by
from pyvgrad.learning import METHODS
from pyvgrad.progress import Reporter


def bench(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="M.vg", help="A blob; else layers of three sizes."),
    ] = None,
    on: Annotated[
        str, typer.Option("--on", help=f"{', '.join(CORES)}, all, or host: times.")
    ] = "m4",
    cell: Annotated[
        str | None, typer.Option(help=f"Without M.vg: {', '.join(CELLS)}, or all.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Convert the blob before: rows or words; else as it is."),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Count or time learning, not running.")
    ] = False,
    method: Annotated[
        str | None, typer.Option(help=f"With --train: {', '.join(METHODS)}.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="By function, too; not on the host.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Count the instructions of a time step, exactly, on emulated cores; or time it.

    The core is compiled by arm-none-eabi-gcc -O2 and runs seeded inputs; per_mac is by
    the products of a weight and a signal in a step forward.  With --train a step is
    the 16th part of a sequence of 16: forward, backward and the updates, by SGD with
    clipping; so it is, forward alone, where a layer is reversed.  --cell all leaves out
    the cells that the method does not teach, and says so.  Loads are registers
    loaded from memory, which one instruction may do for many; code is the bytes of the
    functions that ran.  Instructions are not cycles.

    On the host a step is timed in many ways, in nanoseconds: the core alone, a batch
    from Python, one step a call (of learning, a sequence), and the same model in plain
    C and float, for this machine (cc -O3 -march=native; _fast: -ffast-math), in
    onnxruntime (of learning, JAX) and PyTorch where they are there; ratios are to the
    core, medians of pairs.
    """
    if method is not None and not (train and method in METHODS):
        raise ValueError(f"--method is {' or '.join(METHODS)}, and for --train")
    if path is not None and cell is not None:
        raise ValueError("give a blob M.vg, or --cell, not both")
    if on == "host" and profile:
        raise ValueError("--profile counts instructions; give --on a core")
    if layout is not None:
        check_layout(layout)
        if train and layout != "rows":
            raise ValueError("learning takes the layout rows; leave --layout out")
    cores = ["host"] if on == "host" else _listed("--on", on, CORES, ", or host alone")
    cells = _listed("--cell", "lstm" if cell is None else cell, tuple(CELLS))
    models = [blobs.read(path)] if path is not None else list(_layers(cells))
    if layout is not None:
        models = [blobs.convert(blob, layout) for blob in models]
    learner = (method or "tbptt") if train else None
    skipped: list[str] = []
    if learner is not None:
        models, skipped = _taught(models, learner, strict=cell != "all")
    rows: list[dict[str, Any]] = []
    with Reporter() as says:
        for k, blob in enumerate(models):
            for core in cores:
                says.update("bench", len(rows), len(models) * len(cores))
                if core == "host":
                    rows.append(host_row(blob, learner))
                else:
                    rows.append(bench_row(blob, core, learner, profile=profile))
            says.update("bench", (k + 1) * len(cores), len(models) * len(cores))
    if skipped:
        say(f"pyvgrad: {learner} does not teach {', '.join(skipped)}")
    table = _table(rows, HOST if on == "host" else COUNTED)
    answer({"rows": rows, "skipped": skipped}, as_json, table)
    return 0


def _taught(
    blobs_of: list[bytes], method: str, *, strict: bool
) -> tuple[list[bytes], list[str]]:
    """Those that a method teaches, and the cells of the others.

    ``strict``: ValueError if there are others.
    """
    taught, others = [], []
    for blob in blobs_of:
        model = blobs.parse(blob)
        try:
            taught_by(model, method)
            taught.append(blob)
        except ValueError:
            if strict:
                raise
            others.append(model.layers[0].layer.cell)
    return taught, list(dict.fromkeys(others))


def _listed(
    option: str, asked: str, known: tuple[str, ...], more: str = ""
) -> list[str]:
    """Split a list with commas, each name once; ValueError for a name that is none."""
    names = list(dict.fromkeys(known if asked == "all" else asked.split(",")))
    if not all(name in known for name in names):
        raise ValueError(
            f"{option} takes {', '.join(known)} or all{more}, not {asked!r}"
        )
    return names


def _layers(cells: list[str]) -> Iterator[bytes]:
    for cell in cells:
        for n_in, n in SIZES:
            for bits in (16, 8):
                yield bench_blob(cell, n_in, n, bits)


COUNTED = {
    "on": "on",
    "does": "does",
    "cell": "cell",
    "n_in": "n_in",
    "n": "n",
    "weight_bits": "bits",
    "layout": "layout",
    "instructions_per_step": "a step",
    "per_mac": "a MAC",
    "loads_per_mac": "loads a MAC",
    "code_bytes": "code",
    "stack_bytes": "stack",
}
HOST = {key: COUNTED[key] for key in list(COUNTED)[:7]}


def _table(rows: list[dict[str, Any]], names: dict[str, str]) -> list[str]:
    """Rows in columns; of times on the host, one line a way."""
    if "ns" in rows[0]:
        names = names | {"way": "way", "of": "ns a step", "ratio": "to the core"}
        rows = [
            row | {"way": way, "of": ns, "ratio": row["ratios"][way]}
            for row in rows
            for way, ns in row["ns"].items()
        ]
    table = [list(names.values())]
    table += [[_plain(row[key]) for key in names] for row in rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(names))]
    words = 3  # columns on the left
    lines = [
        "  ".join(
            text.ljust(width) if k < words else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    if "functions" not in rows[0]:
        return lines
    return [
        line
        for row, of in zip(rows, lines[1:], strict=True)
        for line in (lines[0], of, *_functions(row))
    ]


def _functions(row: dict[str, Any]) -> list[str]:
    """Where a row's instructions go: each step's, a MAC's, and their share."""
    lines = [f"  {'function':28}{'a step':>12}{'a MAC':>9}{'share':>8}"]
    for name, n in row["functions"].items():
        macs, share = n / row["macs_per_step"], n / row["instructions_per_step"]
        lines.append(f"  {name:28}{n:>12,.1f}{macs:>9.3f}{share:>8.1%}")
    return [*lines, ""]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
