"""Asking Slurm whether it would take a batch script, without submitting it: `sbatch --test-only`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from jobs.launch.reasons import AWAY
from jobs.launch.slurm_client import SUBMIT_SECONDS, Unreachable, said

DEPENDENCY = re.compile(r"^#SBATCH --dependency=.*\n", re.MULTILINE)  # of jobs that are not there yet
STARTS = re.compile(r"to start at (?P<when>\S+) using (?P<cpus>\d+) processors on (?:nodes )?(?P<nodes>\S+)")
UNASKED = re.compile(r"is not on PATH|temporarily", re.IGNORECASE)  # beside AWAY: where it is no answer of Slurm


@dataclass(frozen=True)
class Answer:
    """What Slurm says of a script.

    Args:
        taken: it would take the job.
        line: when and where it would begin, else why it refuses; one line.
    """

    taken: bool
    line: str


def would_take(script: str, keep: Collection[str]) -> Answer:
    """Ask whether a batch script would be taken; its dependencies are left out.

    Args:
        script: its text.
        keep: variables of the environment that may choose account, partition and the like.

    Raises:
        Unreachable: Slurm was not asked: its controller does not answer or takes nothing now, or there is no sbatch.
    """
    with tempfile.TemporaryDirectory(prefix="rodin-test-only-") as folder:
        path = Path(folder) / "script.sh"
        path.write_text(DEPENDENCY.sub("", script), encoding="utf-8")
        try:
            told = said("sbatch", "--test-only", str(path), seconds=SUBMIT_SECONDS, keep=keep)
        except Unreachable as problem:
            if AWAY.search(str(problem)) or UNASKED.search(str(problem)):
                raise
            return Answer(False, str(problem).removeprefix("sbatch: error: ").removeprefix("sbatch: "))
    match = STARTS.search(told)
    if match is None:
        return Answer(True, " ".join(told.split()) or "it would be taken")
    return Answer(True, f"would begin at {match['when']} on {match['nodes']}, {match['cpus']} CPUs")
