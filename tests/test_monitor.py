"""A board watched while it learns: its log, and the log's replay on the host."""

import io
import json
import os
import select
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from tiny_model import TinyModel

from pyvgrad import cli, firmware
from pyvgrad.board import MACHINES
from pyvgrad.device_train import DeviceTrainer
from pyvgrad.learning import Counters, Learn
from pyvgrad.live import COLUMNS, TrainingTable
from pyvgrad.monitor import Recorder, replay
from pyvgrad.native_train import HostTrainer

BLOB = TinyModel().blob()
LEARN = Learn("tbptt", loss="mse", k1=2, k2=5, rate_q24=1 << 22, seed=3)
SEQUENCES = 12


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line: exit code, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["pyvgrad", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return done.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def port():
    """A pseudo-terminal with the emulated M4 behind it."""
    board, other = os.openpty()
    command = ["qemu-system-arm", "-M", MACHINES["m4"], "-display", "none"]
    command += ["-monitor", "none", "-serial", "none", "-semihosting-config"]
    command += ["enable=on,target=native", "-kernel", str(firmware.build("qemu_m4"))]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=board)

    def relay() -> None:
        while program.poll() is None:
            if select.select([board], [], [], 0.1)[0]:
                program.stdin.write(os.read(board, 4096))
                program.stdin.flush()

    relaying = threading.Thread(target=relay)
    relaying.start()
    yield os.ttyname(other)
    program.kill()
    relaying.join()
    program.wait()
    program.stdin.close()
    os.close(board)
    os.close(other)


def lessons():
    """Dense sequences of the tiny model, some targets missing."""
    rng = np.random.default_rng(1)
    for k in range(SEQUENCES):
        steps = int(rng.integers(1, 12))
        x = rng.integers(-32768, 32768, (steps, 3)).astype(np.int16)
        target = rng.integers(-3000, 3000, (steps, 2)).astype(np.int16)
        yield x, target, rng.random(steps) < 0.7 if k % 2 else None


@pytest.fixture
def log(tmp_path):
    """The log of a training on the native board: factors, sequences, a change."""
    path = tmp_path / "log.jsonl"

    def start(blob, learn):
        return DeviceTrainer(blob, learn, "native")

    with Recorder(start, BLOB, LEARN, path, on="native", task="tiny") as trainer:
        trainer.rate(0, 1, "h", 1000)
        for k, lesson in enumerate(lessons()):
            trainer.teach(*lesson)
            trainer.end()
            if k == 5:
                trainer.tune(replace(LEARN, rate_q24=1 << 21))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


# ---- the command -----------------------------------------------------


def test_monitor_watches_logs_and_replays(run, port, tmp_path):
    log = tmp_path / "reber.jsonl"
    words = ["monitor", port, "reber", "--limit", "150", "--log", log, "--json"]
    code, out, err = run(*words)
    said = json.loads(out)
    assert (code, said["same"], said["complete"]) == (0, True, True)
    assert said["sequences"] == said["learnt_sequences"] == 150
    assert (said["on"], said["task"], said["log"]) == (port, "reber", str(log))
    assert "sequences 150  steps " in err
    first, *_, last = read(log)
    assert (first["on"], list(last)) == (port, ["done"])
    assert first["blob"] != last["done"]
    assert sum("end" in line for line in read(log)) == 150
    code, out, _ = run("monitor", "--replay", log)
    assert code == 0
    assert out == f"replay of {log} on the host: 150 sequences, the same bits\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "give a board's PORT, or --replay LOG"),
        ("m4 --replay x", "give a board's PORT, or --replay LOG"),
        ("m5", "PORT is a board's port or one of m0, m3"),
        ("m4 rebber", "unknown task 'rebber'"),
        ("m4 reber --log no/where", "there is no folder"),
        ("/dev/ttyNONE", "/dev/ttyNONE cannot be opened"),
        ("--replay nowhere", "nowhere: there is no such log"),
    ],
)
def test_bad_words_are_a_sentence_and_exit_2(
    run, monkeypatch, tmp_path, words, sentence
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("monitor", *words.split())
    assert (code, out) == (2, "")
    assert sentence in err.splitlines()[-1]
    assert "Traceback" not in err


# ---- replay ----------------------------------------------------------


def test_a_log_is_replayed_to_its_last_bit(log):
    told = []
    found = replay(log, HostTrainer, lambda *done: told.append(done))
    assert (found.sequences, found.difference, found.complete) == (SEQUENCES, "", True)
    assert told == [(k, SEQUENCES) for k in range(1, SEQUENCES + 1)]


DIFFERENCES = {
    "crc": ("end", lambda line: line | {"crc": "00000000"}, 7, "the weights' CRC"),
    "loss": (
        "end",
        lambda line: line | {"counters": [*line["counters"][:-1], -1]},
        7,
        "counters",
    ),
    "updates": ("x", lambda line: line | {"updates": 99}, 7, "updates: 99 on native"),
    "at the end": ("end", lambda line: line | {"end": 9}, 7, "updates at the end: 9"),
    "x": ("x", lambda line: line | {"x": [[1, 2, 3]] * len(line["x"])}, 7, ""),
    "final": (
        "done",
        lambda line: {"done": line["done"][:-2] + "00"},
        13,
        "final blob",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_first_sequence_that_differs_is_named(run, log, name):
    key, change, where, what = DIFFERENCES[name]
    lines = read(log)
    found = [n for n, line in enumerate(lines) if key in line]
    at = found[min(where, len(found)) - 1]
    lines[at] = change(lines[at])
    write(log, lines)
    code, out, _ = run("monitor", "--replay", log, "--json")
    said = json.loads(out)
    assert (code, said["same"], said["sequences"]) == (1, False, where - 1)
    assert said["difference"].startswith(f"in sequence {where} (line ")
    assert what in said["difference"]


def test_a_factor_and_a_setting_are_part_of_the_log(log):
    for key in ("rate", "tune"):
        write(log, [line for line in read(log) if key not in line])
        assert replay(log, HostTrainer).difference


@pytest.mark.parametrize("cut", [10, 400])
def test_a_log_that_was_cut_is_replayed_as_far_as_it_goes(run, log, cut):
    log.write_bytes(log.read_bytes()[:-cut])
    code, out, _ = run("monitor", "--replay", log)
    assert code == 0
    assert "the same bits; the log ends before the training did" in out


def test_a_training_that_broke_off_leaves_a_log(tmp_path):
    path = tmp_path / "log"

    def breaking_off():
        with Recorder(HostTrainer, BLOB, LEARN, path) as trainer:
            trainer.teach(*next(lessons()))
            trainer.end()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaking_off()
    found = replay(path, HostTrainer)
    assert (found.sequences, found.difference, found.complete) == (1, "", False)


def test_a_resumed_training_is_replayed_from_its_checkpoint(tmp_path):
    with HostTrainer(BLOB, LEARN) as trainer:
        trainer.teach(*next(lessons()))
        checkpoint = trainer.checkpoint()
    path = tmp_path / "log"
    with Recorder(HostTrainer, checkpoint, None, path) as trainer:
        assert trainer.learn == LEARN
        assert trainer.arena_bytes > 0
        for lesson in lessons():
            trainer.teach(*lesson)
            trainer.end()
        trainer.teach(np.zeros((0, 3), np.int16), np.zeros((0, 2), np.int16))
        assert trainer.checkpoint() != checkpoint
    assert read(path)[0]["learn"] is None
    found = replay(path, HostTrainer)
    assert (found.sequences, found.difference, found.complete) == (SEQUENCES, "", True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is no log of a training"),
        ('{"log": 1, "lea', "is no log of a training"),
        ("\n", "line 1 is no JSON"),
        ("[]\n", "line 1 is no object"),
        ('{"log": 2}\n', "is no log of a training, version 1"),
        ('{"log": 1}\n', "line 1 is not understood"),
        ('{"log": 1, "learn": 7, "blob": ""}\n', "line 1 is not understood"),
        ('{"log": 1, "learn": "00", "blob": ""}\n', "line 1 is not understood"),
        ("\0\n", "line 1 is no JSON"),
        ("[" * 100000 + "\n", "line 1 is no JSON"),
    ],
)
def test_what_is_no_log_is_a_sentence(run, tmp_path, line, reason):
    path = tmp_path / "log"
    path.write_text(line)
    code, out, err = run("monitor", "--replay", path)
    assert (code, out) == (2, "")
    assert reason in err
    assert len(err.splitlines()) == 1


def test_a_damaged_line_is_named_once(run, log):
    lines = log.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("{", "", 1)
    log.write_text("".join(lines))
    code, out, err = run("monitor", "--replay", log)
    assert (code, out, err.count(str(log))) == (2, "", 1)
    assert f"{log}, line 4 is no JSON" in err


@pytest.mark.parametrize(
    "wrong",
    [
        {"z": 1},
        {"x": [[1, 2]], "target": [[1, 2]], "known": None, "updates": 0},
        {"x": [[1, 2, "3"]], "target": [[1, 2]], "known": None, "updates": 0},
        {"x": [[1, 2, 10**30]], "target": [[1, 2]], "known": None, "updates": 0},
        {"x": [[1, 2, 3]], "target": [[1, 2]], "known": [1, 1], "updates": 0},
        {"x": [[1, 2, 3]]},
        {"rate": [0]},
        {"rate": [0, "a", "x", 1]},
        {"rate": [10**30, 0, "x", 1]},
        {"tune": "00"},
        {"end": 0},
        {"done": 7},
    ],
)
def test_a_line_that_is_not_understood_is_named(run, log, wrong):
    lines = read(log)
    lines[4] = wrong
    write(log, lines)
    code, out, err = run("monitor", "--replay", log)
    assert (code, out) == (2, "")
    assert f"{log}, line 5 is not understood" in err


def test_a_log_that_cannot_be_written_closes_the_board(tmp_path):
    opened = []

    def start(blob, learn):
        opened.append(DeviceTrainer(blob, learn, "native"))
        return opened[0]

    with pytest.raises(FileNotFoundError):
        Recorder(start, BLOB, LEARN, tmp_path / "no" / "log")
    with pytest.raises(Exception, match="closed"):
        opened[0].end()


# ---- the table -------------------------------------------------------


def counted(sequences):
    return Counters(sequences, 10 * sequences, 4, 1, 2, 3, 1 << 16, 1 << 15)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_table_shows_what_is_counted(monkeypatch, terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=80)
    monkeypatch.setattr("pyvgrad.live.Console", lambda **_: console)
    with TrainingTable("tiny on m4") as table:
        for k in range(1, 251):
            table.update(counted(k))
            table.tested(k, 256)
    said = text.getvalue()
    for name in COLUMNS:
        assert name in said
    for value in ("250", "2,500", "0.5000", "1.0000", "25.0%", "250 of 256 right"):
        assert value in said
    assert ("tiny on m4" in said) == terminal
    assert terminal or len(said.splitlines()) == 1
