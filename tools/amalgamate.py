"""Write the C core as one pair of files, vgrad.h and vgrad.c.

    python3 tools/amalgamate.py -o FOLDER

vgrad.h is the public header as it is; vgrad.c is every file of src/ after another,
with the private headers in place. A name of one file that another file has too, be
it a local one, gets its file's in front: as one translation unit they would meet.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIB = ROOT / "firmware" / "lib" / "vgrad"
PUBLIC = "vgrad.h"

TOKEN = re.compile(
    r"/\*.*?\*/|//[^\n]*"  # comments
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''  # strings, characters
    r"|\.?\d(?:[eEpP][+-]|[\w.])*"  # numbers
    r"|[A-Za-z_]\w*|\s+|->|.",
    re.DOTALL,
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>).*\n', re.M)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.M | re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CONDITION = re.compile(r"^[ \t]*#[ \t]*(if|endif)", re.M)
DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)
NAME = re.compile(r"[A-Za-z_]\w*")
KEYWORDS = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "__attribute__",
    ]
)


def tokens(code: str) -> list[str]:
    """Return the tokens of C code without comments, blanks and directives."""
    found = TOKEN.findall(DIRECTIVE.sub("", COMMENT.sub(" ", code)))
    return [token for token in found if not token.isspace()]


def statements(code: str) -> Iterator[list[str]]:
    """Yield what stands at file scope, each declaration or definition in one list."""
    here: list[str] = []
    depth = 0
    for token in tokens(code):
        here.append(token)
        depth += (token in "({[") - (token in ")}]")
        function = token == "}" and here[0] != "typedef" and is_function(here)
        if depth == 0 and (token == ";" or function):
            yield here
            here = []


def outside(statement: list[str]) -> list[str]:
    """Return a statement's tokens outside all brackets, the opening ones kept."""
    found, depth = [], 0
    for token in statement:
        if depth == 0:
            found.append(token)
        depth += (token in "({[") - (token in ")}]")
    return found


def is_function(statement: list[str]) -> bool:
    """Say whether a statement that ends with a brace is a function's body."""
    outer = outside(statement)
    return "(" in outer and "=" not in outer


def declared(statement: list[str]) -> set[str]:
    """Return the names that a statement gives to the rest of its file alone."""
    outer = outside(statement)
    found = set()
    if "enum" in outer and "{" in outer:
        found |= constants(statement)
    for kind, tag, brace in zip(outer, outer[1:], outer[2:], strict=False):
        if kind in ("struct", "union", "enum") and brace == "{":
            found.add(tag)
    if outer[0] in ("typedef", "static"):
        until = next((k for k, t in enumerate(outer) if t in "=;([" and k), len(outer))
        names = [t for t in outer[:until] if NAME.fullmatch(t) and t not in KEYWORDS]
        if "(" in outer and statement[statement.index("(") + 1] == "*":
            names = [statement[statement.index("(") + 2]]
        found |= set(names[-1:])
    return found


def constants(statement: list[str]) -> set[str]:
    """Return the constants of an enum."""
    start = statement.index("{", statement.index("enum"))
    found, depth = set(), 0
    for before, token in zip(statement[start:], statement[start + 1 :], strict=False):
        depth += (before in "({[") - (before in ")}]")
        if depth == 0:
            break
        if depth == 1 and before in "{," and NAME.fullmatch(token):
            found.add(token)
    return found


def own_names(code: str) -> set[str]:
    """Return the names that a file declares for itself."""
    found = set(DEFINE.findall(COMMENT.sub("", code)))
    for statement in statements(code):
        found |= declared(statement)
    return found


def used_names(code: str) -> set[str]:
    """Return every name in a file but those of members."""
    found = TOKEN.findall(code)
    members = member_places(found)
    return {
        token
        for k, token in enumerate(found)
        if k not in members and NAME.fullmatch(token)
    }


def member_places(found: list[str]) -> set[int]:
    """Return where tokens name members: after a dot or arrow, and in a struct."""
    solid = [
        k for k, t in enumerate(found) if not t.isspace() and not t.startswith("/*")
    ]
    text = ["", *(found[k] for k in solid), ""]
    places, struct, brackets = set(), [], 0
    for k, at in enumerate(solid, 1):
        before, token, after = text[k - 1 : k + 2]
        if token == "{":
            tagged = text[k - 2] if NAME.fullmatch(before) else before
            struct.append(bool({before, tagged} & {"struct", "union"}))
        elif token == "}" and struct:
            struct.pop()
        brackets += (token == "[") - (token == "]")
        if not NAME.fullmatch(token):
            continue
        declared = bool(struct) and struct[-1] and brackets == 0
        pointed = before == "*" and after == ")"
        if before in (".", "->") or (declared and (after in ";,[:" or pointed)):
            places.add(at)
    return places


def rename(code: str, new: dict[str, str]) -> str:
    """Put new names for old ones, but not in comments, strings and members."""
    found = TOKEN.findall(code)
    members = member_places(found)
    return "".join(
        token if k in members else new.get(token, token)
        for k, token in enumerate(found)
    )


@dataclass(frozen=True)
class Pair:
    """The two files."""

    header: str
    source: str


class Amalgamation:
    """The library's files, read once."""

    def __init__(self, lib: Path) -> None:
        self.lib = lib
        self.sources = {p.name: p.read_text("utf-8") for p in lib.glob("src/*.c")}
        if not self.sources:
            raise ValueError(f"there is no C file in {lib / 'src'}")
        headers = [p for p in lib.glob("src/*.h") if p.name != PUBLIC]
        self.headers = {p.name: p.read_text("utf-8") for p in headers}
        self.public = (lib / "include" / PUBLIC).read_text("utf-8")
        self.standard: set[str] = set()
        self.placed: set[str] = set()

    def pair(self) -> Pair:
        """Return the pair."""
        files = {**self.sources, **self.headers, PUBLIC: self.public}
        held = Counter(name for text in files.values() for name in used_names(text))
        body = []
        for name, text in sorted(self.sources.items()):
            new = {
                own: f"{Path(name).stem}_{own}"
                for own in own_names(text)
                if held[own] > 1
            }
            body.append(self.inlined(rename(text, new)))
        standard = "".join(f"#include <{name}>\n" for name in sorted(self.standard))
        licence = (self.lib / "LICENSE").read_text("utf-8").strip()
        top = (
            "/* vgrad.c - the C core of vgrad in one file.\n"
            " * Made by: python tools/amalgamate.py\n *\n"
            + "".join(f" * {line}".rstrip() + "\n" for line in licence.splitlines())
            + " */\n"
        )
        return Pair(
            self.public, f'{top}{standard}\n#include "{PUBLIC}"\n\n' + "\n".join(body)
        )

    def inlined(self, code: str, guards: int = 0, *, hidden: bool = False) -> str:
        """Put private headers where they are included; they guard themselves.

        Standard ones go to the top, but where a condition hides them.  One whose text
        is in the file already is left out, unless a condition hides it.
        """

        def content(include: re.Match[str]) -> str:
            own, standard = include.groups()
            kinds = [m[1] for m in CONDITION.finditer(code, 0, include.start())]
            below = hidden or kinds.count("if") - kinds.count("endif") > guards
            if standard and below:  # not every compiler has it
                return include[0]
            if standard:
                self.standard.add(standard)
                return ""
            name = Path(own).name
            if name == PUBLIC or name in self.placed:
                return ""
            if not below:
                self.placed.add(name)
            return self.inlined(self.headers[name], 1, hidden=below)

        return INCLUDE.sub(content, code)


def amalgamate(lib: Path = LIB) -> Pair:
    """Return vgrad.h and vgrad.c.  ValueError if the library has no C files."""
    return Amalgamation(lib).pair()


def main() -> int:
    """Write the pair."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="FOLDER")
    out = parser.parse_args().out
    pair = amalgamate()
    out.mkdir(parents=True, exist_ok=True)
    (out / PUBLIC).write_text(pair.header, "utf-8")
    (out / "vgrad.c").write_text(pair.source, "utf-8")
    print(out / "vgrad.c")
    return 0


if __name__ == "__main__":
    sys.exit(main())
