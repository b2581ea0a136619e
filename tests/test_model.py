"""The float model: forward, states, parameters."""

from __future__ import annotations

import numpy as np
import pytest
from random_models import random_fields

from pyvgrad.cells import CELLS, MODES, Fields, Layer, Readout, Shape
from pyvgrad.model import (
    FloatModel,
    check_params,
    forward,
    fuse,
    init_params,
    initial_state,
    step,
)
from pyvgrad.nets import NETS, stack


def whole(mode):
    """Both directions at once below, one alone above; shortcuts."""
    layers = (
        Layer("plus_rnn", 3, 2, direction="forward-half"),
        Layer("lstm_peephole", 3, 3, direction="reverse-half"),
        Layer("rnn_tanh", 5, 3, direction="reverse"),
        Layer("gru", 3, 2, direction="forward-half"),
        Layer("indrnn", 3, 2, direction="reverse-half"),
    )
    return Shape(layers, Readout(4, 2, shortcuts=3), mode)


def shapes():
    """Every cell alone, every named net, two layers, every combination drawn."""
    for cell in CELLS:
        yield f"{cell}", stack(cell, (3, 4, 2), output="linear", shortcuts=True)
    for name, net in NETS.items():
        yield name, net.shape(3, 4)
    yield "two layers", stack("lstm", (3, 4, 2), output="softmax", layers=2)
    yield "two of plus_rnn", stack("plus_rnn", (3, 4, 2), output="linear", layers=2)
    yield "no readout", Shape((Layer("rnn_relu", 3, 4),))
    for mode in MODES:
        yield f"whole {mode}", whole(mode)
    reverse = Layer("gru", 3, 4, direction="reverse")
    yield "reverse final", Shape((reverse,), Readout(4, 2), "final")
    rng = np.random.default_rng(0)
    for k in range(6):
        layer = Layer("lstm97", 3, 4, 2, random_fields(rng), bool(k & 1), bool(k & 2))
        yield f"fields {k}", Shape((layer,), Readout(4, 2))


SHAPES = dict(shapes())


def model(name, seed=0):
    shape = SHAPES[name]
    rng = np.random.default_rng(seed)
    params = init_params(shape, rng, scale=1.0)
    return shape, params, rng.normal(size=(2, 6, shape.n_in))


def s(z):
    return 1 / (1 + np.exp(-z))


def plain_lstm(layer, p, arg, old):
    """i, f, o are one a block; arg(gate) is its argument but for peepholes."""
    peep = p.get("P", dict.fromkeys("ifo", 0))
    i = s(arg("i") + peep["i"] * (old["c"] if "P" in p else 0))
    wide = {"i": np.repeat(i, layer.block)}
    if layer.cell == "lstm_coupled":
        wide["f"] = 1 - wide["i"]
    elif "f" in layer.gates:
        f = s(arg("f") + peep["f"] * (old["c"] if "P" in p else 0))
        wide["f"] = np.repeat(f, layer.block)
    g = {"tanh": np.tanh, "4s-2": lambda z: 4 * s(z) - 2, "s": s}
    c = wide.get("f", 1) * old["c"] + wide["i"] * g[layer.opts.squash_g](arg("g"))
    new = {"i": i, "c": c}
    squash = {"tanh": np.tanh, "2s-1": lambda z: 2 * s(z) - 1, "identity": lambda z: z}
    new["h"] = squash[layer.opts.squash_h](c)
    if "o" in layer.gates:
        new["o"] = s(arg("o") + peep["o"] * (c if "P" in p else 0))
        new["h"] = new["h"] * np.repeat(new["o"], layer.block)
    return new, new["h"]


def plain_step(layer, p, x, old):
    """The new state and what the layer gives, from docs/numbers.md in floats."""
    r = np.concatenate([old["h"], *(old[k] for k in layer.feedback_gates)])

    def arg(k, r=r):
        x_part = p["W"][k] @ x if k in p["W"] else 0
        r_part = p["U"][k] @ r if k in p.get("U", {}) else 0
        return x_part + r_part + p["b"].get(k, 0)

    h = old["h"]
    if layer.row.carry == "c":
        return plain_lstm(layer, p, arg, old)
    if layer.cell == "indrnn":
        h = np.maximum(arg("a") + p["P"]["a"] * h, 0)
        return {"h": h}, h
    if layer.row.carry == "":
        f = {"tanh": np.tanh, "sigmoid": s, "relu": lambda z: np.maximum(z, 0)}
        h = f[layer.cell.removeprefix("rnn_")](arg("a"))
        return {"h": h}, h
    z = s(arg("z"))
    if layer.cell == "gru":
        n = np.tanh(arg("n") + s(arg("r")) * arg("m"))
    elif layer.cell == "gru_reset_before":
        n = np.tanh(arg("n", s(arg("r")) * h))
    else:
        n = np.tanh(arg("n"))
    h = z * h + (1 - z) * n
    if layer.cell == "plus_rnn":
        g = s(arg("y"))
        return {"h": h}, g * arg("u") + (1 - g) * np.maximum(arg("p"), 0)
    return {"h": h}, h


def plain_layer(layer, p, x):
    """What a layer gives at every step of x (T, n_in)."""
    n = layer.n_blocks
    state = {"h": np.zeros(layer.n), "c": np.zeros(layer.n)}
    state |= {"i": np.zeros(n), "o": np.zeros(n)}
    out = [None] * len(x)
    steps = range(len(x))
    for t in reversed(steps) if "reverse" in layer.direction else steps:
        new, out[t] = plain_step(layer, p, x[t], state)
        state = state | new
    return np.array(out)


def plain_forward(shape, params, x):
    """Logits of one sequence, one step and one gate at a time."""
    given, source, waiting = x, x, None
    for layer, p in zip(shape.layers, params["layers"], strict=True):
        given = plain_layer(layer, p, source)
        if layer.direction == "forward-half":
            waiting = given
            continue
        if layer.direction == "reverse-half":
            given = np.concatenate([waiting, given], axis=1)
        source = given
    if shape.mode == "final" and shape.whole:
        n = shape.layers[-1].n
        first, last = given[0], given[-1]
        end = {
            "forward": last,
            "reverse": first,
            "reverse-half": np.concatenate([last[:-n], first[-n:]]),
        }[shape.layers[-1].direction]
        given, x = np.tile(end, (len(x), 1)), np.tile(x[-1], (len(x), 1))
    if shape.readout is None:
        return given
    p = params["readout"]
    logits = given @ p["W"].T + p.get("b", 0)
    return logits + (x @ p["V"].T if "V" in p else 0)


@pytest.mark.parametrize("name", SHAPES)
def test_forward_is_the_equations(name):
    """Float64: both sum in other orders, so 1e-12 of values below 100."""
    shape, params, x = model(name)
    run = forward(shape, params, x)
    for k in range(2):
        expected = plain_forward(shape, params, x[k])
        np.testing.assert_allclose(run.logits[k], expected, atol=1e-12, rtol=1e-12)


STEPPED = [name for name, shape in SHAPES.items() if not shape.whole]


@pytest.mark.parametrize("name", [k for k in SHAPES if k not in STEPPED])
def test_padding_behind_an_end_changes_nothing(name):
    shape, params, x = model(name)
    lengths = np.array([6, 4])
    run = forward(shape, params, x, lengths=lengths)
    for k, length in enumerate(lengths):
        alone = forward(shape, params, x[k, :length])
        np.testing.assert_allclose(
            run.logits[k, :length], alone.logits, rtol=1e-12, atol=1e-12
        )


def test_a_reversed_layer_has_no_single_step():
    shape, params, x = model("reverse final")
    with pytest.raises(ValueError, match="whole sequences"):
        step(shape, fuse(shape, params), initial_state(shape, params), x[0, 0])


@pytest.mark.parametrize("name", STEPPED)
def test_single_steps_are_the_whole_run(name):
    shape, params, x = model(name)
    whole = forward(shape, params, x)
    maps, state = fuse(shape, params), initial_state(shape, params, (2,))
    for t in range(x.shape[1]):
        state, logits, _ = step(shape, maps, state, x[:, t])
        np.testing.assert_array_equal(logits, whole.logits[:, t])
        for signals, now in zip(whole.layers, state, strict=True):
            for key, value in now.items():
                np.testing.assert_array_equal(signals[key][:, t], value)


def test_a_run_goes_on_from_a_state():
    shape, params, x = model("feedback-8")
    maps, state = fuse(shape, params), initial_state(shape, params, (2,))
    for t in range(3):
        state, _, _ = step(shape, maps, state, x[:, t])
    rest = forward(shape, params, x[:, 3:], state)
    whole = forward(shape, params, x)
    np.testing.assert_array_equal(rest.logits, whole.logits[:, 3:])


def test_initial_states_are_read():
    shape, params, x = model("lstm")
    changed = {**params, "layers": [dict(params["layers"][0])]}
    changed["layers"][0] |= {"h0": np.full(4, 0.5), "c0": np.full(4, -1.0)}
    check_params(shape, changed)
    state = initial_state(shape, changed, (2,))
    np.testing.assert_array_equal(state[0]["h"], np.full((2, 4), 0.5))
    run, plain = forward(shape, changed, x), forward(shape, params, x, state)
    np.testing.assert_array_equal(run.logits, plain.logits)
    assert np.abs(run.logits - forward(shape, params, x).logits).max() > 1e-3


def test_trajectory_keeps_every_gate_after_its_function():
    shape, params, x = model("hs97-3x2")
    run = forward(shape, params, x)
    [layer] = run.layers
    assert {k: v.shape[-1] for k, v in layer.items()} == {
        "i": 3,
        "o": 3,
        "g": 6,
        "h": 6,
        "c": 6,
    }
    wide = np.repeat(layer["i"], 2, axis=-1)
    c = np.cumsum(wide * layer["g"], axis=-2)  # no forget gate: c sums i g
    np.testing.assert_allclose(layer["c"], c, atol=1e-14)
    assert np.abs(layer["g"]).max() > 1.0  # 4s - 2 goes up to 2


def test_outputs_are_the_functions_of_the_logits():
    for output in ("linear", "logistic", "softmax"):
        shape = stack("rnn_tanh", (3, 4, 2), output=output)
        params = init_params(shape, np.random.default_rng(0), scale=3.0)
        run = forward(shape, params, np.ones((5, 3)))
        z = run.logits
        expected = {
            "linear": z,
            "logistic": 1 / (1 + np.exp(-z)),
            "softmax": np.exp(z) / np.exp(z).sum(-1, keepdims=True),
        }[output]
        np.testing.assert_allclose(run.y, expected, rtol=1e-13)


def test_parameters_are_within_their_bounds_and_follow_from_the_seed():
    shape = stack("lstm", (7, 12, 7), output="softmax")
    one, again = (init_params(shape, np.random.default_rng(4)) for _ in range(2))
    U, W = one["layers"][0]["U"]["f"], one["readout"]["W"]
    np.testing.assert_array_equal(U, again["layers"][0]["U"]["f"])
    assert 0.9 * np.sqrt(6 / 24) < np.abs(U).max() < np.sqrt(6 / 24)
    assert 0.9 * np.sqrt(6 / 19) < np.abs(W).max() < np.sqrt(6 / 19)
    assert not one["readout"]["b"].any()
    net = NETS["hs97-3x2"]
    params = init_params(
        net.shape(7, 7), np.random.default_rng(4), scale=0.2, biases=net.biases
    )
    assert params["layers"][0]["b"]["o"].tolist() == [-1.0, -2.0, -3.0]
    assert 0 < np.abs(params["layers"][0]["b"]["i"]).max() < 0.2


def test_biases_repeat_the_last_value():
    shape = stack("lstm", (1, 4, 1), output="linear")
    params = init_params(
        shape, np.random.default_rng(0), biases={"f": (1.0, 2.0), "readout": -3.0}
    )
    assert params["layers"][0]["b"]["f"].tolist() == [1.0, 2.0, 2.0, 2.0]
    assert params["readout"]["b"].tolist() == [-3.0]


def spoil_missing(params):
    del params["layers"][0]["U"]["f"]


def spoil_extra(params):
    params["readout"]["V"] = np.zeros((2, 3))


def spoil_shape(params):
    params["layers"][0]["b"]["i"] = np.zeros(3)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (spoil_missing, "layers.0.U.f"),
        (spoil_extra, "readout.V"),
        (spoil_shape, "layers.0.b.i"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(spoil, name):
    shape = stack("lstm", (3, 4, 2), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    FloatModel(shape, params)
    spoil(params)
    with pytest.raises(ValueError, match=name):
        FloatModel(shape, params)


def test_a_layer_without_carry_has_no_c0():
    shape = Shape((Layer("rnn_tanh", 3, 4),))
    params = init_params(shape, np.random.default_rng(0))
    params["layers"][0]["c0"] = np.zeros(4)
    with pytest.raises(ValueError, match="c0"):
        check_params(shape, params)


def test_x_of_another_width_is_refused():
    shape, params, x = model("lstm")
    with pytest.raises(ValueError, match=r"x is \(..., T, 3\)"):
        forward(shape, params, x[..., :2])


def test_default_fields_of_lstm97_are_those_of_1997():
    assert CELLS["lstm97"].fields == Fields("4s-2", "2s-1", forget_gate=False)
