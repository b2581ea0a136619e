"""The command that makes a blob of an ONNX file from elsewhere."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from pyvgrad import blob as blobs
from pyvgrad.calibrate import parse_ranges
from pyvgrad.cli_blob import describe
from pyvgrad.cli_io import Json, Layout, answer, check_layout, say
from pyvgrad.files import Dataset, check_writable, read_dataset, write_bytes
from pyvgrad.qreport import quantization_report, report_lines

if TYPE_CHECKING:
    from pyvgrad.onnx_import import Imported
    from pyvgrad.onnx_import_proof import Proof


def import_(
    path: Annotated[Path, typer.Argument(metavar="F.onnx")],
    out: Annotated[Path, typer.Option("-o", metavar="M.vg", help="The blob.")],
    weights: Annotated[int, typer.Option(help="Bits of a weight: 16 or 8.")] = 16,
    layout: Layout = "rows",
    calibrate: Annotated[
        Path | None, typer.Option(metavar="X.npz", help="x (N, T, n_in), lengths.")
    ] = None,
    ranges: Annotated[
        str,
        typer.Option(
            metavar="METHOD,SIGNAL=LARGEST",
            help="How ranges are found: minmax, percentile, mse; x=2,logits=40.",
        ),
    ] = "minmax",
    report: Annotated[
        bool, typer.Option("--report", help="Say what each tensor's rounding costs.")
    ] = False,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which output y is.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the random inputs.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Write it, few bits or clamps or not.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Make a blob of an LSTM, GRU or RNN in an ONNX file.

    The file is run in onnxruntime next to the float model, then the integers next to
    that.  Exit code 1, nothing written, if file and model differ; or, but for --force,
    if the integers keep less than 10 effective bits of the output (5 with 8-bit
    weights) or more than 0.1 % of the values are clamped.
    """
    from pyvgrad.onnx_import import import_onnx
    from pyvgrad.onnx_import_integers import LEAST_BITS, to_integers
    from pyvgrad.onnx_import_proof import prove

    check_writable(out)
    if weights not in LEAST_BITS:
        raise ValueError(f"--weights takes 16 or 8 bits, not {weights}")
    check_layout(layout)
    chosen = parse_ranges(ranges)
    model = import_onnx(path, output)
    own = None if calibrate is None else _calibration(calibrate, model.shape.n_in)
    x, lengths = (own.x, own.lengths) if own else (None, None)
    proof = prove(model, x, lengths, seed=seed)
    if not proof.ok:
        return _differ(path, proof, as_json)
    data = own or _random(model, seed)
    q, fit = to_integers(model, data.x, data.lengths, weights, chosen)
    blob, reasons = blobs.pack(replace(q, layout=layout)), fit.reasons()
    written = force or not reasons
    result: dict[str, Any] = describe(blob) | {
        "layout": model.layout,
        "notes": list(model.notes),
        "proof": asdict(proof),
        "signal": fit.signal,
        "effective_bits": fit.error.effective_bits,
        "clamped": fit.clamped,
        "reasons": reasons,
        "files": [str(out)] if written else [],
    }
    lines = [*_lines(result), *(f"but {reason}" for reason in reasons)]
    if report:
        result["report"] = quantization_report(q, data.x, data.lengths, model.params)
        lines += report_lines(result["report"])
    if written:
        write_bytes(out, blob)
    answer(result, as_json, lines)
    if reasons:
        done = "written all the same" if force else "nothing was written, see --force"
        say(f"pyvgrad: {path}: {'; '.join(reasons)}; {done}")
    return 1 if reasons else 0


def _differ(path: Path, proof: Proof, as_json: bool) -> int:
    """The answer where the file and the float model are not the same function."""
    reason = (
        f"the file and the model made of it differ by {proof.largest:.2g} of the "
        f"largest output, {proof.tolerance:g} is admitted: the network amplifies "
        "roundings, or it was not understood"
    )
    if as_json:
        result = {"proof": asdict(proof), "reasons": [reason], "files": []}
        answer(result, as_json, [])
    say(f"pyvgrad: {path}: {reason}; nothing was written")
    return 1


def _random(model: Imported, seed: int) -> Dataset:
    """Sequences to calibrate on where there are no others."""
    from pyvgrad.onnx_import_proof import random_inputs

    say(
        f"pyvgrad: calibrated on random inputs (normal, seed {seed}); give your own "
        "with --calibrate X.npz"
    )
    x = random_inputs(model, np.random.default_rng(seed))
    return Dataset(x, np.full(len(x), x.shape[1]), None)


def _calibration(path: Path, n_in: int) -> Dataset:
    """Sequences to calibrate on.  VgradError or ValueError with the file's name."""
    data = read_dataset(path)
    if data.x.shape[2] != n_in:
        raise ValueError(f"{path}: x is {data.x.shape}, the file takes (N, T, {n_in})")
    return data


def _lines(result: dict[str, Any]) -> list[str]:
    """What came of it, for people."""
    proof, bits = result["proof"], result["effective_bits"]
    cells = " + ".join(result["cells"])
    kept = "exact" if bits is None else f"{bits:.2f} effective bits"
    return [
        f"{cells}, {result['output']} outputs, mode {result['mode']}, "
        f"{result['weights']:,} weights, {result['blob_bytes']:,} bytes",
        f"float: differs from the file in {proof['by']} by {proof['largest']:.2g} "
        f"on {proof['values']:,} values",
        f"integers: {result['signal']} {kept}, "
        f"{100 * result['clamped']:.3g} % of the values clamped",
        *result["notes"],
        *result["files"],
    ]
