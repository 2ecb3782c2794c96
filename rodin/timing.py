"""Fair timing: candidates run in turn, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from rodin.memory import forget_peak, resident_bytes

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # parameter numbers of mallopt in glibc's malloc.h
SMALL_MMAP = 1 << 17  # bytes, glibc's first value: larger tensors are mapped one by one and returned when freed
LARGE_MMAP, LARGE_TRIM = 1 << 25, 1 << 26  # bytes: where glibc settles by itself in a process with large tensors


def medians(runs: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each function, run in turn; a first round warms up and does not count.

    Args:
        runs: name -> function to time.
        repeats: rounds that count.
        device: synchronised before and after each call.

    Returns:
        name -> median seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for name, run in runs.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int | None:
    """Peak memory of a call, over the memory in use before it; call the function once before to warm up.

    Args:
        run: function to measure.
        device: on a GPU, torch's allocator is measured; on a CPU, the resident set of the process.

    Returns:
        bytes; None if the system does not report them.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(MMAP_THRESHOLD, SMALL_MMAP)
        libc.malloc_trim(0)  # memory cached by malloc would hide new requests
    except (OSError, AttributeError):
        return None
    try:
        if not forget_peak():
            return None
        before = resident_bytes("VmRSS")
        run()
        peak = resident_bytes("VmHWM")
        return peak - before if peak else None
    finally:
        libc.mallopt(MMAP_THRESHOLD, LARGE_MMAP)
        libc.mallopt(TRIM_THRESHOLD, LARGE_TRIM)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
