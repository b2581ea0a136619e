"""Training on emulated boards: the same bits as on the host, and what is refused."""

import random
from dataclasses import replace

import numpy as np
import pytest
from test_firmware import answers, damaged, frame, sanitize
from tiny_model import TinyModel

from pyvgrad import device_train, firmware
from pyvgrad.blob import pack
from pyvgrad.board import MACHINES, Board
from pyvgrad.device_train import DeviceTrainer
from pyvgrad.errors import BlobError, DeviceError
from pyvgrad.learning import Learn
from pyvgrad.model import init_params
from pyvgrad.native_train import HostTrainer
from pyvgrad.nets import NETS, stack
from pyvgrad.quantize import quantize

FIRMWARE = firmware.FIRMWARE
LIB = FIRMWARE / "lib" / "vgrad"
N_SYMBOLS, M0_ARENA = 7, 10240
BOARDS = ["native", *MACHINES]
RTRL = Learn("rtrl97", symbols=True, rate_q24=1 << 23, clip_q16=1 << 16)
RULES = {
    "momentum": {"rule": "momentum", "decay_q14": 14000, "nesterov": True},
    "rmsprop": {"rule": "rmsprop", "decay_q14": 14000, "epsilon_q24": 1 << 12},
}


def start(shape, seed, scale=0.2, bits=16):
    rng = np.random.default_rng(seed)
    return pack(quantize(shape, init_params(shape, rng, scale=scale), weight_bits=bits))


FEEDBACK_8 = start(NETS["feedback-8"].shape(N_SYMBOLS, N_SYMBOLS), 1)
TINY = TinyModel().blob()


def symbols(rng):
    """A sequence as those of the embedded Reber grammar: symbols and the next ones."""
    string = rng.integers(0, N_SYMBOLS, int(rng.integers(9, 20)))
    return string[:-1], string[1:], None


def signals(rng):
    """Dense x of the tiny model, targets far from its outputs, some of them missing."""
    steps = int(rng.integers(1, 20))
    x = rng.integers(-32768, 32768, (steps, 3)).astype(np.int16)
    target = rng.integers(-3000, 3000, (steps, 2)).astype(np.int16)
    return x, target, rng.random(steps) < 0.6


def dense(method, k1, k2, rule, **more):
    return Learn(method, loss="mse", k1=k1, k2=k2, rate_q24=1 << 18, clip_q16=1 << 14,
                 **RULES.get(rule, {}), **more)  # fmt: skip


CASES = {  # blob, settings, sequences
    "rtrl97 symbols": (FEEDBACK_8, RTRL, symbols),
    "rtrl97 dense": (TINY, dense("rtrl97", 1, 0, "momentum"), signals),
    "tbptt symbols": (
        start(stack("lstm", (7, 4, 7), output="softmax", layers=2), 2),
        Learn("tbptt", symbols=True, k1=3, k2=9, rate_q24=1 << 22, seed=5),
        symbols,
    ),
    "tbptt symbols, momentum": (  # a momentum goes on without a gradient
        start(stack("lstm", (7, 4, 7), output="softmax"), 4),
        Learn("tbptt", symbols=True, k2=3, rate_q24=1 << 22, **RULES["momentum"]),
        symbols,
    ),
    "tbptt dense": (TINY, dense("tbptt", 0, 12, "rmsprop"), signals),
    "tbptt 8 bits": (
        start(stack("rnn_tanh", (3, 5, 2), output="linear"), 3, bits=8),
        dense("tbptt", 2, 6, "sgd"),
        signals,
    ),
}


def teach(trainers, draw, seed, sequences):
    """Teach all the same; every answer is compared on the way."""
    rng = np.random.default_rng(seed)
    for _ in range(sequences):
        lesson = draw(rng)
        first, *others = [(t.teach(*lesson), t.end(), t.counters) for t in trainers]
        assert all(other == first for other in others)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("on", BOARDS)
def test_a_board_learns_the_host_s_bits(on, case):
    blob, learn, draw = CASES[case]
    with HostTrainer(blob, learn) as host, DeviceTrainer(blob, learn, on) as board:
        assert board.learn == learn
        assert board.arena_bytes == host.arena_bytes
        for trainer in (host, board):
            trainer.rate(0, 0, "x", 30000)
        teach((host, board), draw, 4, 40)
        assert board.counters.updates > 20
        assert board.blob() == host.blob() != blob
        assert board.checkpoint() == host.checkpoint()


def test_embedded_reber_s_net_fits_into_16_kilobytes():
    with DeviceTrainer(FEEDBACK_8, RTRL, "m0") as board:
        assert board.arena_bytes <= M0_ARENA <= board._board.ram
        teach((board,), symbols, 5, 10)
        board.checkpoint()
        assert 100 < board.stack_bytes() < 2560  # of 3072


@pytest.mark.parametrize("case", ["rtrl97 symbols", "tbptt dense"])
def test_a_training_goes_on_from_a_checkpoint_on_another_board(case):
    blob, learn, draw = CASES[case]
    with HostTrainer(blob, learn) as host, DeviceTrainer(blob, learn, "m4") as first:
        lesson = draw(np.random.default_rng(6))
        teach((host, first), draw, 7, 10)
        for trainer in (host, first):  # the checkpoint is made within a sequence
            trainer.teach(*lesson)
        checkpoint = first.checkpoint()
        for on in ("m0", "native"):
            with (
                DeviceTrainer(checkpoint, None, on) as second,
                HostTrainer(checkpoint, None) as again,
            ):
                assert second.learn == learn
                teach((again, second), draw, 8, 10)
                after = second.checkpoint()
                assert after == again.checkpoint()
        teach((host,), draw, 8, 10)
        assert host.checkpoint() == after


def test_a_sequence_is_split_over_lines():
    """On a board whose line takes fewer steps than the sequence has."""
    rng = np.random.default_rng(9)
    lessons = [signals(rng) for _ in range(99)]
    x, target, known = (np.concatenate(part) for part in zip(*lessons, strict=True))
    blob, learn, _ = CASES["tbptt dense"]
    learn = replace(learn, k1=3)
    with HostTrainer(blob, learn) as host, DeviceTrainer(blob, learn, "m0") as board:
        assert len(x) * 21 > 4 * board._board.line
        updates = host.teach(x, target, known)
        assert board.teach(x, target, known) == updates > 100
        assert board.teach(x[:0], target[:0]) == 0
        assert board.checkpoint() == host.checkpoint()
        assert board.crc() == host.blob()[-4:].hex()


def test_tune_changes_what_it_may_and_nothing_else():
    blob, learn, draw = CASES["rtrl97 symbols"]
    with (
        HostTrainer(blob, learn) as host,
        DeviceTrainer(blob, learn, "native") as board,
    ):
        tuned = replace(learn, rate_q24=1 << 20, clip_q16=0, frozen=1, seed=3)
        for trainer in (host, board):
            trainer.tune(tuned)
            with pytest.raises(ValueError, match="only frozen, rate"):
                trainer.tune(replace(tuned, symbols=False))
            assert trainer.learn == tuned
        teach((host, board), draw, 10, 5)
        assert board.checkpoint() == host.checkpoint()


# ---- refused ---------------------------------------------------------


@pytest.fixture(scope="module")
def trainers():
    """By case: a board in training."""
    opened = {case: DeviceTrainer(*CASES[case][:2], "native") for case in CASES}
    yield opened
    for trainer in opened.values():
        trainer.close()


@pytest.mark.parametrize(
    ("case", "lesson", "reason"),
    [
        ("rtrl97 symbols", ([0, 7], [1, 1]), "symbols are 0 to 6"),
        ("rtrl97 symbols", ([0, -1], [1, 1]), "symbols are 0 to 6"),
        ("rtrl97 symbols", ([[0]], [1]), "not symbols"),
        ("rtrl97 symbols", ([0.5], [1]), "not symbols"),
        ("rtrl97 symbols", ([0] * 900, [1] * 899 + [7]), "targets are 0 to 6"),
        ("rtrl97 symbols", ([0, 1], [1, -1]), "targets are 0 to 6"),
        ("rtrl97 symbols", ([0, 1], [[1], [1]]), "the model learns from"),
        ("rtrl97 symbols", ([0, 1], [1, 1], [1]), "known is"),
        ("rtrl97 symbols", ([0, 1], [1.5, 1]), "int16"),
        ("tbptt dense", (np.zeros((2, 2), np.int16), [[0, 0]] * 2), "int16"),
        ("tbptt dense", (np.zeros((2, 3)), [[0, 0]] * 2), "int16"),
        ("tbptt dense", (np.zeros((2, 3), np.int16), [[0, 0, 0]] * 2), "learns from"),
        ("tbptt dense", (np.zeros((2, 3), np.int16), [[0, 40000]] * 2), "int16"),
    ],
)
def test_wrong_lessons_are_refused_and_no_step_is_taken(trainers, case, lesson, reason):
    board = trainers[case]
    before, counted = board.checkpoint(), board.counters
    with pytest.raises(ValueError, match=reason):
        board.teach(*lesson)
    assert board.checkpoint() == before
    assert board.counters == counted


def test_what_stands_for_a_missing_target_is_not_looked_at(trainers):
    board = trainers["rtrl97 symbols"]
    assert board.teach([0, 1], [99, -1], [False, False]) == 0


@pytest.mark.parametrize(
    "wrong",
    [(0, 0, "z", 1), (0, 9, "x", 1), (1, 1, "h", 1), (9, 0, "x", 1), (0, 0, "x", -1),
     (0, 0, "x", 1 << 31), (-1, 0, "x", 1)],
)  # fmt: skip
def test_wrong_factors_are_refused(trainers, wrong):
    with pytest.raises(ValueError, match="part"):
        trainers["rtrl97 symbols"].rate(*wrong)


def test_blobs_and_settings_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match="does not train this model by rtrl97 with mse"
    ):
        DeviceTrainer(FEEDBACK_8, replace(RTRL, loss="mse"), "native")
    for wrong in (b"", FEEDBACK_8[:-8], FEEDBACK_8[:40] + b"\x55" + FEEDBACK_8[41:]):
        with pytest.raises(BlobError, match="the C core on native refuses"):
            DeviceTrainer(wrong, RTRL, "native")
    with pytest.raises(BlobError, match="the C core on native refuses"):
        DeviceTrainer(FEEDBACK_8, None, "native")


def test_a_training_too_large_for_the_board_is_a_sentence():
    tape = Learn("tbptt", symbols=True, k2=60)
    with pytest.raises(DeviceError, match=r"more RAM than m0 has for it, \d+ bytes"):
        DeviceTrainer(FEEDBACK_8, tape, "m0")


def test_a_model_without_rtrl97_is_not_told_to_take_it():
    tape = Learn("tbptt", symbols=True, k2=400)
    for cell, there in (("gru", True), ("plus_rnn", False)):
        blob = start(stack(cell, (7, 6, 7), output="softmax"), 2)
        with pytest.raises(DeviceError, match="more RAM than m0") as refused:
            DeviceTrainer(blob, tape, "m0")
        assert ("rtrl97" in str(refused.value)) == there


def test_another_version_of_the_protocol_is_refused(monkeypatch):
    monkeypatch.setattr("pyvgrad.board.PROTOCOL_VERSION", 1)
    with pytest.raises(DeviceError, match=r"speaks version 3 .* this is version 1"):
        DeviceTrainer(FEEDBACK_8, RTRL, "native")


def test_a_blob_that_was_damaged_on_its_way_is_noticed(trainers, monkeypatch):
    board = trainers["tbptt dense"]
    monkeypatch.setattr(device_train, "_PIECE", 1 << 20)
    whole = board.blob()
    ask = Board.ask_all
    monkeypatch.setattr(
        Board, "ask_all", lambda self, requests: [ask(self, requests)[0][:-2] + "aa"]
    )
    assert whole[-1:] != b"\xaa"
    with pytest.raises(DeviceError, match="not the one that it sealed"):
        board.blob()


# ---- hostile lines ---------------------------------------------------


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    return sanitize(tmp_path_factory.mktemp("sanitized") / "program")


def loading(blob, learn):
    pieces = [f"blob {at} {blob[at : at + 24].hex()}" for at in range(0, len(blob), 24)]
    return [f"load {len(blob)}", *pieces, f"train {learn.to_bytes().hex()}"]


def requests(draw, case):
    """Requests of a training in a random order."""
    blob, learn, _ = CASES[case]
    size_x, size_y = (1, 1) if learn.symbols else (3, 2)

    def teaching():
        steps = draw.randrange(1, 9)
        most = 6 if learn.symbols else 65535
        x = "".join(f"{draw.randint(0, most):04x}" for _ in range(steps * size_x))
        y = "".join(f"{draw.randint(0, most):04x}" for _ in range(steps * size_y))
        known = "".join(draw.choice("01") for _ in range(steps))
        return f"teach {x} {y}" + draw.choice(["", f" {known}"])

    settings = learn.to_bytes().hex()
    others = ["end", "counters", "seal", "checkpoint", "settings", "fetch 0 64",
              "fetch 0 4294967295",
              "rate 0 0 0 30000", f"tune {settings}", "step 00", "open", "stack",
              "hello", "resume", f"train {settings}"]  # fmt: skip
    lines = loading(blob, learn)
    for _ in range(40):
        lines.append(teaching() if draw.random() < 0.7 else draw.choice(others))
    return [f"{n} {line}" for n, line in enumerate(lines, 1)]


def test_no_request_of_a_training_brings_the_program_down(sanitized):
    """Damaged requests with right checksums: each has one answer."""
    draw = random.Random(11)
    data, count = b"", 0
    for k in range(150):
        for text in requests(draw, list(CASES)[k % len(CASES)]):
            line = text.encode()
            if draw.random() < 0.1:
                line = damaged(draw, line)
            data += frame(line)
            count += 1
    found = answers(sanitized, data)
    assert len(found) == count
    reasons = {rest[0] for _, status, rest in found if status == "error"}
    assert reasons >= {"form", "verb", "argument", "training", "core"}


def test_refused_requests_change_nothing_that_is_learnt(sanitized):
    """A session with refused lines between its own gives the answers of it alone."""
    draw = random.Random(12)
    case = "tbptt dense"
    right = [f"{n} {text}" for n, text in enumerate(loading(*CASES[case][:2]))]
    right += [
        text for text in requests(draw, case) if " teach " in text or " end" in text
    ]
    right.append("99 checkpoint")
    wrong = ["7 teach 0000 0000", "7 teach 000000000000 0000000g", "7 teach 00 00 11",
             "7 teach 000000000000 00000000 2", "7 teach 000000000000 00000000 11",
             "7 rate 9 9 9 9", "7 rate 0 0 0 -1", "7 tune " + "ff" * 32, "7 fetch 0 1",
             "7 train " + "ff" * 32, "7 resume", "7 open", "7 blob 0 00", "7 load x",
             "7 step 000000000000", "7 flash", "7 teach"]  # fmt: skip
    alone = answers(sanitized, b"".join(frame(text) for text in right))
    data = b"".join(
        frame(text) + (frame(draw.choice(wrong)) if n >= len(right) - 30 else b"")
        for n, text in enumerate(right)
    )
    mixed = answers(sanitized, data)
    assert [a for a in mixed if a[1] == "ok"] == alone
    assert sum(a[1] == "error" for a in mixed) == 30
