"""``python -m pyvgrad`` is ``pyvgrad``."""

from pyvgrad.cli import main

main()
