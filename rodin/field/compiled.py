"""The part of a step that compiles well: the decoder's products and the sums along rays, for any number of samples."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from rodin.field.render import shade


@functools.cache
def compiled_shade() -> Callable[..., Any]:
    """`shade` compiled, once a process, for whatever numbers of samples, rays and people come.

    Raises:
        ValueError: no compiler is here.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise ValueError(
            "fit.compile: no C++ compiler here, wanted g++ or $CXX; load one or set fit.compile=false"
        ) from None
    return torch.compile(shade, dynamic=True)
