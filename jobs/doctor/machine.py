"""Checks of one machine: torch and its GPUs, limits of processes, weights."""

from __future__ import annotations

import importlib
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.doctor.finding import Finding, fail, found, warn
from jobs.weights import weights_rows
from rodin.store.weights import weights_folder
from rodin.units import byte_size

LEAST_FILES = 1024  # open files: readers keep 64 each, and torch's loaders and MPI take some hundreds
LEAST_LOCKED = 1 << 30  # bytes of memory that a network card of RDMA registers: 1 GiB
LEAST_SHARED = 1 << 28  # bytes of /dev/shm through which NCCL's ranks of one machine talk: 256 MiB
SIDE = 256  # of the matrices that a GPU multiplies
NVIDIA = Path("/proc/driver/nvidia/version")


def torch_findings(gpus: int) -> Iterator[Finding]:
    """Whether torch loads, and the driver, the wheel and the GPUs belong together.

    Args:
        gpus: GPUs that this process should see; 0: none is wanted.
    """
    begin = time.monotonic()
    torch = importlib.import_module("torch")
    seconds = time.monotonic() - begin
    built = f"torch {torch.__version__}"
    cuda, driver = torch.version.cuda, driver_version()
    if not gpus:
        if driver and not cuda:
            yield warn(
                "torch", f"{built} is for CPUs, here is driver {driver}", "install the CUDA wheel of torch to use it"
            )
        else:
            yield found("torch", f"{built} loads in {seconds:.1f} s; no GPU is asked for")
        return
    if not cuda:
        yield fail("torch", f"{built} is for CPUs, the site has GPUs", "install the CUDA wheel of torch")
        return
    if not torch.cuda.is_available():
        line = f"{built} for CUDA {cuda} sees no GPU; driver {driver or 'not loaded'}"
        mend = "a driver for this CUDA, or torch for an older one" if driver else "gpus_per_node of the site file"
        yield fail("torch", line, mend)
        return
    count = torch.cuda.device_count()
    names = sorted({torch.cuda.get_device_name(number) for number in range(count)})
    line = f"{built} for CUDA {cuda}, driver {driver or 'unknown'}: {count} x {', '.join(names)}"
    if count < gpus:
        yield fail("torch", f"{line}; {gpus} were asked for", "gpus_per_node and gpu_type of the site file")
        return
    for number in range(count):
        _multiply(torch, number)
    yield found("torch", f"{line} multiply")
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        mend = "--set base.training.precision=float16, and so for the other trainings"
        yield warn("precision", f"{', '.join(names)} have no bfloat16", mend)


def _multiply(torch: Any, number: int) -> None:
    """Multiply matrices of ones on a GPU; raises where its kernels are not in the wheel, or it counts wrong."""
    ones = torch.ones(SIDE, SIDE, device=f"cuda:{number}", dtype=torch.float16)
    if not bool(((ones @ ones).float() == SIDE).all()):
        raise RuntimeError(f"GPU {number} multiplies wrong")


def driver_version() -> str:
    """Version of NVIDIA's driver; empty where none is loaded."""
    try:
        text = NVIDIA.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"\b\d{3}\.\d+(\.\d+)*", text)
    return match[0] if match else "of unknown version"


def limits(gpus: int) -> Iterator[Finding]:
    """Limits of a process: open files, address space, locked memory, shared memory.

    Args:
        gpus: GPUs that jobs use; without, NCCL's needs do not count.
    """
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < LEAST_FILES:
        mend = f"`ulimit -n {min(most_files, 4096) if most_files > 0 else 4096}` in setup of the site file"
        yield warn("open files", f"{files}, wanted {LEAST_FILES}", mend)
    else:
        yield found("open files", "no limit" if files < 0 else f"{files}")
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY:
        mend = "`ulimit -v unlimited` in setup of the site file: CUDA and HDF5 map far more than they use"
        yield warn("address space", f"limited to {byte_size(space)}", mend)
    else:
        yield found("address space", "no limit")
    if not gpus:
        return
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if locked != resource.RLIM_INFINITY and locked < LEAST_LOCKED:
        mend = "`PropagateResourceLimitsExcept=MEMLOCK` in slurm.conf; without, NCCL falls back from RDMA to sockets"
        yield warn("locked memory", f"limited to {byte_size(locked)}", mend)
    shared = shared_memory()
    if shared < LEAST_SHARED:
        yield warn("shared memory", f"{byte_size(shared)} free", "`export NCCL_SHM_DISABLE=1`: NCCL wants more")


def shared_memory() -> float:
    """Free bytes of /dev/shm."""
    try:
        numbers = os.statvfs("/dev/shm")  # noqa: S108
    except OSError:
        return 0.0
    return float(numbers.f_bavail * numbers.f_frsize)


def weights(needs: dict[str, str]) -> Iterator[Finding]:
    """Pretrained weights, which runs read from disk: nothing is downloaded in a job.

    Args:
        needs: name of weights -> what of a run needs them, which then does not start without.
    """
    for row in weights_rows(weights_folder()):
        name, path = row["name"], row["file"]
        mend = "`rodin weights fetch` on a machine with a network; RODIN_WEIGHTS names their folder, for jobs too"
        if row["here"]:
            yield found(f"weights {name}", path)
        elif name in needs:
            yield fail(f"weights {name}", f"{path}: not there; {needs[name]} needs it", mend)
        else:
            yield warn(f"weights {name}", f"{path}: not there ({row['for']})", mend)
