"""What 8 bits cost, and what training for them gains: ``pyvgrad lab quantization``.

A net of random weights is quantized; it is to do what its float weights do.  Its own
outputs are the targets, so that all error is the integers'.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad.calibrate import Exponents, calibrate
from pyvgrad.cells import Shape
from pyvgrad.defaults import Settings
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, table
from pyvgrad.model import Params, forward, init_params
from pyvgrad.nets import stack
from pyvgrad.qat import Rounding
from pyvgrad.refine import integer_loss, quantized, refine
from pyvgrad.tasks.task import Sequences

CELLS = ("rnn_tanh", "lstm", "gru")
SEEDS, FIRST_SEED = 5, 100
KINDS = ("int16", "int8", "int8 mse", "int8 qat")
_STEPS, _N_IN, _N, _N_OUT = 12, 2, 6, 2
_SETTINGS = Settings(
    rate=0.003, loss="mse", optimizer="adam", batch=16, chunk=800, limit=160_000
)

Says = Callable[[str, int, int], None]


def run(
    out: Path,
    *,
    seeds: int | None = None,
    first: int = FIRST_SEED,
    says: Says | None = None,
) -> Lab:
    """Quantize ``seeds`` nets of each cell; write quantization.md and .json into out.

    An error is the rms of y - t over that of t on fresh sequences, in per cent.
    """
    make_folder(out)
    seeds = SEEDS if seeds is None else seeds
    rows = []
    for k, cell in enumerate(CELLS):
        errors = []
        for j, seed in enumerate(range(first, first + seeds)):
            errors.append(one(cell, seed))
            if says is not None:
                says(cell, k * seeds + j + 1, len(CELLS) * seeds)
        mean = {kind: float(np.mean([e[kind] for e in errors])) for kind in KINDS}
        better = sum(e["int8 qat"] < e["int8"] for e in errors)
        rows.append({"cell": cell, "seeds": seeds, "first_seed": first, **mean})
        rows[-1] |= {"qat_better": better, "each": errors}
    lines = table(
        ["cell", *KINDS, "QAT better on"],
        [
            [
                str(row["cell"]),
                *(f"{row[kind]:.3f} %" for kind in KINDS),
                f"{row['qat_better']} of {seeds}",
            ]
            for row in rows
        ],
    )
    files = [out / "quantization.md", out / "quantization.json"]
    write_bytes(files[0], ("\n".join(lines) + "\n").encode())
    write_bytes(files[1], (json.dumps({"rows": rows}, indent=2) + "\n").encode())
    return Lab(rows, files, lines)


def one(cell: str, seed: int) -> dict[str, float]:
    """The error of each kind of integers, in per cent."""
    shape = stack(cell, (_N_IN, _N, _N_OUT), output="linear")
    weights, drawn, tuned = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    params = init_params(shape, weights, scale=1.0)

    def draw(rng: np.random.Generator, n: int) -> Sequences:
        return _imitation(shape, params, rng, n)

    data, test = draw(drawn, 64), draw(drawn, 256)
    exps = calibrate(shape, params, data.x)
    roundings = {
        "int16": Rounding(16, exps),
        "int8": Rounding(8, exps),
        "int8 mse": Rounding(8, exps, "mse"),
    }
    models = {kind: quantized(shape, params, r) for kind, r in roundings.items()}
    best = _best(shape, params, data, exps)
    found = refine(shape, params, draw, _SETTINGS, tuned, rounding=best, data=data)
    models["int8 qat"] = quantized(shape, found.params, best)
    rms = float(np.sqrt(np.mean(test.y**2) * _N_OUT * _STEPS / 2))
    return {
        kind: 100.0 * float(np.sqrt(integer_loss(model, "mse", test))) / rms
        for kind, model in models.items()
    }


def _best(shape: Shape, params: Params, data: Sequences, exps: Exponents) -> Rounding:
    """The method for weights whose integers err less on the calibration data."""
    both = [Rounding(8, exps, method) for method in ("minmax", "mse")]
    return min(
        both, key=lambda r: integer_loss(quantized(shape, params, r), "mse", data)
    )


def _imitation(
    shape: Shape, params: Params, rng: np.random.Generator, n: int
) -> Sequences:
    x = rng.uniform(-1.0, 1.0, (n, _STEPS, _N_IN))
    y: Any = forward(shape, params, x).logits
    no_symbols = np.full((n, _STEPS + 1), -1)
    mask = np.ones((n, _STEPS), bool)
    return Sequences(x, y, np.full(n, _STEPS), mask, no_symbols)
