"""Temporal order over lengths, starts and methods: the lab's rows and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyvgrad import __version__
from pyvgrad.files import make_folder, write_bytes
from pyvgrad.lab import Lab, known_row, saved, saved_rows
from pyvgrad.order_page import (
    loss_curves,
    loss_plot,
    one_length,
    order_page,
    rates,
    success_curves,
    success_plot,
)
from pyvgrad.params import STARTS
from pyvgrad.spread import Says, spread
from pyvgrad.temporal_order import METHODS, TESTS, make_job, train_order

FIRST_SEED = 10_000
SEEDS, SHORT_SEEDS = 5, 1
# updates; the paper's are order_page.PAPER_LIMIT
LIMIT, LONG_LIMIT, FAR_LIMIT, SHORT_LIMIT = 30_000, 200_000, 500_000, 2_000
LENGTHS = (20, 50, 100, 150, 200, 250)
FAR = (50, 100, 200, 300, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class Row:
    """A start and its lengths, trained by each of the methods.

    With lengths ``far`` to be asked, a training ends when none is wrong, as in the
    published code.
    """

    start: str
    lengths: tuple[int, int]
    methods: tuple[str, ...] = tuple(METHODS)
    far: tuple[int, ...] = ()

    @property
    def limit(self) -> int:
        """The updates of a training at most: what is longer takes more."""
        if self.lengths[1] <= 50:
            return LIMIT
        return FAR_LIMIT if self.far else LONG_LIMIT


ROWS: dict[str, Row] = {
    **{f"{k}-{n}": Row(k, (n, n)) for n in LENGTHS for k in STARTS},
    **{
        f"any-{low}-{high}": Row("basic-tanh", (low, high), ("MSGD-CR",), FAR)
        for low, high in ((20, 50), (50, 200))
    },
}
SHORT = ("smart-tanh-20",)


def run(
    folder: Path,
    *,
    full: bool,
    only: Sequence[str] = (),
    seeds: int | None = None,
    first: int = FIRST_SEED,
    workers: str | int | None = None,
    says: Says | None = None,
) -> Lab:
    """Train the rows and write temporal-order.json, .md and plots into ``folder``.

    ``only`` are rows, or ``ROW:METHOD``, all if there is none; what is not run stays as
    it is in the folder's temporal-order.json.  Finished trainings are kept in
    temporal-order.jsonl, so that an interrupted run goes on.  ValueError for an unknown
    row or method, VgradError for a damaged file.
    """
    chosen = _chosen(only, full)
    make_folder(folder)
    source = folder / "temporal-order.json"
    results = read(source)
    limits = {name: ROWS[name].limit if full else SHORT_LIMIT for name in dict(chosen)}
    n = SEEDS if full else SHORT_SEEDS
    span = range(first, first + (seeds or n))
    jobs = {pair: _jobs(*pair, span, limits[pair[0]]) for pair in chosen}
    found = iter(
        spread(
            train_order,
            [job for of in jobs.values() for job in of],
            store=folder / "temporal-order.jsonl",
            workers=workers,
            says=says,
            label="trainings",
        )
    )
    for (name, method), of in jobs.items():
        facts = {
            "seeds": list(span),
            "limit": limits[name],
            "versions": {"pyvgrad": __version__, "jax": version("jax")},
            "command": _command(name, method, full=full, seeds=span),
        }
        every = [next(found) for _ in of]
        lists = {key: [one[key] for one in every] for key in every[0]}
        row = results.setdefault(name, _plain(ROWS[name]))
        row["methods"][method] = facts | lists
    known = {name: results[name] for name in ROWS if name in results}
    contents = {
        ".md": order_page(known).encode(),
        "-loss.png": loss_plot(known),
        ".json": _json(known),
    }
    if one_length(known):
        contents[".png"] = success_plot(known)
    files = [folder / f"temporal-order{end}" for end in contents]
    for file, data in zip(files, contents.values(), strict=True):
        write_bytes(file, data)
    rows = [{"row": name, **rates(known[name])} for name in dict(chosen)]
    return Lab(rows, files, [_line(row) for row in rows])


def _chosen(only: Sequence[str], full: bool) -> list[tuple[str, str]]:
    """Rows and methods, a row's methods one after the other."""
    found = []
    for words in list(only) or list(ROWS if full else SHORT):
        name, _, asked = words.partition(":")
        known_row(name, ROWS)
        methods = ROWS[name].methods
        if asked and asked not in methods:
            raise ValueError(
                f"row {name} has no method {asked!r}; known: {', '.join(methods)}"
            )
        found += [(name, m) for m in ([asked] if asked else methods)]
    return list(dict.fromkeys(found))


def _plain(row: Row) -> dict[str, Any]:
    return {"start": row.start, "lengths": list(row.lengths), "methods": {}}


def _jobs(
    name: str, method: str, seeds: Sequence[int], limit: int
) -> list[dict[str, Any]]:
    row = ROWS[name]
    more: dict[str, Any] = {"limit": limit, "far": list(row.far)}
    if row.far:
        more["until"] = 1.0 / TESTS
    return [make_job(row.start, method, row.lengths, seed, **more) for seed in seeds]


def _command(name: str, method: str, *, full: bool, seeds: range) -> str:
    size = " --full" if full else ""
    words = f"pyvgrad lab temporal-order{size} --only {name}:{method}"
    return f"{words} --seeds {len(seeds)} --first-seed {seeds.start}"


def read(path: Path) -> dict[str, Any]:
    """The rows of temporal-order.json, none where there is no such file."""

    def tell(rows: dict[str, Any]) -> object:
        return _json(rows), order_page(rows), success_curves(rows), loss_curves(rows)

    return saved(path, saved_rows, tell)


def _json(rows: dict[str, Any]) -> bytes:
    """Every list of a method on a line of its own."""

    def of_method(of: dict[str, Any]) -> str:
        body = ",\n    ".join(
            f'"{k}": {json.dumps(v, allow_nan=False)}' for k, v in of.items()
        )
        return f"{{\n    {body}\n   }}"

    def of_row(row: dict[str, Any]) -> str:
        head = json.dumps({k: v for k, v in row.items() if k != "methods"})
        inner = ",\n   ".join(
            f'"{method}": {of_method(row["methods"][method])}'
            for method in METHODS
            if method in row["methods"]
        )
        return f'{head.removesuffix("}")}, "methods": {{\n   {inner}\n  }}}}'

    body = ",\n  ".join(f'"{name}": {of_row(row)}' for name, row in rows.items())
    return f'{{"rows": {{\n  {body}\n}}}}\n'.encode()


def _line(row: dict[str, Any]) -> str:
    said = [
        f"{method} {f['solved']} of {f['seeds']}"
        for method, f in row.items()
        if method != "row"
    ]
    return f"{row['row']}: {', '.join(said)}"
