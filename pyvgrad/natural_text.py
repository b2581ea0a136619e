"""Characters as Pascanu, Mikolov and Bengio 2013 predicted them: bits a character."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path

import numpy as np

from pyvgrad.lab import Lab, table
from pyvgrad.natural import Method
from pyvgrad.natural_jobs import STREAMS, WINDOW, learn_text, shortened
from pyvgrad.natural_results import (
    FIRST_SEED,
    SETS,
    Experiment,
    Plan,
    Row,
    Says,
    run_experiment,
)
from pyvgrad.tasks.text import Symbols, Text, read_text

AHEAD = (1, 5)

METHODS = {
    "msgd": ("MSGD", Method("rnn_tanh", 0.5)),
    "msgd-c": ("MSGD-C", Method("rnn_tanh", 2.0, clip=0.5)),
    "msgd-cr": ("MSGD-CR", Method("rnn_tanh", 2.0, clip=0.5, omega=0.05)),
    "lstm": ("LSTM, Adam", Method("lstm", 0.003, clip=1.0, optimizer="adam")),
}
ROWS = {
    f"{name}-{steps}": Row(label, method, {"steps": steps})
    for steps in AHEAD
    for name, (label, method) in METHODS.items()
}
FULL = Plan(hidden=128, epochs=3, seeds=3)
SHORT_ROWS = ("msgd-c-1", "msgd-c-5")
SHORT = Plan(hidden=8, epochs=1, seeds=1)

# The same table: bits a character of Penn Treebank, train and test of MSGD, MSGD-C and
# MSGD-CR; None is not available.
PUBLISHED = {
    1: ((1.46, 1.50), (1.34, 1.42), (1.36, 1.41)),
    5: (None, (3.76, 3.89), (3.70, 3.74)),
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
    """Learn the rows; write characters.json, .md and .png into ``folder``.

    ``data``: a text, or a folder of three, in place of the Divine Comedy.  Not
    ``full``: the beginning of each set.  VgradError for data that are missing or
    malformed.
    """
    whole = read_text(data)
    text = whole if full else shortened(whole)
    plan = FULL if full else SHORT
    experiment = Experiment(
        name="characters",
        title="The next character, and the fifth from now",
        unit="bits a character",
        rows=ROWS,
        short=SHORT_ROWS,
        source=text.source,
        digest=text.digest,
        floor={name: _floor(text, getattr(text, name)) for name in SETS},
        intro=_intro(text),
        published=_published(),
        scale=1.0 / log(2.0),
    )
    return run_experiment(
        experiment,
        folder,
        plan.of(seeds, first),
        work=learn_text,
        full=full,
        only=only,
        data=data,
        workers=workers,
        says=says,
    )


def _floor(text: Text, symbols: Symbols) -> float:
    """Nats a character if each comes as often as in the training set, plus one."""
    often = np.bincount(text.train, minlength=len(text.alphabet)) + 1.0
    nats = -np.log(often / often.sum())
    return float(nats[symbols].mean())


# ---- what is said --------------------------------------------------------


def _intro(text: Text) -> list[str]:
    counts = ", ".join(f"{name} {len(getattr(text, name)):,}" for name in SETS)
    return [
        f"Data: {text.source}; {len(text.alphabet)} different characters, line ends "
        f"among them; {counts}.",
        "",
        "Which character comes next, or is the fifth from now, from those before: "
        "softmax, -log2 of what the character was given, mean over all characters. The "
        f"text of a set is cut into {STREAMS} streams, learnt side by side in windows "
        f"of {WINDOW}; the state goes on from window to window and begins at zero with "
        "each stream, in the tests, too. Losses and gradients are means over the steps "
        "of an update. A model is the one of the epoch with the lowest validation "
        "error; after an epoch that did not lower it the rate is halved. Means over "
        "seeds, in brackets the range; a seed draws the weights.",
        "",
        "Rates were chosen by the validation set on seed 1, one step ahead, 2 epochs: "
        "MSGD's of 0.2, 0.5, 1 and 2; MSGD-C's and its clip of 1/0.25, 2/0.25 and "
        "2/0.5, in part with windows of 100; Omega's weight of 0.05 and 0.5. Five "
        "ahead has the same; LSTM's was not searched.",
    ]


def _published() -> list[str]:
    head = ["ahead", "MSGD", "MSGD-C", "MSGD-CR"]
    cells = [
        [str(steps), *("-" if v is None else f"{v[1]:.2f} ({v[0]:.2f})" for v in of)]
        for steps, of in PUBLISHED.items()
    ]
    return [
        "Pascanu, Mikolov and Bengio 2013, Penn Treebank, bits a character, test "
        "(train). It is another text and another language: no "
        "figure above is to be compared with them unless it is of the same data. "
        "`--data` takes that text, one file or a folder of three, as characters with "
        "spaces between them, too.",
        "",
        *table(head, cells),
    ]
