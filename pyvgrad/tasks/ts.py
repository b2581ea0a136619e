"""Files of time series: the ``.ts`` of the UEA and UCR archives, and plain tables."""

from __future__ import annotations

import numpy as np

from pyvgrad.errors import VgradError
from pyvgrad.tasks.task import Floats


def read_ts(data: bytes, where: str) -> tuple[list[Floats], list[str]]:
    """Series (T, channels) and their labels from a ``.ts`` file with class labels.

    Lines after ``@data`` are ``v,v,...:v,v,...:label``, a part a channel.  VgradError,
    naming file and line, for one that is none.
    """
    series: list[Floats] = []
    labels: list[str] = []
    begun = False
    for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
        text = line.strip()
        if not begun:
            begun = text.lower() == "@data"
        elif text:
            *channels, label = text.split(":")
            try:
                rows = [[float(v) for v in c.split(",")] for c in channels]
                array = np.array(rows, np.float64)
                if array.ndim != 2 or not np.isfinite(array).all():
                    raise ValueError("a value is missing")
            except ValueError as error:
                raise VgradError(
                    f"{where}, line {number}: no series of numbers ({error})"
                ) from None
            series.append(array.T)
            labels.append(label)
    if not series:
        raise VgradError(f"{where}: there is no series behind @data")
    return series, labels


def read_table(data: bytes, where: str, columns: tuple[str, ...]) -> Floats:
    """The named columns of a comma-separated file with a head, (rows, columns).

    VgradError for a column that is not there and for what is no number.
    """
    lines = [line for line in data.decode("utf-8").splitlines() if line.strip()]
    head = lines[0].split(",") if lines else []
    missing = [c for c in columns if c not in head]
    if missing:
        raise VgradError(f"{where}: there is no column {missing[0]}")
    places = [head.index(c) for c in columns]
    try:
        cells = [line.split(",") for line in lines[1:]]
        return np.array([[float(row[k]) for k in places] for row in cells])
    except (ValueError, IndexError) as error:
        raise VgradError(f"{where}: no table of numbers ({error})") from None
