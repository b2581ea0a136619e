"""Counted instructions of layers as a page and its figures, beside what others need."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from pyvgrad.blob import convert
from pyvgrad.cells import CELLS
from pyvgrad.emulated import CORES, compiler_version
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.icount import SEQUENCE, SIZES, bench_blob, bench_row
from pyvgrad.lab import Lab, table
from pyvgrad.qmodel import LAYOUTS

FIGURES = "instructions.json"
TOLERANCE = 0.02  # a count may differ from its recorded figure by this share
COMMAND = "pyvgrad lab instructions --full -o docs/results"
_HELD_CORES = ("m0", "m3", "m4")
_SMALL, _MIDDLE = SIZES[:2]
OWN_LAYOUT = {"m0": "words", "m3": "words"}  # the others' is rows


class Place(NamedTuple):
    """A layer and a core to count on; ``does`` is run or a method of learning."""

    on: str
    does: str
    cell: str
    n_in: int
    n: int
    weight_bits: int
    layout: str = "rows"


class Peers(NamedTuple):
    """Instructions that others need for a step of an LSTM layer; 0: not measured.

    Counted in the same way, at their commits of mid-2026, by arm gcc 12.2 -O2.
    """

    on: str
    n_in: int
    n: int
    cmsis_s16: int  # CMSIS-NN, int8 weights and int16 signals
    cmsis_s8: int  # CMSIS-NN, all int8
    onnx2c: int  # float
    plain: int  # C in float


PEERS = (
    Peers("m4", 8, 8, 8_103, 7_077, 5_199, 5_847),
    Peers("m4", 32, 32, 41_899, 35_159, 41_226, 54_769),
    Peers("m4", 28, 64, 99_100, 82_195, 107_970, 145_332),
    Peers("m33", 32, 32, 41_935, 35_322, 0, 54_663),
    Peers("m7", 32, 32, 41_155, 34_946, 0, 52_582),
    Peers("m55", 32, 32, 23_923, 13_471, 0, 45_668),
    Peers("m3", 32, 32, 59_859, 44_300, 932_807, 958_450),
    Peers("m0", 32, 32, 499_711, 92_874, 2_023_585, 2_055_935),
)
# (core, n_in, n): plain C with SGD and KANN with RMSprop, both in float, a MAC of a
# step forward; None: not measured.
TRAINING_PEERS: dict[tuple[str, int, int], tuple[float, float | None]] = {
    ("m4", 8, 8): (22.1, 51.4),
    ("m4", 32, 32): (15.7, 20.5),
    ("m3", 32, 32): (259, 301),
    ("m0", 32, 32): (561, None),
}


def running(core: str, cell: str, n_in: int, n: int, bits: int) -> list[Place]:
    """The places of a step: in rows, and in the core's own layout."""
    layouts = dict.fromkeys(("rows", OWN_LAYOUT.get(core, "rows")))
    return [Place(core, "run", cell, n_in, n, bits, layout) for layout in layouts]


def held() -> Iterator[Place]:
    """Yield the places whose counts a test holds to the recorded figures."""
    for core in _HELD_CORES:
        for cell in ("lstm", "gru"):
            for bits in (16, 8):
                for n_in, n in (_SMALL, _MIDDLE):
                    yield from running(core, cell, n_in, n, bits)
                yield Place(core, "tbptt", cell, *_SMALL, bits)
    yield Place("m4", "tbptt", "lstm", *_MIDDLE, 16)


def every() -> Iterator[Place]:
    """Yield the places of the whole page."""
    for cell in CELLS:
        for n_in, n in SIZES:
            for bits in (16, 8):
                for core in CORES:
                    yield from running(core, cell, n_in, n, bits)
    for cell in CELLS:
        for n_in, n in SIZES:
            for core in CORES:
                yield Place(core, "tbptt", cell, n_in, n, 16)


def count(place: Place) -> dict[str, Any]:
    """The row of ``pyvgrad bench`` for a place; raises as ``bench_row``."""
    blob = bench_blob(place.cell, place.n_in, place.n, place.weight_bits)
    blob = convert(blob, place.layout)
    return bench_row(blob, place.on, None if place.does == "run" else place.does)


def place_of(row: dict[str, Any]) -> Place:
    """The place that a row was counted at."""
    return Place(**{key: row[key] for key in Place._fields if key in row})


def run(folder: Path, *, full: bool, says: Callable[[str, int, int], None]) -> Lab:
    """Count, and write instructions.md and .json into ``folder``.

    Not ``full``: only the places that a test holds.
    """
    make_folder(folder)
    places = list(dict.fromkeys([*every(), *held()] if full else held()))
    rows = []
    for k, place in enumerate(places):
        says("instructions", k, len(places))
        rows.append(count(place))
    says("instructions", len(places), len(places))
    figures = {"compiler": compiler_version(), "rows": rows}
    files = [folder / "instructions.md", folder / FIGURES]
    for file, text in zip(files, (page(figures), _json(figures)), strict=True):
        write_bytes(file, text.encode())
    lines = [
        f"{p.on} {p.does} {p.cell} {p.n_in}x{p.n} w{p.weight_bits} {p.layout}: "
        f"{row['instructions_per_step']:,} instructions a step"
        for p, row in ((place_of(row), row) for row in rows)
        if p in set(held())
    ]
    return Lab(rows, files, lines)


def _json(figures: dict[str, Any]) -> str:
    """A row on a line, so that a change is one line of a diff."""
    rows = ",\n  ".join(json.dumps(row) for row in figures["rows"])
    compiler = json.dumps(figures["compiler"])
    return f'{{\n "compiler": {compiler},\n "rows": [\n  {rows}\n ]\n}}\n'


# ---- the page ------------------------------------------------------------


def page(figures: dict[str, Any]) -> str:
    """instructions.md, of the figures of instructions.json."""
    rows = {place_of(row): row for row in figures["rows"]}
    full = set(every()) <= set(rows)
    lines = [
        "# Instructions",
        "",
        f"Written by `{COMMAND if full else 'pyvgrad lab instructions'}`; the figures "
        f"are in `{FIGURES}`, and `pyvgrad bench` counts any of them, or a blob of "
        "your own. Those of CMSIS-NN, onnx2c, KANN and plain C were counted once, in "
        "the same way, at their commits of mid-2026, and are constants of "
        "`pyvgrad/instructions.py`.",
        "",
        "Executed instructions of one layer without a readout, random weights, "
        "counted exactly in unicorn, and for M55 in QEMU, which agree; arm gcc "
        f"{figures['compiler']} -O2, full tables. They are the same on every machine "
        "and are not cycles: one load of many registers counts once (`loads_per_mac` "
        "is beside it), on a core without a fast multiplier a product takes longer "
        "than it counts, and on M55 an instruction of vectors takes two cycles.",
        "",
        "## A step of an LSTM, and what others need",
        "",
        *_beside_peers(rows),
        "",
        "## Learning by TBPTT, and what others need",
        "",
        f"SGD with clipping over {SEQUENCE} steps, batch 1: forward, backward and "
        "update, by the products of a weight and a signal of the steps forward. A "
        "model of int8 weights is widened first, and then learns with these counts, "
        "but for a few instructions.",
        "",
        *_learning_beside_peers(rows),
    ]
    for title, does, bits in (
        ("Every cell, a step, int16 weights", "run", 16),
        ("Every cell, a step, int8 weights", "run", 8),
        ("Every cell, learning by TBPTT, a step's share", "tbptt", 16),
    ):
        lines += ["", f"## {title}", "", *_by_cell(rows, does, bits)]
    return "\n".join([*lines, *_code(rows)]) + "\n"


Rows = dict[Place, dict[str, Any]]


def _beside_peers(rows: Rows) -> list[str]:
    head = ["core", "n_in x n", "CMSIS-NN s16", "CMSIS-NN s8", "onnx2c, float"]
    head += ["plain C, float", "**w16**", "**w8**", "s16 / w16", "s16 / w8", "s8 / w8"]
    cells = []
    for p in PEERS:
        own = [running(p.on, "lstm", p.n_in, p.n, bits)[-1] for bits in (16, 8)]
        found = [rows.get(place) for place in own]
        w16, w8 = (row and row["instructions_per_step"] for row in found)
        peers = (p.cmsis_s16, p.cmsis_s8, p.onnx2c, p.plain)
        ratios = ((p.cmsis_s16, w16), (p.cmsis_s16, w8), (p.cmsis_s8, w8))
        cells.append(
            [
                *(p.on, f"{p.n_in} x {p.n}", *(f"{n:,}" if n else "-" for n in peers)),
                *(f"**{n:,}**" if n else "-" for n in (w16, w8)),
                *(f"{theirs / ours:.2f}" if ours else "-" for theirs, ours in ratios),
            ]
        )
    return [
        *table(head, cells),
        "",
        "w16 and w8 are this core's, with int16 and int8 weights and int16 signals, in "
        f"the core's own layout of matrices: words on {' and '.join(OWN_LAYOUT)}, else "
        "rows. "
        "The last three columns say how many times more CMSIS-NN needs; **below 1 it "
        "needs less.** Its s16 has int8 weights and int16 signals, so w8 has the same "
        "widths and w16 has weights twice as fine; its s8 has int8 signals too, "
        "which nothing here has. The floats were built for M4, M7, M33 and M55 with "
        "their FPU.",
    ]


def _learning_beside_peers(rows: Rows) -> list[str]:
    cells = []
    for (core, n_in, n), (plain, kann) in TRAINING_PEERS.items():
        row = rows.get(Place(core, "tbptt", "lstm", n_in, n, 16))
        ours = row["per_mac"] if row else None
        cells.append(
            [
                *(core, f"{n_in} x {n}", f"{plain:g}", f"{kann:g}" if kann else "-"),
                f"**{ours:.1f}**" if ours else "-",
                f"{plain / ours:.2f}" if ours else "-",
            ]
        )
    head = ["core", "n_in x n", "plain C, float, SGD", "KANN, float, RMSprop"]
    return table([*head, "**int16**", "plain C / int16"], cells)


def _by_cell(rows: Rows, does: str, bits: int) -> list[str]:
    found = [p for p in rows if (p.does, p.weight_bits) == (does, bits)]
    ways = _ways(found)
    layers = dict.fromkeys((p.cell, p.n_in, p.n) for p in found)
    cells = []
    for cell, n_in, n in layers:
        here = [
            rows.get(Place(core, does, cell, n_in, n, bits, layout))
            for core, layout in ways
        ]
        counts = [
            f"{row['instructions_per_step']:,} ({row['per_mac']:.2f})" if row else "-"
            for row in here
        ]
        cells.append([cell, f"{n_in} x {n}", *counts])
    return [
        "Instructions, and in brackets by the products of a step forward.",
        "",
        *table(["cell", "n_in x n", *(_way(*way) for way in ways)], cells),
    ]


def _code(rows: Rows) -> list[str]:
    """The code of a step; nothing where no row says it."""
    size = (*_MIDDLE, 16)
    found = {
        p: f"{row['code_bytes']:,}"
        for p, row in rows.items()
        if (p.n_in, p.n, p.weight_bits) == size and "code_bytes" in row
    }
    ways = _ways(found)
    cells = [
        [
            *(does, cell),
            *(
                found.get(Place(core, does, cell, *size, way), "-")
                for core, way in ways
            ),
        ]
        for does, cell in dict.fromkeys((p.does, p.cell) for p in found)
    ]
    if not found:
        return []
    return [
        "",
        "## Code that a step runs",
        "",
        f"Bytes of the functions that ran, those of libc and libgcc included, without "
        f"constant tables: layers of {size[0]} x {size[1]}, int16 weights.",
        "",
        *table(["does", "cell", *(_way(*way) for way in ways)], cells),
    ]


def _ways(places: Iterable[Place]) -> list[tuple[str, str]]:
    """The cores and layouts that there are."""
    found = {(p.on, p.layout) for p in places}
    return [way for way in product(CORES, LAYOUTS) if way in found]


def _way(core: str, layout: str) -> str:
    """The head of a column."""
    return core if layout == "rows" else f"{core}, {layout}"
