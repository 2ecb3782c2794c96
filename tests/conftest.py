"""What every test stands on."""

import os
import signal

import pytest

# A shell that starts us in the background leaves SIGINT ignored, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two processes a core would stand in each other's way; those that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many workers as cores, up to four; tests of a real Slurm share one small cluster and come one by one."""
    return 0 if config.option.markexpr.startswith("slurm") else min(4, len(os.sched_getaffinity(0)))
