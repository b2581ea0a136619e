"""Pickles that are data: reading one runs nothing."""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

from pyvgrad.errors import VgradError


class _RefusedError(Exception):
    """A pickle that asks for something of a module."""


class _Plain(pickle.Unpickler):
    """Lists, tuples, dicts, strings and numbers of Python itself.

    Everything else is named by a pickle, and every name comes to ``find_class``: a
    class, a function to be called, NumPy's arrays and numbers.
    """

    def find_class(self, module: str, name: str) -> NoReturn:
        raise _RefusedError(f"it asks for {module}.{name}")


def load_plain(data: bytes, where: str) -> Any:
    """What the pickle ``data`` holds, of Python 2 or 3.

    VgradError for a damaged one, and for one that asks for a name, NumPy's included:
    nothing of it is looked up, imported or called.
    """
    try:
        return _Plain(io.BytesIO(data), encoding="latin1").load()
    except _RefusedError as error:
        reason = f"{error}; only lists, tuples, strings and numbers are read"
    except MemoryError:
        reason = "it asks for more memory than there is; is it damaged?"
    except Exception as error:  # damaged bytes make the unpickler raise nearly any
        reason = f"no pickle ({type(error).__name__}); is it damaged?"
    raise VgradError(f"{where}: {reason}")
