"""The NumPy model of learning and the C core: the same weights, bit for bit.

Both were written from docs/numbers-learning.md, neither from the other.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel, random_signals

from pyvgrad.blob import pack
from pyvgrad.cells import CELLS, RTRL97
from pyvgrad.intlearn import IntTrainer
from pyvgrad.learning import METHODS, PARTS, READOUT_BIT, RULES, Learn
from pyvgrad.native_train import HostTrainer

UPDATES = 1000
LOSSES = {
    "linear": ["mse"],
    "none": ["mse"],
    "logistic": ["mse", "cross-entropy"],
    "softmax": ["cross-entropy"],
}
OUTPUTS = [
    ("linear", "mse"),
    ("logistic", "mse"),
    ("logistic", "cross-entropy"),
    ("softmax", "cross-entropy"),
]
# Every cell with every method and rule; outputs and losses by turns, so that each pair
# meets every method and rule.
GRID = [
    (method, rule, cell, *OUTPUTS[(turn + k) % len(OUTPUTS)])
    for method in METHODS
    for turn, rule in enumerate(RULES)
    for k, cell in enumerate(CELLS if method == "tbptt" else RTRL97)
]


class Pair:
    """Both trainers of one blob, taught the same and compared."""

    def __init__(self, blob, learn):
        self.both = [IntTrainer(blob, learn), HostTrainer(blob, learn)]

    def same(self, call):
        """The one result of ``call`` on both; both may refuse with ValueError."""
        results = [outcome(call, t) for t in self.both]
        assert results[0] == results[1]
        assert self.both[0].counters == self.both[1].counters
        return results[0]

    def teach(self, *step):
        return self.same(lambda t: t.teach(*step))

    def end(self):
        return self.same(lambda t: t.end())

    @property
    def counters(self):
        return self.both[0].counters

    def blob(self):
        """The one blob of both."""
        return self.same(lambda t: t.blob())


def outcome(call, trainer):
    try:
        return call(trainer)
    except ValueError:
        return "refused"


def random_steps(rng, model, learn, most=8):
    """x, targets and known of 1 to ``most`` steps."""
    shape = model.shape
    T = int(rng.integers(1, most + 1))
    if learn.symbols:
        x = rng.integers(0, shape.n_in, T)
    else:
        x = random_signals(rng, (T, shape.n_in))
    if shape.output == "softmax":
        target = rng.integers(0, shape.n_out, T)
    elif shape.output == "logistic":
        target = rng.integers(0, 16385, (T, shape.n_out))
    else:
        target = random_signals(rng, (T, shape.n_out))
    return x, target.astype(np.int16), rng.random(T) < 0.8


def values_near_one(rng, model, steps):
    """The same steps with inputs and linear targets of moderate size."""
    x, target, known = steps
    if x.ndim == 2:
        x = (rng.uniform(-1, 1, x.shape) * 2.0**model.x_exp).astype(np.int16)
    if model.shape.output == "linear":
        target = rng.uniform(-1, 1, target.shape) * 2.0**model.y_exp
    return x, target.astype(np.int16), known


def grid_settings(rng, method, rule, loss):
    """Settings of one place of the grid; what the grid does not name is drawn."""
    return Learn(
        method,
        rule,
        loss,
        nesterov=rule == "momentum" and bool(rng.random() < 0.5),
        symbols=bool(rng.random() < 0.25),
        k1=1,
        k2=int(rng.integers(2, 4)) if method == "tbptt" else 0,
        rate_q24=1 << int(rng.integers(14, 18) if rule != "sgd" else 19),
        decay_q14=0 if rule == "sgd" else 14746,
        clip_q16=int(rng.choice([0, 1 << 15, 1 << 17])),
        epsilon_q24=1 << 14 if rule == "rmsprop" else 0,
        seed=int(rng.choice([0, 1, 99])),
    )


def lively_model(rng, learn, **kind):
    """A random model whose layers still learn after some sequences."""
    while True:
        model = random_qmodel(
            rng,
            n_in=int(rng.integers(1, 4)),
            n_max=4,
            n_out=int(rng.integers(2, 4)),
            sections=False,
            **kind,
        )
        t = HostTrainer(pack(model), learn)
        for _ in range(400):
            t.teach(*values_near_one(rng, model, random_steps(rng, model, learn)))
            t.end()
        t.tune(dataclasses.replace(learn, frozen=1 << READOUT_BIT))
        before = t.blob()
        for _ in range(10):
            t.teach(*values_near_one(rng, model, random_steps(rng, model, learn)))
            t.end()
        if t.blob() != before:
            return model


@pytest.mark.parametrize(("method", "rule", "cell", "output", "loss"), GRID)
def test_a_thousand_updates_leave_the_same_bits(method, rule, cell, output, loss):
    place = GRID.index((method, rule, cell, output, loss))
    rng = np.random.default_rng(place)
    learn = grid_settings(rng, method, rule, loss)
    layers = 2 if method == "tbptt" and place % 5 == 0 else 1
    model = lively_model(rng, learn, cell=cell, n_layers=layers, output=output)
    pair = Pair(pack(model), learn)
    moved, blob = 0, pair.blob()
    while pair.counters.updates < UPDATES:
        for _ in range(20):
            steps = random_steps(rng, model, learn)
            pair.teach(*values_near_one(rng, model, steps))
            pair.end()
        before, blob = blob, pair.blob()
        moved += blob != before
    assert moved >= 10


# ---- beyond the grid -----------------------------------------------------


def random_learn(rng, model, loss, method=None):
    """Any admitted settings."""
    method = str(rng.choice(METHODS)) if method is None else method
    rule = str(rng.choice(RULES))
    k2 = int(rng.integers(1, 7)) if method == "tbptt" else 0
    return Learn(
        method,
        rule,
        loss,
        nesterov=bool(rule == "momentum" and rng.random() < 0.5),
        symbols=bool(rng.random() < 0.3),
        k1=int(rng.integers(0, (k2 if method == "tbptt" else 1) + 1)),
        k2=k2,
        **random_tuning(rng, rule, model),
    )


def random_tuning(rng, rule, model):
    """What ``tune`` may change, over its whole range."""

    def up_to_31_bits():
        return int(rng.integers(1, 2 ** int(rng.integers(1, 32))))

    bits = [1 << k for k in range(len(model.layers))]
    bits += [1 << 31] * (model.readout is not None)
    masked = rng.random(len(bits)) < rng.choice([0.0, 0.0, 0.5])
    return {
        "frozen": sum(b for b, m in zip(bits, masked, strict=True) if m),
        "rate_q24": up_to_31_bits(),
        "decay_q14": 0 if rule == "sgd" else int(rng.integers(0, 1 << 14)),
        "clip_q16": up_to_31_bits() if rng.random() < 0.6 else 0,
        "epsilon_q24": up_to_31_bits() if rule == "rmsprop" else 0,
        "seed": int(rng.integers(0, 2**32)) if rng.random() < 0.5 else 0,
    }


def random_act(rng, pair, model):
    """One thing that a user may do, at any time."""
    now = pair.both[0].learn
    act = rng.choice(["teach", "teach", "teach", "end", "rate", "tune"])
    if act == "teach":
        steps = random_steps(rng, model, now)
        if rng.random() < 0.5:
            steps = values_near_one(rng, model, steps)
        assert pair.teach(*steps) != "refused"
    elif act == "end":
        pair.end()
    elif act == "rate":
        where = int(rng.integers(0, len(model.layers) + 1)), int(rng.integers(0, 4))
        factor = int(rng.choice([0, 1, 65536, 2**31 - 1, rng.integers(0, 2**31)]))
        part = str(rng.choice(PARTS))
        pair.same(lambda t: t.rate(*where, part, factor))
    else:
        learn = dataclasses.replace(now, **random_tuning(rng, now.rule, model))
        pair.same(lambda t: t.tune(learn))
        assert pair.both[0].learn == pair.both[1].learn == learn


def assert_agree(model, rng, method, acts):
    loss = str(rng.choice(LOSSES[model.shape.output]))
    pair = Pair(pack(model), random_learn(rng, model, loss, method))
    pair.blob()
    for _ in range(acts):
        random_act(rng, pair, model)
    pair.end()
    pair.blob()


@given(qmodels(), st.integers(0, 2**32), st.booleans())
@settings(max_examples=150, deadline=None)
def test_tbptt_of_any_model_leaves_the_same_bits(model, seed, long):
    assert_agree(model, np.random.default_rng(seed), "tbptt", 30 if long else 8)


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=150, deadline=None)
def test_rtrl97_of_any_cell_leaves_the_same_bits(seed, long):
    rng = np.random.default_rng(seed)
    cell = str(rng.choice(["lstm97", *RTRL97]))
    model = random_qmodel(rng, cell=cell, n_layers=1)
    assert_agree(model, rng, "rtrl97", 30 if long else 8)


@given(qmodels(extreme=True), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_models_at_their_limits_leave_the_same_bits(model, seed):
    assert_agree(model, np.random.default_rng(seed), "tbptt", 10)


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_what_one_refuses_the_other_refuses(seed):
    """Settings that do not fit the model, and targets and symbols out of range."""
    rng = np.random.default_rng(seed)
    model = random_qmodel(rng)
    learn = random_learn(rng, model, str(rng.choice(["mse", "cross-entropy"])))
    blob = pack(model)
    made = [
        outcome(lambda _, k=k: k(blob, learn), None) for k in (IntTrainer, HostTrainer)
    ]
    assert (made[0] == "refused") == (made[1] == "refused")
    if made[0] == "refused":
        return
    pair = Pair(blob, learn)
    x, target, known = random_steps(rng, model, learn)
    known[-1] = rng.random() < 0.5
    target[-1] = rng.choice([-1, 16385, model.shape.n_out])
    if learn.symbols and rng.random() < 0.5:
        x[0] = model.shape.n_in
    before = pair.blob()
    if pair.teach(x, target, known) == "refused":
        assert pair.counters.steps == 0
        assert pair.blob() == before
