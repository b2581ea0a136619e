"""What is trained of music and text by job: a method and some seeds.

Apart from the pages, so that a change of their words keeps what was learnt
(store.made_by).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pyvgrad.errors import VgradError
from pyvgrad.natural import Bundle, Corpus, Method, bundle, train
from pyvgrad.nets import stack
from pyvgrad.tasks.rolls import KEYS, Music, Roll, read_music
from pyvgrad.tasks.text import SETS, Symbols, Text, read_text

PIECES = 4  # of an update
BOUNDS = (64, 200)  # padded lengths; longer pieces take several windows of 200 (P13)
STREAMS, WINDOW = 32, 50  # a text in so many parts, side by side; steps of an update
SHORT_TEXT = 20_000  # characters of a set that a short run takes

Job = dict[str, Any]


def learn_music(job: Job) -> dict[str, Any]:
    """Train a job's seeds on music (``results_of``)."""
    return results_of(job, _music(job["data"], job["digest"]))


def learn_text(job: Job) -> dict[str, Any]:
    """Train a job's seeds on a text, ``steps`` ahead."""
    text = _text(job["data"], job["digest"], job["short"])
    return results_of(job, text_corpus(text, job["options"]["steps"]))


def results_of(job: Job, corpus: Corpus) -> dict[str, Any]:
    """The number of weights, and what became of each seed.

    A job has ``method`` (the fields of natural.Method), ``hidden``, ``epochs``,
    ``seeds``, ``data`` (a path or None), ``digest`` of the data, ``short`` and
    ``options``.  VgradError for data that are not those of the digest.
    """
    method = Method(**job["method"])
    sizes = corpus.n, job["hidden"], corpus.n
    shape = stack(method.cell, sizes, output=corpus.output)
    trials = train(corpus, shape, method, job["seeds"], job["epochs"])
    return {"weights": shape.n_weights, "trials": trials}


def _check(data: Music | Text, digest: str) -> None:
    if data.digest != digest:
        raise VgradError(f"{data.source}: not the data that the run began with")


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


# ---- music ---------------------------------------------------------------


@lru_cache(maxsize=1)
def _music(data: str | None, digest: str) -> Corpus:
    music = read_music(_path(data))
    _check(music, digest)
    return music_corpus(music)


def music_corpus(music: Music) -> Corpus:
    """The next step of every piece, from those before."""
    sets = (_bundles(of) for of in (music.train, music.valid, music.test))
    return Corpus(KEYS, "logistic", PIECES, *sets)


def _bundles(pieces: Sequence[Roll]) -> list[Bundle]:
    """Pieces of about the same length together, so that little is padded."""
    window = BOUNDS[-1]
    groups: dict[int, list[tuple[Roll, Roll]]] = {}
    for piece in pieces:
        steps = len(piece) - 1
        fits = [b for b in BOUNDS if steps <= b]
        length = fits[0] if fits else -(-steps // window) * window
        groups.setdefault(length, []).append((piece[:-1], piece[1:]))
    return [
        bundle(groups[length], PIECES, min(length, window)) for length in sorted(groups)
    ]


# ---- text ----------------------------------------------------------------


@lru_cache(maxsize=1)
def _text(data: str | None, digest: str, short: bool) -> Text:
    text = read_text(_path(data))
    text = shortened(text) if short else text
    _check(text, digest)
    return text


def shortened(text: Text) -> Text:
    """The beginning of each set."""
    sets = {name: getattr(text, name)[:SHORT_TEXT] for name in SETS}
    return Text(text.source, text.alphabet, **sets)


def text_corpus(text: Text, steps: int) -> Corpus:
    """The character ``steps`` from now, at every character."""
    sets = ([_streams(getattr(text, name), steps)] for name in SETS)
    return Corpus(len(text.alphabet), "softmax", STREAMS, *sets)


def _streams(symbols: Symbols, steps: int) -> Bundle:
    """The text in STREAMS parts of about equal length, each from a zero state."""
    x, y = symbols[:-steps], symbols[steps:]
    ends = np.linspace(0, len(x), STREAMS + 1).astype(int)
    return bundle([(x[a:b], y[a:b]) for a, b in pairwise(ends)], STREAMS, WINDOW)
