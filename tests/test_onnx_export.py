"""The exact graph's integers against the NumPy model's; the float graph's values.

Both sides were written from docs/numbers.md, by different hands.
"""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import onnx
import pytest
from random_models import random_qmodel, random_signals

from pyvgrad.blob import pack
from pyvgrad.cells import (
    CELLS,
    MODES,
    OUTPUTS,
    SQUASH_G,
    SQUASH_H,
    Fields,
    Layer,
    Readout,
    Shape,
)
from pyvgrad.errors import BlobError, VgradError
from pyvgrad.fixed import exp_q16, sigmoid_q14, tanh_q14
from pyvgrad.intmodel import IntModel, NumpyExecutor
from pyvgrad.model import forward, init_params
from pyvgrad.onnx_build import model, value
from pyvgrad.onnx_export import export_exact, export_float, write
from pyvgrad.onnx_fixed import Exact
from pyvgrad.onnx_run import OnnxExecutor, run_float, session

ALL_FIELDS = [
    Fields(g, h, output_gate, forget_gate, recurrent, feedback)
    for g, h, output_gate, forget_gate in itertools.product(
        SQUASH_G, SQUASH_H, (False, True), (False, True)
    )
    for recurrent, feedback in ((False, False), (True, False), (True, True))
]
STANDARD = [name for name, cell in CELLS.items() if not cell.free_fields]


def run(graph, feeds, optimize=True):
    """Outputs of a ModelProto by name."""
    ready = session(graph, optimize=optimize)
    names = [output.name for output in ready.get_outputs()]
    return dict(zip(names, ready.run(names, feeds), strict=True))


def function_graph(name, length, *arguments):
    """A graph from x to one function of it, both float64 (N, length)."""
    g = Exact(np.float64)
    y = getattr(g, name)("x", *arguments)
    types = [value(v, np.float64, ["N", length]) for v in ("x", y)]
    return model(g.finish(name, types[:1], types[1:]), {}, "")


def assert_same(q, x, optimize):
    """Every signal of x (N, T, n_in), whole, batched, step by step."""
    blob = pack(q)
    want = IntModel(blob).run(x, states=True)
    with OnnxExecutor(blob, optimize=optimize) as executor:
        y, logits, images = executor.run(x[0], states=True)
        assert np.array_equal(y, want.y[0])
        assert np.array_equal(logits, want.logits[0])
        assert np.array_equal(images, want.images[0])
        assert executor.saturated == want.saturated[0]
        y, logits = executor.run_batch(x)
        assert np.array_equal(y, want.y)
        assert np.array_equal(logits, want.logits)
        executor.reset()
        for t in range(x.shape[1]):
            y, logits = executor.step(x[0, t])
            assert np.array_equal(y, want.y[0, t])
            assert np.array_equal(logits, want.logits[0, t])
            assert executor.state == want.images[0, t].tobytes()


def assert_same_whole(q, x, optimize):
    """Every signal of x (N, T, n_in) through a model with a reversed layer."""
    blob = pack(q)
    with OnnxExecutor(blob, optimize=optimize) as onnx, NumpyExecutor(blob) as numpy:
        many = onnx.run_batch(x)
        for n in range(len(x)):
            onnx.reset()
            numpy.reset()
            for part in (x[n, :3], x[n]):  # the second from the first one's end
                got, want = onnx.run(part, states=True), numpy.run(part, states=True)
                for a, b in zip(got, want, strict=True):
                    assert np.array_equal(a, b)
                assert onnx.saturated == numpy.saturated
            numpy.reset()
            alone = numpy.run(x[n])
            assert np.array_equal(many[0][n].reshape(alone[0].shape), alone[0])
            assert np.array_equal(many[1][n].reshape(alone[1].shape), alone[1])
        with pytest.raises(ValueError, match="whole sequences"):
            onnx.step(x[0, 0])
        with pytest.raises(ValueError, match="a step at least"):
            onnx.run(x[0, :0])


# ---- exact: the specification's integers ----------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extreme", [False, True])
def test_exact_graph_equals_the_integer_model_on_reversed_layers(mode, extreme):
    for seed in range(15):
        rng = np.random.default_rng([seed, extreme])
        q = random_qmodel(rng, extreme=extreme, whole=True, mode=mode)
        x = random_signals(rng, (2, 5, q.shape.n_in), extreme=extreme and seed % 2)
        assert_same_whole(q, x, optimize=seed % 3 > 0)


def test_a_gru_whose_sums_no_double_holds_is_refused_by_its_layer():
    """2^14 (2^15 sum |w| + |b|) of both and the half: 512 weights at their limit."""
    rng = np.random.default_rng(8)
    for n_in, held in ((500, True), (512, False)):
        q = random_qmodel(
            rng, cell="gru", n_layers=1, n_in=n_in, bits=16, extreme=True, n_max=6
        )
        if held:
            x = random_signals(rng, (2, 5, n_in), extreme=True)
            assert_same(q, x, optimize=True)
        else:
            with pytest.raises(VgradError, match="layer 1: the weights of its gates n"):
                export_exact(q)


@pytest.mark.parametrize("chunk", range(8))
@pytest.mark.parametrize("extreme", [False, True])
def test_exact_graph_equals_the_integer_model_on_random_models(chunk, extreme):
    for seed in range(30 * chunk, 30 * chunk + 30):
        rng = np.random.default_rng([seed, extreme])
        q = random_qmodel(rng, extreme=extreme)
        x = random_signals(rng, (3, 8, q.shape.n_in), extreme=extreme and seed % 2)
        assert_same(q, x, optimize=seed % 3 > 0)


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_exact_graph_equals_the_integer_model_for_all_fields(block, bits):
    for seed, fields in enumerate(ALL_FIELDS):
        rng = np.random.default_rng([seed, block, bits])
        q = random_qmodel(
            rng, cell="lstm97", fields=fields, block=block, bits=bits, n_layers=1
        )
        assert_same(q, random_signals(rng, (2, 6, q.shape.n_in)), optimize=True)


@pytest.mark.parametrize("output", [*OUTPUTS, "none"])
@pytest.mark.parametrize("cell", STANDARD)
def test_exact_graph_equals_the_integer_model_for_every_cell_and_output(cell, output):
    for seed in range(8):
        rng = np.random.default_rng([seed, len(output)])
        q = random_qmodel(rng, cell=cell, output=output, bits=8 * (1 + seed % 2))
        x = random_signals(rng, (2, 6, q.shape.n_in))
        assert_same(q, x, optimize=seed < 4)


def test_exact_graph_is_exact_on_a_wide_layer_over_many_steps():
    rng = np.random.default_rng(5)
    q = random_qmodel(rng, cell="lstm", n_layers=2, n_in=33, n_max=97, n_out=7)
    x = random_signals(rng, (20, 200, 33))
    want = IntModel(q).run(x)
    with OnnxExecutor(pack(q)) as executor:
        y, logits = executor.run_batch(x)
    assert np.array_equal(y, want.y)
    assert np.array_equal(logits, want.logits)


def test_exact_graph_is_exact_where_sums_are_largest():
    rng = np.random.default_rng(6)
    for cell in CELLS:
        n_in = 4001 if cell != "gru" else 500  # beyond, a gru is refused
        q = random_qmodel(rng, cell=cell, n_layers=1, n_in=n_in, extreme=True)
        assert_same(q, random_signals(rng, (2, 3, n_in), extreme=True), optimize=True)


@pytest.mark.parametrize("optimize", [False, True])
def test_exact_file_streams_a_batch_through_its_own_states(optimize):
    for seed in range(20):
        rng = np.random.default_rng([seed, 77])
        q = random_qmodel(rng, mode="sequence", extreme=seed % 4 == 0)
        x = random_signals(rng, (4, 6, q.shape.n_in))
        whole = run(export_exact(q), {"x": x}, optimize)
        ready = session(export_exact(q), optimize=optimize)
        names = [output.name for output in ready.get_outputs()]
        state = {}
        for t in range(6):
            values = ready.run(names, {"x": x[:, t : t + 1]} | state)
            out = dict(zip(names, values, strict=True))
            assert np.array_equal(out["y"][:, 0], whole["y"][:, t])
            state = {f"{k}_in": v for k, v in out.items() if k not in ("y", "logits")}
        for name in names[2:]:
            assert np.array_equal(out[name], whole[name]), name
        want = IntModel(q).run(x)
        assert np.array_equal(whole["saturated"][:, 0], want.saturated)
        for k, (c, r) in enumerate(zip(want.state.c, want.state.r, strict=True), 1):
            assert np.array_equal(whole[f"r_{k}"], r)
            assert c is None or np.array_equal(whole[f"c_{k}"], c)


def test_exact_file_in_mode_last_gives_the_last_step():
    for seed in range(20):
        rng = np.random.default_rng([seed, 78])
        q = random_qmodel(rng, mode="last")
        x = random_signals(rng, (3, 5, q.shape.n_in))
        out = run(export_exact(q), {"x": x})
        want = IntModel(q).run(x, states=True)
        assert np.array_equal(out["y"], want.y[:, -1])
        assert np.array_equal(out["logits"], want.logits[:, -1])
        assert out["y"].dtype == out["logits"].dtype == np.int16
        for k, r in enumerate(want.state.r, 1):
            assert np.array_equal(out[f"r_{k}"], r)


def test_exact_file_in_mode_last_counts_only_the_logits_that_it_computes():
    q = random_qmodel(
        np.random.default_rng(3), cell="rnn_tanh", output="linear", mode="last",
        n_layers=1, extreme=True, shortcuts=True,
    )  # fmt: skip
    x = random_signals(np.random.default_rng(4), (1, 9, q.shape.n_in), extreme=True)
    every = IntModel(q).run(x, states=True).images[0].view("<u4")[:, 1].astype(int)
    assert every[-1] > every[-2] > 0, "the example must clamp"
    out = run(export_exact(q), {"x": x})
    assert out["saturated"].item() == every[-1] - every[-2]


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("length", [1, 5, 65536])
def test_double_functions_round_to_the_tables_for_every_argument(length, optimize):
    # short rows take other vector paths of onnxruntime than long ones
    z = np.arange(-32768, 32768)
    z = np.resize(z, (-(-65536 // length), length)) if length > 1 else z[:, None]
    z = z[:: 1 if length > 1 else 97]
    for function, table in (("s", sigmoid_q14), ("t", tanh_q14)):
        ready = session(function_graph(function, length), optimize=optimize)
        rows = [ready.run(None, {"x": row[None].astype(float)})[0][0] for row in z]
        assert np.array_equal(np.array(rows), table(z))


@pytest.mark.parametrize("logit_exp", range(15))
def test_double_exp_gives_the_probabilities_of_every_pair_of_logits(logit_exp):
    graph = function_graph("softmax", 2, logit_exp)
    d = np.arange(65536)
    logits = np.stack([np.full(65536, 32767), 32767 - d], axis=1)
    E = exp_q16(np.stack([0 * d, d], axis=1), logit_exp)
    S = E.sum(axis=1, keepdims=True)
    want = ((E << 15) + S) // (2 * S)
    [got] = session(graph).run(None, {"x": logits.astype(float)})
    assert np.array_equal(got, want)


def test_sigmoid_of_the_least_argument_is_zero():
    z = np.array([[-32768.0, 0.0, 32767.0]])
    [y] = session(function_graph("s", 3)).run(None, {"x": z})
    assert y.tolist() == [[0, 8192, 16384]]


# ---- exact: the file -------------------------------------------------------


@pytest.fixture(scope="module")
def qmodel():
    return random_qmodel(
        np.random.default_rng(11), cell="lstm", n_layers=2, n_in=3, output="softmax",
        n_out=4, mode="sequence", bits=8, initial_state=True,
    )  # fmt: skip


def test_files_are_pinned_to_the_versions_that_onnxruntime_reads(qmodel):
    shape, params = float_model("lstm")
    for proto in (export_exact(qmodel), export_float(shape, params)):
        assert proto.ir_version <= 10
        assert [(o.domain, o.version) for o in proto.opset_import] == [("", 21)]
        assert proto.producer_name == "pyvgrad"
        assert proto.producer_version
        assert proto.doc_string
        onnx.checker.check_model(proto, full_check=True)


def test_exact_file_states_the_exponents_of_its_integers(qmodel):
    props = {p.key: p.value for p in export_exact(qmodel).metadata_props}
    assert props["x_exp"] == str(qmodel.x_exp)
    assert props["y_exp"] == str(qmodel.y_exp) == "14"
    assert props["logit_exp"] == str(qmodel.logit_exp)
    assert props["mode"] == "sequence"


def test_exact_file_holds_the_blob_s_own_integers(qmodel):
    proto = export_exact(qmodel)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    want = np.concatenate([qmodel.layers[0].weights[k] for k in "ifog"]).T
    assert stored["layer_1/weights"].dtype == np.int8
    assert np.array_equal(stored["layer_1/weights"], want)


def test_exact_file_uses_operators_of_onnx_alone_and_names_every_node(qmodel):
    nodes = []

    def collect(graph):
        for node in graph.node:
            nodes.append(node)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    collect(attribute.g)

    collect(export_exact(qmodel).graph)
    assert {node.domain for node in nodes} == {""}
    names = [node.name for node in nodes]
    assert all(names)
    assert len(set(names)) == len(names)


def test_states_of_each_step_are_refused_in_mode_last(qmodel):
    shape = dataclasses.replace(qmodel.shape, mode="last")
    with pytest.raises(ValueError, match="sequence"):
        export_exact(dataclasses.replace(qmodel, shape=shape), states=True)


# ---- the executor ----------------------------------------------------------


def test_executor_goes_on_from_a_state_that_numpy_saved(qmodel):
    blob = pack(qmodel)
    x = random_signals(np.random.default_rng(1), (12, 3))
    numpy = NumpyExecutor(blob)
    numpy.run(x[:5])
    with OnnxExecutor(blob) as executor:
        executor.state = numpy.state
        assert executor.state == numpy.state
        assert np.array_equal(executor.run(x[5:])[0], numpy.run(x[5:])[0])
        assert executor.state == numpy.state
        assert executor.saturated == numpy.saturated
        executor.reset()
        numpy.reset()
        assert executor.state == numpy.state


def test_executor_counts_saturation_modulo_2_to_the_32():
    rng = np.random.default_rng(2)
    q = random_qmodel(
        rng, cell="rnn_relu", n_layers=1, output="none", extreme=True, n_in=4
    )
    x = random_signals(rng, (9, 4), extreme=True)
    blob = pack(q)
    numpy, executor = NumpyExecutor(blob), OnnxExecutor(blob)
    image = bytearray(numpy.state)
    image[4:8] = b"\xff\xff\xff\xff"
    numpy.state = executor.state = bytes(image)
    numpy.run(x)
    executor.run(x)
    assert 0 < numpy.saturated < 1000
    assert executor.state == numpy.state


def test_executor_takes_no_step_when_there_is_none(qmodel):
    executor = OnnxExecutor(pack(qmodel))
    before = executor.state
    y, logits, images = executor.run(np.zeros((0, 3), np.int16), states=True)
    assert y.shape == logits.shape == (0, 4)
    assert images.shape == (0, len(before))
    assert executor.state == before


def test_executor_refuses_what_is_no_signal_state_or_blob(qmodel):
    blob = pack(qmodel)
    executor = OnnxExecutor(blob)
    with pytest.raises(ValueError, match="takes int16"):
        executor.run(np.zeros((2, 4), np.int16))
    with pytest.raises(ValueError, match="int16"):
        executor.run(np.full((2, 3), 40000))
    with pytest.raises(ValueError, match="int16"):
        executor.run(np.zeros((2, 3)))
    with pytest.raises(BlobError, match="bytes"):
        executor.state = executor.state[:-1]
    with pytest.raises(BlobError, match="another model"):
        executor.state = bytes(4) + executor.state[4:]
    with pytest.raises(BlobError, match="CRC"):
        OnnxExecutor(blob[:-1] + bytes([blob[-1] ^ 1]))


@pytest.mark.parametrize(
    ("missing", "module"), [("onnx", "onnx_export"), ("onnxruntime", "onnx_run")]
)
def test_a_missing_package_is_one_sentence_that_says_what_to_install(missing, module):
    code = f"""
import sys
sys.modules[{missing!r}] = None
from pyvgrad.errors import VgradError
try:
    import pyvgrad.{module}
except VgradError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{missing} is not installed")
    assert "pip install pyvgrad[onnx]" in done.stdout


def test_write_leaves_the_old_file_or_the_new_one_and_nothing_else(tmp_path, qmodel):
    proto, path = export_exact(qmodel), tmp_path / "m.onnx"
    path.write_bytes(b"old")
    write(path, proto)
    assert path.read_bytes() == proto.SerializeToString()
    assert list(tmp_path.iterdir()) == [path]
    folder = tmp_path / "taken.onnx"
    (folder / "full").mkdir(parents=True)
    with pytest.raises(VgradError, match=r"taken\.onnx"):
        write(folder, proto)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "taken.onnx"]
    with pytest.raises(VgradError, match="folder"):
        write(tmp_path / "no" / "m.onnx", proto)


# ---- float -----------------------------------------------------------------


def float_model(
    cell, *, fields=None, block=1, output="softmax", mode="sequence", seed=0
):
    """Two layers and a readout with shortcuts; every bias, weight and state drawn."""
    rng = np.random.default_rng(seed)
    cell_biases, gate_biases, biases = (bool(v) for v in rng.integers(0, 2, 3))
    layers = tuple(
        Layer(cell, n_in, n, block, fields, cell_biases, gate_biases)
        for n_in, n in ((3, 4 * block), (4 * block, 2 * block))
    )
    readout = None
    if output != "none":
        readout = Readout(2 * block, 3, output, 3 * int(rng.integers(0, 2)), biases)
    shape = Shape(layers, readout, mode)
    params = init_params(shape, rng, scale=0.6)
    for layer, p in zip(layers, params["layers"], strict=True):
        if seed % 2:
            p["h0"] = rng.uniform(-1, 1, layer.n)
            if layer.row.carry == "c":
                p["c0"] = rng.uniform(-1, 1, layer.n)
    return shape, params


def assert_close(got, want):
    """Within 1e-5 of the reference in double, relative where values exceed 1."""
    assert got.dtype == np.float32
    assert got.shape == want.shape
    assert np.max(abs(got - want) / np.maximum(1, abs(want))) < 1e-5


def assert_float_graph_is_forward(shape, params, seed=0):
    x = np.random.default_rng(seed).uniform(-1, 1, (3, 9, shape.n_in))
    out = run(export_float(shape, params), {"x": x.astype(np.float32)})
    want = forward(shape, params, x.astype(np.float32).astype(np.float64))
    step = slice(None) if shape.mode == "sequence" else -1
    assert_close(out["y"], want.y[:, step])
    assert_close(out["logits"], want.logits[:, step])
    for k, (layer, signals) in enumerate(zip(shape.layers, want.layers, strict=True)):
        for letter in ("h", *layer.row.carry, *layer.feedback_gates):
            end = signals[letter][:, 0 if layer.reversed else -1]
            assert_close(out[f"state_{k + 1}_{letter}"], end)


@pytest.mark.parametrize("block", [1, 2])
def test_float_graph_equals_forward_for_all_fields(block):
    for seed, fields in enumerate(ALL_FIELDS):
        mode = ("sequence", "last")[seed % 5 == 0]
        assert_float_graph_is_forward(
            *float_model("lstm97", fields=fields, block=block, seed=seed, mode=mode)
        )


def reversed_model(cells, mode, seed):
    """A pair of halves, a reversed layer, another pair; every initial state drawn."""
    rng = np.random.default_rng([seed, 9])
    n = [int(v) for v in rng.integers(1, 5, 3)]
    ways = ("forward-half", "reverse-half", "reverse", "forward-half", "reverse-half")
    sizes = [
        (3, n[0]),
        (3, n[0]),
        (2 * n[0], n[1]),
        (n[1], n[2]),
        (n[1], n[2] + seed % 2),
    ]
    layers = tuple(
        Layer(cells[k % len(cells)], *size, direction=way)
        for k, (size, way) in enumerate(zip(sizes, ways, strict=True))
    )
    shape = Shape(layers, Readout(sizes[3][1] + sizes[4][1], 2, shortcuts=3), mode)
    params = init_params(shape, rng, scale=0.6)
    for layer, p in zip(layers, params["layers"], strict=True):
        p["h0"] = rng.uniform(-1, 1, layer.n)
        if layer.row.carry == "c":
            p["c0"] = rng.uniform(-1, 1, layer.n)
    return shape, params


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELLS)
def test_float_graph_equals_forward_in_both_directions(cell, mode):
    for seed in range(2):
        assert_float_graph_is_forward(*reversed_model([cell], mode, seed))


def test_halves_of_one_kind_are_one_node_and_others_two():
    for cells, kinds in (
        (["gru"], ["GRU"] * 3),
        (["gru", "lstm"], ["GRU", "LSTM"] * 2),
    ):
        shape, params = reversed_model(cells, "sequence", 0)
        nodes = export_float(shape, params).graph.node
        found = [v.op_type for v in nodes if v.op_type in ("GRU", "LSTM", "RNN")]
        assert found == (kinds if cells == ["gru"] else [*kinds, "GRU"])


@pytest.mark.parametrize("mode", ["sequence", "last"])
@pytest.mark.parametrize("output", [*OUTPUTS, "none"])
@pytest.mark.parametrize("cell", STANDARD)
def test_float_graph_equals_forward_for_every_cell_and_output(cell, output, mode):
    for seed in range(4):
        assert_float_graph_is_forward(
            *float_model(cell, output=output, mode=mode, seed=seed)
        )


def test_float_graph_equals_forward_for_a_stack_of_different_cells():
    layers = (
        Layer("lstm", 3, 6, 3),
        Layer("lstm97", 6, 4, 2, Fields("4s-2", "identity", feedback=True)),
        Layer("rnn_relu", 4, 5),
        Layer("lstm97", 5, 3, fields=Fields(forget_gate=False)),
        Layer("rnn_sigmoid", 3, 4),
        Layer("rnn_tanh", 4, 2),
    )
    shape = Shape(layers, Readout(2, 4, "logistic", 3))
    params = init_params(shape, np.random.default_rng(1), scale=0.7)
    assert_float_graph_is_forward(shape, params)


def test_float_file_streams_through_its_own_states():
    shape, params = float_model(
        "lstm97", fields=Fields("4s-2", "2s-1", feedback=True), block=2, seed=1
    )
    x = np.random.default_rng(3).uniform(-1, 1, (4, 6, 3)).astype(np.float32)
    proto = export_float(shape, params)
    whole, state = run(proto, {"x": x}), {}
    for t in range(6):
        out = run(proto, {"x": x[:, t : t + 1]} | state)
        assert_close(out["y"][:, 0], whole["y"][:, t])
        state = {f"{k}_in": v for k, v in out.items() if k not in ("y", "logits")}


@pytest.mark.parametrize("mode", MODES)
def test_run_float_gives_the_outputs_of_whole_sequences(mode, tmp_path):
    shape, params = reversed_model(["gru", "plus_rnn"], mode, 1)
    write(tmp_path / "m.onnx", export_float(shape, params))
    x = np.random.default_rng(3).uniform(-1, 1, (2, 6, 3))
    lengths = np.array([6, 4])
    got = run_float(tmp_path / "m.onnx", x, lengths)
    want = forward(shape, params, x, lengths=lengths)
    assert got.keys() == {"y", "logits"}
    for n, end in enumerate(lengths):
        steps = slice(0, end) if mode == "sequence" else slice(end - 1, end)
        for name, signal in got.items():
            expected = getattr(want, name)[n, steps]
            np.testing.assert_allclose(signal[n, steps], expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["sequence", "last"])
def test_run_float_gives_every_signal_of_every_step(mode, tmp_path):
    fields = Fields("4s-2", "2s-1", feedback=True)
    shape, params = float_model("lstm97", fields=fields, block=2, mode=mode, seed=1)
    write(tmp_path / "m.onnx", export_float(shape, params))
    x = np.random.default_rng(3).uniform(-1, 1, (4, 6, 3))
    got = run_float(tmp_path / "m.onnx", x)
    want = forward(shape, params, x)
    pairs = {"y": want.y, "logits": want.logits} | {
        f"layer {k} {s}": layer[s]
        for k, layer in enumerate(want.layers, 1)
        for s in "hc"
    }
    assert got.keys() == pairs.keys()
    for name, signal in pairs.items():
        assert got[name].shape == signal.shape
        assert np.max(abs(got[name] - signal)) < 1e-5


def test_run_float_refuses_what_is_no_float_model_of_ours(tmp_path, qmodel):
    path = tmp_path / "m.onnx"
    with pytest.raises(VgradError, match="is the path right"):
        run_float(path, np.zeros((1, 1, 3)))
    path.write_bytes(b"no graph")
    with pytest.raises(VgradError, match="cannot take"):
        run_float(path, np.zeros((1, 1, 3)))
    write(path, export_exact(qmodel))
    with pytest.raises(VgradError, match="not a float model"):
        run_float(path, np.zeros((1, 1, 3)))
    write(path, export_float(*float_model("lstm")))
    with pytest.raises(ValueError, match="x must be"):
        run_float(path, np.zeros((1, 1, 4)))


@pytest.mark.parametrize(
    ("cell", "kind", "activations"),
    [
        ("lstm", "LSTM", ["Sigmoid", "Tanh", "Tanh"]),
        ("rnn_tanh", "RNN", ["Tanh"]),
        ("rnn_sigmoid", "RNN", ["Sigmoid"]),
        ("rnn_relu", "RNN", ["Relu"]),
    ],
)
def test_float_file_uses_the_standard_node(cell, kind, activations):
    proto = export_float(*float_model(cell))
    nodes = [node for node in proto.graph.node if node.op_type in ("LSTM", "RNN")]
    assert [node.op_type for node in nodes] == [kind, kind]
    attributes = {a.name: a for a in nodes[0].attribute}
    assert [s.decode() for s in attributes["activations"].strings] == activations
    assert attributes["hidden_size"].i == 4
    assert not [node for node in proto.graph.node if node.op_type == "Scan"]


def test_float_file_scans_only_what_has_no_standard_node():
    proto = export_float(*float_model("lstm97"))
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("Scan") == 2
    same = export_float(*float_model("lstm97", fields=CELLS["lstm"].fields))
    assert "Scan" not in [node.op_type for node in same.graph.node]


def test_float_parameters_that_do_not_fit_are_refused():
    shape, params = float_model("lstm")
    params["layers"][0]["W"]["i"] = np.zeros((1, 1))
    with pytest.raises(ValueError, match="W"):
        export_float(shape, params)
