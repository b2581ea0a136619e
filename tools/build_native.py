"""Build pyvgrad._vgrad: the firmware library, seen through cffi.

On x86-64 there is a second one, pyvgrad._vgrad_avx2, and Python takes the one that
its machine can run: so the library chooses its kernels by the compiler's macros alone,
and a wheel runs on any x86-64.

The declarations are the header's own lines between "cdef:" and "cdef end", and so
are those of batch.c, which only the binding has; there is no second copy to keep in
step. Three ways in:

    pip install / pip wheel         NativeHook, called by hatchling
    python tools/build_native.py    rebuild the extension beside the package
    build(out_dir, ...)             another variant, as some tests need
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cffi import FFI

ROOT = Path(__file__).resolve().parents[1]
LIB = ROOT / "firmware" / "lib" / "vgrad"
BATCH = Path(__file__).resolve().with_name("batch.c")
VARIANTS = {"_vgrad": (), "_vgrad_avx2": ("-mavx2", "-mbmi2")}  # batch.c asks for both


def declarations(header: str) -> str:
    """Return the part of vgrad.h, or of batch.c, that cffi reads.

    Raises ValueError when the two markers are not there, each once, in order.
    """
    begin, end = "/* cdef:", "/* cdef end */"
    if header.count(begin) != 1 or header.count(end) != 1:
        raise ValueError(f"vgrad.h must hold '{begin} ... */' and '{end}' once each")
    body, found, _ = header.partition(begin)[2].partition(end)
    if not found:
        raise ValueError(f"'{end}' stands before '{begin}' in vgrad.h")
    return body.partition("*/")[2]


def build(
    out_dir: Path,
    *,
    name: str = "pyvgrad._vgrad",
    lib_dir: Path = LIB,
    beside: Path | None = BATCH,
    defines: Sequence[tuple[str, str | None]] = (),
    extra_compile_args: Sequence[str] = (),
    extra_link_args: Sequence[str] = (),
) -> Path:
    """Compile the library in lib_dir as the module `name`; return its file.

    `beside` is C code that only the binding has, with declarations of its own.
    The file goes straight into out_dir, also when the name has dots. A module
    of that name that another process has loaded stays whole: the new file
    replaces the old one in a single step.
    """
    lib_dir = Path(lib_dir).resolve()
    ffi = FFI()
    ffi.cdef(declarations((lib_dir / "include" / "vgrad.h").read_text("utf-8")))
    more = beside.read_text("utf-8") if beside else ""
    if more:
        ffi.cdef(declarations(more))
    ffi.set_source(
        name,
        '#include "vgrad.h"\n' + more,
        sources=[str(source) for source in sorted(lib_dir.glob("src/*.c"))],
        include_dirs=[str(lib_dir / "include")],
        define_macros=list(defines),
        extra_compile_args=["-std=c99", "-O3", *extra_compile_args],
        extra_link_args=list(extra_link_args),
    )
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(ffi.compile(tmpdir=scratch))
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=".build-") as near:
            os.replace(shutil.copy(built, near), out_dir / built.name)
    return out_dir / built.name


def build_all(out_dir: Path) -> list[Path]:
    """Build the variants that this machine's processors may run; return their files."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return [
        build(out_dir, name=f"pyvgrad.{name}", extra_compile_args=flags)
        for name, flags in VARIANTS.items()
        if x86 or not flags
    ]


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, hatchling is not needed
    pass
else:

    class NativeHook(BuildHookInterface):  # type: ignore[type-arg]
        """Let hatchling put the extension into the wheel, or beside the package."""

        scratch: Path | None = None

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Compile; an editable install finds the extension in the checkout."""
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            if version == "editable":
                build_all(ROOT / "pyvgrad")
                return
            self.scratch = Path(tempfile.mkdtemp())
            for built in build_all(self.scratch):
                build_data["force_include"][str(built)] = f"pyvgrad/{built.name}"

        def finalize(
            self, version: str, build_data: dict[str, Any], artifact_path: str
        ) -> None:
            """Remove what the wheel was made from."""
            if self.scratch is not None:
                shutil.rmtree(self.scratch)


if __name__ == "__main__":
    for path in build_all(ROOT / "pyvgrad"):
        print(path.relative_to(ROOT))
