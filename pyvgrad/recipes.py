"""How a model is trained in integers, and the settings that train each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pyvgrad.blob import pack
from pyvgrad.calibrate import free_exp
from pyvgrad.cells import CELLS, Shape
from pyvgrad.learning import Learn
from pyvgrad.model import init_params
from pyvgrad.nets import NETS, altered, stack
from pyvgrad.quantize import quantize
from pyvgrad.tasks import IntTask
from pyvgrad.tensors import arrays_of, named

LONGEST_TAPE = 65535


@dataclass(frozen=True)
class IntRecipe:
    """A model for a task, and the settings that train it in integers.

    The model is a ``net`` of pyvgrad.nets or, without one, ``layers`` layers of
    ``cell``; ``hidden`` and the like alter a net.  ``rate``, ``clip``, ``decay`` and
    ``epsilon`` are the values of what Learn has as raw integers; ``k2`` 0 means a tape
    for a whole sequence of the task, ``rounding`` is the seed of stochastic rounding,
    ``h_exp`` the exponent of states that have no bound.

    Weights start uniform in +-``scale``, tensors of ``scales`` in +- their own;
    ``biases`` as in model.init_params, those not named start like weights, or at 0
    without ``random_biases``.  ``factors`` multiplies the rate of a tensor; 0 freezes
    it.  Tests follow every ``every`` sequences, until ``limit``.
    """

    rate: float
    net: str | None = None
    cell: str | None = None
    hidden: int | None = None
    layers: int | None = None
    block: int | None = None
    output: str = "softmax"
    method: str = "rtrl97"
    rule: str = "sgd"
    loss: str = "cross-entropy"
    k1: int = 0
    k2: int = 0
    clip: float = 1.0
    decay: float = 0.9
    epsilon: float = 1e-3
    nesterov: bool = False
    rounding: int = 0
    h_exp: int = 11
    scale: float | None = None
    scales: Mapping[str, float] = field(default_factory=dict)
    biases: Mapping[str, tuple[float, ...]] | None = None
    random_biases: bool = True
    factors: Mapping[str, float] = field(default_factory=dict)
    limit: int = 30_000
    every: int = 100

    def __post_init__(self) -> None:
        if min(self.limit, self.every) < 1:
            raise ValueError(
                f"limit and every are 1 at least, not {self.limit} and {self.every}"
            )

    def shape(self, task: IntTask) -> Shape:
        """The model's shape for this task.  ValueError for what no cell has."""
        given: dict[str, Any] = {
            name: value
            for name in ("cell", "hidden", "layers", "block")
            if (value := getattr(self, name)) is not None
        }
        if self.net is not None:
            base = _net(self.net).shape(task.n_in, task.n_out)
            return replace(altered(base, **given), mode=task.mode)
        defaults = {"cell": "lstm", "hidden": 8, "layers": 1, "block": 1}
        like: dict[str, Any] = {**defaults, **given}
        shape = stack(
            like["cell"],
            (task.n_in, like["hidden"], task.n_out),
            output=self.output,
            layers=like["layers"],
            block=like["block"],
        )
        return replace(shape, mode=task.mode)

    def learn(self, task: IntTask) -> Learn:
        """The settings as the core takes them.  ValueError for one out of range."""
        rtrl, moves = self.method == "rtrl97", self.rule != "sgd"
        tape = 0 if rtrl else self.k2 or max(min(task.steps, LONGEST_TAPE), self.k1)
        return Learn(
            method=self.method,
            rule=self.rule,
            loss=self.loss,
            nesterov=self.nesterov,
            symbols=task.symbols,
            k1=self.k1,
            k2=tape,
            rate_q24=_raw("rate", self.rate, 24),
            decay_q14=_raw("decay", self.decay, 14) if moves else 0,
            clip_q16=_raw("clip", self.clip, 16),
            epsilon_q24=(
                _raw("epsilon", self.epsilon, 24) if self.rule == "rmsprop" else 0
            ),
            seed=self.rounding,
        )

    def start(self, task: IntTask, seed: int) -> bytes:
        """A blob with random weights; the seed draws them."""
        shape, rng = self.shape(task), np.random.default_rng([seed, 0])
        net = NETS[self.net] if self.net is not None else None
        scale = self.scale if self.scale is not None else net.scale if net else None
        own = self.biases if self.biases is not None else net.biases if net else {}
        biases = dict(own)
        if not self.random_biases:
            gates = {k for row in CELLS.values() for k in row.gates}
            biases = dict.fromkeys([*gates, "readout"], (0.0,)) | biases
        params = init_params(shape, rng, scale=scale, biases=biases)
        for name, bound in self.scales.items():
            for tensor in named(shape, name):
                for array in arrays_of(shape, params, tensor):
                    array[...] = rng.uniform(-bound, bound, array.shape)
        return pack(
            quantize(shape, params, x_exp=free_exp(task.largest), h_exp=self.h_exp)
        )

    def raw_factors(self, shape: Shape) -> list[tuple[int, int, str, int]]:
        """(layer, gate, part, factor q16) of each factor, as Trainer.rate takes them.

        ValueError for a tensor that the shape does not have.
        """
        return [
            (t.layer, t.gate, t.part, _raw(name, factor, 16))
            for name, factor in self.factors.items()
            for t in named(shape, name)
        ]


def _net(name: str) -> Any:
    if name not in NETS:
        raise ValueError(f"unknown net {name!r}; known: {', '.join(NETS)}")
    return NETS[name]


def _raw(what: str, value: float, exp: int) -> int:
    """round(value * 2^exp).

    ValueError if it is not finite or not below 2^31, or if it is 0 but value is not.
    """
    if not 0.0 <= value * 2.0**exp < 2**31 - 1:
        raise ValueError(
            f"{what} is from 0 to below {2.0 ** (31 - exp):g}, not {value}"
        )
    raw = int(np.floor(value * 2.0**exp + 0.5))
    if value and not raw:
        raise ValueError(f"{what} {value} rounds to 0; the least is {2.0**-exp:g}")
    return raw


_LSTM = IntRecipe(
    rate=1.0,
    cell="lstm",
    hidden=8,
    method="tbptt",
    biases={"f": (1.0,)},
)
_LAG = IntRecipe(
    rate=0.2,
    net="long-lag-2",
    loss="mse",
    k1=1,
    clip=0.0,
    factors={"readout.x": 10.0, "readout.b": 0.0},
    limit=30_000,
)
# Beyond a lag of a few hundred any learning of the input gates fails: their gradient
# is a sum over all steps.
_LONG_LAG = IntRecipe(
    rate=0.5,
    net="long-lag-2-softmax",
    k1=1,
    clip=0.0,
    scales={"layer1.g.x": 0.005, "readout.h": 0.2, "readout.x": 0.0},
    factors={"readout.h": 0.2, "layer1.g": 0.006, "layer1.i": 0.0},
    h_exp=9,  # c drifts beyond +-32 with some seeds
    limit=30_000,
)

# Of measured data, found with --validate 1, so without the test sets.
_MEASURED = replace(_LSTM, rate=0.5, clip=1.0, limit=20_000, every=250)

RECIPES: dict[str, IntRecipe] = {
    "reber": replace(_LSTM, hidden=6),
    "embedded-reber": IntRecipe(rate=1.0, net="feedback-8"),
    # The whole gradient: by the truncated one of 1997 some trainings fail.
    "reber-276": IntRecipe(
        rate=0.5, net="hs97-3x2-softmax", method="tbptt", h_exp=9, limit=100_000
    ),
    # A stream is long: windows overlap, and the clip is wide, so that steps grow
    # smaller as errors do.
    "continual-reber": replace(
        _LSTM, hidden=16, rate=0.03, clip=10.0, k1=20, k2=60, limit=5_000
    ),
    "continual-reber-g00": IntRecipe(rate=0.5, net="g00-4x2", k1=1, limit=5_000),
    "long-lag": _LAG,
    "long-lag-1000": _LONG_LAG,
    "long-lag-noise": replace(
        _LAG, loss="cross-entropy", clip=1.0, rate=0.2, factors={}
    ),
    "long-lag-distractors": IntRecipe(rate=0.1, net="distractors", limit=100_000),
    "temporal-order": IntRecipe(
        rate=0.3,
        cell="lstm",
        hidden=16,
        method="tbptt",
        scale=1.0,
        biases={"i": (-4.0,), "f": (6.0,)},
        random_biases=False,
        limit=50_000,
    ),
    "temporal-order-97": IntRecipe(rate=0.1, net="temporal-order-2x2", limit=100_000),
    "adding": IntRecipe(
        rate=1.0,
        clip=0.3,
        cell="lstm",
        hidden=8,
        output="linear",
        method="tbptt",
        loss="mse",
        scale=0.5,
        biases={"i": (-3.0,), "f": (5.0,)},
        random_biases=False,
        limit=200_000,
    ),
    "japanese-vowels": replace(_MEASURED, hidden=16),
    "basic-motions": _MEASURED,
    "daphnet": _MEASURED,
    "chorales": replace(_MEASURED, hidden=16, output="logistic"),
    "adding-97": IntRecipe(rate=0.5, net="adding", loss="mse", limit=200_000),
}
"""By task, and by a name of its own where a task has another one (``--net``)."""


def recipe_for(task: IntTask) -> IntRecipe:
    """The default recipe of a task with its options.  ValueError if it has none."""
    if task.name == "long-lag" and task.steps > 300:
        return _LONG_LAG
    if task.name not in RECIPES:
        raise ValueError(f"task {task.name} has no default settings; state them all")
    return RECIPES[task.name]
