"""A text as characters, in three sets.

Dante's Divine Comedy, which music21 ships for telling languages apart, or the user's
files: one text, or three by the names of their sets, as the Penn Treebank has them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyvgrad.errors import VgradError
from pyvgrad.tasks.packaged import read

SETS = ("train", "valid", "test")
_PARCEL = ("languageExcerpts", "trainingData", "it.txt")
_MOST = 1000  # symbols: each has an input and an output
_LEAST = 100  # characters of a set

Symbols = NDArray[np.uint16]


@dataclass(frozen=True)
class Text:
    """Symbols of each set, numbers in ``alphabet``; ``source`` says what they are."""

    source: str
    alphabet: str
    train: Symbols
    valid: Symbols
    test: Symbols

    @property
    def digest(self) -> str:
        """16 hex digits that tell one text from another."""
        parts = [self.alphabet.encode()]
        parts += [getattr(self, name).astype("<u2").tobytes() for name in SETS]
        sizes = " ".join(str(len(part)) for part in parts).encode()
        return hashlib.sha256(sizes + b"\n" + b"".join(parts)).hexdigest()[:16]


def read_text(path: Path | None = None) -> Text:
    """Read a text, the Divine Comedy without a path.

    A file is divided: 90 % to learn from, then 5 % for validation, the last 5 % for the
    test.  In a folder there is one file each with train, valid and test in its name.
    UTF-8; line ends are characters.  Penn Treebank's form, where a space stands between
    any two characters of a line and ``_`` for a space, is recognised and undone.

    VgradError for what is missing, is no UTF-8, is shorter than 100 characters a set,
    and for more than 1,000 different characters.
    """
    if path is None:
        text = _decoded(read("music21", *_PARCEL), "/".join(_PARCEL))
        return _encoded("Dante, La Divina Commedia, in music21", _divided([text]), None)
    files = [path]
    if path.is_dir():
        files = [_file_of(path, name) for name in SETS]
    texts = [_read(file) for file in files]
    source = path.name
    if all(spelled(text) for text in texts):
        texts = [unspelled(text) for text in texts]
        source += ", in Penn Treebank's form"
    return _encoded(source, _divided(texts), path)


def _divided(texts: list[str]) -> dict[str, str]:
    """By set: three texts, or one in three parts."""
    if len(texts) == 1:
        (text,) = texts
        first, second = 18 * len(text) // 20, 19 * len(text) // 20
        texts = [text[:first], text[first:second], text[second:]]
    return dict(zip(SETS, texts, strict=True))


def _file_of(folder: Path, name: str) -> Path:
    found = sorted(f for f in folder.iterdir() if f.is_file() and name in f.name)
    if len(found) != 1:
        raise VgradError(
            f"{folder}: {len(found)} files have {name} in their name; one must"
        )
    return found[0]


def _read(path: Path) -> str:
    try:
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise VgradError(f"{path}: {error.strerror}; is the path right?") from None


def _decoded(data: bytes, where: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VgradError(
            f"{where}: byte {error.start} is no UTF-8; convert the text"
        ) from None
    return text.replace("\r\n", "\n")


def spelled(text: str) -> bool:
    """Whether it is in Penn Treebank's form: ``t h e _ e n d``, on every line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return any(len(line) > 1 for line in lines) and all(
        set(line[1::2]) <= {" "} and " " not in line[::2] for line in lines
    )


def unspelled(text: str) -> str:
    """The text that one in Penn Treebank's form stands for."""
    lines = [line.strip()[::2].replace("_", " ") for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _encoded(source: str, texts: dict[str, str], path: Path | None) -> Text:
    where = path if path is not None else source
    for name, text in texts.items():
        if len(text) < _LEAST:
            raise VgradError(
                f"{where}: {len(text)} characters for {name}; {_LEAST} at least"
            )
    alphabet = "".join(sorted(set().union(*texts.values())))
    if len(alphabet) > _MOST:
        raise VgradError(
            f"{where}: {len(alphabet):,} different characters are more than {_MOST:,}"
        )
    number = {c: k for k, c in enumerate(alphabet)}
    coded = {
        name: np.array([number[c] for c in text], np.uint16)
        for name, text in texts.items()
    }
    return Text(source, alphabet, **coded)
