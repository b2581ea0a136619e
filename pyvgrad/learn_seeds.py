"""Learning over many seeds, several at a time; a result depends on its seed alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

from pyvgrad.learn import Job, Point, Progress, Result, learn_one

_POLL = 0.2  # seconds between two looks at what the workers say

_told: Any = None  # in a worker: where its progress goes


def learn_seeds(
    job: Job,
    first: int,
    n: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Learn the seeds first .. first + n - 1; the results are in their order.

    ``workers`` processes, as many as there are processors if None; a board is asked by
    one.  ``progress(seed, point)`` is told of every test.  Errors as in ``learn_one``.
    """
    if n < 1 or first < 0:
        raise ValueError(f"seeds count from 0 and are 1 at least, not {n} from {first}")
    seeds = range(first, first + n)
    workers = min(n, workers or len(os.sched_getaffinity(0)))
    if workers == 1 or job.on != "host":
        return [learn_one(job, seed, progress) for seed in seeds]
    context = multiprocessing.get_context("spawn")  # a fork copies a bar's threads
    told = context.SimpleQueue()
    with context.Pool(workers, _begin, (told,)) as pool:
        pending = [pool.apply_async(_learn, (job, seed)) for seed in seeds]
        results = []
        for result in pending:
            while not result.ready():
                result.wait(_POLL)
                _tell(told, progress)
            results.append(result.get())
        _tell(told, progress)
        return results


def _tell(told: Any, progress: Progress | None) -> None:
    while not told.empty():
        said = told.get()
        if progress is not None:
            progress(*said)


def _begin(told: Any) -> None:
    """Set up a worker; Ctrl-C is the parent's, which then ends its workers."""
    global _told
    _told = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _learn(job: Job, seed: int) -> Result:
    return learn_one(job, seed, _say)


def _say(seed: int, point: Point) -> None:
    _told.put((seed, point))
