"""The integer gradient and loss, against steps worked out by hand and floats.

docs/numbers-learning.md, from Errors at the output to RTRL97, and The loss of a step.
"""

from __future__ import annotations

import dataclasses
from math import isqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_models import random_signals
from test_intupdate import LIMIT, rounded
from test_model import SHAPES

from pyvgrad import fixed
from pyvgrad.blob import pack
from pyvgrad.cells import CELLS, Fields, Layer, Readout, Shape
from pyvgrad.dequantize import dequantize
from pyvgrad.grad import step_loss, value_and_grad
from pyvgrad.intlearn import IntTrainer
from pyvgrad.intloss import log_q16
from pyvgrad.intloss import step_loss as int_step_loss
from pyvgrad.intmodel import IntModel
from pyvgrad.learning import Learn
from pyvgrad.model import fuse, init_params, initial_state, step
from pyvgrad.nets import stack
from pyvgrad.qmodel import QLayer, QModel, QReadout
from pyvgrad.quantize import quantize


def trainer(model, **learn):
    settings = {"loss": "mse", "k1": 0, "k2": 8} | learn
    if model.shape.output == "softmax":
        settings["loss"] = "cross-entropy"
    return IntTrainer(pack(model), Learn(**settings))


# ---- loss ----------------------------------------------------------------


def test_the_logarithm_errs_by_less_than_it_says():
    v = np.unique(
        np.concatenate(
            [np.arange(2**16, 2**18, 3), np.geomspace(2**16, 2**31 - 1, 50_000)]
        ).astype(np.int64)
    )
    errors = log_q16(v) / 65536 - np.log(v / 65536)
    assert abs(errors).max() <= 1.5e-4
    assert int(log_q16(np.array(65536))) == 0


@pytest.mark.parametrize("output", ["linear", "logistic", "softmax"])
def test_the_loss_is_the_float_loss_of_the_same_signals(output):
    rng = np.random.default_rng(4)
    shape = stack("rnn_tanh", (1, 1, 5), output=output)
    losses = {"linear": ["mse"], "logistic": ["mse", "cross-entropy"]}
    for seed in range(50):
        e = 11 if output == "logistic" else int(rng.integers(6, 15))
        logits = random_signals(rng, 5).astype(np.int64)
        z, y, y_exp = jnp.asarray(logits / 2.0**e), logits, e
        target, wanted = random_signals(rng, 5).astype(np.int64), None
        if output == "softmax":
            y, target = fixed.softmax_q14(logits, e), np.array([seed % 5])
            wanted = np.eye(5)[seed % 5]
        elif output == "logistic":
            y, y_exp, target = fixed.sigmoid_q14(logits), 14, abs(target) // 2
        for loss in losses.get(output, ["cross-entropy"]):
            got = int_step_loss(output, loss, (y_exp, e), y, logits, target) / 65536
            if wanted is None:
                wanted = target / 2.0**y_exp
            true = float(step_loss(shape, loss, z, jnp.asarray(wanted)))
            # mse: from y of q14; else float32 of jax, five logarithms, each rounded
            assert got == pytest.approx(min(true, LIMIT / 65536), rel=1e-4, abs=7e-4)


def test_losses_are_clamped():
    far, zero = np.array([32767] * 3), np.array([-32768] * 3)
    assert int_step_loss("linear", "mse", (0, 0), far, far, zero) == LIMIT
    logits = np.array([32767, -32768])
    y = fixed.softmax_q14(logits, 0)
    got = int_step_loss("softmax", "cross-entropy", (14, 0), y, logits, np.array([1]))
    assert got == LIMIT


# ---- a step by hand ------------------------------------------------------


def by_hand(**learn):
    """h' = T(a) of one input and the h before, y = w h + b, all linear, on q14."""
    layer, readout = Layer("rnn_tanh", 1, 1), Readout(1, 1)
    q = QLayer(
        layer,
        14,
        {"a": np.array([24])},
        {"a": np.array([[2048, 1024]])},
        {"a": np.array([0])},
    )
    out = QReadout(readout, 14, np.array([24]), np.array([[1024]]), np.array([0]))
    model = QModel(Shape((layer,), readout), (q,), out, 16, 14, 14)
    return trainer(model, **learn)


def test_one_step_of_an_rnn_by_hand():
    # a = rs(2048 * 16384, 12) = 8192 on q12 (2.0): h = T = 15795 (.96403)
    # y = rs(1024 * 15795, 10) = 15795; target 0: d = 15795 << 10 = 16174080 on q24
    # readout: G_h = rs(d h, 14) = 15592646.., G_b = d; dh = rs(1024 d, 10) = d
    # H_a = rs(2^28 - h^2, 4), a_a = rs(dh H_a, 24); z = [16384, 0, 1]
    t = by_hand()
    t.teach(np.array([[16384]]), np.array([[0]]))
    h, d = 15795, 15795 << 10
    a = rounded(d * rounded(2**28 - h * h, 4), 24)
    of_layer, of_readout = t.gradient()
    assert of_layer.tolist() == [[a, 0, a]]
    assert of_readout.tolist() == [[rounded(d * h, 14), d]]
    assert t.counters.loss_q16 == rounded(h * h, 13)
    assert t.end() == 1
    # E - e_j + 16 = 26 for weights, rate 1: n = 22 after 2^24 R v; b: n = 24
    assert t.layers[0]["a"].M.tolist() == [
        [(2048 << 16) - rounded(a, -2), 1024 << 16, -a]
    ]
    norm = isqrt(2 * a * a + rounded(d * h, 14) ** 2 + d * d) >> 8
    assert t.counters.norm_q16 == norm
    assert (t.counters.updates, t.counters.sequences, t.counters.steps) == (1, 1, 1)


def test_two_steps_of_an_rnn_by_hand():
    # The second step has no target, so the first alone makes errors; with the target
    # in the second its error flows through U = 1024 / 2^10 to the first.
    t = by_hand()
    x, h1 = np.array([[16384], [0]]), 15795
    t.teach(x, np.array([[0], [0]]), np.array([False, True]))
    h2 = int(fixed.tanh_q14(np.array(rounded(1024 * h1, 12))))
    d = rounded(h2, 0) << 10
    a2 = rounded(d * rounded(2**28 - h2 * h2, 4), 24)
    a1 = rounded(a2 * rounded(2**28 - h1 * h1, 4), 24)  # rs(1024 a2, 10) = a2
    of_layer, of_readout = t.gradient()
    assert of_layer.tolist() == [[a1, rounded(a2 * h1, 14), a1 + a2]]
    assert of_readout.tolist() == [[rounded(d * h2, 14), d]]


# ---- the gradient against float ------------------------------------------


STEPPED = [name for name, shape in SHAPES.items() if not shape.whole]


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def by_gate(shape, tree):
    """A float gradient as IntTrainer.gradient has it."""

    def matrix(*parts):
        columns = [np.asarray(p) for p in parts if p is not None]
        return np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1)

    gates = [
        matrix(*(p.get(part, {}).get(k) for part in "WUPb"))
        for layer, p in zip(shape.layers, tree["layers"], strict=True)
        for k in layer.gates
    ]
    if shape.readout is not None:
        p = tree["readout"]
        gates.append(matrix(p["W"], p.get("V"), p.get("b")))
    return gates


def losses_of(shape):
    return {
        "linear": ["mse"],
        "logistic": ["mse", "cross-entropy"],
        "softmax": ["cross-entropy"],
    }[shape.output]


def taught(shape, loss, method, seed, T=8, scale=0.7):
    """A trainer after T steps of a random float model; x, targets, known as values."""
    rng = np.random.default_rng(seed)
    params = init_params(shape, rng, scale=scale)
    x = rng.normal(size=(T, shape.n_in)).clip(-1.9, 1.9)
    model = quantize(shape, params, calibration=x[np.newaxis])
    k2 = T if method == "tbptt" else 0
    t = IntTrainer(pack(model), Learn(method, loss=loss, k1=0, k2=k2))
    raw = np.floor(x * 2.0**model.x_exp).astype(np.int16)
    known = rng.random(T) < 0.7
    if shape.output == "softmax":
        target = rng.integers(0, shape.n_out, T)
        value = np.eye(shape.n_out)[target]
    else:
        value = rng.uniform(size=(T, shape.n_out))
        target = np.floor(value * 2.0**model.y_exp).astype(np.int16)
        value = target / 2.0**model.y_exp
    t.teach(raw, target, known)
    return t, raw / 2.0**model.x_exp, value, known


def assert_near(t, tree):
    """G is the float gradient to 2^-10 of its length.

    Signals and derivatives round by 2^-15 of 1.0 and pass at most 8 steps and two
    layers, so a part in 2^10 leaves room for some 30 such errors of one sign.
    """
    got = np.concatenate([G.ravel() for G in t.gradient()]) / 2.0**24
    true = np.concatenate([g.ravel() for g in by_gate(t.model.shape, tree)])
    assert np.linalg.norm(true) > 0.01
    assert np.linalg.norm(got - true) <= 2**-10 * np.linalg.norm(true)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", STEPPED)
def test_tbptt_over_a_whole_sequence_is_the_float_gradient(name):
    shape = SHAPES[name]
    losses = losses_of(shape)
    loss = losses[list(SHAPES).index(name) % len(losses)]
    gradient = jax.jit(value_and_grad(shape, loss))
    for seed in range(3):
        t, x, y, known = taught(shape, loss, "tbptt", seed)
        params = dequantize(t.model)
        assert_near(t, gradient(params, x[None], y[None], known[None])[1])


def truncated_loss(shape, loss, params, x, y, known):
    """The loss whose gradient RTRL97 follows: a state that weights read is a constant.

    h of a GRU lives on in z h; a peephole's c is a constant to its gate alone.
    """
    maps = fuse(shape, params, jnp)

    def one_step(state, now):
        state, logits, _ = step(shape, maps, state, now, jnp, jax.lax.stop_gradient)
        return state, logits

    _, logits = jax.lax.scan(one_step, initial_state(shape, params, (), jnp), x)
    return jnp.sum(known * step_loss(shape, loss, logits, y))


LSTMS = ["hs97-3x2", "feedback-8", "long-lag", "adding"]
LSTMS += [f"fields {k}" for k in range(6)]
TRUNCATED = ["lstm", "lstm97", "lstm_coupled", "lstm_peephole", "gru", "ugrnn"]


def test_rtrl97_is_defined_for_the_cells_that_the_page_names():
    """docs/numbers-learning.md, RTRL97."""
    alone = [c for c in CELLS if SHAPES[c].rtrl97]
    assert sorted(alone) == sorted(TRUNCATED)
    t = {"method": "rtrl97", "k2": 0}
    for cell in CELLS:
        model = quantize(*started(stack(cell, (2, 2, 2), output="linear")))
        if cell in TRUNCATED:
            trainer(model, **t)
        else:
            with pytest.raises(ValueError, match=r"rtrl97 is for one layer of lstm97"):
                trainer(model, **t)


def started(shape):
    return shape, init_params(shape, np.random.default_rng(0), scale=0.5)


@pytest.mark.parametrize("name", [k for k, shape in SHAPES.items() if shape.whole])
def test_a_model_with_a_reversed_layer_does_not_learn_in_integers(name):
    with pytest.raises(ValueError, match="reversed"):
        trainer(quantize(*started(SHAPES[name])))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", TRUNCATED + LSTMS)
def test_rtrl97_is_the_float_gradient_with_the_recurrence_cut(name):
    shape = SHAPES[name]
    loss = losses_of(shape)[-1]
    gradient = jax.jit(jax.grad(lambda *a: truncated_loss(shape, loss, *a)))
    for seed in range(2):
        t, x, y, known = taught(shape, loss, "rtrl97", seed)
        params = jax.tree.map(jnp.asarray, dequantize(t.model))
        assert_near(t, gradient(params, x, y, known))


def test_the_gradient_is_the_finite_difference_of_the_integer_loss():
    """A readout's bias moved by 2^-6: the quadratic loss is exact but for y's q14."""
    shape = stack("lstm", (2, 3, 1), output="linear")
    t, x, y, known = taught(shape, "mse", "tbptt", 3)
    x, y = x * 2.0**t.model.x_exp, y * 2.0**t.model.y_exp
    G = int(t.gradient()[-1][0, -1]) / 2.0**24

    def loss(delta):
        out = t.model.readout
        biases = out.biases + round(delta * 2.0 ** out.exps[0])
        moved = dataclasses.replace(
            t.model, readout=dataclasses.replace(out, biases=biases)
        )
        trace = IntModel(moved).run(x[np.newaxis].astype(np.int16))
        error = (trace.y[0] - y) / 2.0**t.model.y_exp
        return 0.5 * float((error[known] ** 2).sum())

    slope = (loss(2.0**-6) - loss(-(2.0**-6))) * 2.0**5
    assert slope == pytest.approx(G, abs=2.0**-6)


# ---- clamped signals -----------------------------------------------------


def relu_trainer(w, **learn):
    layer = Layer("rnn_relu", 1, 1, cell_biases=False)
    q = QLayer(layer, 8, {"a": np.array([9])}, {"a": np.array([[w, 0]])}, {})
    model = QModel(Shape((layer,)), (q,), None, 16, 8, 8)
    return trainer(model, **learn)


@pytest.mark.parametrize(("target", "flows"), [(32767, False), (-1, True)])
def test_a_clamped_output_passes_no_error_outward(target, flows):
    # h = 32767 is too low for no int16 target; -1 asks for less: inward
    t = relu_trainer(32767)
    t.teach(np.array([[32767]]), np.array([[target]]))
    assert t.gradient()[0].any() == flows


def test_a_clamped_c_passes_inward_errors_only():
    fields = Fields("4s-2", "identity", False, False, False, False)
    layer = Layer("lstm97", 1, 1, 1, fields, False, False)
    q = QLayer(
        layer,
        4,
        {"i": np.array([25]), "g": np.array([25])},
        {"i": np.array([[100]]), "g": np.array([[100]])},
        {},
        np.array([2**30]),
        np.array([0]),
    )
    model = QModel(Shape((layer,)), (q,), None, 16, 14, 14)
    for method in ("tbptt", "rtrl97"):
        for target, flows in ((32767, False), (0, True)):
            t = trainer(model, method=method, k2=4 * (method == "tbptt"))
            t.teach(np.array([[16384]]), np.array([[target]]))
            # h = 1024 * 2^4 = 16384: the higher target would push c further out
            assert any(G.any() for G in t.gradient()) == flows


def test_a_saturated_gradient_is_counted():
    # y = 1024, t = -32768: d = -2^31 + 1 on e 0; x = 32767 makes G clamp; 2 in all
    layer = Layer("rnn_relu", 1, 1, cell_biases=False)
    q = QLayer(layer, 0, {"a": np.array([10])}, {"a": np.array([[1, 0]])}, {})
    t = trainer(QModel(Shape((layer,)), (q,), None, 16, 0, 0), k2=1)
    t.teach(np.array([[32767]]), np.array([[-32768]]))
    assert t.counters.saturated == 0
    t.end()
    assert t.counters.saturated >= 1
