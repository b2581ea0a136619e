"""Many jobs of an experiment, such as its seeds: here, or spread over a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyvgrad import cluster
from pyvgrad.cluster import Outcome, attempt
from pyvgrad.errors import VgradError
from pyvgrad.store import Job, Store, Work, made_by, plain

Says = Callable[[str, int, int, str], None]  # label, done, of how many, more

_SHOWN = 3  # failures named in the sentence at the end


def spread(
    work: Work,
    jobs: Sequence[Job],
    *,
    store: Path | None = None,
    workers: str | int | None = None,
    says: Says | None = None,
    label: str = "jobs",
) -> list[dict[str, Any]]:
    """Do every job and give the results in the order of the jobs.

    ``work``: a function of a module, from a job to its result, both dicts of what JSON
    has; a result depends on its job alone.  A job has a ``key`` of its own.  In
    ``store``, a file of JSON lines, every result is kept as soon as it is there, and
    what is there is not done again (store.py).

    ``workers``: None for this process; a number N or ``local:N`` for N processes of
    this machine, ``local`` for one a processor; else the address of a scheduler of
    dask.distributed.  The job of a worker that dies goes to another one.

    After a job that raised, the others still are done; then VgradError names it.
    VgradError, too, for a store that cannot be used and a scheduler that does not
    answer; ValueError for keys that are not unique; KeyboardInterrupt with a sentence
    that says what is kept.
    """
    every = [plain(job) for job in jobs]
    if len({job["key"] for job in every}) < len(every):
        raise ValueError("two jobs have the same key")
    place = None if workers is None else cluster.place(workers)
    with Store(store, made_by(work)) as kept:
        missing = [job for job in every if job not in kept]
        done = len(every) - len(missing)
        _tell(says, label, done, len(every), "were done before" if done else "")
        failed: dict[str, Exception] = {}
        try:
            for job, outcome in _outcomes(work, missing, place):
                if isinstance(outcome, Exception):
                    failed[job["key"]] = outcome
                else:
                    kept.add(job, json.loads(outcome))
                    done += 1
                _tell(says, label, done, len(every), _extra(job["key"], failed))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(done, len(every), store)) from None
        if failed:
            raise VgradError(_failures(failed, done, store)) from next(
                iter(failed.values())
            )
        return [kept[job] for job in every]


def _outcomes(
    work: Work, jobs: list[Job], place: cluster.Place | None
) -> Iterator[tuple[Job, Outcome]]:
    """Each job with its result as JSON or what it raised, as they finish."""
    if place is None or not jobs:
        return ((job, attempt(work, job)) for job in jobs)
    return cluster.outcomes(work, jobs, place)


def _tell(says: Says | None, label: str, done: int, of: int, extra: str) -> None:
    if says is not None:
        says(label, done, of, extra)


def _extra(key: str, failed: dict[str, Exception]) -> str:
    if not failed:
        return key
    last, error = list(failed.items())[-1]
    return f"{key}; {len(failed)} failed, last {last}: {_reason(error)}"


def _reason(error: Exception) -> str:
    """One line; the kind, too, where the text was not written to stand alone."""
    text = " ".join(str(error).split())
    alone = isinstance(error, VgradError) and text
    return text if alone else f"{type(error).__name__}: {text}".rstrip(": ")


def _failures(failed: dict[str, Exception], done: int, store: Path | None) -> str:
    named = [f"{key}: {_reason(error)}" for key, error in failed.items()]
    more = f"; and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    kept = f"; the {done} finished are kept in {store}" if store and done else ""
    jobs = "job" if len(named) == 1 else "jobs"
    return f"{len(named)} {jobs} failed: {'; '.join(named[:_SHOWN])}{more}{kept}"


def _interrupted(done: int, total: int, store: Path | None) -> str:
    if store is None:
        return f"interrupted after {done} of {total} jobs"
    return (
        f"interrupted; {done} of {total} jobs are finished and kept in {store}: "
        "the same command goes on from there"
    )
