"""Requeue of a job that saved at its time limit or was preempted, and is to go on later.

Slurm is asked for one element, `<array>_<task>`: the job's own number would start the whole array again.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from jobs.launch.slurm_client import Unreachable, call
from rodin.children import unstoppable_children

SKEW_SECONDS = 5.0  # between the signals of the ranks: one of them may stop all before the others have theirs
REQUEUE_SECONDS = 60.0  # in which Slurm ends the other ranks, after rank 0 has asked it to
CLIENT_SECONDS = 60  # longest wait for scontrol


class Stop(Protocol):
    """A stop request: whether there is one, and whether a signal asked to go on later."""

    raised: bool
    requeue: bool


def element_id() -> str:
    """Slurm's id of this job or element, `123` or `123_4`; empty outside a job."""
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{element}" if array and element else os.environ.get("SLURM_JOB_ID", "")


def await_signal(stop: Stop) -> None:
    """Wait for this rank's own signal: the others may have had theirs earlier, and stopped all."""
    end = time.monotonic() + SKEW_SECONDS
    while not stop.raised and time.monotonic() < end:
        time.sleep(0.05)


def requeue(stop: Stop, limit: int, named: str) -> str:
    """Have Slurm start this element again, if a signal asked it to save and go on later; rank 0 asks.

    Args:
        stop: of this rank; all ranks have saved.
        limit: how often it may be started again.
        named: what sets the limit, for the message.

    Returns:
        what was done, one line; empty: it was no matter of a requeue, or of this rank.
    """
    job = element_id()
    if not job:
        return ""
    await_signal(stop)
    if not stop.requeue:
        return ""
    if int(os.environ.get("SLURM_RESTART_COUNT") or 0) >= limit:
        return f"job {job} is not requeued again: {limit} times is what {named} allows; submit it again to go on"
    if os.environ.get("SLURM_PROCID", "0") != "0":
        time.sleep(REQUEUE_SECONDS)  # the end of a rank would end rank 0 before it has asked
        return ""
    try:
        with unstoppable_children():
            call("scontrol", "requeue", job, seconds=CLIENT_SECONDS)
    except Unreachable as error:
        return f"job {job} could not be requeued ({error}); submit it again to go on"
    return f"job {job} is requeued"
