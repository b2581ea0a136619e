"""Instructions counted on emulated cores: the counter itself, then the core's step."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from random_models import random_qmodel, random_signals
from trainings import make, tame_model

from pyvgrad import cli, emulated
from pyvgrad.blob import convert, pack
from pyvgrad.cells import CELLS, RTRL97
from pyvgrad.emulated import CORES, Emulator, build
from pyvgrad.errors import DeviceError
from pyvgrad.icount import (
    bench_blob,
    bench_inputs,
    bench_training,
    bench_whole,
    count_steps,
    count_training,
    count_whole,
    step_instructions,
)
from pyvgrad.native import HostExecutor
from pyvgrad.native_train import HostTrainer
from pyvgrad.thumb import tally

# add_up(n, x): 2 before the loop; 3 a turn; 1 after it.  callee: 4, the skipped
# instruction of its IT block included; caller: 5 of its own.
CODE = """\
    .syntax unified
    .thumb
    .text
    .global add_up, caller, forever, wild, sum5
    .type add_up, %function
add_up:
    movs r2, #0
    movs r3, #0
1:  adds r2, r2, r1
    subs r0, r0, #1
    bne 1b
    mov r0, r2
    bx lr
    .type callee, %function
callee:
    cmp r0, #0
    it eq
    addeq r0, r0, #1
    bx lr
    .size callee, . - callee
    .type caller, %function
caller:
    push {r4, lr}
    movw r0, #4096
    bl callee
    sdiv r0, r0, r0
    pop {r4, pc}
    .size caller, . - caller
    .type forever, %function
forever:
    b forever
    .type wild, %function
wild:
    ldr r0, =0xF0000000
    ldr r0, [r0]
    bx lr
    .type sum5, %function
sum5:
    ldr r0, [sp]
    bx lr
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    source = tmp_path_factory.mktemp("counted") / "code.s"
    source.write_text(CODE)
    return Emulator(build("m4", [source]), "m4")


@pytest.mark.parametrize("turns", [1, 2, 7, 1000])
def test_a_loop_counted_by_hand(counted, turns):
    call = counted.call("add_up", turns, -3)
    assert (call.result, call.instructions) == (-3 * turns, 2 + 3 * turns + 2)
    assert call.stack == 0


def test_long_instructions_and_a_block_of_it_counted_by_hand(counted):
    call = counted.call("caller")
    assert (call.result, call.instructions, call.stack) == (1, 5 + 4, 8)
    assert call.loads == 2
    assert call.functions == {"caller": 5, "callee": 4}
    code = {
        counted.symbols[name] & ~1: n for name, n in (("caller", 16), ("callee", 8))
    }
    assert call.code == code


@pytest.mark.parametrize(("core", "machine"), [("m3", "an385"), ("m4", "an386")])
def test_qemu_counts_what_unicorn_counts(core, machine):
    blob, x = bench_blob("lstm", 9, 10, 8), bench_inputs(9, 3)
    qemu = f"mps2-{machine}"
    unicorn, y = count_steps(blob, x, core)
    assert all(call.instructions > 1000 and call.stack > 0 for call in unicorn)
    calls, same = count_steps(blob, x, core, machine=qemu)
    assert calls == unicorn
    assert np.array_equal(same, y)


@pytest.mark.parametrize("turns", [1, 2, 1000])
def test_a_loop_in_qemu_counted_by_hand(tmp_path, turns):
    source = tmp_path / "code.s"
    source.write_text(CODE)
    call = Emulator(build("m55", [source]), "m55").call("add_up", turns, -3)
    assert (call.result, call.instructions) == (-3 * turns, 2 + 3 * turns + 2)


def test_a_fault_in_qemu_is_a_device_error_that_names_the_function(tmp_path):
    source = tmp_path / "code.s"
    source.write_text(CODE)
    with pytest.raises(DeviceError, match="wild qemu-system-arm has ended"):
        Emulator(build("m55", [source]), "m55").call("wild")


def test_the_fifth_argument_is_on_the_stack(counted):
    assert counted.call("sum5", 1, 2, 3, 4, 5).result == 5


def test_a_fault_is_a_device_error_that_names_the_function(counted):
    with pytest.raises(DeviceError, match="wild stopped at 0x"):
        counted.call("wild")
    assert counted.call("add_up", 1, 1).instructions == 7


def test_a_function_that_does_not_return_is_a_device_error(counted, monkeypatch):
    monkeypatch.setattr("pyvgrad.emulated_unicorn._SECONDS", 0.2)
    with pytest.raises(DeviceError, match="forever has not returned"):
        counted.call("forever")


def test_instructions_are_of_two_or_four_bytes():
    short, words = b"\x00\xbf", (b"\x00\xe8", b"\x00\xf0", b"\x00\xf8", b"\xff\xff")
    assert tally(short * 3) == (3, 0)
    for word in words:
        assert tally(short + word + b"\0\0" + short).instructions == 3
    assert tally(b"\x00\xe0" * 2).instructions == 2  # a branch, 16 bits


LOADS = {  # by how many registers they load
    1: """ldr r1, [pc, #8]; ldr r1, [r2, r3]; ldrh r1, [r2, r3]; ldrb r1, [r2, r3];
        ldrsb r1, [r2, r3]; ldrsh r1, [r2, r3]; ldr r1, [r2, #4]; ldrb r1, [r2, #1];
        ldrh r1, [r2, #2]; ldr r1, [sp, #8]; pop {r1}; ldmia r2!, {r1};
        ldr.w r1, [r2, #400]; ldrsh.w r1, [r2, #401]; ldrb.w r9, [r2], #1;
        ldrsb.w r1, [r2, #-3]; ldr.w r9, [r2, r3, lsl #2]; ldr.w pc, [sp], #4;
        ldrex r1, [r2]; tbb [r1, r2]; ldrexb r1, [r2]; ldr.w r1, [pc, #-8]""",
    2: """ldrd r1, r2, [r3, #8]; ldrd r1, r2, [r3], #8; ldrd r1, r2, [r3, #8]!;
        pop {r1, r2}; ldmia r3!, {r1, r2}""",
    6: "pop {r1-r5, pc}; ldmia.w r0, {r1-r6}; ldmdb r0!, {r1-r6}; pop.w {r4-r9}",
    0: """str r1, [r2, r3]; strh r1, [r2, r3]; strb r1, [r2, r3]; str r1, [r2, #4];
        strb r1, [r2, #1]; strh r1, [r2, #2]; str r1, [sp, #8]; push {r1, r2};
        stmia r0!, {r1}; str.w r1, [r2, #400]; strd r1, r2, [r3]; push.w {r4-r9};
        strex r1, r2, [r3]; pld [r1, #8]; adds r1, r1, #7; smlad r1, r2, r3, r4;
        add.w r1, r2, r3, lsl #3; smlal r1, r2, r3, r4; movw r1, #4660; uxtb r1, r2;
        rev r1, r2; sub sp, #8; subs.w r1, r1, #16; lsls r1, r2, #3;
        mrs r1, primask; ubfx r1, r2, #3, #4; strh.w r1, [r2, r3]; bx lr; svc 0;
        udiv r1, r2, r3; b .; bl .; beq.w .; cbz r1, .+6; mul r1, r2, r1; nop""",
}


def assembled(folder, lines):
    source = folder / "code.s"
    source.write_text(f".syntax unified\n.thumb\n.cpu cortex-m4\n{lines}\n")
    subprocess.run(["arm-none-eabi-as", source, "-o", folder / "code.o"], check=True)
    subprocess.run(
        ["arm-none-eabi-objcopy", "-Obinary", "-j.text", folder / "code.o", "code"],
        cwd=folder,
        check=True,
    )
    return (folder / "code").read_bytes()


@pytest.mark.parametrize("registers", LOADS)
def test_registers_loaded_are_those_of_the_instruction(registers, tmp_path):
    for line in map(str.strip, LOADS[registers].split(";")):
        code = assembled(tmp_path, line)
        assert tally(code) == (1, registers), line
    whole = assembled(tmp_path, LOADS[registers].replace("cbz r1, .+6;", ""))
    found = tally(whole)
    assert found.loads == registers * found.instructions


@pytest.mark.parametrize("core", CORES)
def test_what_is_counted_gives_the_bits_of_the_host(core):
    rng = np.random.default_rng(5)
    blob = pack(random_qmodel(rng, n_in=4, n_layers=2, output="softmax", layout="any"))
    x = random_signals(rng, (6, 4))
    calls, y = count_steps(blob, x, core)
    with HostExecutor(blob) as host:
        assert np.array_equal(host.run(x)[0], y)
    assert count_steps(blob, x, core)[0] == calls


@pytest.mark.parametrize("mode", ["sequence", "last", "final"])
def test_a_whole_sequence_that_is_counted_gives_the_host_s_bits(mode):
    rng = np.random.default_rng(6)
    blob = pack(
        random_qmodel(rng, n_in=2, n_max=4, mode=mode, whole=True, layout="any")
    )
    x = random_signals(rng, (5, 2))
    call, y = count_whole(blob, x, "m3")
    with HostExecutor(blob) as host:
        assert np.array_equal(host.run_whole(x), y)
    assert count_whole(blob, x, "m3")[0] == call
    with pytest.raises(ValueError, match="whole sequences"):
        count_steps(blob, x, "m3")


@pytest.mark.parametrize(("core", "method"), [("m0", "tbptt"), ("m4", "rtrl97")])
def test_a_training_that_is_counted_learns_the_host_s_weights(core, method):
    rng = np.random.default_rng(2)
    model = tame_model(3, "lstm", output="softmax")
    blob, learn = pack(model), make(method=method, rate_q24=1 << 22)
    x = random_signals(rng, (3, 4, 3))
    classes = rng.integers(0, 2, (3, 4)).astype(np.int16)
    calls, sealed = count_training(blob, learn, x, classes, core)
    host, changed = HostTrainer(blob, learn), []
    for lesson, aim in zip(x, classes, strict=True):
        changed.append(host.teach(lesson, aim) + host.end())
    assert sealed == host.blob() != blob
    assert [call.result for call in calls] == changed
    assert (calls, sealed) == count_training(blob, learn, x, classes, core)
    assert min(call.instructions for call in calls) > 4 * model.macs


def test_settings_that_do_not_fit_are_a_device_error():
    blob = pack(tame_model(3, "rnn_tanh", output="softmax"))
    x, classes = np.zeros((1, 1, 3), np.int16), np.zeros((1, 1), np.int16)
    with pytest.raises(DeviceError, match="refuses the model"):
        count_training(blob, make(method="rtrl97"), x, classes)


@pytest.mark.parametrize("bits", [16, 8])
def test_more_weights_take_more_instructions(bits):
    counts = [step_instructions(bench_blob("lstm", n, n, bits)) for n in (4, 8, 16)]
    macs = [4 * n * 2 * n for n in (4, 8, 16)]
    assert counts == sorted(counts)
    assert all(0.5 < c / m < 60 for c, m in zip(counts, macs, strict=True))


def test_flags_reach_the_compiler():
    blob = bench_blob("lstm", 8, 8, 16)
    full = step_instructions(blob, "m4")
    assert step_instructions(blob, "m4", ("-DVG_SMALL_TABLES",)) > full
    with pytest.raises(DeviceError, match=r"gcc failed: .*no-such-flag"):
        step_instructions(blob, "m4", ("-fno-such-flag",))


def test_an_unknown_core_is_a_value_error():
    with pytest.raises(ValueError, match="not m5"):
        step_instructions(bench_blob("lstm", 2, 2, 16), "m5")


# ---- the command ---------------------------------------------------------------


@pytest.fixture
def pyvgrad(monkeypatch, capsys, tmp_path):
    """Run a command in tmp_path: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["pyvgrad", *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


def test_bench_prints_the_row_of_a_blob(pyvgrad, tmp_path):
    blob = bench_blob("rnn_tanh", 3, 5, 8)
    (tmp_path / "m.vg").write_bytes(blob)
    code, out, said = pyvgrad("bench", "m.vg", "--on", "m0,m33", "--json")
    assert code == 0, said
    rows = json.loads(out)["rows"]
    assert [row["on"] for row in rows] == ["m0", "m33"]
    for row in rows:
        count = step_instructions(blob, row["on"])
        assert (row["cell"], row["n_in"], row["n"]) == ("rnn_tanh", 3, 5)
        assert (row["weight_bits"], row["macs_per_step"]) == (8, 40)
        assert row["instructions_per_step"] == count
        assert row["per_mac"] == round(count / 40, 3)


def test_bench_counts_training(pyvgrad, tmp_path):
    blob = bench_blob("lstm", 4, 5, 16)
    (tmp_path / "m.vg").write_bytes(blob)
    for method in ("tbptt", "rtrl97"):
        words = ["bench", "m.vg", "--train", "--method", method, "--json"]
        code, out, said = pyvgrad(*words)
        assert code == 0, said
        [row] = json.loads(out)["rows"]
        call = bench_training(blob, "m4", method)
        assert (row["does"], row["stack_bytes"]) == (method, call.stack)
        assert row["code_bytes"] == sum(call.code.values())
        assert len(call.code) == len(call.functions)
        assert row["instructions_per_step"] == round(call.instructions / 16)


@pytest.mark.parametrize("train", [[], ["--train"]])
def test_bench_says_which_functions_the_instructions_are_in(pyvgrad, tmp_path, train):
    (tmp_path / "m.vg").write_bytes(bench_blob("gru", 2, 3, 16))
    words = ["bench", "m.vg", "--on", "m3", "--profile", *train]
    code, out, said = pyvgrad(*words, "--json")
    assert code == 0, said
    [row] = json.loads(out)["rows"]
    counts = list(row["functions"].values())
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == pytest.approx(row["instructions_per_step"], abs=2)
    assert ("vg_tbptt_flow" in row["functions"]) == bool(train)
    _, out, _ = pyvgrad(*words)
    lines = out.splitlines()
    assert lines[2].split() == ["function", "a", "step", "a", "MAC", "share"]
    assert [line.split()[0] for line in lines[3:-1]] == list(row["functions"])


def test_bench_of_a_reversed_layer_is_a_share_of_a_sequence(pyvgrad, tmp_path):
    rng = np.random.default_rng(6)
    blob = pack(random_qmodel(rng, n_in=2, n_max=4, whole=True, layout="any"))
    (tmp_path / "m.vg").write_bytes(blob)
    code, out, said = pyvgrad("bench", "m.vg", "--json")
    assert code == 0, said
    [row] = json.loads(out)["rows"]
    whole = bench_whole(blob, "m4").instructions
    assert row["instructions_per_step"] == round(whole / 16) > 100


def test_bench_without_a_blob_counts_layers_of_three_sizes(pyvgrad):
    code, out, said = pyvgrad("bench", "--cell", "rnn_relu", "--json")
    assert code == 0, said
    rows = json.loads(out)["rows"]
    assert [(r["n_in"], r["n"], r["weight_bits"]) for r in rows] == [
        (n_in, n, bits) for n_in, n in ((8, 8), (32, 32), (28, 64)) for bits in (16, 8)
    ]
    assert {(row["cell"], row["does"]) for row in rows} == {("rnn_relu", "run")}


def test_bench_of_all_cells_leaves_out_what_the_method_does_not_teach(
    pyvgrad, monkeypatch
):
    monkeypatch.setattr("pyvgrad.cli_bench.SIZES", ((1, 2),))
    code, out, said = pyvgrad(
        *["bench", "--cell", "all", "--train", "--method", "rtrl97", "--json"]
    )
    assert code == 0, said
    found = json.loads(out)
    assert {row["cell"] for row in found["rows"]} == set(RTRL97)
    assert found["skipped"] == [cell for cell in CELLS if cell not in RTRL97]
    assert f"rtrl97 does not teach {', '.join(found['skipped'])}" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("bench m.vg --method tbptt", "--train"),
        ("bench m.vg --train --method bptt", "--train"),
        ("bench m.vg --on m5", "--on takes m0, m3, m4, m7, m33, m55 or all, or host"),
        ("bench m.vg --on host,m4", "or host alone, not 'host,m4'"),
        ("bench --cell=", "--cell takes"),
        ("bench words.vg --train", "pyvgrad convert M.vg --layout rows"),
        ("bench --cell lstm,rnn_tanh --train --method rtrl97", "rtrl97 is for one"),
        (
            "bench --cell rnn_relu --train --method rtrl97 --on host",
            "rtrl97 is for one",
        ),
        ("bench m.vg --on host --profile", "give --on a core"),
        ("bench --cell gruu", "--cell takes"),
        ("bench m.vg --cell lstm", "not both"),
        ("bench none.vg", "none.vg"),
    ],
)
def test_bench_refuses_in_one_sentence(pyvgrad, tmp_path, words, says):
    blob = bench_blob("lstm", 2, 2, 16)
    (tmp_path / "m.vg").write_bytes(blob)
    (tmp_path / "words.vg").write_bytes(convert(blob, "words"))
    code, _, said = pyvgrad(*words.split())
    assert (code, len(said.splitlines())) == (2, 1)
    assert says in said


def test_only_images_unused_for_long_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(emulated, "_KEPT", 1)
    ages = {"old": 7200, "older": 9000, "used": 60, "new": 0}
    for name, age in ages.items():
        path = tmp_path / f"{name}.elf"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    emulated._forget_old(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"used", "new"}
