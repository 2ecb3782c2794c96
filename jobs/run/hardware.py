"""Hardware on which a time was measured."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def hardware(cpus: int, gpus: int | None = None) -> dict[str, str | int]:
    """Hardware of this process: {"cpus", "gpus", "device": name of the GPU, else of the processor}.

    Args:
        cpus: cores assigned to it.
        gpus: GPUs it used; None: one, if torch has used it in this process.
    """
    torch = sys.modules.get("torch")
    if gpus is None:
        gpus = int(torch is not None and torch.cuda.is_initialized())
    device = torch.cuda.get_device_name() if gpus and torch is not None else processor()
    return {"cpus": min(cpus, len(os.sched_getaffinity(0))), "gpus": gpus, "device": device}


def processor() -> str:
    """Name of the processor, from Linux; else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
