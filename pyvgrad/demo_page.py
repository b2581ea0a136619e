"""The demo's results for people: the table, and the page with its plots."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyvgrad import report
from pyvgrad.accuracy import Error, headline, integer_signals
from pyvgrad.blob import crc
from pyvgrad.demo import Outcome
from pyvgrad.demo_learn import SEED, TITLE, Learning
from pyvgrad.executors import CORES
from pyvgrad.model import forward
from pyvgrad.page import Table
from pyvgrad.report_learning import LearningReport

_COLUMNS = [
    "runs on",
    "values",
    "differ",
    "right",
    "core flash",
    "arena",
    "stack",
]
_SHOWN = 3  # the string whose signals are drawn, counted from 0


def table(outcome: Outcome) -> Table:
    """One model's rows, one for each executor."""
    n = len(outcome.sequences)
    differing = outcome.agreement.differing
    rows = [
        [
            p.name,
            f"{outcome.agreement.values:,}",
            f"{differing[p.name]:,}",
            f"{p.right} of {n}",
            *(
                f"{p.memory[k]:,}" if k in p.memory else "-"
                for k in ("library_flash", "arena", "stack")
            ),
        ]
        for p in outcome.places
    ]
    return Table(_COLUMNS, rows, verdict(outcome), ok=outcome.ok)


def verdict(outcome: Outcome) -> str:
    """One sentence: do all bits agree, is every string right, how near is float."""
    agreement = outcome.agreement
    steps = f"{agreement.steps:,} steps of {len(outcome.sequences):,} strings"
    if agreement.ok:
        bits = f"all integers are the same on every executor, over {steps}"
    else:
        bits = f"bits differ. First: {agreement.first}"
    return f"{outcome.demo.title}: {bits}. {'; '.join(error_lines(outcome))}"


def error_lines(outcome: Outcome) -> list[str]:
    """Total and arithmetic error of the headline signal, a line each."""
    model = outcome.solution.model
    name = headline(model)
    exp = model.y_exp if name == "y" else model.logit_exp
    return [
        f"{kind} error of {name}: {e} (lsb 2^-{exp})"
        for kind, e in ((k, v[name]) for k, v in outcome.errors.items())
    ]


def error_table(outcomes: Sequence[Outcome]) -> Table:
    """Errors of every signal against both float references."""
    rows = []
    for o in outcomes:
        found = o.errors
        for signal in found["total"]:
            cells = [c for kind in found.values() for c in _cells(kind[signal])]
            rows.append([o.demo.name, signal, *cells])
    heads = [
        f"{kind} {what}"
        for kind in ("total", "arithmetic")
        for what in ("max lsb", "mean lsb", "bits")
    ]
    return Table(["model", "signal", *heads], rows)


def _cells(e: Error) -> list[str]:
    return [f"{e.max_lsb:.1f}", f"{e.mean_lsb:.2f}", e.bits_text]


def sizes_table(outcomes: Sequence[Outcome]) -> Table:
    """Flash and RAM of each core's image, and of the C core in it."""
    rows = []
    for place in outcomes[0].places:
        if place.name in CORES:
            m = place.memory
            names = ("library_flash", "learning_flash", "library_ram", "flash")
            rows.append([place.name] + [f"{m[k]:,}" for k in names])
    columns = ["core", "C core that runs, flash", "learning adds"]
    columns += ["C core, static RAM", "application, flash"]
    return Table(columns, rows, "Bytes.")


def learning_table(learning: Learning) -> Table:
    """A row for each place that learnt."""
    rows = []
    for p in learning.learners:
        result = p.result
        rows.append(
            [
                p.name,
                f"{result.sequences:,}" if result.success else "not learnt",
                "-" if p.flash is None else f"{p.flash:,}",
                f"{result.arena_bytes:,}",
                f"{crc(result.blob):08x}",
                "-" if p is learning.learners[0] else "yes" if p.equal else "NO",
            ]
        )
    columns = ["learns on", "sequences", "core flash", "arena", "crc of blob"]
    columns.append("same bytes")
    return Table(columns, rows, learning_verdict(learning), ok=learning.ok)


def learning_verdict(learning: Learning) -> str:
    """One sentence: was it learnt, and is it the same everywhere."""
    host = learning.host
    said = f"{TITLE}, {host.weights} weights, {host.learn.method}, seed {SEED}: "
    if not host.success:
        return f"{said}not within {host.sequences:,} sequences."
    wrong = [p.name for p in learning.learners if not (p.equal and p.result.success)]
    if wrong:
        return f"{said}the weights differ on {', '.join(wrong)}."
    return f"{said}every byte of the final blob is the same everywhere."


def text(outcomes: Sequence[Outcome], learning: Learning) -> list[str]:
    """The result as tables in plain text."""
    lines = []
    for o in outcomes:
        lines += ["", o.demo.title, *error_lines(o), *_aligned(table(o))]
    lines += [
        "",
        "core flash: the C core as linked, without learning; arena: one run; stack: "
        "the application",
        "",
        learning_verdict(learning),
        *_aligned(learning_table(learning)),
        "",
        "core flash: the C core with learning; arena: one training",
    ]
    differ = [str(o.agreement.first) for o in outcomes if not o.agreement.ok]
    said = f"{len(differ)} models differ: {differ}" if differ else "not one bit differs"
    if not all(p.equal for p in learning.learners):
        said = f"{said}; learnt weights differ" if differ else "learnt weights differ"
    return [*lines[1:], said]


def _aligned(t: Table) -> list[str]:
    """A table's rows with its columns one under the other."""
    rows = [t.columns, *t.rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(t.columns))]
    return [
        "  ".join(
            cell.rjust(w) if k else cell.ljust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def write_page(outcomes: Sequence[Outcome], learning: Learning, path: Path) -> None:
    """Write report.html.  VgradError without matplotlib."""
    tables = {o.demo.name: table(o) for o in outcomes}
    tables["Error against float"] = error_table(outcomes)
    if any(p.name in CORES for p in outcomes[0].places):
        tables["Sizes"] = sizes_table(outcomes)
    names = ("pyvgrad", "jax", "numpy", "onnx", "onnxruntime", "platformio")
    versions = {"Python": platform.python_version()} | {k: version(k) for k in names}
    report.write_report(
        path,
        [_model(o) for o in outcomes],
        tables,
        learning=_learning(learning),
        command="pyvgrad demo",
        versions=versions,
    )


def _learning(learning: Learning) -> LearningReport:
    points = learning.curve
    return LearningReport(
        TITLE,
        learning_table(learning),
        np.array([p.sequences for p in points], float),
        np.array([p.loss for p in points]),
        learning.right,
        np.array([p.clipped for p in points]),
        learning.host.sequences if learning.host.success else None,
    )


def _model(o: Outcome) -> report.ModelReport:
    result, model = o.solution.result, o.solution.model
    curve = report.Curve(result.loss_at, result.losses, result.sequences)
    values = integer_signals(model, o.trace)
    mask = o.sequences.mask
    flat: dict[str, dict[str, NDArray[np.float64]]] = {}
    for kind, reference in o.references.items():
        flat[kind] = {
            name: ((values[name][0] - reference[name]) * 2.0 ** values[name][1])[
                mask
            ].ravel()
            for name in o.errors[kind]
        }
    facts = {
        "weights": f"{o.solution.model.shape.n_weights:,}",
        "blob": f"{len(o.solution.blob):,} bytes",
        "trained on": f"{result.sequences:,} sequences",
        "right in integers": f"{o.places[0].right} of {len(o.sequences)} strings",
    }
    exps = {name: e for name, (_, e) in values.items()}
    return report.ModelReport(
        o.demo.name,
        o.demo.title,
        [o.demo.letters[s] for s in _symbols(o)],
        curve,
        _signals(o),
        flat,
        facts,
        exps,
    )


def _index(o: Outcome) -> int:
    return min(_SHOWN, len(o.sequences) - 1)


def _symbols(o: Outcome) -> NDArray[np.int64]:
    n = _index(o)
    return o.sequences.symbols[n, : int(o.sequences.lengths[n])]


def _signals(o: Outcome) -> list[report.Signal]:
    """Cell states, gates, h and logits over one string, fixed and float."""
    n, model = _index(o), o.solution.model
    end = int(o.sequences.lengths[n])
    x = o.sequences.x[n, :end]
    real = forward(model.shape, o.solution.result.params, x)
    values = integer_signals(model, o.trace)
    signals = []
    for k, layer in enumerate(real.layers):
        prefix = f"layer {k + 1} "
        for name in "cifogh":
            if name in "ch" and prefix + name in values:
                fixed = values[prefix + name][0][n, :end]
            elif name in o.trace.gates[k]:
                fixed = o.trace.gates[k][name][n, :end] / 2.0**14
            else:
                continue
            signals.append(report.Signal(prefix + name, fixed, layer[name]))
    signals.append(report.Signal("logits", values["logits"][0][n, :end], real.logits))
    return signals
