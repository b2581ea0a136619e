"""Who may import whom: a module knows only lower shelves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyvgrad"

SHELVES = [
    "errors units fixed tasks.task learning tasks.lesson thumb",
    "cell_table lab",
    "cells",
    "params files tasks.reber tasks.long_lag tasks.data tasks.packaged tasks.ts "
    "tasks.musicxml tasks.midi tasks.plain_pickle tasks.recordings nets "
    "qmodel plots plots_lab page progress",
    "store model tasks.order tasks.adding tasks.classified tasks.gait tasks.chorales "
    "tasks.text report_learning flow_bounds",
    "tasks.rolls cluster calibrate scaling",
    "spread flow bounds rounded tasks optim grad signals state dequantize quantize "
    "blob_format onnx_build tensors intloss intgate intcells intslopes",
    "onnx_fixed blob defaults qat omega cliff intback intupdate float_maps "
    "results_page real_page order_page",
    "rcc tables_page native_core link executor intwhole recipes intmethods float_tape "
    "float_traces float_asked onnx_cells natural",
    "rtrl trials train results_cliff temporal_order onnx_exact native intmodel "
    "float_learn differences natural_jobs",
    "qreport refine header onnx_layers native_run native_train intlearn long_run "
    "results_order natural_results",
    "methods solve results_quantization natural_music natural_text",
    "chunker reber_trials onnx_export recall firmware underflow real_models "
    "real_scores",
    "lag_trials onnx_run emulated_qemu emulated_unicorn plain_c theory model_flow",
    "theory_plots theory_page",
    "theory_lab",
    "board underflow_page emulated",
    "accuracy device device_train live monitor icount host_running",
    "executors learn real_data instructions host_learning",
    "onnx_import_symbols onnx_import_file host_times",
    "onnx_import_read onnx_import_weights host_page",
    "onnx_import_cells onnx_import_ops",
    "onnx_import_layers onnx_import_nodes",
    "onnx_import_head",
    "onnx_import",
    "onnx_import_run",
    "onnx_import_proof onnx_import_integers",
    "learn_seeds few onnx_suite",
    "verify verify_learn report cli_io results_learning demo_learn "
    "new_class recalibration",
    "demo cli_blob tables",
    "demo_page table_1 table_2",
    "cli_make cli_import cli_flow",
    "cli_learn",
    "cli_board cli_lab cli_bench",
    "cli",
    "__main__",
]
SHELF = {name: k for k, names in enumerate(SHELVES) for name in names.split()}
ONLY_IN = {
    "jax": {
        "cliff",
        "float_asked",
        "float_learn",
        "float_maps",
        "float_tape",
        "float_traces",
        "theory",
        "flow",
        "model_flow",
        "grad",
        "natural",
        "omega",
        "optim",
        "qat",
        "temporal_order",
        "train",
        "rtrl",
        "trials",
        "methods",
        "chunker",
        "rcc",
        "reber_trials",
        "lag_trials",
    },
    "optax": {"optim"},
    "distributed": {"cluster"},
    "dask": {"cluster"},
    "onnx": {
        "onnx_build",
        "onnx_exact",
        "onnx_export",
        "onnx_fixed",
        "onnx_import_nodes",
        "onnx_import_run",
        "onnx_run",
        "onnx_suite",
    },
    "onnxruntime": {"onnx_run"},
    "cffi": {"native"},
    "mido": {"tasks.midi"},
    "matplotlib": {"plots", "plots_lab"},
    "unicorn": {"emulated_unicorn"},
    "typer": {
        "cli",
        "cli_bench",
        "cli_board",
        "cli_io",
        "cli_blob",
        "cli_flow",
        "cli_import",
        "cli_lab",
        "cli_learn",
        "cli_make",
    },
    "rich": {"live", "progress"},
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name != "__init__":
            yield name.removesuffix(".__init__"), path


def imported(tree, name, is_package):
    """Every module that the source names, in whatever form: import, from, a string."""
    package = ["pyvgrad", *name.split(".")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + is_package]
            above = ".".join(base) if node.level else ""
            module = ".".join(filter(None, [above, node.module]))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("pyvgrad."):
            yield node.value  # for importlib.import_module


def wrong_imports(source, name, is_package=False):
    """What a module imports from its own shelf or above, or may not import at all."""
    wrong = set()
    for target in imported(ast.parse(source), name, is_package):
        top, _, rest = target.partition(".")
        if top == "pyvgrad" and rest in SHELF and SHELF[rest] >= SHELF[name]:
            wrong.add(rest)
        if name not in ONLY_IN.get(top, {name}):
            wrong.add(top)
    return wrong


def test_every_module_stands_on_one_shelf():
    names = [name for names in SHELVES for name in names.split()]
    assert sorted(names) == sorted(name for name, _ in modules())


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_a_module_imports_lower_shelves_only(name, path):
    assert not wrong_imports(path.read_text(), name, path.name == "__init__.py")


@pytest.mark.parametrize(
    "source",
    [
        "import pyvgrad.cli",
        "from pyvgrad import cli",
        "from pyvgrad.cli import main",
        "from . import cli",
        "from .cli import main",
        "import importlib\nimportlib.import_module('pyvgrad.cli')",
        "def f():\n    import jax.numpy",
    ],
)
def test_every_form_of_import_is_seen(source):
    assert wrong_imports(source, "blob")


def test_running_a_blob_needs_no_jax():
    code = (
        "import sys; sys.modules['jax'] = None; sys.modules['optax'] = None\n"
        "import pyvgrad.cli_blob, pyvgrad.verify, pyvgrad.onnx_run, pyvgrad.header\n"
        "import pyvgrad.accuracy, pyvgrad.device, pyvgrad.quantize\n"
        "import pyvgrad.cli_learn, pyvgrad.cli_lab, pyvgrad.underflow_page\n"
        "import pyvgrad.cli_import, pyvgrad.onnx_import_proof\n"
        "import pyvgrad.onnx_import_integers\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("jax", "train reber -o M.vg"),
        ("optax", "train reber -o M.vg"),
        ("jax", "demo --on host"),
        ("jax", "lab theory"),
        ("jax", "lab cliff"),
        ("onnx", "train reber -o M.vg"),
        ("typer", "info M.vg"),
    ],
)
def test_a_command_says_which_package_it_lacks(tmp_path, missing, command):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"sys.argv = ['pyvgrad', *{command.split()!r}]\n"
        "from pyvgrad.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert missing in done.stderr
    assert "pip install pyvgrad[" in done.stderr
    assert len(done.stderr.splitlines()) == 1
