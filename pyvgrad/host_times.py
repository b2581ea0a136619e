"""How long a step takes on this machine, from Python and next to other runtimes.

All ways take turns in every round, to and fro, so that a machine that slows down slows
all of them; what is given are medians, and of ratios and differences the medians of the
rounds'.  What this process takes of the processors counts, not what others on the
machine do.  Each way runs or teaches the same model.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pyvgrad.blob import parse
from pyvgrad.host_learning import learning_ways
from pyvgrad.host_running import Way, running_ways

ROUNDS = {None: 51, "tbptt": 15, "rtrl97": 15}  # of running, and by method


def host_times(
    blob: bytes, method: str | None = None, rounds: int | None = None
) -> dict[str, Any]:
    """Nanoseconds a step of every way that this machine has, and ratios.

    Of running (host_running.py), or of learning by ``method`` (host_learning.py), where
    a step is its share of a sequence and its update.  ``ns`` are theirs, ``ratios`` to
    the core's, and ``overhead_ns`` is batch less core.  ValueError for a model that has
    no single steps, or does not learn so.
    """
    model = parse(blob)
    ways: list[Way] = (
        running_ways(blob, model)
        if method is None
        else list(learning_ways(blob, model, method))
    )
    took = np.empty((rounds or ROUNDS[method], len(ways)))
    for k, row in enumerate(took):
        for j in range(len(ways))[:: -1 if k % 2 else 1]:
            row[j] = _once(ways[j])
    ns = np.median(took, axis=0)
    ratios = np.median(took / took[:, :1], axis=0)
    return {
        "ns": {way.name: round(float(n), 1) for way, n in zip(ways, ns, strict=True)},
        "ratios": {
            way.name: round(float(n), 3) for way, n in zip(ways, ratios, strict=True)
        },
        "overhead_ns": round(float(np.median(took[:, 1] - took[:, 0])), 1),
    }


def host_row(
    blob: bytes, method: str | None = None, rounds: int | None = None
) -> dict[str, Any]:
    """What ``pyvgrad bench --on host`` says of a blob.  ValueError as host_times."""
    model = parse(blob)
    return {
        "on": "host",
        "cell": "+".join(q.layer.cell for q in model.layers),
        "n_in": model.shape.n_in,
        "n": sum(q.layer.n for q in model.layers),
        "weight_bits": model.weight_bits,
        "layout": model.layout,
        "does": method or "run",
        **host_times(blob, method, rounds),
    }


def _once(way: Way) -> float:
    """Nanoseconds a step of one call, warm: caches are full of what it did before."""
    way.run()
    begin = time.process_time_ns()
    way.run()
    return (time.process_time_ns() - begin) / way.steps
