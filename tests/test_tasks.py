"""The tasks: grammars, sets, legal sets, criteria.  H&S97 experiments 1 and 2a."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from pyvgrad.tasks import TASKS, Outputs, make_task
from pyvgrad.tasks.reber import EMBEDDED_REBER, REBER, SYMBOLS, legal_next, walk

# The grammar of Reber 1967 as a regular expression, derived by hand from the diagram
# in H&S97, figure 3, and not from the package: upper path T S* X, lower path P T* V,
# which meet in the loop X T* V P.
LOWER = "T*V"
LOOP = f"(?:X{LOWER}P)*"
PLAIN = f"B(?:TS*X{LOOP}(?:S|X{LOWER}V)|P{LOWER}(?:V|P{LOOP}(?:S|X{LOWER}V)))E"
RECOGNISERS = {
    "reber": re.compile(PLAIN),
    "embedded-reber": re.compile(f"B(?:T{PLAIN}T|P{PLAIN}P)E"),
}
GRAMMARS = {"reber": REBER, "embedded-reber": EMBEDDED_REBER}
NAMES = list(GRAMMARS)


@cache
def task_of(name, seed=3):
    return make_task(name, seed=seed)


def strings_of(sequences):
    return [
        "".join(SYMBOLS[k] for k in row[: n + 1])
        for row, n in zip(sequences.symbols, sequences.lengths, strict=True)
    ]


def answers(sequences, best=1.0):
    """Logits that are right: ``best`` for the legal symbols, 0 for the others."""
    logits = np.where(sequences.legal, best, 0)
    return Outputs(logits, logits)


@pytest.mark.parametrize("name", NAMES)
def test_every_string_is_grammatical(name):
    for sequences in task_of(name).checks.values():
        assert all(RECOGNISERS[name].fullmatch(s) for s in strings_of(sequences))


@pytest.mark.parametrize("name", NAMES)
def test_recogniser_knows_one_wrong_symbol(name):
    string = strings_of(task_of(name).checks["test"])[0]
    wrong = string[:-2] + ("B" if string[-2] != "B" else "T") + string[-1]
    assert not RECOGNISERS[name].fullmatch(wrong)
    with pytest.raises(ValueError, match="not a string"):
        legal_next(GRAMMARS[name], wrong)
    with pytest.raises(ValueError, match="too early"):
        legal_next(GRAMMARS[name], string[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_sets_have_256_distinct_strings_each_and_share_none(name):
    train, test = (strings_of(s) for s in task_of(name).checks.values())
    assert len(train) == len(test) == 256
    assert len({*train, *test}) == 512


@pytest.mark.parametrize("name", NAMES)
def test_sets_follow_from_the_seed_alone(name):
    one, again, other = (
        strings_of(make_task(name, seed=k).checks["train"]) for k in (5, 5, 6)
    )
    assert one == again
    assert one != other


def plain_language(limit):
    """Every plain string of up to ``limit`` symbols, from the expression above."""
    lower = ["T" * k + "V" for k in range(limit)]
    loops, longer = {""}, {""}
    while longer:
        longer = {p + f"X{v}P" for p in longer for v in lower if len(p + v) < limit}
        loops |= longer
    ends = ["S", *(f"X{v}V" for v in lower)]
    upper = {f"BT{'S' * k}X{p}{e}E" for k in range(limit) for p in loops for e in ends}
    under = {f"BP{v}P{p}{e}E" for v in lower for p in loops for e in ends}
    everything = upper | under | {f"BP{v}VE" for v in lower}
    return {s for s in everything if len(s) <= limit}


def test_legal_sets_are_the_continuations_that_exist():
    """A symbol is legal after a prefix if some grammatical string goes on with it."""
    language = plain_language(13)
    assert all(RECOGNISERS["reber"].fullmatch(s) for s in language)
    after = {}
    for s in language:
        for k in range(1, len(s)):
            after.setdefault(s[:k], set()).add(s[k])
    short = [s for s in language if len(s) <= 9]  # longer ones go on beyond 13
    assert len(short) > 20
    for s in short:
        inner = [after[s[:k]] for k in range(1, len(s))]
        assert [set(k) for k in legal_next(REBER, s)] == inner
        for c in "TP":
            outer = [set(k) for k in legal_next(EMBEDDED_REBER, f"B{c}{s}{c}E")]
            assert outer == [{"T", "P"}, {"B"}, *inner, {c}, {"E"}]


@pytest.mark.parametrize("name", NAMES)
def test_every_branch_is_taken_half_of_the_time(name):
    """4,000 strings: a branch that is met n times errs by less than 4 sigma."""
    rng = np.random.default_rng(1)
    met, first = Counter(), Counter()
    for _ in range(4000):
        state = "start"
        for symbol in walk(GRAMMARS[name], rng):
            edges = GRAMMARS[name][state]
            if len(edges) == 2:
                met[state] += 1
                first[state] += symbol == edges[0][0]
            state = dict(edges)[symbol]
    assert len(met) == {"reber": 5, "embedded-reber": 11}[name]
    for state, n in met.items():
        assert abs(first[state] / n - 0.5) < 4 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_targets_are_the_symbols(name):
    s = task_of(name).checks["train"]
    assert s.x.shape == s.y.shape == s.legal.shape == (256, s.steps, 7)
    for k, string in enumerate(strings_of(s)):
        n = len(string) - 1
        assert "".join(SYMBOLS[j] for j in s.x[k, :n].argmax(-1)) == string[:-1]
        assert "".join(SYMBOLS[j] for j in s.y[k, :n].argmax(-1)) == string[1:]
        assert s.x[k].sum() == s.y[k].sum() == s.mask[k].sum() == n
        assert (s.legal[k, :n] & (s.y[k, :n] > 0)).sum() == n


def test_exemplars_come_from_the_training_set():
    task = task_of("embedded-reber")
    drawn = task.draw(np.random.default_rng(0), 1000)
    train = set(strings_of(task.checks["train"]))
    assert {*strings_of(drawn)} <= train
    assert len({*strings_of(drawn)}) > 240  # 256 (1 - 1/e^3.9) = 251 expected


@pytest.mark.parametrize("best", [1, 0.001])
def test_reber_criterion_holds_for_the_legal_sets(best):
    task = task_of("embedded-reber")
    assert task.solved(lambda s: answers(s, best))
    assert task.count(lambda s: answers(s, best)) == {"train": 256, "test": 256}


@pytest.mark.parametrize("spoil", ["tie", "wrong", "nan", "inf"])
def test_reber_criterion_fails_at_one_step_of_one_string(spoil):
    task = task_of("embedded-reber")
    s = task.checks["test"]
    logits = answers(s).logits
    k, t = 17, int(s.lengths[17]) - 1
    legal, illegal = s.legal[k, t].argmax(), s.legal[k, t].argmin()
    if spoil == "tie":
        logits[k, t, illegal] = logits[k, t, legal]
    if spoil == "wrong":
        logits[k, t, illegal] = 2.0
    if spoil == "nan":
        logits[k, t, legal] = np.nan
    if spoil == "inf":
        logits[k, t, legal] = np.inf
    right = task.correct(s, Outputs(logits, logits))
    assert np.flatnonzero(~right).tolist() == [k]


def test_reber_criterion_on_integers_fails_at_a_tie_of_clamped_logits():
    task = task_of("embedded-reber")
    s = task.checks["train"]
    logits = np.where(s.legal, 32767, -32768).astype(np.int16)
    assert task.correct(s, Outputs(logits, logits, 14)).all()
    logits[3, 0] = 32767
    assert np.flatnonzero(~task.correct(s, Outputs(logits, logits, 14))).tolist() == [3]


def test_reber_criterion_ignores_what_is_behind_the_end():
    task = task_of("reber")
    s = task.checks["test"]
    logits = np.where(s.mask[..., None], answers(s).logits, np.nan)
    assert task.correct(s, Outputs(logits, logits)).all()


@pytest.mark.parametrize("lag", [2, 10, 100])
def test_long_lag_has_the_two_sequences_of_1997(lag):
    task = make_task("long-lag", lag=lag)
    s = task.checks["all"]
    middle = list(range(2, lag + 1))
    assert s.symbols.tolist() == [[0, *middle, 0], [1, *middle, 1]]
    assert s.x.shape == s.y.shape == (2, lag, lag + 1)
    assert s.mask.all()
    drawn = task.draw(np.random.default_rng(0), 1000)
    assert abs((drawn.symbols[:, 0] == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(1000)


@pytest.mark.parametrize("y_exp", [None, 14, 11])
def test_long_lag_criterion_is_strictly_below_a_quarter(y_exp):
    task = make_task("long-lag", lag=10)
    s = task.checks["all"]
    one = 1 if y_exp is None else 1 << y_exp
    dtype = np.float64 if y_exp is None else np.int16
    for spoil, error, ok in (("over", 0.25, False), ("under", 0.25 - 2**-11, True)):
        y = s.y.copy()
        y[1, 4, 7] += error if y[1, 4, 7] == 0 else -error
        y = (y * one).astype(dtype)
        assert task.correct(s, Outputs(y, y, y_exp)).tolist() == [True, ok], spoil
    y[1, 4, 7] = s.y[1, 4, 7] * one
    assert task.correct(s, Outputs(y, y, y_exp)).all()


def test_long_lag_criterion_at_the_end_looks_at_the_last_step_only():
    task = make_task("long-lag", lag=10, criterion="end")
    s = task.checks["all"]
    y = s.y.copy()
    y[:, 4] = 0.5
    assert task.correct(s, Outputs(y, y)).all()
    y[0, -1, 3] = np.nan
    assert task.correct(s, Outputs(y, y)).tolist() == [False, True]


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match="unknown task 'rebber'; known: reber"):
        make_task("rebber")
    with pytest.raises(ValueError, match="no option 'lag'"):
        make_task("reber", lag=3)
    with pytest.raises(ValueError, match="at least 2"):
        make_task("long-lag", lag=1)
    with pytest.raises(ValueError, match="criterion"):
        make_task("long-lag", criterion="never")
    assert {"reber", "embedded-reber", "long-lag"} <= set(TASKS)


def test_solved_means_every_sequence_of_every_set():
    """One wrong string anywhere, far from the first ones, is a no."""
    task = task_of("embedded-reber")
    for name, sequences in task.checks.items():
        for k in (0, 15, 16, 255):
            wrong = sequences.symbols[k].tolist()

            def run(s, wrong=wrong):
                out = answers(s).logits
                out[[row.tolist() == wrong for row in s.symbols]] = 0
                return Outputs(out, out)

            assert not task.solved(run), (name, k)
            assert sum(task.count(run).values()) == 511
