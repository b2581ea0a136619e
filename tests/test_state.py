"""Runs that go on: single steps, batches, saved states of BLOB.md."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel, random_signals

from pyvgrad.blob import pack
from pyvgrad.cells import Fields
from pyvgrad.errors import BlobError
from pyvgrad.intmodel import IntModel, NumpyExecutor


@given(qmodels(layout="any"), st.integers(0, 2**32), st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_steps_are_one_run_are_a_run_split_by_save_and_restore(model, seed, cut):
    blob = pack(model)
    x = random_signals(np.random.default_rng(seed), (7, model.shape.n_in))
    whole = NumpyExecutor(blob)
    y, logits, _ = whole.run(x)

    stepped = NumpyExecutor(blob)
    for t in range(7):
        y_t, logits_t = stepped.step(x[t])
        assert np.array_equal(y_t, y[t])
        assert np.array_equal(logits_t, logits[t])

    first, second = NumpyExecutor(blob), NumpyExecutor(blob)
    y_1, _, _ = first.run(x[:cut])
    second.step(x[0])
    second.state = first.state
    assert second.saturated == first.saturated
    y_2, _, states = second.run(x[cut:], states=True)
    assert np.array_equal(np.concatenate([y_1, y_2]), y)
    assert states.shape == (7 - cut, len(whole.state))
    assert whole.state == stepped.state == second.state

    whole.reset()
    assert whole.saturated == 0
    assert whole.state == NumpyExecutor(blob).state


@given(qmodels(layout="any"), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_its_sequences_and_padding_is_not_counted(model, seed):
    rng = np.random.default_rng(seed)
    lengths = np.array([5, 0, 3])
    x = random_signals(rng, (3, 5, model.shape.n_in))
    trace = IntModel(model).run(x, lengths, states=True, gates=True)
    for b, n in enumerate(lengths):
        one = NumpyExecutor(pack(model))
        y, logits, states = one.run(x[b, :n], states=True)
        assert np.array_equal(trace.y[b, :n], y)
        assert np.array_equal(trace.logits[b, :n], logits)
        assert np.array_equal(trace.images[b, :n], states)
        assert trace.saturated[b] == one.saturated
    for k, q in enumerate(model.layers):
        assert trace.h[k].shape == (3, 5, q.layer.n)
        assert (trace.c[k] is None) == (not q.layer.row.carry)
        assert list(trace.gates[k]) == (
            list(q.layer.gates) if q.layer.row.carry else []
        )
        for letter, values in trace.gates[k].items():
            assert values.shape == (3, 5, q.layer.rows(letter))


@given(qmodels(layout="any"), st.data())
@settings(max_examples=60, deadline=None)
def test_a_foreign_or_damaged_state_is_refused_and_changes_nothing(model, data):
    run = NumpyExecutor(pack(model))
    run.run(random_signals(np.random.default_rng(1), (3, model.shape.n_in)))
    state = run.state
    bit = data.draw(st.integers(0, 31))
    foreign = bytearray(state)
    foreign[bit // 8] ^= 1 << bit % 8
    for bad in (bytes(foreign), state[:-1], state + bytes(4), b""):
        with pytest.raises(BlobError):
            run.state = bad
        assert run.state == state


def test_states_that_no_run_saves_are_refused():
    model = random_qmodel(
        np.random.default_rng(0),
        cell="lstm97",
        fields=Fields(),
        n_max=1,
        block=1,
        n_layers=1,
    )
    run = NumpyExecutor(pack(model))
    state = run.state
    assert len(state) == 4 + 4 + 4 + 2 + 2
    limit = (2**30).to_bytes(4, "little")
    run.state = state[:8] + limit + state[12:]
    too_far = (-(2**30) - 1).to_bytes(4, "little", signed=True)
    for bad in (state[:8] + too_far + state[12:], state[:-1] + b"\x01"):
        with pytest.raises(BlobError, match="damaged"):
            run.state = bad
