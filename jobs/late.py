"""Importing late: what only some commands need (torch, matplotlib) is loaded when its command runs."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def library(module: str, name: str) -> Callable[..., Any]:
    """A function of a module, imported now."""
    return getattr(import_module(module), name)
