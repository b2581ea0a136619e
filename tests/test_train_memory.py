"""What a training takes: memory, the same on every machine, and time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import qmodels
from test_core import (
    CORES,
    INCLUDE,
    SOURCES,
    assert_same_sizes,
    needs_arm,
    struct_sizes,
)
from trainings import (
    Training,
    blob_of,
    make,
    random_learn,
    random_lesson,
    tame_model,
    teach,
)

from pyvgrad.learning import Learn
from pyvgrad.model import init_params
from pyvgrad.nets import NETS
from pyvgrad.quantize import quantize

seeds = st.integers(0, 2**32)


# ---- memory ----------------------------------------------------------------


@given(qmodels(), seeds, st.sampled_from([0, 0xFFFF, 0x5AA5, 0x8000]))
@settings(max_examples=120, deadline=None)
def test_nothing_around_an_arena_is_written_and_what_was_in_it_means_nothing(
    model, seed, fill
):
    rng = np.random.default_rng(seed)
    learn = random_learn(rng, model)
    training = Training(blob_of(model), learn, fill=fill)
    clean = Training(blob_of(model), learn, fill=0)
    for _ in range(3):
        lesson = random_lesson(rng, model, learn, 7)
        assert teach(training, lesson) == teach(clean, lesson)
        assert training.end() == clean.end()
    assert training.checkpoint() == clean.checkpoint()
    assert training.arena.whole()
    assert training.blob.whole()
    assert training.blob.bytes()[64 : 64 + len(blob_of(model))] == blob_of(model)


STRUCTS = ("vg_learn", "vg_span", "vg_gate", "vg_running", "vg_head", "vg_net")
STRUCTS += ("vg_plan", "vg_map", "vg_layer", "vg_readout")


@needs_arm
@pytest.mark.parametrize("core", CORES)
def test_an_arena_is_as_large_on_a_core_as_on_the_host(core, tmp_path):
    assert_same_sizes(tmp_path, "train.h", STRUCTS, core)
    assert struct_sizes(tmp_path, "train.h", ["vg_head"])["vg_head"] == 96


def size_of(model, learn):
    training = Training(blob_of(model), learn)
    assert training.bad == 0
    return training.size


@pytest.mark.parametrize("cell", ["lstm", "lstm97", "rnn_tanh"])
@pytest.mark.parametrize("symbols", [False, True])
@pytest.mark.parametrize("rule", ["sgd", "momentum"])
def test_the_arena_of_tbptt_grows_with_k2_and_evenly(cell, symbols, rule):
    model = tame_model(1, cell, (5, 3, 2), output="softmax", layers=2)
    sizes = [
        size_of(model, make(rule=rule, k2=k2, k1=k1, symbols=symbols))
        for k2 in range(2, 60, 2)
        for k1 in (0, 1, k2)
    ]
    assert sizes[::3] == sizes[1::3] == sizes[2::3]  # whatever k1 is
    growth = set(np.diff(sizes[::3]).tolist())
    assert len(growth) == 1
    assert growth.pop() > 0
    odd = size_of(model, make(rule=rule, k2=7, symbols=symbols))
    assert sizes[3 * 2] < odd <= sizes[3 * 3]


def test_the_arena_of_rtrl97_does_not_depend_on_the_lag():
    model = tame_model(1, "lstm", (5, 3, 2), output="softmax")
    training = Training(blob_of(model), make(method="rtrl97", symbols=True))
    size, before = training.size, len(training.checkpoint())
    for step in range(1000):
        training.step(step % 5)
    training.step(0, [1])
    assert training.end() == 1
    assert training.arena.whole()
    assert training.size == size
    assert len(training.checkpoint()) == before
    long = Training(training.checkpoint(), None)
    assert long.size == size


def test_the_net_of_8_cells_fits_a_board_with_16_kilobytes():
    shape = NETS["feedback-8"].shape(7, 7)
    params = init_params(shape, np.random.default_rng(0), scale=0.5)
    model = quantize(shape, params)
    assert size_of(model, make(method="rtrl97", symbols=True)) <= 10240


# ---- time ------------------------------------------------------------------

# memcpy and memset byte by byte, so that gcov counts them as well.
COUNTED = r"""
#ifndef COUNTED_H
#define COUNTED_H
#include <string.h>

static inline void *counted_copy(void *to, const void *from, size_t n)
{
    for (size_t k = 0; k < n; k++)
        ((char *)to)[k] = ((const char *)from)[k];
    return to;
}

static inline void *counted_set(void *to, int c, size_t n)
{
    for (size_t k = 0; k < n; k++)
        ((char *)to)[k] = (char)c;
    return to;
}

#define memcpy counted_copy
#define memset counted_set
#endif
"""
PACED = r"""
#include <stdio.h>
#include <stdlib.h>
#include "vgrad.h"

void __gcov_reset(void);
void __gcov_dump(void);

static uint32_t blob[200000], arena[2000000];

int main(void)
{
    static const uint16_t symbols[6] = {1, 3, 1, 2, 0, 3};
    static const vg_sig targets[6] = {0, 1, 1, 0, 1, 0};
    uint32_t size;
    vg_learn learn;
    vg_model m;
    vg_train t;

    if (fread(&size, 4, 1, stdin) != 1 || size > sizeof blob ||
        fread(&learn, sizeof learn, 1, stdin) != 1 ||
        fread(blob, 1, size, stdin) != size)
        return 1;
    if (vg_model_open(&m, blob, size) ||
        vg_train_init(&t, &m, &learn, arena, sizeof arena))
        return 2;
    if (vg_train_symbols(&t, symbols, targets, NULL, 6) < 0)
        return 3;
    vg_train_end(&t);
    __gcov_reset();
    if (vg_train_symbols(&t, symbols, targets, NULL, 6) < 0)
        return 4;
    vg_train_end(&t);
    __gcov_dump();
    return t.falls || t.updates < 2 ? 5 : 0;
}
"""


@pytest.fixture(scope="module")
def paced(tmp_path_factory):
    place = tmp_path_factory.mktemp("paced")
    (place / "counted.h").write_text(COUNTED)
    (place / "paced.c").write_text(PACED)
    build = ["gcc", "-std=c99", "-O0", "--coverage", "-include", "counted.h", *INCLUDE]
    subprocess.run(
        [*build, "-I.", "paced.c", *SOURCES, "-o", "paced"], cwd=place, check=True
    )
    return place


def executed(place, n_in, learn, **kind):
    """How often the lines of each function ran, by file and function."""
    model = tame_model(0, "lstm", (n_in, 4, 2), output="softmax", **kind)
    blob = blob_of(model)
    for old in place.glob("*.gcda"):
        old.unlink()
    head = np.uint32(len(blob)).tobytes() + learn.to_bytes()
    subprocess.run([place / "paced"], input=head + blob, cwd=place, check=True)
    told = subprocess.run(
        ["gcov", "--json-format", "--stdout", *sorted(place.glob("*.gcda"))],
        cwd=place, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    counts = {}
    for report in told.splitlines():
        for file in json.loads(report)["files"]:
            name = Path(file["file"]).name
            for line in file["lines"]:
                key = name, line.get("function_name", "")
                counts[key] = counts.get(key, 0) + line["count"]
    return {k: n for k, n in counts.items() if n and k[0] != "paced.c"}


STEPS = {
    "rtrl97, every step": make(method="rtrl97", k1=1, symbols=True),
    "rtrl97": make(method="rtrl97", symbols=True),
    "tbptt, every step": make(k2=4, k1=1, symbols=True),
    "tbptt": make(k2=4, symbols=True),
}


@pytest.mark.skipif(not shutil.which("gcov"), reason="gcov is not installed")
@pytest.mark.parametrize("shortcuts", [False, True])
@pytest.mark.parametrize("learn", STEPS.values(), ids=STEPS)
def test_a_symbol_costs_the_same_in_any_alphabet(paced, learn, shortcuts):
    """Every line of the core runs as often, however many symbols there are."""
    kind = {"shortcuts": shortcuts}
    small, middle, large = (executed(paced, n, learn, **kind) for n in (10, 100, 1000))
    assert small.keys() == middle.keys() == large.keys()
    assert sum(small.values()) > 5000
    for other in (middle, large):
        grown = {k: (n, other[k]) for k, n in small.items() if not alike(n, other[k])}
        assert grown == {}


def alike(a, b):
    """Within what other weights can bring: rounding of negative numbers, clamps."""
    return abs(a - b) <= 40 + max(a, b) // 50


@pytest.mark.skipif(not shutil.which("gcov"), reason="gcov is not installed")
def test_momentum_costs_more_in_a_larger_one(paced):
    """So that the test above would see it."""
    learn = Learn(k2=4, rule="momentum", decay_q14=9000, symbols=True)
    small, large = (executed(paced, n, learn) for n in (10, 1000))
    assert sum(large.values()) > 10 * sum(small.values())


@pytest.mark.skipif(not shutil.which("gcov"), reason="gcov is not installed")
def test_no_error_flows_to_layers_below_the_lowest_that_learns(paced):
    """The step back runs for two layers, for the upper alone, and not at all."""

    def backward(frozen):
        learn = make(k2=4, symbols=True, frozen=frozen)
        counts = executed(paced, 10, learn, layers=2)
        return sum(n for (file, _), n in counts.items() if file == "tbptt_lstm.c")

    both, upper, none = (backward(frozen) for frozen in (0, 0b01, 0b11))
    assert none == 0 < upper
    assert alike(2 * upper, both)
    assert backward(0b10) == both  # the lower one learns through the upper
