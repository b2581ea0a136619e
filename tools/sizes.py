"""Print what the C core takes on Cortex-M: flash, worst-case stack, arena.

    .venv/bin/python tools/sizes.py [--json] [--on m0,m4] [-o docs/results]

Flash and stack are of three programs, by core, optimization, tables and what the build
has in it: one that opens a model and runs it, one that runs a model opened on the desk,
one that also learns. The stack is the deepest way through the call graph, with what
libgcc and libc take. -o writes the page and its figures.
"""

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import linked

from pyvgrad.cells import CELLS
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.icount import SEQUENCE, SIZES, bench_blob
from pyvgrad.lab import table
from pyvgrad.learning import Learn
from pyvgrad.native import HostExecutor
from pyvgrad.native_train import train_bytes

RUNS = ("vg_model_open", "vg_run_size", "vg_run_init", "vg_run_step")
OPENED = ("vg_run_init_opened", "vg_run_step")
LEARNS = (*RUNS, "vg_train_size", "vg_train_init", "vg_train_step")
LEARNS += ("vg_train_end", "vg_train_blob")
PROGRAMS = {"run": RUNS, "opened": OPENED, "learn": LEARNS}
STEPS = dict.fromkeys(("run", "opened"), ("vg_run_step",))
STEPS["learn"] = ("vg_train_step", "vg_train_end")
OPTIMIZATIONS = {"-O2": (), "-Os": ("-DVG_FAST=0",)}  # rather small than fast
TABLES = {"full": (), "small": ("-DVG_SMALL_TABLES",)}
_LSTM = ("-DVG_CELLS=16", "-DVG_METHODS=1", "-DVG_RULES=1")  # TBPTT, SGD
_LEAST = ("-DVG_BLOCKS=1", "-DVG_WEIGHTS=16", "-DVG_LAYOUTS=1", "-DVG_OUTPUTS=1")
_LEAST += ("-DVG_INPUTS=1", "-DVG_CHECKPOINTS=0")
BUILT = {"all": (), "lstm": _LSTM, "least": (*_LSTM, *_LEAST)}
FIGURES = "sizes.json"
COMMAND = ".venv/bin/python tools/sizes.py -o docs/results"


def flags_of(optimization: str, tables: str, built: str) -> list[str]:
    """Flags of the compiler for a build."""
    more = *OPTIMIZATIONS[optimization], *TABLES[tables], *BUILT[built]
    return [optimization, *more]


def measure(
    core: str, optimization: str, tables: str, built: str
) -> list[dict[str, Any]]:
    """Compile the core once, link each program: a row for each."""
    flags = flags_of(optimization, tables, built)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        library = linked.compile_library(place, core, flags)
        for name, calls in PROGRAMS.items():
            program = linked.Program(library, place / f"{name}.elf", calls)
            rows.append(
                {
                    "on": core,
                    "optimization": optimization,
                    "tables": tables,
                    "built": built,
                    "program": name,
                    "flash_bytes": program.flash(),
                    "step_stack_bytes": max(map(program.depth, STEPS[name])),
                    "stack_bytes": max(map(program.depth, calls)),
                }
            )
    return rows


def programs(cores: list[str]) -> list[dict[str, Any]]:
    """The rows of all builds, two at a time."""
    builds = product(cores, OPTIMIZATIONS, TABLES, BUILT)
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [row for rows in pool.map(lambda b: measure(*b), builds) for row in rows]


def arenas() -> list[dict[str, Any]]:
    """Bytes of arena and blob by cell and size, the same on every core."""
    rows = []
    for cell, (n_in, n), bits in product(CELLS, SIZES, (16, 8)):
        blob = bench_blob(cell, n_in, n, bits)
        tbptt = Learn(method="tbptt", loss="mse", k2=SEQUENCE)
        rtrl = Learn(method="rtrl97", loss="mse", k1=1, k2=0)
        rows.append(
            {
                "cell": cell,
                "n_in": n_in,
                "n": n,
                "weight_bits": bits,
                "blob_bytes": len(blob),
                "run_bytes": HostExecutor(blob).arena_bytes,
                "tbptt_bytes": train_bytes(blob, tbptt),
                "rtrl97_bytes": train_bytes(blob, rtrl),
            }
        )
    return rows


def figures(cores: list[str]) -> dict[str, Any]:
    """All that is measured."""
    compiler = linked.output(linked.ARM + "gcc", "-dumpfullversion").strip()
    return {"compiler": compiler, "programs": programs(cores), "arenas": arenas()}


# ---- what is written ---------------------------------------------------------


def program_rows(found: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a core, an optimization, tables and what is built a row."""
    head = [
        "core",
        "gcc",
        "tables",
        "built",
        "flash: run",
        "opened",
        "learn",
        "stack: a step",
        "all",
    ]
    head += ["opened: a step", "all", "learning: a step", "all"]
    by_build: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for row in found:
        build = row["on"], row["optimization"], row["tables"], row["built"]
        by_build.setdefault(build, {})[row["program"]] = row
    rows = []
    for build, of in by_build.items():
        cells = [of[name]["flash_bytes"] for name in PROGRAMS]
        for name in PROGRAMS:
            cells += [of[name]["step_stack_bytes"], of[name]["stack_bytes"]]
        rows.append([*build, *(f"{n:,}" for n in cells)])
    return head, rows


def arena_rows(found: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a layer with its weights a row."""
    head = ["cell", "n_in x n", "weights", "blob", "arena: run"]
    head += [f"TBPTT, {SEQUENCE} steps", "RTRL97"]
    keys = ("blob_bytes", "run_bytes", "tbptt_bytes", "rtrl97_bytes")
    return head, [
        [
            *(row["cell"], f"{row['n_in']} x {row['n']}", f"int{row['weight_bits']}"),
            *("-" if row[key] is None else f"{row[key]:,}" for key in keys),
        ]
        for row in found
    ]


def page(found: dict[str, Any]) -> str:
    """sizes.md, of the figures of sizes.json."""
    return "\n".join(
        [
            "# Sizes",
            "",
            f"Written by `{COMMAND}`; the figures are in `{FIGURES}`. Bytes.",
            "",
            "## Flash and stack",
            "",
            f"arm gcc {found['compiler']}; code and constants of the core and of what "
            "it takes from libgcc and libc, linked with `--gc-sections` by itself. "
            f"*run* calls {', '.join(f'`{c}`' for c in RUNS)}; *opened* "
            f"{', '.join(f'`{c}`' for c in OPENED)}, of a model that is a constant of "
            "the program (`pyvgrad export --header`); *learn* calls what *run* does, "
            f"and {', '.join(f'`{c}`' for c in LEARNS[len(RUNS) :])}, which bring both "
            "methods. No model is in any. Built with *all*, every cell, method and "
            "rule is in: which one runs is in the blob. Built for *lstm* with "
            f"`{' '.join(BUILT['lstm'])}` there are that cell, TBPTT and SGD alone, "
            f"and for *least* with `{' '.join(_LEAST)}` beside, no blocks, 16-bit "
            "weights in rows, a linear readout, inputs that are no symbols and no "
            "checkpoints. A program that only runs links nothing of learning "
            "(`tests/test_sizes.py`). What is compiled with `-Os` also has "
            f"`{' '.join(OPTIMIZATIONS['-Os'])}`: no kernels, the same bits.",
            "",
            "Stack is the deepest way through the call graph, by `-fstack-usage` and "
            "the linked program: of a step, and of all the calls, where opening a "
            "model or a training is the deepest. *Opened* and *learning* are those of "
            "the other programs.",
            "",
            *table(*program_rows(found["programs"])),
            "",
            "For scale: CMSIS-NN's LSTM, one cell, takes 3,700 to 3,900 bytes of code "
            "and 576 to 624 of stack on M4 with -Os, measured once, at its commit of "
            "mid-2026.",
            "",
            "## Arena",
            "",
            "RAM of a layer without a readout, the same on every core; the blob stays "
            "in flash where a program only runs. A dash: the method does not teach "
            "that cell.",
            "",
            *table(*arena_rows(found["arenas"])),
            "",
        ]
    )


def as_json(found: dict[str, Any]) -> str:
    """A row on a line, so that a change is one line of a diff."""
    parts = [f' "compiler": {json.dumps(found["compiler"])}']
    for key in ("programs", "arenas"):
        rows = ",\n  ".join(json.dumps(row) for row in found[key])
        parts.append(f' "{key}": [\n  {rows}\n ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def aligned(left: int, head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table for a terminal; from column ``left`` on, to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if k < left else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def main() -> int:
    """Measure, print and, if asked, write; 2 for a core that is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--on", default="all", help="cores, with commas between")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("-o", dest="folder", type=Path, help="write the page there")
    asked = parser.parse_args()
    cores = list(linked.CORES if asked.on == "all" else asked.on.split(","))
    if not set(cores) <= set(linked.CORES):
        parser.error(f"--on takes {', '.join(linked.CORES)} or all, not {asked.on!r}")
    if asked.folder and set(cores) != set(linked.CORES):
        parser.error("the page has every core: leave out --on, or -o")
    found = figures(cores)
    if asked.json:
        print(as_json(found), end="")
    else:
        print(*aligned(4, *program_rows(found["programs"])), "", sep="\n")
        print(*aligned(3, *arena_rows(found["arenas"])), sep="\n")
    if asked.folder:
        make_folder(asked.folder)
        write_bytes(asked.folder / "sizes.md", page(found).encode())
        write_bytes(asked.folder / FIGURES, as_json(found).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
