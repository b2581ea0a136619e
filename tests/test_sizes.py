"""Flash and stack of linked programs: what is in them, how deep, and the page."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from tool_modules import load

from pyvgrad.blob import convert
from pyvgrad.emulated import compiler_version
from pyvgrad.firmware import RUNNING
from pyvgrad.icount import bench_blob, bench_row

linked, sizes = load("linked"), load("sizes")

FOLDER = Path(__file__).parents[1] / "docs" / "results"
RECORDED = json.loads((FOLDER / sizes.FIGURES).read_text("utf-8"))
TOLERANCE = 0.02  # of a recorded figure
BUILDS = [
    ("m0", "-Os", "small", "all"),
    ("m4", "-O2", "full", "all"),
    ("m4", "-Os", "small", "lstm"),
    ("m4", "-O2", "full", "least"),
]

needs_arm = pytest.mark.skipif(
    not shutil.which(linked.ARM + "gcc"), reason="arm-none-eabi-gcc is not installed"
)


@pytest.fixture(scope="module", params=BUILDS, ids="".join)
def build(request, tmp_path_factory):
    """What BUILDS says, and the programs linked of that build."""
    core, optimization, tables, built = request.param
    place = tmp_path_factory.mktemp(core)
    flags = sizes.flags_of(optimization, tables, built)
    library = linked.compile_library(place, core, flags)
    return request.param, {
        name: linked.Program(library, place / f"{name}.elf", calls)
        for name, calls in sizes.PROGRAMS.items()
    }


def defined(objects):
    """Names that objects define, local ones too."""
    lines = linked.output(linked.ARM + "nm", "-P", "--defined-only", *objects)
    words = (line.split() for line in lines.splitlines())
    return {w[0] for w in words if len(w) > 1 and not w[0].startswith("$")}


def only_for_learning(library):
    """{source: names that it defines and no source of running does}."""
    runs = [p for p in library.objects if p.stem in RUNNING | {"whole"}]
    return {
        p.stem: defined([p]) - defined(runs) for p in library.objects if p not in runs
    }


@needs_arm
def test_a_program_that_only_runs_links_nothing_of_learning(build):
    _, programs = build
    learning = only_for_learning(programs["run"].library)
    assert {"tbptt", "rtrl97", "update", "gradient", "train"} <= set(learning)
    assert all(learning.values()) or build[0][-1] != "all"
    names = set().union(*learning.values())
    assert names & programs["run"].names == set()


@needs_arm
def test_a_program_whose_model_is_opened_links_nothing_that_opens(build):
    names = build[1]["opened"].names
    objects = build[1]["opened"].library.objects
    opening = [p for p in objects if p.stem in ("walk", "text")]
    assert "vg_run_init_opened" in names
    assert not defined(opening) & names
    assert not {"vg_model_open", "vg_crc32", "vg_run_size", "memcmp"} & names


@needs_arm
def test_a_program_that_learns_links_the_methods_of_its_build_and_the_update(build):
    key, programs = build
    learning = only_for_learning(programs["learn"].library)
    for source in ("tbptt", "update", "gradient", "train"):
        assert learning[source] & programs["learn"].names, source
    names = programs["learn"].names
    assert "vg_tbptt_step" in names
    assert ("vg_rtrl97_step" in names) == (key[-1] == "all")


@needs_arm
def test_nothing_writable_is_linked(build):
    for program in build[1].values():
        found = linked.sections(program.elf)
        assert {k: n for k, n in found.items() if n and k in (".data", ".bss")} == {}


@needs_arm
@pytest.mark.parametrize("build", BUILDS[1:2], ids="".join, indirect=True)
@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm97"])
def test_no_step_of_the_emulated_core_goes_deeper_than_the_call_graph(build, cell):
    (core, *_), programs = build  # of -O2 and full tables, as the emulated core
    blob = bench_blob(cell, 4, 8, 8)
    for name, method, layout in (
        *(("run", None, "rows"), ("run", None, "words")),
        ("learn", "tbptt", "rows"),
    ):
        bound = max(map(programs[name].depth, sizes.STEPS[name]))
        found = bench_row(convert(blob, layout), core, method)["stack_bytes"]
        assert bound / 2 <= found <= bound


@needs_arm
@pytest.mark.parametrize("build", BUILDS[1:2], ids="".join, indirect=True)
def test_a_call_at_a_function_s_end_has_its_stack_to_itself(build):
    program = build[1]["run"]
    assert ("vg_words_map", "each_map") in program.tails
    frame, each = (program.frame(f) for f in ("vg_words_map", "each_map"))
    assert program.depth("each_map") > each
    assert program.depth("vg_words_map") < frame + program.depth("each_map")


@needs_arm
def test_a_call_through_a_pointer_that_nobody_names_is_refused(build, monkeypatch):
    program = build[1]["run"]
    others = {k: v for k, v in linked.POINTERS.items() if k != "vg_layer_step"}
    monkeypatch.setattr(linked, "POINTERS", others)
    again = linked.Program(program.library, program.elf, sizes.RUNS)
    with pytest.raises(ValueError, match="vg_layer_step calls what POINTERS"):
        again.depth("vg_run_step")
    monkeypatch.setattr(linked, "POINTERS", {**others, "vg_layer_step": "none"})
    with pytest.raises(ValueError, match="vg_layer_step calls nothing that"):
        linked.Program(program.library, program.elf, sizes.RUNS)


@needs_arm
def test_flash_and_stack_are_within_2_percent_of_the_recorded_figures(build):
    key, programs = build
    if compiler_version() != RECORDED["compiler"]:
        pytest.skip(f"the sizes are those of gcc {RECORDED['compiler']}")
    recorded = {
        row["program"]: row
        for row in RECORDED["programs"]
        if (row["on"], row["optimization"], row["tables"], row["built"]) == key
    }
    for name, calls in sizes.PROGRAMS.items():
        row, program = recorded[name], programs[name]
        for what, found in (
            ("flash_bytes", program.flash()),
            ("step_stack_bytes", max(map(program.depth, sizes.STEPS[name]))),
            ("stack_bytes", max(map(program.depth, calls))),
        ):
            assert abs(found / row[what] - 1) <= TOLERANCE, (
                f"{what} of {name} is {found:,}, recorded {row[what]:,}; "
                f"if that is meant, record it: {sizes.COMMAND}"
            )


def test_arenas_are_the_recorded_ones():
    assert sizes.arenas() == RECORDED["arenas"], f"record it: {sizes.COMMAND}"


def test_the_page_is_made_of_the_recorded_figures():
    assert (FOLDER / "sizes.md").read_text("utf-8") == sizes.page(RECORDED)
    by = ("on", "optimization", "tables", "built")
    keys = {tuple(r[name] for name in by) for r in RECORDED["programs"]}
    assert len(keys) == len(linked.CORES) * 4 * len(sizes.BUILT)
    assert len(RECORDED["programs"]) == len(sizes.PROGRAMS) * len(keys)


@needs_arm
def test_json_is_one_object_of_the_cores_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(sizes, "OPTIMIZATIONS", {"-Os": ()})
    monkeypatch.setattr(sys, "argv", ["sizes.py", "--on", "m3", "--json"])
    assert sizes.main() == 0
    rows = json.loads(capsys.readouterr().out)["programs"]
    by = ("tables", "built", "program")
    flash = {tuple(r[name] for name in by): r["flash_bytes"] for r in rows}
    assert {row["on"] for row in rows} == {"m3"}
    of_tables = len(sizes.BUILT) * len(sizes.PROGRAMS)
    assert len(flash) == len(rows) == len(sizes.TABLES) * of_tables
    for program in sizes.PROGRAMS:
        for built in sizes.BUILT:
            assert flash["small", built, program] < flash["full", built, program]
        for tables in sizes.TABLES:
            of_builds = [flash[tables, built, program] for built in sizes.BUILT]
            assert of_builds == sorted(of_builds, reverse=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--on", "m5"], "--on takes m0"), (["--on", "m4", "-o", "x"], "every core")],
)
def test_a_bad_choice_is_refused_in_one_sentence(words, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sizes.py", *words])
    with pytest.raises(SystemExit) as end:
        sizes.main()
    assert end.value.code == 2
    assert says in capsys.readouterr().err
