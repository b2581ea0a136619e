"""Commands on a blob that is there: info, export, convert, run, verify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pyvgrad import blob as blobs
from pyvgrad import verify as agreement_of
from pyvgrad.accuracy import Error, accuracy
from pyvgrad.cells import Layer
from pyvgrad.cli_io import (
    Blob,
    Json,
    Layout,
    On,
    Strict,
    answer,
    check_layout,
    executor_list,
    say,
    warn_clamped,
)
from pyvgrad.executors import Model
from pyvgrad.files import Dataset, check_writable, read_dataset, write_bytes, write_npz
from pyvgrad.learning import Learn
from pyvgrad.progress import Reporter
from pyvgrad.qmodel import QModel
from pyvgrad.signals import Signals, to_signals
from pyvgrad.verify import Watcher
from pyvgrad.verify_learn import agree_learning, learning_lines

# ---- info ----------------------------------------------------------------


def describe(blob: bytes, k2: int = 32) -> dict[str, Any]:
    """What is inside a blob and what it costs: the fields of ``info --json``.

    ``k2`` is the length of the tape that training by tbptt is asked for.
    """
    from pyvgrad.native import HostExecutor

    model = blobs.parse(blob)
    with HostExecutor(blob) as core:
        run_bytes, state_bytes = core.arena_bytes, len(core.state)
    shape = model.shape
    return {
        "cells": [_cell(q.layer) for q in model.layers],
        "n_in": shape.n_in,
        "n_out": shape.n_out,
        "n_layers": len(model.layers),
        "output": shape.output,
        "mode": shape.mode,
        "weights": shape.n_weights,
        "weight_bits": model.weight_bits,
        "weight_layout": model.layout,
        "macs_per_step": model.macs,
        "blob_bytes": int.from_bytes(blob[8:12], "little"),
        "run_bytes": run_bytes,
        "state_bytes": state_bytes,
        "train_bytes": _train_bytes(blob, shape.output, k2),
        "train_k2": k2,
        "exponents": {"x": model.x_exp, "y": model.y_exp, "logits": model.logit_exp},
        "blob_version": blobs.VERSION,
        "crc": f"{blobs.crc(blob):08x}",
    }


def _train_bytes(blob: bytes, output: str, k2: int) -> dict[str, int | None]:
    """The arenas of both methods with plain SGD; None where a method is undefined."""
    from pyvgrad.native_train import train_bytes

    loss = "mse" if output == "linear" else "cross-entropy"
    settings = [Learn(loss=loss, k2=k2), Learn(method="rtrl97", loss=loss)]
    return {s.method: train_bytes(blob, s) for s in settings}


def _cell(layer: Layer) -> str:
    blocks = f" in blocks of {layer.block}" if layer.block > 1 else ""
    way = "" if layer.direction == "forward" else f" {layer.direction}"
    return f"{layer.cell} {layer.n}{blocks}{way}"


def info(
    path: Blob,
    k2: Annotated[
        int, typer.Option(min=1, max=65535, help="Steps of the tape of tbptt.")
    ] = 32,
    report: Annotated[
        bool, typer.Option("--report", help="Ranges, exponents, errors, clamps.")
    ] = False,
    x: Annotated[
        Path | None,
        typer.Option("--x", help="x (N, T, n_in) for --report; else seeded inputs."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what is inside a blob and what it costs to run it and to train it.

    What the rounding of weights cost only train --report knows: a blob does not hold
    the float ones.
    """
    if x is not None and not report:
        raise ValueError("--x is for --report; give both")
    blob = blobs.read(path)
    found = describe(blob, k2)
    width = max(map(len, found))
    lines = [f"{key:<{width}}  {_plain(value)}" for key, value in found.items()]
    if report:
        from pyvgrad.qreport import quantization_report, report_lines

        found["report"] = _report_of(blobs.parse(blob), x, quantization_report)
        lines += ["", *report_lines(found["report"])]
    answer(found, as_json, lines)
    return 0


def _report_of(
    model: QModel, x: Path | None, report: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    if x is not None:
        data = inputs_for(model, x)
        return report(model, data.x, data.lengths)
    values = agreement_of.random_inputs(model) / 2.0**model.x_exp
    return report(replace(model, scaling=None, count_exp=model.x_exp), values)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None:
        return "(not for this model)"
    return f"{value:,}" if isinstance(value, int) else str(value)


# ---- export --------------------------------------------------------------


def export(
    path: Blob,
    onnx: Annotated[Path | None, typer.Option(help="The exact integer graph.")] = None,
    float_onnx: Annotated[
        Path | None, typer.Option(help="The blob's weights as a float graph.")
    ] = None,
    header: Annotated[
        Path | None, typer.Option(help="A C header that embeds the blob.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a blob as an exact ONNX graph, a float ONNX graph, or a C header."""
    blob = blobs.read(path)
    files = [f for f in (onnx, float_onnx, header) if f]
    if not files:
        raise ValueError("nothing to write: give --onnx, --float-onnx or --header")
    for file in files:
        check_writable(file)
    if onnx:
        export_exact_file(blob, onnx)
    if float_onnx:
        export_float_file(blob, float_onnx)
    if header:
        from pyvgrad.header import header as c_header

        write_bytes(header, c_header(blob, path.name).encode())
    written = [str(file) for file in files]
    answer({"files": written}, as_json, written)
    return 0


def export_exact_file(blob: bytes, path: Path) -> None:
    """Write the exact integer graph of a blob."""
    from pyvgrad.onnx_build import write
    from pyvgrad.onnx_exact import export_exact

    write(path, export_exact(blobs.parse(blob)))


def export_float_file(blob: bytes, path: Path) -> None:
    """Write the float graph of a blob's own, dequantized weights."""
    from pyvgrad.dequantize import dequantize
    from pyvgrad.onnx_build import write
    from pyvgrad.onnx_export import export_float

    model = blobs.parse(blob)
    write(path, export_float(model.shape, dequantize(model)))


# ---- convert -------------------------------------------------------------


def convert(
    path: Blob,
    out: Annotated[Path, typer.Option("-o", metavar="N.vg", help="The new blob.")],
    layout: Layout,
    as_json: Json = False,
) -> int:
    """Write a blob with its matrices in another layout: the same bits come of it.

    In words it takes fewer instructions on m0 and m3, and does not learn; the way
    back gives the same bytes.
    """
    check_writable(out)
    check_layout(layout)
    blob = blobs.convert(blobs.read(path), layout)
    write_bytes(out, blob)
    result = {"layout": layout, "blob_bytes": len(blob), "files": [str(out)]}
    answer(result, as_json, [f"{layout}, {len(blob):,} bytes: {out}"])
    return 0


# ---- run -----------------------------------------------------------------


def inputs_for(model: QModel, path: Path) -> Dataset:
    """Read sequences that the model takes.  VgradError or ValueError with the file."""
    data = read_dataset(path)
    if data.x.shape[2] != model.shape.n_in:
        raise ValueError(
            f"{path}: x is {data.x.shape}, the model takes (N, T, {model.shape.n_in})"
        )
    return data


def run(
    path: Blob,
    inputs: Annotated[Path, typer.Argument(metavar="X.npz", help="x (N, T, n_in).")],
    out: Annotated[Path, typer.Option("-o", metavar="Y.npz", help="y and raw.")],
    on: On = "host",
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Run sequences; Y.npz gets y (float) and raw (int16)."""
    check_writable(out)
    blob = blobs.read(path)
    model = blobs.parse(blob)
    data = inputs_for(model, inputs)
    last = model.shape.mode != "sequence"
    size = (len(data.x),) if last else data.x.shape[:2]
    raw = np.zeros((*size, model.shape.n_out), np.int16)
    saturated = 0
    with Model(blob, on) as executor:
        signals = executor.signals(data.x)
        warn_clamped(executor.clamped, strict, inputs)
        for n, (y, clamps) in enumerate(executor.run_all(signals, data.lengths)):
            raw[n if last else (n, slice(len(y)))] = y
            saturated += clamps
        clamped = executor.clamped
    write_npz(out, {"y": raw / 2.0**model.y_exp, "raw": raw})
    result = {
        "steps": int(data.lengths.sum()),
        "on": on,
        "clamped": clamped,
        "saturated": saturated,
        "files": [str(out)],
    }
    answer(result, as_json, [f"{result['steps']} steps on {on}: {out}"])
    return 0


# ---- verify --------------------------------------------------------------


def verify(
    path: Blob,
    x: Annotated[
        Path | None, typer.Option("--x", help="x (N, T, n_in); else seeded inputs.")
    ] = None,
    on: Annotated[str, typer.Option("--on", help="A list, or all.")] = "host,onnx",
    float_path: Annotated[
        Path | None, typer.Option("--float", help="The trained float model, ONNX.")
    ] = None,
    learn: Annotated[
        int | None,
        typer.Option(min=1, metavar="STEPS", help="Train it, too; compare weights."),
    ] = None,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Run one blob on many executors and compare every integer.

    With --learn every method, rule and loss that the model admits trains it for STEPS
    steps, on the same inputs with targets from a seed; onnx is left out of that.  Exit
    code 1 if one bit differs.  The reference is the NumPy integer model.
    """
    names = executor_list(on)
    trainers = [] if learn is None else _trainers(names)
    blob = blobs.read(path)
    model = blobs.parse(blob)
    if x is None:
        signals = agreement_of.random_inputs(model)
        lengths = np.full(len(signals), signals.shape[1])
    else:
        data = inputs_for(model, x)
        signals, clamped = to_signals(model, data.x)
        lengths = data.lengths
        warn_clamped(clamped, strict, x)
    against = accuracy(model, signals, lengths, float_path)
    with Reporter() as says:
        watcher = _Bars(says, len(signals))
        agreement = agreement_of.agree(blob, signals, lengths, names, watcher=watcher)
        learnt = None
        if learn is not None:
            learnt = agree_learning(
                blob, signals, lengths, learn, trainers, progress=says.update
            )
    result = agreement.as_dict() | {"float": against}
    lines = agreement_of.lines(agreement) + _error_lines(against)
    if learnt is not None:
        result["learn"] = learnt.as_dict()
        lines += learning_lines(learnt)
    answer(result, as_json, lines)
    return 0 if agreement.ok and (learnt is None or learnt.ok) else 1


def _trainers(names: list[str]) -> list[str]:
    """The executors that train, which onnx does not.  ValueError if there is none."""
    found = [name for name in names if name != "onnx"]
    if not found:
        raise ValueError("onnx does not train; for --learn give --on host, or a core")
    if len(found) < len(names):
        say("pyvgrad: onnx does not train and is left out of --learn")
    return found


class _Bars(Watcher):
    """A progress bar for each executor."""

    def __init__(self, says: Reporter, n: int) -> None:
        self._says, self._n = says, n

    def output(self, name: str, sequence: int, y: Signals, logits: Signals) -> None:
        self._says.update(name, sequence + 1, self._n)


def _error_lines(against: dict[str, Any]) -> list[str]:
    return [
        f"{kind} error of {e['signal']}: {Error(**e['signals'][e['signal']])}"
        for kind, e in against.items()
    ]
