"""The float values that a model's integers stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyvgrad.fixed import Ints, Reals
from pyvgrad.qmodel import QLayer, QModel


def dequantize(model: QModel) -> dict[str, Any]:
    """Return the parameters of model.py, exactly, in double.

    ``layers``: for each ``W`` {gate: (rows, n_in)}, ``U`` {gate: (rows, n_recurrent)},
    ``P`` {gate: (rows,)} and ``b`` {gate: (rows,)} of the gates that have them; and
    where the blob has an initial state ``h0`` (n,), ``c0`` (n,) if there is a c beside
    h, and ``i0``, ``o0`` (n_blocks,) of the gates that feed back.
    ``readout``, if there is one: ``W`` (n_out, n), ``V`` (n_out, n_in) with shortcuts,
    ``b`` (n_out,) with biases.
    """
    params: dict[str, Any] = {
        "layers": [_layer(q, model.x_exps(k)) for k, q in enumerate(model.layers)]
    }
    if model.readout is not None:
        q = model.readout
        w = _weights(q.weights, q.exps, model.readout_exps)
        readout = {"W": w[:, : q.readout.n_in]}
        if q.readout.shortcuts:
            readout["V"] = w[:, q.readout.n_in :]
        if q.biases is not None:
            readout["b"] = np.ldexp(q.biases.astype(np.float64), -q.exps)
        params["readout"] = readout
    return params


def _weights(w: Ints, exps: Ints, source_exps: Ints) -> Reals:
    """w_j / 2^(E - e_j) for w (rows, columns)."""
    return np.asarray(np.ldexp(w.astype(np.float64), source_exps - exps[:, None]))


def _layer(q: QLayer, x_exps: Ints) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for k in q.layer.gates:
        w = _weights(q.weights[k], q.exps[k], q.column_exps(k, x_exps))
        parts = q.layer.parts(k)
        ends = np.cumsum(list(parts.values()))[:-1]
        for part, columns in zip(parts, np.split(w, ends, axis=1), strict=True):
            array = columns[:, 0] if part == "P" else columns
            params.setdefault(part, {})[k] = array
    params["b"] = {
        k: np.ldexp(b.astype(np.float64), -q.exps[k]) for k, b in q.biases.items()
    }
    if q.r0 is not None:
        params |= _initial_state(q, q.r0)
    return params


def _initial_state(q: QLayer, r0: Ints) -> dict[str, Reals]:
    n, n_blocks = q.layer.n, q.layer.n_blocks
    state = {"h0": r0[:n] / 2.0**q.r_exp}
    if q.c0 is not None:  # where c is h, it says h more exactly
        state[f"{q.layer.row.carry}0"] = q.c0 / 2.0**20
    for k, gate in enumerate(q.layer.feedback_gates):
        start = n + k * n_blocks
        state[f"{gate}0"] = r0[start : start + n_blocks] / 2.0**14
    return state
