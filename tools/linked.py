"""The C core for a Cortex-M as the linker leaves it: its bytes and its worst stack.

Objects are compiled with -fstack-usage; what calls what is read from the linked
program, helpers of libgcc and libc included.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parents[1] / "firmware"
LIB = FIRMWARE / "lib" / "vgrad"
SOURCES = sorted(LIB.glob("src/*.c"))
INCLUDE = [f"-I{LIB / 'include'}", f"-I{LIB / 'src'}"]
API = re.findall(
    r"^[^ #/*\n].*\b(vg_\w+)\(", (LIB / "include/vgrad.h").read_text("utf-8"), re.M
)
CORES = ("m0", "m3", "m4", "m7", "m33", "m55")
ARM = "arm-none-eabi-"

# Calls through pointers: names of the functions that make them, and of their callees.
POINTERS = {
    "vg_layer_step": r"\w+_(unit|between)",
    "lstm_by_fields": r"lstm_h_\w+",
    "vg_slots_save": "",  # the caller's own
}


def output(*command: object, **kwargs: object) -> str:
    """What a command prints; RuntimeError with what it says if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


@cache
def machine_flags() -> dict[str, list[str]]:
    """Flags of each core, as the emulated boards state them."""
    boards = (
        json.loads(path.read_text("utf-8"))["build"]
        for path in FIRMWARE.glob("platform/armqemu/boards/*.json")
    )
    return {
        b["cpu"].removeprefix("cortex-"): b["machine_flags"].split() for b in boards
    }


@dataclass
class Library:
    """The core's objects for a Cortex-M, and the frames of their functions."""

    core: str
    objects: list[Path]
    frames: dict[str, int]  # bytes of stack, by function

    def symbols(self, *options: str) -> list[tuple[str, str]]:
        """(type, name) of the objects' symbols."""
        lines = output(ARM + "nm", "-P", *options, *self.objects).splitlines()
        return [(w[1], w[0]) for w in map(str.split, lines) if len(w) > 1]

    def sections(self) -> dict[str, int]:
        """Bytes of the objects' sections, by the first part of their names."""
        return sections(*self.objects)


def compile_library(place: Path, core: str, flags: Sequence[str] = ()) -> Library:
    """Compile the core's sources into a folder; ValueError for a stack of no bound."""
    machine = ["-mthumb", *machine_flags()[core], "-std=c99", *flags]
    split = ["-ffunction-sections", "-fdata-sections", "-fstack-usage"]
    objects = [place / f"{path.stem}.o" for path in SOURCES]
    frames: dict[str, int] = {}
    for path, made in zip(SOURCES, objects, strict=True):
        output(ARM + "gcc", *machine, *split, *INCLUDE, "-c", path, "-o", made)
        for line in made.with_suffix(".su").read_text("utf-8").splitlines():
            where, size, kind = line.split("\t")
            if kind != "static":  # alloca, a variable array
                raise ValueError(f"a frame of no fixed size: {line}")
            name = where.split(":")[-1]
            frames[name] = max(int(size), frames.get(name, 0))
    return Library(core, objects, frames)


def sections(*files: Path) -> dict[str, int]:
    """Bytes of sections of objects or programs, by the first part of their names."""
    found: dict[str, int] = {}
    for line in output(ARM + "size", "-A", *files).splitlines():
        if line.startswith("."):
            name, size = line.split()[:2]
            kind = "." + name.split(".")[1]
            found[kind] = found.get(kind, 0) + int(size)
    return found


class Program:
    """A library linked with --gc-sections: what some calls of vgrad.h need."""

    def __init__(self, library: Library, elf: Path, calls: Sequence[str] = API) -> None:
        self.library, self.elf = library, elf
        roots = [f"-Wl,-u,{name}" for name in calls]
        link = ["-nostartfiles", "-specs=nano.specs", f"-Wl,-e,{calls[0]}", *roots]
        machine = ["-mthumb", *machine_flags()[library.core], "-Wl,--gc-sections"]
        output(ARM + "gcc", *machine, *link, *library.objects, "-o", elf)
        self.listing = output(ARM + "objdump", "-d", "--no-show-raw-insn", elf)
        self.tails: set[tuple[str, str]] = set()  # (caller, callee)
        self.graph = self._calls()

    @cached_property
    def names(self) -> set[str]:
        """Names in the linked program."""
        lines = output(ARM + "nm", "-P", self.elf).splitlines()
        return {line.split()[0] for line in lines}

    def flash(self) -> int:
        """Bytes of code and constants."""
        found = sections(self.elf)
        return sum(found.get(kind, 0) for kind in (".text", ".rodata", ".data"))

    def _calls(self) -> dict[str, set[str]]:
        """Callees by function.

        A jump to another function counts as a call, but the compiler's, a call at a
        function's end, has that function's stack to itself: it is in ``tails``.  What
        one through a pointer can call is in POINTERS.
        """
        graph: dict[str, set[str]] = {}
        called: set[tuple[str, str]] = set()
        here = ""
        for line in self.listing.splitlines():
            if match := re.match(r"[0-9a-f]+ <(.+)>:$", line):
                here = match[1]
                graph.setdefault(here, set())
            elif match := re.search(r"\t(b\S*)\t.*<([^+>-]+)>", line):
                way = here, match[2]
                if match[1] in ("bl", "blx"):
                    called.add(way)
                elif self.library.frames.get(here):  # not of a naked function
                    self.tails.add(way)
                if match[1] in ("bl", "blx") or match[2] != here:
                    graph[here].add(match[2])
            elif re.search(r"\tblx?\tr\d|\tbx\t(r\d|ip)", line):
                graph[here].add(f"pointer of {here}")
        self.tails -= called
        for here, callees in POINTERS.items():
            found = {f for f in graph if re.fullmatch(callees, f)}
            if callees and not found and f"pointer of {here}" in graph.get(here, ()):
                raise ValueError(f"{here} calls nothing that POINTERS names")
            graph[f"pointer of {here}"] = found
        return graph

    def frame(self, function: str) -> int:
        """Bytes of stack that a function takes for itself."""
        frames = self.library.frames
        if frames.get(function) or function.startswith("pointer of "):
            return frames.get(function, 0)  # of a naked function 0 is said
        body = re.search(
            rf"<{re.escape(function)}>:\n(.*?)(\n\n|$)", self.listing, re.S
        )
        if body is None:
            raise ValueError(f"{function} is called and not in the program")
        total = 0
        for registers in re.findall(r"\t(?:push|stmdb\tsp!,)\S*\s*\{(.*)\}", body[1]):
            for part in registers.split(","):
                first, _, last = part.strip().partition("-")
                total += 4 * (int(last[1:]) - int(first[1:]) + 1 if last else 1)
        return total + sum(map(int, re.findall(r"\tsub\S*\tsp, #(\d+)", body[1])))

    def depth(self, function: str, path: tuple[str, ...] = ()) -> int:
        """The most stack below a call of a function.

        ValueError for recursion, and for a call through a pointer that POINTERS does
        not know.
        """
        if function in path:
            raise ValueError(f"recursion: {path}, {function}")
        if function not in self.graph:
            raise ValueError(f"{function} calls what POINTERS does not name")
        frame = self.frame(function)
        below = (
            self.depth(f, (*path, function))
            + (0 if (function, f) in self.tails else frame)
            for f in self.graph[function]
        )
        return max([frame, *below])
