"""Claims about tools/: what set-up decides, says and installs; the native build."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load(path, name):
    """Import a file under a name; its folder stays off sys.path."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = load(ROOT / "tools/setup.py", "setup")
check = load(ROOT / "tools/check.py", "check")
build_native = load(ROOT / "tools/build_native.py", "build_native")

HEADER = """
#include <stdint.h>
/* cdef: what Python sees */
enum { ANSWER_BASE = 40 };
int32_t answer(void);
/* cdef end */
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def library(tmp_path):
    """A firmware library of one function."""
    lib = tmp_path / "lib"
    write(lib / "include/vgrad.h", HEADER)
    write(
        lib / "src/answer.c",
        '#include "vgrad.h"\n#ifndef EXTRA\n#define EXTRA 2\n#endif\n'
        "int32_t answer(void) { return ANSWER_BASE + EXTRA; }\n",
    )
    return lib


def test_variant_has_the_headers_declarations_and_the_defines(library, tmp_path):
    built = build_native.build(
        tmp_path / "out",
        name="variant_a",
        lib_dir=library,
        beside=None,
        defines=[("EXTRA", "5")],
    )
    assert built.parent == tmp_path / "out"
    module = load(built, "variant_a")
    assert module.lib.answer() == 45
    assert module.lib.ANSWER_BASE == 40


def test_two_variants_live_in_one_process(library, tmp_path):
    sound = build_native.build(tmp_path, name="variant_b", lib_dir=library, beside=None)
    source = library / "src/answer.c"
    source.write_text(source.read_text().replace("+ EXTRA", "- EXTRA"))
    broken = build_native.build(
        tmp_path, name="variant_c", lib_dir=library, beside=None
    )
    assert load(sound, "variant_b").lib.answer() == 42
    assert load(broken, "variant_c").lib.answer() == 38


def test_build_leaves_only_the_extension(library, tmp_path):
    out = tmp_path / "out"
    built = build_native.build(
        out, name="package.variant_d", lib_dir=library, beside=None
    )
    assert list(out.iterdir()) == [built]
    assert not list(library.rglob("*.o"))


@pytest.mark.parametrize(
    "header",
    [
        "int f(void);",
        "/* cdef: a */ int f(void);",
        "/* cdef end */ int f(void); /* cdef: a */",
        "/* cdef: a */ /* cdef end */ /* cdef: b */ /* cdef end */",
    ],
)
def test_header_without_its_two_markers_is_refused(header):
    with pytest.raises(ValueError, match="cdef"):
        build_native.declarations(header)


def checkout(place):
    """Copy what a wheel is made from."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, place)
    no_products = shutil.ignore_patterns("_vgrad*", "__pycache__", ".pio", ".build-*")
    for name in ("firmware/lib", "pyvgrad", "tools"):
        shutil.copytree(ROOT / name, place / name, ignore=no_products)
    return place


def variants():
    """The builds of the core that belong to this machine."""
    both = platform.machine().lower() in ("x86_64", "amd64")
    return list(build_native.VARIANTS) if both else ["_vgrad"]


def test_wheel_holds_the_extension_and_every_module(tmp_path):
    source = checkout(tmp_path)
    pip = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps"]
    out = ["--no-build-isolation", "-w", tmp_path / "dist", source]
    subprocess.run([*pip, *out], check=True)
    [wheel] = (tmp_path / "dist").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert "none-any" not in wheel.name
    extension = [n for n in names if n.startswith("pyvgrad/_vgrad")]
    assert len(extension) == len(variants())
    modules = [str(p.relative_to(source)) for p in source.glob("pyvgrad/**/*.py")]
    assert sorted(n for n in names if n.endswith(".py")) == sorted(modules)

    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    code = "from pyvgrad.native_core import library; print(library().lib.VG_OK)"
    where = {**os.environ, "PYTHONPATH": str(tmp_path / "unpacked")}
    python = [sys.executable, "-P", "-c", code]
    assert subprocess.check_output(python, env=where, text=True) == "0\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout of a few files, as tools/setup.py sees it."""
    write(tmp_path / "pyproject.toml", "[project]\n")
    write(tmp_path / "tools/build_native.py", "")
    write(tmp_path / "firmware/lib/vgrad/include/vgrad.h", "int f(void);\n")
    write(tmp_path / "firmware/lib/vgrad/src/f.c", "int f(void) { return 1; }\n")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "STAMP", tmp_path / "stamp.json")
    return tmp_path


def test_untouched_checkout_needs_nothing(project):
    assert setup.decide(setup.wanted(), setup.wanted(), built=True) == ""


@pytest.mark.parametrize(
    ("path", "todo"),
    [
        ("pyproject.toml", "install"),
        ("firmware/lib/vgrad/include/vgrad.h", "build"),
        ("firmware/lib/vgrad/src/f.c", "build"),
        ("firmware/lib/vgrad/src/new.c", "build"),
        ("tools/build_native.py", "build"),
        ("tools/batch.c", "build"),
        ("README.md", ""),
    ],
)
def test_a_changed_file_asks_for_just_what_depends_on_it(project, path, todo):
    before = setup.wanted()
    write(project / path, "something else\n")
    assert setup.decide(before, setup.wanted(), built=True) == todo


def test_renamed_source_is_a_change(project):
    before = setup.wanted()
    source = project / "firmware/lib/vgrad/src/f.c"
    source.rename(source.with_name("g.c"))
    assert setup.decide(before, setup.wanted(), built=True) == "build"


def test_missing_extension_is_built(project):
    assert setup.decide(setup.wanted(), setup.wanted(), built=False) == "build"


def test_moved_checkout_is_installed_again(project):
    elsewhere = {**setup.wanted(), "place": "another folder"}
    assert setup.decide(elsewhere, setup.wanted(), built=True) == "install"


@pytest.mark.parametrize("stamp", ["", "{", "[]", "null"])
def test_damaged_stamp_counts_as_none(project, stamp):
    setup.STAMP.write_text(stamp)
    assert setup.recorded() == {}
    assert setup.decide(setup.recorded(), setup.wanted(), built=True) == "install"


def test_stamp_is_read_back(project):
    setup.STAMP.write_text(json.dumps(setup.wanted()))
    assert setup.recorded() == setup.wanted()


ABSENT = [
    setup.Need("static analysis", "cppcheck", lambda: False),
    setup.Need("emulated boards", "qemu-system-arm", lambda: False),
]


def test_without_rights_one_sentence_says_what_to_install(capfd):
    setup.install_debian(ABSENT, None)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "skipping static analysis, emulated boards;" in err
    assert "apt-get install cppcheck qemu-system-arm" in err


@pytest.fixture
def as_root(tmp_path):
    """A prefix that stands for root: it notes the command and makes `got`."""
    script = write(
        tmp_path / "root.sh", f'echo "$@" >> {tmp_path}/log; touch {tmp_path}/got\n'
    )
    return ["sh", str(script)]


def test_with_rights_the_lists_are_updated_once_and_all_is_asked_for(
    as_root, tmp_path, capfd
):
    got = tmp_path / "got"
    needs = [setup.Need(n.serves, n.packages, got.exists) for n in ABSENT]
    setup.install_debian(needs, as_root)
    update, install = (tmp_path / "log").read_text().splitlines()
    assert update == "apt-get -qq update"
    assert "--no-install-recommends" in install
    assert install.endswith(" cppcheck qemu-system-arm")
    assert "skipping" not in capfd.readouterr().err


def test_an_installation_that_did_not_help_is_said(as_root, capfd):
    setup.install_debian(ABSENT[:1], as_root)
    assert "skipping static analysis;" in capfd.readouterr().err


def test_runtime_package_has_clangs_version(tmp_path, monkeypatch):
    clang = write(tmp_path / "clang", "#!/bin/sh\necho 19.1.7\n")
    clang.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    need = setup.Need("fuzzing", "libclang-rt-{clang}-dev", lambda: False)
    assert setup.packages([need]) == ["libclang-rt-19-dev"]


def test_without_clang_the_version_is_the_one_debian_would_install(
    tmp_path, monkeypatch
):
    apt = write(tmp_path / "apt-cache", "#!/bin/sh\necho '  Depends: clang-16'\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup.clang_major() == "16"


def test_a_file_that_the_compiler_lacks_is_not_found():
    assert setup.compiler_finds("gcc", "crt1.o")
    assert not setup.compiler_finds("gcc", "no-such-file.specs")
    assert not setup.compiler_finds("no-such-gcc", "crt1.o")


def test_environment_puts_the_venv_first_and_once(monkeypatch):
    first = str(setup.PYTHON.parent)
    monkeypatch.setenv("PATH", os.pathsep.join(["/usr/bin", first]))
    assert setup.environment()["PATH"] == os.pathsep.join([first, "/usr/bin"])


def test_platformio_stays_in_the_checkout_unless_told(monkeypatch):
    monkeypatch.delenv("PLATFORMIO_CORE_DIR", raising=False)
    assert setup.environment()["PLATFORMIO_CORE_DIR"] == str(ROOT / ".platformio")
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", "elsewhere")
    assert setup.environment()["PLATFORMIO_CORE_DIR"] == "elsewhere"


def test_platformio_packages_are_laid_once_and_foreign_ones_left(tmp_path):
    foreign = write(
        tmp_path / "packages/tool-cppcheck/package.json", '{"description": "its own"}'
    )
    tool = [sys.executable, ROOT / "tools/pio_offline.py", tmp_path]
    for _ in range(2):
        subprocess.run(tool, check=True)
    assert foreign.read_text() == '{"description": "its own"}'
    scons = tmp_path / "packages/tool-scons"
    assert json.loads((scons / ".piopm").read_text())["name"] == "tool-scons"
    run = [sys.executable, scons / "scons.py", "--version"]
    assert "SCons" in subprocess.run(run, capture_output=True, text=True).stdout


def test_a_failing_command_fails_and_keeps_its_words():
    command = ["sh", "-c", "echo words; exit 3"]
    result = check.run(check.Check("a", command, ["file"]))
    assert result == check.Result("a", "failed", "words")


def test_a_check_without_files_fails():
    assert check.run(check.Check("a", ["true"], [])).status == "failed"


def test_a_missing_tool_fails_only_where_it_could_be_installed():
    def judge(tool, can_install):
        return check.judge_missing("a", tool, can_install=can_install).status

    assert judge("cppcheck", True) == "failed"
    assert judge("cppcheck", False) == "skipped"
    assert judge(str(setup.PYTHON.parent / "ruff"), False) == "failed"


def test_compilers_cover_every_core_and_refuse_a_warning(tmp_path):
    source = write(tmp_path / "a.c", "int f(long x) { return x; }\n")
    compilations = [c for c in check.checks() if "-Wconversion" in c.command]
    targets = ["host", *(f"Cortex-{core.upper()}" for core in check.CORES)]
    names = [f"{compiler}, {t}" for compiler in ("gcc", "clang") for t in targets]
    names += ["gcc, host, AVX2"] * (platform.machine() in ("x86_64", "AMD64"))
    assert sorted(c.name for c in compilations) == sorted(names)
    assert all(c.files for c in compilations)
    for compilation in compilations[:2]:
        tried = check.Check(compilation.name, compilation.command, [str(source)])
        assert check.run(tried).status == "failed"


def test_platformio_is_set_alike_by_the_tools_and_the_package():
    from pyvgrad import firmware

    assert firmware.PLATFORMIO_SETTINGS == setup.PLATFORMIO_SETTINGS
