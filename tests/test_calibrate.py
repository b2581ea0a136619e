"""Exponents chosen from data: against brute force over all of them, in rationals."""

from __future__ import annotations

import json
import sys
from fractions import Fraction

import numpy as np
import pytest
from test_model import SHAPES

from pyvgrad import cli
from pyvgrad.blob import pack, parse
from pyvgrad.calibrate import (
    Exponents,
    Ranges,
    calibrate,
    default_exponents,
    exp_by,
    free_signals,
    parse_ranges,
)
from pyvgrad.cells import Layer, Readout, Shape
from pyvgrad.model import init_params
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize
from pyvgrad.tasks import make_task


def on_grid(value, e, low, high):
    """Value rounded half up on exponent e and clamped, as a rational number."""
    v = Fraction(float(value)) * Fraction(2) ** e + Fraction(1, 2)
    raw = min(max(v.numerator // v.denominator, low), high)
    return raw / Fraction(2) ** e


def squares(values, e, low=-32768, high=32767):
    return sum((on_grid(v, e, low, high) - Fraction(float(v))) ** 2 for v in values)


@pytest.mark.parametrize("seed", range(12))
def test_mse_takes_the_exponent_with_the_least_squares(seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2, 200) * 10.0 ** rng.uniform(-2, 3)
    e = exp_by("mse", values)
    errors = [squares(values, k) for k in range(15)]
    assert e == max(k for k in range(15) if errors[k] == min(errors))


def test_mse_may_clamp_an_outlier_where_minmax_may_not():
    values = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 500_000), [2.1]])
    assert exp_by("minmax", values) == 13
    assert exp_by("percentile", values) == 14
    assert exp_by("mse", values[-4000:]) == 13
    # 5e5 (2^-14)^2 (4 - 1) / 12 = 0.00047 < (2.1 - 2)^2 = 0.01: not worth it; 2.02 is
    assert exp_by("mse", values) == 13
    values[-1] = 2.02
    assert exp_by("mse", values) == 14


def test_the_percentile_counts_values_from_zero():
    values = np.concatenate([np.full(9990, -0.9), np.full(5, 100.0)])
    assert exp_by("percentile", values) == 14
    values = np.concatenate([np.full(9900, -0.9), np.full(100, 100.0)])
    assert exp_by("percentile", values) == 8


@pytest.mark.parametrize("name", ["lstm", "rnn_relu", "gru"])
@pytest.mark.parametrize("seed", range(3))
def test_int8_rows_by_mse_have_the_least_squares_of_all_exponents(name, seed):
    shape = SHAPES[name]
    rng = np.random.default_rng(seed)
    params = init_params(shape, rng, scale=0.3)
    for w in params["layers"][0]["W"].values():
        w *= rng.standard_t(1.5, w.shape)
    q = quantize(shape, params, weight_bits=8, weights="mse")
    assert parse(pack(q)) == q
    layer = shape.layers[0]
    for gate in layer.gates:
        if gate in layer.row.joined:
            continue
        parts = [params["layers"][0][p][gate] for p in layer.parts(gate)]
        w = np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)
        columns = q.column_exps(0, gate)
        for row, ints, e in zip(
            w, q.layers[0].weights[gate], q.layers[0].exps[gate], strict=True
        ):
            arg = q.layers[0].argument_exp(gate)
            free = max(
                k
                for k in range(arg + 1, arg + 32)
                if np.abs(np.ldexp(row, k - columns)).max() < 127.5
            )

            def error(exp, row=row, columns=columns):
                pairs = zip(row, columns, strict=True)
                return sum(squares([v], int(exp - c), -127, 127) for v, c in pairs)

            errors = {k: error(k) for k in range(arg + 1, arg + 32)}
            least = min(errors.values())
            assert errors[e] == least
            # Of equals the smallest, but never below the largest without a clamp.
            assert not [k for k in errors if free <= k < e and errors[k] == least]
            assert np.abs(ints).max() <= 127


def test_an_int8_row_clips_a_weight_where_that_lowers_the_squares():
    """1.0 as 127/128 errs by 2^-7; on 64 the other 39 lose a digit."""
    shape = stack("rnn_tanh", (40, 1, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    row = np.random.default_rng(1).uniform(-0.9, 0.9, 40)
    row[7] = 1.0
    params["layers"][0] |= {"W": {"a": row[None]}, "U": {"a": np.zeros((1, 1))}}
    for method, e, most in (("minmax", 20, 64), ("mse", 21, 127)):
        q = quantize(shape, params, weight_bits=8, weights=method).layers[0]
        assert q.exps["a"].tolist() == [e], method
        assert q.weights["a"][0, 7] == most
    params["layers"][0]["W"]["a"][0, 7] = 1.5
    q = quantize(shape, params, weight_bits=8, weights="mse").layers[0]
    assert q.exps["a"].tolist() == [20]


def test_given_ranges_are_the_largest_value_that_is_not_clamped():
    shape = Shape((Layer("rnn_relu", 2, 4),), Readout(4, 3, "softmax"))
    params = init_params(shape, np.random.default_rng(0), scale=0.5)
    x = np.random.default_rng(1).normal(size=(5, 9, 2))
    given = {"x": 1.9, "layer1.h": 100.0, "logits": 32767.0}
    found = calibrate(shape, params, x, ranges=Ranges(given=given))
    assert found == Exponents(14, (8,), 0)
    with pytest.raises(ValueError, match=r"the range of layer1\.c is not to be"):
        calibrate(shape, params, x, ranges=Ranges(given={"layer1.c": 1.0}))


def test_minmax_is_what_quantize_does_without_being_asked():
    shape = Shape((Layer("rnn_relu", 2, 4),), Readout(4, 3, "linear"))
    params = init_params(shape, np.random.default_rng(0), scale=0.5)
    x = np.random.default_rng(1).uniform(-3, 3, size=(5, 9, 2))
    plain = quantize(shape, params, x_exp=13, calibration=x)
    exps = calibrate(shape, params, x)
    assert exps.x == 13
    assert quantize(shape, params, exponents=exps) == plain


def test_what_lies_behind_a_sequences_end_is_not_looked_at():
    shape = stack("rnn_relu", (1, 2, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    x = np.ones((2, 4, 1))
    x[0, 2:] = 1e6
    signals = free_signals(shape, params, x, np.array([2, 4]))
    assert signals["x"].max() == 1.0
    assert set(signals) == {"x", "layer1.h", "logits"}


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("minmax", Ranges()),
        ("mse,weights=minmax", Ranges("mse", "minmax")),
        ("logits=40, x=2", Ranges(given={"logits": 40.0, "x": 2.0})),
    ],
)
def test_ranges_are_read_from_one_option(text, ranges):
    assert parse_ranges(text) == ranges


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("median", "found by one of"),
        ("weights=1", "found by one of"),
        ("logits=many", "signal=largest"),
        ("logits=-1", "range of logits is above 0"),
        ("x=nan", "range of x is above 0"),
    ],
)
def test_ranges_that_mean_nothing_are_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_ranges(text)


def test_exponents_that_do_not_exist_are_refused():
    shape = stack("lstm", (2, 2, 2), output="logistic")
    params = init_params(shape, np.random.default_rng(0))
    with pytest.raises(ValueError, match="0 to 14"):
        Exponents(15, (14,), 11)
    for wrong in (Exponents(14, (13,), 11), Exponents(14, (14,), 10)):
        with pytest.raises(ValueError, match="bounded h has exponent 14"):
            quantize(shape, params, exponents=wrong)
    assert quantize(shape, params, exponents=default_exponents(shape))


# ---- the command ---------------------------------------------------------


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command in tmp_path: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(command):
        monkeypatch.setattr(sys, "argv", ["pyvgrad", *command.split()])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


def test_train_takes_the_users_units_and_reports(call, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (12, 6, 2)) * [100, 3] + [900, -1]
    y = 20 + 0.05 * np.cumsum(x[..., :1] - 950, axis=1) + x[..., 1:]
    np.savez(tmp_path / "D.npz", x=x, y=y)
    code, out, err = call(
        "train --data D.npz --scale std --weights 8 --qat --report --ranges mse "
        "--limit 400 --hidden 4 -o M.vg --json"
    )
    assert code in (0, 1), err
    found = json.loads(out)
    assert found["qat"]["loss_after"] <= found["qat"]["loss_before"]
    assert "layer1.g.x" in [row["name"] for row in found["report"]["tensors"]]
    assert found["report"]["signals"][0]["clamped"] == 0
    assert parse((tmp_path / "M.vg").read_bytes()).scaling is not None
    code, _, err = call("run M.vg D.npz -o Y.npz --on numpy --strict --json")
    assert code == 0, err
    error = np.load(tmp_path / "Y.npz")["y"] - y
    assert np.std(error) < 0.8 * np.std(y)
    assert abs(np.mean(error)) < 2.0
    code, out, _ = call("info M.vg --report --x D.npz --json")
    blind = json.loads(out)["report"]
    assert code == 0
    assert blind.keys() == found["report"].keys()
    assert blind["steps"] == 72
    code, _, err = call("info M.vg --x D.npz")
    assert (code, "--x is for --report" in err) == (2, True)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train reber --scale std -o M.vg", "--scale is for --data"),
        ("train reber --ranges median -o M.vg", "found by one of"),
        ("train reber --ranges layer9.h=3 -o M.vg", "range of layer9.h is not to be"),
        ("train reber --ranges percentile --qat -o M.vg", "minmax or mse"),
    ],
)
def test_bad_options_are_one_sentence(call, tmp_path, command, says):
    code, out, err = call(command)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_symbols_have_exponent_14_by_every_method():
    task = make_task("reber", seed=0)
    x = next(iter(task.checks.values())).x
    assert [exp_by(m, x) for m in ("minmax", "percentile", "mse")] == [14, 14, 14]
