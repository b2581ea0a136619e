"""Pickles of music: what is read, and that nothing of one is ever run."""

from __future__ import annotations

import collections
import os
import pickle

import numpy as np
import pytest

from pyvgrad.errors import VgradError
from pyvgrad.tasks.plain_pickle import load_plain

PLAIN = {"train": [[(60, 64), [], (62.0,)], []], "valid": (), "test": [[-(10**30)]]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read_from_every_protocol(protocol):
    assert load_plain(pickle.dumps(PLAIN, protocol), "p") == PLAIN


def test_a_pickle_of_python_2_is_read():
    """``{'train': [[(60L, 64)]]}`` in protocol 0: a string of bytes, a long."""
    old = b"(dp1\nS'train'\np2\n(lp3\n(lp4\n(L60L\nI64\ntp5\naas."
    assert load_plain(old, "p") == {"train": [[(60, 64)]]}


class Runs:
    """What pickles as a call of ``function(*args)``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: Runs(os.mkdir, str(path)), "mkdir"),
        (lambda path: Runs(exec, f"import os; os.mkdir({str(path)!r})"), "exec"),
        (lambda path: [[Runs(os.system, f"mkdir {path}")]], "system"),
        (lambda path: np.int64(60), "scalar"),
        (lambda path: np.zeros(2), "numpy"),
        (lambda path: collections.OrderedDict(a=1), "OrderedDict"),
    ],
)
def test_a_pickle_that_names_something_is_refused_and_runs_nothing(
    tmp_path, make, named, protocol
):
    path = tmp_path / "ran"
    data = pickle.dumps(make(path), protocol)
    with pytest.raises(VgradError, match=f"p: it asks for .*{named}.*; only lists"):
        load_plain(data, "p")
    assert not path.exists()
    if named in ("mkdir", "exec"):  # the same bytes are hostile to who trusts them
        pickle.loads(data)
        assert path.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"not a pickle",
        b"(lp0\nI1\na",  # no end
        b"\x82\x01.",  # a name by its number in copyreg
        b"(lp0\nP1\n.",  # a persistent id
        b"]\x94}b.",  # a state for a list
        b"]]R.",  # a list called
        b"\x80\x05\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a string of 2^63 bytes
    ],
)
def test_damaged_pickles_are_one_sentence(data):
    with pytest.raises(VgradError, match=r"p: (no pickle|it asks for)") as refused:
        load_plain(data, "p")
    assert "\n" not in str(refused.value)
