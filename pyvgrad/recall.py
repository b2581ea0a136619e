"""Trainings that are not done twice: a result is kept with what it was made from."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvgrad.blob import parse
from pyvgrad.files import write_npz
from pyvgrad.model import Params
from pyvgrad.solve import Solution
from pyvgrad.train import TrainResult


def origin(key: str) -> str:
    """A digest of ``key``, of this package's sources and of the versions it uses."""
    digest = hashlib.sha256(key.encode())
    for name in ("jax", "jaxlib", "numpy", "optax"):
        digest.update(f"{name} {version(name)}\n".encode())
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def recall(path: Path, key: str, make: Callable[[], Solution]) -> Solution:
    """The solution kept at ``path``, if it came from the same key and sources.

    Else ``make`` one and keep it there.
    """
    stamp = origin(key)
    kept = _read(path, stamp)
    if kept is not None:
        return kept
    solution = make()
    result = solution.result
    arrays: dict[str, NDArray[Any]] = {
        "origin": np.array(stamp),
        "blob": np.frombuffer(solution.blob, np.uint8),
        "loss_at": result.loss_at,
        "losses": result.losses,
        "sequences": np.array(result.sequences),
        "success": np.array(result.success),
    }
    write_npz(path, arrays | _flat(result.params, "params"))
    return solution


def _read(path: Path, stamp: str) -> Solution | None:
    try:
        with np.load(path, allow_pickle=False) as loaded:
            if str(loaded["origin"]) != stamp:
                return None
            a = dict(loaded)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    blob = a["blob"].tobytes()
    params = _nested({k: v for k, v in a.items() if k.startswith("params.")})
    result = TrainResult(
        params["params"],
        a["loss_at"],
        a["losses"],
        int(a["sequences"]),
        bool(a["success"]),
    )
    return Solution(result, parse(blob), blob)


def _flat(tree: Any, name: str) -> dict[str, NDArray[Any]]:
    """{"params.layers.0.W.i": array, ...}."""
    if isinstance(tree, Mapping):
        items: list[tuple[Any, Any]] = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    else:
        return {name: np.asarray(tree)}
    flat: dict[str, NDArray[Any]] = {}
    for key, value in items:
        flat |= _flat(value, f"{name}.{key}")
    return flat


def _nested(flat: Mapping[str, NDArray[Any]]) -> Params:
    """The inverse of _flat: keys that are numbers make a list."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        at = tree
        for key in path:
            at = at.setdefault(key, {})
        at[last] = value

    def lists(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        children = {key: lists(value) for key, value in node.items()}
        if children and all(key.isdigit() for key in children):
            return [children[str(k)] for k in range(len(children))]
        return children

    nested: Params = lists(tree)
    return nested
