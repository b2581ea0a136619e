"""Set the checkout up, then run every check and every test.

    python3 tools/test.py [options of pytest]

The exit code is 0 only if all of them pass; pytest's summary comes last.
"""

import subprocess
import sys

import setup

OWN_WAY = ("-n", "--numprocesses", "--pdb", "--trace", "-pno:xdist", "no:xdist")


def run(*arguments: str) -> int:
    """Run .venv's Python in the checkout; return its exit code."""
    command = [str(setup.PYTHON), *arguments]
    return subprocess.call(command, cwd=setup.ROOT, env=setup.environment())


def main(arguments: list[str]) -> int:
    """Run tools/check.py and pytest, the second also if the first fails."""
    setup.ensure()
    checks = run("tools/check.py")
    two_at_a_time = [] if any(a.startswith(OWN_WAY) for a in arguments) else ["-n", "2"]
    tests = run("-m", "pytest", *two_at_a_time, *arguments)
    return int(checks != 0 or tests != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
