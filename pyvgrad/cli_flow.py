"""The command that follows errors back through a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pyvgrad import blob as blobs
from pyvgrad.cli_blob import inputs_for
from pyvgrad.cli_io import Blob, Json, answer
from pyvgrad.dequantize import dequantize
from pyvgrad.errors import VgradError
from pyvgrad.files import check_writable, write_bytes

_SEQUENCES = 8
_SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def flow(
    path: Blob,
    x: Annotated[
        Path | None,
        typer.Option("--x", help="x (N, T, n_in); else random one-hot symbols."),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, max=10_000, help="How far back, at most.")
    ] = 100,
    out: Annotated[
        Path | None, typer.Option("-o", metavar="F.png", help="Draw it, too.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Say how much of an error arrives q steps back in a model.

    The largest factor between two gates' arguments (net inputs), d net_u(t) /
    d net_v(t-q), of the blob's weights in float; medians over sequences, from their
    last step on.  For one layer of tanh or logistic units the bound of 1998 beside it.
    """
    if out is not None:
        check_writable(out)
    model = blobs.parse(blobs.read(path))
    data = _symbols(model.shape.n_in, steps) if x is None else _given(model, x, steps)
    try:
        from pyvgrad.model_flow import flow_plot, model_flow
    except ModuleNotFoundError as error:
        raise VgradError(
            f"{error.name} is not installed and flow needs it: "
            "pip install pyvgrad[train]"
        ) from error
    found = model_flow(model.shape, dequantize(model), data)
    if out is not None:
        write_bytes(out, flow_plot(found))
    bound = None if found.bound is None else found.bound.tolist()
    result = {
        "steps": len(found.factors),
        "norms": found.factors.tolist(),
        "bound": bound,
        "files": [] if out is None else [str(out)],
    }
    lines = [
        f"{q:>5} steps back: {found.factors[q - 1]:.1e}"
        + (f", bound {bound[q - 1]:.1e}" if bound else "")
        for q in sorted({*_SHOWN, len(found.factors)})
        if q <= len(found.factors)
    ]
    answer(result, as_json, lines)
    return 0


def _symbols(n_in: int, steps: int) -> Any:
    drawn = np.random.default_rng(0).integers(n_in, size=(_SEQUENCES, steps + 1))
    return np.eye(n_in)[drawn]


def _given(model: Any, path: Path, steps: int) -> Any:
    """The last steps of the sequences that are long enough for all, ends together.

    ValueError for sequences of one step.
    """
    data = inputs_for(model, path)
    length = min(steps + 1, int(data.lengths.min()))
    if length < 2:
        raise ValueError(f"{path}: a sequence of one step has no way back")
    return np.stack(
        [x[n - length : n] for x, n in zip(data.x, data.lengths, strict=True)]
    )
