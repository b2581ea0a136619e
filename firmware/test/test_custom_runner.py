"""Read lib/tinytest's output with PlatformIO's own reader of Unity.

The stock runner installs Unity from PlatformIO's registry before every build;
this one needs nothing from outside, and trusts no program that ends early.
"""

from typing import Any

import click
from platformio.test.exception import UnitTestError
from platformio.test.runners.unity import UnityTestRunner


class CustomTestRunner(UnityTestRunner):
    """Unity's runner without Unity."""

    EXTRA_LIB_DEPS = None
    summary_seen = False

    def configure_build_env(self, env: Any) -> Any:
        """Leave the environment as it is: no Unity to be configured."""
        return env

    def on_testing_line_output(self, line: str) -> None:
        """Look out for the summary."""
        if all(word in line for word in ("Tests", "Failures", "Ignored")):
            self.summary_seen = True
        super().on_testing_line_output(line)

    def stage_testing(self) -> None:
        """Fail unless the program wrote a summary."""
        try:
            super().stage_testing()
        except UnitTestError as error:
            # PlatformIO takes exit code 1, "some tests failed", for SIGHUP
            if not (self.summary_seen and "SIGHUP" in str(error)):
                raise
            click.echo("The program ended with exit code 1")
        if not self.options.without_testing and not self.summary_seen:
            raise UnitTestError("The program ended without a summary")
