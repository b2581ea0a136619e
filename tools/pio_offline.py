"""Lay out the two tool packages that PlatformIO takes from its registry.

    .venv/bin/python tools/pio_offline.py CORE_DIR

tool-scons runs the SCons that pip put beside PlatformIO, and tool-cppcheck the
cppcheck on PATH, so that `pio run`, `pio test` and `pio check` need no network.
A package that PlatformIO downloaded itself is left alone.
"""

import json
import shutil
import sys
from pathlib import Path

import SCons
from platformio.dependencies import get_core_dependencies

MARK = "laid out by tools/pio_offline.py"
SCONS = "import sys\n\nfrom SCons.Script import main\n\nsys.exit(main())\n"
CPPCHECK = '#!/bin/sh\nexec "{path}" "$@"\n'


def wanted_version(tool: str) -> str:
    """Return the version of a tool package that this PlatformIO asks for."""
    return get_core_dependencies()[tool].lstrip("~^=")


def is_foreign(package: Path) -> bool:
    """Say whether a package is there that this script did not make."""
    manifest = package / "package.json"
    if not manifest.is_file():
        return False
    return json.loads(manifest.read_text("utf-8")).get("description") != MARK


def lay(core_dir: Path, tool: str, script: str, text: str) -> None:
    """Write one tool package: two manifests, a keep mark, and its one script."""
    package = core_dir / "packages" / tool
    if is_foreign(package):
        return
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    manifest = {"name": tool, "version": wanted_version(tool)}
    nothing = {"id": None, "requirements": None, "uri": None}
    spec = {"owner": "platformio", "name": tool, **nothing}
    files = {
        script: text,
        "package.json": json.dumps({**manifest, "description": MARK}),
        ".piopm": json.dumps({"type": "tool", **manifest, "spec": spec}),
        ".piokeep": "",  # `pio system prune` then keeps it
    }
    for name, content in files.items():
        (package / name).write_text(content, "utf-8")
    (package / script).chmod(0o755)


def check_scons() -> None:
    """Leave unless pip's SCons is the one that this PlatformIO was made for.

    PlatformIO writes 4.11.1 as 4.41101.0: the middle part holds all three.
    """
    major, minor, patch = (SCons.__version__ + ".0.0").split(".")[:3]
    have = f"{major}{int(minor):02}{int(patch):02}"
    want = wanted_version("tool-scons").split(".")[1]
    if have != want:
        sys.exit(f"PlatformIO asks for SCons {want}, but pip installed {have}.")


def main() -> None:
    """Lay out both packages in the core folder given."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} CORE_DIR")
    core_dir = Path(sys.argv[1]).expanduser().resolve()
    check_scons()
    lay(core_dir, "tool-scons", "scons.py", SCONS)
    cppcheck = shutil.which("cppcheck")
    if cppcheck:
        lay(core_dir, "tool-cppcheck", "cppcheck", CPPCHECK.format(path=cppcheck))


if __name__ == "__main__":
    main()
