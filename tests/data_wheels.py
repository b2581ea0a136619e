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
