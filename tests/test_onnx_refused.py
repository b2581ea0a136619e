"""What is no network for pyvgrad is refused in one sentence: node, operator, reason."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import Net, Writer, export

from pyvgrad.errors import VgradError
from pyvgrad.onnx_import import from_proto, import_onnx
from pyvgrad.onnx_import_file import checked
from pyvgrad.onnx_import_proof import prove


def refusal(proto, output=None):
    """The one sentence for a ModelProto."""
    with pytest.raises(VgradError) as error:
        from_proto(checked(proto, "F.onnx"), "F.onnx", output)
    return sentence(error.value)


def sentence(error):
    """The text of an error, which must be one line with the file's name."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 400
    assert "F.onnx" in text
    return text


def refused_file(path, data):
    """The one sentence for a file with these bytes."""
    path.write_bytes(data)
    with pytest.raises(VgradError) as error:
        import_onnx(path)
    return sentence(error.value)


# ---- files ---------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"PK\3\4 no", b"\x08\x0a", b"words " * 99])
def test_what_is_no_onnx_file_is_refused(tmp_path, data):
    assert "not an ONNX file" in refused_file(tmp_path / "F.onnx", data)


def test_every_cut_of_a_file_is_refused_in_a_sentence(tmp_path):
    data = export(Net("GRU", n=2), "hand").SerializeToString()
    for end in range(0, len(data), 37):
        refused_file(tmp_path / "F.onnx", data[:end])


def test_damaged_files_are_refused_or_the_same_function(tmp_path):
    data = export(Net("LSTM", 2, n=2, take="last"), "torch_old").SerializeToString()
    rng = np.random.default_rng(0)
    path = tmp_path / "F.onnx"
    taken, said = 0, []
    for _ in range(60):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            proof = prove(import_onnx(path))
        except VgradError as error:
            said.append(str(error))
            continue
        taken += proof.ok  # a weight that changed is a weight
    assert taken
    assert not any("\n" in text for text in said)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "F.onnx", tmp_path):
        with pytest.raises(VgradError, match="is the path right"):
            import_onnx(path)


def test_an_empty_graph_is_refused(tmp_path):
    proto = export(Net(), "hand")
    del proto.graph.node[:]
    said = refused_file(tmp_path / "F.onnx", proto.SerializeToString())
    assert "its graph is empty" in said


def test_external_data_is_read_or_missed_by_name(tmp_path):
    path = tmp_path / "F.onnx"
    proto = export(Net("LSTM", n=40), "hand")
    want = from_proto(checked(proto, path), path).params["layers"][0]["W"]["f"]
    onnx.save_model(
        proto, path, save_as_external_data=True, location="F.data", size_threshold=64
    )
    got = import_onnx(path).params["layers"][0]["W"]["f"]
    assert np.array_equal(want, got)
    data = Path(tmp_path, "F.data")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VgradError, match="cut short"):
        import_onnx(path)
    data.unlink()
    with pytest.raises(VgradError, match=r"'F\.data', which is not beside it"):
        import_onnx(path)


def test_an_old_opset_is_refused():
    proto = export(Net(opset=10), "torch_old")
    assert "opset 10 is too old; export with opset 11" in refusal(proto)


def test_operators_of_others_are_refused_by_their_domain():
    proto = export(Net(), "hand")
    proto.graph.node[0].domain = "com.microsoft"
    proto.graph.node[0].op_type = "DynamicQuantizeLSTM"
    assert "(DynamicQuantizeLSTM): its operators are of com.microsoft" in refusal(proto)


# ---- sizes ----------------------------------------------------------------------


def with_dims(*dims):
    """A file whose input has these dimensions, None where one is not said."""
    proto = export(Net(), "torch_old")
    shape = proto.graph.input[0].type.tensor_type.shape
    for d, given in zip(shape.dim, dims, strict=True):
        d.Clear()
        if isinstance(given, int):
            d.dim_value = given
    return proto


def test_sizes_that_matter_must_be_in_the_file():
    assert "all dimensions of input 'x' are dynamic" in refusal(with_dims(None, "", ""))
    assert "dynamic number of features" in refusal(with_dims(2, None, None))
    proto = export(Net(), "torch_old")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(VgradError, match=r"shape.*required|has no shape"):
        from_proto(checked(proto, "F.onnx"), "F.onnx")


def test_a_model_that_changes_with_its_sizes_is_refused():
    w = Writer(Net())
    size = w.op("Cast", w.op("Shape", "x", start=1, end=2), to=TensorProto.FLOAT)
    h = w.op("Mul", w.op("Transpose", "x", perm=[1, 0, 2]), size)
    y, *_ = w.node(h, w.recurrent(0, 3), [])
    proto = w.model(w.op("Squeeze", y, w.constant([1])), ["N", "T", 3], 8, "")
    assert "changes with the number of sequences or steps" in refusal(proto)


def test_a_layer_too_large_for_16_bit_sizes_is_refused():
    proto = export(Net("RNN", n=1, n_in=65536), "hand")
    assert "(RNN): it reads 65536 values, a layer 65535 at most" in refusal(proto)
    proto = export(Net("RNN", n=1, n_out=32768), "hand")
    assert "a readout has 1 to 32767 outputs, not 32768" in refusal(proto)


# ---- numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["W0", "R0", "B0", "head.W", "head.b"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(name, value):
    proto = export(Net(), "hand")
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor).copy()
            array.flat[-1] = value
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    said = refusal(proto)
    what = {"W0": "W", "R0": "R", "B0": "B", "head.W": "matrix"}.get(name, "")
    assert re.search(rf"its {what}.* holds NaN or infinity", said)


@pytest.mark.parametrize("element", ["DOUBLE", "FLOAT16", "BFLOAT16"])
def test_other_floats_are_refused(element):
    proto = export(Net(), "hand")
    to = getattr(TensorProto, element)
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            dtype = helper.tensor_dtype_to_np_dtype(to)
            tensor.CopyFrom(numpy_helper.from_array(array.astype(dtype), tensor.name))
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = to
    name = {"DOUBLE": "float64"}.get(element, element.lower())
    said = refusal(proto)
    assert f"{name}; export the model in float32" in said


def quantized(w, x, name):
    """QuantizeLinear and DequantizeLinear of x."""
    scale, zero = w.constant(0.02, np.float32), w.constant(0, np.int8)
    return w.op("DequantizeLinear", w.op("QuantizeLinear", x, scale, zero), scale, zero)


def test_quantized_activations_are_refused():
    w = Writer(Net())
    y, *_ = w.node(quantized(w, "x", "x"), w.recurrent(0, 3), [])
    proto = w.model(w.op("Squeeze", y, w.constant([1])), ["T", "N", 3], 8, "")
    said = refusal(proto)
    assert "(QuantizeLinear): its activations are quantized already" in said


def test_weights_in_int8_are_taken_as_the_floats_that_they_stand_for():
    w = Writer(Net("RNN"))
    scale, zero = w.constant(0.02, np.float32), w.constant(0, np.int8)
    rng = np.random.default_rng(0)
    ints = [rng.integers(-127, 128, s) for s in ((1, 5, 3), (1, 5, 5), (1, 10))]
    weights = [
        w.op("DequantizeLinear", w.constant(v, np.int8), scale, zero) for v in ints
    ]
    y, *_ = w.node("x", weights, [])
    proto = w.model(w.op("Squeeze", y, w.constant([1])), ["T", "N", 3], 8, "")
    model = from_proto(checked(proto, "F.onnx"), "F.onnx")
    assert prove(model).ok
    assert np.allclose(model.params["layers"][0]["W"]["a"], 0.02 * ints[0][0])
    assert "int8 weights are taken as the floats they stand for" in model.notes


# ---- recurrences written out -------------------------------------------------------


def unrolled(steps):
    """A cell in a Python loop, as an exporter that traces writes it."""
    w = Writer(Net())
    W, U = w.draw("W", 3, 5), w.draw("U", 5, 5)
    h = w.constant(np.zeros((1, 5)), np.float32)
    for t in range(steps):
        x = w.op("Gather", "x", w.constant(t), axis=0)
        a = w.op("Add", w.op("MatMul", x, W), w.op("MatMul", h, U))
        h = w.op("Tanh", a)
    return w.model(h, ["T", "N", 3], 8, "")


def test_an_unrolled_recurrence_says_how_to_export_it_better():
    said = refusal(unrolled(4))
    assert "8 products and 4 squashing functions" in said
    for word in ("nn.LSTM", "dynamo=False", "unroll=False"):
        assert word in said


def test_a_loop_says_how_to_export_it_better():
    from pyvgrad.cells import Layer, Shape
    from pyvgrad.model import init_params
    from pyvgrad.onnx_export import export_float

    shape = Shape((Layer("lstm97", 3, 4),))
    proto = export_float(shape, init_params(shape, np.random.default_rng(0)))
    said = refusal(proto)
    assert "(Scan): a recurrence written out" in said
    assert "unroll=False" in said


def test_a_net_without_recurrence_is_refused():
    w = Writer(Net())
    proto = w.model(w.op("MatMul", "x", w.draw("W", 3, 4)), ["T", "N", 3], 8, "")
    assert "there is no LSTM, GRU or RNN node" in refusal(proto)


# ---- nodes that pyvgrad has no cell for ---------------------------------------------


@pytest.mark.parametrize(
    ("kind", "attributes", "reason"),
    [
        ("RNN", {"activations": ["HardSigmoid"]}, "its activation is HardSigmoid"),
        (
            "RNN",
            {"activations": ["Relu"], "clip": 99.0},
            "it clips at 99, and h of Relu",
        ),
        ("GRU", {"linear_before_reset": 2}, "its linear_before_reset is 2, not 0 or 1"),
        ("RNN", {"clip": 7.5}, "it clips at 7.5, and only a clip of 8 or more"),
        ("GRU", {"clip": 15.0}, "it clips at 15, and only a clip of 16 or more"),
        (
            "LSTM",
            {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
            "its activations are HardSigmoid, Tanh, Tanh; pyvgrad has Sigmoid, Tanh",
        ),
        (
            "GRU",
            {"activations": ["Sigmoid", "Relu"]},
            "its activations are Sigmoid, Re",
        ),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_attributes_without_a_cell_are_refused(kind, attributes, reason, direction):
    proto = export(Net(kind, direction=direction, attributes=attributes), "hand")
    said = refusal(proto)
    assert reason in said
    assert f"({kind})" in said


def test_damage_that_the_checker_lets_pass_is_refused():
    proto = export(Net(), "hand")
    for attribute in proto.graph.node[0].attribute:
        if attribute.name == "layout":
            attribute.i = 3
    assert "(LSTM): its layout is 3, not 0 or 1" in refusal(proto)
    proto = export(Net(direction="reverse"), "hand")
    for attribute in proto.graph.node[0].attribute:
        if attribute.name == "direction":
            attribute.s = b"rever\xffe"
    assert "(LSTM): it has no direction 'rever" in refusal(proto)
    proto = export(Net(), "hand")
    proto.graph.initializer[0].raw_data += b"1234"
    assert "'W0'" in refusal(proto)
    proto = export(Net(), "hand")
    del proto.graph.output[:]
    assert "its graph has no output" in refusal(proto)


def test_peepholes_and_coupled_gates_at_once_are_refused():
    w = Writer(Net())
    more = ["", "", "", w.draw("P", 1, 15)]
    weights = [*w.recurrent(0, 3), *more]
    y, *_ = w.node("x", weights, [], input_forget=1)
    proto = w.model(w.op("Squeeze", y, w.constant([1])), ["T", "N", 3], 8, "")
    assert "peepholes and coupled input and forget gates" in refusal(proto)


# ---- arrangements that are no model --------------------------------------------------


class Two(Writer):
    """Two recurrent nodes and what is made of them."""

    def seq(self, x, index, n_in=3, **more):
        """A node's Y without its axis of directions, (T, N, n)."""
        y, *_ = self.node(x, self.recurrent(index, n_in), [], **more)
        return self.op("Squeeze", y, self.constant([1]))

    def file(self, y, rank=3):
        """The ModelProto."""
        proto = self.model(y, ["T", "N", 3], 8, "")
        out = proto.graph.output[0]
        out.CopyFrom(helper.make_tensor_value_info(y, TensorProto.FLOAT, [None] * rank))
        return proto


def parallel(w):
    return w.op("Concat", w.seq("x", 0), w.seq("x", 1), axis=-1)


def residual(w):
    h = w.seq("x", 0)
    return w.op("Add", h, w.seq(h, 1, 5))


def both_layers(w):
    h = w.seq("x", 0)
    return w.op("Concat", h, w.seq(h, 1, 5), axis=-1)


def relu_head(w):
    return w.op("Relu", w.op("MatMul", w.seq("x", 0), w.draw("V", 5, 4)))


def tanh_between(w):
    return w.seq(w.op("Tanh", w.seq("x", 0)), 1, 5)


def after_softmax(w):
    h = w.op("Softmax", w.seq("x", 0), axis=-1)
    return w.op("MatMul", h, w.draw("V", 5, 4))


def softmax_over_steps(w):
    return w.op("Softmax", w.seq("x", 0), axis=0)


def softmax_in_two(w):
    parts = w.op("Split", w.seq("x", 0), w.constant([2, 3]), outputs=2, axis=-1)
    return w.op("Concat", *(w.op("Softmax", p, axis=-1) for p in parts), axis=-1)


def middle_step(w):
    return w.op("Unsqueeze", w.op("Gather", w.seq("x", 0), w.constant(1), axis=0),
                w.constant([0]))  # fmt: skip


def some_steps(w):
    return w.op("Slice", w.seq("x", 0), *(w.constant([v]) for v in (0, -1, 0)))


def mean_of_steps(w):
    return w.op("ReduceMean", w.seq("x", 0), axes=[0], keepdims=1)


def mixed_batch(w):
    h = w.op("Reshape", "x", w.constant([-1, 1, 3]))
    return w.seq(h, 0)


def encoder_decoder(w):
    _, h, c = w.node("x", w.recurrent(0, 3), [])
    y, *_ = w.node("x", w.recurrent(1, 3), [h, c])
    return w.op("Squeeze", y, w.constant([1]))


def cell_state(w):
    return w.node("x", w.recurrent(0, 3), [])[2]


def two_steps(w):
    h = w.seq("x", 0)
    ends = [w.op("Gather", h, w.constant(k), axis=0) for k in (-1, -2)]
    return w.op("Unsqueeze", w.op("Concat", *ends, axis=-1), w.constant([0]))


def one_direction(w):
    y, *_ = w.node("x", w.recurrent(0, 3), [], direction="reverse")
    h = w.op("Squeeze", y, w.constant([1]))
    return w.op("Concat", h, w.op("Mul", h, w.constant(2.0, np.float32)), axis=-1)


def dropout_mask(w):
    h, mask = w.op("Dropout", w.seq("x", 0), outputs=2)
    return w.op("Where", mask, h, h)


def the_input(w):
    w.seq("x", 0)
    return "x"


def a_constant(w):
    w.seq("x", 0)
    return w.op("Identity", w.draw("V", 1, 1, 1))


def later_steps(w):
    return w.seq(w.op("Slice", "x", *(w.constant([v]) for v in (1, 99, 0))), 0)


def sequences_backwards(w):
    h = w.op("Slice", w.seq("x", 0), *(w.constant([v]) for v in (-1, -99, 1, -1)))
    return w.seq(h, 1, 5)


def another_input(w):
    h = w.op("Concat", w.seq("x", 0), "z", axis=-1)
    return w.op("MatMul", h, w.draw("V", 8, 4))


def random_node(w):
    noise = w.op("RandomNormal", shape=[3])
    return w.seq(w.op("Add", "x", noise), 0)


def squared(w):
    h = w.seq("x", 0)
    return w.op("Mul", h, h)


def by_value(w):
    index = w.op("Cast", w.op("Gather", "x", w.constant(0), axis=0), to=7)
    return w.op("Gather", w.seq("x", 0), index, axis=0)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (parallel, "side by side; pyvgrad has layers in a row"),
        (residual, "(Add): it combines two signals"),
        (both_layers, "side by side; pyvgrad has layers in a row"),
        (relu_head, "(Relu): Relu outside of a recurrent layer; a readout is linear"),
        (tanh_between, "(Tanh): Tanh outside of a recurrent layer"),
        (after_softmax, "(MatMul): it reads what node '/Softmax_"),
        (softmax_over_steps, "its softmax is not over the outputs of one step"),
        (softmax_in_two, "its softmax is not over the outputs of one step"),
        (middle_step, "it takes step 2 of 3; pyvgrad gives every step, the last"),
        (some_steps, "it takes some steps of a sequence, not all or the last"),
        (mean_of_steps, "(ReduceMean): pyvgrad has no such operator"),
        (mixed_batch, "it reads 'x' in an order that is not sequences, steps"),
        (encoder_decoder, "its initial_h is another layer's state"),
        (cell_state, "it reads the cell state c"),
        (two_steps, "not"),
        (dropout_mask, "which pyvgrad does not compute"),
        (the_input, "output 'x': it is the input 'x'"),
        (a_constant, "it does not depend on the input"),
        (sequences_backwards, "it mixes the sequences of a batch"),
        (later_steps, "in an order that is not sequences, steps"),
        (random_node, "(RandomNormal): it is random"),
        (squared, "(Mul): it combines two signals"),
        (by_value, "(Cast): it casts float32 to int64"),
    ],
)
def test_what_is_no_row_of_layers_is_refused(build, reason):
    w = Two(Net())
    y = build(w)
    assert reason in refusal(w.file(y))


def test_twice_the_same_direction_is_one_layer_read_twice():
    w = Two(Net())
    model = from_proto(checked(w.file(one_direction(w)), "F.onnx"), "F.onnx")
    assert prove(model).ok
    assert model.shape.n_out == 10


def test_initial_states_that_differ_by_sequence_are_refused():
    w = Two(Net("RNN"))
    h0 = w.constant(np.eye(2, 5)[None], np.float32)
    y, *_ = w.node("x", w.recurrent(0, 3), [h0])
    proto = w.file(w.op("Squeeze", y, w.constant([1])))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    assert "its initial_h differs from sequence to sequence" in refusal(proto)


def lengths_file(take):
    """A file with lengths that takes Y_h (1) or the last step of Y (0)."""
    w = Two(Net("GRU"))
    y, end = w.op(
        "GRU", "x", *w.recurrent(0, 3), "lengths", outputs=2, hidden_size=5
    )  # fmt: skip
    if not take:
        end = w.op("Gather", w.op("Squeeze", y, w.constant([1])), w.constant([-1]),
                   axis=0)  # fmt: skip
    proto = w.file(end)
    proto.graph.input.append(
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["N"])
    )
    return proto


def test_the_last_step_of_padded_sequences_is_refused():
    assert prove(from_proto(checked(lengths_file(1), "F.onnx"), "F.onnx")).ok
    assert "padding where a sequence is shorter; take Y_h" in refusal(lengths_file(0))


def test_a_readout_of_another_input_is_refused():
    w = Two(Net())
    proto = w.file(another_input(w))
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["T", "N", 3])
    proto.graph.input.append(z)
    assert "it reads 'z', which no layer reads" in refusal(proto)


def test_lengths_in_another_order_are_refused():
    proto = lengths_file(1)
    w = Two(Net())
    ends = [w.constant([v], name=f"end{k}") for k, v in enumerate((-1, -99, 0, -1))]
    turned = w.op("Slice", "lengths", *ends)
    proto.graph.node[0].input[4] = turned
    proto.graph.node.insert(0, w.nodes[0])
    proto.graph.initializer.extend(w.initializers)
    assert "its sequence_lens are in another order" in refusal(proto)


def test_lengths_of_some_layers_only_are_refused():
    w = Two(Net("GRU"))
    y, _ = w.op("GRU", "x", *w.recurrent(0, 3), "lengths", outputs=2, hidden_size=5)
    proto = w.file(w.seq(w.op("Squeeze", y, w.constant([1])), 1, 5))
    proto.graph.input.append(
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["N"])
    )
    assert "some of its layers have sequence_lens and some have not" in refusal(proto)


def test_constant_lengths_below_the_steps_are_refused():
    w = Two(Net("GRU"))
    lengths = w.constant([4, 3], np.int32)
    y, _ = w.op("GRU", "x", *w.recurrent(0, 3), lengths, outputs=2, hidden_size=5)
    proto = w.file(y, 4)
    for k, size in enumerate((4, 2)):
        proto.graph.input[0].type.tensor_type.shape.dim[k].dim_value = size
    assert "its sequence_lens are the constant [4, 3] for 4 steps" in refusal(proto)


def fixed(proto, *sizes):
    """The same file with these sizes of the first dimensions of x."""
    for k, size in enumerate(sizes):
        proto.graph.input[0].type.tensor_type.shape.dim[k].dim_value = size
    return proto


def test_a_scale_that_differs_from_step_to_step_is_refused():
    for shape in ((4, 1, 1), (1, 2, 1)):
        w = Two(Net())
        h = w.op("Mul", "x", w.constant(1.0 + np.arange(max(shape)).reshape(shape),
                                        np.float32))  # fmt: skip
        said = refusal(fixed(w.file(w.seq(h, 0)), 4, 2))
        assert "it scales steps or sequences differently" in said


def test_units_that_change_places_from_step_to_step_are_refused():
    w = Two(Net())
    h = w.seq("x", 0)
    other = w.op("Gather", h, w.constant([1, 0, 2, 3, 4]), axis=2)
    even = w.constant(np.arange(4).reshape(4, 1, 1) % 2 == 0, np.bool_)
    proto = w.file(w.seq(w.op("Where", even, h, other), 1, 5))
    assert "it reads other units at other steps" in refusal(fixed(proto, 4, 2))


def per_step(same):
    """A dense layer for each step, of the same weights or not."""
    w = Two(Net("RNN"))
    h = w.seq("x", 0)
    V = w.draw("V", 5, 4)
    steps = []
    for t in range(4):
        x = w.op("Gather", h, w.constant([t]), axis=0)
        y = w.op("MatMul", x, V if same else w.draw(f"V{t}", 5, 4))
        steps.append(w.op("Softmax", y, axis=-1))
    return fixed(w.file(w.op("Concat", *steps, axis=0)), 4)


def test_a_dense_layer_for_each_step_is_one_if_they_are_equal():
    model = from_proto(checked(per_step(True), "F.onnx"), "F.onnx")
    assert prove(model).ok
    assert (model.shape.mode, model.shape.output) == ("sequence", "softmax")
    assert "it is not the same function of every step" in refusal(per_step(False))


def test_the_softmax_of_old_opsets_is_over_all_axes_that_follow():
    for take, said in {
        "sequence": "its softmax is not over the outputs",
        "last": "",
    }.items():
        proto = export(Net(take=take, function="Softmax", opset=12), "torch_old")
        del proto.graph.node[-1].attribute[:]
        assert proto.graph.node[-1].op_type == "Softmax"
        if said:
            assert said in refusal(proto)
        else:
            assert prove(from_proto(checked(proto, "F.onnx"), "F.onnx")).ok


def normalized(**attributes):
    """Batch normalization of h at the last step."""
    w = Two(Net())
    h = w.op("Gather", w.seq("x", 0), w.constant(-1), axis=0)
    rng = np.random.default_rng(3)
    ends = [w.constant(rng.uniform(0.5, 2, 5), np.float32) for _ in range(4)]
    return w.file(w.op("BatchNormalization", h, *ends, **attributes), 2)


def test_batch_normalization_is_folded_but_not_in_training():
    model = from_proto(checked(normalized(epsilon=0.1), "F.onnx"), "F.onnx")
    assert prove(model).ok
    assert model.shape.mode == "last"
    said = refusal(normalized(training_mode=1))
    assert "(BatchNormalization): it is in training mode" in said


def test_dropout_in_training_is_refused():
    for training in (False, True):
        w = Two(Net())
        ends = w.constant(0.5, np.float32), w.constant(training, np.bool_)
        proto = w.file(w.op("Dropout", w.seq("x", 0), *ends))
        if training:
            assert "(Dropout): it is in training mode" in refusal(proto)
        else:
            assert prove(from_proto(checked(proto, "F.onnx"), "F.onnx")).ok


def test_the_factors_of_a_gemm_are_folded():
    proto = export(Net(take="last"), "torch_old")
    [gemm] = [node for node in proto.graph.node if node.op_type == "Gemm"]
    for attribute in gemm.attribute:
        if attribute.name in ("alpha", "beta"):
            attribute.f = {"alpha": 2.5, "beta": 0.5}[attribute.name]
    assert prove(from_proto(checked(proto, "F.onnx"), "F.onnx")).ok


def test_a_dense_layer_of_all_steps_at_once_is_refused():
    w = Two(Net())
    h = w.op("Transpose", w.seq("x", 0), perm=[1, 0, 2])
    h = w.op("Reshape", h, w.constant([2, 20]))
    proto = w.file(w.op("MatMul", h, w.draw("V", 20, 4)), 2)
    for k, size in enumerate((4, 2)):
        proto.graph.input[0].type.tensor_type.shape.dim[k].dim_value = size
    assert "it reads several steps, or several sequences, at once" in refusal(proto)


def test_symbols_by_number_are_refused():
    w = Writer(Net(n_in=4))
    table = w.draw("embedding", 9, 4)
    h = w.op("Gather", table, "x", axis=0)
    y, *_ = w.node(h, w.recurrent(0, 4), [])
    proto = w.model(w.op("Squeeze", y, w.constant([1])), ["T", "N"], 8, "")
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert "(Gather): its shape or indices depend on the input's values" in refusal(
        proto
    )
