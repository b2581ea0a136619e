"""Two states of one training held against each other: what differs, and where."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from pyvgrad.blob import parse
from pyvgrad.errors import BlobError
from pyvgrad.learning import Counters
from pyvgrad.qmodel import Ints

Found = tuple[str, int | None, int | None, int, int]
"""Tensor, row, column, expected, got, as in verify_learn.WeightDifference."""


def _tensors(blob: bytes) -> dict[str, Ints]:
    """All integers that learning changes by tensor, (rows, columns); causes first."""
    model = parse(blob)
    found: dict[str, Ints] = {}
    for k, q in enumerate(model.layers):
        for gate in q.layer.gates:
            name, n_in = f"layer{k + 1}.{gate}", q.layer.n_in
            found[f"{name}.E"] = q.exps[gate][:, np.newaxis]
            found[f"{name}.x"] = q.weights[gate][:, :n_in]
            found[f"{name}.h"] = q.weights[gate][:, n_in:]
            if gate in q.biases:
                found[f"{name}.b"] = q.biases[gate][:, np.newaxis]
    r = model.readout
    if r is not None:
        n = r.readout.n_in
        found["readout.E"] = r.exps[:, np.newaxis]
        found["readout.h"], found["readout.x"] = r.weights[:, :n], r.weights[:, n:]
        if r.biases is not None:
            found["readout.b"] = r.biases[:, np.newaxis]
    return found


def in_weights(expected: bytes, got: bytes) -> list[Found]:
    """What differs between two blobs."""
    if expected == got:
        return []
    try:
        want, have = _tensors(expected), _tensors(got)
    except BlobError:
        return in_bytes("blob", expected, got)
    if {k: v.shape for k, v in want.items()} != {k: v.shape for k, v in have.items()}:
        return in_bytes("blob", expected, got)
    found: list[Found] = []
    for name, values in want.items():
        for row, column in np.argwhere(values != have[name]).tolist():
            pair = int(values[row, column]), int(have[name][row, column])
            found.append((name, row, column, *pair))
    return found or in_bytes("blob", expected, got)


def in_bytes(name: str, expected: bytes, got: bytes) -> list[Found]:
    """What differs, byte for byte; of different lengths, the lengths."""
    if len(expected) != len(got):
        return [(f"bytes of the {name}", None, None, len(expected), len(got))]
    pairs = enumerate(zip(expected, got, strict=True))
    return [(name, k, None, a, b) for k, (a, b) in pairs if a != b]


def in_counters(expected: Counters, got: Counters) -> list[Found]:
    """What differs between two states of the counters."""
    want, have = asdict(expected), asdict(got)
    return [
        (f"counter {k}", None, None, want[k], have[k])
        for k in want
        if want[k] != have[k]
    ]
