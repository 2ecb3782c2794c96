"""Fair clocks: things are timed in turn, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from rodin.memory import forget_peak, resident_bytes

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h


def medians(runs: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each, run in turn; a first round that does not count warms up.

    Args:
        runs: name -> what is timed.
        repeats: rounds that count.
        device: waited for before and after each.
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
    """Most memory that a run held at once, over what was held before it; run it once before to warm up.

    Args:
        run: what is measured.
        device: a GPU's allocator is asked; on a CPU, Linux for the largest resident set.

    Returns:
        bytes; None where the system does not tell.
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
        libc.mallopt(MMAP_THRESHOLD, 1 << 17)  # tensors are mapped one by one and given back when freed, not kept
        libc.malloc_trim(0)  # and what was kept before would hide what is asked for anew
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
        libc.mallopt(MMAP_THRESHOLD, 1 << 25)  # where it settles by itself in a process that uses large tensors
        libc.mallopt(TRIM_THRESHOLD, 1 << 26)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
