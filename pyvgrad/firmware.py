"""Build the application in firmware/ with PlatformIO, upload and measure it."""

import configparser
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyvgrad.errors import DeviceError
from pyvgrad.header import header

if sys.platform != "win32":
    import fcntl

ROOT = Path(__file__).resolve().parents[1]
FIRMWARE = ROOT / "firmware"
SETUP = "run python3 tools/setup.py in the checkout"
BUILD_SECONDS = 300  # a build needs a few
FLASH_SECONDS = 1800  # the first one downloads some 100 MB
KEPT_FILES = 64  # images and maps
ARM = "arm-none-eabi-"
RUNNING = {
    "blob",
    "cells",
    "layer",
    "lut",
    "run",
    "text",
    "walk",
    "whole",
    "words",
}  # objects of C
PLATFORMIO_SETTINGS = {
    "PLATFORMIO_CORE_DIR": str(ROOT / ".platformio"),
    "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
    "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
    "PLATFORMIO_DISABLE_PROGRESSBAR": "true",
    "PLATFORMIO_NO_ANSI": "true",
}


def environment() -> dict[str, str]:
    """Return the variables that let PlatformIO work without a network."""
    return {**PLATFORMIO_SETTINGS, **os.environ}


def environment_apart(build_dir: Path) -> dict[str, str]:
    """Return the same for a build that others at the same time cannot disturb.

    PlatformIO keeps one link to a platform, by its name, in its core folder; two
    projects that share the folder overwrite each other's.  So beside build_dir
    stands a core folder that shares the tools only.
    """
    settings = environment()
    core = build_dir.with_name(build_dir.name + "-core")
    tools = core / "packages"
    core.mkdir(parents=True, exist_ok=True)
    tools.unlink(missing_ok=True)
    tools.symlink_to(Path(settings["PLATFORMIO_CORE_DIR"], "packages").absolute())
    return settings | {
        "PLATFORMIO_CORE_DIR": str(core),
        "PLATFORMIO_BUILD_DIR": str(build_dir),
    }


def require(tool: str, package: str) -> None:
    """Raise DeviceError if a program is not on PATH; it names Debian's package."""
    if shutil.which(tool) is None:
        raise DeviceError(f"{tool} is not on PATH; install {package} (Debian's name)")


def _require_sources() -> None:
    if not (FIRMWARE / "platformio.ini").is_file():
        raise DeviceError(
            "the firmware's sources are not here: an emulated board needs pyvgrad "
            "installed from its checkout (pip install -e .)"
        )


def _require_tools(env: str) -> None:
    if env == "native":
        require("cc", "gcc")
    else:
        require(ARM + "gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    scons = Path(environment()["PLATFORMIO_CORE_DIR"], "packages", "tool-scons")
    if importlib.util.find_spec("platformio") is None or not scons.is_dir():
        raise DeviceError(f"PlatformIO is not installed or not prepared; {SETUP}")


def _digest(blob: bytes | None) -> str:
    """Hash what an image is made from: names and contents of all sources."""
    total = hashlib.sha256(b"" if blob is None else blob)
    for folder in ("src", "lib", "platform"):
        for path in sorted((FIRMWARE / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                total.update(str(path.relative_to(FIRMWARE)).encode() + b"\0")
                total.update(hashlib.sha256(path.read_bytes()).digest())
    total.update((FIRMWARE / "platformio.ini").read_bytes())
    total.update(os.environ.get("PLATFORMIO_BUILD_FLAGS", "").encode())
    return total.hexdigest()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process builds.  DeviceError after BUILD_SECONDS."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        deadline = time.monotonic() + BUILD_SECONDS
        while sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DeviceError(
                        f"another process has held {lock} for {BUILD_SECONDS} s"
                    ) from None
                time.sleep(0.05)
        yield


def _with_model(
    variables: dict[str, str], env: str, folder: Path, blob: bytes
) -> dict[str, str]:
    """Write a blob as a header beside a build folder, and have it included."""
    file = folder.with_suffix(".h")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(header(blob, env), "utf-8")
    flags = variables.get("PLATFORMIO_BUILD_FLAGS", "")
    # a string for the compiler, within a quoted word for PlatformIO
    define = f"'-DVG_MODEL_HEADER=\"{file}\"'"
    return variables | {"PLATFORMIO_BUILD_FLAGS": f"{flags} {define}".strip()}


def _platformio(
    arguments: list[str], variables: dict[str, str], seconds: float
) -> tuple[int | None, list[str]]:
    """Run PlatformIO on the firmware; return its exit code and its last lines.

    The code is None if it had to be ended because it took too long.
    """
    code: int | None = None
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "platformio", *arguments, "-d", str(FIRMWARE)],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all of it can be ended
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if code is None:  # too slow, or interrupted
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        return code, said.read().decode(errors="replace").strip().splitlines()[-20:]


def _run_platformio(env: str, folder: Path, blob: bytes | None) -> None:
    variables = environment_apart(folder)
    if blob is not None:
        variables = _with_model(variables, env, folder, blob)
    code, last = _platformio(["run", "-e", env], variables, BUILD_SECONDS)
    if code is None:
        raise DeviceError(f"PlatformIO has not built {env} in time")
    if code:
        raise DeviceError("\n".join([f"PlatformIO could not build {env}:", *last]))


def _keep(built: Path, image: Path) -> None:
    """Copy what was built, with its map, and drop all but the newest images."""
    image.parent.mkdir(exist_ok=True)
    for source in (built.with_suffix(".map"), built):
        if source.is_file():
            copy = image.with_suffix(".new")
            shutil.copy(source, copy)
            copy.replace(image.with_suffix(source.suffix))
    images = sorted(image.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in images[:-KEPT_FILES]:
        path.unlink()


def build(env: str, blob: bytes | None = None) -> Path:
    """Return the image of a PlatformIO environment, built if its sources changed.

    A blob is put into the image's flash.  Raises DeviceError when a tool is
    missing, or the build fails or takes too long.
    """
    _require_sources()
    folder = FIRMWARE / ".pio" / "device"
    built = "program" if env == "native" else "firmware.elf"
    digest = _digest(blob)
    name = f"{env}-{digest[:16]}"
    image = (folder / "images" / name).with_suffix(Path(built).suffix)
    if not image.is_file():
        _require_tools(env)
        with _alone(folder / "lock"):
            if not image.is_file():
                work = folder / (env if blob is None else env + "-flash")
                _run_platformio(env, work, blob)
                if _digest(blob) != digest:
                    raise DeviceError("the firmware was edited while being built")
                _keep(work / env / built, image)
    return image


def _has_platform(platform: str, variables: dict[str, str]) -> bool:
    """Tell whether a platform of PlatformIO's registry is installed, any version."""
    core = variables["PLATFORMIO_CORE_DIR"]
    folder = Path(variables.get("PLATFORMIO_PLATFORMS_DIR") or f"{core}/platforms")
    names = (platform, f"{platform}@*")
    return any(any(folder.glob(f"{name}/platform.json")) for name in names)


def _upload(
    board: str,
    platform: str,
    blob: bytes | None,
    port: str | None,
    says: Callable[[str], None],
) -> list[Path]:
    """Build for a real board and upload; return what was built."""
    if importlib.util.find_spec("platformio") is None:
        raise DeviceError(f"PlatformIO is not installed; {SETUP}")
    folder = FIRMWARE / ".pio" / "device" / board
    # with the user's own core folder, where what is downloaded stays
    variables = environment() | {"PLATFORMIO_BUILD_DIR": str(folder)}
    known = _has_platform(platform, variables)
    if not known:
        says(f"{board}: the first use downloads PlatformIO's platform {platform}")
    arguments = ["run", "-e", board, "-t", "upload"]
    if port is not None:
        arguments += ["--upload-port", port]
    with _alone(folder.with_suffix(".lock")):
        if blob is not None:
            variables = _with_model(variables, board, folder, blob)
        code, last = _platformio(arguments, variables, FLASH_SECONDS)
    if code == 0:
        return sorted((folder / board).glob("firmware.*"))
    if not known and not _has_platform(platform, variables):
        why = f"could not download the platform {platform}, which {board} needs"
    elif code is None:
        why = f"has not built for {board} and uploaded in {FLASH_SECONDS} s"
    else:
        why = f"could not build for {board}, or not upload to it"
    raise DeviceError("\n".join([f"PlatformIO {why}; it said last:", *last]))


def flash(
    board: str, blob: bytes | None, port: str | None, says: Callable[[str], None]
) -> tuple[list[Path], bool]:
    """Build for a core or a board and upload; return the files and if it was.

    An emulated core has nothing to upload to.  ``says`` takes a line for the user
    before a long wait.  Raises DeviceError as build does, and when the board's
    platform cannot be had or the upload fails.
    """
    _require_sources()
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(FIRMWARE / "platformio.ini", "utf-8")
    envs = [name.removeprefix("env:") for name in settings if name.startswith("env:")]
    if f"qemu_{board}" in envs:
        if port is not None:
            raise DeviceError(f"{board} is emulated; there is nothing behind {port}")
        return [build(f"qemu_{board}", blob)], False
    names = [name.removeprefix("qemu_") for name in envs if name != "native"]
    if board in names:
        platform = settings[f"env:{board}"]["platform"].partition("@")[0].strip()
        return _upload(board, platform, blob, port, says), True
    raise DeviceError(
        f"no board {board!r} in firmware/platformio.ini; known: {', '.join(names)}"
    )


def sizes(image: Path) -> dict[str, int]:
    """Return bytes of an image: flash, ram (data, bss), and the library's part of them.

    library_flash is what running needs of the library, learning_flash what learning
    adds, both as the linker kept them, by its map; library_ram is of both.  Raises
    DeviceError when the image cannot be read.
    """
    require(ARM + "size", "binutils-arm-none-eabi")
    command = [ARM + "size", "-B", "-d", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(f"{image} cannot be measured: {done.stderr.strip()}")
    text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
    placed = image.with_suffix(".map").read_text("utf-8")
    placed = placed.partition("Linker script and memory map")[2]
    found = {"library_flash": 0, "learning_flash": 0, "library_ram": 0}
    section = (
        r"^ \.(text|rodata|data|bss)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+)"
        r" .*libvgrad\.a\((\w+)\."
    )
    for kind, size, name in re.findall(section, placed, re.MULTILINE):
        if kind != "bss":
            part = "library_flash" if name in RUNNING else "learning_flash"
            found[part] += int(size, 16)
        if kind in ("data", "bss"):
            found["library_ram"] += int(size, 16)
    return {"flash": text + data, "ram": data + bss} | found
