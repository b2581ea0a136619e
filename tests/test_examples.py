"""What the documentation shows is run as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_models import random_qmodel

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/guide.md"]


def code(page, language):
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_users_own_test_passes_on_the_host_and_on_an_emulated_core():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(ROOT / "docs" / "examples")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "10 passed" in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_the_pages_runs(page, tmp_path):
    [source] = code(page, "python")
    blob = ROOT / "docs" / "examples" / "reber.vg"
    (tmp_path / "model.vg").write_bytes(blob.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


# ---- C: the pages' text in a file of its own, what it calls in another ----------

LIB = ROOT / "firmware" / "lib" / "vgrad"
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
BLOB = ROOT / "docs" / "examples" / "reber.vg"

DECLARED = """
#include <stdint.h>
int next_sequence(void);
int next_sample(int16_t *x%s);
void use(const int16_t *y);
"""


def exported(folder):
    """Write model.h as the pages say, by the command itself."""
    (folder / "model.vg").write_bytes(BLOB.read_bytes())
    command = [sys.executable, "-m", "pyvgrad", "export", "model.vg"]
    subprocess.run([*command, "--header", "model.h"], cwd=folder, check=True)


def c_program(folder, page, declared, rest):
    """Compile a page's C, not a byte of it changed, with the rest of a program."""
    exported(folder)
    [body] = code(page, "c")
    (folder / "page.c").write_text(body)
    (folder / "declared.h").write_text(declared)
    (folder / "rest.c").write_text(rest)
    own = ["page.c", "rest.c", "-include", "declared.h"]
    sources = sorted(map(str, LIB.glob("src/*.c")))
    include = f"-I{LIB / 'include'}"
    command = ["gcc", *STRICT, include, *own, *sources, "-o", "main"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "main"


LISTEN = """
#include <stdio.h>
#include "vgrad.h"
void listen(void);
int next_sample(vg_sig *x)
{
    static int t;
    x[(t + 6) % 7] = 0;
    x[t % 7] = VG_ONE;
    return t++ < 5;
}
void use(const vg_sig *y)
{
    int k;
    for (k = 0; k < 7; k++)
        printf("%d ", y[k]);
}
int main(void)
{
    listen();
    return 0;
}
"""


def test_the_c_of_the_readme_gives_the_integers_of_the_desk(tmp_path):
    from pyvgrad.executors import Model

    main = c_program(tmp_path, "README.md", DECLARED % "", LISTEN)
    got = np.array(subprocess.check_output([main], text=True).split(), int)
    with Model.open(BLOB) as model:
        want = model.run(np.eye(7)[:5]) * 2**14
    assert (got.reshape(-1, 7) == want).all()
    assert len(got) == 35


TEACH = """
#include <string.h>
#include "vgrad.h"
int teach(const vg_slots *flash);
static uint32_t store[2][4096];
static int erase(void *ctx, int slot)
{
    (void)ctx;
    memset(store[slot], 0xFF, sizeof store[slot]);
    return 0;
}
static int write(void *ctx, int slot, uint32_t at, const void *p, uint32_t n)
{
    (void)ctx;
    memcpy((char *)store[slot] + at, p, n);
    return 0;
}
static int seqs, steps;
int next_sequence(void)
{
    steps = 0;
    return seqs++ < 50;
}
int next_sample(vg_sig *x, vg_sig *target)
{
    memset(x, 0, 7 * sizeof *x);
    x[steps] = VG_ONE;
    *target = (vg_sig)(steps + 1);
    return steps++ < 5;
}
int main(void)
{
    const vg_slots flash = {{(uint8_t *)store[0], (uint8_t *)store[1]},
                            sizeof store[0], 0, erase, write};
    vg_model m;
    uint32_t size;
    int err = teach(&flash);
    const void *blob = vg_slots_newest(&flash, &size);

    if (!err && blob)
        err = vg_model_open(&m, blob, size);
    return !blob ? 100 : -err;
}
"""


def test_the_c_of_the_page_on_learning_teaches_and_saves(tmp_path):
    declared = DECLARED % ", int16_t *target"
    main = c_program(tmp_path, "docs/learning.md", declared, TEACH)
    assert subprocess.run(main, check=False).returncode == 0


@pytest.mark.parametrize("mode", ["stream", "sequence", "last", "final", "wide"])
def test_the_usage_in_an_exported_header_compiles_as_it_stands(tmp_path, mode):
    """``stream``: step by step; else a layer is reversed and sequences are whole.

    ``wide``: of more than a thousand words.
    """
    from pyvgrad.blob import pack
    from pyvgrad.header import header

    blob = BLOB.read_bytes()
    if mode != "stream":
        rng = np.random.default_rng(4)
        fixed = {"n_in": 2, "n_max": 3, "n_layers": 1, "mode": mode}
        if mode == "wide":
            fixed |= {"n_max": 400, "n_layers": 2, "mode": "sequence"}
        blob = pack(random_qmodel(rng, whole=True, **fixed))
    text = header(blob, "model.vg")
    (tmp_path / "model.h").write_text(text)
    lines = re.findall(r"^ \*     (.*)$", text.partition("*/")[0], re.MULTILINE)
    body = "\n".join(lines)
    assert ("vg_run_step(" if mode == "stream" else "vg_run_whole(") in body
    (tmp_path / "main.c").write_text(
        '#include "model.h"\n'
        "static int done = 1;\n"
        f"static void run(void)\n{{\n{body}\ndone = 0;\n}}\n"
        "int main(void)\n{\n    run();\n    return done;\n}\n"
    )
    sources = sorted(map(str, LIB.glob("src/*.c")))
    command = ["gcc", *STRICT, f"-I{LIB / 'include'}", "main.c", *sources]
    subprocess.run([*command, "-o", "main"], cwd=tmp_path, check=True)
    assert subprocess.run(tmp_path / "main", check=False).returncode == 0


def test_an_exported_header_states_the_blob_s_sizes_and_is_cxx_too(tmp_path):
    from pyvgrad.blob import parse
    from pyvgrad.native import HostExecutor

    exported(tmp_path)
    names = ["BLOB_SIZE", "OPENED_SIZE", "ARENA_SIZE", "STATE_SIZE", "N_IN", "N_OUT"]
    names += ["X_EXP", "Y_EXP"]
    values = ", ".join(f"(int)VG_MODEL_{name}" for name in names)
    (tmp_path / "main.cpp").write_text(
        '#include <cstdio>\n#include "model.h"\n'
        f"int main() {{ const int v[] = {{{values}}};\n"
        '    for (int k : v) std::printf("%d ", k);\n'
        '    std::printf("%u", (unsigned)(vg_model_blob[0] & 0xffu)); }\n'
    )
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "main.cpp"]
    command.append(f"-I{LIB / 'include'}")
    subprocess.run([*command, "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.check_output([tmp_path / "main"], text=True)
    blob = BLOB.read_bytes()
    model = parse(blob)
    with HostExecutor(blob) as core:
        arenas = [core.opened.arena_bytes, core.arena_bytes]
        sizes = [len(blob), *arenas, len(core.state)]
    exps = [model.x_exp, model.y_exp]
    assert [int(word) for word in printed.split()] == [*sizes, 7, 7, *exps, blob[0]]
