"""The cell table and the papers' topologies: H&S97, G00."""

from __future__ import annotations

import numpy as np
import pytest

from pyvgrad.blob_format import decode_fields, encode_fields
from pyvgrad.cells import (
    CELLS,
    SQUASH_G,
    SQUASH_H,
    Fields,
    Layer,
    Readout,
    Shape,
    sigmoid,
)
from pyvgrad.model import init_params
from pyvgrad.nets import NETS, fully_recurrent, stack

PRINTED = [
    ("hs97-4x1", 7, 7, 264),
    ("hs97-3x2", 7, 7, 276),
    ("feedback-8", 7, 7, 823),
    ("hs97-3x2-softmax", 7, 7, 276),
    ("rtrl-1", 5, 5, 36),
    ("rtrl-1", 11, 11, 144),
    ("rtrl-1", 101, 101, 10404),
    ("long-lag", 101, 101, 10504),
    ("long-lag-2", 101, 101, 10908),
    ("long-lag-2-softmax", 1001, 1001, 1008007),
    ("distractors", 54, 2, 364),
    ("distractors", 1004, 2, 6064),
    ("elman-15", 7, 7, 435),
    ("adding", 2, 1, 93),
    ("temporal-order-2x2", 8, 4, 156),
    ("temporal-order-3x2", 8, 8, 308),
    ("g00-4x2", 7, 7, 424),
]


def sizes(tree):
    if isinstance(tree, dict):
        return sum(sizes(v) for v in tree.values())
    if isinstance(tree, list):
        return sum(sizes(v) for v in tree)
    return tree.size


@pytest.mark.parametrize(("name", "n_in", "n_out", "weights"), PRINTED)
def test_topologies_have_as_many_weights_as_the_papers_print(
    name, n_in, n_out, weights
):
    shape = NETS[name].shape(n_in, n_out)
    assert shape.n_weights == weights
    params = init_params(shape, np.random.default_rng(0), scale=NETS[name].scale)
    assert sizes(params) == weights


@pytest.mark.parametrize(("hidden", "weights"), [(3, 170), (12, 494)])
def test_a_fully_recurrent_net_has_the_weights_of_smith_and_zipser(hidden, weights):
    assert fully_recurrent(7, 7, hidden).n_weights == weights


def test_every_named_net_is_counted():
    assert {row[0] for row in PRINTED} == set(NETS)


@pytest.mark.parametrize(("n", "weights"), [(12, 1051), (10, 797), (8, 575), (6, 385)])
def test_lstm_for_embedded_reber_has_so_many_weights(n, weights):
    assert stack("lstm", (7, n, 7), output="softmax").n_weights == weights


def test_a_gate_has_the_columns_that_it_reads():
    """docs/numbers.md, the table: weights of a layer of 4 cells that reads 3 values."""
    columns = {
        name: [layer.columns(k) for k in layer.gates]
        for name in CELLS
        for layer in [Layer(name, 3, 4)]
    }
    assert columns["gru"] == [7, 7, 3, 4]
    assert columns["gru_reset_before"] == [7, 7, 7]
    assert columns["lstm_peephole"] == [8, 8, 7, 8]
    assert columns["indrnn"] == [4]
    assert columns["plus_rnn"] == [7, 7, 7, 7, 3]


def test_layers_read_both_halves_of_the_one_below():
    halves = [Layer("gru", 3, n, direction=d) for n, d in HALVES]
    shape = Shape((*halves, Layer("lstm", 7, 2)), Readout(2, 1))
    assert [shape.below(k) for k in range(4)] == [(), (), (0, 1), (2,)]
    assert shape.top == (2,)
    assert shape.whole
    alone = Shape(tuple(halves))
    assert (alone.top, alone.n_out) == ((0, 1), 7)


HALVES = [(4, "forward-half"), (3, "reverse-half")]


@pytest.mark.parametrize("z", [-800.0, -1.0, 0.0, 1.0, 800.0])
def test_sigmoid_neither_overflows_nor_errs(z):
    with np.errstate(all="raise"):
        y = sigmoid(np.float64(z), np)
    exact = 1 / (1 + np.exp(np.longdouble(-z)))
    assert abs(y - exact) < 1e-15


def test_lstm_unit_is_its_equations():
    """c' = f c + i g, h' = o tanh c', by hand for one cell."""
    layer = Layer("lstm", 1, 1)
    a = {k: np.array([v]) for k, v in zip("ifog", (0.3, -0.2, 0.7, 1.1), strict=True)}
    new = layer.row.unit(layer, a, {"h": np.zeros(1), "c": np.array([0.5])}, np)

    def s(z):
        return 1 / (1 + np.exp(-z))

    c = s(-0.2) * 0.5 + s(0.3) * np.tanh(1.1)
    np.testing.assert_allclose(new["c"], [c], rtol=1e-15)
    np.testing.assert_allclose(new["h"], [s(0.7) * np.tanh(c)], rtol=1e-15)


@pytest.mark.parametrize("g", SQUASH_G)
@pytest.mark.parametrize("h", SQUASH_H)
def test_squashing_functions_are_those_of_1997(g, h):
    fields = Fields(g, h, output_gate=False, forget_gate=False, recurrent=False)
    layer = Layer("lstm97", 1, 4, 2, fields)
    z, c0 = np.array([-2.0, -0.1, 0.4, 3.0]), np.array([0.5, -1.0, 0.0, 2.0])
    a = {"i": np.array([0.2, -0.4]), "g": z}
    new = layer.row.unit(layer, a, {"h": np.zeros(4), "c": c0}, np)

    def s(v):
        return 1 / (1 + np.exp(-v))

    value = {"tanh": np.tanh(z), "4s-2": 4 * s(z) - 2, "s": s(z)}[g]
    i = s(np.array([0.2, 0.2, -0.4, -0.4]))  # one gate a block of two cells
    c = c0 + i * value
    np.testing.assert_allclose(new["c"], c, rtol=1e-14)
    out = {"tanh": np.tanh(c), "2s-1": 2 * s(c) - 1, "identity": c}[h]
    np.testing.assert_allclose(new["h"], out, rtol=1e-13)


def test_fields_survive_their_byte():
    for g in SQUASH_G:
        for h in SQUASH_H:
            for bits in range(16):
                flags = [bool(bits >> k & 1) for k in range(4)]
                if flags[3] and not flags[2]:
                    continue
                fields = Fields(g, h, *flags)
                layer = Layer("lstm97", 2, 2, fields=fields)
                assert decode_fields(CELLS["lstm97"], encode_fields(layer)) == fields


@pytest.mark.parametrize(
    "build",
    [
        lambda: Layer("lstn", 1, 1),
        lambda: Layer("rnn_tanh", 1, 2, 2),
        lambda: Layer("lstm", 1, 3, 2),
        lambda: Layer("lstm_coupled", 1, 4, 2),
        lambda: Layer("gru", 1, 1, direction="both"),
        lambda: Shape((Layer("gru", 1, 3, direction="forward-half"),)),
        lambda: Shape((Layer("gru", 1, 3, direction="reverse-half"),)),
        lambda: Shape(
            (
                Layer("gru", 1, 3, direction="forward-half"),
                Layer("gru", 3, 3, direction="reverse-half"),
            )
        ),
        lambda: Layer("lstm", 0, 3),
        lambda: Layer("lstm", 1, 1, fields=Fields("s")),
        lambda: Fields("exp"),
        lambda: Fields(recurrent=False, feedback=True),
        lambda: Readout(1, 1, "relu"),
        lambda: Readout(1, 0),
        lambda: Shape(()),
        lambda: Shape((Layer("lstm", 1, 3), Layer("lstm", 2, 3))),
        lambda: Shape((Layer("lstm", 1, 3),), Readout(2, 1)),
        lambda: Shape((Layer("lstm", 1, 3),), mode="first"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(build):
    with pytest.raises(ValueError, match=r"\w"):
        build()
