"""How an error flows back through time: products of Jacobians, by JAX.

An error at a gate's argument (net input) u of step t arrives at argument v, q steps
before, scaled by

    d net_u(t) / d net_v(t-q) = A(t) S(t-1) ... S(t-q+1) B(t-q)

    A = d a(t) / d s(t-1),  S = d s(t) / d s(t-1),  B = d s(t) / d a(t)

with a all arguments and s all states.  For tanh and logistic units B = F' and A = W,
and this is equation (3) of Hochreiter 1998; its sum over all paths is his (2).

Factors over many steps leave float32's range; call these within jax.enable_x64.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pyvgrad.cells import Array, Shape
from pyvgrad.model import Params, fuse, initial_state, step
from pyvgrad.params import state_sizes


class Jacobians(NamedTuple):
    """Of every step of a sequence, for m arguments and k states."""

    arguments: Array  # (T, m, k): d a(t) / d s(t-1)
    states: Array  # (T, k, k): d s(t) / d s(t-1)
    inward: Array  # (T, k, m): d s(t) / d a(t)


def argument_names(shape: Shape) -> list[tuple[int, str, int]]:
    """(layer, gate, row) of every argument, in the order of the matrices."""
    return [
        (i, gate, row)
        for i, layer in enumerate(shape.layers)
        for gate in sorted(layer.gates)
        for row in range(layer.rows(gate))
    ]


def state_names(shape: Shape) -> list[tuple[int, str, int]]:
    """(layer, c or h or a gate that feeds back, row) of every state, likewise."""
    return [
        (i, name, row)
        for i, layer in enumerate(shape.layers)
        for name, n in sorted(state_sizes(layer).items())
        for row in range(n)
    ]


def jacobians(shape: Shape, params: Params, x: Array, cut: bool = False) -> Jacobians:
    """Those of a run over x (T, n_in) from the model's initial state.

    With ``cut`` what weights read of a state passes no error (the truncation of 1997):
    what is left of S is the carousel, c's own way back to c.  ValueError for a model
    with a reversed layer.
    """
    maps = fuse(shape, params, jnp)
    seen = jax.lax.stop_gradient if cut else _same
    start, as_state = ravel_pytree(initial_state(shape, params, (), jnp))
    dtype = start.dtype
    nothing = [
        {k: jnp.zeros(layer.rows(k), dtype) for k in layer.gates}
        for layer in shape.layers
    ]
    zero, as_added = ravel_pytree(nothing)

    def both(s: Array, d: Array, now: Array) -> tuple[Array, Array]:
        state, _, a = step(shape, maps, as_state(s), now, jnp, seen, as_added(d))
        return ravel_pytree(state)[0], ravel_pytree(a)[0]

    def body(s: Array, now: Array) -> tuple[Array, Jacobians]:
        (S, B), (A, _) = jax.jacfwd(both, argnums=(0, 1))(s, zero, now)
        return both(s, zero, now)[0], Jacobians(A, S, B)

    found: tuple[Array, Jacobians] = jax.lax.scan(body, start, jnp.asarray(x, dtype))
    return found[1]


def _same(v: Array) -> Array:
    return v


def factors(j: Jacobians) -> Array:
    """(T - 1, m, m): [q - 1, u, v] is how the last step's error at u arrives at v."""

    def back(E: Array, one: tuple[Array, Array]) -> tuple[Array, Array]:
        S, B = one
        return E @ S, E @ B

    return jax.lax.scan(
        back, j.arguments[-1], (j.states[:-1], j.inward[:-1]), reverse=True
    )[1][::-1]


def carried(j: Jacobians) -> Array:
    """(T, k, k): d s(t) / d s(t-q) of the last step t, q = 1 .. T."""

    def back(P: Array, S: Array) -> tuple[Array, Array]:
        return P @ S, P @ S

    eye = jnp.eye(j.states.shape[-1], dtype=j.states.dtype)
    return jax.lax.scan(back, eye, j.states, reverse=True)[1][::-1]


@partial(jax.jit, static_argnames="shape")
def error_flow(shape: Shape, params: Params, x: Array) -> Array:
    """Every scaling factor (..., T - 1, m, m) of x (..., T, n_in), last step first."""

    def one(x: Array) -> Array:
        return factors(jacobians(shape, params, x))

    return _over(one, x)


@partial(jax.jit, static_argnames=("shape", "cut"))
def state_flow(shape: Shape, params: Params, x: Array, cut: bool = False) -> Array:
    """The same between states, (..., T, k, k); ``cut`` as in jacobians."""

    def one(x: Array) -> Array:
        return carried(jacobians(shape, params, x, cut))

    return _over(one, x)


def _over(one: Any, x: Array) -> Array:
    for _ in range(jnp.ndim(x) - 2):
        one = jax.vmap(one)
    return one(x)
