"""Error flow against theory: in random nets, in nets that learn, and in integers.

What is followed is the largest scaling factor between any two arguments (flow.py), in
float64.  Seeds are batched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from pyvgrad import flow_bounds
from pyvgrad.cells import Shape
from pyvgrad.defaults import Settings
from pyvgrad.flow import error_flow, state_flow, state_names
from pyvgrad.flow_bounds import LOGISTIC, TANH
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.tasks import make_task
from pyvgrad.tasks.task import Outputs, Sequences
from pyvgrad.train import train
from pyvgrad.underflow import FIXED, REFERENCE, Carried

Reals = NDArray[np.float64]
Record = dict[str, Any]

N, N_IN = 12, 7
SCALE = 0.2  # weights start within +-0.2, as in 1997
_TINY = 1e-300  # stands for a factor of 0 in a geometric mean


@dataclass(frozen=True)
class Net:
    """A cell and how it starts; ``cell`` of N units, ``rate`` to train it with."""

    cell: str
    biases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    rate: float = 1.0
    own: tuple[float, float] | None = None  # range of IndRNN's u

    @property
    def shape(self) -> Shape:
        """N cells, and an output for every symbol."""
        return stack(self.cell, (N_IN, N, N_IN), output="softmax")

    def draw(self, rng: np.random.Generator, scale: float = SCALE) -> Any:
        """Parameters of one seed."""
        params = init_params(self.shape, rng, scale=scale, biases=dict(self.biases))
        if self.own is not None:
            params["layers"][0]["P"]["a"] = rng.uniform(*self.own, N)
        return params


def _cells(**biases: float) -> dict[str, tuple[float, ...]]:
    return {gate: (value,) for gate, value in biases.items()}


NETS: dict[str, Net] = {
    "logistic": Net("rnn_sigmoid", rate=0.3),
    "tanh": Net("rnn_tanh", rate=0.3),
    "IndRNN": Net("indrnn", _cells(a=0.5), rate=0.3, own=(0.9, 1.0)),
    "GRU": Net("gru"),
    "LSTM, f bias 2": Net("lstm", _cells(f=2.0, i=-2.0)),
    "LSTM 1997": Net("lstm97", {"i": (-1.0, -2.0, -3.0)}),
}
CAROUSEL = {"gru": "h", "lstm": "c", "lstm97": "c"}  # the state that carries


def symbols(seeds: Sequence[int], steps: int) -> Reals:
    """Random symbols, one-hot, (S, steps, N_IN); those of a seed begin alike."""
    drawn = [np.random.default_rng([s, 1]).integers(N_IN, size=steps) for s in seeds]
    return np.eye(N_IN)[np.stack(drawn)]


def batched(trees: Sequence[Any]) -> Any:
    """Parameters of many seeds as one tree with a leading axis."""
    return jax.tree.map(lambda *a: np.stack(a), *trees)


@partial(jax.jit, static_argnames="shape")
def _factors(shape: Shape, params: Any, x: Any) -> Any:
    """error_flow of seeds: params and x have an axis of them in front."""
    return jax.vmap(partial(error_flow, shape))(params, x)


@partial(jax.jit, static_argnames=("shape", "cut"))
def _carried(shape: Shape, params: Any, x: Any, cut: bool = False) -> Any:
    """state_flow of seeds."""
    return jax.vmap(partial(state_flow, shape, cut=cut))(params, x)


def largest(shape: Shape, params: Any, x: Reals) -> Reals:
    """The largest |factor| over q = 1 .. T - 1 steps, of each seed: (S, T - 1)."""
    with jax.enable_x64(True):
        found = np.asarray(_factors(shape, params, x), np.float64)
    return np.asarray(abs(found).max(axis=(-2, -1)))


def over_seeds(values: Reals) -> dict[str, list[float]]:
    """The geometric mean, smallest and largest of the seeds, (S, Q)."""
    mean = np.exp(np.log(np.maximum(values, _TINY)).mean(axis=0))
    parts = {"mean": mean, "low": values.min(axis=0), "high": values.max(axis=0)}
    return {name: [float(v) for v in part] for name, part in parts.items()}


# ---- over q, over w ------------------------------------------------------


def over_q(name: str, seeds: Sequence[int], steps: int) -> Record:
    """The factor over 1 .. steps - 1 steps, and what the carousel alone carries."""
    net, x = NETS[name], symbols(seeds, steps)
    params = batched([net.draw(np.random.default_rng(s)) for s in seeds])
    found: Record = {"all": over_seeds(largest(net.shape, params, x))}
    if net.cell in CAROUSEL:
        found["carousel"] = over_seeds(_carousel(net, params, x))
    return found


def _carousel(net: Net, params: Any, x: Reals) -> Reals:
    """The geometric mean over cells of d c(t) / d c(t-q) with weights cut, (S, T)."""
    names = state_names(net.shape)
    held = [k for k, (_, name, _) in enumerate(names) if name == CAROUSEL[net.cell]]
    with jax.enable_x64(True):
        found = np.asarray(_carried(net.shape, params, x, cut=True), np.float64)
    diagonal = found[:, :, held, held]
    return np.asarray(np.exp(np.log(np.maximum(diagonal, _TINY)).mean(axis=-1)))


def over_w(seeds: Sequence[int], w_max: Sequence[float], q: int) -> list[Record]:
    """Logistic units over q steps by the range of their weights, next to n mu^q."""
    net, x, rows = NETS["logistic"], symbols(seeds, q + 1), []
    for w in w_max:
        params = batched([net.draw(np.random.default_rng(s), w) for s in seeds])
        found = largest(net.shape, params, x)[:, -1]
        mu = flow_bounds.mu(N, w)
        rows.append(
            {"w_max": w, "mu": mu, "bound": N * mu**q, "factor": sorted(found.tolist())}
        )
    return rows


# ---- conditions on W -----------------------------------------------------

UNITS = {"tanh": ("rnn_tanh", TANH), "logistic": ("rnn_sigmoid", LOGISTIC)}


def conditions(
    unit: str, seeds: Sequence[int], times: Sequence[float], drive: float, q: int = 50
) -> list[Record]:
    """Nets whose W has a radius of ``times`` / gamma: by how much a step they carry.

    ``rate`` is ||d h(t) / d h(t-q)||^(1/q); ``drive`` the size of W x.
    """
    cell, gamma = UNITS[unit]
    net, x, rows = Net(cell), symbols(seeds, q), []
    for t in times:
        params = [net.draw(np.random.default_rng(s)) for s in seeds]
        for s, p in zip(seeds, params, strict=True):
            W = np.random.default_rng([s, 2]).normal(size=(N, N))
            p["layers"][0]["U"]["a"] = W * (t / gamma / flow_bounds.radius(W))
            p["layers"][0]["W"]["a"] *= drive / SCALE
            p["layers"][0]["b"]["a"] *= 0.0
        with jax.enable_x64(True):
            found = np.asarray(_carried(net.shape, batched(params), x), np.float64)
        for p, P in zip(params, found[:, -1], strict=True):
            W = p["layers"][0]["U"]["a"]
            rows.append(
                {
                    "radius": t,
                    "gain": gamma * flow_bounds.gain(W),
                    "rate": float(np.linalg.norm(P, 2) ** (1.0 / q)),
                    "must_vanish": flow_bounds.must_vanish(W, gamma),
                }
            )
    return rows


# ---- while a net learns --------------------------------------------------

LENGTH = 12  # symbols of the strings that are followed
LAG = 8  # steps from where their second symbol is read to where it is asked for again


def while_learning(job: Record) -> Record:
    """Train a net on embedded Reber strings and follow errors from time to time.

    ``job``: net, seed, limit (sequences), every.  ``factors`` [point][q - 1] are
    medians over strings, ``right`` the share of test strings whose every next
    symbols are foreseen, at 0, every, 2 every .. sequences.  Weights start as Glorot
    and Bengio 2010 have it.
    """
    net, seed = NETS[job["net"]], job["seed"]
    task = make_task("embedded-reber", seed=seed)
    test = task.checks["test"]
    chosen = np.flatnonzero(test.lengths == LENGTH - 1)
    x = test.x[chosen, : LAG + 2]
    points: list[Record] = []

    def look(params: Any, sequences: int, loss: float) -> bool:
        with jax.enable_x64(True):
            found = np.asarray(error_flow(net.shape, params, x), np.float64)
        factor = np.median(abs(found).max(axis=(-2, -1)), axis=0).tolist()
        right = _right(task.correct, net.shape, params, test)
        points.append({"sequences": sequences, "factors": factor, "right": right})
        return False

    settings = Settings(net.rate, chunk=job["every"], limit=job["limit"])
    weights, exemplars = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2)
    )
    params = init_params(net.shape, weights, biases=dict(net.biases))
    look(params, 0, 0.0)
    train(net.shape, params, task.draw, settings, exemplars, stop=look)
    return {"strings": len(chosen), "points": points}


def _right(
    correct: Callable[[Sequences, Outputs], Any],
    shape: Shape,
    params: Any,
    test: Sequences,
) -> float:
    run = forward(shape, params, test.x)
    return float(np.mean(correct(test, Outputs(run.logits, run.y))))


# ---- in integers ---------------------------------------------------------


def lost(carried: Mapping[str, Carried]) -> list[Record]:
    """Up to which step back each format carries a flow, None for all of them.

    ``carried``: within underflow.GOOD of the float flow; ``below``: from there on every
    float error is under half a last place; ``end`` the norm of the last step's flow in
    integers, which is 0 or what rounding keeps of the last places.
    """
    reference = carried[REFERENCE].norm
    steps, rows = len(reference), []
    for name, bits in FIXED.items():
        lag = carried[name].lag
        above = np.flatnonzero(reference >= 2.0 ** -(bits + 1))
        under = int(above[-1]) + 1 if len(above) else 0
        rows.append(
            {
                "format": name,
                "carried": lag if lag < steps else None,
                "below": under if under < steps else None,
                "end": float(carried[name].norm[-1]),
            }
        )
    return rows
