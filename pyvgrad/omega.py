"""The regularizer Omega: errors that keep their norm on the way back.

Pascanu, Mikolov and Bengio 2013, section 3.3, for one layer of plain units.  With
d_k = dE/dh_k, all that h_k does to the loss E included::

    Omega = mean_k (||d_{k+1} J_k|| / ||d_{k+1}|| - 1)^2
    J_k = dh_{k+1}/dh_k = diag(f'(a_{k+1})) U

Its gradient is the immediate one: U in J_k moves, while h, f' and d are held, so that
no second derivative through time is needed.  The paper sums over k; the mean over the
errors that are long enough, of all sequences, is that of its published code, where a
weight means the same for every length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pyvgrad.cells import Array, Shape
from pyvgrad.grad import masked_loss
from pyvgrad.model import Params, fuse, initial_state, layer_step, readout_step
from pyvgrad.units import gate_value

BOUND = 1e-10  # errors of a smaller norm are left out, as in the published code
_TINY = 1e-30  # of a squared norm, whose root has a slope still


def omega(U: Array, errors: Array, arrived: Array) -> Array:
    """Omega as a function of U (n, n).

    ``errors`` d_{k+1} (..., n) at the units' outputs, ``arrived`` d_{k+1} diag(f')
    (..., n) at their arguments.  0 where every error is below BOUND.
    """
    before = jnp.sum(errors**2, axis=-1)
    after = jnp.sum((arrived @ U) ** 2, axis=-1)
    counted = before >= BOUND**2
    length = jnp.sqrt(jnp.maximum(after, _TINY))
    ratio = length / jnp.sqrt(jnp.where(counted, before, 1.0))
    each = jnp.where(counted, (ratio - 1.0) ** 2, 0.0)
    return jnp.sum(each) / jnp.maximum(jnp.sum(counted), 1)


class Flow(NamedTuple):
    """A loss, its gradients, and the errors on their way back, each (T, B, n).

    ``errors`` d at the units' outputs, ``arrived`` d diag(f') at their arguments.
    """

    loss: Array
    g: Params
    errors: Array
    arrived: Array


def flow(shape: Shape, loss: str) -> Callable[..., Flow]:
    """f(params, x, y, mask): arguments and loss as in grad.value_and_grad.

    Only what must go step by step does: h forward and d back.  The gradients of the
    weights are made of all steps at once, in a good half of the time.  ValueError for a
    shape that is not one layer of plain units.
    """
    layer = shape.layers[0]
    if len(shape.layers) > 1 or layer.gates != "a" or "U" not in layer.parts("a"):
        raise ValueError("Omega is of one layer of rnn_tanh, rnn_sigmoid or rnn_relu")
    if shape.whole or shape.readout is None:
        raise ValueError("Omega is of a layer that goes forward, and has a readout")

    def start(params: Params, x: Array) -> Array:
        return initial_state(shape, params, x.shape[1:2], jnp)[0]["h"]

    def states(params: Params, x: Array) -> Array:
        """H of every step, (T, B, n)."""
        (whole,) = fuse(shape, params, jnp).layers[0]
        driven = x @ whole.M[: layer.n_in] + whole.b

        def body(h: Array, now: Array) -> tuple[Array, Array]:
            rest = whole._replace(M=whole.M[layer.n_in :], b=now)
            h = layer_step(layer, [rest], {"h": h}, x[0, :, :0], jnp)[0]["h"]
            return h, h

        return jax.lax.scan(body, start(params, x), driven)[1]

    def f(params: Params, x: Array, y: Array, mask: Array) -> Flow:
        x = jnp.moveaxis(x, 1, 0)
        h = states(params, x)

        def above(readout: Params, h: Array) -> Array:
            maps = fuse(shape, params | {"readout": readout}, jnp)
            logits = jnp.moveaxis(readout_step(shape, maps, h, x, jnp), 0, 1)
            return masked_loss(shape, loss, logits, y, mask)

        def arguments(p: Params) -> Array:
            now = params | {"layers": [p]}
            maps = fuse(shape, now, jnp).layers[0]
            read = jnp.concatenate([start(now, x)[None], h[:-1]])
            flat = [v.reshape(-1, v.shape[-1]) for v in (read, x)]
            return layer_step(layer, maps, {"h": flat[0]}, flat[1], jnp)[2]["a"]

        value, (readout, direct) = jax.value_and_grad(above, (0, 1))(
            params["readout"], h
        )
        a, to_weights = jax.vjp(arguments, params["layers"][0])
        _, to_slopes = jax.vjp(lambda z: gate_value(layer, "a", z, jnp), a)
        slopes = to_slopes(jnp.ones_like(a))[0].reshape(h.shape)
        U = params["layers"][0]["U"]["a"]

        def body(carried: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            d = now[0] + carried
            return (d * now[1]) @ U, d

        zeros = jnp.zeros_like(h[0])
        errors = jax.lax.scan(body, zeros, (direct, slopes), reverse=True)[1]
        arrived = errors * slopes
        (g,) = to_weights(arrived.reshape(a.shape))
        return Flow(value, {"layers": [g], "readout": readout}, errors, arrived)

    return f


def value_and_grad(
    shape: Shape, loss: str, weight: float
) -> Callable[..., tuple[Array, Params]]:
    """f(params, x, y, mask) -> (loss, gradients), ``weight`` Omega's added to U's.

    The loss is without Omega.  ValueError as in ``flow``.
    """
    plain, slope = flow(shape, loss), jax.grad(omega)

    def f(params: Params, x: Array, y: Array, mask: Array) -> tuple[Array, Params]:
        value, g, errors, arrived = plain(params, x, y, mask)
        if not weight:
            return value, g
        layer = g["layers"][0]
        own = slope(params["layers"][0]["U"]["a"], errors, arrived)
        U = {"a": layer["U"]["a"] + weight * own}
        return value, g | {"layers": [layer | {"U": U}]}

    return f
