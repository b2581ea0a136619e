"""The Reber grammar (Reber 1967) and the embedded one (Cleeremans et al. 1989).

Predict the next symbol; where two may come, each does with probability 0.5.  As in
Hochreiter and Schmidhuber 1997, experiment 1: 256 training and 256 disjoint test
strings, and success when, for every symbol of every string of both sets, the legal next
symbols are the most active outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pyvgrad.tasks.lesson import (
    Asked,
    IntTask,
    Lesson,
    Verdict,
    ask_set,
    legal_sets_win,
    legal_win,
)
from pyvgrad.tasks.task import Bools, Outputs, Sequences, Task, from_symbols

SYMBOLS = "BTSXPVE"

Grammar = Mapping[str, tuple[tuple[str, str], ...]]  # state: (symbol, next state)...

START, END = "start", "end"

REBER: Grammar = {
    START: (("B", "1"),),
    "1": (("T", "2"), ("P", "3")),
    "2": (("S", "2"), ("X", "4")),
    "3": (("T", "3"), ("V", "5")),
    "4": (("X", "3"), ("S", "6")),
    "5": (("P", "4"), ("V", "6")),
    "6": (("E", END),),
}


def embed(inner: Grammar) -> Grammar:
    """B, T or P, a string of ``inner``, the same T or P again, E."""
    outer: dict[str, tuple[tuple[str, str], ...]] = {
        START: (("B", "branch"),),
        "branch": (("T", f"T {START}"), ("P", f"P {START}")),
        "last": (("E", END),),
    }
    for first in "TP":
        for state, edges in inner.items():
            outer[f"{first} {state}"] = tuple((s, f"{first} {to}") for s, to in edges)
        outer[f"{first} {END}"] = ((first, "last"),)
    return outer


EMBEDDED_REBER = embed(REBER)


def walk(grammar: Grammar, rng: np.random.Generator) -> str:
    """One string; every branch has probability 0.5."""
    state, string = START, []
    while state != END:
        edges = grammar[state]
        symbol, state = edges[rng.integers(len(edges))]
        string.append(symbol)
    return "".join(string)


def legal_next(grammar: Grammar, string: str) -> list[str]:
    """The legal symbols after each prefix: len(string) - 1 strings like "TP".

    ValueError if the string is not of the grammar.
    """
    state, sets = START, []
    for symbol in string:
        edges = dict(grammar.get(state, ()))
        sets.append("".join(edges))
        if symbol not in edges:
            raise ValueError(f"{string!r} is not a string of the grammar")
        state = edges[symbol]
    if state != END:
        raise ValueError(f"{string!r} ends too early")
    return sets[1:]


def draw_sets(
    grammar: Grammar, n_train: int, n_test: int, seed: int
) -> tuple[list[str], list[str]]:
    """Two disjoint sets of distinct strings.

    Strings are drawn from the grammar until n_train + n_test different ones are there;
    which set a string goes to is then drawn too, so that both sets are alike (the
    strings that come late are long).

    ValueError for an empty set.
    """
    if n_train < 1 or n_test < 1:
        raise ValueError(f"each set has a string at least, not {n_train} and {n_test}")
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < n_train + n_test:
        found[walk(grammar, rng)] = None
    strings = list(found)
    order = rng.permutation(len(strings))
    mixed = [strings[k] for k in order]
    return mixed[:n_train], mixed[n_train:]


def draw_repeating_sets(
    grammar: Grammar, n_train: int, n_test: int, seed: int
) -> tuple[list[str], list[str]]:
    """Two disjoint sets in which a string may stand more than once.

    Strings come as the grammar makes them; what is already in the first set is not
    taken into the second.  256 and 256 embedded strings have a mean length of about 14.
    ValueError for an empty set.
    """
    if n_train < 1 or n_test < 1:
        raise ValueError(f"each set has a string at least, not {n_train} and {n_test}")
    rng = np.random.default_rng(seed)
    first = [walk(grammar, rng) for _ in range(n_train)]
    known, second = set(first), list[str]()
    while len(second) < n_test:
        string = walk(grammar, rng)
        if string not in known:
            second.append(string)
    return first, second


def encode(grammar: Grammar, strings: list[str]) -> Sequences:
    """One-hot inputs, targets and legal sets of some strings."""
    s = from_symbols([[SYMBOLS.index(c) for c in t] for t in strings], len(SYMBOLS))
    legal = np.zeros(s.y.shape, bool)
    for row, string in zip(legal, strings, strict=True):
        for step, symbols in enumerate(legal_next(grammar, string)):
            row[step, [SYMBOLS.index(c) for c in symbols]] = True
    return replace(s, legal=legal)


def legal_symbols_win(sequences: Sequences, outputs: Outputs) -> Bools:
    """Whether at every step the k legal symbols are the k largest logits, (N,).

    A tie between a legal and an illegal symbol fails, and so does a NaN.  Comparisons
    only: the same for integer and float logits.
    """
    logits, legal = outputs.logits, sequences.legal
    assert legal is not None
    if logits.dtype.kind == "f":
        low, high = -np.inf, np.inf
        logits = np.where(np.isfinite(logits), logits, np.nan)
    else:
        logits = logits.astype(np.int64)
        low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    worst_legal = np.where(legal, logits, high).min(axis=-1)
    best_illegal = np.where(legal, low, logits).max(axis=-1)
    won = (worst_legal > best_illegal) | ~sequences.mask
    right: Bools = won.all(axis=-1)
    return right


def _task(name: str, grammar: Grammar, seed: int, n_train: int, n_test: int) -> Task:
    train, test = (
        encode(grammar, s) for s in draw_sets(grammar, n_train, n_test, seed)
    )

    def draw(rng: np.random.Generator, n: int) -> Sequences:
        return train.take(rng.integers(len(train), size=n))

    checks = {"train": train, "test": test}
    n = len(SYMBOLS)
    return Task(name, n, n, "softmax", draw, checks, legal_symbols_win)


def reber(seed: int = 0, n_train: int = 256, n_test: int = 256) -> Task:
    """Predict the next symbol of plain Reber strings.

    256 and 256 distinct strings, as for the embedded grammar: loops make as many
    strings as one wants, and 512 distinct ones have up to about 20 symbols.
    """
    return _task("reber", REBER, seed, n_train, n_test)


def embedded_reber(seed: int = 0, n_train: int = 256, n_test: int = 256) -> Task:
    """Predict the next symbol of embedded Reber strings (1997, experiment 1)."""
    return _task("embedded-reber", EMBEDDED_REBER, seed, n_train, n_test)


# ---- in integers ---------------------------------------------------------


def lesson(grammar: Grammar, string: str) -> Lesson:
    """Next-symbol prediction of one string, with its legal sets."""
    plain = Lesson.of_symbols(np.array([SYMBOLS.index(c) for c in string]))
    return replace(plain, legal=_legal(legal_next(grammar, string)))


def _legal(sets: list[str]) -> Bools:
    return np.array([[c in legal for c in SYMBOLS] for legal in sets])


def _int_task(
    name: str, grammar: Grammar, seed: int, sizes: tuple[int, int], distinct: int
) -> IntTask:
    if distinct not in (0, 1):
        raise ValueError(f"distinct is 0 or 1, not {distinct}")
    draw = draw_sets if distinct else draw_repeating_sets
    train, test = (
        [lesson(grammar, s) for s in strings] for strings in draw(grammar, *sizes, seed)
    )
    ask = ask_set([*train, *test], legal_win)
    n = len(SYMBOLS)
    return IntTask(
        name,
        n,
        n,
        lambda rng: train[rng.integers(len(train))],
        lambda asked, _: ask(asked),
        steps=max(map(len, train)),
    )


def int_reber(
    seed: int = 0, n_train: int = 256, n_test: int = 256, distinct: int = 0
) -> IntTask:
    """Plain Reber strings; ``distinct`` as for the embedded ones."""
    return _int_task("reber", REBER, seed, (n_train, n_test), distinct)


def int_embedded_reber(
    seed: int = 0, n_train: int = 256, n_test: int = 256, distinct: int = 0
) -> IntTask:
    """Embedded Reber strings (1997, experiment 1).

    ``distinct`` 1: no string occurs twice, as in ``embedded_reber``; 0: the two sets
    are disjoint, but each is as the grammar draws it.
    """
    return _int_task(
        "embedded-reber", EMBEDDED_REBER, seed, (n_train, n_test), distinct
    )


def continual_reber(
    seed: int = 0, streams: int = 10, length: int = 100_000, strings: int = 20
) -> IntTask:
    """A stream of embedded Reber strings without a reset (G00).

    A lesson is a training stream: ``strings`` strings, from a reset on; the last target
    is the B of a string that would follow.  Success: ``streams`` streams of ``length``
    symbols without an error.  The training draws from the whole grammar, so ``seed``
    draws no sets.
    """
    if streams < 1 or length < 1:
        raise ValueError(f"a test has {streams} streams of {length} symbols; take more")
    if strings < 1:
        raise ValueError(f"a training stream has {strings} strings; take 1 at least")

    def draw(rng: np.random.Generator) -> Lesson:
        drawn = [walk(EMBEDDED_REBER, rng) for _ in range(strings)]
        symbols = np.array([SYMBOLS.index(c) for c in "".join(drawn) + "B"])
        legal = [
            legal for s in drawn for legal in (*legal_next(EMBEDDED_REBER, s), "B")
        ]
        return replace(Lesson.of_symbols(symbols), legal=_legal(legal))

    def stream(asked: Asked, rng: np.random.Generator) -> bool:
        steps = 0
        while steps < length:
            one = draw(rng)
            logits = asked.logits(one.x, fresh=steps == 0)
            if not legal_sets_win(logits, one):
                return False
            steps += len(one)
        return True

    def test(asked: Asked, rng: np.random.Generator) -> Verdict:
        for k in range(streams):
            if not stream(asked, rng):
                return Verdict(False, k, k + 1)
        return Verdict(True, streams, streams)

    n = len(SYMBOLS)
    return IntTask("continual-reber", n, n, draw, test, steps=12 * strings)
