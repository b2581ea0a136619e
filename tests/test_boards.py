"""Real boards: the Arduino port, and flash, as far as they can be tried without one."""

import configparser
import fcntl
import json
import re
import shutil
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from tiny_model import TinyModel

from pyvgrad import cli, firmware, link
from pyvgrad.blob import pack
from pyvgrad.device import MACHINES, Device
from pyvgrad.device_train import DeviceTrainer
from pyvgrad.errors import DeviceError
from pyvgrad.header import header
from pyvgrad.intmodel import NumpyExecutor
from pyvgrad.learning import Learn
from pyvgrad.native_train import HostTrainer

FIRMWARE = firmware.FIRMWARE
LIB = FIRMWARE / "lib" / "vgrad"
ENVIRONMENTS = ["native", *(f"qemu_{core}" for core in MACHINES)]
MODEL = TinyModel()
BLOB = MODEL.blob()

# ---- the port for real boards --------------------------------------------

ARDUINO_H = """\
#include <stddef.h>
#include <stdint.h>
extern "C" void setup(void);
extern "C" void loop(void);
void delay(unsigned long ms);
struct Port {
    void begin(unsigned long baud);
    int available();
    int read();
    size_t write(const uint8_t *data, size_t len);
    void flush();
};
extern Port Serial;
"""

# A receive buffer holds 63 bytes, and what is written may be taken in part only.
ARDUINO_CPP = """\
#include "Arduino.h"
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
Port Serial;
static unsigned long baud;
static char sent[100];
static size_t n_sent;
void delay(unsigned long) { exit(90); }
void Port::begin(unsigned long rate) { baud = rate; }
int Port::available()
{
    struct pollfd in = {0, POLLIN, 0};
    int n = 0;
    poll(&in, 1, 1);
    ioctl(0, FIONREAD, &n);
    if (n == 0 && in.revents & POLLHUP)
        exit(n_sent ? 91 : 0);
    if (baud != 115200 || n > 63)
        exit(92);
    return n;
}
int Port::read()
{
    char c;
    return ::read(0, &c, 1) == 1 ? (unsigned char)c : -1;
}
size_t Port::write(const uint8_t *data, size_t len)
{
    size_t n = 0;
    while (n < len && n < 7 && n_sent < sizeof sent)
        sent[n_sent++] = (char)data[n++];
    if (n_sent == sizeof sent)
        flush();
    return n;
}
void Port::flush()
{
    if (n_sent && ::write(1, sent, n_sent) != (ssize_t)n_sent)
        exit(93);
    n_sent = 0;
}
int main()
{
    setup();
    for (;;)
        loop();
}
"""

HARD = "-mfloat-abi=hard -mfpu="
BOARDS = {  # compiler flags, core's name, bytes of RAM that the framework links for
    "nucleo_f446re": (f"-mcpu=cortex-m4 {HARD}fpv4-sp-d16", "cortex-m4", 128 << 10),
    "pico": ("-mcpu=cortex-m0plus", "cortex-m0", 264 << 10),
    "nrf52840_dk": (f"-mcpu=cortex-m4 {HARD}fpv4-sp-d16", "cortex-m4", 64 << 10),
    "teensy41": (f"-mcpu=cortex-m7 {HARD}fpv5-d16", "cortex-m7", 512 << 10),
    "bluepill_f103c8": ("-mcpu=cortex-m3", "cortex-m3", 20 << 10),
}
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]


@pytest.fixture
def arduino(tmp_path):
    """A folder with the interface of an Arduino core, and a stand-in of one."""
    (tmp_path / "Arduino.h").write_text(ARDUINO_H)
    (tmp_path / "Arduino.cpp").write_text(ARDUINO_CPP)
    return tmp_path


def settings():
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(FIRMWARE / "platformio.ini")
    return ini


@pytest.mark.parametrize("board", BOARDS)
def test_the_arduino_port_compiles_for_each_board(arduino, board):
    """Against the documented calls in ARDUINO_H: the interface, not a board."""
    machine, core, ram = BOARDS[board]
    flags = settings()[f"env:{board}"]["build_flags"].split()
    source = FIRMWARE / "src" / "board_arduino.cpp"
    done = subprocess.run(
        [
            *("arm-none-eabi-g++", "-std=gnu++14", "-mthumb", *machine.split()),
            *(*STRICT, *flags, f"-I{arduino}", "-S", "-O1", "-o", "-", source),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'"{core}\\000"' in done.stdout
    assert set(re.findall(r"\bbl?\s+(application)\b", done.stdout)) == {"application"}
    (pool,) = (int(f.partition("=")[2]) for f in flags if "BOARD_POOL_BYTES" in f)
    assert re.search(rf"\.space\s+{pool}\b", done.stdout)
    assert ram // 3 < pool <= ram * 3 // 4


def test_all_real_boards_have_the_arduino_port():
    ini = settings()
    envs = {name.removeprefix("env:") for name in ini if name.startswith("env:")}
    assert envs - set(ENVIRONMENTS) == set(BOARDS)
    for board in BOARDS:
        assert ini[f"env:{board}"]["extends"] == "arduino"
    assert ini["arduino"]["build_src_filter"].endswith(" +<board_arduino.cpp>")
    # the framework's own sources are not held to our warnings
    assert "-W" not in "".join(ini[f"env:{board}"]["build_flags"] for board in BOARDS)


@pytest.fixture
def stand_in(arduino):
    """The whole application, C and C++ linked, on a stand-in of an Arduino core."""
    port, core = FIRMWARE / "src" / "board_arduino.cpp", arduino / "Arduino.cpp"
    own = [p for p in FIRMWARE.glob("src/*.c") if not p.name.startswith("board_")]
    flags = ["-DARDUINO=10819", f"-I{arduino}", f"-I{LIB / 'include'}"]
    for compiler, sources in (
        (["cc", "-std=c99"], [*own, *LIB.glob("src/*.c")]),
        (["c++", "-std=gnu++14", f"-I{port.parent}"], [port, core]),
    ):
        command = [*compiler, *STRICT, *flags, "-c", *sources]
        subprocess.run(command, cwd=arduino, check=True)
    program = arduino / "program"
    subprocess.run(["c++", "-o", program, *arduino.glob("*.o")], check=True)
    return str(program)


def test_the_arduino_port_answers_on_a_stand_in_of_the_core(stand_in):
    """No byte is lost in buffers of 64."""
    blob, (y, _) = MODEL.blob(), MODEL.run(MODEL.x)
    opened = link.Link(link.ProgramChannel([stand_in]))
    told = opened.greet()
    opened.line, opened.ahead = int(told["line"]), int(told["ahead"])
    assert (opened.ahead, told["core"], told["ram"]) == (63, "unknown", "7168")
    pieces = [f"blob {k} {blob[k : k + 12].hex()}" for k in range(0, len(blob), 12)]
    opened.ask([f"load {len(blob)}", *pieces, "open"])
    steps = [f"step {row.astype('>i2').tobytes().hex()}" for row in MODEL.x]
    words = [row.astype(">i2").tobytes().hex() for row in y]
    assert opened.ask(steps) == [f"{word} {word}" for word in words]
    with pytest.raises(DeviceError, match="refuses 'stack': board"):
        opened.ask(["stack"])
    opened.close()


class Wire(link.ProgramChannel):
    """As slow as a serial line: a byte more comes when the board has taken those."""

    def send(self, data):
        for k in range(0, len(data), 16):
            while fcntl.ioctl(self._in, termios.FIONREAD, bytes(4)) != bytes(4):
                time.sleep(1e-4)
            super().send(data[k : k + 16])


def test_the_arduino_port_takes_whole_sequences_in_short_lines(stand_in, monkeypatch):
    monkeypatch.setattr("pyvgrad.board._start", lambda *_: Wire([stand_in]))
    rng = np.random.default_rng(2)
    fixed = {"cell": "gru", "n_layers": 1, "n_in": 3, "mode": "sequence"}
    blob = pack(
        random_qmodel(rng, whole="both", output="softmax", **fixed, layout="any")
    )
    x = random_signals(rng, (70, 3))
    want = NumpyExecutor(blob).run(x, states=True)
    with Device(blob, "/dev/tty7") as there:
        got = there.run(x, states=True)
        assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
        with pytest.raises(DeviceError, match="1000 steps needs more RAM than /dev"):
            there.run(np.zeros((1000, 3), np.int16))


def test_the_arduino_port_learns_on_a_stand_in_of_the_core(stand_in, monkeypatch):
    monkeypatch.setattr("pyvgrad.board._start", lambda *_: Wire([stand_in]))
    learn = Learn("tbptt", loss="mse", k1=2, k2=5, rate_q24=1 << 22, clip_q16=1 << 16)
    target = (MODEL.run(MODEL.x)[0] // 2).astype("int16")
    with (
        DeviceTrainer(BLOB, learn, "/dev/tty7") as there,
        HostTrainer(BLOB, learn) as here,
    ):
        assert there._board.line < 63
        updates = [t.teach(MODEL.x, target) for t in (there, here)]
        assert updates == [len(target) // 2] * 2
        assert there.checkpoint() == here.checkpoint()


# ---- flash ---------------------------------------------------------------

PLATFORMIO = """
import json, os, sys, time
from pathlib import Path

here = Path(__file__).parent.parent
flags = os.environ.get("PLATFORMIO_BUILD_FLAGS", "")
(here / "said.json").write_text(json.dumps([sys.argv[1:], flags]))
print("looking for a board", flush=True)
{act}
image = Path(os.environ["PLATFORMIO_BUILD_DIR"], "pico", "firmware.elf")
image.parent.mkdir(parents=True, exist_ok=True)
image.write_bytes(b"")
"""


@pytest.fixture
def flash(monkeypatch, tmp_path, capsys):
    """The command with a stand-in of PlatformIO, which acts and notes its words."""
    project, fake = tmp_path / "firmware", tmp_path / "platformio"
    project.mkdir()
    fake.mkdir()
    shutil.copy(firmware.FIRMWARE / "platformio.ini", project)
    (fake / "__init__.py").touch()
    monkeypatch.setattr(firmware, "FIRMWARE", project)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    monkeypatch.delenv("PLATFORMIO_BUILD_FLAGS", raising=False)

    def run(*words, act="", installed=True):
        (fake / "__main__.py").write_text(PLATFORMIO.format(act=act))
        if installed:
            platform = tmp_path / "core" / "platforms" / "raspberrypi"
            platform.mkdir(parents=True)
            (platform / "platform.json").touch()
        monkeypatch.setattr(sys, "argv", ["pyvgrad", "flash", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return done.value.code, *capsys.readouterr()

    return run


def test_flash_uploads_a_blob_with_platformio(flash, tmp_path):
    (tmp_path / "M.vg").write_bytes(BLOB)
    code, out, err = flash("pico", tmp_path / "M.vg", "--port", "/dev/tty7", "--json")
    arguments, flags = json.loads((tmp_path / "said.json").read_text())
    project = tmp_path / "firmware"
    wanted = ["run", "-e", "pico", "-t", "upload", "--upload-port", "/dev/tty7"]
    assert arguments == [*wanted, "-d", str(project)]
    model = project / ".pio" / "device" / "pico.h"
    assert flags == f"'-DVG_MODEL_HEADER=\"{model}\"'"
    assert model.read_text() == header(BLOB, "pico")
    image = project / ".pio" / "device" / "pico" / "pico" / "firmware.elf"
    assert json.loads(out) == {"board": "pico", "uploaded": True, "files": [str(image)]}
    assert (code, err) == (0, "")


def test_flash_says_that_the_first_use_downloads(flash, tmp_path):
    code, out, err = flash("pico", installed=False)
    arguments, flags = json.loads((tmp_path / "said.json").read_text())
    assert arguments[:-2] == ["run", "-e", "pico", "-t", "upload"]
    assert flags == ""
    assert out.startswith("pico: built and uploaded\n")
    assert err == "pico: the first use downloads PlatformIO's platform raspberrypi\n"
    assert code == 0


@pytest.mark.parametrize(
    ("act", "installed", "sentence"),
    [
        ("exit('no port')", True, "could not build for pico, or not upload to it"),
        ("exit('no network')", False, "could not download the platform raspberrypi"),
        ("time.sleep(99)", True, "has not built for pico and uploaded in 0.5 s"),
        ("time.sleep(99)", False, "could not download the platform raspberrypi"),
    ],
    ids=["upload", "platform", "slow upload", "slow platform"],
)
def test_a_failed_flash_is_a_sentence_and_exit_2(
    flash, monkeypatch, act, installed, sentence
):
    if "sleep" in act:
        monkeypatch.setattr(firmware, "FLASH_SECONDS", 0.5)
    code, out, err = flash("pico", "--json", act=act, installed=installed)
    assert (code, out) == (2, "")
    first, said, *last = err.splitlines()[0 if installed else 1 :]
    assert first.startswith(f"pyvgrad: PlatformIO {sentence}")
    assert said == "looking for a board"
    assert last == [] if "sleep" in act else last[0].startswith("no ")


def test_a_core_is_built_and_not_uploaded():
    files, uploaded = firmware.flash("m0", None, None, print)
    assert (files, uploaded) == ([firmware.build("qemu_m0")], False)
    for board, reason in (("native", "no board"), ("pioc", r"known: m4, .*, pico")):
        with pytest.raises(DeviceError, match=reason):
            firmware.flash(board, None, None, print)
    with pytest.raises(DeviceError, match="nothing behind /dev/tty7"):
        firmware.flash("m0", None, "/dev/tty7", print)
