"""One contract for every executor, and the same model in the user's units."""

import numpy as np
import pytest
from random_models import random_qmodel, random_signals

from pyvgrad import Model
from pyvgrad.blob import pack
from pyvgrad.errors import BlobError
from pyvgrad.executors import open_executor
from pyvgrad.signals import scale

EVERYWHERE = ("numpy", "host", "onnx", "m3")
STEPS = 9


def drawn(seed, **fixed):
    """A random model's blob and raw inputs (STEPS, n_in)."""
    rng = np.random.default_rng(seed)
    model = random_qmodel(rng, **fixed)
    return model, pack(model), random_signals(rng, (STEPS, model.shape.n_in))


@pytest.fixture
def opened():
    """Open executors, and close them at the end."""
    executors = []

    def start(blob, on):
        executors.append(open_executor(blob, on))
        return executors[-1]

    yield start
    for executor in executors:
        executor.close()


# ---- the same bits, however a sequence is cut -------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_sequence_may_be_cut_and_taken_up_on_any_other_executor(opened, seed):
    _, blob, x = drawn(seed)
    cut = seed + 1
    everywhere = {on: opened(blob, on) for on in EVERYWHERE}
    y, logits, images = everywhere["numpy"].run(x, states=True)
    starts, ends, clamps = set(), set(), set()
    for executor in everywhere.values():
        executor.reset()
        starts.add(executor.state)
        for got, want in zip(
            executor.run(x, states=True), (y, logits, images), strict=True
        ):
            assert got.dtype == want.dtype
            assert np.array_equal(got, want)
        ends.add(executor.state)
        clamps.add(executor.saturated)
    assert len(starts) == len(clamps) == 1
    assert ends == {images[-1].tobytes()}

    for first in everywhere.values():
        first.reset()
        heads = [first.step(row) for row in x[:cut]]
        saved = first.state
        assert np.array_equal([h[0] for h in heads], y[:cut])
        assert np.array_equal([h[1] for h in heads], logits[:cut])
        for second in everywhere.values():
            second.reset()
            second.state = saved
            tail, inner, nothing = second.run(x[cut:])
            assert nothing is None
            assert np.array_equal(tail, y[cut:])
            assert np.array_equal(inner, logits[cut:])
            assert {second.state} == ends
            assert {second.saturated} == clamps


@pytest.fixture(scope="module", params=EVERYWHERE)
def executor(request):
    """One executor of each kind, with the same model."""
    _, blob, x = drawn(20, cell="lstm", n_layers=2, n_in=3)
    with open_executor(blob, request.param) as one:
        one.x = x
        yield one


def test_no_step_is_no_output_and_changes_nothing(executor):
    executor.reset()
    executor.step(executor.x[0])
    before = executor.state
    none = np.zeros((0, 3), np.int16)
    y, logits, images = executor.run(none)
    assert images is None
    assert y.shape == logits.shape == (0, executor.step(executor.x[0])[0].size)
    executor.state = before
    _, _, images = executor.run(none, states=True)
    assert (images.shape, images.dtype) == ((0, len(before)), np.uint8)
    assert executor.state == before


@pytest.mark.parametrize(
    "x",
    [
        [[0.0, 0.5, 1.0]],
        np.full((1, 3), np.nan),
        [[1, 2, 3]],
        [[0, 0, 32768]],
        [[True, False, True]],
        [["1", "2", "3"]],
        np.zeros((1, 3), np.uint16),
        [],
        0,
        None,
    ],
)
def test_what_is_no_signal_is_a_value_error_and_changes_nothing(executor, x):
    before = executor.state
    with pytest.raises(ValueError, match="the model takes int16"):
        executor.run(x)
    with pytest.raises(ValueError, match="the model takes int16"):
        executor.step(x)
    assert executor.state == before


def test_a_step_takes_one_step_and_a_run_takes_many(executor):
    for x in (executor.x, executor.x[:1], executor.x[0, :2]):
        with pytest.raises(ValueError, match="the model takes int16"):
            executor.step(x)
    for x in (executor.x[0], executor.x[:, :2], executor.x[None]):
        with pytest.raises(ValueError, match="the model takes int16"):
            executor.run(x)


def test_memory_need_not_be_contiguous_or_of_this_machines_order(executor):
    executor.reset()
    want = executor.run(executor.x)[0]
    for x in (
        np.asfortranarray(executor.x),
        np.repeat(executor.x, 2, axis=0)[::2],
        executor.x.astype(">i2"),
    ):
        executor.reset()
        assert np.array_equal(executor.run(x)[0], want)


@pytest.mark.parametrize("on", ["host", "m3"])
def test_counts_that_are_no_int32_are_refused_not_wrapped(opened, on):
    model, blob, _ = drawn(23, n_in=2, scaling=True)
    executor = opened(blob, on)
    want, clamped = scale(model, [5, -7])
    x, n = executor.scale([5, -7])
    assert (x.tolist(), n) == (want.tolist(), clamped)
    for bad in ([2**31, 0], [0.5, 0.0], [1], [[1, 2]], [np.nan, 0.0]):
        with pytest.raises(ValueError, match="counts"):
            executor.scale(bad)


def test_a_foreign_or_cut_state_is_a_blob_error_and_changes_nothing(executor):
    good = executor.state
    for bad in (b"", good[:-1], good + b"\0", bytes([good[0] ^ 1]) + good[1:]):
        with pytest.raises(BlobError):
            executor.state = bad
    assert executor.state == good


@pytest.mark.parametrize("on", EVERYWHERE)
def test_a_damaged_blob_is_a_blob_error(on):
    _, blob, _ = drawn(3)
    with pytest.raises(BlobError):
        open_executor(blob[:-1] + bytes([blob[-1] ^ 1]), on)


@pytest.mark.parametrize("on", ["", "m9", "all", "host,onnx", "xCOM1", "HOST"])
def test_an_unknown_executor_is_a_value_error(on):
    with pytest.raises(ValueError, match="no executor"):
        open_executor(drawn(0)[1], on)


# ---- Model: the user's units ---------------------------------------------------


@pytest.fixture(scope="module", params=EVERYWHERE)
def model(request):
    qmodel, blob, _ = drawn(
        21, cell="lstm", output="linear", n_in=2, scaling=False, mode="sequence"
    )
    with Model(blob, on=request.param) as one:
        assert one.ints == qmodel
        yield one


def test_values_go_in_and_come_out_by_the_blobs_exponents(model):
    model.reset()
    x = np.array([[3, -5], [7, 0]])
    raw = model.run_raw(x.astype(np.int16))
    model.reset()
    assert np.array_equal(
        model.run(x / 2.0**model.ints.x_exp) * 2.0**model.ints.y_exp, raw
    )
    model.reset()
    stepped = [model.step(row / 2.0**model.ints.x_exp) for row in x]
    assert np.array_equal(np.array(stepped) * 2.0**model.ints.y_exp, raw)


def test_clamped_inputs_are_counted_until_the_model_is_closed(model):
    model.reset()
    before, far = model.clamped, 2.0 ** (16 - model.ints.x_exp)
    highest = model.step([far, 0.0])
    model.reset()
    assert np.array_equal(
        model.step_raw(np.array([32767, 0])), highest * 2.0**model.ints.y_exp
    )
    assert model.clamped == before + 1
    model.run([[far, -far], [0.0, 0.0]])
    assert model.clamped == before + 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(model, value):
    state, clamped = model.state, model.clamped
    with pytest.raises(ValueError, match=r"index \(1, 0\)"):
        model.run([[0.0, 0.0], [value, 0.0]])
    with pytest.raises(ValueError, match=r"index \(1,\)"):
        model.step([0.0, value])
    assert (model.state, model.clamped) == (state, clamped)


@pytest.mark.parametrize("x", [[0.0], [[0.0]], [[[0.0, 0.0]]], 0.0])
def test_a_wrong_shape_is_refused(model, x):
    with pytest.raises(ValueError, match=r"\(\.\.\., 2\)|int16 \(any, 2\)"):
        model.run(x)


def test_raw_values_that_are_no_int16_are_refused_not_wrapped(model):
    for bad in ([[40000, 0]], [[0.5, 0.5]]):
        with pytest.raises(ValueError, match="int16"):
            model.run_raw(bad)
        with pytest.raises(ValueError, match="int16"):
            model.step_raw(bad[0])


def test_state_and_reset_cut_a_stream(model):
    x = np.random.default_rng(0).uniform(-1, 1, (6, 2))
    model.reset()
    start, whole = model.state, model.run(x)
    model.reset()
    assert model.state == start
    assert model.saturated == 0
    model.run(x[:2])
    saved = model.state
    model.run(x)
    model.state = saved
    assert np.array_equal(model.run(x[2:]), whole[2:])


@pytest.mark.parametrize("on", EVERYWHERE)
def test_mode_last_gives_the_last_step_and_needs_one(on):
    _, blob, x = drawn(22, output="softmax", mode="last")
    with Model(blob, on) as model, Model(blob, "numpy") as other:
        steps = [other.step_raw(row) for row in x]
        assert np.array_equal(model.run_raw(x), steps[-1])
        with pytest.raises(ValueError, match="one step"):
            model.run_raw(x[:0])
