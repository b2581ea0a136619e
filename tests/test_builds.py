"""The C core in other people's builds: CMake, ESP-IDF, Zephyr and their manifests."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import kconfiglib
import numpy as np
import pytest
import tiny_model
import yaml

ROOT = Path(__file__).parents[1]
LIB = ROOT / "firmware" / "lib" / "vgrad"
CMAKE = Path(sysconfig.get_path("scripts"), "cmake")
MODEL = tiny_model.TinyModel()

PROJECT = "cmake_minimum_required(VERSION 3.16)\nproject(app C)\n"
APP = """
add_executable(app main.c)
target_link_libraries(app PRIVATE {target})
"""


def cmake(*arguments, cwd, code=0):
    """Run cmake; return what it said."""
    done = subprocess.run(
        [CMAKE, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout[-3000:]
    return done.stdout


def write(folder, text):
    """A consumer's project in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "CMakeLists.txt").write_text(text)
    (folder / "main.c").write_text(tiny_model.PROGRAM)
    (folder / "tiny_model.h").write_text(tiny_model.HEADER.read_text())
    return folder


def build(folder, *options):
    """Configure and build a project; return its build folder and all that was said."""
    made = folder / "build"
    said = cmake("-S", folder, "-B", made, *options, "-Werror=dev", cwd=folder)
    return made, said + cmake("--build", made, "--verbose", cwd=folder)


def check_bits(program):
    printed = subprocess.check_output([program], text=True)
    y, _ = MODEL.run(MODEL.x)
    assert np.array_equal(np.array(printed.split(), int), y.ravel())


# ---- CMake -----------------------------------------------------------------------


@pytest.mark.parametrize("small", ["OFF", "ON"])
def test_add_subdirectory_builds_it_and_gives_the_bits(tmp_path, small):
    text = f'{PROJECT}add_subdirectory("{LIB}" vgrad)\n'
    app = write(tmp_path, text + APP.format(target="vgrad::vgrad"))
    made, said = build(app, f"-DVG_SMALL_TABLES={small}")
    check_bits(made / "app")
    [library], [program] = (
        [line for line in said.splitlines() if re.search(rf" -c .*{name}", line)]
        for name in (r"lut\.c", r"main\.c")
    )
    assert "-std=c99" in library
    assert ("-DVG_SMALL_TABLES" in library) == (small == "ON")
    assert "-DVG_SMALL_TABLES" not in program


def test_options_of_cmake_reach_the_compiler(tmp_path):
    text = f'{PROJECT}add_subdirectory("{LIB}" vgrad)\n'
    app = write(tmp_path, text + APP.format(target="vgrad::vgrad"))
    made, said = build(app, "-DVG_OPTIONS=VG_CELLS=16;VG_INPUTS=1")
    check_bits(made / "app")
    [library] = [line for line in said.splitlines() if re.search(r" -c .*lut\.c", line)]
    assert "-DVG_CELLS=16 -DVG_INPUTS=1 " in library


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The library, installed into a folder that then moved."""
    place = tmp_path_factory.mktemp("installed")
    cmake("-S", LIB, "-B", place / "build", "-Werror=dev", cwd=place)
    cmake("--build", place / "build", cwd=place)
    cmake("--install", place / "build", "--prefix", place / "first", cwd=place)
    return (place / "first").rename(place / "moved")


def test_an_installed_tree_holds_the_library_its_header_and_its_package(installed):
    files = {p.name for p in installed.rglob("*") if p.is_file()}
    package = {"vgradConfig.cmake", "vgradConfigVersion.cmake"}
    targets = {name for name in files if re.fullmatch(r"vgradConfig-\w+\.cmake", name)}
    assert files - targets == {"libvgrad.a", "vgrad.h", "LICENSE", *package}
    assert len(targets) == 1
    texts = "".join(p.read_text() for p in installed.rglob("*.cmake"))
    assert str(ROOT) not in texts


def test_find_package_finds_it_and_gives_the_bits(installed, tmp_path):
    text = f"{PROJECT}find_package(vgrad 0.1 CONFIG REQUIRED)\n"
    app = write(tmp_path, text + APP.format(target="vgrad::vgrad"))
    made, _ = build(app, f"-DCMAKE_PREFIX_PATH={installed}")
    check_bits(made / "app")


def test_find_package_refuses_another_version(installed, tmp_path):
    app = write(tmp_path, f"{PROJECT}find_package(vgrad 0.2 CONFIG REQUIRED)\n")
    option = f"-DCMAKE_PREFIX_PATH={installed}"
    said = cmake("-S", app, "-B", app / "build", option, cwd=app, code=1)
    assert "0.1.0" in said


def test_a_part_of_another_build_installs_nothing_unless_asked(tmp_path):
    text = f'{PROJECT}add_subdirectory("{LIB}" vgrad)\n'
    app = write(tmp_path, text + APP.format(target="vgrad"))
    for option, expected in (("OFF", set()), ("ON", {"vgrad.h", "libvgrad.a"})):
        asked = ["-DVG_INSTALL=ON"] if option == "ON" else []
        made, _ = build(app, *asked)
        place = tmp_path / f"placed_{option}"
        place.mkdir()
        cmake("--install", made, "--prefix", place, cwd=app)
        files = {p.name for p in place.rglob("*") if p.suffix in (".h", ".a")}
        assert files == expected


def test_it_builds_for_a_bare_core(tmp_path):
    options = [
        "-DCMAKE_SYSTEM_NAME=Generic",
        "-DCMAKE_SYSTEM_PROCESSOR=arm",
        "-DCMAKE_C_COMPILER=arm-none-eabi-gcc",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
        "-DCMAKE_C_FLAGS=-mcpu=cortex-m4 -mthumb",
    ]
    cmake("-S", LIB, "-B", tmp_path / "build", *options, cwd=tmp_path)
    cmake("--build", tmp_path / "build", cwd=tmp_path)
    symbols = subprocess.check_output(
        ["arm-none-eabi-nm", tmp_path / "build" / "libvgrad.a"], text=True
    )
    assert " T vg_run_step" in symbols
    assert "GLOBAL_OFFSET_TABLE" not in symbols


# ---- ESP-IDF and Zephyr: what of them can be run here -----------------------------

ESP_IDF = """
set(ESP_PLATFORM 1)
function(idf_component_register)
  cmake_parse_arguments(it "" "" "SRC_DIRS;INCLUDE_DIRS" ${ARGN})
  if(it_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "not known: ${it_UNPARSED_ARGUMENTS}")
  endif()
  list(TRANSFORM it_SRC_DIRS APPEND "/*.c")
  file(GLOB sources "${CMAKE_CURRENT_LIST_DIR}/${it_SRC_DIRS}")
  add_library(component STATIC ${sources})
  target_include_directories(component PUBLIC ${it_INCLUDE_DIRS})
endfunction()
"""


def test_as_a_component_of_esp_idf_it_gives_the_bits(tmp_path):
    text = f'{PROJECT}{ESP_IDF}add_subdirectory("{LIB}" vgrad)\n'
    made, _ = build(write(tmp_path, text + APP.format(target="component")))
    check_bits(made / "app")


def test_esp_idf_can_read_the_component_as_a_script(tmp_path):
    script = tmp_path / "early.cmake"
    script.write_text(
        "set(ESP_PLATFORM 1)\n"
        "macro(idf_component_register)\n  set(found ${ARGN})\n  return()\nendmacro()\n"
        f'function(read)\n  include("{LIB}/CMakeLists.txt")\nendfunction()\n'
        'read()\nmessage(STATUS "read")\n'
    )
    assert "read" in cmake("-P", script, cwd=tmp_path)


ZEPHYR = """
add_library(zephyr_interface INTERFACE)
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC "")
  target_link_libraries(${name} PUBLIC zephyr_interface)
endmacro()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_definitions_ifdef feature)
  if(${feature})
    target_compile_definitions(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
  endif()
endfunction()
function(zephyr_library_compile_definitions)
  target_compile_definitions(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_include_directories)
  target_include_directories(zephyr_interface INTERFACE ${ARGN})
endfunction()
"""


@pytest.mark.parametrize("small", ["", "y"])
def test_as_a_module_of_zephyr_it_gives_the_bits(tmp_path, small):
    module = yaml.safe_load((LIB / "zephyr" / "module.yml").read_text())
    chosen = {**numbers(), "CELLS": "0x10", "LAYOUTS": "1"}
    folder = LIB / module["build"]["cmake"]
    text = (
        f"{PROJECT}{ZEPHYR}set(CONFIG_VGRAD y)\n"
        f"set(CONFIG_VGRAD_SMALL_TABLES {small})\n"
        + "".join(f"set(CONFIG_VGRAD_{k} {v})\n" for k, v in chosen.items())
        + f'add_subdirectory("{folder}" vgrad)\n'
    )
    made, said = build(write(tmp_path, text + APP.format(target="vgrad")))
    check_bits(made / "app")
    assert ("-DVG_SMALL_TABLES" in said) == bool(small)
    assert all(f"-DVG_{k}={v} " in said for k, v in chosen.items())


def kconfig():
    """Kconfig's symbols where the library is asked for, by name."""
    config = kconfiglib.Kconfig(str(LIB / "zephyr" / "Kconfig"), warn=True)
    assert not config.warnings
    config.syms["VGRAD"].set_value("y")
    return {symbol.name: symbol for symbol in config.unique_defined_syms}


def numbers():
    """The defaults of those that are numbers, without VGRAD_."""
    kinds = (kconfiglib.INT, kconfiglib.HEX)
    found = {k: symbol for k, symbol in kconfig().items() if symbol.type in kinds}
    return {k.removeprefix("VGRAD_"): symbol.str_value for k, symbol in found.items()}


def test_kconfig_has_the_options_of_the_core_and_leaves_all_in():
    text = (LIB / "src" / "options.h").read_text("utf-8")
    assert numbers() == dict(re.findall(r"#define VG_(\w+) (\w+)\n#endif", text))


def test_zephyr_without_the_option_builds_nothing_of_it(tmp_path):
    text = f'{PROJECT}{ZEPHYR}add_subdirectory("{LIB}/zephyr" vgrad)\n'
    text += "if(TARGET vgrad)\n  message(FATAL_ERROR there)\nendif()\n"
    cmake("-S", write(tmp_path, text), "-B", tmp_path / "build", cwd=tmp_path)


# ---- manifests -----------------------------------------------------------------


def test_every_manifest_states_the_package_s_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    component = yaml.safe_load((LIB / "idf_component.yml").read_text())
    listed = (LIB / "CMakeLists.txt").read_text()
    major, minor, patch = map(int, version.split("."))
    public = (LIB / "include" / "vgrad.h").read_text()
    assert component["version"] == version
    assert re.search(r"project\(vgrad VERSION (\S+) ", listed)[1] == version
    assert f"VG_VERSION = 0x{major:02d}{minor:02d}{patch:02d}," in public


def test_the_component_s_manifest_says_what_espressif_s_asks_for():
    component = yaml.safe_load((LIB / "idf_component.yml").read_text())
    assert set(component) <= {
        *("version", "description", "license", "tags", "dependencies", "files"),
        *("maintainers", "url", "targets"),
    }
    assert component["license"] == "MIT"
    assert set(component["dependencies"]) == {"idf"}


def test_the_module_s_files_are_where_it_says():
    module = yaml.safe_load((LIB / "zephyr" / "module.yml").read_text())
    assert module["name"] == "vgrad"
    assert (LIB / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (LIB / module["build"]["kconfig"]).is_file()


def test_kconfig_has_the_options_that_its_cmake_reads():
    symbols = kconfig()
    read = (LIB / "zephyr" / "CMakeLists.txt").read_text()
    asked = set(re.findall(r"CONFIG_(\w+)", read))
    assert asked == symbols.keys()
    small, on = symbols["VGRAD_SMALL_TABLES"], symbols["VGRAD"]
    small.set_value("y")
    assert small.str_value == "y"
    on.set_value("n")
    assert small.str_value == "n"
