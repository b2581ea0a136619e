"""The tasks as learning in integers takes them: lessons, and the tests of a blob.

Each test is asked with an oracle that reads the answer off the inputs, written here
from the papers, and with oracles that err in one place.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from data_wheels import MEASURED, tasks_of

from pyvgrad.tasks import INT_TASKS, make_int_task, make_task
from pyvgrad.tasks.data import int_from_arrays
from pyvgrad.tasks.lesson import Lesson, Verdict, ask_fresh, class_wins, within
from pyvgrad.tasks.reber import EMBEDDED_REBER, SYMBOLS, legal_next

ONE = 1 << 14


class Oracle:
    """Answers every sequence with ``answer(x)``, (T, n_out) values of y and logits."""

    y_exp = 14

    def __init__(self, answer):
        self.answer, self.asked, self.fresh = answer, 0, 0

    def y(self, x, *, last=False):
        self.asked += 1
        y = np.floor(np.asarray(self.answer(x)) * ONE + 0.5).astype(np.int16)
        return y[-1] if last else y

    def logits(self, x, *, last=False, fresh=True):
        self.fresh += fresh
        return self.y(x, last=last)

    def many(self, xs, *, logits, last=False):
        return [(self.logits if logits else self.y)(x, last=last) for x in xs]


def rng(seed=0):
    return np.random.default_rng(seed)


def draws(task, n, seed=0):
    r = rng(seed)
    return [task.draw(r) for _ in range(n)]


def at_end(x, n_out, which):
    """y of a sequence that is right at its end and 0.5 before."""
    y = np.full((len(x), n_out), 0.5)
    y[-1] = np.arange(n_out) == which
    return y


def one_hot(classes, n):
    return (np.asarray(classes)[:, None] == np.arange(n)).astype(float)


@pytest.mark.parametrize("name", tasks_of(INT_TASKS))
def test_lessons_follow_from_the_random_numbers_alone(name):
    first, again, other = (
        draws(make_int_task(name, seed=3), 5, seed) for seed in (1, 1, 2)
    )
    for a, b in zip(first, again, strict=True):
        assert (a.x == b.x).all()
        assert (a.target == b.target).all()
    assert any(
        a.x.shape != b.x.shape or (a.x != b.x).any()
        for a, b in zip(first, other, strict=True)
    )


@pytest.mark.parametrize("name", tasks_of(INT_TASKS))
def test_lessons_have_the_shapes_of_their_task(name):
    task = make_int_task(name)
    for lesson in draws(task, 20):
        n = len(lesson)
        if task.symbols:
            assert lesson.x.shape == (n,)
            assert lesson.x.dtype == np.uint16
            assert lesson.x.max() < task.n_in
        else:
            assert lesson.x.shape == (n, task.n_in)
        if lesson.target.ndim == 1:
            assert lesson.target.shape == (n,)
            assert lesson.target.max() < task.n_out
        else:
            assert lesson.target.shape == (n, task.n_out)
        if name == "daphnet":  # a window out of a stream: a state comes first
            assert lesson.known.tolist() == [False] * 32 + [True] * (n - 32)
        elif name in MEASURED:
            assert lesson.known is None
        elif task.mode == "last" or name == "long-lag-noise":
            assert lesson.known.tolist() == [False] * (n - 1) + [True]
        else:
            assert lesson.known is None


# ---- grammars ------------------------------------------------------------


def string_of(lesson):
    return "".join(SYMBOLS[k] for k in [*lesson.x, lesson.target[-1]])


class Grammar:
    """Knows the legal sets of a stream; errs when ``wrong`` of a prefix is true."""

    y_exp = 14

    def __init__(self, wrong=lambda prefix: False):
        self.wrong, self.prefix, self.strings = wrong, "", []

    def logits(self, x, *, last=False, fresh=True):
        string = "".join(SYMBOLS[k] for k in x)
        self.strings.append((string, fresh))
        rows = []
        for k in range(1, len(string) + 1):
            legal = self.legal(string[:k])
            rows.append([(c in legal) * 100 for c in SYMBOLS])
            if self.wrong(string[:k]):
                rows[-1] = [100] * 7
        return np.array(rows, np.int16)

    def many(self, xs, *, logits, last=False):
        assert logits
        return [self.logits(x, last=last) for x in xs]

    @staticmethod
    def legal(prefix):
        """By trying every continuation."""
        state = "start"
        for symbol in prefix:
            state = dict(EMBEDDED_REBER[state])[symbol]
        return [s for s, _ in EMBEDDED_REBER[state]] if state != "end" else ["B"]


def test_reber_sets_that_repeat_are_disjoint_and_as_the_grammar_makes_them():
    lengths = []
    for seed in range(4):
        task = make_int_task("embedded-reber", seed=seed)
        grammar = Grammar()
        assert task.test(grammar, rng()).success
        strings = [s + "E" for s, _ in grammar.strings]
        assert len(strings) == 512
        train, test = strings[:256], strings[256:]
        assert not {*train} & {*test}
        assert len({*train}) < 256
        drawn = {string_of(lesson) for lesson in draws(task, 2000)}
        assert drawn == {*train}
        lengths += map(len, strings)
    assert 13 < np.mean(lengths) < 15  # about 14


def test_reber_sets_without_repetition_are_those_of_the_float_task():
    dense = make_task("embedded-reber", seed=5)
    grammar = Grammar()
    assert (
        make_int_task("embedded-reber", seed=5, distinct=1).test(grammar, rng()).success
    )
    strings = [s for s, _ in grammar.strings]
    expected = [
        "".join(SYMBOLS[k] for k in row[:n])
        for s in dense.checks.values()
        for row, n in zip(s.symbols, s.lengths, strict=True)
    ]
    assert strings == expected


@pytest.mark.parametrize("wrong", [0, 2])
@pytest.mark.parametrize("bad", [(), (0,), (5, 6), (0, 3, 700), (997, 998, 999)])
def test_asking_many_at_once_has_the_verdict_of_one_after_the_other(wrong, bad):
    drawn = itertools.count()

    def draw(_):
        return Lesson.at_end(np.array([0, next(drawn) % 1000], np.uint16), 1)

    def answer(x):  # class 1, but of the bad ones
        return one_hot([0, 0 if x[-1] in bad else 1], 2)

    test = ask_fresh(draw, class_wins, n=1000, wrong=wrong)
    verdict = test(Oracle(answer), rng())
    if len(bad) <= wrong:
        assert verdict == Verdict(True, 1000 - len(bad), 1000)
    else:
        asked = bad[wrong] + 1
        assert verdict == Verdict(False, asked - wrong - 1, asked)


def test_one_tie_in_one_string_is_a_no():
    task = make_int_task("embedded-reber", seed=1)
    grammar = Grammar()
    task.test(grammar, rng())
    for string in {grammar.strings[k][0] for k in (0, 255, 256, 511)}:
        verdict = task.test(Grammar(lambda s, string=string: s == string), rng())
        assert not verdict.success
        assert verdict.right == verdict.asked - 1 < 512


@pytest.mark.parametrize("strings", [1, 3])
def test_a_training_stream_is_whole_strings_one_after_the_other(strings):
    for one in draws(make_int_task("continual-reber", strings=strings), 10):
        text = string_of(one)
        whole = re.findall(".*?E[TP]E", text)
        assert text == "".join(whole) + "B"
        assert len(whole) == strings
        sets = [[*legal_next(EMBEDDED_REBER, s), "B"] for s in whole]
        legal = [[c in allowed for c in SYMBOLS] for s in sets for allowed in s]
        assert one.legal.tolist() == legal


def test_a_continual_stream_is_not_reset():
    task = make_int_task("continual-reber", streams=2, length=300, strings=1)
    grammar = Grammar()
    verdict = task.test(grammar, rng())
    assert (verdict.success, verdict.right, verdict.asked) == (True, 2, 2)
    starts = [k for k, (_, fresh) in enumerate(grammar.strings) if fresh]
    assert len(starts) == 2
    lengths = [len(s) for s, _ in grammar.strings]
    assert 300 <= sum(lengths[: starts[1]]) < 300 + lengths[starts[1] - 1]


def test_a_continual_stream_fails_at_one_error_far_from_its_start():
    task = make_int_task("continual-reber", streams=2, length=300, strings=1)
    grammar = Grammar()
    task.test(grammar, rng())
    last = grammar.strings[-1][0]
    verdict = task.test(Grammar(lambda s: s == last), rng())
    assert not verdict.success


# ---- long lags -----------------------------------------------------------


def next_symbols(x, lag):
    """y of 2a, right at every step."""
    return one_hot([*range(2, lag + 1), x[0]], lag + 1)


def test_long_lag_is_the_task_of_the_float_training():
    dense = make_task("long-lag", lag=7).checks["all"]
    found = {int(one.x[0]): one for one in draws(make_int_task("long-lag", lag=7), 20)}
    for k in (0, 1):
        assert found[k].x.tolist() == dense.symbols[k, :-1].tolist()
        assert found[k].target.tolist() == dense.symbols[k, 1:].tolist()


def test_long_lag_asks_for_both_strings_at_every_step():
    task = make_int_task("long-lag", lag=10)
    assert task.test(Oracle(lambda x: next_symbols(x, 10)), rng()).success

    def wrong(error, step, of):
        def answer(x):
            y = next_symbols(x, 10)
            y[step, 5] += error if x[0] == of else 0.0
            return y

        return task.test(Oracle(answer), rng())

    for of in (0, 1):
        middle, last = wrong(0.25, 3, of), wrong(0.25, -1, of)
        assert (middle.success, middle.right, middle.at_end) == (False, 1, True)
        assert (last.success, last.right, last.at_end) == (False, 1, False)
        assert wrong(0.2499, 3, of).success
    end = make_int_task("long-lag", lag=10, criterion="end")
    assert end.test(Oracle(lambda x: at_end(x, 11, x[0])), rng()).success


def test_noise_has_a_random_middle_and_looks_at_the_end():
    task = make_int_task("long-lag-noise", lag=20, tests=500, every=1)
    lessons = draws(task, 500)
    symbols = np.array([[*one.x, one.target[-1]] for one in lessons])
    assert symbols.shape == (500, 21)
    assert (symbols[:, 0] == symbols[:, -1]).all()
    assert set(symbols[:, 0]) == {0, 1}
    middle = symbols[:, 1:-1]
    assert set(middle.ravel()) == set(range(2, 21))
    counts = Counter(middle.ravel().tolist())
    assert max(counts.values()) < 1.3 * min(counts.values())  # 500 each, sigma 22
    for one in lessons:
        assert one.known is None
        assert (one.target[:-1] == one.x[1:]).all()
    at_last = draws(make_int_task("long-lag-noise", lag=20), 500)
    for one, last in zip(lessons, at_last, strict=True):
        assert (one.x == last.x).all()
        assert one.target[-1] == last.target[-1]
        assert last.known.tolist() == [False] * 19 + [True]
    right = Oracle(lambda x: at_end(x, 21, x[0]))
    verdict = task.test(right, rng())
    assert (verdict.success, verdict.right, right.asked) == (True, 500, 500)
    first = Oracle(lambda x: at_end(x, 21, 1 - x[0]))
    assert not task.test(first, rng()).success
    assert first.asked == 1


def test_distractors_end_with_e_after_at_least_q():
    q = 30
    task = make_int_task("long-lag-distractors", lag=q, symbols=40, tests=300)
    e, b, x, y = 40, 41, 42, 43
    assert (task.n_in, task.n_out) == (44, 2)
    more = []
    for one in draws(task, 2000):
        s = one.x.tolist()
        assert (s[0], s[-1]) == (b, e)
        assert s[1] in (x, y)
        assert all(k < 40 for k in s[2:-1])
        assert one.target[-1] == s[1] - x
        more.append(len(s) - q - 3)
    assert min(more) == 0
    # geometric: P(more = k) = .9^k .1, mean 9, deviation 9.5
    assert abs(np.mean(more) - 9) < 4 * 9.5 / np.sqrt(2000)
    right = Oracle(lambda x: at_end(x, 2, x[1] - 42))
    assert task.test(right, rng()).right == 300
    near = Oracle(lambda x: np.abs(at_end(x, 2, x[1] - 42) - 0.2001))
    assert not task.test(near, rng()).success
    assert make_int_task("long-lag-distractors", lag=50).n_in == 54


# ---- temporal order, adding ----------------------------------------------


def order_of(x, first):
    """2 * first + second of the two symbols that are no distractors."""
    a, b = (int(k) - first for k in x if first <= k <= first + 1)
    return 2 * a + b


@pytest.mark.parametrize(
    ("options", "places"), [({}, (50, 60)), ({"second": 4}, (40, 50))]
)
def test_temporal_order_has_two_symbols_in_their_tenths(options, places):
    task = make_int_task("temporal-order", tests=400, **options)
    met = Counter()
    for one in draws(task, 1000):
        assert len(one) == 100
        a, b = np.flatnonzero(one.x < 2)
        met[a, "first"] += 1
        met[b, "second"] += 1
        assert one.target[-1] == 2 * one.x[a] + one.x[b]
    assert {k for k, which in met if which == "first"} == set(range(10, 20))
    assert {k for k, which in met if which == "second"} == set(range(*places))
    assert task.test(Oracle(lambda x: at_end(x, 4, order_of(x, 0))), rng()).success


@pytest.mark.parametrize(("wrong", "success"), [(3, True), (4, False)])
def test_less_than_one_percent_may_be_wrong(wrong, success):
    task = make_int_task("temporal-order", tests=400)
    failed = iter([True] * wrong + [False] * 400)

    def answer(x):
        which = order_of(x, 0)
        return at_end(x, 4, (which + next(failed)) % 4)

    verdict = task.test(Oracle(answer), rng())
    assert verdict.success == success
    assert verdict.asked - verdict.right == wrong


def test_a_tie_of_classes_is_wrong():
    task = make_int_task("temporal-order", tests=50)
    tie = Oracle(lambda x: np.full((len(x), 4), 0.5))
    verdict = task.test(tie, rng())
    assert (verdict.success, verdict.asked) == (False, 1)


def test_temporal_order_of_1997():
    task = make_int_task("temporal-order-97", tests=300)
    lengths = set()
    for one in draws(task, 1000):
        lengths.add(len(one))
        assert (one.x[0], one.x[-1]) == (4, 5)
        a, b = np.flatnonzero(one.x >= 6)
        assert 10 <= a <= 20 < 50 <= b <= 60
        assert (np.delete(one.x, [0, a, b, len(one) - 1]) < 4).all()
        assert one.target[-1] == order_of(one.x, 6)
    assert lengths == set(range(100, 111))
    assert task.test(Oracle(lambda x: at_end(x, 4, order_of(x, 6))), rng()).success
    far = Oracle(lambda x: np.abs(at_end(x, 4, order_of(x, 6)) - 0.3001))
    assert not task.test(far, rng()).success


def test_adding_asks_for_the_sum_of_two_marked_values():
    task = make_int_task("adding", tests=300)
    lengths, first_marked = set(), 0
    for one in draws(task, 1000):
        lengths.add(len(one))
        value, marker = one.x.T
        assert np.abs(value).max() <= 1
        assert marker[0] == marker[-1] == -1
        marked = np.flatnonzero(marker == 1)
        assert set(marker) <= {-1.0, 0.0, 1.0}
        first_marked += len(marked) == 1
        assert len(marked) in (1, 2)
        assert marked[-1] < 49
        assert len(marked) == 1 or marked[0] < 10
        assert one.target[-1, 0] == pytest.approx(0.5 + value[marked].sum() / 4)
    assert lengths == set(range(100, 111))
    assert 60 < first_marked < 190  # about 100 by X1, 18 by X2

    def total(error):
        def answer(x):
            y = np.zeros((len(x), 1))
            y[-1] = 0.5 + x[x[:, 1] == 1, 0].sum() / 4 + error
            return y

        return task.test(Oracle(answer), rng())

    assert total(0.0).right == 300
    assert total(0.0399).success
    assert not total(0.0401).success


# ---- a user's own data ---------------------------------------------------


def test_data_become_lessons():
    x = rng().uniform(-1, 1, (4, 6, 2))
    lengths = np.array([6, 3, 5, 6])
    classes = np.array([0, 2, 1, 2])
    task = int_from_arrays(x, lengths, classes, n_out=5)
    assert (task.n_in, task.n_out, task.mode, task.symbols) == (2, 5, "last", False)
    met = {len(one): one for one in draws(task, 30)}
    assert set(met) == {3, 5, 6}
    assert met[3].target[-1] == 2
    assert met[3].known.tolist() == [False, False, True]
    assert (met[5].x == x[2, :5]).all()
    by_length = {3: 2, 5: 1}

    def answer(s):
        which = by_length.get(len(s), 0 if s[0, 0] == x[0, 0, 0] else 2)
        return at_end(s, 5, which)

    assert task.test(Oracle(answer), rng()).success
    assert not task.test(Oracle(lambda s: at_end(s, 5, 2)), rng()).success


def test_data_with_targets_at_every_step():
    x = rng().uniform(-1, 1, (3, 4, 2))
    lengths = np.array([4, 2, 4])
    classes = np.array([[0, 1, 2, 0], [1, 1, 0, 0], [2, 2, 2, 2]])
    task = int_from_arrays(x, lengths, classes)

    def row(s):
        return next(k for k in range(3) if (x[k, : len(s)] == s).all())

    def right(s):
        return one_hot(classes[row(s), : len(s)], 3)

    def wrong(s):
        return one_hot((classes[row(s), : len(s)] + (row(s) == 1)) % 3, 3)

    assert task.test(Oracle(right), rng()).success
    verdict = task.test(Oracle(wrong), rng())
    assert (verdict.success, verdict.right) == (False, 1)
    values = int_from_arrays(x, lengths, 0.5 * x)
    assert values.n_out == 2
    assert values.test(Oracle(lambda s: 0.5 * s), rng()).success
    assert not values.test(Oracle(lambda s: 0.5 * s + 0.25), rng()).success


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("long-lag", {"lag": 1}, "a lag is from 2"),
        ("long-lag-noise", {"lag": 40000}, "a lag is from 2"),
        ("long-lag-distractors", {"symbols": 70000}, "distractors, not 70000"),
        ("temporal-order", {"length": 9}, "a length is 10 at least"),
        ("temporal-order", {"second": 1}, "2 to 9 tenths"),
        ("temporal-order", {"tests": 0}, "a test asks a sequence at least"),
        ("adding", {"length": 10}, "a length is 22 at least"),
        ("continual-reber", {"length": 0}, "0 symbols"),
        ("continual-reber", {"strings": 0}, "0 strings"),
        ("long-lag-noise", {"every": 2}, "every is 0 or 1"),
        ("embedded-reber", {"distinct": 2}, "distinct is 0 or 1"),
        ("embedded-reber", {"n_train": 0}, "each set has a string"),
        ("rebber", {}, "unknown task 'rebber'; known: reber"),
        ("adding", {"lag": 3}, "no option 'lag'"),
    ],
)
def test_bad_options_are_one_sentence(name, options, text):
    with pytest.raises(ValueError, match=text):
        make_int_task(name, **options)


def test_a_lesson_with_a_class_at_its_end():
    lesson = Lesson.at_end(np.zeros(4, np.uint16), 3)
    assert lesson.target.tolist() == [0, 0, 0, 3]
    assert lesson.known.tolist() == [False] * 3 + [True]


def test_steps_without_a_target_may_be_anything():
    lesson = Lesson(
        np.zeros(3, np.uint16), np.array([0, 1, 1]), np.array([1, 0, 1]) > 0
    )
    right = within(0.25, last=False)
    assert right(Oracle(lambda x: one_hot([0, 0, 1], 2)), lesson)
    assert not right(Oracle(lambda x: one_hot([1, 1, 1], 2)), lesson)
