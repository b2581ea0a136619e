"""What steps, targets, symbols and 8-bit blobs do to a training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from checkpoints import decode, masters
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels
from trainings import (
    Runner,
    Training,
    blob_of,
    make,
    random_learn,
    random_lesson,
    small_model,
    tame_model,
    teach,
)

from pyvgrad.blob import parse
from pyvgrad.intlearn import IntTrainer

seeds = st.integers(0, 2**32)


def drawn(model, seed, steps=10, **fixed):
    """A lesson of random settings, and those."""
    rng = np.random.default_rng(seed)
    learn = dataclasses.replace(random_learn(rng, model), **fixed)
    return learn, random_lesson(rng, model, learn, steps)


def weights(blob):
    """Everything but sections."""
    return dataclasses.replace(parse(blob), sections=())


# ---- the same bits in another way ------------------------------------------


@given(qmodels(), seeds)
@settings(max_examples=150, deadline=None)
def test_symbols_are_their_one_hot_inputs(model, seed):
    learn, lesson = drawn(model, seed, symbols=True)
    dense = dataclasses.replace(learn, symbols=False)
    both = Training(blob_of(model), learn), Training(blob_of(model), dense)
    x, *rest = lesson
    one_hot = (x[:, None] == np.arange(model.shape.n_in)) * (1 << model.x_exp)
    lessons = lesson, (one_hot.astype(np.int16), *rest)
    for _ in range(3):
        for part in (slice(4), slice(4, None)):
            done = [teach(t, x, part) for t, x in zip(both, lessons, strict=True)]
            assert done[0] == done[1]
            assert both[0].plain() == both[1].plain()
            assert both[0].counters() == both[1].counters()
            states = [decode(t.checkpoint()) for t in both]
            assert_same_moments(*states)
        assert both[0].end() == both[1].end()
    assert both[0].plain() == both[1].plain()


def assert_same_moments(a, b):
    for key, gate in a.gates.items():
        for name in ("lo", "G", "V", "traces"):
            pair = gate.get(name), b.gates[key].get(name)
            assert (pair[0] is None) == (pair[1] is None)
            if pair[0] is not None:
                for p, q in zip(*pair, strict=True):
                    assert (p == q).all(), (key, name)


@given(qmodels(), seeds)
@settings(max_examples=80, deadline=None)
def test_a_run_of_symbols_is_that_of_their_one_hot_inputs(model, seed):
    symbols = np.random.default_rng(seed).integers(0, model.shape.n_in, 8)
    runs = [Runner(blob_of(model)) for _ in range(3)]
    eye = np.eye(model.shape.n_in, dtype=np.int64) * (1 << model.x_exp)
    each = []
    for s in symbols.tolist():
        y = runs[0].step(s)
        assert y == runs[1].step(eye[s])
        assert runs[0].r.saturated == runs[1].r.saturated
        each.append(y)
    ffi, lib = runs[2].ffi, runs[2].lib
    last = model.shape.mode != "sequence"
    y = ffi.new("vg_sig[]", 8 * model.shape.n_out)
    raw = ffi.new("uint16_t[]", symbols.tolist())
    assert lib.vg_run_symbols(runs[2].r, raw, 8, y) == 0
    whole = each[-1] if last else [v for row in each for v in row]
    assert list(y)[: len(whole)] == whole
    # refused: nothing is done
    before = runs[2].arena.bytes()
    raw[7] = model.shape.n_in
    assert lib.vg_run_symbols(runs[2].r, raw, 8, y) == lib.VG_E_ARG
    assert lib.vg_run_symbol(runs[2].r, model.shape.n_in, y) == lib.VG_E_ARG
    assert runs[2].arena.bytes() == before


@given(qmodels(), seeds, st.booleans())
@settings(max_examples=150, deadline=None)
def test_one_call_of_n_steps_equals_n_calls(model, seed, all_known):
    learn, (x, target, known) = drawn(model, seed)
    known = np.ones(10, bool) if all_known else known
    one, many = Training(blob_of(model), learn), Training(blob_of(model), learn)
    changed = sum(c for c, _ in teach(many, (x, target, known), with_y=False))
    assert one.steps(x, target, None if all_known else known) == changed
    assert one.checkpoint() == many.checkpoint()
    assert one.steps(x, None, known) == many.steps(x, target, [0] * 10)
    assert one.checkpoint() == many.checkpoint()
    before = one.checkpoint()
    assert one.steps(x[:0], target[:0]) == 0
    assert one.checkpoint() == before


@given(qmodels(bits=16), seeds)
@settings(max_examples=60, deadline=None)
def test_the_outputs_of_a_training_are_those_of_a_run(model, seed):
    learn, (x, target, known) = drawn(model, seed, frozen=0)
    training = Training(blob_of(model), learn)
    for row, aim, has in zip(x, target, known, strict=True):
        before = training.plain()
        state = decode(training.checkpoint()).images
        _, y = training.step(row, aim if has else None)
        runner = Runner(before)
        image = before[-4:] + bytes(4)
        image += b"".join(i.tobytes() + bytes(-i.size % 4) for i in state)
        raw = runner.ffi.from_buffer(image)
        got = runner.lib.vg_run_restore(runner.r, raw, len(image))
        assert got == 0
        assert runner.step(row) == y


@given(qmodels(bits=16, extreme=True, output="linear"), seeds)
@settings(max_examples=40, deadline=None)
def test_logits_count_where_somebody_asks_for_them(model, seed):
    """Without y and without a target the readout is not computed, as in a run."""
    learn, (x, target, _) = drawn(model, seed, symbols=False, k1=0)
    training = Training(blob_of(model), learn)
    runner = Runner(training.plain())
    null = runner.ffi.NULL
    for k, row in enumerate(x):
        with_y, aim = k % 3 == 0, target[k] if k % 3 == 1 else None
        training.step(row, aim, with_y=with_y)
        y = null if k % 3 == 2 else training.sigs(np.zeros(model.shape.n_out))
        runner.lib.vg_run_step(runner.r, training.sigs(row), y)
        assert training.t.run.saturated == runner.r.saturated


# ---- targets that are missing, sequences that end --------------------------


@given(qmodels(), seeds)
@settings(max_examples=60, deadline=None)
def test_the_mode_of_a_model_has_no_part_in_its_learning(model, seed):
    learn, (x, target, known) = drawn(model, seed)
    every, last = (Training(in_mode(model, m), learn) for m in ("sequence", "last"))
    for mask in (known, [0] * 9 + [1], None):
        changed = every.steps(x, target, mask) + every.end()
        assert last.steps(x, target, mask) + last.end() == changed
        assert last.counters() == every.counters()
    assert in_mode(parse(last.plain()), "sequence") == every.plain()


def in_mode(model, mode):
    return blob_of(
        dataclasses.replace(model, shape=dataclasses.replace(model.shape, mode=mode))
    )


@given(qmodels(), seeds)
@settings(max_examples=100, deadline=None)
def test_a_sequence_without_a_target_changes_nothing(model, seed):
    learn, (x, target, known) = drawn(model, seed)
    training = Training(blob_of(model), learn)
    teach(training, (x, target, known))
    training.end()
    before, counted = decode(training.checkpoint()), training.counters()
    plain = training.plain()
    for steps in (10, 3, 1, 0):
        assert training.steps(x[:steps], None) == 0
        assert training.end() == 0
    assert training.plain() == plain
    assert_same_moments(before, decode(training.checkpoint()))
    now = training.counters()
    assert now[:5] == [counted[0] + 4, counted[1] + 14, *counted[2:5]]
    assert now[6:] == counted[6:]
    if learn.method == "tbptt":  # traces may be clamped all the same
        assert now[5] == counted[5]


@given(qmodels(), seeds, st.integers(0, 10), st.integers(0, 10))
@settings(max_examples=100, deadline=None)
def test_targets_anywhere_and_ends_anywhere_are_those_of_numpy(model, seed, at, end):
    learn, (x, target, _) = drawn(model, seed)
    known = np.arange(10) == at
    ours, other = Training(blob_of(model), learn), IntTrainer(blob_of(model), learn)
    for steps in (end, 10, 1):
        part = x[:steps], target[:steps], known[:steps]
        assert ours.steps(*part) == other.teach(*part)
        assert ours.end() == other.end()
    assert ours.plain() == other.blob()


@pytest.mark.parametrize("method", ["tbptt", "rtrl97"])
def test_what_a_sequence_was_does_not_reach_into_the_next(method):
    model = small_model(3, cell="lstm", n_layers=1, output="softmax", shortcuts=True)
    learn = make(method=method, k2=0 if method == "rtrl97" else 4, symbols=True)
    first, second = Training(blob_of(model), learn), Training(blob_of(model), learn)
    first.steps([0, 1, 2, 1], None)
    first.end()
    for training in (first, second):
        training.steps([2, 0], [0, 1])
        training.end()
    assert first.plain() == second.plain()
    assert first.counters()[2:] == second.counters()[2:]


def test_an_update_falls_due_after_k1_steps_and_at_the_end():
    model = small_model(3, cell="lstm", n_layers=1, output="softmax")
    for k1, k2, due in (
        (0, 3, []),
        (1, 3, range(7)),
        (2, 2, [1, 3, 5]),
        (3, 3, [2, 5]),
    ):
        training = Training(blob_of(model), make(k1=k1, k2=k2, symbols=True))
        got = [training.step(k % 3, [0])[0] for k in range(7)]
        assert [k for k, changed in enumerate(got) if changed] == list(due)
        assert training.end() == int(k1 != 1)
        assert training.end() == 0
    for k1, due in ((0, 0), (1, 7)):
        learn = make(method="rtrl97", k1=k1, symbols=True)
        training = Training(blob_of(model), learn)
        assert sum(training.step(k % 3, [0])[0] for k in range(7)) == due
        assert training.end() == int(k1 == 0)


# ---- 8-bit weights ---------------------------------------------------------


@given(qmodels(bits=8, sections=False), seeds)
@settings(max_examples=100, deadline=None)
def test_8_bit_weights_are_the_same_values_with_16(model, seed):
    learn, _ = drawn(model, seed)
    training = Training(blob_of(model), learn)
    wide, kept = parse(training.plain()), masters(training.checkpoint())
    assert wide.weight_bits == 16
    assert wide.shape == model.shape
    for key, (W, b) in kept.items():
        if key == "y":
            q, narrow, exps = wide.readout, model.readout, model.readout_exps
            E, was, hi = q.exps, narrow.exps, narrow.weights
            biases, arg = narrow.biases, narrow.logit_exp
        else:
            (index, g), q, narrow = key, wide.layers[key[0]], model.layers[key[0]]
            exps = model.column_exps(index, g)
            E, was, hi = q.exps[g], narrow.exps[g], narrow.weights[g]
            biases, arg = narrow.biases.get(g), narrow.argument_exp(g)
        assert was.min() + 5 >= E[0] >= max(arg + 1, min(was.min() + 2, arg + 28))
        values = hi * 2.0 ** (exps[None] - was[:, None])
        step = 2.0 ** (exps[None] - E[0] - 16.0)
        assert (np.abs(W - values) <= step).all()
        high = (q.weights if key == "y" else q.weights[key[1]]) * step * 65536
        assert (np.abs(high - values) <= 32769 * step).all()
        if b is not None:
            most = 2147450879 * 2.0 ** -min(was.min() + 5, arg + 31)
            exact = np.clip(biases * 2.0**-was, -most, most)
            assert (np.abs(b - exact) <= 2.0 ** -E[0]).all()


def most_apart(models):
    """The largest difference of y between runs with 8 bits and of the widened blob."""
    rng, worst = np.random.default_rng(1), 0
    for model in models:
        blob = blob_of(model)
        narrow, wide = Runner(blob), Runner(Training(blob, make(k2=1)).plain())
        for x in rng.integers(-16384, 16384, (10, model.shape.n_in)):
            difference = np.subtract(narrow.step(x), wide.step(x))
            worst = max(worst, np.abs(difference).max())
    return worst


def test_a_widened_blob_runs_the_same_where_its_rows_are_alike():
    """16 bits hold the 8 of every row whose exponent is within 2 of the least."""
    models = [tame_model(k, bits=8, output="logistic") for k in range(20)]
    spread = [np.ptp(E) for m in models for E in m.layers[0].exps.values()]
    assert 0 < max(spread) <= 2
    assert most_apart(models) == 0


def test_three_bits_of_headroom_are_given_once():
    """The largest hi of a gate is just below 4096 (or 8 times lower than it was)."""
    for bits in (8, 16):
        model = small_model(
            9, cell="lstm", n_layers=1, output="softmax", extreme=True, bits=bits
        )
        training = Training(blob_of(model), make(method="rtrl97", symbols=True))
        now = parse(training.plain())
        for gate in "ifog":
            E, was = now.layers[0].exps[gate][0], model.layers[0].exps[gate]
            arg = model.layers[0].argument_exp(gate)
            if bits == 16:
                assert max(was[0] - 3, arg + 1) == E
            hi = np.abs(now.layers[0].weights[gate])
            assert hi.max() <= 4096 or bits == 8 or E == arg + 1  # noqa: SIM300
        assert training.counters()[4] == 0  # not counted as falls
        resumed = Training(training.checkpoint(), None)
        assert weights(resumed.plain()) == now
