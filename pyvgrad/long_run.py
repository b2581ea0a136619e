"""Nets of random weights and what a long run of their integers leaves for the way back.

What the underflow measurement (underflow.py) follows errors through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pyvgrad.blob import pack, parse
from pyvgrad.cells import Layer, Shape
from pyvgrad.fixed import Ints, Reals
from pyvgrad.intback import Left, left
from pyvgrad.intcells import alone
from pyvgrad.intgate import Gate, gates_of, live_model
from pyvgrad.intmodel import IntModel
from pyvgrad.model import init_params
from pyvgrad.nets import NETS, stack
from pyvgrad.qmodel import QLayer
from pyvgrad.quantize import quantize

STEPS = 1000
N_IN = 7


@dataclass(frozen=True)
class Run:
    """A net's integer run, the newest step first, and what its way back needs.

    ``arguments`` {gate: (steps, rows)} are exact, before they were rounded and clamped;
    ``c`` (steps + 1, n) the states, the newest first, or None.  ``z`` (steps, columns
    and a 1) is what the gates read.
    """

    q: QLayer
    gates: dict[str, Gate]
    steps: list[Left]
    arguments: dict[str, Reals]
    c: Reals | None
    z: Reals


# ---- nets ----------------------------------------------------------------


def rnn(radius: float) -> tuple[Shape, Any]:
    """16 tanh units with U of this spectral radius, driven weakly."""
    shape = stack("rnn_tanh", (N_IN, 16, N_IN), output="softmax")
    rng = np.random.default_rng(1)
    params = init_params(shape, rng, scale=0.1, biases={"a": 0.0})
    U = rng.normal(size=(16, 16))
    U *= radius / np.abs(np.linalg.eigvals(U)).max()
    params["layers"][0]["U"]["a"] = U
    params["layers"][0]["W"]["a"] *= 0.1
    return shape, params


def lstm(forget_bias: float) -> tuple[Shape, Any]:
    """12 cells with this forget-gate bias."""
    shape = stack("lstm", (N_IN, 12, N_IN), output="softmax")
    biases = {"f": forget_bias, "i": 0.0, "o": 0.0, "g": 0.0, "readout": 0.0}
    rng = np.random.default_rng(1)
    return shape, init_params(shape, rng, scale=0.2, biases=biases)


def net97(name: str) -> tuple[Shape, Any]:
    """Cells of 1997, whose c carries its error unchanged.

    What a cell reads is weak and has a mean of 0: without, c drifts in 1,000 random
    symbols until h is saturated or clamped, and no error passes in float either.
    """
    net = NETS[name]
    shape = net.shape(N_IN, N_IN)
    rng = np.random.default_rng(1)
    params = init_params(shape, rng, scale=net.scale, biases=net.biases)
    layer = params["layers"][0]
    layer["W"]["g"] -= layer["W"]["g"].mean(axis=1, keepdims=True)
    if "U" in layer:
        layer["U"]["g"] *= 0.1
    return shape, params


NET_MAKERS: dict[str, Callable[[], tuple[Shape, Any]]] = {
    **{f"rnn_tanh, radius {r:g}": partial(rnn, r) for r in (0.8, 0.95, 1.0, 1.1)},
    **{f"lstm, f bias {b:g}": partial(lstm, b) for b in (0, 1, 2, 4, 6, 8)},
    "lstm97, h(x) = 2s - 1": partial(net97, "feedback-8"),
    "lstm97, h(x) = x": partial(net97, "long-lag-2"),
}


def make_run(shape: Shape, params: Any, steps: int = STEPS, seed: int = 2) -> Run:
    """Quantize as training does and run random symbols.  One recurrent layer."""
    model = parse(pack(quantize(shape, params)))
    layers, readout = gates_of(model)
    live = live_model(model, layers, readout)
    q, runner = live.layers[0], IntModel(live)
    symbols = np.random.default_rng(seed).integers(0, shape.n_in, steps)
    xs = np.eye(shape.n_in, dtype=np.int64)[symbols] << live.x_exp
    state, made = runner.init_state(1), []
    for x in xs:
        before = state
        _, _, state, [now] = runner.step_layers(before, x[np.newaxis])
        source = np.concatenate([x, before.r[0][0, : q.layer.n_recurrent]])
        c0 = before.c[0]
        old = before.r[0][0, : q.layer.n], None if c0 is None else c0[0]
        made.append(left(q, source, old, alone(now)))
    made.reverse()
    z = np.stack([step.z for step in made])
    states = [s.c for s in made if s.c is not None]
    first = np.zeros(q.layer.n, np.int64)
    c = np.ldexp(np.stack([*states, first]).astype(float), -20) if states else None
    e = max(layers[0].values(), key=lambda gate: len(gate.e)).e
    values = np.ldexp(z[:, : len(e)].astype(np.float64), -e)
    return Run(q, layers[0], made, _arguments(layers[0], z), c, values)


def _arguments(gates: dict[str, Gate], z: Ints) -> dict[str, Reals]:
    """The exact arguments as values; z (steps, columns and a 1)."""
    found = {}
    for k, gate in gates.items():
        acc = z[:, : gate.hi.shape[1]] @ gate.hi.T
        if gate.bias is not None:
            acc = acc + gate.bias
        found[k] = np.ldexp(acc.astype(np.float64), -gate.E)
    return found


# ---- derivatives ---------------------------------------------------------


def _s(z: Reals) -> Reals:
    return np.asarray(0.5 * (np.tanh(0.5 * z) + 1.0))


def exact_slopes(run: Run) -> list[dict[str, Reals]]:
    """The derivatives of every step under the specification's names, of the arguments.

    ``f`` is among them.
    """
    layer, a = run.q.layer, run.arguments
    if run.c is None:
        slopes = {"H_a": _rnn_slope(layer, a["a"])}
    else:
        slopes = _lstm_slopes(layer, a, run.c)
    return [{k: v[t] for k, v in slopes.items()} for t in range(len(run.steps))]


def _rnn_slope(layer: Layer, a: Reals) -> Reals:
    if layer.function("a") == "t":
        return np.asarray(1.0 / np.cosh(a) ** 2)
    if layer.function("a") == "s":
        return _s(a) * _s(-a)
    return np.asarray(a > 0, np.float64)


def _lstm_slopes(layer: Layer, a: dict[str, Reals], c: Reals) -> dict[str, Reals]:
    one, block = np.ones_like(c[:-1]), layer.block

    def wide(k: str, of: Callable[[Reals], Reals]) -> Reals:
        return np.repeat(of(a[k]), block, axis=1) if k in a else one

    def slope(z: Reals) -> Reals:
        return _s(z) * _s(-z)

    i, f, o = (wide(k, _s) for k in "ifo")
    if layer.opts.squash_g == "s":
        g, of_g = _s(a["g"]), slope(a["g"])
    else:
        k = 2.0 if layer.opts.squash_g == "4s-2" else 1.0
        g, of_g = k * np.tanh(a["g"] / k), 1.0 / np.cosh(a["g"] / k) ** 2
    found = {"C_i": wide("i", slope) * g, "C_g": i * of_g, "f": f}
    if "f" in a:
        found["C_f"] = wide("f", slope) * c[1:]
    now = c[:-1]
    if layer.opts.squash_h == "identity":
        found |= {"H_c": o, "H_o": wide("o", slope) * now}
    else:
        k = 0.5 if layer.opts.squash_h == "2s-1" else 1.0
        found["H_c"] = o * k / np.cosh(k * now) ** 2
        found["H_o"] = wide("o", slope) * np.tanh(k * now)
    return found | {f"S_{k}": slope(a[k]) for k in layer.feedback_gates}


def q14_slopes(run: Run) -> list[dict[str, Reals]]:
    """The same as the specification makes them, from the q14 outputs."""
    return [
        {k: v / 2.0**24 for k, v in step.slopes.items()} | {"f": step.f / 2.0**14}
        for step in run.steps
    ]
