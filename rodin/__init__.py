"""RODIN: 3-D avatar generators trained as batch jobs. The science; it knows no scheduler and prints nothing.

`from rodin import Rodin` opens a finished run, see `rodin.generate.api`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rodin.generate.api import Rodin

__version__ = "0.1.0"
__all__ = ["Rodin", "__version__"]


def __getattr__(name: str) -> Any:
    """`Rodin`, imported where it is asked for: torch takes seconds to load."""
    if name == "Rodin":
        return import_module("rodin.generate.api").Rodin
    raise AttributeError(f"module 'rodin' has no attribute {name!r}")
