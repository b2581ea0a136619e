"""The chunker of two nets: what goes to C, what A is told, who learns when."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from pyvgrad import chunker
from pyvgrad.chunker import Weights
from pyvgrad.float_maps import maps_of, params_of
from pyvgrad.methods import rates, weights_of
from pyvgrad.model import forward, init_params
from pyvgrad.trials import Steps

N, LAG = 4, 5
A, C = chunker.automatizer(N), chunker.chunker(N)
STRING = np.array([0, 2, 3, 1, 2, 0])


def start(seed=0):
    return Weights(weights_of(A, seed, 0.5), weights_of(C, seed + 1, 0.5))


def play(weights, rate_a=0.0, rate_c=0.0, string=STRING):
    """The weights, what is live, and A's outputs, after each step of a string."""
    method = chunker.method(N, LAG)
    both = Weights(rates(A, rate_a), rates(C, rate_c))
    run, live, every = jax.jit(method.play), method.start(weights), []
    for k in range(len(string) - 1):
        last = np.bool_(k == len(string) - 2)
        now = Steps(string[k], string[k + 1], np.True_, np.bool_(k == 0), last)
        weights, live, y = run(both, weights, live, now)
        every.append((weights, live, np.asarray(y)))
    return every


def test_the_automatizer_has_the_printed_number_of_weights():
    assert chunker.automatizer(101).n_weights == 10_506


def foreseeing(weights, symbols):
    """A that predicts these symbols, whatever it reads."""
    params = params_of(A, weights.a.maps)
    V = np.full((N + 1, N), -20.0)
    for x, nxt in symbols.items():
        V[nxt, x] = 20.0
    params["readout"] |= {"V": V, "W": np.zeros((N + 1, 1))}
    maps = jax.tree.map(lambda a: a.astype(np.float32), maps_of(A, params))
    return weights._replace(a=weights.a._replace(maps=maps))


def test_only_what_is_not_foreseen_is_an_event():
    """2 after 0 and 1 after 3 are foreseen; 3, 2 and the last 0 are not."""
    weights = foreseeing(start(), {0: 2, 3: 1})
    events = [
        (int(live.event), round(float(live.time) * LAG)) for _, live, _ in play(weights)
    ]
    assert events == [(0, 0), (3, 2), (3, 2), (2, 4), (0, 5)]


def test_the_chunker_learns_at_events_only():
    weights = foreseeing(start(), {0: 2, 3: 1})
    before, moved = weights.c, []
    for after, _, _ in play(weights, rate_c=1.0):
        same = jax.tree.map(np.array_equal, before.maps, after.c.maps)
        moved.append(not all(jax.tree.leaves(same)))
        before = after.c
    assert moved == [False, True, False, True, True]


def c_states(weights, events):
    """C's unit after each event, by the NumPy model."""
    x = np.array([[*np.eye(N)[s], t / LAG] for s, t in events])
    return forward(C, params_of(C, weights.c.maps), x).layers[0]["h"][:, 0]


def test_the_chunker_goes_from_event_to_event():
    """Its error is that of its prediction of the next event, from the one before.

    With the weights held, the change of its output biases at an event is that error.
    """
    weights = foreseeing(start(), {0: 2, 3: 1})
    events = [(0, 0), (3, 2), (2, 4), (0, 5)]
    params = params_of(C, weights.c.maps)
    x = np.array([[*np.eye(N)[s], t / LAG] for s, t in events])
    y = forward(C, params, x).y
    small = 1e-3  # so that what was learnt before hardly counts
    every = play(weights, rate_c=small)
    b = [np.asarray(w.c.maps[1]["b"], float) for w, _, _ in [(weights, 0, 0), *every]]
    for k, (step, (symbol, _)) in enumerate(zip((1, 3, 4), events[1:], strict=True)):
        error = (y[k] - np.eye(N)[symbol]) * y[k] * (1 - y[k])
        np.testing.assert_allclose(
            (b[step] - b[step + 1]) / small, error, rtol=0.02, atol=1e-3
        )


@pytest.mark.parametrize("step", [0, 2])
def test_the_automatizer_is_told_the_chunkers_state(step):
    """Its last output's error is y - h of C, and the others' that of the next symbol.

    All symbols are events here, since A knows nothing yet.
    """
    weights = start()
    events = [(int(s), t) for t, s in enumerate(STRING)]
    h = c_states(weights, events)
    params = params_of(A, weights.a.maps)
    run = forward(A, params, np.eye(N)[STRING[:-1]])
    y, hidden = run.y[step], run.layers[0]["h"][step, 0]
    goal = np.append(np.eye(N)[STRING[step + 1]], h[step])
    error = (y - goal) * y * (1 - y)
    every = play(weights, rate_a=1e-3)
    before = every[step - 1][0] if step else weights
    change = np.asarray(before.a.maps[1]["h"] - every[step][0].a.maps[1]["h"])[0]
    np.testing.assert_allclose(change / 1e-3, error * hidden, rtol=0.02, atol=2e-4)
    live = every[step][1]
    assert int(live.event) == STRING[step + 1]


def test_the_chunkers_state_needs_the_chunkers_weights():
    params = init_params(C, np.random.default_rng(0), scale=0.5)
    assert "V" not in params["readout"]  # outputs do not read the symbol itself
