"""A mark for tests that need the data of published packages."""

import pytest

from pyvgrad.errors import VgradError
from pyvgrad.tasks.packaged import VERSIONS, package


def has_data():
    try:
        return all(package(name) for name in VERSIONS)
    except VgradError:
        return False


needs_data = pytest.mark.skipif(not has_data(), reason="aeon and music21 are not here")

MEASURED = ("japanese-vowels", "basic-motions", "daphnet", "chorales")


def tasks_of(names):
    """The names as parameters; those of measured data are skipped without the data."""
    return [
        pytest.param(name, marks=needs_data) if name in MEASURED else name
        for name in names
    ]
