import binascii
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zlib
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from tiny_model import TinyModel

from pyvgrad import firmware, link
from pyvgrad.device import MACHINES
from pyvgrad.errors import DeviceError

ROOT, FIRMWARE = firmware.ROOT, firmware.FIRMWARE
LIB = FIRMWARE / "lib" / "vgrad"
ENVIRONMENTS = ["native", *(f"qemu_{core}" for core in MACHINES)]
CHECK = [f"--fail-on-defect={level}" for level in ("high", "medium", "low")]
MODEL = TinyModel()


def pio(*arguments, project=FIRMWARE, build_dir, script="-mplatformio"):
    """Run PlatformIO in a build folder of its own; return exit code and output."""
    done = subprocess.run(
        [sys.executable, *script.split(), *map(str, arguments)],
        cwd=project,
        env=firmware.environment_apart(Path(build_dir)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def qemu(core, image):
    machine = ["-M", MACHINES[core], "-kernel", str(image)]
    silent = ["-display", "none", "-monitor", "none", "-serial", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    return ["qemu-system-arm", *machine, *silent, *semihosting]


def frame(text, *, right=True) -> bytes:
    body = text if isinstance(text, bytes) else text.encode()
    crc = binascii.crc_hqx(body, 0xFFFF) ^ (0 if right else 1)
    return b"%b*%04x\n" % (body, crc)


# ---- PlatformIO ----------------------------------------------------------


def test_all_environments_build(tmp_path):
    code, said = pio("run", build_dir=tmp_path)
    assert code == 0, said[-3000:]
    for env in ENVIRONMENTS:
        assert re.search(rf"^{env} +SUCCESS", said, re.MULTILINE), env
    assert "warning" not in said
    images = list(tmp_path.rglob("firmware.elf"))
    symbols = subprocess.check_output(["arm-none-eabi-nm", *images], text=True)
    for unwanted in ("malloc", "printf", "__aeabi_fadd", "__aeabi_dadd"):
        assert unwanted not in symbols


def test_all_suites_pass_on_all_environments(tmp_path):
    code, said = pio("test", build_dir=tmp_path)
    assert code == 0, said[-3000:]
    suites = [path.name for path in FIRMWARE.glob("test/test_*/")]
    assert len(suites) >= 3
    for env in ENVIRONMENTS:
        for suite in suites:
            assert re.search(rf"^{env} +{suite} +PASSED", said, re.MULTILINE), suite


def test_static_analysis_finds_nothing(tmp_path):
    code, said = pio("check", *CHECK, build_dir=tmp_path)
    assert code == 0, said[-3000:]
    assert said.count("PASSED") >= len(ENVIRONMENTS)


@pytest.fixture
def copy(tmp_path):
    """A copy of the firmware's project that a test may damage."""
    ignore = shutil.ignore_patterns(".pio", "test_core", "test_protocol", "test_tables")
    return shutil.copytree(FIRMWARE, tmp_path / "firmware", ignore=ignore)


RED = {
    "failed": "TT_EQ(1, 2);",
    "silent": "board_exit(0);",
    "crashed": "__builtin_trap();",
}


@pytest.mark.parametrize("env", ["native", "qemu_m4"])
def test_red_suites_are_seen_as_red(copy, env):
    for name, statement in RED.items():
        (copy / "test" / f"test_{name}").mkdir()
        (copy / "test" / f"test_{name}" / "test_main.c").write_text(
            '#include "board.h"\n#include "tinytest.h"\n'
            f"static void test_red(void)\n{{\n    {statement}\n}}\n"
            "int main(void)\n{\n    tt_begin(board_write);\n    TT_RUN(test_red);\n"
            "    return tt_end();\n}\n"
        )
    code, said = pio("test", "-e", env, project=copy, build_dir=copy / ".pio")
    assert code != 0
    for name in RED:
        assert re.search(rf"^{env} +test_{name} +(FAILED|ERRORED)", said, re.M), said


def test_a_defect_is_found_by_static_analysis(copy):
    with (copy / "src" / "stack.c").open("a") as file:
        file.write("int broken(void);\nint broken(void)\n{ int a[2]; return a[2]; }\n")
    code, said = pio(
        "check", "-e", "qemu_m4", *CHECK, project=copy, build_dir=copy / ".pio"
    )
    assert code != 0
    assert "out of bounds" in said


# ---- what the tests on the target compare with ---------------------------


def test_the_tiny_model_s_header_is_current():
    """Otherwise run: python tests/tiny_model.py."""
    assert tiny_model.HEADER.read_text("utf-8") == tiny_model.header()


def test_the_tables_checksums_are_those_of_the_functions():
    z = np.arange(-32768, 32768, dtype=np.longdouble)
    half = np.longdouble(0.5)
    exact = {
        "SIGMOID_CRC": np.floor(2**14 / (1 + np.exp(-z / 2**11)) + half),
        "TANH_CRC": np.floor(2**14 * np.tanh(z / 2**12) + half),
    }
    source = (FIRMWARE / "test" / "test_tables" / "test_main.c").read_text("utf-8")
    for name, values in exact.items():
        crc = zlib.crc32(values.astype("<i2").tobytes())
        assert f"#define {name} {crc:#010x}u\n" in source


# ---- the program ---------------------------------------------------------


def sanitize(program):
    """Build the native program with address and undefined-behaviour sanitizers."""
    sources = [*LIB.glob("src/*.c"), *FIRMWARE.glob("src/*.c")]
    subprocess.run(
        [
            *("cc", "-std=c99", "-O1", "-g", '-DBOARD_CORE="native"'),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *(f"-I{LIB / 'include'}", "-o", program),
            *(path for path in sources if path.name != "board_qemu.c"),
        ],
        check=True,
    )
    return program


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    return sanitize(tmp_path_factory.mktemp("sanitized") / "program")


def answers(program, data):
    """Return the program's answers as (id, status, rest), each checked."""
    done = subprocess.run([program], input=data, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = []
    for line in done.stdout.splitlines(keepends=True):
        body = line.rpartition(b"*")[0]
        assert line == frame(body)
        number, status, *rest = body.decode().split(" ")
        found.append((int(number), status, rest))
    return found


def session(draw) -> list[str]:
    blob = MODEL.blob()
    lines = [f"load {len(blob)}"]
    for at in range(0, len(blob), 24):
        lines.append(f"blob {at} {blob[at : at + 24].hex()}")
    lines.append("open")
    verbs = ["step", "trace", "save", "reset", "saturated", "hello", "scale", "restore"]
    for verb in draw.choices([*verbs, "whole"], k=40):
        digits = {"step": 12, "trace": 12, "scale": 24}.get(verb, 0)
        if verb == "whole":
            lines += ["sequence 2", f"input 0 {draw.randbytes(8).hex()}"]
            lines.append(f"input 8 {draw.randbytes(4).hex()}")
        lines.append(f"{verb} {draw.randbytes(digits // 2).hex()}".strip())
    return [f"{n} {line}" for n, line in enumerate(lines, 1)]


def damaged(draw, line: bytes) -> bytes:
    """Cut, extend or change a line anywhere."""
    at = draw.randrange(len(line))
    noise = draw.randbytes(draw.choice([1, 1, 2, 30])).replace(b"\n", b"?")
    return draw.choice(
        [line[:at], line[:at] + noise + line[at + len(noise) :], line + noise,
         line[:at] + noise + line[at:], line[:at] + b" " + line[at:]]
    )  # fmt: skip


def test_lines_with_a_wrong_checksum_are_never_obeyed(sanitized):
    draw = random.Random(1)
    right = [frame(text) for text in session(draw)]
    data, wrong = b"", 0
    for _ in range(60):
        for line in right:
            bad = damaged(draw, line[:-1])
            body, _, crc = bad.removesuffix(b"\r").rpartition(b"*")
            if crc.lower() != b"%04x" % binascii.crc_hqx(body, 0xFFFF) and bad.strip():
                data += bad + b"\n"
                wrong += 1
    found = answers(sanitized, b"".join(right) + data)
    assert [status for _, status, _ in found[: len(right)]].count("error") <= 8
    assert found[len(right) :] == [(0, "error", ["damaged"])] * wrong


def test_no_request_brings_the_program_down(sanitized):
    """Damaged requests with right checksums: each has one answer."""
    draw = random.Random(2)
    data, count = b"", 0
    for _ in range(150):
        for text in session(draw):
            line = text.encode()
            if draw.random() < 0.2:
                line = damaged(draw, line)
            data += frame(line)
            count += 1
    found = answers(sanitized, data)
    assert len(found) == count
    reasons = {rest[0] for _, status, rest in found if status == "error"}
    assert reasons >= {"damaged", "form", "verb", "argument", "model", "core"}


def test_overlong_lines_are_refused_and_the_next_is_heard(sanitized):
    data = b"x" * 100000 + b"\n" + frame("1 hello") + b"\n\r\n" + b"1 hello*12"
    (first, second) = answers(sanitized, data)
    assert first == (0, "error", ["long"])
    assert second[:2] == (1, "ok")
    longest = int(dict(w.split("=") for w in second[2] if "=" in w)["line"])
    for size, reason in ((longest, "verb"), (longest + 2, "long")):
        request = "2 " + "v" * (size - len("2 *0000"))
        assert answers(sanitized, frame(request))[0][1:] == ("error", [reason])


@pytest.mark.parametrize("core", ["m0", "m4"])
def test_the_emulated_board_takes_megabytes_and_ends_with_its_input(core):
    y, _ = MODEL.run(MODEL.x)
    requests = [text for text in session(random.Random(3)) if "restore" not in text]
    loading = requests[: requests.index(next(t for t in requests if "open" in t)) + 1]
    words = [row.astype(">i2").tobytes().hex() for row in MODEL.x]
    steps = ["0 reset", *(f"{n} step {w}" for n, w in enumerate(words))] * 2000
    data = b"".join(frame(text) for text in loading + steps)
    assert len(data) > 1 << 20
    image = firmware.build(f"qemu_{core}")
    done = subprocess.run(
        qemu(core, image), input=data, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.splitlines(keepends=True)[len(loading) :]
    expected = [frame("0 ok")]
    for n, row in enumerate(y):
        word = row.astype(">i2").tobytes().hex()
        expected.append(frame(f"{n} ok {word} {word}"))
    assert lines == expected * 2000


def test_a_fault_on_the_target_is_reported(tmp_path):
    source = tmp_path / "fault.c"
    source.write_text("int main(void)\n{\n    __builtin_trap();\n}\n")
    platform = FIRMWARE / "platform" / "armqemu"
    board = json.loads((platform / "boards" / "mps2-an385.json").read_text())["build"]
    subprocess.run(
        [
            *("arm-none-eabi-gcc", "-mthumb", *board["machine_flags"].split()),
            *("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs"),
            *(f"-Wl,--defsym={name}={at}" for name, at in board["memory"].items()),
            *("-T", platform / "ldscripts" / "cortexm.ld", "-o", tmp_path / "elf"),
            *(source, *platform.glob("runtime/*.c")),
        ],
        check=True,
        capture_output=True,
    )
    opened = link.Link(link.ProgramChannel(qemu("m3", tmp_path / "elf")))
    with pytest.raises(DeviceError, match="fault"):
        opened.greet()
    opened.close()


def test_the_checksums_of_the_protocols_page_are_right():
    page = (FIRMWARE / "PROTOCOL.md").read_text("utf-8")
    lines = re.findall(r"^    (.+)\*([0-9a-f]{4})$", page, re.MULTILINE)
    assert len(lines) >= 2
    for body, crc in lines:
        assert frame(body) == f"{body}*{crc}\n".encode()


# ---- the library, packed -------------------------------------------------


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    script = str(ROOT / "tools" / "pio_pack.py")
    code, said = pio(LIB, "-o", folder, build_dir=folder, script=script)
    assert code == 0, said[-2000:]
    (archive,) = folder.iterdir()
    return archive


def test_the_package_holds_exactly_what_is_needed(package):
    with tarfile.open(package) as archive:
        names = {item.name for item in archive if item.isfile()}
    sources = {f"src/{path.name}" for path in LIB.glob("src/*.[ch]")}
    papers = {"LICENSE", "BLOB.md", "library.json", "library.properties"}
    assert names == {"include/vgrad.h", *sources, *papers}


def test_the_sources_compile_with_src_alone_on_the_path_as_in_arduino(tmp_path):
    sources = sorted(LIB.glob("src/*.c"))
    flags = ["-std=c99", "-Wall", "-Werror", f"-I{LIB / 'src'}", "-c"]
    subprocess.run(["gcc", *flags, *sources], cwd=tmp_path, check=True)


def test_the_package_s_manifests_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    manifest = json.loads((LIB / "library.json").read_text())
    properties = (LIB / "library.properties").read_text()
    assert manifest["version"] == project["version"]
    assert manifest["license"] == project["license"]
    assert f"name={manifest['name']}\n" in properties
    assert f"version={manifest['version']}\n" in properties
    assert (LIB / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_a_foreign_project_builds_with_the_package_and_runs(package, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.c").write_text(tiny_model.PROGRAM)
    shutil.copy(tiny_model.HEADER, tmp_path / "src")
    (tmp_path / "platformio.ini").write_text(
        "[env:m4]\nboard = mps2-an386\n"
        f"platform = symlink://{FIRMWARE / 'platform' / 'armqemu'}\n"
        f"lib_deps = file://{package}\n"
    )
    code, said = pio("run", project=tmp_path, build_dir=tmp_path / "build")
    assert code == 0, said[-3000:]
    image = tmp_path / "build" / "m4" / "firmware.elf"
    done = subprocess.run(qemu("m4", image), capture_output=True, timeout=60)
    assert done.returncode == 0
    y, _ = MODEL.run(MODEL.x)
    assert [int(word) for word in done.stdout.split()] == y.ravel().tolist()
