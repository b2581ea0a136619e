"""Integer learning over seeds: recipes, results, the command ``learn``.

The seeds here are not those that recipes were found on (1000 and up).
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from data_wheels import MEASURED, has_data, tasks_of

from pyvgrad.blob import crc, pack, parse
from pyvgrad.files import Dataset
from pyvgrad.learn import Encoder, Job, Teacher, learn_one, open_trainer, summary
from pyvgrad.learn_seeds import learn_seeds
from pyvgrad.model import init_params
from pyvgrad.native_run import HostRunner
from pyvgrad.native_train import HostTrainer
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize
from pyvgrad.recipes import RECIPES, IntRecipe, recipe_for
from pyvgrad.tasks import INT_TASKS, make_int_task
from pyvgrad.tensors import named, tensors

TASK_OF = {
    "reber-276": "embedded-reber",
    "long-lag-1000": "long-lag",
    "adding-97": "adding",
    "continual-reber-g00": "continual-reber",
}
SMALL = {"n_train": 20, "n_test": 20}


def reber(**changes):
    recipe = replace(RECIPES["embedded-reber"], **changes)
    return Job(recipe, "embedded-reber", dict(SMALL))


# ---- learning ------------------------------------------------------------


def test_embedded_reber_is_learnt_from_random_weights():
    """Sets of 256 and 256; three seeds that no recipe was found on."""
    results = learn_seeds(Job(RECIPES["embedded-reber"], "embedded-reber"), 0, 3)
    found = summary(results)
    assert (found["successes"], found["weights"]) == (3, 823)
    assert found["max"] <= 10_000
    for seed, result in enumerate(results):
        task = make_int_task("embedded-reber", seed=seed)
        verdict = task.test(HostRunner(result.blob), np.random.default_rng(0))
        assert (verdict.success, verdict.right) == (True, 512)
        assert result.curve[-1].sequences == result.sequences
        assert [p.sequences for p in result.curve[:2]] == [100, 200]
        assert result.curve[-1].loss < result.curve[0].loss


def test_a_long_lag_is_learnt():
    options = {"lag": 20}
    task = make_int_task("long-lag", **options)
    result = learn_one(Job(recipe_for(task), "long-lag", options), 0)
    assert result.success
    assert result.sequences_at_end <= result.sequences <= 3000
    bias = parse(result.blob).readout.biases
    assert len(set(bias)) == 1  # frozen at -3
    assert bias[0] / 2.0 ** parse(result.blob).readout.exps[0] == -3


def test_temporal_order_is_learnt():
    options = {"length": 20, "tests": 1000}
    task = make_int_task("temporal-order", **options)
    recipe = replace(recipe_for(task), limit=6000)
    result = learn_one(Job(recipe, "temporal-order", options), 0)
    assert result.success


def test_a_result_depends_on_its_seed_alone():
    job = reber(limit=300)
    serial = learn_seeds(job, 5, 3, workers=1)
    told = []
    parallel = learn_seeds(job, 5, 3, workers=2, progress=lambda *p: told.append(p))
    assert [r.blob for r in parallel] == [r.blob for r in serial]
    assert parallel == serial
    assert learn_one(job, 6) == serial[1]
    assert len({r.blob for r in serial}) == 3
    assert [p for s, p in told if s == 6] == list(serial[1].curve)


@pytest.mark.parametrize("at", [100, 130])
def test_a_checkpoint_goes_on_as_if_it_had_not_stopped(at):
    whole = learn_one(reber(limit=300), 9)
    first = learn_one(replace(reber(limit=at), checkpoint=True), 9)
    job = replace(reber(limit=300), blob=first.checkpoint, resume=True)
    second = learn_one(job, 9)
    assert second.blob == whole.blob
    assert second.counters == whole.counters
    assert first.blob != whole.blob


def test_reading_the_loss_changes_no_bit(monkeypatch):
    whole = learn_one(reber(limit=100), 2)
    monkeypatch.setattr("pyvgrad.learn._LOSS_EVERY", 1)
    every = learn_one(reber(limit=100), 2)
    assert every.blob == whole.blob
    assert every.curve[0].loss != whole.curve[0].loss


def test_reading_the_loss_knows_which_steps_have_a_target():
    task = make_int_task("embedded-reber")
    whole = task.draw(np.random.default_rng(0))
    lesson = replace(whole, known=np.arange(len(whole)) % 2 == 0)
    blobs = []
    for look in (False, True):
        recipe = RECIPES["embedded-reber"]
        start = recipe.start(task, 0)
        teacher = Teacher(HostTrainer(start, recipe.learn(task)), parse(start))
        teacher.teach(lesson, look=look)
        blobs.append(teacher.trainer.blob())
        loss, clipped = teacher.since()
        assert (loss > 0) == look
        assert clipped in (0.0, 1.0)
        assert teacher.since() == (0.0, 0.0)
    assert blobs[0] == blobs[1]


def test_what_is_not_learnt_is_no_success():
    result = learn_one(reber(rate=0.001, limit=150), 0)
    assert (result.success, result.sequences) == (False, 150)
    found = summary([result])
    assert (found["successes"], found["mean"], found["max"]) == (0, None, None)
    assert found["sequences"] == [150]


def test_figures_are_of_the_seeds_that_learnt_it():
    done = learn_one(reber(limit=100), 0)
    results = [
        replace(done, success=ok, sequences=n)
        for ok, n in ((True, 200), (False, 900), (True, 1000), (True, 300))
    ]
    found = summary(results)
    assert (found["seeds"], found["successes"]) == (4, 3)
    assert (found["mean"], found["median"]) == (500, 300)
    assert (found["min"], found["max"]) == (200, 1000)


def test_a_start_blob_goes_on_learning():
    first = learn_one(reber(limit=100), 0)
    second = learn_one(replace(reber(limit=100), blob=first.blob), 0)
    assert second.blob != first.blob
    assert second.counters.sequences == 100


def test_seeds_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="seeds count from 0"):
        learn_seeds(reber(), -1, 1)
    with pytest.raises(ValueError, match="seeds count from 0"):
        learn_seeds(reber(), 0, 0)


def test_an_error_in_a_worker_is_the_callers():
    with pytest.raises(ValueError, match="no tensor 'layer7'"):
        learn_seeds(reber(factors={"layer7": 1.0}), 0, 2, workers=2)


# ---- recipes -------------------------------------------------------------


@pytest.mark.parametrize("name", tasks_of(RECIPES))
def test_every_recipe_fits_its_task_and_learns_a_lesson(name):
    task = TASK_OF.get(name, name)
    made = make_int_task(task)
    job = Job(replace(RECIPES[name], limit=4, every=2), task)
    before = RECIPES[name].start(made, 0)
    result = learn_one(job, 0)
    assert result.counters.steps > 0
    assert result.counters.updates > 0
    assert result.weights == RECIPES[name].shape(made).n_weights
    assert result.blob != before
    assert result.curve[-1].sequences == 4


def test_every_task_has_a_recipe():
    for name in INT_TASKS:
        if name not in MEASURED or has_data():
            assert recipe_for(make_int_task(name)) == RECIPES[name]
    assert (
        recipe_for(make_int_task("long-lag", lag=1000)).k1
        == RECIPES["long-lag-1000"].k1
    )
    with pytest.raises(ValueError, match="no default settings"):
        recipe_for(replace(make_int_task("reber"), name="weather"))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("embedded-reber", 823),
        ("reber-276", 276),
        ("temporal-order-97", 156),
        ("adding-97", 93),
        ("continual-reber-g00", 424),
    ],
)
def test_recipes_have_the_weights_of_the_papers(name, weights):
    task = make_int_task(TASK_OF.get(name, name))
    assert RECIPES[name].shape(task).n_weights == weights


def test_distractors_have_the_weights_of_the_paper():
    for lag, weights in ((50, 364), (1000, 6064)):
        task = make_int_task("long-lag-distractors", lag=lag)
        assert recipe_for(task).shape(task).n_weights == weights


def test_tensors_have_names():
    shape = RECIPES["long-lag"].shape(make_int_task("long-lag", lag=4))
    names = [t.name for t in tensors(shape)]
    assert names == ["layer1.i.x", "layer1.g.x", "readout.x", "readout.h", "readout.b"]
    assert [t.part for t in named(shape, "readout")] == ["x", "h", "b"]
    [cell] = named(shape, "layer1.g")
    assert (cell.layer, cell.gate, cell.part) == (0, 1, "x")
    with pytest.raises(ValueError, match=r"no tensor 'layer1.f'; it has layer1.i.x"):
        named(shape, "layer1.f")
    with pytest.raises(ValueError, match="no tensor 'read'"):
        named(shape, "read")


def test_a_factor_freezes_what_it_names():
    task = make_int_task("long-lag", lag=6)
    recipe = replace(RECIPES["long-lag-1000"], limit=30, every=30)
    start = parse(recipe.start(task, 3))
    now = parse(learn_one(Job(recipe, "long-lag", {"lag": 6}), 3).blob)

    def values(model, gate):
        q = model.layers[0]
        return q.weights[gate] / 2.0 ** q.exps[gate][:, None]

    # three bits of headroom: half a step of a weight more or less
    assert np.abs(values(now, "i") / values(start, "i") - 1).max() < 0.01
    assert np.abs(values(now, "g") / values(start, "g") - 1).max() > 0.01


def test_a_short_name_means_all_that_it_begins():
    task = make_int_task("long-lag", lag=4)
    recipe = replace(RECIPES["long-lag"], factors={"readout": 0.5, "layer1.g": 2.0})
    assert recipe.raw_factors(recipe.shape(task)) == [
        (1, 0, "x", 1 << 15),
        (1, 0, "h", 1 << 15),
        (1, 0, "b", 1 << 15),
        (0, 1, "x", 1 << 17),
    ]


def test_starting_weights_have_the_scales_asked_for():
    task = make_int_task("long-lag", lag=30)
    recipe = replace(
        RECIPES["long-lag-1000"],
        scales={"layer1.g.x": 0.02, "readout.h": 0.2, "readout.x": 0.0},
    )
    model = parse(recipe.start(task, 0))
    q, r = model.layers[0], model.readout
    largest = {
        k: np.abs(q.weights[k] / 2.0 ** (q.exps[k][:, None] - 14)).max() for k in "ig"
    }
    assert 0.18 < largest["i"] <= 0.2
    assert 0.018 < largest["g"] <= 0.02
    direct = r.weights[:, 2:]
    assert not direct.any()
    assert recipe.start(task, 0) == recipe.start(task, 0) != recipe.start(task, 1)


def test_raw_settings_are_the_values_rounded():
    task = make_int_task("temporal-order")
    recipe = IntRecipe(
        0.3, method="tbptt", rule="rmsprop", decay=0.9, epsilon=0.001, clip=2.5, k1=7
    )
    learn = recipe.learn(task)
    assert (learn.rate_q24, learn.decay_q14) == (5033165, 14746)
    assert (learn.clip_q16, learn.epsilon_q24) == (163840, 16777)
    assert (learn.k1, learn.k2, learn.symbols) == (7, 100, True)
    plain = replace(recipe, rule="sgd", method="rtrl97", k1=0).learn(task)
    assert (plain.k2, plain.decay_q14, plain.epsilon_q24) == (0, 0, 0)
    for bad in ({"rate": -1.0}, {"rate": float("nan")}, {"clip": 1e9}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} is from 0"):
            replace(recipe, **bad).learn(task)
    with pytest.raises(ValueError, match="1 at least"):
        replace(recipe, limit=0)


# ---- lessons as a trainer takes them -------------------------------------


def test_targets_are_on_the_output_s_scale():
    lesson = make_int_task("temporal-order").draw(np.random.default_rng(0))
    which = int(lesson.target[-1])
    for output, expected in (
        ("softmax", which),
        ("logistic", (np.arange(4) == which) * 16384),
        ("linear", (np.arange(4) == which) * 2048),
    ):
        shape = stack("lstm", (6, 2, 4), output=output)
        params = init_params(shape, np.random.default_rng(0))
        encode = Encoder(quantize(shape, params))
        assert encode.targets(lesson)[-1].tolist() == np.asarray(expected).tolist()
        assert encode.signals(lesson) is lesson.x
    adding = make_int_task("adding").draw(np.random.default_rng(0))
    shape = stack("lstm", (2, 2, 1), output="linear")
    encode = Encoder(quantize(shape, init_params(shape, np.random.default_rng(0))))
    assert abs(encode.targets(adding)[-1, 0] / 2048 - adding.target[-1, 0]) < 2**-11
    assert np.abs(encode.signals(adding) / 16384 - adding.x).max() < 2**-14


def test_a_model_of_another_task_is_refused():
    blob = learn_one(reber(limit=100), 0).blob
    job = Job(RECIPES["temporal-order"], "temporal-order", blob=blob)
    with pytest.raises(ValueError, match="6 inputs and 4 outputs, the model 7 and 7"):
        learn_one(job, 0)


def test_data_are_learnt_by_a_blob():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (30, 8, 2))
    y = (x[:, :, 0].sum(axis=1) > 0).astype(np.int64)
    shape = stack("lstm", (2, 4, 3), output="softmax")
    blob = pack(quantize(shape, init_params(shape, rng)))
    recipe = IntRecipe(rate=0.5, method="tbptt", limit=6000)
    job = Job(recipe, data=Dataset(x, np.full(30, 8), y), blob=blob)
    result = learn_one(job, 0)
    assert result.success
    with pytest.raises(ValueError, match="no array y"):
        learn_one(replace(job, data=Dataset(x, np.full(30, 8), None)), 0)


def test_a_trainer_has_the_factors_of_its_recipe():
    task = make_int_task("long-lag", lag=4)
    recipe = RECIPES["long-lag"]
    with open_trainer(recipe.start(task, 0), recipe.learn(task), recipe) as trainer:
        by_hand = HostTrainer(recipe.start(task, 0), recipe.learn(task))
        by_hand.rate(1, 0, "x", 10 << 16)
        by_hand.rate(1, 0, "b", 0)
        assert trainer.checkpoint() == by_hand.checkpoint()


# ---- the command ---------------------------------------------------------

QUICK = ["embedded-reber", "--n-train", 20, "--n-test", 20, "--limit", 200]


def test_learn_answers_as_the_contract_says(pyvgrad, tmp_path):
    code, out, _ = pyvgrad(
        "learn", *QUICK, "--seeds", 2, "--first-seed", 3, "-o", "M.vg", "--json"
    )
    found = json.loads(out)
    contract = (
        "task method weights seeds successes mean median min max arena_bytes blob_crc"
    )
    assert set(contract.split()) <= set(found)
    assert code == (0 if found["successes"] == 2 else 1)
    assert (found["task"], found["method"]) == ("embedded-reber", "rtrl97")
    assert (found["weights"], found["seeds"]) == (823, 2)
    written = (tmp_path / "M.vg").read_bytes()
    expected = learn_one(reber(limit=200), 3)
    assert written == expected.blob
    assert found["arena_bytes"] == expected.arena_bytes
    assert found["blob_crc"][0] == f"{crc(written):08x}"
    assert len(found["blob_crc"]) == 2


def test_learn_says_yes_and_no(pyvgrad):
    args = ["learn", "long-lag", "--lag", 4]
    code, out, _ = pyvgrad(*args)
    assert (code, "1 of 1 learnt it by rtrl97" in out) == (0, True)
    code, out, _ = pyvgrad(*args, "--limit", 100)
    assert (code, "0 of 1" in out) == (1, True)


def test_options_override_the_recipe(pyvgrad):
    options = "--method tbptt --cell lstm --hidden 6 --block 1 --rate 0.5 --clip 2"
    more = "--k1 4 --k2 9 --rule momentum --decay 0.5 --limit 100 --json"
    code, out, _ = pyvgrad("learn", *QUICK, *options.split(), *more.split())
    found = json.loads(out)
    assert code == 1
    assert (found["method"], found["weights"]) == ("tbptt", 379)
    recipe = IntRecipe(
        0.5,
        net="feedback-8",
        cell="lstm",
        hidden=6,
        block=1,
        method="tbptt",
        clip=2.0,
        k1=4,
        k2=9,
        rule="momentum",
        decay=0.5,
        limit=100,
    )
    by_hand = learn_one(Job(recipe, "embedded-reber", SMALL), 0)
    assert found["blob_crc"] == [f"{crc(by_hand.blob):08x}"]


@pytest.mark.parametrize(
    ("net", "method", "weights"),
    [
        ("hs97-4x1", "rtrl97", 264),
        ("hs97-3x2", "rtrl97", 276),
        ("reber-276", "tbptt", 276),
        ("g00-4x2", "rtrl97", 424),
    ],
)
def test_a_net_by_name(pyvgrad, net, method, weights):
    _, out, _ = pyvgrad("learn", *QUICK, "--net", net, "--json")
    found = json.loads(out)
    assert (found["method"], found["weights"]) == (method, weights)


@pytest.mark.parametrize(
    ("cell", "method"),
    [("rnn_tanh", "tbptt"), ("gru", "tbptt"), ("lstm_peephole", "rtrl97")],
)
def test_a_cell_learns_by_the_method_that_suits_it(pyvgrad, cell, method):
    args = ["--cell", cell, "--hidden", 5, "--json"]
    _, out, _ = pyvgrad("learn", *QUICK, *args)
    assert json.loads(out)["method"] == method


def test_a_checkpoint_is_resumed(pyvgrad, tmp_path):
    first = ["--checkpoint", "C.vg", "--limit", 100]
    assert pyvgrad("learn", *QUICK[:-2], *first)[0] == 1
    pyvgrad("learn", *QUICK, "--from", "C.vg", "-o", "M.vg")
    whole = learn_one(reber(limit=200), 0)
    assert (tmp_path / "M.vg").read_bytes() == whole.blob
    assert pyvgrad("info", "C.vg")[0] == 0
    code, _, err = pyvgrad("learn", *QUICK, "--from", "C.vg", "--limit", 100)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "has learnt 100 sequences, the limit is 100" in err
    args = ["--rate", 0.5, "-o", "N.vg"]
    _, _, err = pyvgrad("learn", *QUICK, "--from", "C.vg", *args)
    assert "C.vg: its training is left out, for --rate" in err
    assert (tmp_path / "N.vg").read_bytes() != whole.blob


def test_data_and_a_blob_on_the_command_line(pyvgrad, tmp_path):
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (12, 6, 2))
    np.savez(tmp_path / "D.npz", x=x, y=(x[:, 0, 0] > 0).astype(int))
    shape = stack("rnn_tanh", (2, 4, 2), output="softmax")
    (tmp_path / "S.vg").write_bytes(pack(quantize(shape, init_params(shape, rng))))
    args = ["--data", "D.npz", "--from", "S.vg", "--rate", 0.3, "-o", "M.vg", "--json"]
    code, out, _ = pyvgrad("learn", *args)
    found = json.loads(out)
    assert (code, found["successes"], found["task"]) == (0, 1, "data")
    assert (tmp_path / "M.vg").exists()
    linear = stack("lstm", (2, 3, 1), output="linear")
    (tmp_path / "S.vg").write_bytes(pack(quantize(linear, init_params(linear, rng))))
    np.savez(tmp_path / "D.npz", x=x, y=x[:, :, :1])
    code, out, _ = pyvgrad("learn", *args)
    assert (code, json.loads(out)["successes"]) == (0, 1)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "give a task"),
        (["rebber"], "unknown task 'rebber'"),
        (["reber", "--lag", "3"], "no option 'lag'; it has n_train, n_test, distinct"),
        (["reber", "--seed", "3"], "take --first-seed"),
        (["reber", "--clip", "1e-9"], "clip 1e-09 rounds to 0"),
        (["reber", "--rule", "momentum", "--decay", "1e-9"], "decay 1e-09 rounds to 0"),
        (["embedded-reber", "--k2", "3"], "--k2 is for tbptt"),
        (["reber", "--decay", ".5"], "--decay is for momentum"),
        (["reber", "-o", "F", "--checkpoint", "./F"], "are both F"),
        (["reber", "--rate", "nan"], "rate is from 0"),
        (["reber", "--rate", "0"], "rate is above 0"),
        (["reber", "--clip", "-1"], "clip is from 0"),
        (["embedded-reber", "--k1", "2"], "k1 is 0 or 1 for rtrl97"),
        (["reber", "--k1", "5", "--k2", "3"], "k1 is from 0 to k2; got k1=5, k2=3\n"),
        (["reber", "--method", "bptt"], "method must be one of tbptt, rtrl97"),
        (["reber", "--rule", "adam"], "rule must be one of sgd"),
        (["reber", "--net", "hs98"], "unknown net 'hs98'"),
        (["reber", "--hidden", "0"], "1 to 65535 cells"),
        (["embedded-reber", "--block", "3"], "do not make blocks of 3"),
        (["reber", "--limit", "0"], "limit and every are 1 at least"),
        (["reber", "--on", "numpy"], "--on takes host"),
        (["reber", "--from", "none.vg"], "none.vg"),
        (["reber", "-o", "no/M.vg"], "there is no folder"),
        (["--data", "none.npz"], "--data needs --from"),
        (["reber", "--cell", "rnn_tanh", "--method", "rtrl97"], "take tbptt"),
    ],
)
def test_bad_input_is_one_sentence(pyvgrad, args, text):
    code, out, err = pyvgrad("learn", *args)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert text in err


def test_a_blob_keeps_its_shape(pyvgrad, tmp_path):
    (tmp_path / "M.vg").write_bytes(learn_one(reber(limit=100), 0).blob)
    code, _, err = pyvgrad("learn", *QUICK, "--from", "M.vg", "--hidden", "4")
    assert (code, "has its shape already" in err) == (2, True)
    code, _, err = pyvgrad("learn", "temporal-order", "--from", "M.vg")
    assert (code, "the model 7 and 7" in err) == (2, True)


def test_info_shows_the_arenas_of_both_methods(pyvgrad, tmp_path):
    blob = learn_one(reber(limit=100), 0).blob
    (tmp_path / "M.vg").write_bytes(blob)
    job = reber()
    task = job.make_task(0)

    def arena(k2):
        learn = replace(job.recipe, method="tbptt", k2=k2).learn(task)
        return HostTrainer(blob, replace(learn, symbols=False)).arena_bytes

    found = json.loads(pyvgrad("info", "M.vg", "--json")[1])
    rtrl97 = HostTrainer(blob, replace(job.recipe.learn(task), symbols=False))
    assert found["train_bytes"] == {"tbptt": arena(32), "rtrl97": rtrl97.arena_bytes}
    found = json.loads(pyvgrad("info", "M.vg", "--k2", "80", "--json")[1])
    assert found["train_bytes"]["tbptt"] == arena(80) > arena(32)
    shape = stack("rnn_relu", (2, 3, 1), output="linear")
    params = init_params(shape, np.random.default_rng(0))
    (tmp_path / "R.vg").write_bytes(pack(quantize(shape, params)))
    found = json.loads(pyvgrad("info", "R.vg", "--json")[1])
    assert found["train_bytes"]["rtrl97"] is None
    assert found["train_bytes"]["tbptt"] > 0
    assert "rtrl97 (not for this model)" in pyvgrad("info", "R.vg")[1]
