"""A report as the demo makes it: random models, really quantized and run."""

import dataclasses
from functools import lru_cache

import numpy as np

from pyvgrad.accuracy import arithmetic_reference, float_signals, integer_signals
from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.intmodel import IntModel
from pyvgrad.model import forward, init_params
from pyvgrad.page import Table
from pyvgrad.quantize import quantize
from pyvgrad.report import Curve, ModelReport, Signal, write_report
from pyvgrad.report_learning import LearningReport

NASTY = "<b>&\"'</script> $x^2$ \u00e9"
COMMAND = f"pyvgrad demo -o {NASTY}"
VERSIONS = {"pyvgrad": "0.1.0", "numpy": "2.4.6"}
SIGNALS = ("c", "h", "logits")


def make_curve(rng, chunks=120):
    losses = 12.0 * np.exp(-np.arange(chunks) / 25) + 0.2 * rng.random(chunks) + 0.01
    return Curve(100 * np.arange(1, chunks + 1), losses, 100 * chunks)


@lru_cache
def make_model(seed=0, steps=22, title="LSTM, 12 units"):
    """A random LSTM, really quantized and run on random symbols."""
    rng = np.random.default_rng(seed)
    shape = Shape((Layer("lstm", 7, 12),), Readout(12, 7, "softmax"))
    params = init_params(shape, rng, scale=1.0)
    q = quantize(shape, params)
    codes = rng.integers(7, size=(20, steps))
    x = np.eye(7)[codes]
    raw = (x * 2**q.x_exp).astype(np.int16)
    trace = IntModel(q).run(raw, states=True, gates=True)
    t = forward(shape, params, x)
    fixed = integer_signals(q, trace)
    signals = [
        Signal(name, fixed[long][0][0], reference[0])
        for name, long, reference in (
            ("c", "layer 1 c", t.layers[0]["c"]),
            ("h", "layer 1 h", t.layers[0]["h"]),
            ("logits", "logits", t.logits),
        )
    ]
    for k, v in trace.gates[0].items():
        signals.append(Signal(k, v[0] / 2**14, t.layers[0][k][0]))
    references = {
        "total": float_signals(q, params, x),
        "arithmetic": arithmetic_reference(q, raw),
    }
    errors = {
        kind: {
            name.split()[-1]: (2.0**e * (v - reference[name])).ravel()
            for name, (v, e) in fixed.items()
            if name.split()[-1] in SIGNALS
        }
        for kind, reference in references.items()
    }
    symbols = "".join("BTSXPVE"[k] for k in codes[0])
    facts = {"weights": f"{shape.n_weights:,}", "blob": "2,364 bytes"}
    exps = {"logits": q.logit_exp}
    curve = make_curve(rng)
    return ModelReport(
        f"random-{seed}", title, symbols, curve, signals, errors, facts, exps
    )


TABLES = {
    "Same bits": Table(
        ["executor", "values", NASTY],
        [["numpy", "12,345", "0"], [NASTY, "12,345", "0"], ["m4", "12,345", "-"]],
        f"All bits are equal {NASTY}",
        ok=True,
    ),
    NASTY: Table(["cell"], [["lstm"]]),
}


LEARNING = LearningReport(
    f"Learnt {NASTY}",
    Table(
        ["learns on", "sequences", "the host's"],
        [["host", "300", "yes"], [NASTY, "300", "yes"]],
        f"every byte is the same {NASTY}",
        ok=True,
    ),
    np.array([100.0, 200.0, 300.0]),
    np.array([0.9, 0.31, 0.0021]),
    np.array([0.0, 0.25, 1.0]),
    np.array([1.0, 0.97, 0.5]),
    300,
)


def small_model(**change):
    """A model with few plots, as a plot takes a tenth of a second."""
    model = make_model()
    errors = {"total": {"h": model.errors["total"]["h"]}}
    few = {"signals": model.signals[2:3], "errors": errors}
    return dataclasses.replace(model, **(few | change))


def write(path, models=None, tables=None, learning=None):
    models = [small_model()] if models is None else models
    tables = TABLES if tables is None else tables
    about = {"command": COMMAND, "versions": VERSIONS}
    write_report(path, models, tables, learning=learning, **about)
    return path.read_text("utf-8")
