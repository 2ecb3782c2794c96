"""Compiled part of a step: the decoder's products and the sums along rays."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

from rodin.field.render import shade


@functools.cache
def compiled_shade() -> Callable[..., Any]:
    """`shade` compiled, once a process, for any numbers of samples, rays and subjects.

    Raises:
        ValueError: this machine has no C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ValueError(f"fit.compile: no compiler '{compiler}' here; set CXX to one, or fit.compile=false")
    return torch.compile(shade, dynamic=True)
