"""Counts and floats to signals; integers to the floats they stand for."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels, random_qmodel
from scalar_model import clamp, rs, sat16

from pyvgrad.dequantize import dequantize
from pyvgrad.qmodel import Scaling
from pyvgrad.signals import scale, to_signals


def scalar_scale(model, counts):
    """Return x and the values that clamp, one by one."""
    if model.scaling is None:
        exact = list(counts)
    else:
        s = model.scaling
        exact = [
            rs((count - int(s.offset[k])) * int(s.mult[k]), int(s.shift[k]))
            for k, count in enumerate(counts)
        ]
    return [sat16(v) for v in exact], [sat16(v) != v for v in exact]


@given(
    qmodels(n_in=3), st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=3)
)
@settings(max_examples=200, deadline=None)
def test_scale_is_the_formula_in_integers(model, counts):
    x, clamped = scale(model, np.array(counts))
    expected, flags = scalar_scale(model, counts)
    assert x.dtype == np.int16
    assert x.tolist() == expected
    assert clamped == sum(flags)


finite = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-4.0, 4.0)


@given(qmodels(n_in=2), st.lists(finite, min_size=2, max_size=2))
@settings(max_examples=200, deadline=None)
def test_to_signals_rounds_the_exact_value_once(model, u):
    exact = [floor(Fraction(v) * 2**model.count_exp + Fraction(1, 2)) for v in u]
    counts = [clamp(v, -(2**31), 2**31 - 1) for v in exact]
    expected, flags = scalar_scale(model, counts)
    clamped = [a != b or f for a, b, f in zip(exact, counts, flags, strict=True)]
    x, n = to_signals(model, np.array(u))
    assert x.tolist() == expected
    assert n == sum(clamped)


def test_counts_by_hand():
    model = random_qmodel(np.random.default_rng(0), n_in=2, scaling=False)
    model = dataclasses.replace(
        model,
        count_exp=3,
        scaling=Scaling(np.array([-8, 1000]), np.array([3, -32768]), np.array([2, 0])),
    )
    # u = 0.3 -> floor(2.9) = 2; (2 + 8) * 3 = 30, rs(30, 2) = 8
    # u = 125.125 -> 1001; -32768 fits.  u = 124 -> 992: 262144 is clamped.
    x, clamped = to_signals(model, [[0.3, 125.125], [-1.0625, 124.0]])
    assert x.tolist() == [[8, -32768], [0, 32767]]
    assert clamped == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_with_its_place(bad):
    model = random_qmodel(np.random.default_rng(0), n_in=2)
    u = np.zeros((3, 4, 2))
    u[1, 2, 0] = bad
    with pytest.raises(ValueError, match=r"at index \(1, 2, 0\)"):
        to_signals(model, u)


def test_other_shapes_and_kinds_are_refused():
    model = random_qmodel(np.random.default_rng(0), n_in=2)
    for call in (scale, to_signals):
        with pytest.raises(ValueError, match="shape"):
            call(model, np.zeros((2, 3), np.int64))
        with pytest.raises(ValueError, match="shape"):
            call(model, 1)
    with pytest.raises(ValueError, match="int32"):
        scale(model, [0.5, 1.0])
    with pytest.raises(ValueError, match="int32"):
        scale(model, [0, 2**31])
    assert to_signals(model, np.zeros((0, 2)))[0].shape == (0, 2)
    assert scale(model, np.zeros((5, 0, 2), np.int32))[1] == 0


def parts_of(layer, gate):
    """W over x, U over r, P over a value of its own: docs/numbers.md, the table."""
    special = {
        ("gru", "n"): "W",
        ("gru", "m"): "U",
        ("plus_rnn", "u"): "W",
        ("indrnn", "a"): "WP",
        ("lstm_peephole", "i"): "WUP",
        ("lstm_peephole", "f"): "WUP",
        ("lstm_peephole", "o"): "WUP",
    }
    usual = "WU" if layer.opts.recurrent else "W"
    return special.get((layer.cell, gate), usual)


@given(st.one_of(qmodels(), qmodels(whole=True)))
@settings(max_examples=100, deadline=None)
def test_dequantize_is_each_integer_over_its_power_of_two(model):
    params = dequantize(model)
    given = [[model.x_exp] * model.shape.n_in]  # exponents of what a layer reads
    for q, p in zip(model.layers, params["layers"], strict=True):
        layer = q.layer
        state = q.h_exp if layer.cell in ("rnn_relu", "indrnn", "lstm97") else 14
        read = given[-1] if layer.direction != "reverse-half" else given[-2]
        given.append([q.h_exp] * layer.n)
        if layer.direction == "reverse-half":
            given.append(given.pop(-2) + given.pop())
        r = [state] * layer.n + [14] * (2 * layer.n_blocks)
        assert set(p["b"]) == {k for k in layer.gates if layer.has_bias(k)}
        for k in layer.gates:
            there = [part for part in "WUP" if k in p.get(part, {})]
            assert "".join(there) == parts_of(layer, k)
            whole = np.hstack([p[v][k].reshape(layer.rows(k), -1) for v in there])
            own = state if layer.cell == "indrnn" else 14
            exps = {"W": read, "U": r[: layer.n_recurrent], "P": [own]}
            columns = [e for part in there for e in exps[part]]
            for u, row in enumerate(q.weights[k]):
                E = int(q.exps[k][u])
                exact = [
                    Fraction(int(w)) / Fraction(2) ** (E - e)
                    for w, e in zip(row, columns, strict=True)
                ]
                assert [Fraction(v) for v in whole[u].tolist()] == exact
            for b, v, e in zip(
                q.biases.get(k, []), p["b"].get(k, []), q.exps[k], strict=False
            ):
                assert Fraction(float(v)) == Fraction(int(b), 2 ** int(e))
        if q.r0 is None:
            assert not {"h0", "c0", "i0", "o0"} & set(p)
        else:
            r0 = [Fraction(int(v)) for v in q.r0]
            c0 = {"c": p.get("c0"), "h": p["h0"], "": None}[layer.row.carry]
            if layer.row.carry != "h":
                h0 = [Fraction(v) * 2**state for v in p["h0"].tolist()]
                assert h0 == r0[: layer.n]
            fed = [v for k in layer.feedback_gates for v in p[f"{k}0"].tolist()]
            assert [Fraction(v) * 2**14 for v in fed] == r0[layer.n :]
            if q.c0 is not None:
                assert (c0 * 2**20).tolist() == q.c0.tolist()
    below = np.array(given[-1])
    assert ("readout" in params) == (model.readout is not None)
    if model.readout is not None:
        q, p = model.readout, params["readout"]
        n = q.readout.n_in
        assert p["W"].shape == (q.readout.n_out, n)
        assert ("V" in p) == bool(q.readout.shortcuts)
        E = q.exps[:, None].astype(float)
        assert np.array_equal(p["W"] * 2.0 ** (E - below), q.weights[:, :n])
        if "V" in p:
            assert np.array_equal(p["V"] * 2.0 ** (E - model.x_exp), q.weights[:, n:])
        assert ("b" in p) == (q.biases is not None)
        if q.biases is not None:
            assert np.array_equal(p["b"] * 2.0**q.exps, q.biases)
