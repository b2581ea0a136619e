"""The command line: a thin skin over the library.

Exit codes: 0 yes; 1 the answer is no; 2 bad input, in one sentence.  With ``--json``
standard output is one JSON object; words and progress go to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

try:
    import typer
    from typer.exceptions import TyperException
except ImportError:
    sys.stderr.write("pyvgrad: its commands need typer: pip install pyvgrad[cli]\n")
    sys.exit(2)

from pyvgrad import (
    cli_bench,
    cli_blob,
    cli_board,
    cli_flow,
    cli_import,
    cli_lab,
    cli_learn,
    cli_make,
)
from pyvgrad.cli_io import say
from pyvgrad.errors import VgradError

app = typer.Typer(
    name="pyvgrad",
    help="Recurrent networks in integers, the same bits on the desk and on the chip.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _add(command: object, example: str, **settings: object) -> None:
    app.command(epilog=f"Example: pyvgrad {example}", **settings)(command)  # type: ignore[type-var, arg-type]


_add(cli_make.demo, "demo")
_add(
    cli_make.train,
    "train long-lag --lag 10 -o M.vg",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
_add(
    cli_learn.learn,
    "learn embedded-reber --seeds 10 -o M.vg",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
_add(
    cli_import.import_,
    "import F.onnx -o M.vg --weights 8 --calibrate X.npz",
    name="import",
)
_add(cli_blob.export, "export M.vg --onnx M.exact.onnx --header M.h")
_add(cli_blob.convert, "convert M.vg --layout words -o M.words.vg")
_add(cli_blob.info, "info demo/embedded-reber.vg")
_add(cli_blob.run, "run M.vg X.npz -o Y.npz --on m4")
_add(cli_blob.verify, "verify M.vg --x X.npz --on numpy,host,onnx,m4")
_add(cli_bench.bench, "bench M.vg --on m0,m4")
_add(cli_flow.flow, "flow M.vg --x X.npz -o F.png")
_add(cli_lab.lab, "lab underflow -o lab")
_add(cli_make.flash, "flash nucleo_f446re M.vg --port /dev/ttyACM0")
_add(
    cli_board.monitor,
    "monitor /dev/ttyACM0 embedded-reber --log reber.jsonl",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)


def main() -> NoReturn:
    """Run a command; bad input is one sentence on standard error and exit code 2.

    130 after Ctrl-C.  A traceback is a bug of ours.
    """
    if sys.stderr is None:  # closed (2>&-): words must not go to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        _refuse(_sentence(error))
    except typer.Abort:
        sys.exit(130)
    except (VgradError, ValueError, OSError) as error:
        _refuse(str(error))
    except MemoryError as error:
        _refuse(f"the memory does not suffice: {error}")
    sys.exit(code if isinstance(code, int) else 0)


def _sentence(error: TyperException) -> str:
    """What is wrong with the command's words; the message of some is a method's."""
    message = getattr(error, "format_message", lambda: str(error))()
    return " ".join(str(message).split())


def _refuse(sentence: str) -> NoReturn:
    say(f"pyvgrad: {sentence}")
    sys.exit(2)


if __name__ == "__main__":
    main()
