"""Build the application in firmware/ with PlatformIO, and measure the image."""

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
from collections.abc import Iterator
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
KEPT_FILES = 64  # images and maps
ARM = "arm-none-eabi-"
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


def _run_platformio(env: str, folder: Path, blob: bytes | None) -> None:
    variables = environment_apart(folder)
    if blob is not None:
        file = folder.with_suffix(".h")
        file.write_text(header(blob, env), "utf-8")
        flags = variables.get("PLATFORMIO_BUILD_FLAGS", "")
        # a string for the compiler, within a quoted word for PlatformIO
        define = f"'-DVG_MODEL_HEADER=\"{file}\"'"
        variables["PLATFORMIO_BUILD_FLAGS"] = f"{flags} {define}".strip()
    command = [sys.executable, "-m", "platformio", "run", "-e", env]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*command, "-d", str(FIRMWARE)],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all of it can be ended
        )
        try:
            code = process.wait(BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise DeviceError(f"PlatformIO has not built {env} in time") from None
        if code:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-20:]
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


def flash(board: str, blob: bytes | None, port: str | None) -> tuple[Path, bool]:
    """Build for a core or a board and upload; return the image and if it was.

    An emulated core has nothing to upload to.  Raises DeviceError as build does,
    and for a board that has no port of firmware/src/board.h: so far, every one.
    """
    _require_sources()
    text = (FIRMWARE / "platformio.ini").read_text("utf-8")
    known = re.findall(r"^\[env:(\w+)\]", text, re.MULTILINE)
    if f"qemu_{board}" in known and port is None:
        return build(f"qemu_{board}", blob), False
    if f"qemu_{board}" in known:
        raise DeviceError(f"{board} is emulated; there is nothing behind {port}")
    if board in known:
        raise DeviceError(f"{board} has no port of firmware/src/board.h yet")
    names = ", ".join(name.removeprefix("qemu_") for name in known)
    raise DeviceError(f"no board {board!r} in firmware/platformio.ini; known: {names}")


def sizes(image: Path) -> dict[str, int]:
    """Return bytes of an image: flash, ram (data, bss), library_flash, library_ram.

    The library's part is what the linker kept of it, from its map.  Raises
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
    part = {"text": 0, "rodata": 0, "data": 0, "bss": 0}
    section = (
        r"^ \.(text|rodata|data|bss)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+) .*libvgrad\.a\("
    )
    for kind, size in re.findall(section, placed, re.MULTILINE):
        part[kind] += int(size, 16)
    return {
        "flash": text + data,
        "ram": data + bss,
        "library_flash": part["text"] + part["rodata"] + part["data"],
        "library_ram": part["data"] + part["bss"],
    }
