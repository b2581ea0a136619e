"""The log of a training: written while a board learns, and replayed to compare bits.

A log is JSON lines.  The first says where the training began, ::

    {"log": 1, "on": "m4", "task": "reber", "learn": "00..", "blob": "5647.."}

(``learn`` null: on from the checkpoint in ``blob``), then one line for each request
that changed something, as raw integers, with what came of it, ::

    {"rate": [0, 1, "x", 65536]}
    {"tune": "00.."}
    {"x": [0, 3], "target": [[..], [..]], "known": null, "updates": 2}
    {"end": 1, "counters": [..], "crc": "89abcdef"}

``counters`` are those of Counters in order, ``crc`` the last four bytes of the blob.
The last line is ``{"done": blob}``.  A log may stop anywhere: the board did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike

from pyvgrad.errors import BlobError
from pyvgrad.learning import Counters, Learn, Trainer

VERSION = 1

Start = Callable[[bytes, Learn | None], Trainer]
Watch = Callable[[Counters], None]


class Recorder(Trainer):
    """Another trainer, and a log of all that is asked of it.

    ``start`` makes the trainer of ``blob`` and ``learn``; ``watch`` is told the
    counters at each sequence's end.  Leaving its ``with`` writes the final blob as the
    last line, leaving by an exception does not.  OSError where the log cannot be
    written.
    """

    def __init__(
        self,
        start: Start,
        blob: bytes,
        learn: Learn | None,
        log: Path,
        *,
        on: str = "",
        task: str = "",
        watch: Watch | None = None,
    ) -> None:
        self._trainer = start(blob, learn)
        self.learn, self.arena_bytes = self._trainer.learn, self._trainer.arena_bytes
        self._watch = watch
        try:
            self._log: IO[str] = log.open("w", encoding="utf-8")
        except OSError:
            self._trainer.close()
            raise
        settings = None if learn is None else learn.to_bytes().hex()
        names = {"log": VERSION, "on": on, "task": task}
        self._write({**names, "learn": settings, "blob": blob.hex()})

    def _write(self, line: dict[str, Any]) -> None:
        """One line, at once: what a later failure leaves can be replayed."""
        self._log.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._log.flush()

    def teach(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None = None
    ) -> int:
        """As in Trainer."""
        updates = self._trainer.teach(x, target, known)
        if not len(np.asarray(x)):
            return updates
        flags = None if known is None else np.asarray(known).astype(int).tolist()
        steps = {"x": np.asarray(x).tolist(), "target": np.asarray(target).tolist()}
        self._write({**steps, "known": flags, "updates": updates})
        return updates

    def end(self) -> int:
        """As in Trainer."""
        updates = self._trainer.end()
        counters = self._trainer.counters
        checks = {"counters": astuple(counters), "crc": crc_of(self._trainer)}
        self._write({"end": updates, **checks})
        if self._watch:
            self._watch(counters)
        return updates

    def rate(self, layer: int, gate: int, part: str, factor_q16: int) -> None:
        """As in Trainer."""
        self._trainer.rate(layer, gate, part, factor_q16)
        self._write({"rate": [layer, gate, part, factor_q16]})

    def tune(self, learn: Learn) -> None:
        """As in Trainer."""
        self._trainer.tune(learn)
        self.learn = self._trainer.learn
        self._write({"tune": learn.to_bytes().hex()})

    def blob(self) -> bytes:
        """As in Trainer."""
        return self._trainer.blob()

    def checkpoint(self) -> bytes:
        """As in Trainer."""
        return self._trainer.checkpoint()

    @property
    def counters(self) -> Counters:
        """As in Trainer."""
        return self._trainer.counters

    def close(self) -> None:
        """As in Trainer; the log stays as it is."""
        self._trainer.close()
        self._log.close()

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._write({"done": self.blob().hex()})
        finally:
            self.close()


def crc_of(trainer: Trainer) -> str:
    """The last four bytes of the blob in hexadecimal; a board sends no more for it."""
    asked: Callable[[], str] | None = getattr(trainer, "crc", None)
    return asked() if asked else trainer.blob()[-4:].hex()


# ---- replay ----------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    ``difference`` says where the first bit differs, empty if none does; ``sequences``
    were equal.  ``complete``: the log has its last line, the final blob.
    """

    sequences: int
    difference: str
    complete: bool


class _DamagedError(ValueError):
    """A line that is no JSON object; the message has the file and the line."""


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The log's lines with their numbers; a torn last one is left out."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                return
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                what = f"{path}, line {number} is no JSON: {error}"
                raise _DamagedError(what) from None
            if not isinstance(line, dict):
                raise _DamagedError(f"{path}, line {number} is no object")
            yield number, line


def replay(
    path: Path, start: Start, says: Callable[[int, int], None] | None = None
) -> Replay:
    """Do again with another trainer what a log tells, and compare all results.

    ``says`` is told the sequences so far, and of how many.  ValueError, with the line,
    for what is no log; OSError if there is no such file.
    """
    total = path.read_bytes().count(b'"end":') if says else 0
    lines = _lines(path)
    number, first = next(lines, (1, {}))
    if first.get("log") != VERSION:
        raise ValueError(f"{path} is no log of a training, version {VERSION}")
    sequences = 0
    try:
        learn = first["learn"]
        settings = None if learn is None else Learn.from_bytes(bytes.fromhex(learn))
        with start(bytes.fromhex(first["blob"]), settings) as trainer:
            for number, line in lines:
                difference = _again(trainer, line, first.get("on") or "the board")
                if difference:
                    where = f"in sequence {sequences + 1} (line {number})"
                    return Replay(sequences, f"{where} {difference}", "done" in line)
                if "done" in line:
                    return Replay(sequences, "", True)
                if "end" in line:
                    sequences += 1
                    if says:
                        says(sequences, total)
    except _DamagedError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, BlobError) as error:
        raise ValueError(f"{path}, line {number} is not understood: {error}") from error
    return Replay(sequences, "", False)


def _again(trainer: Trainer, line: dict[str, Any], on: str) -> str:
    """Do what one line tells; return what differs, or nothing."""
    if "x" in line:
        known = line["known"]
        x, target = np.array(line["x"]), np.array(line["target"])
        updates = trainer.teach(_int16(x), _int16(target), known)
        return _compared("updates", line["updates"], updates, on)
    if "end" in line:
        updates = trainer.end()
        return (
            _compared("updates at the end", line["end"], updates, on)
            or _compared("the weights' CRC", line["crc"], crc_of(trainer), on)
            or _compared(
                "counters", line["counters"], list(astuple(trainer.counters)), on
            )
        )
    if "rate" in line:
        trainer.rate(*line["rate"])
    elif "tune" in line:
        trainer.tune(Learn.from_bytes(bytes.fromhex(line["tune"])))
    elif "done" in line:
        if bytes.fromhex(line["done"]) != trainer.blob():
            return f"the final blob of {on} is another"
    else:
        raise ValueError(f"it tells nothing known: {', '.join(line)}")
    return ""


def _int16(a: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Whole numbers of a log; a symbol above 32767 is kept as it is."""
    if a.dtype.kind not in "iu" and a.size:
        raise ValueError("signals are whole numbers")
    return a.astype(np.int16) if not np.any(a != a.astype(np.int16)) else a


def _compared(what: str, logged: object, here: object, on: str) -> str:
    return "" if logged == here else f"{what}: {logged} on {on}, {here} here"
