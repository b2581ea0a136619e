"""The command that makes a blob of an ONNX file from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pyvgrad import blob as blobs
from pyvgrad.cli_blob import describe
from pyvgrad.cli_io import Json, answer, say
from pyvgrad.files import Dataset, check_writable, read_dataset, write_bytes


def import_(
    path: Annotated[Path, typer.Argument(metavar="F.onnx")],
    out: Annotated[Path, typer.Option("-o", metavar="M.vg", help="The blob.")],
    weights: Annotated[int, typer.Option(help="Bits of a weight: 16 or 8.")] = 16,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="X.npz", help="x (N, T, n_in), lengths.")
    ] = None,
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
    from pyvgrad.onnx_import_proof import TOLERANCE, prove, random_inputs

    check_writable(out)
    if weights not in LEAST_BITS:
        raise ValueError(f"--weights takes 16 or 8 bits, not {weights}")
    model = import_onnx(path, output)
    data = None if calibrate is None else _calibration(calibrate, model.shape.n_in)
    x = None if data is None else data.x
    proof = prove(model, x, None if data is None else data.lengths, seed=seed)
    if not proof.ok:
        say(
            f"pyvgrad: {path}: the file and the model made of it differ by "
            f"{proof.largest:.2g} of the largest output, {TOLERANCE:g} is admitted; "
            "the network amplifies roundings, or it was not understood: nothing was "
            "written"
        )
        return 1
    if data is None:
        say(
            f"pyvgrad: calibrated on random inputs (normal, seed {seed}); give your "
            "own with --calibrate X.npz"
        )
        x = random_inputs(model, np.random.default_rng(seed))
        data = Dataset(x, np.full(len(x), x.shape[1]), None)
    q, fit = to_integers(model, data.x, data.lengths, weights)
    blob = blobs.pack(q)
    reasons = fit.reasons()
    written = force or not reasons
    result: dict[str, Any] = describe(blob) | {
        "layout": model.layout,
        "notes": list(model.notes),
        "proof": {
            "by": proof.by, "values": proof.values, "largest": proof.largest,
            "tolerance": TOLERANCE,
        },
        "signal": fit.signal,
        "effective_bits": fit.error.effective_bits,
        "clamped": fit.clamped,
        "reasons": reasons,
        "files": [str(out)] if written else [],
    }  # fmt: skip
    if written:
        write_bytes(out, blob)
    answer(result, as_json, [*_lines(result), *(f"but {r}" for r in reasons)])
    if reasons:
        done = "written all the same" if force else "nothing was written, see --force"
        say(f"pyvgrad: {path}: {'; '.join(reasons)}; {done}")
    return 1 if reasons else 0


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
