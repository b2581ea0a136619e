"""Times on this machine, of the core and of others, as a page and its figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from pyvgrad import __version__, plain_c
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.host_times import host_row
from pyvgrad.icount import SIZES, bench_blob
from pyvgrad.lab import Lab, table


class Table(NamedTuple):
    """A table of the page: what is done, with layers of which cell and weights."""

    title: str
    does: str
    cell: str
    weight_bits: int


_LEARNING = "Learning by TBPTT over 16 steps, a step"
TABLES = (
    Table("A step: LSTM, int16 weights", "run", "lstm", 16),
    Table("A step: LSTM, int8 weights", "run", "lstm", 8),
    Table("A step: GRU, int16 weights", "run", "gru", 16),
    Table("A step: GRU, int8 weights", "run", "gru", 8),
    Table(f"{_LEARNING}: LSTM, int16 weights", "tbptt", "lstm", 16),
    Table(f"{_LEARNING}: GRU, int16 weights", "tbptt", "gru", 16),
)
_PACKAGES = ("numpy", "onnxruntime", "torch", "jax")
_WAYS = {
    "core": "the C core alone, one call",
    "batch": "64 sequences in one call from Python",
    "single": "a step, or a sequence to learn from, a call from Python",
    "plain_c": "plain C, float, -O3 -march=native",
    "plain_c_fast": "the same with -ffast-math",
    "onnx_float": "onnxruntime, the float graph, a step a call",
    "onnx_float_batch": "the same, 64 sequences a call",
    "onnx_exact": "onnxruntime, the exact integer graph, a step a call",
    "onnx_exact_batch": "the same, 64 sequences a call",
    "torch": "PyTorch, a step, or a sequence to learn from, a call",
    "torch_batch": "the same, 64 sequences a call",
    "jax": "JAX, all sequences in one compiled call",
}


def run(folder: Path, *, full: bool, says: Callable[[str, int, int, str], None]) -> Lab:
    """Time the layers of TABLES, and write host.md and .json into ``folder``.

    Not ``full``: the smallest size alone, in three rounds.
    """
    make_folder(folder)
    places = [(t, size) for t in TABLES for size in (SIZES if full else SIZES[:1])]
    rows = []
    for k, ((_, does, cell, bits), (n_in, n)) in enumerate(places):
        says("host", k, len(places), f"{does} {cell} {n_in}x{n} w{bits}")
        blob = bench_blob(cell, n_in, n, bits)
        method = None if does == "run" else does
        rows.append(host_row(blob, method, None if full else 3))
    says("host", len(places), len(places), "")
    command = "pyvgrad lab host" + (" --full -o docs/results" if full else "")
    figures = {"command": command, "versions": _versions(), "rows": rows}
    files = [folder / "host.md", folder / "host.json"]
    data = json.dumps(figures, indent=1) + "\n"
    for file, text in zip(files, (page(figures), data), strict=True):
        write_bytes(file, text.encode())
    lines = [
        f"{row['does']} {row['cell']} {row['n_in']}x{row['n']} w{row['weight_bits']}: "
        f"{row['ns']['core']:,.0f} ns a step"
        for row in rows
    ]
    return Lab(rows, files, lines)


def _versions() -> dict[str, str]:
    found = {"pyvgrad": __version__, "machine": platform.machine()}
    found |= {"processor": _processor(), "compiler": plain_c.compiler()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {name: told for name, told in found.items() if told}


def _processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()


def page(figures: dict[str, Any]) -> str:
    """The tables of ns a step, and beside them of ratios to the core."""
    lines = [
        "# Times on a desk",
        "",
        f"Written by `{figures['command']}`; the figures are in `host.json`, and "
        "`pyvgrad bench --on host` times any blob.",
        "",
        "A layer without a readout, one thread, the same weights and inputs for every "
        "way; medians of rounds in which all ways took turns, ns "
        "a step, and in brackets how many times the core's: the median of the rounds' "
        "ratios. The machine had other work to do, so that the ratios say more than "
        "the times. The core has vectors of AVX2 where the processor has them.",
        "",
    ]
    for title, *of in TABLES:
        rows = [
            r for r in figures["rows"] if [r["does"], r["cell"], r["weight_bits"]] == of
        ]
        lines += [f"## {title}", "", *_of(rows), ""] if rows else []
    made = ", ".join(f"{k} {v}" for k, v in figures["versions"].items())
    return "\n".join([*lines, f"Made with {made}.", ""])


def _of(rows: list[dict[str, Any]]) -> list[str]:
    head = ["way", *(f"{row['n_in']} x {row['n']}" for row in rows)]
    ways = [way for way in _WAYS if way in rows[0]["ns"]]
    cells = [
        [
            _WAYS[way],
            *(f"{row['ns'][way]:,.0f} ({row['ratios'][way]:.2f})" for row in rows),
        ]
        for way in ways
    ]
    return table(head, cells)
