"""Many sequences in one call of the C core are what single steps are, bit for bit."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel
from test_core import signals

from pyvgrad.blob import pack
from pyvgrad.intmodel import IntModel, NumpyExecutor
from pyvgrad.native import HostExecutor
from pyvgrad.native_core import Core, Rows, Run
from pyvgrad.native_run import HostRunner

lengths_of = st.lists(st.integers(0, 9), max_size=7)
seeds = st.integers(0, 2**32)
threads_of = st.sampled_from([1, 2, 3])


def padded(model, seed, ends):
    """Sequences (N, T, n_in) that are noise behind their ends, too."""
    n, longest = len(ends), max(ends, default=0)
    x = signals(seed, n * longest, model)
    return x.reshape(n, longest, model.shape.n_in)


def single_steps(blob, x):
    """(y, logits, states, clamps) of vg_run_step, called from Python step by step."""
    run = Run(Core(), blob)
    ffi, lib, n_out = run.core.ffi, run.core.lib, run.model.n_out
    y, image = ffi.new("vg_sig[]", n_out), ffi.new("uint8_t[]", run.model.state_size)
    rows = []
    for one in x:
        lib.vg_run_step(run.run, ffi.from_buffer("vg_sig[]", one.copy()), y)
        lib.vg_run_save(run.run, image, len(image))
        rows.append((list(y), ffi.unpack(lib.vg_run_logits(run.run), n_out)))
        rows[-1] += (bytes(image),)
    return [list(column) for column in zip(*rows, strict=True)], run.run.saturated


@given(qmodels(layout="any"), seeds, lengths_of, threads_of)
@settings(max_examples=100, deadline=None)
def test_a_batch_is_every_sequence_step_by_step(model, seed, ends, threads):
    blob, x = pack(model), padded(model, seed, ends)
    host = HostExecutor(blob)
    found = list(host.sequences(x, ends, states=True, threads=threads))
    assert len(found) == len(ends)
    for got, one, end in zip(found, x, ends, strict=True):
        columns, clamps = single_steps(blob, one[:end])
        assert got.saturated == clamps
        have = got.y.tolist(), got.logits.tolist(), [bytes(row) for row in got.images]
        assert list(have) == (columns or [[], [], []])


@given(
    qmodels(layout="any"), seeds, st.lists(st.integers(1, 9), min_size=1, max_size=7)
)
@settings(max_examples=50, deadline=None)
def test_a_runner_gives_a_batch_as_it_gives_each_sequence(model, seed, ends):
    x, runner = padded(model, seed, ends), HostRunner(pack(model))
    want = IntModel(model).run(x, np.array(ends))
    behind = np.arange(x.shape[1]) >= np.array(ends)[:, None]
    last = np.arange(len(ends)), np.array(ends) - 1
    for logits, all_steps in ((False, want.y), (True, want.logits)):
        found = runner.batch(x, ends, logits=logits, threads=2)
        assert (found[~behind] == all_steps[~behind]).all()
        assert not found[behind].any()
        ragged = [one[:end] for one, end in zip(x, ends, strict=True)]
        many = runner.many(ragged, logits=logits)
        assert (np.concatenate(many) == found[~behind]).all()
        assert (runner.batch(x, ends, logits=logits, last=True) == found[last]).all()
        assert (runner.many(ragged, logits=logits, last=True) == found[last]).all()


@given(
    qmodels(whole=True, layout="any"),
    seeds,
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_a_batch_of_whole_sequences_is_each_of_them(model, seed, ends):
    blob, x = pack(model), padded(model, seed, ends)
    last = model.shape.mode != "sequence"
    runner, expected = HostRunner(blob), NumpyExecutor(blob)
    for logits in (False, True):
        found = runner.batch(x, ends, logits=logits, last=last, threads=2)
        for got, one, end in zip(found, x, ends, strict=True):
            expected.reset()
            want = expected.run(one[:end])[logits]
            assert (got == want[-1] if last else got[:end] == want).all()


def test_symbols_are_asked_in_a_batch():
    rng = np.random.default_rng(1)
    model = random_qmodel(rng, n_in=5, scaling=False)
    x = rng.integers(5, size=(4, 6)).astype(np.uint16)
    runner = HostRunner(pack(model))
    one_hot = np.eye(5)[x]
    assert (runner.batch(x, [3, 6, 1, 2]) == runner.batch(one_hot, [3, 6, 1, 2])).all()
    assert runner.many([], logits=False) == []


@pytest.mark.parametrize(
    ("lengths", "says"),
    [
        ([4, 4], "numbers from 0 to 4"),
        ([4, 4, 5], "numbers from 0 to 4"),
        ([4, -1, 4], "numbers from 0 to 4"),
        ([4, 0, 4], "a step at least"),
    ],
)
def test_a_batch_refuses_other_lengths(lengths, says):
    model = random_qmodel(np.random.default_rng(2), n_in=3)
    runner = HostRunner(pack(model))
    with pytest.raises(ValueError, match=says):
        runner.batch(np.zeros((3, 4, 3), np.int16), lengths)


@pytest.mark.parametrize(
    ("x", "how", "says"),
    [
        ([[1, 2], [3, 4]], {}, r"x is int64 \(4,\), not uint16 symbols"),
        (np.zeros(3, np.uint16), {}, r"x is uint16 \(3,\), not sequences"),
        (np.zeros((1, 1, 1, 3), np.int16), {}, "not sequences"),
        (np.float64(0), {}, "must have shape"),
        (np.zeros((2, 2), np.uint16), {"threads": 0}, "from 1 on, not 0"),
        (np.zeros((2, 2), np.uint16), {"threads": -1}, "from 1 on, not -1"),
        (np.zeros((2, 2), np.uint16), {"threads": 1.5}, "from 1 on, not 1.5"),
    ],
)
def test_a_batch_refuses_what_is_none(x, how, says):
    model = random_qmodel(np.random.default_rng(2), n_in=3, scaling=False)
    with pytest.raises(ValueError, match=says):
        HostRunner(pack(model)).batch(x, **how)


def test_a_batch_is_written_where_asked_and_nowhere_behind_the_ends():
    model = random_qmodel(np.random.default_rng(2), n_in=3)
    runner, x = HostRunner(pack(model)), padded(model, 1, [3, 1, 2])
    y = runner.batch(x, [3, 1, 2])
    out = np.full_like(y, 77)
    assert runner.batch(x, [3, 1, 2], out=out) is out
    behind = np.arange(3) >= np.array([3, 1, 2])[:, None]
    assert (out[behind] == 77).all()
    assert (out[~behind] == y[~behind]).all()
    for wrong in (out[:2], out.astype(np.int32), np.asfortranarray(out)):
        with pytest.raises(ValueError, match="out is"):
            runner.batch(x, out=wrong)


def test_a_batch_in_one_piece_is_not_copied():
    x = np.zeros((3, 4, 2), np.int16)
    assert np.shares_memory(Rows.of(x, [1, 2, 3]).x, x)


def test_another_thread_runs_while_a_batch_does():
    # No thread is made to give up Python's lock: the other one gets it only if the
    # call lets go of it.
    model = random_qmodel(np.random.default_rng(3), cell="lstm", n_in=8)
    host, x = HostExecutor(pack(model)), np.zeros((1000, 1000, 8), np.int16)
    done = threading.Event()

    def run():
        next(host.sequences(x))
        done.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        worker = threading.Thread(target=run)
        worker.start()
        meanwhile = not done.is_set()
    finally:
        sys.setswitchinterval(before)
    worker.join()
    assert meanwhile
