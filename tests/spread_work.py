"""What the tests spread: functions of a module, which a worker can import."""

import os
import signal
import time
from pathlib import Path


def square(job):
    """Notes in ``done`` that it was called, where there is such a file."""
    if "done" in job:
        with Path(job["done"]).open("a") as file:
            file.write(f"{job['key']}\n")
    time.sleep(job.get("seconds", 0.0))
    return {"seed": job["seed"], "square": job["seed"] ** 2, "pair": (1, 2.5)}


def fatal(job):
    """Square, but where ``once`` is named the first worker that tries is killed."""
    if "once" in job and not Path(job["once"]).exists():
        Path(job["once"]).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    if job.get("always"):
        os.kill(os.getpid(), signal.SIGKILL)
    return square(job)


def picky(job):
    """Square, but not of odd seeds; seed 6 gives what is no JSON."""
    if job["seed"] % 2:
        raise ArithmeticError(f"{job['seed']} is\nodd")
    return square(job) | ({"bad": float("nan")} if job["seed"] == 6 else {})
