"""Finished jobs in a file of JSON lines, so that an interrupted run goes on.

The first line says which code made the rest.  Each further line is a job and its result
and is written at once, so that a machine that stops loses at most the line in hand.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pyvgrad import __version__
from pyvgrad.errors import VgradError

Job = dict[str, Any]
Work = Callable[[Job], dict[str, Any]]


def plain(value: Any) -> Any:
    """The value as JSON gives it back.  ValueError or TypeError for what it is not."""
    return json.loads(json.dumps(value, allow_nan=False))


def made_by(work: Work) -> dict[str, str]:
    """What a result depends on beside its job: the version and the work's module."""
    source = inspect.getsourcefile(work)
    digest = hashlib.sha256(Path(source).read_bytes() if source else b"").hexdigest()
    name = f"{work.__module__}.{work.__qualname__}"
    return {"pyvgrad": __version__, "work": name, "module": digest[:16]}


class Store:
    """Results by job; use as a context manager.  Without a path, in memory only.

    A job is found again only if all of it is equal, not its key alone: results of other
    settings stay in the file beside those of these.  VgradError for a file of other
    code, which is not touched, a damaged one, and one in use by another process.
    """

    def __init__(self, path: Path | None, made: Mapping[str, str]) -> None:
        self._path = path
        self._found: dict[str, dict[str, Any]] = {}
        self._file: IO[bytes] | None = None
        if path is not None:
            self._file = _locked(path)
            try:
                self._read(self._file, dict(made))
            except BaseException:
                self._file.close()
                raise

    def _read(self, file: IO[bytes], made: dict[str, str]) -> None:
        data = file.read()
        whole = data.rfind(b"\n") + 1  # a last line cut short is done again
        lines = data[:whole].split(b"\n")[:-1]
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                if number > 1:
                    self._found[_name(entry["job"])] = dict(entry["result"])
                elif entry["made_by"] != made:
                    raise VgradError(
                        f"{self._path}: its jobs were done by other code than this; "
                        "remove it, or give another folder"
                    )
            except (ValueError, KeyError, TypeError):
                raise VgradError(
                    f"{self._path}: line {number} is no finished job; "
                    "mend or remove it, or give another folder"
                ) from None
        file.truncate(whole)
        if not lines:
            self._append({"made_by": made})

    def _append(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            line = json.dumps(entry, allow_nan=False).encode() + b"\n"
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())

    def __contains__(self, job: Job) -> bool:
        return _name(job) in self._found

    def __getitem__(self, job: Job) -> dict[str, Any]:
        return self._found[_name(job)]

    def add(self, job: Job, result: dict[str, Any]) -> None:
        """Keep what a job gave.  OSError where the file cannot be written."""
        self._append({"job": job, "result": result})
        self._found[_name(job)] = result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()


def _name(job: Job) -> str:
    return json.dumps(job, sort_keys=True)


def _locked(path: Path) -> IO[bytes]:
    """The file, made where there is none, for this process alone."""
    try:
        file = path.open("a+b")
        file.seek(0)
    except OSError as error:
        raise VgradError(f"{path}: {error.strerror}; give another folder") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise VgradError(f"{path}: another run writes it; let it end first") from None
    return file
