"""Error flow: products of Jacobians against paths, differences, bounds and gates."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest
from test_model import SHAPES

from pyvgrad import flow_bounds
from pyvgrad.flow import (
    argument_names,
    carried,
    error_flow,
    factors,
    jacobians,
    state_flow,
    state_names,
)
from pyvgrad.model import forward, fuse, init_params, initial_state, step
from pyvgrad.nets import stack

STEPWISE = [k for k, shape in SHAPES.items() if not shape.whole]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def example(shape, seed=0, steps=5, scale=0.9):
    rng = np.random.default_rng(seed)
    return init_params(shape, rng, scale=scale), rng.normal(size=(steps, shape.n_in))


def s(z):
    return 1.0 / (1.0 + np.exp(-z))


# ---- the sum over all paths ----------------------------------------------


def elman_paths(f, slope, params, x, q, u, v):
    """Hochreiter 1998, eq. (2): n^(q-1) products, from the formula alone."""
    (p,) = params["layers"]
    W, V, b = p["U"]["a"], p["W"]["a"], p["b"]["a"]
    n, y, nets = len(W), np.zeros(len(W)), []
    for now in x:
        nets.append(W @ y + V @ now + b)
        y = f(nets[-1])
    last = len(nets) - 1

    def over(m, above):
        """The sum over l_m .. l_(q-1), and l_q = v."""
        units = range(n) if m < q else [v]
        total = 0.0
        for unit in units:
            term = slope(nets[last - m])[unit] * W[above, unit]
            total += term * (over(m + 1, unit) if m < q else 1.0)
        return total

    return over(1, u)


ELMAN = {
    "rnn_sigmoid": (s, lambda z: s(z) * s(-z)),
    "rnn_tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "rnn_relu": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0) * 1.0),
}


@pytest.mark.parametrize("cell", ELMAN)
def test_the_factor_is_the_sum_over_all_paths(cell):
    shape = stack(cell, (2, 3, 1), output="softmax")
    params, x = example(shape, steps=6)
    params["layers"][0]["b"]["a"] += 1.0  # so that relu units are active
    found = np.asarray(error_flow(shape, params, x))
    for q in (1, 2, 3, 5):
        want = [
            [elman_paths(*ELMAN[cell], params, x, q, u, v) for v in range(3)]
            for u in range(3)
        ]
        assert np.abs(want).max() > 1e-4
        np.testing.assert_allclose(found[q - 1], want, rtol=1e-10, atol=1e-14)


def lstm_edges(p, x, n):
    """{node: [(node before it, local derivative)]}; nodes are (letter, cell, step)."""
    h, c, edges = np.zeros(n), np.zeros(n), {}
    for t, now in enumerate(x):
        a = {k: p["W"][k] @ now + p["U"][k] @ h + p["b"][k] for k in "ifog"}
        i, f, o = (s(a[k]) for k in "ifo")
        g, old = np.tanh(a["g"]), c
        c = f * c + i * g
        for j in range(n):
            for k in "ifog":
                reads = [(("h", m, t - 1), p["U"][k][j, m]) for m in range(n)]
                edges[k, j, t] = reads if t else []
            edges["c", j, t] = [
                (("i", j, t), i[j] * (1 - i[j]) * g[j]),
                (("f", j, t), f[j] * (1 - f[j]) * old[j]),
                (("g", j, t), i[j] * (1 - g[j] ** 2)),
                *([(("c", j, t - 1), f[j])] if t else []),
            ]
            edges["h", j, t] = [
                (("o", j, t), o[j] * (1 - o[j]) * np.tanh(c[j])),
                (("c", j, t), o[j] * (1 - np.tanh(c[j]) ** 2)),
            ]
        h = o * np.tanh(c)
    return edges


def gru_edges(p, x, n):
    h, edges = np.zeros(n), {}
    for t, now in enumerate(x):
        a = {k: p["b"][k] + 0.0 for k in "zrnm"}
        for k in "zrn":
            a[k] = a[k] + p["W"][k] @ now
        for k in "zrm":
            a[k] = a[k] + p["U"][k] @ h
        z, r = s(a["z"]), s(a["r"])
        new = np.tanh(a["n"] + r * a["m"])
        d = (1 - z) * (1 - new**2)
        for j in range(n):
            for k in "zrm":
                reads = [(("h", m, t - 1), p["U"][k][j, m]) for m in range(n)]
                edges[k, j, t] = reads if t else []
            edges["n", j, t] = []
            edges["h", j, t] = [
                (("z", j, t), z[j] * (1 - z[j]) * (h[j] - new[j])),
                (("n", j, t), d[j]),
                (("r", j, t), d[j] * r[j] * (1 - r[j]) * a["m"][j]),
                (("m", j, t), d[j] * r[j]),
                *([(("h", j, t - 1), z[j])] if t else []),
            ]
        h = z * h + (1 - z) * new
    return edges


def sum_over_paths(edges, start, end):
    if start == end:
        return 1.0
    if start[2] < end[2]:
        return 0.0
    return sum(d * sum_over_paths(edges, node, end) for node, d in edges[start])


@pytest.mark.parametrize(("cell", "edges"), [("lstm", lstm_edges), ("gru", gru_edges)])
def test_with_gates_it_is_the_sum_over_all_paths_too(cell, edges):
    shape = stack(cell, (2, 2, 1), output="softmax")
    params, x = example(shape, steps=4)
    found = np.asarray(error_flow(shape, params, x))
    graph = edges(params["layers"][0], x, 2)
    names = argument_names(shape)
    for q in (1, 2, 3):
        want = [
            [sum_over_paths(graph, (k, j, 3), (g, m, 3 - q)) for _, g, m in names]
            for _, k, j in names
        ]
        assert np.abs(want).max() > 1e-4
        np.testing.assert_allclose(found[q - 1], want, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", STEPWISE)
def test_every_cell_s_factors_are_differences(name):
    """An argument is moved at one step, the last step's arguments are watched."""
    shape = SHAPES[name]
    params, x = example(shape, steps=4, scale=0.5)
    found = np.asarray(error_flow(shape, params, x))
    maps = fuse(shape, params)

    def watched(q, v, move):
        state = initial_state(shape, params)
        for t, now in enumerate(x):
            added = [
                {k: np.zeros(layer.rows(k)) for k in layer.gates}
                for layer in shape.layers
            ]
            if t == len(x) - 1 - q:
                i, gate, row = argument_names(shape)[v]
                added[i][gate][row] = move
            state, _, a = step(shape, maps, state, now, added=added)
        return np.array([a[i][k][row] for i, k, row in argument_names(shape)])

    for q in (1, 3):
        for v in range(0, len(argument_names(shape)), 5):
            up, down = watched(q, v, 1e-5), watched(q, v, -1e-5)
            np.testing.assert_allclose(
                found[q - 1, :, v], (up - down) / 2e-5, atol=1e-8
            )


# ---- what is left where weights pass no error: the carousel ---------------


def test_the_carousel_of_1997_is_one():
    shape = stack("lstm97", (3, 4, 2), output="softmax", block=2)
    params, x = example(shape, steps=9)
    cells = [k for k, (_, name, _) in enumerate(state_names(shape)) if name == "c"]
    P = np.asarray(state_flow(shape, params, x, cut=True))[:, cells][:, :, cells]
    np.testing.assert_array_equal(P, np.broadcast_to(np.eye(4), (9, 4, 4)))


@pytest.mark.parametrize(
    ("cell", "state", "gate"), [("lstm", "c", "f"), ("gru", "h", "z")]
)
def test_a_gated_carousel_is_the_product_of_its_gate(cell, state, gate):
    shape = stack(cell, (3, 4, 2), output="softmax")
    params, x = example(shape, steps=7)
    held = [k for k, (_, name, _) in enumerate(state_names(shape)) if name == state]
    P = np.asarray(state_flow(shape, params, x, cut=True))[:, held][:, :, held]
    f = forward(shape, params, x).layers[0][gate]
    for q in range(1, 8):
        np.testing.assert_allclose(
            P[q - 1], np.diag(np.prod(f[-q:], axis=0)), rtol=1e-12
        )


def test_an_indrnn_carries_u_to_the_q():
    shape = stack("indrnn", (3, 4, 2), output="softmax")
    params, x = example(shape, steps=6)
    params["layers"][0]["b"]["a"] = np.full(4, 9.0)  # every unit is active
    u = params["layers"][0]["P"]["a"]
    found = np.asarray(error_flow(shape, params, x))
    for q in range(1, 6):
        np.testing.assert_allclose(found[q - 1], np.diag(u**q), atol=1e-15)


# ---- bounds --------------------------------------------------------------


def largest_and_bounds(cell, seed, scale):
    shape = stack(cell, (2, 5, 1), output="softmax")
    params, x = example(shape, seed=seed, steps=9, scale=scale)
    W = params["layers"][0]["U"]["a"]
    y = forward(shape, params, x).layers[0]["h"]
    slopes = y * (1 - y) if cell == "rnn_sigmoid" else 1 - y**2
    found = np.abs(np.asarray(error_flow(shape, params, x))).max(axis=(1, 2))
    return W, float(slopes[:-1].max()), found


@pytest.mark.parametrize("cell", ["rnn_sigmoid", "rnn_tanh"])
@pytest.mark.parametrize("scale", [0.1, 0.7, 3.0])
def test_no_factor_is_above_the_bound_of_1998(cell, scale):
    q = np.arange(1.0, 9.0)
    for seed in range(8):
        W, slope, found = largest_and_bounds(cell, seed, scale)
        assert np.all(found <= flow_bounds.bound(W, slope, q))


def test_logistic_units_decay_by_mu():
    q = np.arange(1.0, 9.0)
    n, w_max = 5, 0.7
    assert flow_bounds.mu(n, w_max) < 1.0
    for seed in range(8):
        W, _, found = largest_and_bounds("rnn_sigmoid", seed, w_max)
        assert np.abs(W).max() <= w_max
        assert np.all(found <= n * flow_bounds.mu(n, w_max) ** q)


def test_the_bound_is_reached_up_to_n_where_all_paths_agree():
    """Equal weights, units at net 0: every path has the same sign and slope."""
    n, w = 4, 0.9
    shape = stack("rnn_sigmoid", (1, n, 1), output="softmax")
    params, _ = example(shape)
    (p,) = params["layers"]
    p["U"]["a"] = np.full((n, n), w)
    p["b"]["a"] = np.full(n, -n * w / 2)  # y = 1/2 gives net 0 again
    p["W"]["a"] = np.full((n, 1), n * w / 2)
    x = np.zeros((8, 1))
    x[0] = 1.0  # y before it is 0
    found = np.asarray(error_flow(shape, params, x))
    for q in range(1, 8):
        np.testing.assert_allclose(found[q - 1], (n * w / 4) ** q / n, rtol=1e-12)


@pytest.mark.parametrize("y", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("rest", [-6.0, -1.0, 0.0, 2.0])
def test_rho_is_largest_where_1998_says(y, rest):
    w = flow_bounds.peak(y, rest)
    net = w * y + rest
    assert w == pytest.approx(1.0 / (y * np.tanh(net / 2.0)), rel=1e-9)
    grid = np.linspace(0.0, 40.0 / y, 400_001)
    best = grid[np.argmax(flow_bounds.rho(grid, y, rest))]
    assert w == pytest.approx(best, abs=2 * grid[1])
    assert flow_bounds.rho(np.array(1e4), y, rest) < 1e-9  # nor do large weights help


def test_rho_has_no_peak_without_an_activation():
    with pytest.raises(ValueError, match="y must be above 0"):
        flow_bounds.peak(0.0)


def test_a_small_gain_must_vanish_and_a_small_radius_need_not():
    """A nilpotent W whose error explodes once the second unit is saturated."""
    W = np.array([[2.0, -4.0], [1.0, -2.0]])
    assert flow_bounds.radius(W) < 1e-7
    assert not flow_bounds.must_vanish(W, flow_bounds.TANH)
    shape = stack("rnn_tanh", (1, 2, 1), output="softmax")
    params, _ = example(shape)
    (p,) = params["layers"]
    p["U"]["a"], p["W"]["a"] = W, np.zeros((2, 1))
    # The second unit stays at 1 with slope 0, the first at net 2 h - 4 + 4 = 0.
    p["b"]["a"], p["h0"] = np.array([4.0, 40.0]), np.array([0.0, 1.0])
    P = np.asarray(carried(jacobians(shape, params, np.zeros((30, 1)))))
    np.testing.assert_array_equal(P[:, 0, 0], 2.0 ** np.arange(1, 31))


def test_a_stack_s_layers_are_in_order_and_batches_are_as_alone():
    shape = SHAPES[STEPWISE[0]]
    params, _ = example(shape)
    x = np.random.default_rng(5).normal(size=(2, 3, 6, shape.n_in))
    together = np.asarray(error_flow(shape, params, x))
    alone = np.asarray(factors(jacobians(shape, params, x[1, 2])))
    np.testing.assert_allclose(together[1, 2], alone, rtol=1e-12)
    seeds = [example(shape, seed=k)[0] for k in range(3)]
    stacked = jax.tree.map(lambda *a: np.stack(a), *seeds)
    over = jax.vmap(partial(error_flow, shape))(stacked, x[0])
    for k, one in enumerate(seeds):
        np.testing.assert_allclose(over[k], error_flow(shape, one, x[0, k]), rtol=1e-11)
