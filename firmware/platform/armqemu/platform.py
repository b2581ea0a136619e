"""The armqemu platform: system tools in the place of downloaded packages."""

import shutil
from typing import Any

from platformio.exception import UserSideException
from platformio.platform.base import PlatformBase

DEBIAN = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}


def debug_tool(machine: str) -> dict[str, Any]:
    """Return how `pio debug` starts QEMU, stopped and waiting for gdb."""
    arguments = ["-M", machine]
    arguments += ["-display", "none", "-monitor", "none", "-serial", "none"]
    arguments += ["-semihosting-config", "enable=on,target=native"]
    arguments += ["-gdb", "tcp::1234", "-S", "-kernel", "$PROG_PATH"]
    return {
        "default": True,
        "onboard": True,
        "port": ":1234",
        "init_break": "tbreak main",
        "init_cmds": ["target extended-remote $DEBUG_PORT", "$INIT_BREAK"],
        "server": {"executable": "qemu-system-arm", "arguments": arguments},
    }


class ArmqemuPlatform(PlatformBase):
    """Boards are named as QEMU names its machines."""

    def configure_default_packages(self, options: Any, targets: Any) -> Any:
        """Refuse with a sentence when a tool is missing."""
        for tool, packages in DEBIAN.items():
            if not shutil.which(tool):
                raise UserSideException(
                    f"{tool} is not on PATH (Debian: apt-get install {packages})"
                )
        return super().configure_default_packages(options, targets)

    def get_boards(self, id_: str | None = None) -> Any:
        """Give each board QEMU as its debugger."""
        boards = super().get_boards(id_)
        for board in [boards] if id_ else boards.values():
            tools = {"qemu": debug_tool(board.get("build.mcu"))}
            board.manifest["debug"] = {"tools": tools}
        return boards
