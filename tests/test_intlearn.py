"""A training in NumPy: its start, when updates happen, what learns, bad input.

docs/numbers-learning.md.
"""

from __future__ import annotations

import dataclasses
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from random_models import qmodels, random_qmodel
from test_intgrad import trainer

from pyvgrad.blob import pack, parse
from pyvgrad.cells import Layer, Shape
from pyvgrad.intgate import MASTER_HIGH, MASTER_LOW
from pyvgrad.intlearn import IntTrainer
from pyvgrad.learning import Learn
from pyvgrad.model import init_params
from pyvgrad.nets import stack
from pyvgrad.qmodel import QLayer, QModel
from pyvgrad.quantize import quantize

# ---- the start -----------------------------------------------------------


@given(qmodels())
@settings(deadline=None, max_examples=60)
def test_the_start_keeps_values_and_gives_room(model):
    t = trainer(model)
    sources = [q.weights[k] for q in model.layers for k in q.layer.gates]
    exps = [q.exps[k] for q in model.layers for k in q.layer.gates]
    if model.readout is not None:
        sources.append(model.readout.weights)
        exps.append(model.readout.exps)
    for gate, w, E in zip(t._gates, sources, exps, strict=True):
        columns = w.shape[1]
        unit = 2.0 ** (E[:, None] - gate.E - 16)  # of a master, in units of the source
        err = abs(gate.M[:, :columns] * unit - w)
        inside = (gate.M > MASTER_LOW) & (gate.M < MASTER_HIGH)
        # widening and three falls round, each by half a unit or less
        assert (err <= 1.5 * unit)[inside[:, :columns]].all()
        room = abs(gate.hi).max() <= 4096 and (
            gate.bias is None or abs(gate.bias).max() <= 2**28
        )
        assert room or gate.E - gate.argument_exp == 1
    assert t.counters.falls == 0


def test_a_16_bit_start_falls_only_as_far_as_it_must():
    for w, falls in ((4095, 0), (4096, 1), (8190, 1), (8192, 2), (32767, 3)):
        assert 25 - falls == one_cell_trainer(w).layers[0]["a"].E


def one_cell_trainer(w, **learn):
    layer = Layer("rnn_tanh", 1, 1, cell_biases=False)
    q = QLayer(layer, 14, {"a": np.array([25])}, {"a": np.array([[w, 0]])}, {})
    return trainer(QModel(Shape((layer,)), (q,), None, 16, 14, 14), **learn)


def test_int8_rows_are_widened_to_one_exponent():
    layer = Layer("rnn_tanh", 1, 2)
    weights, bias = np.array([[3, 0, 0], [127, -127, 1]]), np.array([7, -(2**20)])
    q = QLayer(layer, 14, {"a": np.array([20, 14])}, {"a": weights}, {"a": bias})
    model = QModel(Shape((layer,)), (q,), None, 8, 14, 14)
    gate = trainer(model).layers[0]["a"]
    # E = 14 + 5 = 19; row 0: s = -1, row 1: s = 5; 127 * 32 = 4064 is within 4095
    assert gate.exps.tolist() == [19, 19]
    assert gate.M.tolist() == [
        [3 << 15, 0, 0, 4],  # rs(7, 1) = 4
        [127 << 21, -127 << 21, 1 << 21, -(2**25)],
    ]


def test_the_blob_is_the_live_model_without_the_state_of_training():
    rng = np.random.default_rng(2)
    model = random_qmodel(rng, bits=8, sections=False)
    kept = (("note", b"a"), ("note", b"b"))
    sections = (*kept, ("lrns", b"old"))
    t = trainer(dataclasses.replace(model, sections=sections))
    back = parse(t.blob())
    assert back.weight_bits == 16
    assert back.sections == kept
    assert back == t.model
    assert back.shape == model.shape


def gru_gates(exp, **weights):
    """n and m of one cell of a gru in training, E = 24 + exp both; {gate: weight}."""
    layer = Layer("gru", 1, 1, cell_biases=False, gate_biases=False)
    w = {"z": [[1, 0]], "r": [[1, 0]], "n": [[weights["n"]]], "m": [[weights["m"]]]}
    exps = dict.fromkeys("zr", np.array([25])) | dict.fromkeys("nm", np.array([exp]))
    q = QLayer(layer, 14, exps, {k: np.array(v) for k, v in w.items()}, {})
    t = trainer(QModel(Shape((layer,)), (q,), None, 16, 14, 14))
    return t, t.layers[0]["n"], t.layers[0]["m"]


@pytest.mark.parametrize(("n", "m"), [(8000, 20), (20, 8000)])
def test_n_and_m_of_a_gru_start_with_the_room_that_either_needs(n, m):
    _, of_n, of_m = gru_gates(20, n=n, m=m)
    assert (of_n.E, of_m.E) == (19, 19)
    assert (of_n.hi[0, 0], of_m.hi[0, 0]) == (n // 2, m // 2)


@pytest.mark.parametrize("full", "nm")
def test_n_and_m_of_a_gru_fall_together_and_are_counted_once(full):
    t, *gates = gru_gates(20, n=64, m=64)
    for gate in gates:
        gate.V[:] = 100
    [gate] = [g for k, g in t.layers[0].items() if k == full]
    gate.M[0, 0] = 24576 << 16
    gate.publish()
    x = np.array([[1000]])
    t.teach(x, np.array([[30000]]))  # any error: an update
    t.end()
    assert [g.E for g in gates] == [19, 19]
    assert [int(g.V[0, 0]) for g in gates] == [50, 50]
    assert t.counters.falls == 1
    model = parse(t.blob())  # which refuses exponents that differ
    assert model.layers[0].exps["n"] == model.layers[0].exps["m"]


def test_a_gru_falls_no_further_than_a_shift_of_one():
    _, of_n, of_m = gru_gates(13, n=32767, m=1)
    assert (of_n.E, of_m.E) == (13, 13)


# ---- when updates happen -------------------------------------------------


def lstm_trainer(**learn):
    rng = np.random.default_rng(11)
    shape = stack("lstm", (2, 3, 2), output="linear")
    params = init_params(shape, rng, scale=0.5)
    return trainer(quantize(shape, params, x_exp=13), **learn)


def sequence(T, seed=0, n_in=2, n_out=2):
    rng = np.random.default_rng(seed)
    x = rng.integers(-8192, 8193, (T, n_in)).astype(np.int16)
    return x, rng.integers(-2048, 2049, (T, n_out)).astype(np.int16)


@pytest.mark.parametrize(
    ("method", "k1", "k2", "counts"),
    [
        ("tbptt", 0, 3, [0, 0, 0, 0, 0, 1]),
        ("tbptt", 2, 3, [0, 1, 0, 1, 0, 1]),
        ("tbptt", 1, 1, [1, 1, 1, 1, 1, 0]),
        ("tbptt", 5, 9, [0, 0, 0, 0, 1, 0]),
        ("rtrl97", 1, 0, [1, 1, 1, 1, 1, 0]),
        ("rtrl97", 0, 0, [0, 0, 0, 0, 0, 1]),
    ],
)
def test_updates_fall_due_after_k1_steps_and_at_the_end(method, k1, k2, counts):
    """Five steps, then the end."""
    x, y = sequence(5)
    t = lstm_trainer(method=method, k1=k1, k2=k2, rate_q24=1 << 20)
    for _ in range(2):
        got = [t.teach(x[[k]], y[[k]]) for k in range(5)]
        assert [*got, t.end()] == counts
    assert t.counters.updates == 2 * sum(counts)
    assert t.counters.steps == 10
    assert t.counters.sequences == 2


def test_without_a_target_nothing_happens_and_nothing_stays_pending():
    x, y = sequence(4)
    t = lstm_trainer(k1=2, k2=4)
    before = t.blob()
    assert t.teach(x, y, np.zeros(4, bool)) == 0
    assert t.end() == 0
    assert t.blob() == before
    # the target of step 1 is spent at step 2: the update at step 4 does not see it
    known = np.array([False, True, False, False])
    assert t.teach(x, y, known) == 1
    after = t.blob()
    assert t.end() == 0
    assert t.blob() == after != before


def test_a_target_off_the_tape_still_teaches_the_readout():
    x, y = sequence(6)
    t = lstm_trainer(k1=0, k2=2)
    t.teach(x, y, np.array([True] + [False] * 5))
    *of_layers, of_readout = t.gradient()
    assert of_readout.any()
    assert not any(G.any() for G in of_layers)
    assert t.end() == 1


def test_an_error_is_used_once():
    x, y = sequence(3)
    t = lstm_trainer(k1=2, k2=4)
    assert t.teach(x[:2], y[:2]) == 1
    assert not any(G.any() for G in t.gradient())
    t.teach(x[2:], y[2:])
    assert all(G.any() for G in t.gradient())


def test_the_tape_reaches_behind_what_is_pending():
    """With k1 = 1 the errors of the newest step flow k2 steps back, and no others."""
    x, y = sequence(3)
    known = np.array([False, False, True])
    frozen = {"rate_q24": 1, "clip_q16": 1}  # moves nothing
    long, short = (lstm_trainer(k1=1, k2=k, **frozen) for k in (3, 1))
    whole = lstm_trainer(k1=0, k2=3, **frozen)
    norms = []
    for t in (long, short, whole):
        t.teach(x, y, known)
        t.end()
        norms.append(t.counters.norm_q16)
    assert norms[0] == norms[2] != norms[1]


def test_one_call_is_as_many_calls_and_a_reset_forgets():
    x, y = sequence(7)
    learn = {"k1": 3, "k2": 5, "rule": "momentum", "decay_q14": 9000, "seed": 3}
    once, one_by_one = lstm_trainer(**learn), lstm_trainer(**learn)
    for _ in range(2):
        n = once.teach(x, y)
        assert n == sum(one_by_one.teach(x[[k]], y[[k]]) for k in range(7)) == 2
        assert once.end() == one_by_one.end() == 1
    assert once.blob() == one_by_one.blob()
    assert once.counters == one_by_one.counters


def test_a_symbol_is_its_one_hot_input():
    rng = np.random.default_rng(6)
    model = random_qmodel(rng, cell="lstm", n_in=4, n_layers=1, output="softmax")
    symbols, classes = rng.integers(0, 4, 20), rng.integers(0, model.shape.n_out, 20)
    a = trainer(model, k1=4, k2=6, symbols=True)
    b = trainer(model, k1=4, k2=6)
    dense = (np.eye(4, dtype=np.int16)[symbols] << model.x_exp).astype(np.int16)
    assert a.teach(symbols, classes) == b.teach(dense, classes) == 5
    assert a.blob() == b.blob()
    assert a.counters == b.counters


# ---- what learns ---------------------------------------------------------


def changed(t, before):
    """Which gates' masters differ."""
    return [not np.array_equal(g.M, M) for g, M in zip(t._gates, before, strict=True)]


def masters(t):
    return [g.M.copy() for g in t._gates]


def test_a_mask_freezes_layers_and_the_readout():
    x, y = sequence(4)
    for frozen, learns in ((1, [False] * 4 + [True]), (1 << 31, [True] * 4 + [False])):
        t = lstm_trainer(frozen=frozen, k1=1, k2=2)
        before = masters(t)
        t.teach(x, y)
        assert changed(t, before) == learns
    t = lstm_trainer(frozen=1 | 1 << 31, k1=1, k2=2)
    before = masters(t)
    assert t.teach(x, y) == 4
    assert not any(changed(t, before))
    assert t.counters.norm_q16 == 0


def test_a_factor_scales_or_freezes_one_tensor():
    x, y = sequence(3)
    plain, other = lstm_trainer(k1=0, k2=3), lstm_trainer(k1=0, k2=3)
    other.rate(0, 1, "h", 0)
    other.rate(0, 3, "x", 3 << 16)
    other.rate(1, 0, "b", 1)
    before = masters(plain)
    for t in (plain, other):
        t.teach(x, y)
        t.end()
    a, b = (
        [g.M - M for g, M in zip(t._gates, before, strict=True)] for t in (plain, other)
    )
    assert not b[1][:, 2:5].any()
    assert b[1][:, [0, 1, 5]].tolist() == a[1][:, [0, 1, 5]].tolist()
    assert abs(b[3][:, :2] - 3 * a[3][:, :2]).max() <= 2
    assert b[3][:, 2:].tolist() == a[3][:, 2:].tolist()
    assert abs(b[4][:, -1] * 65536 - a[4][:, -1]).max() <= 32768


@pytest.mark.parametrize("rule", ["momentum", "rmsprop"])
def test_a_frozen_tensor_keeps_its_memory_and_its_traces(rule):
    x, y = sequence(6)
    epsilon = 1000 * (rule == "rmsprop")
    t = lstm_trainer(
        method="rtrl97", k1=1, k2=0, rule=rule, decay_q14=8192, epsilon_q24=epsilon
    )
    t.teach(x[:3], y[:3])
    gate = t.layers[0]["g"]
    t.rate(0, 3, "h", 0)
    V, r, e = gate.V[:, 2:5], gate.r[:, 2:5], t._method.e["g"][:, 2:5]
    t.teach(x[3:], y[3:])
    assert np.array_equal(gate.V[:, 2:5], V)
    assert np.array_equal(gate.r[:, 2:5], r)
    assert np.array_equal(t._method.e["g"][:, 2:5], e)
    assert not np.array_equal(t._method.e["g"][:, :2], e[:, :2])


def test_what_was_gathered_before_freezing_waits_and_an_update_forgets_it():
    x, y = sequence(3)
    once, twice = lstm_trainer(k1=0, k2=3), lstm_trainer(k1=0, k2=3)
    for t in (once, twice):
        t.teach(x, y)
    gathered = once.gradient()[-1]
    twice.rate(1, 0, "h", 0)
    assert not twice.gradient()[-1][:, :3].any()
    twice.rate(1, 0, "h", 65536)
    assert np.array_equal(twice.gradient()[-1], gathered)
    twice.rate(1, 0, "h", 0)
    twice.end()
    twice.rate(1, 0, "h", 65536)
    assert not twice.gradient()[-1].any()


def test_a_mask_of_what_is_not_there_is_refused():
    t = lstm_trainer(k1=1, k2=2)
    with pytest.raises(ValueError, match="not there"):
        t.tune(dataclasses.replace(t.learn, frozen=2))
    with pytest.raises(ValueError, match="not there"):
        one_cell_trainer(1, frozen=1 << 31)


def test_tune_changes_the_rate_and_refuses_the_rest():
    t = lstm_trainer(k1=1, k2=2)
    t.tune(dataclasses.replace(t.learn, rate_q24=5, clip_q16=9, seed=4, frozen=1))
    assert t.layers[0]["i"].R.max() == 0
    assert t.readout.R.tolist() == [5] * 4
    for other in ({"k1": 2}, {"symbols": True}, {"rule": "momentum"}):
        with pytest.raises(ValueError, match="a training changes only"):
            t.tune(dataclasses.replace(t.learn, **other))
    assert t.learn.k1 == 1


def test_stochastic_rounding_depends_on_the_seed_and_repeats():
    x, y = sequence(20)
    blobs = []
    for seed in (0, 1, 1, 2):
        t = lstm_trainer(k1=1, k2=2, rate_q24=1 << 14, seed=seed)
        t.teach(x, y)
        blobs.append([M.tolist() for M in masters(t)])
    assert blobs[1] == blobs[2]
    assert blobs[0] != blobs[1] != blobs[3]


# ---- bad input -----------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "loss"), [("linear", "cross-entropy"), ("softmax", "mse")]
)
def test_other_pairs_of_output_and_loss_are_refused(output, loss):
    model = random_qmodel(np.random.default_rng(0), output=output)
    with pytest.raises(ValueError, match="do not learn with"):
        IntTrainer(pack(model), Learn(loss=loss, k2=1))


def test_rtrl97_is_for_one_layer_with_a_carried_state():
    for arguments in ({"cell": "rnn_tanh", "n_layers": 1}, {"cell": "lstm"}):
        kinds = {"n_layers": 2} | arguments
        model = random_qmodel(np.random.default_rng(0), output="linear", **kinds)
        with pytest.raises(ValueError, match="rtrl97 is for one layer"):
            IntTrainer(pack(model), Learn("rtrl97", loss="mse"))


@pytest.mark.parametrize(
    ("where", "gate", "part", "factor"),
    [
        (0, 4, "x", 1),
        (1, 0, "x", 1),
        (1, 1, "h", 1),
        (2, 0, "h", 1),
        (0, 0, "y", 1),
        (-1, 0, "x", 1),
        (0, -1, "x", 1),
        (0, 0, "x", -1),
        (0, 0, "x", 1 << 31),
    ],
)
def test_a_rate_of_no_tensor_is_refused(where, gate, part, factor):
    t = lstm_trainer(k2=1)
    with pytest.raises(ValueError, match=r"factor|part"):
        t.rate(where, gate, part, factor)


def test_a_wrong_step_is_refused_and_none_is_taken():
    x, y = sequence(3)
    t = lstm_trainer(k1=1, k2=1)
    before = t.blob()
    for bad_x, bad_y, known in (
        (x[:, :1], y, None),
        (x, y[:2], None),
        (x, y, [1, 0]),
        (x.astype(float), y, None),
        (x, y + 40000.0, None),
    ):
        with pytest.raises(ValueError, match=r"x|target|known"):
            t.teach(bad_x, bad_y, known)
    assert t.blob() == before
    assert t.counters.steps == 0


@pytest.mark.parametrize(
    ("output", "bad"), [("softmax", 3), ("softmax", -1), ("logistic", 16385)]
)
def test_a_target_out_of_range_is_refused_unless_it_is_not_known(output, bad):
    rng = np.random.default_rng(1)
    model = random_qmodel(rng, output=output, n_out=3, n_in=2)
    t = trainer(model, k1=1, k2=1)
    target = np.zeros((2, 3) if output == "logistic" else 2, np.int16)
    target[1] = bad
    x = np.zeros((2, 2), np.int16)
    with pytest.raises(ValueError, match="a target of"):
        t.teach(x, target)
    assert t.counters.steps == 0
    assert t.teach(x, target, [True, False]) == 1


def test_symbols_out_of_range_are_refused():
    model = random_qmodel(np.random.default_rng(1), n_in=3, output="linear", n_out=1)
    t = trainer(model, symbols=True)
    for bad in ([3], [-1], [[0]], [0.0]):
        with pytest.raises(ValueError, match="symbol"):
            t.teach(np.array(bad), np.zeros((1, 1), np.int16))


# ---- it learns -----------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        ("sgd", {"rate_q24": 1 << 23}),
        ("momentum", {"rate_q24": 1 << 20, "decay_q14": 14746}),
        (
            "rmsprop",
            {"rate_q24": 1 << 18, "decay_q14": 14746, "epsilon_q24": 1 << 14},
        ),
    ],
)
@pytest.mark.parametrize("method", ["tbptt", "rtrl97"])
def test_a_sign_is_remembered_over_four_steps(method, rule, more):
    """Class 1 if the first input was positive: the loss falls from ln 2 to a tenth."""
    T, shape = 4, stack("lstm", (1, 4, 2), output="softmax")
    rng = np.random.default_rng(0)
    params = init_params(shape, rng, scale=0.7, biases={"f": 2.0, "readout": 0.0})
    k2 = T if method == "tbptt" else 0
    t = trainer(quantize(shape, params), method=method, rule=rule, k2=k2, **more)
    losses = []
    for _ in range(250):
        x = np.zeros((T, 1), np.int16)
        x[0] = 16384 * rng.choice([-1, 1])
        t.teach(x, np.full(T, x[0, 0] > 0).astype(np.int16), np.arange(T) == T - 1)
        t.end()
        losses.append(t.counters.loss_q16 / 65536)
    assert np.mean(losses[:10]) > log(2) / 2
    assert np.mean(losses[-20:]) < log(2) / 10
