"""The command that counts instructions on emulated cores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pyvgrad import blob as blobs
from pyvgrad.cells import CELLS
from pyvgrad.cli_io import Json, answer
from pyvgrad.emulated import CORES
from pyvgrad.icount import bench_blob, bench_step
from pyvgrad.progress import Reporter

SIZES = ((8, 8), (32, 32), (28, 64))  # n_in and n of one layer


def bench(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="M.vg", help="A blob; else layers of three sizes."),
    ] = None,
    on: Annotated[str, typer.Option("--on", help=f"{', '.join(CORES)}, or all.")] = (
        "m4"
    ),
    cell: Annotated[
        str | None, typer.Option(help=f"Without M.vg: {', '.join(CELLS)}, or all.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Count the instructions of a time step, exactly, on emulated cores.

    The core is compiled by arm-none-eabi-gcc -O2 and runs seeded inputs; per_mac is by
    the products of a weight and a signal.  Instructions are not cycles.
    """
    if path is not None and cell is not None:
        raise ValueError("give a blob M.vg, or --cell, not both")
    cores = _listed("--on", on, CORES)
    cells = _listed("--cell", cell or "lstm", tuple(CELLS))
    models = [blobs.read(path)] if path is not None else list(_layers(cells))
    rows: list[dict[str, Any]] = []
    with Reporter() as says:
        for k, blob in enumerate(models):
            for core in cores:
                says.update("bench", len(rows), len(models) * len(cores))
                rows.append(_row(blob, core))
            says.update("bench", (k + 1) * len(cores), len(models) * len(cores))
    answer({"rows": rows}, as_json, _lines(rows))
    return 0


def _listed(option: str, asked: str, known: tuple[str, ...]) -> list[str]:
    """Split a list with commas, each name once; ValueError for a name that is none."""
    names = list(dict.fromkeys(known if asked == "all" else asked.split(",")))
    if not all(name in known for name in names):
        raise ValueError(f"{option} takes {', '.join(known)} or all, not {asked!r}")
    return names


def _layers(cells: list[str]) -> Iterator[bytes]:
    for cell in cells:
        for n_in, n in SIZES:
            for bits in (16, 8):
                yield bench_blob(cell, n_in, n, bits)


def _row(blob: bytes, core: str) -> dict[str, Any]:
    model = blobs.parse(blob)
    call = bench_step(blob, core)
    return {
        "on": core,
        "cell": "+".join(q.layer.cell for q in model.layers),
        "n_in": model.shape.n_in,
        "n": sum(q.layer.n for q in model.layers),
        "weight_bits": model.weight_bits,
        "macs_per_step": model.macs,
        "instructions_per_step": call.instructions,
        "per_mac": round(call.instructions / model.macs, 3),
        "stack_bytes": call.stack,
    }


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    names = {
        "on": "on",
        "cell": "cell",
        "n_in": "n_in",
        "n": "n",
        "weight_bits": "bits",
        "instructions_per_step": "a step",
        "per_mac": "a MAC",
        "stack_bytes": "stack",
    }
    table = [list(names.values())]
    table += [[_plain(row[key]) for key in names] for row in rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(names))]
    words = 2  # columns on the left
    return [
        "  ".join(
            text.ljust(width) if k < words else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
