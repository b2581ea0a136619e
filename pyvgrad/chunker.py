"""The neural sequence chunker of two nets (Schmidhuber 1992).

The automatizer A predicts the next symbol.  What it does not foresee goes to the
chunker C, with the time at which it came; C predicts the next symbol of that kind, and
so sees a sequence that is shorter the more A has learnt.  A has one more output that
learns C's state: to give it, A's own hidden unit must carry what C remembers, and then
A can use it, too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pyvgrad import rtrl
from pyvgrad.cells import Array, Layer, Readout, Shape
from pyvgrad.float_maps import Lessons, Maps, Moving, forward, where
from pyvgrad.learning import Learn
from pyvgrad.methods import ONLINE
from pyvgrad.model import outputs
from pyvgrad.trials import Method, Steps

UNFORESEEN = 0.2  # the least error of a symbol that goes to the chunker


class Weights(NamedTuple):
    """Those of A and of C; the rates alike."""

    a: Any
    c: Any


class Live(NamedTuple):
    """What goes on from step to step.

    ``event`` is the last symbol that was not foreseen, ``time`` when it came and
    ``now`` the steps so far, as shares of the longest time; ``c`` is what was live in
    C before it.
    """

    a: rtrl.Live
    c: rtrl.Live
    event: Array
    time: Array
    now: Array


def automatizer(symbols: int) -> Shape:
    """One recurrent unit; outputs for each symbol and one for the chunker's state."""
    layer = Layer("rnn_sigmoid", symbols, 1, cell_biases=False)
    return Shape((layer,), Readout(1, symbols + 1, "logistic", symbols, biases=False))


def chunker(symbols: int) -> Shape:
    """One recurrent unit, which reads a symbol and a time, and outputs that read it.

    Outputs that read the symbol itself would leave the state without a purpose.
    """
    layer = Layer("rnn_sigmoid", symbols + 1, 1)
    return Shape((layer,), Readout(1, symbols, "logistic"))


def read_event(live: Live, symbols: int) -> Array:
    """C's input: the symbol, one of which is 1, and its time, (symbols + 1,)."""
    one = jax.nn.one_hot(live.event, symbols)
    return jnp.concatenate([one, live.time[None]])


def method(symbols: int, steps: int) -> Method:
    """Both nets learn by RTRL; sequences have ``steps`` steps; y is A's, of symbols."""
    a_shape, c_shape = automatizer(symbols), chunker(symbols)

    def start(weights: Weights) -> Live:
        zero = jnp.zeros((), jnp.float32)
        return Live(
            rtrl.start(a_shape, weights.a.maps),
            rtrl.start(c_shape, weights.c.maps),
            jnp.full((), -1, jnp.int32),
            zero,
            zero,
        )

    def play(rates: Weights, weights: Weights, live: Live, now: Steps) -> Any:
        """C's state after the event is a target of A; then A's surprise one of C."""
        live = live._replace(event=jnp.where(live.event < 0, now.x, live.event))
        seen = read_event(live, symbols)
        states, _, _ = forward(c_shape, weights.c.maps, live.c.states, seen)
        goal = jax.nn.one_hot(now.target, symbols)
        both = jnp.concatenate([goal, states[0]["h"]])
        lesson = now.lessons._replace(target=both)
        a, a_live, logits = rtrl.step(
            a_shape, ONLINE, rates.a, weights.a, live.a, lesson
        )
        y = outputs(a_shape.readout, logits, jnp)[:symbols]
        surprise = jnp.max(jnp.abs(y - goal)) >= UNFORESEEN
        c, c_live = learn_event(
            c_shape, ONLINE, rates.c, weights.c, live.c, seen, now.target, surprise
        )
        later = live.now + 1.0 / steps
        return (
            Weights(a, c),
            Live(
                a_live,
                c_live,
                jnp.where(surprise, now.target, live.event),
                jnp.where(surprise, later, live.time),
                later,
            ),
            y,
        )

    return Method(start, play)


def learn_event(
    shape: Shape,
    learn: Learn,
    rates: Maps,
    moving: Moving,
    live: rtrl.Live,
    seen: Array,
    target: Array,
    happens: Array,
) -> tuple[Moving, rtrl.Live]:
    """C's step from one event to the next, ``target``; nothing if none ``happens``."""
    lesson = Lessons(seen, target, happens, happens)
    after, then, _ = rtrl.step(shape, learn, rates, moving, live, lesson)
    return where(happens, after, moving), where(happens, then, live)
