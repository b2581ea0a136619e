"""Polyphonic music as Pascanu, Mikolov and Bengio 2013 learnt it: nats a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyvgrad.lab import Lab, table
from pyvgrad.natural import Method
from pyvgrad.natural_jobs import BOUNDS, PIECES, learn_music
from pyvgrad.natural_results import (
    FIRST_SEED,
    SETS,
    Experiment,
    Plan,
    Row,
    Says,
    run_experiment,
)
from pyvgrad.tasks.rolls import Music, Roll, read_music

ROWS = {
    "msgd": Row("MSGD", Method("rnn_tanh", 0.1)),
    "msgd-c": Row("MSGD-C", Method("rnn_tanh", 0.3, clip=8.0)),
    "msgd-cr": Row("MSGD-CR", Method("rnn_tanh", 0.3, clip=8.0, omega=0.5)),
    "lstm": Row("LSTM, Adam", Method("lstm", 0.003, clip=1.0, optimizer="adam")),
    "gru": Row("GRU, Adam", Method("gru", 0.003, clip=1.0, optimizer="adam")),
}
FULL = Plan(hidden=100, epochs=20, seeds=3)
SHORT_ROWS = ("msgd-c", "gru")
SHORT = Plan(hidden=16, epochs=2, seeds=2)

# Pascanu et al. 2013, table "natural problems": nats a step, train and test of MSGD,
# MSGD-C and MSGD-CR.
PUBLISHED = {
    "Piano-midi.de": ((6.87, 7.56), (6.81, 7.53), (7.01, 7.46)),
    "Nottingham": ((3.67, 3.80), (3.21, 3.48), (2.95, 3.36)),
    "MuseData": ((8.25, 7.11), (6.54, 7.00), (6.43, 6.97)),
}


def run(
    folder: Path,
    *,
    full: bool,
    seeds: int | None = None,
    first: int = FIRST_SEED,
    only: Sequence[str] = (),
    data: Path | None = None,
    workers: str | None = None,
    says: Says | None = None,
) -> Lab:
    """Learn the rows; write music.json, .md and .png into ``folder``.

    ``data``: a folder of MIDI files or a pickle in place of the chorales.  VgradError
    for data that are missing or malformed.
    """
    music = read_music(data)
    plan = FULL if full else SHORT
    experiment = Experiment(
        name="music",
        title="Polyphonic music",
        unit="nats a step",
        rows=ROWS,
        short=SHORT_ROWS,
        source=music.source,
        digest=music.digest,
        floor={name: _floor(music, getattr(music, name)) for name in SETS},
        intro=_intro(music),
        published=_published(),
    )
    return run_experiment(
        experiment,
        folder,
        plan.of(seeds, first),
        work=learn_music,
        full=full,
        only=only,
        data=data,
        workers=workers,
        says=says,
    )


def _floor(music: Music, pieces: Sequence[Roll]) -> float:
    """Nats a step if every key sounds as often as in the training set, plus one."""
    learnt = np.concatenate([piece[1:] for piece in music.train])
    often = (learnt.sum(axis=0) + 1.0) / (len(learnt) + 2.0)
    asked = np.concatenate([piece[1:] for piece in pieces]).astype(bool)
    nats = -np.where(asked, np.log(often), np.log1p(-often)).sum(axis=1)
    return float(nats.mean())


# ---- what is said --------------------------------------------------------


def _intro(music: Music) -> list[str]:
    sizes = {name: getattr(music, name) for name in SETS}
    counts = ", ".join(
        f"{name} {len(of):,} pieces ({sum(map(len, of)):,} steps)"
        for name, of in sizes.items()
    )
    return [
        f"Data: {music.source}; {counts}.",
        "",
        "Which of 88 keys sound at the next step, from the steps before: logistic "
        "outputs, the negative log-likelihood of all keys, in nats, mean over all "
        "steps but a piece's first, which nothing comes before. A model is the one of "
        "the epoch with the lowest validation error; after an epoch that did not lower "
        "it the rate is halved. Means over seeds, in brackets the range. A seed draws "
        f"the weights and the order; an update is of {PIECES} pieces, of "
        f"{BOUNDS[-1]} steps at most, with losses and gradients that are means over "
        "its steps.",
        "",
        "Rates were chosen by the validation set on seed 1 and 12 epochs: MSGD's of "
        "0.03, 0.1 and 0.3; MSGD-C's and its clip of 0.1/3, 0.2/3, 0.3/0.3, 0.3/1, "
        "0.3/8 and 1/0.3; Omega's weight, beside others of these, of 0.05, 0.5 and 5. "
        "Those of LSTM and GRU were not searched.",
    ]


def _published() -> list[str]:
    head = ["data", "MSGD", "MSGD-C", "MSGD-CR"]
    cells = [
        [name, *(f"{test:.2f} ({train:.2f})" for train, test in of)]
        for name, of in PUBLISHED.items()
    ]
    return [
        "Pascanu, Mikolov and Bengio 2013, nats a step, test (train). They are of "
        "other music than chorales: no figure above is to be compared with them unless "
        "it is of the same data. For these, `--data` takes a folder of MIDI files with "
        "the subfolders train, valid and test, or the published pickle. MIDI is "
        "sampled at every eighth note by the file's beat, and moved to C by its first "
        "key signature.",
        "",
        *table(head, cells),
    ]
