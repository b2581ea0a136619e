"""Omega against its formula in NumPy, its gradient against differences; its errors."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from test_grad import example

from pyvgrad import grad
from pyvgrad.model import forward
from pyvgrad.nets import stack
from pyvgrad.omega import BOUND, flow, omega, value_and_grad
from pyvgrad.optim import clip_norm, norm

CELLS = {
    "rnn_tanh": lambda a: 1.0 - np.tanh(a) ** 2,
    "rnn_sigmoid": lambda a: np.exp(-a) / (1.0 + np.exp(-a)) ** 2,
    "rnn_relu": lambda a: (a > 0.0).astype(float),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def net(cell="rnn_tanh", **more):
    return stack(cell, (3, 4, 2), output="softmax", **more)


def errors_by_hand(shape, params, x, y, mask):
    """BPTT of one sequence written out: d_t and f'(a_t), (T, n), of x (T, n_in).

    The loss is the cross-entropy of the steps in ``mask``.
    """
    p, readout = params["layers"][0], params["readout"]
    ran = forward(shape, params, x[np.newaxis])
    h, out = ran.layers[0]["h"][0], ran.y[0]
    before = np.vstack([np.zeros(h.shape[1]), h[:-1]])
    a = x @ p["W"]["a"].T + before @ p["U"]["a"].T + p["b"]["a"]
    slopes = CELLS[shape.layers[0].cell](a)
    d, carried = np.zeros_like(h), np.zeros(h.shape[1])
    for t in reversed(range(len(x))):
        d[t] = mask[t] * ((out[t] - y[t]) @ readout["W"]) + carried
        carried = (d[t] * slopes[t]) @ p["U"]["a"]
    return d, slopes


def omega_by_hand(U, errors, slopes):
    """The formula with loops: d of sequences and steps (N, T, n), U anything."""
    found = []
    for d_of, s_of in zip(errors, slopes, strict=True):
        for d, s in zip(d_of, s_of, strict=True):
            if np.linalg.norm(d) >= BOUND:
                J = np.diag(s) @ U
                found.append((np.linalg.norm(d @ J) / np.linalg.norm(d) - 1.0) ** 2)
    return np.mean(found)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("start", [False, True])
def test_flow_is_the_gradient_of_grad(cell, start):
    """Of every array, the first state included; float64, so to rounding."""
    shape = net(cell)
    params, *batch = example(shape)
    if start:
        h0 = np.random.default_rng(1).normal(size=4)
        params["layers"][0]["h0"] = h0
    expected = jax.jit(grad.value_and_grad(shape, "cross-entropy"))(params, *batch)
    found = jax.jit(flow(shape, "cross-entropy"))(params, *batch)
    jax.tree.map(
        lambda p, q: np.testing.assert_allclose(p, q, atol=1e-13),
        (found.loss, found.g),
        expected,
    )


@pytest.mark.parametrize("cell", CELLS)
def test_errors_are_those_of_bptt_written_out(cell):
    shape = net(cell)
    params, x, y, mask = example(shape, batch=3, steps=6)
    found = jax.jit(flow(shape, "cross-entropy"))(params, x, y, mask)
    for n in range(3):
        d, slopes = errors_by_hand(shape, params, x[n], y[n], mask[n])
        np.testing.assert_allclose(found.errors[:, n], d / 3, atol=1e-14)
        np.testing.assert_allclose(found.arrived[:, n], d * slopes / 3, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_omega_is_the_formula_and_its_gradient_moves_u_alone(cell):
    """The immediate derivative: differences of U with d and f' held.

    Central differences with 1e-6 err by about 1e-9 of values around 1.
    """
    shape = net(cell)
    params, x, y, mask = example(shape, batch=3, steps=6)
    U = params["layers"][0]["U"]["a"]
    by_hand = [
        errors_by_hand(shape, params, *one) for one in zip(x, y, mask, strict=True)
    ]
    held = [np.array(v) for v in zip(*by_hand, strict=True)]
    made = jax.jit(flow(shape, "cross-entropy"))(params, x, y, mask)
    assert float(omega(U, made.errors, made.arrived)) == pytest.approx(
        omega_by_hand(U, *held), rel=1e-12
    )
    weight = 4.0
    plain, with_omega = (
        jax.jit(f)(params, x, y, mask)
        for f in (
            grad.value_and_grad(shape, "cross-entropy"),
            value_and_grad(shape, "cross-entropy", weight),
        )
    )
    own = with_omega[1]["layers"][0]["U"]["a"] - plain[1]["layers"][0]["U"]["a"]
    step = 1e-6
    for index in np.ndindex(U.shape):
        moved = np.zeros_like(U)
        moved[index] = step
        up, down = (omega_by_hand(U + s * moved, *held) for s in (1.0, -1.0))
        assert float(own[index]) == pytest.approx(
            weight * (up - down) / (2 * step), abs=1e-7
        )
    with_omega[1]["layers"][0]["U"] = plain[1]["layers"][0]["U"]
    assert float(with_omega[0]) == pytest.approx(float(plain[0]))
    jax.tree.map(
        lambda p, q: np.testing.assert_allclose(p, q, atol=1e-13),
        with_omega[1],
        plain[1],
    )


def test_the_whole_derivative_is_another():
    """What the immediate form leaves out is there: h, f' and d move with U, too."""
    shape = net()
    params, x, y, mask = example(shape)

    def whole(U):
        layer = params["layers"][0] | {"U": {"a": U}}
        made = flow(shape, "cross-entropy")(params | {"layers": [layer]}, x, y, mask)
        return omega(U, made.errors, made.arrived)

    U = params["layers"][0]["U"]["a"]
    made = jax.jit(flow(shape, "cross-entropy"))(params, x, y, mask)
    immediate = jax.jit(jax.grad(omega))(U, made.errors, made.arrived)
    assert np.abs(jax.jit(jax.grad(whole))(U) - immediate).max() > 1e-3


def test_an_orthogonal_linear_net_has_no_omega():
    """U a rotation and f' = 1: every error keeps its norm."""
    U = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    d = np.random.default_rng(1).normal(size=(5, 3, 4))
    assert float(omega(U, d, d)) == pytest.approx(0.0, abs=1e-28)
    assert float(omega(3.0 * U, d, d)) == pytest.approx(4.0)


def test_short_errors_are_left_out_and_no_error_has_no_slope():
    """Steps behind the last target have no error and count nothing."""
    shape = net("rnn_relu")
    params, x, y, mask = example(shape, steps=6)
    mask[:, 3:] = False
    f = jax.jit(value_and_grad(shape, "cross-entropy", 4.0))
    short, long = (f(params, x[:, :t], y[:, :t], mask[:, :t]) for t in (3, 6))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-13), short, long)
    U = params["layers"][0]["U"]["a"]
    nothing = np.full((2, 4), 0.4 * BOUND)
    assert float(omega(U, nothing, nothing)) == 0.0
    dead = np.ones((2, 4)), np.zeros((2, 4))  # of relu: no error arrives
    assert float(omega(U, *dead)) == pytest.approx(1.0)
    for pair in ((nothing, nothing), dead):
        assert np.isfinite(jax.jit(jax.grad(omega))(U, *pair)).all()


@pytest.mark.parametrize("theta", [0.01, 0.5, 3.0])
def test_clipping_is_of_the_sum_and_to_theta(theta):
    """The error's gradient and Omega's together, whatever the threshold."""
    shape = net()
    params, *batch = example(shape)
    _, g = jax.jit(value_and_grad(shape, "cross-entropy", 100.0))(params, *batch)
    long = float(norm(g))
    assert long > 3.0
    clipped = clip_norm(g, theta)
    jax.tree.map(
        lambda p, q: np.testing.assert_allclose(p, q * theta / long, rtol=1e-12),
        clipped,
        g,
    )


@pytest.mark.parametrize(
    "shape",
    [
        net("lstm"),
        net("indrnn"),
        net(layers=2),
        net(bidirectional=True),
        replace(net(), layers=(replace(net().layers[0], direction="reverse"),)),
        replace(net(), readout=None),
    ],
    ids=["lstm", "indrnn", "two layers", "two directions", "reversed", "bare"],
)
def test_omega_is_of_one_plain_layer(shape):
    with pytest.raises(ValueError, match="Omega is of"):
        flow(shape, "mse")
