"""pyvgrad: recurrent networks that run in integers, the same bits everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyvgrad.executors import Model as Model

__version__ = "0.1.0"
__all__ = ["Model", "__version__"]


def __getattr__(name: str) -> object:
    """Load what needs the compiled core only when it is asked for."""
    if name == "Model":
        from pyvgrad.executors import Model

        return Model
    raise AttributeError(f"module 'pyvgrad' has no attribute {name!r}")
