"""The theory lab: its command, spread over workers, interrupted; its figures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from pyvgrad import theory, theory_lab
from pyvgrad.theory import LAG

FEW = ["--only", "tanh,LSTM 1997", "--seeds", "2", "--first-seed", "7"]


def figures(folder):
    return json.loads((folder / "theory.json").read_text())


def started(folder, *args):
    command = [sys.executable, "-m", "pyvgrad", "lab", "theory", "-o", "here", *FEW]
    return subprocess.Popen(
        [*command, *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished_jobs(folder):
    store = folder / "here" / "theory.jsonl"
    return max(store.read_bytes().count(b"\n") - 1, 0) if store.exists() else 0


def wait_until(true, run):
    end = time.monotonic() + 600
    while not true():
        assert time.monotonic() < end
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)


def workers_of(pid):
    """Processes that run a worker: the children that multiprocessing spawned."""
    children = psutil.Process(pid).children()
    return [p.pid for p in children if any("spawn_main" in a for a in p.cmdline())]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    run = started(folder, "--json")
    out, err = run.communicate(timeout=600)
    assert run.returncode == 0, err
    assert [row["net"] for row in json.loads(out)["rows"]] == ["tanh", "LSTM 1997"]
    return folder / "here"


def test_the_lab_writes_what_it_says(alone):
    pictures = set(
        re.findall(r"\((theory-\w+\.png)\)", (alone / "theory.md").read_text())
    )
    assert len(pictures) == 5
    for name in pictures:
        assert (alone / name).read_bytes().startswith(b"\x89PNG\r\n")
    found = figures(alone)
    assert [run["seed"] for run in found["learning"]] == [7, 7, 8, 8]
    carousel = found["over_q"]["LSTM 1997"]["carousel"]
    np.testing.assert_array_equal(carousel["low"], 1.0)
    tanh = found["over_q"]["tanh"]["all"]["mean"]
    assert tanh[-1] < 1e-3 * tanh[0]
    points = found["learning"][0]["points"]
    assert [p["sequences"] for p in points] == [0, 200, 400]
    assert points[0]["factors"][LAG - 1] != points[-1]["factors"][LAG - 1]


def test_two_workers_one_killed_give_the_same_figures(alone, tmp_path):
    run = started(tmp_path, "--workers", "local:2")
    try:
        wait_until(lambda: finished_jobs(tmp_path), run)
        victim, other = workers_of(run.pid)[:2]
        os.kill(victim, signal.SIGKILL)
        _, err = run.communicate(timeout=600)
    finally:
        run.kill()
        run.wait()
    assert victim != other
    assert run.returncode == 0, err
    for name in ("theory.json", "theory.md"):
        assert (tmp_path / "here" / name).read_bytes() == (alone / name).read_bytes()


def test_ctrl_c_says_what_is_kept_and_the_command_goes_on(alone, tmp_path):
    run = started(tmp_path)
    try:
        wait_until(lambda: finished_jobs(tmp_path), run)
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert (run.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert re.search(
        r"^pyvgrad: interrupted; \d of 4 jobs are finished and kept", err, re.M
    )
    before = finished_jobs(tmp_path)
    assert 1 <= before < 4
    again = started(tmp_path)
    _, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    assert finished_jobs(tmp_path) == 4
    assert figures(tmp_path / "here") == figures(alone)


def test_an_unknown_net_and_an_unreachable_scheduler_are_one_sentence(
    pyvgrad, monkeypatch
):
    code, _, err = pyvgrad("lab", "theory", "--only", "tanh,perceptron")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "there is no net 'perceptron'; known: logistic, tanh, IndRNN" in err
    monkeypatch.setattr("pyvgrad.cluster._CONNECT", 1.0)
    code, _, err = pyvgrad("lab", "theory", "--workers", "tcp://127.0.0.1:1")
    said = [line for line in err.splitlines() if line.startswith("pyvgrad: ")]
    assert (code, len(said)) == (2, 1)
    assert "the scheduler tcp://127.0.0.1:1 does not answer" in said[0]
    assert "Traceback" not in err


def test_the_bounds_are_checked():
    """A figure above its bound is not passed over."""
    good = {
        "over_q": {"logistic": {"all": {"high": [0.01, 0.001]}}},
        "over_w": [{"factor": [0.1, 0.2], "bound": 0.3}],
        "conditions": {"tanh": {"0.0": [{"must_vanish": True, "rate": 0.9}]}},
    }
    assert theory_lab.holds(good)
    for path, bad in (
        (("over_q", "logistic", "all", "high", 1), 99.0),
        (("over_w", 0, "factor", 1), 0.31),
        (("conditions", "tanh", "0.0", 0, "rate"), 1.01),
    ):
        spoilt = json.loads(json.dumps(good))
        *inside, last = path
        at = spoilt
        for key in inside:
            at = at[key]
        at[last] = bad
        assert not theory_lab.holds(spoilt)


def test_a_format_loses_a_flow_that_float_carries_on():
    from pyvgrad.underflow import Carried

    def flow(lag, norm=(0.1, 2.0**-13, 2.0**-14, 1e-5, 1e-9)):
        return Carried(lag, 0.0, np.array(norm), np.zeros(5), 0.0)

    lags = {"q12": 1, "q16": 2, "q20": 3, "q24": 4, "q28": 5}
    rows = theory.lost({"float64": flow(5)} | {k: flow(v) for k, v in lags.items()})
    assert [row["format"] for row in rows] == list(lags)
    assert [row["carried"] for row in rows] == [1, 2, 3, 4, None]
    # Half a last place: 2^-13, 2^-17 = 7.6e-6, 2^-21, 2^-25, 2^-29 = 1.9e-9.
    assert [row["below"] for row in rows] == [2, 4, 4, 4, 4]
    assert rows[0]["end"] == 1e-9
