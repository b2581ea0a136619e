"""The methods of the papers for one trial, as trials.py runs them.

Weights are Moving (float_maps.py); the error of an output is that of the squared error
through the logistic function, and weights change after every step (BPTT: after every
sequence).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pyvgrad import float_traces, rtrl
from pyvgrad.cells import Array, Shape
from pyvgrad.float_maps import (
    Maps,
    Moving,
    chosen,
    forward,
    maps_of,
    rates_of,
    starting_states,
    update,
)
from pyvgrad.float_tape import run, segment_gradient
from pyvgrad.grad import step_loss
from pyvgrad.learning import Learn
from pyvgrad.model import outputs
from pyvgrad.params import init_params
from pyvgrad.trials import Method, Steps

ONLINE = Learn("rtrl97", loss="mse", k1=1)


def weights_of(
    shape: Shape, seed: int, scale: float, biases: Any | None = None
) -> Moving:
    """Random weights of a trial, float32, uniform in +-scale."""
    rng = np.random.default_rng([seed, 0])
    params = init_params(shape, rng, scale=scale, biases=biases)
    maps = jax.tree.map(lambda a: np.asarray(a, np.float32), maps_of(shape, params))
    return Moving(maps, maps)  # plain descent remembers nothing: no memory of its own


def rates(shape: Shape, rate: float) -> Maps:
    """The rate of every row, 0 where there is nothing to learn."""
    ones = rates_of(shape, Learn("rtrl97", k1=1, rate_q24=1 << 24), {})
    return [{k: np.asarray(rate * v, np.float32) for k, v in m.items()} for m in ones]


@lru_cache(maxsize=16)
def exact(shape: Shape, visible: int | None = None) -> Method:
    """RTRL; without a readout the first ``visible`` units are the outputs."""

    def play(rates: Maps, moving: Moving, live: Any, now: Steps) -> Any:
        moving, live, logits = rtrl.step(
            shape, ONLINE, rates, moving, live, now.lessons, visible
        )
        return moving, live, outputs(shape.readout, logits, jnp)[:visible]

    return Method(lambda moving: rtrl.start(shape, moving.maps), play)


@lru_cache(maxsize=16)
def elman(shape: Shape) -> Method:
    """The gradient of one step, to which the state before it is a constant input."""

    def play(rates: Maps, moving: Moving, states: Any, now: Steps) -> Any:
        goal = jax.nn.one_hot(now.target, shape.n_out)

        def loss(maps: Maps) -> tuple[Array, Any]:
            after, _, logits = forward(shape, maps, states, now.x)
            error = step_loss(shape, ONLINE.loss, logits, goal)
            return jnp.where(now.known, error, 0.0), (after, logits)

        g, (states, logits) = jax.grad(loss, has_aux=True)(moving.maps)
        moving = update(ONLINE, rates, moving, g)
        return moving, states, outputs(shape.readout, logits, jnp)

    return Method(lambda moving: starting_states(shape, moving.maps), play)


@lru_cache(maxsize=16)
def lstm97(shape: Shape, *, at_end: bool = False) -> Method:
    """The truncated RTRL of 1997; ``at_end``: weights change after sequences only."""
    learn = replace(ONLINE, k1=0) if at_end else ONLINE

    def play(rates: Maps, moving: Moving, live: Any, now: Steps) -> Any:
        lessons = now.lessons
        _, _, logits = forward(shape, moving.maps, live.states, lessons.x)
        moving, live = float_traces.step(shape, learn, rates, moving, live, lessons)
        if at_end:
            after = float_traces.sequence_end(learn, rates, moving, live)
            moving = chosen(now.last, after, moving)
        return moving, live, outputs(shape.readout, logits, jnp)

    return Method(lambda moving: float_traces.start(shape, moving.maps), play)


@lru_cache(maxsize=16)
def bptt(shape: Shape, steps: int) -> Method:
    """BPTT over sequences of ``steps`` steps."""
    learn = Learn("tbptt", loss="mse", k2=steps)

    def play(rates: Maps, moving: Moving, _: Any, now: Steps) -> Any:
        lesson = now.lessons
        states = starting_states(shape, moving.maps)
        _, made = run(shape, moving.maps, states, lesson)
        records, _, logits = made
        empty = jax.tree.map(lambda a: a[:0], records), jnp.zeros(0, bool)
        g, _ = segment_gradient(shape, learn, moving.maps, empty, lesson, made)
        y: Array = outputs(shape.readout, logits, jnp)
        return update(learn, rates, moving, g), (), y

    return Method(lambda _: (), play, steps)
