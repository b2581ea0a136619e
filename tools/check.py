"""Run the formatters, linters, type checker and compilers over the project.

    python3 tools/check.py [--fix]

One line a check, with its output where it fails; all run, two at a time. The
exit code is 0 only if none fails. --fix first lets the formatters write.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import setup

FIRMWARE = setup.ROOT / "firmware"
LIB = FIRMWARE / "lib" / "vgrad"
CORES = ("m0", "m3", "m4", "m7", "m33", "m55")
BIN = setup.PYTHON.parent

COMPILE = [
    *("-std=c99", "-O2", "-pedantic", "-Wall", "-Wextra", "-Wconversion"),
    *("-Wshadow", "-Wundef", "-Wdouble-promotion", "-Werror"),
    *(f"-I{LIB / 'include'}", "-c"),
]
CPPCHECK = [
    *("cppcheck", "--quiet", "--error-exitcode=1", "--std=c99", "--inline-suppr"),
    *("--enable=warning,style,performance,portability", f"-I{LIB / 'include'}"),
]
RUFF = [str(BIN / "ruff")]
CLANG_FORMAT = [str(BIN / "clang-format"), "--style=file"]


@dataclass(frozen=True)
class Check:
    """A command that is silent and returns 0 if its files are in order."""

    name: str
    command: list[str]
    files: list[str]


@dataclass(frozen=True)
class Result:
    """What came of a check: "ok", "failed" or "skipped", and why."""

    name: str
    status: str
    text: str = ""


def c_files() -> list[str]:
    """Return the C files and headers, build folders of the firmware left out."""
    found = [
        p
        for pattern in ("*.[ch]", "*.cpp")
        for p in FIRMWARE.rglob(pattern)
        if ".pio" not in p.parts
    ]
    return [str(path) for path in sorted([*found, *setup.ROOT.glob("tools/*.c")])]


def machine_flags() -> dict[str, list[str]]:
    """Return each core's compiler flags, as the emulated boards state them."""
    flags = {}
    for board in sorted(FIRMWARE.glob("platform/*/boards/*.json")):
        build = json.loads(board.read_text("utf-8"))["build"]
        core = build.get("cpu", "").removeprefix("cortex-")
        flags[core] = build.get("machine_flags", "").split()
    return flags


def newlib() -> list[str]:
    """Return clang's flags for the C library of arm gcc, none without it."""
    gcc = which("arm-none-eabi-gcc", path=setup.environment()["PATH"])
    if gcc is None:
        return []
    ask = [gcc, "-print-file-name=libc.a"]
    found = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    return ["-isystem", str(Path(found.strip()).parents[1] / "include")]


def compilations() -> Iterator[Check]:
    """Yield one check per compiler and core."""
    sources = [str(path) for path in sorted(LIB.glob("src/*.c"))]
    for compiler in ("gcc", "clang"):
        yield Check(f"{compiler}, host", [compiler, *COMPILE], sources)
    if platform.machine() in ("x86_64", "AMD64"):
        vectors = ["gcc", "-mavx2", "-mbmi2", *COMPILE]
        yield Check("gcc, host, AVX2", vectors, sources)
    flags = machine_flags()
    clang = ["clang", "--target=arm-none-eabi", *newlib()]
    for core in CORES:
        files = sources if core in flags else []
        more = ["-mthumb", *flags.get(core, []), *COMPILE]
        name = f"Cortex-{core.upper()}"
        yield Check(f"gcc, {name}", ["arm-none-eabi-gcc", *more], files)
        yield Check(f"clang, {name}", [*clang, *more], files)


def checks() -> list[Check]:
    """Return all checks, the longest first."""
    root = str(setup.ROOT)
    package = str(setup.ROOT / "pyvgrad")
    config = f"--config-file={setup.ROOT / 'pyproject.toml'}"
    mypy = [str(setup.PYTHON), "-m", "mypy", "--strict", config]
    layout = [*CLANG_FORMAT, "--dry-run", "-Werror"]
    return [
        Check("mypy --strict", mypy, [package]),
        Check("cppcheck", CPPCHECK, [str(LIB / "src")]),
        Check("ruff check", [*RUFF, "check", "--quiet"], [root]),
        Check("ruff format", [*RUFF, "format", "--check", "--quiet", "--diff"], [root]),
        Check("clang-format", layout, c_files()),
        *compilations(),
    ]


def judge_missing(name: str, tool: str, *, can_install: bool) -> Result:
    """Say what a missing tool means: a failure where it could be installed."""
    if can_install or Path(tool).is_absolute():
        text = f"{Path(tool).name} is not installed; run python3 tools/setup.py"
        return Result(name, "failed", text)
    return Result(name, "skipped", f"{tool} is not installed and cannot be, here")


def run(check: Check) -> Result:
    """Run one check in a folder of its own, where compilers leave their objects."""
    tool = check.command[0]
    env = setup.environment()
    if which(tool, path=env["PATH"]) is None:
        can_install = setup.apt_prefix() is not None
        return judge_missing(check.name, tool, can_install=can_install)
    if not check.files:
        return Result(check.name, "failed", "nothing to check was found")
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [*check.command, *check.files],
            cwd=scratch,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return Result(
        check.name, "failed" if done.returncode else "ok", done.stdout.rstrip()
    )


def fix() -> None:
    """Let the formatters, and ruff where it is sure, write their changes."""
    root = str(setup.ROOT)
    subprocess.run([*RUFF, "check", "--fix-only", "--quiet", root], check=False)
    subprocess.run([*RUFF, "format", "--quiet", root], check=False)
    if c_files():
        subprocess.run([*CLANG_FORMAT, "-i", *c_files()], check=False)


def report(result: Result) -> None:
    """Print one line, and below it what a check that is not ok said."""
    print(f"{result.status:8}{result.name}", flush=True)
    if result.status != "ok" and result.text:
        print("\n".join("    " + line for line in result.text.splitlines()), flush=True)


def main() -> int:
    """Run all checks; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fix", action="store_true", help="format first")
    if parser.parse_args().fix:
        fix()
    failed = False
    with ThreadPoolExecutor(max_workers=2) as pool:
        for result in pool.map(run, checks()):
            report(result)
            failed = failed or result.status == "failed"
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
