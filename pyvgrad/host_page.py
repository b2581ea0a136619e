"""Times on this machine, of the core and of others, as a page and its figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyvgrad import __version__
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.host_times import host_row
from pyvgrad.icount import SIZES, bench_blob
from pyvgrad.lab import Lab, table

_WORDS = {None: "A step", "tbptt": "Learning by TBPTT over 16 steps, a step"}
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


def run(folder: Path, *, full: bool, says: Callable[[str, int, int], None]) -> Lab:
    """Time an LSTM, and write host.md and .json into ``folder``.

    Not ``full``: the smallest size alone, in three rounds.
    """
    places = [
        (does, size) for does in _WORDS for size in (SIZES if full else SIZES[:1])
    ]
    rows = []
    for k, (does, (n_in, n)) in enumerate(places):
        says("host", k, len(places))
        blob = bench_blob("lstm", n_in, n, 16)
        rows.append(host_row(blob, does, None if full else 3))
    says("host", len(places), len(places))
    figures = {"versions": _versions(), "rows": rows}
    make_folder(folder)
    files = [folder / "host.md", folder / "host.json"]
    data = json.dumps(figures, indent=1) + "\n"
    for file, text in zip(files, (page(figures), data), strict=True):
        write_bytes(file, text.encode())
    lines = [
        f"{row['does']} {row['n_in']}x{row['n']}: {row['ns']['core']:,.0f} ns a step"
        for row in rows
    ]
    return Lab(rows, files, lines)


def _versions() -> dict[str, str]:
    found = {"pyvgrad": __version__, "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def page(figures: dict[str, Any]) -> str:
    """The tables of ns a step, and beside them of ratios to the core."""
    lines = [
        "# Times on a desk",
        "",
        "Written by `pyvgrad lab host --full -o docs/results`; the figures are in "
        "`host.json`, and `pyvgrad bench --on host` times any blob.",
        "",
        "An LSTM layer without a readout, int16 weights, one thread, the same weights "
        "and inputs for every way; medians of rounds in which all ways took turns, ns "
        "a step, and in brackets how many times the core's: the median of the rounds' "
        "ratios. The machine had other work to do, so that the ratios say more than "
        "the times. The core has vectors of AVX2 where the processor has them.",
        "",
    ]
    for does, words in _WORDS.items():
        rows = [r for r in figures["rows"] if r["does"] == (does or "run")]
        lines += [f"## {words}", "", *_of(rows), ""]
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
