"""Rebuild when the header that VG_MODEL_HEADER names has changed.

SCons does not see what is included through a macro, and would keep the old model.
"""

import re
import zlib
from pathlib import Path

Import("env")  # noqa: F821 - SCons' own

for name in re.findall(r'VG_MODEL_HEADER=\W*"([^"\\]+)', str(env.get("BUILD_FLAGS"))):  # noqa: F821
    digest = zlib.crc32(Path(name).read_bytes())
    env.Append(CPPDEFINES=[("VG_MODEL_DIGEST", digest)])  # noqa: F821
