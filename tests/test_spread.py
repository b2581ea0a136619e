"""Jobs that are spread: a store that resumes, workers that die, errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from spread_work import fatal, picky, square

from pyvgrad import cluster
from pyvgrad.errors import VgradError
from pyvgrad.spread import spread
from pyvgrad.store import Store, made_by

HERE = Path(__file__).parent


def jobs_of(n, **more):
    return [{"key": f"seed {k}", "seed": k, **more} for k in range(n)]


def squares(n):
    return [{"seed": k, "square": k * k, "pair": [1, 2.5]} for k in range(n)]


def test_results_come_in_the_order_of_the_jobs():
    found = spread(square, jobs_of(4)[::-1])
    assert found == squares(4)[::-1]


def test_a_killed_worker_loses_no_result(tmp_path):
    jobs = jobs_of(8, seconds=0.1)
    jobs[3]["once"] = str(tmp_path / "victim")
    jobs[5]["done"] = str(tmp_path / "done")
    said = []
    found = spread(fatal, jobs, workers="local:2", says=lambda *a: said.append(a[1:3]))
    assert int((tmp_path / "victim").read_text()) not in (0, os.getpid())
    assert found == spread(fatal, jobs) == squares(8)
    assert said == [(k, 8) for k in range(9)]


def test_a_result_that_died_with_its_worker_is_made_again(monkeypatch):
    """It was finished, and its worker killed before it was fetched."""
    asked, outcome = [], cluster._outcome

    class Gone:
        def result(self):
            raise CancelledError

    def first_is_gone(future):
        asked.append(future)
        return outcome(Gone() if len(asked) == 1 else future)

    monkeypatch.setattr(cluster, "_outcome", first_is_gone)
    assert spread(square, jobs_of(3), workers=1) == squares(3)
    assert len(asked) == 4


def test_a_job_that_kills_its_workers_fails_and_the_rest_goes_on(tmp_path):
    jobs = jobs_of(4)
    jobs[1]["always"] = True
    store = tmp_path / "jobs.jsonl"
    with pytest.raises(VgradError, match=r"1 job failed: seed 1: its worker died"):
        spread(fatal, jobs, workers=2, store=store)
    with Store(store, made_by(fatal)) as kept:
        assert [job in kept for job in jobs] == [True, False, True, True]


@pytest.mark.parametrize("workers", [None, 1])
def test_a_job_that_raises_is_named_and_the_rest_is_kept(tmp_path, workers):
    store = tmp_path / "jobs.jsonl"
    with pytest.raises(VgradError) as error:
        spread(picky, jobs_of(8), workers=workers, store=store)
    text = str(error.value)
    assert text.startswith("5 jobs failed: seed 1: ArithmeticError: 1 is odd; seed 3:")
    assert text.endswith(f"; and 2 more; the 3 finished are kept in {store}")
    with Store(store, made_by(picky)) as kept:
        assert [kept[job]["square"] for job in jobs_of(5)[::2]] == [0, 4, 16]


def test_what_is_finished_is_not_done_again(tmp_path):
    store, done = tmp_path / "jobs.jsonl", tmp_path / "done"
    jobs = jobs_of(6, done=str(done))
    spread(square, jobs[:4], store=store)
    done.unlink()
    said = []
    found = spread(square, jobs, store=store, says=lambda *a: said.append(a))
    assert found == squares(6)
    assert done.read_text().splitlines() == ["seed 4", "seed 5"]
    assert said[0] == ("jobs", 4, 6, "were done before")


def test_a_line_cut_short_is_done_again_and_no_other(tmp_path):
    """At every length that a machine that stops may leave."""
    store, done = tmp_path / "jobs.jsonl", tmp_path / "done"
    jobs = jobs_of(3, done=str(done))
    spread(square, jobs, store=store)
    whole = store.read_bytes()
    for length in range(len(whole)):
        store.write_bytes(whole[:length])
        done.write_text("")
        assert spread(square, jobs, store=store) == squares(3)
        lines = whole[:length].count(b"\n")
        again = ["seed 0", "seed 1", "seed 2"][max(lines - 1, 0) :]
        assert done.read_text().splitlines() == again
        assert store.read_bytes() == whole


def test_other_settings_are_other_jobs(tmp_path):
    """With the same key; the results of both stay."""
    store, done = tmp_path / "jobs.jsonl", tmp_path / "done"
    first = jobs_of(2, done=str(done))
    second = [job | {"seconds": 0.001} for job in first]
    for jobs in (first, second, first, second):
        spread(square, jobs, store=store)
    assert len(done.read_text().splitlines()) == 4


def test_a_store_of_other_code_is_refused_and_kept(tmp_path, monkeypatch):
    store = tmp_path / "jobs.jsonl"
    spread(square, jobs_of(1), store=store)
    before = store.read_bytes()
    for code in ("other work", "other version"):
        work = picky if code == "other work" else square
        if code == "other version":
            monkeypatch.setattr("pyvgrad.store.__version__", "0.0.1")
        with pytest.raises(VgradError, match=r"done by other code than this; remove"):
            spread(work, jobs_of(1), store=store)
        assert store.read_bytes() == before


def test_a_changed_module_is_other_code(tmp_path, monkeypatch):
    (tmp_path / "changing.py").write_text("def work(job):\n    return {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    from changing import work

    before = made_by(work)
    (tmp_path / "changing.py").write_text("def work(job):\n    return {'a': 1}\n")
    assert made_by(work) != before


@pytest.mark.parametrize("line", ["nonsense", "3", "[]", '{"job": {}}', ""])
def test_a_damaged_store_is_refused_and_kept(tmp_path, line):
    store = tmp_path / "jobs.jsonl"
    spread(square, jobs_of(2), store=store)
    lines = store.read_text().splitlines()
    lines[1] = line
    store.write_text("\n".join(lines) + "\n")
    before = store.read_bytes()
    with pytest.raises(VgradError, match=r"jobs.jsonl: line 2 is no finished job"):
        spread(square, jobs_of(2), store=store)
    assert store.read_bytes() == before


def test_two_runs_do_not_share_a_store(tmp_path):
    store = tmp_path / "jobs.jsonl"
    with (
        Store(store, made_by(square)),
        pytest.raises(VgradError, match=r"another run writes it"),
    ):
        spread(square, jobs_of(1), store=store)
    assert spread(square, jobs_of(1), store=store) == squares(1)


def test_a_store_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(VgradError, match=r"Is a directory; give another folder"):
        spread(square, jobs_of(1), store=tmp_path)


@pytest.mark.parametrize("workers", [None, "local:2"])
def test_ctrl_c_keeps_what_is_finished(tmp_path, workers):
    store, done = tmp_path / "jobs.jsonl", tmp_path / "done"
    jobs = jobs_of(30, done=str(done), seconds=0.2)
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from pyvgrad.spread import spread\n"
        "from spread_work import square\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    try:\n"
        f"        spread(square, {jobs!r}, workers={workers!r},\n"
        f"               store=Path({str(store)!r}))\n"
        "    except KeyboardInterrupt as stop:\n"
        "        sys.exit(str(stop))\n"
    )
    run = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 300
        while not store.exists() or store.read_bytes().count(b"\n") < 4:
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to workers as well
        _, err = run.communicate(timeout=300)
    finally:
        run.kill()
        run.wait()
    kept = store.read_bytes().count(b"\n") - 1
    assert 3 <= kept < 30
    said, more = err.split(" of 30 jobs ")
    assert more == (
        f"are finished and kept in {store}: the same command goes on from there\n"
    )
    # One more is in the file if it was interrupted just after it was written.
    assert said in [f"interrupted; {kept - k}" for k in (0, 1)]
    done.write_text("")
    assert spread(square, jobs, store=store) == squares(30)
    assert len(done.read_text().splitlines()) == 30 - kept


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler with no workers: (its process, its address)."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    more = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    path = os.environ | {"PYTHONPATH": str(HERE)}
    run = subprocess.Popen([*command, *more], env=path, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while not file.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        yield run, json.loads(file.read_text())["address"]
    finally:
        run.kill()
        run.wait()


def test_a_scheduler_s_workers_do_the_jobs_until_it_goes_away(
    tmp_path, scheduler, monkeypatch
):
    process, address = scheduler
    monkeypatch.setattr("pyvgrad.cluster._GATHER", 1.0)
    with pytest.raises(VgradError, match=rf"{address} does not answer or has no work"):
        spread(square, jobs_of(1), workers=address)
    monkeypatch.setattr("pyvgrad.cluster._GATHER", 300.0)
    monkeypatch.setattr("pyvgrad.cluster._CONNECT", 5.0)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    more = ["--no-dashboard", "--nthreads", "1", "--local-directory", str(tmp_path)]
    worker = subprocess.Popen(
        [*command, *more],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert spread(square, jobs_of(3), workers=address) == squares(3)
        store = tmp_path / "jobs.jsonl"

        def stop(label, done, of, extra):
            if done == 2:
                process.kill()

        with pytest.raises(VgradError, match=rf"the scheduler {address} went away"):
            spread(
                square,
                jobs_of(40, seconds=0.2),
                workers=address,
                store=store,
                says=stop,
            )
        assert store.read_bytes().count(b"\n") >= 3
    finally:
        worker.terminate()
        worker.wait(timeout=120)


def test_an_address_where_nobody_answers_is_one_sentence(monkeypatch):
    monkeypatch.setattr("pyvgrad.cluster._CONNECT", 1.0)
    for address in ("tcp://127.0.0.1:1", "nobody.invalid:8786", "ftp://a:1"):
        with pytest.raises(VgradError, match=r"does not answer or has no workers") as e:
            spread(square, jobs_of(1), workers=address)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("workers", ["", "0", "local:0", "local:two", "-1", "host", -2])
def test_workers_that_are_none_are_refused(workers):
    with pytest.raises(ValueError, match=r"workers are local, local:N with N from 1"):
        spread(square, jobs_of(1), workers=workers)


def test_a_worker_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr("pyvgrad.cluster.__version__", "0.0.1")
    with pytest.raises(VgradError, match=r"a worker has pyvgrad .*, this is 0\.0\.1"):
        spread(square, jobs_of(1), workers=1)


def test_keys_are_unique():
    with pytest.raises(ValueError, match="two jobs have the same key"):
        spread(square, jobs_of(2) + jobs_of(1))
