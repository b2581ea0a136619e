"""Jobs over the workers of dask.distributed, on this machine or on many."""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import tempfile
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import Any

from pyvgrad import __version__
from pyvgrad.errors import VgradError
from pyvgrad.store import Job, Work

Outcome = str | Exception  # the result as JSON, or what was raised
Place = int | str  # processes of this machine, or the address of a scheduler

_SETTINGS = {  # of our own scheduler
    # A job may hold a worker for hours; that is no reason to give it up.
    "distributed.scheduler.worker-ttl": None,
    # No job waits at a worker that dies, to be blamed for that.
    "distributed.scheduler.worker-saturation": 1.0,
}
# Ctrl-C reaches all processes of a terminal; it is the asking one's, which ends ours.
_DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
_CONNECT = 10.0  # seconds for the scheduler to answer, before a run and in it
_GATHER = 30.0  # for the first worker to come
_LOOK = 1.0  # between two looks whether scheduler and workers are there
_ALONE = 60  # looks without a worker until we give up


def place(workers: str | int) -> Place:
    """Where ``workers`` means: a number of processes here, or an address.

    ValueError for a number that is none.
    """
    here = str(workers)
    if here == "local":
        return len(os.sched_getaffinity(0))
    name, _, number = here.rpartition(":")
    if name in ("", "local"):
        if not number.isdecimal() or int(number) < 1:
            raise ValueError(
                "workers are local, local:N with N from 1 on, or the address "
                f"host:port of a scheduler, not {here!r}"
            )
        return int(number)
    return here


def attempt(work: Work, job: Job) -> Outcome:
    """Do a job; its result as JSON, or what it raised."""
    try:
        return json.dumps(work(job), allow_nan=False)
    except Exception as error:
        return error


def _on_worker(work: Work, job: Job, version: str) -> tuple[str, str]:
    """The same on a worker, as text: ("ok" or a kind of error, JSON or message).

    Exceptions of packages that the asking side lacks could not be sent.
    """
    if version != __version__:
        text = f"a worker has pyvgrad {__version__}, this is {version}"
        return "VgradError", text
    outcome = attempt(work, job)
    if isinstance(outcome, Exception):
        return type(outcome).__name__, str(outcome)
    return "ok", outcome


class JobError(VgradError):
    """What a job raised on a worker."""


def outcomes(
    work: Work, jobs: list[Job], where: Place
) -> Iterator[tuple[Job, Outcome]]:
    """Each job with its outcome, as they finish; the first jobs are begun first.

    The job of a worker that dies goes to another; one under which four died fails.
    VgradError where the scheduler does not answer, has no workers, or goes away.
    """
    with ExitStack() as stack:
        client = _client(stack, where)
        ended: queue.Queue[Any] = queue.Queue()
        pending: dict[Any, Job] = {}

        def begin(job: Job) -> None:
            future = client.submit(_on_worker, work, job, __version__, pure=False)
            pending[future] = job
            future.add_done_callback(ended.put)

        for job in jobs:
            begin(job)
        alone = 0
        while pending:
            try:
                future = ended.get(timeout=_LOOK)
            except queue.Empty:
                alone = 0 if _workers(client, where) else alone + 1
                if alone >= _ALONE:
                    raise VgradError(f"{_named(where)} has no workers left") from None
                continue
            job, outcome = pending.pop(future), _outcome(future)
            if outcome is None:
                _workers(client, where)  # or is the scheduler gone?
                begin(job)
            else:
                yield job, outcome


def _outcome(future: Any) -> Outcome | None:
    """What came of a job; None if its worker died before it told."""
    from distributed import KilledWorker

    try:
        kind, text = future.result()
    except KilledWorker:
        return JobError("its worker died, four times")
    except CancelledError:
        return None
    except Exception as error:
        return JobError(f"{type(error).__name__}: {_line(error)}")
    if kind == "ok":
        return str(text)
    return JobError(text if kind == "VgradError" else f"{kind}: {text}")


def _client(stack: ExitStack, where: Place) -> Any:
    """A client whose workers are there, closed by ``stack``."""
    try:
        import dask

        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise VgradError(
            "dask.distributed is not installed and --workers needs it: "
            "pip install pyvgrad[lab]"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if isinstance(where, int):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyvgrad-"))
        stack.enter_context(dask.config.set(_SETTINGS))
        address: Any = stack.enter_context(
            distributed.LocalCluster(
                n_workers=where,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",  # a free port, not 8787
                local_directory=folder,
                preload=[_DEAF],
                silence_logs=logging.CRITICAL,
            )
        )
    else:
        address = where
    try:
        client = distributed.Client(address, timeout=_CONNECT, set_as_default=False)
        stack.enter_context(client)
        client.wait_for_workers(1, timeout=_GATHER)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise VgradError(
            f"{_named(where)} does not answer or has no workers ({_line(error)})"
        ) from None
    return client


def _workers(client: Any, where: Place) -> int:
    """How many there are.  VgradError if the scheduler does not answer."""
    try:
        return len(client.scheduler_info()["workers"])
    except Exception:
        raise VgradError(f"{_named(where)} went away") from None


def _named(where: Place) -> str:
    return "the local cluster" if isinstance(where, int) else f"the scheduler {where}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
