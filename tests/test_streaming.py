"""A stream may be cut anywhere, on anything that runs a blob, for every cell."""

import zlib
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel, random_signals

from pyvgrad import Model
from pyvgrad.blob import pack
from pyvgrad.cells import CELLS
from pyvgrad.executors import CORES, open_executor

HERE = ("numpy", "host", "onnx")
STEPS = 8


@st.composite
def splits(draw, names):
    """STEPS steps in pieces (executor, one call or single steps, moved, steps).

    A piece may be of no step; one that is not ``moved`` goes on where its executor
    stands, if that did the piece before.
    """
    pieces, left = [], STEPS
    while left and len(pieces) < 2 * STEPS:
        n = draw(st.integers(0, left))
        name, single, moved = (
            draw(st.sampled_from(names)),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        pieces.append((name, single, moved, n))
        left -= n
    return [*pieces, (names[0], False, True, left)]


def take(executor, x, single):
    """y and logits of the steps x, by one call or by single steps."""
    if not single or not len(x):
        return executor.run(x)[:2]
    return tuple(map(np.array, zip(*(executor.step(row) for row in x), strict=True)))


def assert_cut_is_whole(executors, start, x, pieces):
    """Every piece ends in the state, and gives the outputs, of the one call."""
    first = executors["numpy"]
    first.state = start
    y, logits, images = first.run(x, states=True)
    clamps = first.saturated
    state, here, t = start, None, 0
    for name, single, moved, n in pieces:
        executor = executors[name]
        if moved or name != here:
            executor.state = state
        got_y, got_logits = take(executor, x[t : t + n], single)
        t, here, state = t + n, name, executor.state
        assert np.array_equal(got_y, y[t - n : t])
        assert np.array_equal(got_logits, logits[t - n : t])
        assert state == (images[t - 1].tobytes() if t else start)
    assert t == len(x)
    assert executors[here].saturated == clamps


def opened(stack, blob, names):
    return {name: stack.enter_context(open_executor(blob, name)) for name in names}


@pytest.mark.parametrize("cell", CELLS)
@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_a_stream_cut_anywhere_is_one_call(cell, data, seed):
    model = data.draw(qmodels(cell=cell, n_max=4, layout="any"))
    x = random_signals(np.random.default_rng(seed), (STEPS, model.shape.n_in))
    pieces = data.draw(splits(HERE))
    with ExitStack() as stack:
        executors = opened(stack, pack(model), HERE)
        start = executors["numpy"].state
        for name in HERE:
            assert executors[name].state == start
            assert_cut_is_whole(executors, start, x, [(name, False, True, STEPS)])
        assert_cut_is_whole(executors, start, x, pieces)


@pytest.fixture(scope="module", params=CELLS)
def streams(request):
    """Executors of one model of a cell, one of them a core; every core has its turn."""
    core = CORES[list(CELLS).index(request.param) % len(CORES)]
    rng = np.random.default_rng(zlib.crc32(request.param.encode()))
    model = random_qmodel(
        rng, cell=request.param, n_layers=2, n_in=3, n_max=4, layout="any"
    )
    with ExitStack() as stack:
        executors = opened(stack, pack(model), (*HERE, core))
        x = random_signals(rng, (STEPS, 3))
        yield executors, executors["numpy"].state, x, core


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_a_stream_may_pass_through_a_core(streams, data):
    executors, start, x, core = streams
    pieces = data.draw(splits((core, *HERE)))
    executors[core].reset()
    assert executors[core].state == start
    assert_cut_is_whole(executors, start, x, [(core, False, False, STEPS)])
    assert_cut_is_whole(executors, start, x, [(core, True, True, STEPS)])
    assert_cut_is_whole(executors, start, x, pieces)


@pytest.mark.parametrize("cell", CELLS)
@given(model_seed=st.integers(0, 2**32), cut=st.integers(0, STEPS - 1))
@settings(max_examples=6, deadline=None)
def test_mode_last_says_at_the_end_what_it_says_after_one_call(cell, model_seed, cut):
    rng = np.random.default_rng(model_seed)
    blob = pack(
        random_qmodel(rng, cell=cell, mode="last", n_in=2, n_max=4, layout="any")
    )
    x = random_signals(rng, (STEPS, 2))
    with ExitStack() as stack:
        models = [stack.enter_context(Model(blob, on)) for on in HERE]
        want = models[0].run_raw(x)
        for before, after in zip(models, [*models[1:], models[0]], strict=True):
            before.reset()
            before.run_raw(x[: cut + 1])
            after.state = before.state
            if cut + 1 < STEPS:
                assert np.array_equal(after.run_raw(x[cut + 1 :]), want)
            before.reset()
            for row in x:
                y = before.step_raw(row)
            assert np.array_equal(y, want)
