"""What exporters write is imported as the same function, or not at all.

The file in onnxruntime is the oracle: ``prove`` runs it next to the float model, and
the tests here see that it can say no.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import GATES, STYLES, Net, Writer, export, renamed_nodes
from random_models import random_qmodel

from pyvgrad.blob import pack
from pyvgrad.calibrate import Ranges
from pyvgrad.errors import VgradError
from pyvgrad.native import HostExecutor
from pyvgrad.onnx_export import export_float
from pyvgrad.onnx_import import from_proto
from pyvgrad.onnx_import_file import checked
from pyvgrad.onnx_import_integers import to_integers
from pyvgrad.onnx_import_proof import TOLERANCE, prove
from pyvgrad.onnx_import_run import FloatFile
from pyvgrad.params import init_params
from pyvgrad.signals import to_signals

DIRECTIONS = ("forward", "reverse", "bidirectional")
TAKES = ("sequence", "last", "ends")
CELL = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}


def take_in(proto, output=None):
    """The imported model of a ModelProto, which must be the same function."""
    model = from_proto(checked(proto, "F.onnx"), "F.onnx", output)
    proof = prove(model)
    assert proof.by == "onnxruntime"
    assert proof.values > 0
    assert proof.ok, proof
    return model


def equal_trees(a, b):
    """Whether two parameter trees hold the same numbers, as float32."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal_trees(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal_trees, a, b))
    return np.array_equal(np.float32(a), np.float32(b))


# ---- exporters --------------------------------------------------------------


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("style", STYLES)
def test_stacks_of_every_exporter_are_the_same_function(style, kind, direction, take):
    net = Net(kind, 2, direction, take, "Softmax", seed=len(direction) + len(take))
    model = take_in(export(net, style))
    halves = {"bidirectional": ["forward-half", "reverse-half"]}
    layers = model.shape.layers
    assert [v.direction for v in layers] == 2 * halves.get(direction, [direction])
    assert {v.cell for v in layers} == {CELL[kind]}
    assert model.shape.output == "softmax"
    at_end = "last" if direction == "forward" else "final"
    assert model.shape.mode == (at_end if take == "ends" else take)
    assert model.layout == "NTF"


@pytest.mark.parametrize("function", ["", "Sigmoid", "Softmax", "LogSoftmax"])
@pytest.mark.parametrize("style", STYLES)
def test_every_function_of_a_head_is_taken(style, function):
    for take in TAKES:
        model = take_in(export(Net(take=take, function=function), style))
        outputs = {"": "linear", "Sigmoid": "logistic"}
        assert model.shape.output == outputs.get(function, "softmax")
        assert any("logarithm" in n for n in model.notes) == (function == "LogSoftmax")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("style", STYLES)
def test_a_net_without_a_head_gives_h(style, direction):
    model = take_in(export(Net("GRU", 2, direction, n_out=0), style))
    assert model.shape.readout is None


# torch_old has Squeeze, Unsqueeze and Slice in both of their forms.
@pytest.mark.parametrize("opset", range(11, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_from_11_on_is_read(opset):
    net = Net("LSTM", 2, "bidirectional", "ends", "Softmax", opset=opset)
    model = from_proto(checked(export(net, "torch_old"), "F.onnx"), "F.onnx")
    assert prove(model).ok  # where onnxruntime is too old: onnx's own reference


def test_names_of_nodes_mean_nothing():
    proto = export(Net("GRU", 2, "bidirectional", "last"), "torch_old")
    before = take_in(proto)
    after = take_in(renamed_nodes(proto))
    assert equal_trees(before.params, after.params)


def test_gates_are_where_onnx_has_them():
    for kind, order in {"LSTM": "iofg", "GRU": "zrn", "RNN": "a"}.items():
        net = Net(kind, n=3, n_out=0)
        writer_weights = weights_of(export(net, "hand"))
        layer = take_in(export(net, "hand")).params["layers"][0]
        for k, gate in enumerate(order):
            rows = slice(3 * k, 3 * k + 3)
            assert np.array_equal(layer["W"][gate], writer_weights["W0"][0, rows])
            recurrent = "m" if kind == "GRU" and gate == "n" else gate
            assert np.array_equal(layer["U"][recurrent], writer_weights["R0"][0, rows])


def weights_of(proto):
    """The initializers of a file by name."""
    return {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}


def test_a_file_fixed_to_its_sizes_says_so():
    model = take_in(export(Net("LSTM"), "torch_new"))
    assert model.fixed == (None, 6)
    assert "the file is fixed to 6 steps, the blob takes any number" in model.notes


STANDARD = [
    "rnn_tanh",
    "rnn_sigmoid",
    "rnn_relu",
    "lstm",
    "lstm_coupled",
    "lstm_peephole",
    "gru",
    "gru_reset_before",
]


@pytest.mark.parametrize("cell", STANDARD)
def test_a_float_file_of_pyvgrad_comes_back_as_it_was(cell):
    for seed in range(8):
        rng = np.random.default_rng([seed, len(cell)])
        q = random_qmodel(rng, cell=cell, block=1)
        params = init_params(q.shape, rng, scale=0.4)
        for layer, p in zip(q.shape.layers, params["layers"], strict=True):
            if seed % 2 and layer.direction == "forward":
                p["h0"] = rng.uniform(-1, 1, layer.n)
        model = take_in(export_float(q.shape, params))
        final = q.shape.mode == "final" and q.shape.whole
        mode = q.shape.mode if final or q.shape.mode != "final" else "last"
        layers = tuple(
            replace(v, gate_biases=True) if v.gates == "a" else v
            for v in q.shape.layers
        )
        assert model.shape == replace(q.shape, layers=layers, mode=mode)
        assert equal_trees(params, model.params)


# ---- variants of the nodes ---------------------------------------------------


def one_node(kind, attributes, more=(), take=0, batch="N", n=4, n_in=3, D=1):
    """A file of one node with constants; ``more`` are (name, value) after B."""
    w = Writer(Net(kind, n=n, n_in=n_in))
    rows = GATES[kind] * n
    shapes = ((D, rows, n_in), (D, rows, n), (D, 2 * rows))
    weights = [w.draw(k, *s) for k, s in zip("WRB", shapes, strict=True)]
    extra, inputs = [], []
    for name, value in more:
        if isinstance(value, str):  # an input of that name
            inputs.append(value)
            extra.append(value)
        elif value is None:
            extra.append("")
        else:
            extra.append(w.constant(value, np.asarray(value).dtype.type, name))
    outputs = w.op(
        kind, "x", *weights, *extra, outputs=2 + (kind == "LSTM"),
        hidden_size=n, **attributes,
    )  # fmt: skip
    y = outputs[take]
    rank = 4 if take == 0 else 3
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", batch, n_in])
    given = [
        helper.make_tensor_value_info(
            name,
            TensorProto.INT32 if name == "lengths" else TensorProto.FLOAT,
            [batch] if name == "lengths" else [D, batch, n],
        )
        for name in inputs
    ]
    out = helper.make_tensor_value_info(y, TensorProto.FLOAT, [None] * rank)
    graph = helper.make_graph(w.nodes, "g", [x, *given], [out], w.initializers)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


@pytest.mark.parametrize(
    ("kind", "attributes", "cell"),
    [
        ("RNN", {"activations": ["Tanh"]}, "rnn_tanh"),
        ("RNN", {"activations": ["Sigmoid"]}, "rnn_sigmoid"),
        ("RNN", {"activations": ["Relu"]}, "rnn_relu"),
        ("GRU", {"linear_before_reset": 0}, "gru_reset_before"),
        ("GRU", {"linear_before_reset": 1}, "gru"),
        ("LSTM", {"input_forget": 1}, "lstm_coupled"),
        ("LSTM", {"clip": 16.0}, "lstm"),
        ("RNN", {"clip": 8.0}, "rnn_tanh"),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"]}, "lstm"),
    ],
)
def test_attributes_choose_the_cell(kind, attributes, cell):
    for take in (0, 1):
        model = take_in(one_node(kind, attributes, take=take))
        assert [v.cell for v in model.shape.layers] == [cell]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_peepholes_reach_their_gates(direction):
    D = 2 if direction == "bidirectional" else 1
    P = np.random.default_rng(1).normal(size=(D, 12)).astype(np.float32)
    more = [("lens", None), ("h", None), ("c", None), ("P", P)]
    model = take_in(one_node("LSTM", {"direction": direction}, more, D=D))
    assert {v.cell for v in model.shape.layers} == {"lstm_peephole"}
    for layer, p in zip(model.params["layers"], P, strict=True):
        for k, gate in enumerate("iof"):
            assert np.array_equal(layer["P"][gate], p[4 * k : 4 * k + 4])


@pytest.mark.parametrize("kind", GATES)
def test_constant_initial_states_are_kept(kind):
    rng = np.random.default_rng(2)
    states = [("lens", None)]
    for name in ("h", "c")[: 1 + (kind == "LSTM")]:
        one = rng.normal(size=(2, 1, 4)).astype(np.float32)
        states.append((name, np.repeat(one, 3, axis=1)))
    proto = one_node(kind, {"direction": "bidirectional"}, states, batch=3, D=2)
    model = take_in(proto)
    for d, layer in enumerate(model.params["layers"]):
        for name, value in states[1:]:
            assert np.array_equal(layer[f"{name}0"], value[d, 0])


@pytest.mark.parametrize("kind", GATES)
def test_constant_initial_states_are_kept_in_layout_1(kind):
    w = Writer(Net(kind, n=4))
    rng = np.random.default_rng(2)
    weights = w.recurrent(0, 3)
    h0, c0 = (np.repeat(rng.normal(size=(1, 1, 4)), 3, axis=0) for _ in "hc")
    states = [w.constant(v, np.float32) for v in (h0, c0)][: 1 + (kind == "LSTM")]
    _, end, *_ = w.node("x", weights, states, layout=1)
    proto = w.model(end, [3, "T", 3], 8, "")
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [None] * 3)
    )
    layer = take_in(proto).params["layers"][0]
    assert np.array_equal(layer["h0"], np.float32(h0[0, 0]))
    assert ("c0" in layer) == (kind == "LSTM")


def test_states_that_are_inputs_are_left_to_the_blob():
    model = take_in(one_node("LSTM", {}, [("l", None), ("h", "h"), ("c", "c")]))
    assert "input 'h' is a state: the blob keeps it itself, from zeros" in model.notes
    assert "h0" not in model.params["layers"][0]


@pytest.mark.parametrize("kind", GATES)
def test_a_file_of_one_step_is_proven_with_random_states(kind):
    states = [("l", None), ("h", "h"), ("c", "c")][: 2 + (kind == "LSTM")]
    proto = one_node(kind, {}, states, batch=1)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model = take_in(proto)
    assert (model.fixed, model.shape.mode) == ((1, 1), "sequence")
    layer = model.params["layers"][0]
    for gate, U in layer["U"].items():  # which zero states would not reach
        params = {"layers": [layer | {"U": layer["U"] | {gate: U + 0.01}}]}
        assert not prove(replace(model, params=params)).ok, gate


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("take", [0, 1])
def test_lengths_end_every_sequence_where_they_say(take, direction):
    D = 2 if direction == "bidirectional" else 1
    proto = one_node("GRU", {"direction": direction}, [("l", "lengths")], take, D=D)
    model = take_in(proto)
    assert model.has_lengths
    at_end = "last" if direction == "forward" else "final"
    assert model.shape.mode == (at_end if take else "sequence")


def test_lengths_that_are_all_the_steps_are_none():
    lengths = np.array([7, 7], np.int32)
    proto = one_node("LSTM", {}, [("l", lengths)], batch=2)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
    assert not take_in(proto).has_lengths


# ---- other arrangements -------------------------------------------------------


def arranged(x_dims, before, n_in=3, seed=0):
    """An LSTM whose X is made of the input by (operator, attributes) nodes."""
    w = Writer(Net(n_in=n_in, seed=seed))
    h = "x"
    for kind, constants, attributes in before:
        h = w.op(
            kind, h, *(w.constant(c, c.dtype.type) for c in constants), **attributes
        )
    y, *_ = w.node(h, w.recurrent(0, n_in), [])
    y = w.op("Squeeze", y, w.constant([1]))
    return w.model(y, x_dims, 8, "")


def test_inputs_come_in_any_order_of_axes():
    for axes in itertools.permutations("NTF"):
        dims = [{"F": 3}.get(a, a) for a in axes]
        perm = [axes.index(a) for a in "TNF"]
        proto = arranged(dims, [("Transpose", [], {"perm": perm})])
        assert take_in(proto).layout == "".join(axes)


def test_a_single_sequence_needs_no_axis():
    proto = arranged(["T", 3], [("Unsqueeze", [np.array([1])], {})])
    model = take_in(proto)
    assert (model.layout, model.fixed) == ("TFN", (1, None))


def test_a_scaled_input_is_folded_into_the_first_layer():
    mean, scale = (np.array(v, np.float32) for v in ([1, 2, 3], [2, 0.5, 4]))
    steps = [("Sub", [mean], {}), ("Div", [scale], {})]
    plain = take_in(arranged(["T", "N", 3], []))
    model = take_in(arranged(["T", "N", 3], steps))
    W, scaled = (m.params["layers"][0]["W"]["f"] for m in (plain, model))
    assert np.allclose(W / scale, scaled)


def test_one_direction_that_is_read_alone_is_a_layer_of_that_direction():
    for index, direction in enumerate(("forward", "reverse")):
        w = Writer(Net(direction="bidirectional"))
        y, *_ = w.node("x", w.recurrent(0, 3), [])
        half = w.op("Gather", y, w.constant(index), axis=1)
        model = take_in(w.model(half, ["T", "N", 3], 8, ""))
        assert [v.direction for v in model.shape.layers] == [direction]


def test_an_output_that_is_turned_around_is_a_readout():
    w = Writer(Net())
    y, *_ = w.node("x", w.recurrent(0, 3), [])
    h = w.op("Neg", w.op("Squeeze", y, w.constant([1])))
    y = w.op("Sub", w.constant([1.0, 2, 3, 4, 5], np.float32), h)
    model = take_in(w.model(y, ["T", "N", 3], 8, ""))
    assert np.array_equal(model.params["readout"]["W"], np.eye(5))
    assert np.array_equal(model.params["readout"]["b"], [1, 2, 3, 4, 5])


def test_a_dense_layer_before_the_recurrent_one_is_folded_into_it():
    W = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
    model = take_in(arranged(["T", "N", 6], [("MatMul", [W], {})]))
    assert model.shape.n_in == 6


def two_directions(reverse):
    """A bidirectional layer of two forward nodes, one on the reversed input."""
    w = Writer(Net())
    outputs = []
    for back in (False, True):
        x = reverse(w, "x") if back else "x"
        y, *_ = w.node(x, w.recurrent(int(back), 3), [])
        y = w.op("Squeeze", y, w.constant([1]))
        outputs.append(reverse(w, y) if back else y)
    return w.model(w.op("Concat", *outputs, axis=-1), ["T", "N", 3], 8, "tf2onnx")


def by_slice(w, x):
    """Steps in reverse order by a Slice."""
    ends = [w.constant([v]) for v in (-1, -(2**62), 0, -1)]
    return w.op("Slice", x, *ends)


def by_lengths(w, x):
    """Steps in reverse order by a ReverseSequence."""
    size = w.op("Shape", x)
    steps, batch = (w.op("Slice", size, *(w.constant([v]) for v in k))
                    for k in ((0, 1), (1, 2)))  # fmt: skip
    return w.op(
        "ReverseSequence", x, w.op("Expand", steps, batch), time_axis=0, batch_axis=1
    )


@pytest.mark.parametrize("reverse", [by_slice, by_lengths])
def test_a_node_on_a_reversed_input_is_a_reverse_layer(reverse):
    model = take_in(two_directions(reverse))
    directions = [v.direction for v in model.shape.layers]
    assert directions == ["forward-half", "reverse-half"]


def test_the_output_that_is_asked_for_is_taken():
    w = Writer(Net("GRU"))
    y, end = w.node("x", w.recurrent(0, 3), [])
    proto = w.model(y, ["T", "N", 3], 8, "")
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(y, TensorProto.FLOAT, [None] * 4)
    )
    proto.graph.output.append(
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [None] * 3)
    )
    first = take_in(proto)
    assert first.shape.mode == "sequence"
    assert f"left out: {end!r}" in " ".join(first.notes)
    assert take_in(proto, end).shape.mode == "last"
    with pytest.raises(VgradError, match="no output 'z'"):
        take_in(proto, "z")


# ---- the proof can say no ------------------------------------------------------


@pytest.mark.parametrize("kind", GATES)
def test_the_proof_sees_every_gate_bias_and_direction(kind):
    model = take_in(export(Net(kind, 1, "bidirectional", "sequence"), "torch_old"))
    layers = model.params["layers"]
    for k, layer in enumerate(layers):
        for name, gates in layer.items():
            for gate, array in gates.items():
                changed = [dict(v) for v in layers]
                changed[k] = layer | {name: gates | {gate: array + 1e-2}}
                params = model.params | {"layers": changed}
                wrong = prove(replace(model, params=params))
                assert not wrong.ok, (k, name, gate)
    swapped = model.params | {"layers": layers[::-1]}
    assert not prove(replace(model, params=swapped)).ok


def test_the_proof_runs_the_calibration_data_too():
    model = take_in(export(Net("LSTM"), "hand"))
    bias = model.params["readout"]["b"]
    readout = model.params["readout"] | {"b": bias + 3e-4}
    near = replace(model, params=model.params | {"readout": readout})
    assert not prove(near).ok
    x = np.random.default_rng(0).normal(size=(5, 9, 3))
    assert prove(model, x).values > prove(model).values
    assert prove(model, x).largest < TOLERANCE / 10


# ---- the blob ------------------------------------------------------------------


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
def test_the_core_gives_what_the_file_gives(kind, direction, take):
    proto = export(Net(kind, 2, direction, take), "torch_old")
    model = take_in(proto)
    x = np.random.default_rng(9).normal(size=(6, 11, 3))
    lengths = np.full(6, 11)
    q, fit = to_integers(model, x, lengths, 16)
    assert not fit.reasons()
    want = FloatFile(model).run(x, lengths)
    signals, _ = to_signals(q, x)
    with HostExecutor(pack(q)) as core:
        for n in range(6):
            core.reset()
            y = core.run(signals[n])[0] / 2.0**q.y_exp
            got = y if take == "sequence" else y[-1:]
            assert np.abs(got - want[n]).max() < 2.0**-9


def test_eight_bits_keep_five_bits():
    model = take_in(export(Net("LSTM", 2, take="last"), "keras"))
    x = np.random.default_rng(9).normal(size=(32, 11, 3))
    q, fit = to_integers(model, x, np.full(32, 11), 8)
    assert q.weight_bits == 8
    assert not fit.reasons()
    bits = to_integers(model, x, np.full(32, 11), 16)[1].error.effective_bits
    assert bits > fit.error.effective_bits > 5


def test_clamps_are_counted_and_too_many_are_a_reason():
    model = take_in(export(Net("LSTM", take="last"), "keras"))
    x = np.random.default_rng(9).normal(size=(8, 11, 3))
    lengths = np.arange(4, 12)
    fit = to_integers(model, x, lengths, 16)[1]
    assert (fit.clamps, fit.values) == (0, lengths.sum() * 3 + 8 * 4)
    narrow = to_integers(model, x, lengths, 16, Ranges(given={"x": 1.0}))[1]
    valid = np.arange(11) < lengths[:, None]
    assert narrow.clamps == np.count_nonzero(np.abs(x[valid]) > 2.0) > 0
    assert any("0.1 % at most is admitted" in reason for reason in narrow.reasons())


def test_a_truncated_readout_is_seen_as_too_few_bits():
    model = take_in(export(Net("RNN", attributes={"activations": ["Relu"]}), "hand"))
    readout = dict(model.params["readout"])
    readout["b"] = readout["b"] + 3000.0  # the logits' exponent falls to 2
    wide = replace(model, params=model.params | {"readout": readout})
    x = np.random.default_rng(9).normal(size=(8, 11, 3))
    reasons = to_integers(wide, x, np.full(8, 11), 16)[1].reasons()
    assert len(reasons) == 1
    assert "effective bits" in reasons[0]
