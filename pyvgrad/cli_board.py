"""The command that watches a board learn, logs it and replays the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pyvgrad.cli_io import Json, answer
from pyvgrad.cli_learn import job_of
from pyvgrad.cli_make import task_options
from pyvgrad.executors import CORES, is_port
from pyvgrad.files import check_writable
from pyvgrad.learn import Job, Point, Result, learn_one
from pyvgrad.learning import Learn, Trainer
from pyvgrad.live import TrainingTable
from pyvgrad.monitor import Recorder, Replay, replay
from pyvgrad.native_train import HostTrainer
from pyvgrad.nets import NETS
from pyvgrad.progress import Reporter
from pyvgrad.recipes import RECIPES
from pyvgrad.tasks import INT_TASKS

_TASK = "embedded-reber"
_LOG = Path("monitor.jsonl")


def monitor(
    context: typer.Context,
    port: Annotated[
        str | None,
        typer.Argument(metavar="PORT", help="A board's, or m0 .. m55: emulated."),
    ] = None,
    task_name: Annotated[
        str, typer.Argument(metavar="TASK", help=", ".join(INT_TASKS))
    ] = _TASK,
    log: Annotated[Path, typer.Option(metavar="F", help="Write the log here.")] = _LOG,
    replay_log: Annotated[
        Path | None,
        typer.Option("--replay", metavar="LOG", help="Replay a log; no board needed."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="A blob, or a checkpoint to resume.")
    ] = None,
    net: Annotated[str | None, typer.Option(help=", ".join([*NETS, *RECIPES]))] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm; 0: none.")] = None,
    limit: Annotated[int | None, typer.Option(help="Sequences at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws weights and sets.")] = 0,
    as_json: Json = False,
) -> int:
    """Watch a board learn a task as ``learn`` teaches it, then replay it here.

    The log holds all that the board was sent and what came of it; the replay on this
    computer compares every sequence.  Exit code 1 if one bit differs.  With --replay
    a log of before is replayed, and nothing else.
    """
    if (port is None) == (replay_log is None):
        raise ValueError("give a board's PORT, or --replay LOG")
    if replay_log is not None:
        return _report(replay_log, {}, _replayed(replay_log), as_json)
    assert port is not None
    if port not in CORES and not is_port(port):
        cores = ", ".join(CORES)
        raise ValueError(f"PORT is a board's port or one of {cores}, not {port!r}")
    check_writable(log)
    given = {"rate": rate, "clip": clip, "limit": limit}
    settings = {name: value for name, value in given.items() if value is not None}
    job = job_of(task_name, None, task_options(context.args), start, (net, settings))
    result = _watched(replace(job, on=port), seed, log)
    found = {
        "on": port,
        "task": task_name,
        "success": result.success,
        "learnt_sequences": result.counters.sequences,
        "arena_bytes": result.arena_bytes,
    }
    return _report(log, found, _replayed(log), as_json)


def _watched(job: Job, seed: int, log: Path) -> Result:
    """Learn on the board, with a live table and a log."""
    from pyvgrad.device_train import DeviceTrainer

    with TrainingTable(f"{job.task} on {job.on}, seed {seed}") as table:

        def on_board(blob: bytes, learn: Learn | None) -> Trainer:
            return DeviceTrainer(blob, learn, job.on)

        def recorder(blob: bytes, learn: Learn | None) -> Trainer:
            names = {"on": job.on, "task": job.task or ""}
            return Recorder(on_board, blob, learn, log, **names, watch=table.update)

        def tested(_: int, point: Point) -> None:
            table.tested(point.right, point.asked)

        return learn_one(job, seed, tested, recorder)


def _replayed(log: Path) -> Replay:
    if not log.is_file():
        raise ValueError(f"{log}: there is no such log; is the path right?")
    with Reporter() as says:
        return replay(
            log, HostTrainer, lambda done, of: says.update("replay", done, of)
        )


def _report(log: Path, found: dict[str, Any], done: Replay, as_json: bool) -> int:
    """Answer; 0 if no bit differs as far as the log goes."""
    same = not done.difference
    result = {
        **found,
        "log": str(log),
        "sequences": done.sequences,
        "same": same,
        "complete": done.complete,
        "difference": done.difference or None,
    }
    lines = []
    if found:
        said = "learnt" if found["success"] else "not learnt yet"
        lines.append(
            f"{found['task']} on {found['on']}: {said} after "
            f"{found['learnt_sequences']:,} sequences, "
            f"arena {found['arena_bytes']:,} bytes: {log}"
        )
    lines.append(f"replay of {log} on the host: {_verdict(done)}")
    answer(result, as_json, lines)
    return 0 if same else 1


def _verdict(done: Replay) -> str:
    if done.difference:
        return f"bits differ {done.difference}"
    much = f"{done.sequences:,} sequences, the same bits"
    return much if done.complete else f"{much}; the log ends before the training did"
