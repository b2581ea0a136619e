"""What the documentation shows is run as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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


def test_the_c_of_the_readme_gives_the_integers_of_the_desk(tmp_path):
    from pyvgrad.executors import Model
    from pyvgrad.header import header

    blob = ROOT / "docs" / "examples" / "reber.vg"
    (tmp_path / "model.h").write_text(header(blob.read_bytes(), "model.vg"))
    [body] = code("README.md", "c")
    lib = ROOT / "firmware" / "lib" / "vgrad"
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\n"
        + body.replace("use(y)", 'printf("%d %d\\n", y[0], y[6])')
        .replace("next_sample(x)", "x[t % 7] = VG_ONE, x[(t + 6) % 7] = 0, t++ < 5")
        .replace("void listen(void)\n{", "static int t;\nint main(void)\n{")
    )
    sources = sorted(map(str, (lib / "src").glob("*.c")))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{lib / 'include'}"]
    subprocess.run(
        ["gcc", *flags, "main.c", *sources, "-o", "main"], cwd=tmp_path, check=True
    )
    printed = subprocess.run(tmp_path / "main", capture_output=True, text=True)
    got = np.array(printed.stdout.split(), int).reshape(-1, 2)
    with Model.open(blob) as model:
        x = np.eye(7)[:5]
        want = model.run(x)[:, [0, 6]] * 2**14
    assert (got == want).all()
    assert len(got) == 5


FLASH = """
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
static int next_sequence(void) { steps = 0; return seqs++ < 50; }
static int next_sample(vg_sig *x, vg_sig *target)
{
    memset(x, 0, 2 * VG_MODEL_N_IN);
    x[steps] = VG_ONE;
    *target = (vg_sig)(steps + 1);
    return steps++ < 5;
}
"""
MAIN = """
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
    from pyvgrad.header import header

    blob = ROOT / "docs" / "examples" / "reber.vg"
    (tmp_path / "model.h").write_text(header(blob.read_bytes(), "model.vg"))
    [body] = code("docs/learning.md", "c")
    lib = ROOT / "firmware" / "lib" / "vgrad"
    body = body.replace("static uint32_t arena", FLASH + "\nstatic uint32_t arena")
    (tmp_path / "main.c").write_text("#include <string.h>\n" + body + MAIN)
    sources = sorted(map(str, (lib / "src").glob("*.c")))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{lib / 'include'}"]
    subprocess.run(
        ["gcc", *flags, "main.c", *sources, "-o", "main"], cwd=tmp_path, check=True
    )
    assert subprocess.run(tmp_path / "main", check=False).returncode == 0
