"""Trainings of anything under the sanitizers: no step beyond memory or the language.

tests/fuzz/trained.h says what each is put through: targets and inputs at the limits,
a checkpoint, and the same steps after it in another arena.
"""

from __future__ import annotations

import dataclasses
import subprocess
import zlib

import numpy as np
import pytest
from checkpoints import KINDS, RULES, begun, decode, finished, section
from random_models import random_qmodel
from test_hostile import compile_c, fuzz, needs_libfuzzer
from trainings import (
    Training,
    blob_of,
    make,
    random_learn,
    tame_model,
    teach,
)

from pyvgrad.blob import pack
from pyvgrad.cells import CELLS, RTRL97
from pyvgrad.learning import Learn

OK, E_FORMAT = 0, -5
RESUME = b"\xff" + bytes(31)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    program = tmp_path_factory.mktemp("hostile") / "hostile_train"
    compile_c("gcc", "address,undefined", "hostile_train.c", program)
    return program


def results(driver, jobs):
    """What each (blob, learn or None, steps) came to."""
    stream = b"".join(
        np.array([len(blob), steps, seed], "<u4").tobytes()
        + (RESUME if learn is None else learn.to_bytes())
        + blob
        for seed, (blob, learn, steps) in enumerate(jobs)
    )
    done = subprocess.run(
        [driver], input=stream, capture_output=True, check=False, timeout=600
    )
    found = [int(line) for line in done.stdout.split()]
    if done.returncode:
        bad = jobs[len(found)] if len(found) < len(jobs) else None
        pytest.fail(f"job {bad}\n{done.stderr.decode()[-4000:]}")
    assert len(found) == len(jobs)
    return found


def wild(rng, learn):
    """The settings with rate, decay, clip and epsilon anywhere in their ranges."""

    def up_to_31_bits():
        return int(rng.integers(1, 2 ** int(rng.integers(1, 32))))

    return dataclasses.replace(
        learn,
        rate_q24=up_to_31_bits(),
        clip_q16=up_to_31_bits() if rng.random() < 0.5 else 0,
        decay_q14=0 if learn.rule == "sgd" else int(rng.integers(0, 1 << 14)),
        epsilon_q24=up_to_31_bits() if learn.rule == "rmsprop" else 0,
    )


@pytest.mark.parametrize("extreme", [False, True])
def test_any_training_of_any_model_runs_clean(driver, extreme):
    jobs = []
    for seed in range(120):
        rng = np.random.default_rng([seed, extreme])
        model = random_qmodel(rng, extreme=extreme)
        jobs.append((pack(model), wild(rng, random_learn(rng, model)), 60))
    assert set(results(driver, jobs)) == {OK}


@pytest.mark.parametrize("method", ["tbptt", "rtrl97"])
@pytest.mark.parametrize("cell", list(CELLS))
def test_a_long_training_of_each_cell_runs_clean(driver, cell, method):
    if method == "rtrl97" and cell not in RTRL97:
        pytest.skip("not defined")
    jobs = []
    for seed in range(8):
        rng = np.random.default_rng([seed, 3])
        model = random_qmodel(rng, cell=cell, n_layers=1, n_max=4)
        jobs.append((pack(model), wild(rng, random_learn(rng, model, method)), 2000))
    assert set(results(driver, jobs)) == {OK}


def test_a_deep_and_a_wide_model_run_clean(driver):
    deep = random_qmodel(
        np.random.default_rng(0), n_layers=60, cell="lstm", n_max=2, output="linear"
    )
    wide = random_qmodel(
        *(np.random.default_rng(1),),
        **{"n_layers": 1, "cell": "rnn_tanh", "n_in": 20_000, "output": "softmax"},
        **{"n_out": 300, "shortcuts": False},
    )
    jobs = [
        (pack(deep), Learn(loss="mse", k2=3, k1=1), 20),
        (pack(wide), Learn(k2=3, k1=1, symbols=True), 20),
        (pack(wide), Learn(k2=2), 3),
    ]
    assert results(driver, jobs) == [OK] * 3


def damaged(checkpoint, rng):
    """The checkpoint with some bytes of its section drawn anew, sealed again."""
    body = bytearray(checkpoint[:-4])
    first = len(body) - len(section(checkpoint))
    end = len(body) if rng.random() < 0.7 else first + 96
    for _ in range(int(rng.integers(1, 12))):
        at = int(rng.integers(first + 36, end))
        body[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
    return bytes(body) + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_state_is_refused_or_trained_clean(driver, kind):
    rng = np.random.default_rng(len(kind))
    jobs = []
    for rule in RULES:
        training, lessons = begun(kind, rule)
        finished(training, lessons[:1])
        teach(training, lessons[1], slice(4))
        good = training.checkpoint()
        jobs.append((good, None, 12))
        jobs += [(damaged(good, rng), None, 12) for _ in range(60)]
    found = results(driver, jobs)
    assert found[::61] == [OK] * 4
    assert set(found) <= {OK, E_FORMAT}
    assert found.count(OK) > 40


@pytest.mark.parametrize("value", [b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 4])
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_a_state_at_a_limit_trains_clean(driver, kind, value):
    """All behind the head and the layers' states but lists and symbols."""
    jobs = []
    for rule in RULES:
        training, lessons = begun(kind, rule)
        teach(training, lessons[0], slice(4))
        good = training.checkpoint()
        first = len(good) - 4 - len(section(good))
        tail = 40 if training.learn.symbols else 0
        start = first + 96 + training.t.model.state_size - 8
        n = (len(good) - 4 - tail - start) // 4
        body = good[:start] + value * n + good[start + 4 * n : -4]
        jobs.append((body + zlib.crc32(body).to_bytes(4, "little"), None, 60))
    assert set(results(driver, jobs)) == {OK}


def test_a_mean_of_squares_that_cannot_be_trains_clean(driver):
    """On its face r + epsilon^2 is 2^64: with no gradient, its root would be of 0."""
    model = tame_model(1, sizes=(9, 2, 2), output="softmax")
    tuned = {"decay_q14": 16383, "epsilon_q24": 16319 << 12}
    learn = make(method="rtrl97", rule="rmsprop", k1=1, symbols=True, **tuned)
    code = 38 << 26 | (2**40 - 16319**2) // 16383
    assert ((code & 2**26 - 1) << 38 >> 14) * 16383 + (16319 << 12) ** 2 == 2**64
    good = Training(blob_of(model), learn).checkpoint()
    data = section(good)
    state = decode(good)
    V, gate = state.gates[0, "i"]["V"][0], state.gates[0, "i"]
    before = [*state.images, gate["factors"], gate["lo"], *gate["G"]]
    at = len(good) - 4 - len(data) + 96 + sum((a.nbytes + 3) // 4 * 4 for a in before)
    codes = code.to_bytes(4, "little") * V.size
    body = good[:at] + codes + good[at + len(codes) : -4]
    bad = body + zlib.crc32(body).to_bytes(4, "little")
    assert (decode(bad).gates[0, "i"]["V"][0].view("u4") == code).all()
    assert results(driver, [(bad, None, 8)]) == [OK]


@needs_libfuzzer
def test_fuzzer_finds_nothing_in_a_short_run(tmp_path):
    seeds = {}
    for kind in KINDS:
        for rule in RULES:
            training, lessons = begun(kind, rule)
            teach(training, lessons[1], slice(4))
            seeds[f"{kind} {rule}"] = training.checkpoint()
    fuzz(tmp_path, "fuzz_train.c", seeds, 2000, max_len=4096, timeout=20)
