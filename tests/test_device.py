import contextlib
import os
import select
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from tiny_model import STEPS, TinyModel

from pyvgrad import firmware, link
from pyvgrad.blob import pack
from pyvgrad.board import Board
from pyvgrad.cells import CELLS, MODES
from pyvgrad.device import MACHINES, Device
from pyvgrad.errors import BlobError, DeviceError
from pyvgrad.intmodel import NumpyExecutor

MODEL = TinyModel()
BLOB = MODEL.blob()
Y, STATES = MODEL.run(MODEL.x)
EMULATED = ["m0", "m55"]


def with_ballast(blob: bytes, size: int) -> bytes:
    """Add an optional section that makes a blob too large for a small RAM."""
    body = blob[:-4] + struct.pack("<4sI", b"zpad", size) + bytes(size)
    body = body[:8] + struct.pack("<I", len(body) + 4) + body[12:]
    return body + struct.pack("<I", zlib.crc32(body))


@pytest.fixture(scope="module", params=["native", *EMULATED])
def device(request):
    with Device(BLOB, request.param) as opened:
        yield opened


def test_run_gives_the_specified_integers_and_states(device):
    device.reset()
    y, logits, states = device.run(MODEL.x, states=True)
    assert y.dtype == logits.dtype == np.int16
    assert (y == Y).all()
    assert (logits == Y).all()
    assert [bytes(row) for row in states] == STATES


def test_single_steps_equal_one_run(device):
    device.reset()
    steps = [device.step(x) for x in MODEL.x]
    assert (np.array([y for y, _ in steps]) == Y).all()
    assert device.run(MODEL.x[:0])[0].shape == (0, 2)


def test_state_can_be_set_and_read_back(device):
    device.reset()
    device.state = STATES[7]
    assert device.state == STATES[7]
    assert (device.run(MODEL.x[8:])[0] == Y[8:]).all()


def test_foreign_state_is_refused_and_changes_nothing(device):
    device.state = STATES[7]
    for wrong in (bytes(len(STATES[0])), STATES[0][:-1], b""):
        with pytest.raises(BlobError):
            device.state = wrong
    assert device.state == STATES[7]


def test_counts_are_scaled_by_the_blob(device):
    for counts in ([0, 0, 0], [-101, 32767, 5], [2**31 - 1, -(2**31), -40000]):
        x, clamped = device.scale(np.array(counts))
        exact = MODEL.scale(counts)
        assert x.tolist() == exact
        assert 0 <= clamped <= 3


def test_more_traffic_than_any_pipe_holds(device):
    device.reset()
    y = device.run(np.tile(MODEL.x, (500, 1)), states=True)[0]
    assert (y[:STEPS] == Y).all()
    device.reset()
    assert device.saturated == 0


def test_wrong_arrays_are_refused(device):
    for wrong in (MODEL.x[:, :2], MODEL.x.astype(float), MODEL.x[0], [[1, 2, 3]]):
        with pytest.raises(ValueError, match="the model takes int16"):
            device.run(wrong)
    with pytest.raises(ValueError, match="counts"):
        device.scale(np.zeros(2, np.int32))


@pytest.mark.parametrize("on", EMULATED)
def test_costs_are_measured(on):
    with Device(BLOB, on) as device:
        device.run(MODEL.x)
        assert 100 < device.stack_bytes() < 1024
        sizes = device.sizes()
        assert device.arena_bytes % 4 == 0
    assert sizes["library_ram"] == 0
    assert 2000 < sizes["library_flash"] < sizes["flash"] < 96 << 10
    assert sizes["ram"] < 2048


@pytest.mark.parametrize("cell", CELLS)
def test_a_board_runs_every_cell_as_numpy_does(cell):
    rng = np.random.default_rng(6)
    model = random_qmodel(rng, cell=cell, n_layers=2, layout="any")
    x = random_signals(rng, (6, model.shape.n_in))
    expected = NumpyExecutor(pack(model)).run(x, states=True)
    with Device(pack(model), "m0") as board:
        got = board.run(x, states=True)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_whole_sequences_go_on_from_the_state_of_the_one_before(mode):
    rng = np.random.default_rng(5)
    model = random_qmodel(
        rng, cell="plus_rnn", whole=True, mode=mode, output="softmax", layout="any"
    )
    want = NumpyExecutor(pack(model))
    with Device(pack(model), "native") as device:
        for steps in (4, 1, 3):
            x = random_signals(rng, (steps, model.shape.n_in))
            pairs = zip(device.run(x), want.run(x), strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)
            assert (device.state, device.saturated) == (want.state, want.saturated)


def test_a_whole_sequence_is_forgotten_by_any_other_request():
    pieces = ["sequence 1", "input 0 000000000000"]  # three inputs
    wrong = [[*pieces, "save"], pieces[1:], [*pieces, "whole"], pieces[:1]]
    with Board("native") as board:
        board.load(BLOB)
        board.ask("open")
        for requests in wrong:
            for request in requests:
                with contextlib.suppress(link.RefusalError):
                    board.ask(request)
            with pytest.raises(link.RefusalError, match="argument"):
                board.ask("whole")
        for request in ("sequence 0", "sequence 1 2", "input 4 0000"):
            board.ask("sequence 1")
            with pytest.raises(link.RefusalError, match="argument"):
                board.ask(request)


@pytest.mark.parametrize("on", ["native", "m0"])
def test_whole_sequences_that_are_too_long_change_nothing(on):
    rng = np.random.default_rng(4)
    model = random_qmodel(rng, cell="gru", whole=True, n_layers=1, n_in=2)
    x = random_signals(rng, (5, 2))
    with Device(pack(model), on) as device:
        want = device.run(x, states=True)
        device.reset()
        with pytest.raises(
            DeviceError, match=f"100000000 steps needs more RAM than {on}"
        ):
            device.run(np.broadcast_to(x[:1], (100_000_000, 2)))
        with pytest.raises(ValueError, match="a step at least"):
            device.run(x[:0])
        with pytest.raises(ValueError, match="reversed"):
            device.step(x[0])
        got = device.run(x, states=True)
        assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))


def test_more_outputs_than_an_answer_has_room_for_are_refused_before_the_run():
    rng = np.random.default_rng(4)
    model = random_qmodel(rng, cell="gru", whole=True, n_layers=1, n_in=2)
    steps = link.LONGEST // (4 * model.shape.n_out)
    with (
        Device(pack(model), "m4") as device,
        pytest.raises(DeviceError, match="give it shorter sequences"),
    ):
        device.run(np.zeros((steps, 2), np.int16))


def test_bad_blobs_are_refused_with_the_core_s_reason():
    for wrong, reason in ((b"", "cut short"), (BLOB[:-8], "cut short")):
        with pytest.raises(BlobError, match=reason):
            Device(wrong, "native")
    with pytest.raises(BlobError):
        Device(BLOB[:40] + b"\x55" + BLOB[41:], "m0")


def test_a_model_too_large_for_ram_runs_from_flash():
    for seed in (1, 2):
        model = TinyModel(seed)
        y, _ = model.run(model.x)
        with Device(with_ballast(model.blob(), 20000), "m0") as device:
            assert (device.run(model.x)[0] == y).all()
            assert device.sizes()["flash"] > 20000


def test_a_model_too_large_for_everything_is_refused():
    with pytest.raises(DeviceError, match="more RAM than native has"):
        Device(with_ballast(BLOB, 5 << 20), "native")


def test_a_serial_port_is_a_device():
    """The native program at the other end of a pseudo-terminal, after some noise."""
    board, port = os.openpty()
    image = firmware.build("native")
    os.write(board, b"boot 1.0\r\nhalf a li")
    program = subprocess.Popen([image], stdin=subprocess.PIPE, stdout=board)

    def relay() -> None:
        while program.poll() is None:
            if select.select([board], [], [], 0.1)[0]:
                program.stdin.write(os.read(board, 4096))
                program.stdin.flush()

    relaying = threading.Thread(target=relay)
    relaying.start()
    try:
        with Device(BLOB, os.ttyname(port)) as device:
            assert (device.run(MODEL.x)[0] == Y).all()
            with pytest.raises(DeviceError, match="not known"):
                device.sizes()
    finally:
        program.kill()
        relaying.join()
        program.stdin.close()
        os.close(board)
        os.close(port)


def test_an_unknown_port_is_a_sentence():
    with pytest.raises(DeviceError, match="m5 cannot be opened"):
        Device(BLOB, "m5")


# ---- what can go wrong ---------------------------------------------------


def board(script: str) -> link.Link:
    """Link to a board whose program is a Python script."""
    return link.Link(link.ProgramChannel([sys.executable, "-u", "-c", script]))


def greet_fails(script: str, reason: str) -> None:
    wrong = board(script)
    try:
        with pytest.raises(DeviceError, match=reason):
            wrong.greet()
    finally:
        wrong.close()


def test_silence_ends_in_an_error(monkeypatch):
    monkeypatch.setattr(link, "SECONDS", 0.3)
    greet_fails("input(); input(); input()", "has not answered")


def test_noise_ends_in_an_error():
    greet_fails("while True: print('x' * 999, end='')", "no line ends")
    greet_fails("while True: print('x' * 9)", "no answer to hello")


def test_a_program_that_ends_is_reported_with_its_reason():
    greet_fails("exit(127)", "fault")
    greet_fails("exit(3)", "stack")
    greet_fails("exit('out of order')", "out of order")


RELAY = """
import subprocess, sys
board = subprocess.Popen([{image!r}], stdin=0, stdout=subprocess.PIPE)
for n, line in enumerate(board.stdout):
    sys.stdout.buffer.write({expression})
"""


@pytest.mark.parametrize(
    "expression",
    [
        "b'' if n == 5 else line",
        "line.replace(b'ok', b'oK') if n == 5 else line",
        "line * 2 if n == 5 else line",
    ],
    ids=["lost", "changed", "doubled"],
)
def test_a_disturbed_line_is_noticed(expression):
    image = str(firmware.build("native"))
    wrong = board(RELAY.format(image=image, expression=expression))
    try:
        wrong.greet()
        with pytest.raises(DeviceError, match="disturbed"):
            wrong.ask(["hello"] * 10)
        with pytest.raises(DeviceError, match="disturbed"):
            wrong.ask(["hello"])
    finally:
        wrong.close()


def test_too_long_requests_are_not_sent():
    long = board("")
    with pytest.raises(DeviceError, match="too long"):
        long.ask(["scale " + "0" * 70])
    long.close()


def test_a_closed_device_says_so():
    device = Device(BLOB, "native")
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.reset()


def test_missing_tools_are_named(monkeypatch, tmp_path):
    firmware.build("qemu_m0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="install qemu-system-arm"):
        Device(BLOB, "m0")
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DANOTHER_IMAGE")
    with pytest.raises(DeviceError, match="install gcc-arm-none-eabi"):
        Device(BLOB, "m0")


def test_an_unprepared_platformio_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DANOTHER_IMAGE")
    with pytest.raises(DeviceError, match=r"tools/setup\.py"):
        Device(BLOB, "m0")


def test_missing_sources_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(firmware, "FIRMWARE", tmp_path)
    with pytest.raises(DeviceError, match="from its checkout"):
        Device(BLOB, "m0")


def test_an_image_is_built_once(monkeypatch):
    firmware.build("native")
    monkeypatch.setattr(firmware, "_run_platformio", None)
    Device(BLOB, "native").close()


def test_builds_wait_for_each_other(monkeypatch, tmp_path):
    monkeypatch.setattr(firmware, "BUILD_SECONDS", 0.2)
    lock = tmp_path / "lock"
    with (
        firmware._alone(lock),
        pytest.raises(DeviceError, match="another process"),
        firmware._alone(lock),
    ):
        pass
    with firmware._alone(lock):
        pass


def test_every_emulated_core_has_an_environment():
    text = (firmware.FIRMWARE / "platformio.ini").read_text()
    for core, machine in MACHINES.items():
        section = text.partition(f"[env:qemu_{core}]")[2].partition("[env:")[0]
        assert f"board = {machine}\n" in section
