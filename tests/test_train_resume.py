"""Checkpoints: what BLOB.md says is in them, and that a training goes on from them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from checkpoints import KINDS, RULES, begun, decode, finished
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
    teach,
)

from pyvgrad.blob import parse

each_kind = pytest.mark.parametrize("kind", KINDS)
each_rule = pytest.mark.parametrize("rule", RULES)
seeds = st.integers(0, 2**32)


@each_rule
@each_kind
def test_a_training_goes_on_from_any_step_with_the_same_bits(kind, rule):
    training, lessons = begun(kind, rule)
    finished(training, lessons[:2])
    cuts = []
    for step in range(10):
        cuts.append(training.checkpoint())
        if step < 9:
            teach(training, lessons[2], slice(step, step + 1))
    training.end()
    whole = finished(training, lessons[3:])
    for step, cut in enumerate(cuts):
        fill, in_place = (0xFFFF, step % 2 == 0)
        resumed = Training(cut, None, fill=fill, in_place=in_place)
        assert resumed.bad == 0
        assert resumed.checkpoint() == cut
        done = finished(resumed, lessons[2:], step)
        assert done[1:] == whole[1:]
        assert done[0][-10:] == whole[0]


@given(qmodels(bits=16), seeds, st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_any_model_with_any_settings_goes_on(model, seed, cut):
    rng = np.random.default_rng(seed)
    learn = random_learn(rng, model)
    lesson = random_lesson(rng, model, learn, 12)
    whole = Training(blob_of(model), learn)
    whole.lib.vg_train_rate(whole.t, 0, 0, 0, 1 << 17)
    teach(whole, lesson)
    whole.end()
    teach(whole, lesson, slice(cut))
    resumed = Training(whole.checkpoint(), None, fill=0)
    again = Training(resumed.checkpoint(), None, fill=0xFFFF)
    assert finished(whole, [lesson], cut) == finished(again, [lesson], cut)


@given(qmodels(bits=16), seeds)
@settings(max_examples=150, deadline=None)
def test_a_checkpoint_is_laid_out_as_blob_md_says(model, seed):
    """decode reads to the last byte; what it reads is what happened."""
    rng = np.random.default_rng(seed)
    learn = random_learn(rng, model)
    x, _, known = lesson = random_lesson(rng, model, learn, 9)
    training = Training(blob_of(model), learn)
    first = decode(training.checkpoint())
    assert all(list(g["factors"]) == [65536] * 3 for g in first.gates.values())
    teach(training, lesson)
    training.end()
    teach(training, lesson, slice(5))
    state = decode(training.checkpoint())
    assert struct.pack("<4B2HI4iI", *list(state.head.values())[1:13]) == (
        learn.to_bytes()
    )
    assert [state.head[k] for k in ("sequences", "steps")] == [1, 14]
    assert list(state.head.values())[13:21] == training.counters()
    assert state.head["pending"] == (5 % learn.k1 if learn.k1 else 5)
    recent = known[5 - state.head["pending"] : 5]
    assert state.head["hot"] == int(recent.any())
    images = b"".join(i.tobytes() + bytes(-i.size % 4) for i in state.images)
    assert images == saved_states(training)
    if "fresh" in state.lists:
        first = 5 - state.head["pending"]
        symbols = x[first:5][known[first:5]]
        assert_list(state.lists["fresh"], symbols, state.head["n_fresh"])
    if learn.method == "rtrl97":
        assert (state.head["tape_at"], state.head["tape_len"]) == (0, 0)
        if learn.symbols:
            assert_list(state.lists["seen"], x[:5], state.head["n_seen"])
    else:
        assert_tape(state, learn, x, model)


def saved_states(training):
    """The layers' states, as vg_run_save gives them."""
    run = training.ffi.addressof(training.t, "run")
    buf = training.ffi.new("uint8_t[]", training.t.model.state_size)
    assert training.lib.vg_run_save(run, buf, len(buf)) == len(buf)
    return bytes(training.ffi.buffer(buf))[8:]


def assert_list(pair, symbols, n):
    entries, marks = pair
    order = list(dict.fromkeys(symbols.tolist()))
    assert entries[:n].tolist() == order
    places = {s: order.index(s) + 1 for s in order}
    assert marks.tolist() == [places.get(s, 0) for s in range(len(marks))]


def assert_tape(state, learn, x, model):
    at, steps = state.head["tape_at"], state.head["tape_len"]
    assert (at, steps) == (5 % learn.k2, min(5, learn.k2))
    newest = (at - 1) % learn.k2
    h, last = state.tapes[0], model.layers[0].layer
    if learn.symbols:
        order = [(at - 1 - k) % learn.k2 for k in range(steps)]
        assert state.symbol_tape[order].tolist() == x[:5][::-1][:steps].tolist()
    else:
        assert h["z"][: last.n_in, newest].tolist() == x[4].tolist()
    if not last.n_recurrent:
        r = state.images[0].view("<i2")[2 * last.n * bool(last.row.carry) :]
        assert h["h"][:, newest].tolist() == r[: last.n].tolist()
    assert (state.dh_tape != 0).any(axis=0).sum() <= state.head["pending"]


def test_a_whole_tape_has_its_oldest_step_where_the_next_goes():
    model = small_model(3, cell="lstm", n_layers=1, output="softmax")
    learn = make(k2=4, symbols=True)
    training = Training(blob_of(model), learn)
    symbols = [0, 1, 2, 1, 1, 0, 2]
    for s in symbols:
        training.step(s)
    state = decode(training.checkpoint())
    assert (state.head["tape_at"], state.head["tape_len"]) == (3, 4)
    assert np.roll(state.symbol_tape, -3).tolist() == symbols[-4:]


@given(qmodels(bits=16), seeds)
@settings(max_examples=60, deadline=None)
def test_a_checkpoint_runs_as_the_plain_blob_does(model, seed):
    rng = np.random.default_rng(seed)
    learn = random_learn(rng, model)
    lesson = random_lesson(rng, model, learn, 8)
    training = Training(blob_of(model), learn)
    teach(training, lesson)
    plain = training.plain()
    checkpoint = training.checkpoint()
    assert training.plain() == plain
    assert parse(plain).sections == parse(checkpoint).sections[:-1]
    runs = Runner(plain), Runner(checkpoint)
    for x in lesson[0]:
        assert runs[0].step(x) == runs[1].step(x)


def test_what_the_run_counted_goes_on():
    model = small_model(6, cell="rnn_relu", output="linear", extreme=True)
    training = Training(blob_of(model), make(loss="mse", k2=2))
    x = np.full((6, 3), 32767, np.int16)
    training.steps(x, np.zeros((6, 2), np.int16))
    counted = training.t.run.saturated
    assert counted > 0
    cut = training.checkpoint()
    assert decode(cut).head["run_saturated"] == counted
    assert Training(cut, None).t.run.saturated == counted


def test_headroom_is_not_given_again():
    model = small_model(5, cell="lstm", n_layers=1, output="softmax", extreme=True)
    first = Training(blob_of(model), make(method="rtrl97"))
    exps = [parse(first.plain()).layers[0].exps[g][0] for g in "ifog"]
    before = [model.layers[0].exps[g][0] for g in "ifog"]
    assert any(a < b for a, b in zip(exps, before, strict=True))
    second = Training(first.checkpoint(), None)
    assert second.plain() == first.plain()


def test_weights_that_grew_keep_their_exponents_when_resumed():
    model = small_model(2, cell="lstm", n_layers=1, output="linear")
    learn = make(method="rtrl97", loss="mse", rate_q24=1 << 24, k1=1)
    training = Training(blob_of(model), learn)
    rng = np.random.default_rng(0)
    for _ in range(200):
        teach(training, random_lesson(rng, model, learn, 4))
    hi = [np.abs(w).max() for w in parse(training.plain()).layers[0].weights.values()]
    assert max(hi) > 4095
    cut = training.checkpoint()
    assert Training(cut, None).checkpoint() == cut
    assert Training(training.plain(), learn).plain() != training.plain()


def test_with_settings_a_checkpoint_starts_anew_without_its_state():
    training, lessons = begun("rtrl97", "momentum")
    finished(training, lessons)
    anew = Training(training.checkpoint(), make(method="rtrl97", rule="rmsprop"))
    plain = Training(training.plain(), make(method="rtrl97", rule="rmsprop"))
    assert anew.checkpoint() == plain.checkpoint()
    assert anew.counters() == [0] * 8


def test_sections_before_the_state_stay():
    model = small_model(11, cell="lstm", sections=True, n_layers=1, output="softmax")
    while len(model.sections) < 3:
        model = small_model(
            len(model.sections) + 40,
            cell="lstm",
            n_layers=1,
            output="softmax",
            sections=True,
        )
    training = Training(blob_of(model), make(method="rtrl97"))
    assert parse(training.plain()).sections == model.sections
    assert parse(training.checkpoint()).sections[:-1] == model.sections
