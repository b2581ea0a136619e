"""The report on a quantization, and the bounds that actual weights prove."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from math import log2

import numpy as np
import pytest
from test_model import SHAPES

from pyvgrad.blob import pack
from pyvgrad.bounds import bounds
from pyvgrad.calibrate import calibrate
from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.dequantize import dequantize
from pyvgrad.intmodel import IntModel
from pyvgrad.model import forward, init_params
from pyvgrad.nets import stack
from pyvgrad.qreport import quantization_report, report_lines
from pyvgrad.quantize import quantize
from pyvgrad.signals import to_signals


def example(name, bits=8, weights="minmax"):
    shape = SHAPES[name]
    params = init_params(shape, np.random.default_rng(1), scale=0.7)
    x = np.random.default_rng(2).uniform(-1, 1, (5, 8, shape.n_in))
    exps = calibrate(shape, params, x)
    q = quantize(shape, params, weight_bits=bits, exponents=exps, weights=weights)
    return q, params, x, np.array([8, 3, 8, 5, 1])


def rms(v):
    return float(np.sqrt(np.mean(np.square(v))))


def test_the_error_of_a_tensor_is_the_change_of_the_logits_by_it_alone():
    q, params, x, lengths = example("lstm")
    report = quantization_report(q, x, lengths, params)
    values = to_signals(q, x)[0] / 2.0**q.x_exp
    valid = np.arange(8) < lengths[:, None]
    exact = forward(q.shape, params, values).logits
    near = deepcopy(params)
    near["layers"][0]["U"]["f"] = dequantize(q)["layers"][0]["U"]["f"]
    found = {row["name"]: row for row in report["tensors"]}
    change = forward(q.shape, near, values).logits - exact
    assert found["layer1.f.h"]["error"] == pytest.approx(rms(change[valid]))
    want = near["layers"][0]["U"]["f"] - params["layers"][0]["U"]["f"]
    assert found["layer1.f.h"]["rounding_rms"] == pytest.approx(rms(want))
    logits = IntModel(q).run(to_signals(q, x)[0], lengths).logits / 2.0**q.logit_exp
    assert report["error_rms"] == pytest.approx(rms((logits - exact)[valid]))
    assert report["logits_rms"] == pytest.approx(rms(exact[valid]))
    assert report["steps"] == lengths.sum()


@pytest.mark.parametrize("name", SHAPES)
def test_every_tensor_and_signal_of_every_cell_is_reported(name):
    q, params, x, lengths = example(name, bits=16)
    report = quantization_report(q, x, lengths, params)
    json.dumps(report, allow_nan=False)
    assert len(report_lines(report)) == 4 + len(report["tensors"] + report["signals"])
    for row in report["tensors"]:
        assert row["error"] < 0.05 * max(report["logits_rms"], 0.1), row
        assert row["bits_lost"] is None or row["bits_lost"] >= 0.0
    blind = quantization_report(q, x, lengths)
    assert all(row["error"] is None for row in blind["tensors"])
    assert blind["error_rms"] < 1e-2 * max(report["logits_rms"], 0.1)


def test_bits_lost_and_clamps_are_counted_from_the_integers():
    shape = stack("rnn_tanh", (4, 2, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0), scale=0.1)
    w = np.array([[1.0, 0.01, 0.012, 0.009], [0.3, 0.0, 0.0, 0.0]])
    params["layers"][0]["W"]["a"] = w
    params["layers"][0]["U"]["a"] *= 0.0
    x = np.random.default_rng(0).uniform(-1, 1, (4, 6, 4))
    plain = quantize(shape, params, weight_bits=8)
    row = quantization_report(plain, x, None, params)["tensors"][0]
    # 1.0 is 64 of 127 steps, 0.3 is 77
    assert row["bits_lost"] == pytest.approx(np.mean([log2(127 / 64), log2(127 / 77)]))
    assert row["clamped"] == 0
    plain.layers[0].exps["a"][0] += 1  # as if E had been chosen to clamp
    plain.layers[0].weights["a"][0] = [127, 1, 2, 1, 0, 0]
    row = quantization_report(plain, x, None, params)["tensors"][0]
    assert row["clamped"] == 1


def test_clamps_of_logits_are_counted_and_their_share():
    shape = Shape((Layer("rnn_tanh", 1, 2),), Readout(2, 2, "linear"))
    params = init_params(shape, np.random.default_rng(0), scale=0.5)
    params["readout"]["b"] = np.array([40.0, 0.0])
    q = quantize(shape, params)  # logits on exponent 11: 16 at most
    report = quantization_report(q, np.zeros((3, 5, 1)), None, params)
    assert report["saturated"] == 15
    assert report["saturated_share"] == 0.5
    assert [b["may_clamp"] for b in report["bounds"]] == [None, True]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_relu", "indrnn", "lstm_peephole"])
def test_bounds_hold_for_the_worst_inputs_and_are_not_far_from_them(name, bits):
    """Against sums over the sources' extremes, in Python's integers."""
    q, *_ = example(name, bits)
    found = {b.gate: b for b in bounds(q)}
    for gate, w in q.layers[0].weights.items():
        own = q.layers[0].layer.reads(gate) in "pq"
        worst = 0
        for k, row in enumerate(w.tolist()):
            z = [(-32768 if v < 0 else 32767) for v in row]
            if own:
                z[-1] = (1 << 24) * (1 if row[-1] >= 0 else -1)
            bias = q.layers[0].biases.get(gate)
            acc = sum(a * b for a, b in zip(row, z, strict=True))
            down = sum(-a * b for a, b in zip(row, z, strict=True))
            b = 0 if bias is None else int(bias[k])
            worst = max(worst, abs(acc + b), abs(down + b))
        bound = found[f"layer1.{gate}"]
        if name == "gru" and gate in "nm":
            assert bound.acc >= worst << (14 if gate == "n" else 0)
            continue
        assert worst <= bound.acc < 1.01 * worst + 2**32
        assert bound.in_double
        assert bound.in_int32 == (bound.acc < 2**31)


def test_a_readout_that_cannot_clamp_is_proven_not_to():
    shape = Shape((Layer("rnn_tanh", 1, 1),), Readout(1, 1, "linear", biases=False))
    params = init_params(shape, np.random.default_rng(0), scale=0.5)
    for weight, clamps in ((7.9, False), (8.1, True)):
        params["readout"]["W"][:] = weight  # |h| <= 2 as an int16 q14, logits q11
        assert bounds(quantize(shape, params))[-1].may_clamp is clamps


def test_reports_of_models_with_input_scaling_take_the_users_unit():
    q, params, x, lengths = example("lstm")
    from pyvgrad.qmodel import Scaling

    ones = np.ones(3, np.int64)
    scaled = replace(q, scaling=Scaling(100 * ones, ones, 0 * ones), count_exp=14)
    here = quantization_report(scaled, x + 100 / 2**14, lengths, params)
    there = quantization_report(q, x, lengths, params)
    assert here == there
    assert pack(scaled) != pack(q)
