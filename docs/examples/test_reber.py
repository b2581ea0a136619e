"""A test of your own: it asserts once and runs on the desk and on the chip.

    pytest docs/examples                            host and emulated Cortex-M4
    VGRAD_ON=/dev/ttyACM0 pytest docs/examples      and a board that is plugged in

reber.vg was made by `pyvgrad train reber -o docs/examples/reber.vg`.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from pyvgrad import Model

BLOB = Path(__file__).with_name("reber.vg")
PLACES = ["host", "m4", *filter(None, os.environ.get("VGRAD_ON", "").split(","))]
SYMBOLS = "BTSXPVE"


@pytest.fixture(params=PLACES)
def model(request):
    with Model.open(BLOB, on=request.param) as opened:
        yield opened


def one_hot(string):
    return np.eye(len(SYMBOLS))[[SYMBOLS.index(c) for c in string]]


@pytest.mark.parametrize(
    ("string", "next_ones"), [("B", "TP"), ("BT", "SX"), ("BTXX", "TV"), ("BPVV", "E")]
)
def test_the_legal_next_symbols_are_the_most_active(model, string, next_ones):
    y = model.run(one_hot(string))[-1]
    most = np.argsort(y)[-len(next_ones) :]
    assert {SYMBOLS[k] for k in most} == set(next_ones)


def test_a_stream_can_be_cut_and_taken_up_elsewhere(model):
    x = one_hot("BTSSXXTVV")
    whole = model.run(x)
    model.reset()
    model.run(x[:4])
    with Model.open(BLOB) as other:
        other.state = model.state
        assert (other.run(x[4:]) == whole[4:]).all()
