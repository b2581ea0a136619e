"""What tests of the command line share."""

import sys

import pytest

from pyvgrad import cli


@pytest.fixture
def pyvgrad(monkeypatch, capsys, tmp_path):
    """Run a command in tmp_path: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["pyvgrad", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run
