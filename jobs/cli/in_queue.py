"""Refusals of what the jobs of a run, while they are there, would suffer from, or what would do their work again."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

from jobs.launch.slurm_client import Unreachable, queue
from jobs.launch.status import unfinished
from jobs.run.at_work import Watch, last_notes
from jobs.run.failures import Failed
from jobs.run.ledger import cut_off, read_ledger, submissions
from rodin.store.run_folder import RunFolder

LOOK_SECONDS = 1.0  # between two looks at whether somebody is at work


def check_queue(folder: RunFolder, harm: str) -> None:
    """Refuse while jobs of a run are in the queue, also those whose sbatch gave no answer.

    Where this machine has no Slurm its queue is not known: then nobody may be at work on the run.

    Args:
        folder: the run.
        harm: what such a job does, or would do.

    Raises:
        ValueError: names a job, or a machine.
        Failed: Slurm does not answer.
    """
    try:
        queued = queue([one for one in read_ledger(folder)[0] if not one.withdrawn])
    except Unreachable as error:
        if shutil.which("squeue") is not None:
            raise Failed(f"Slurm does not answer ({error}); nothing changes until its queue is known") from None
        _check_claims(folder, harm)
        return
    if queued:
        raise ValueError(
            f"{folder.path}: job {min(queued)} of this run is in the queue and {harm}; wait for it, or "
            f"`rodin cancel {folder.path}` first"
        )


def _check_claims(folder: RunFolder, harm: str) -> None:
    """Refuse while somebody works on a run; one who shows no sign of life is dead after a minute."""
    watch, begun, seen = Watch(folder), last_notes(folder), dict[tuple[str, int], int]()
    while held := watch.held(begun):
        for key, note in last_notes(folder).items():
            if key in held and note.beat != seen.setdefault(key, note.beat):
                who = f"job {note.holder.job} of this run" if note.holder.job else "a process"
                raise ValueError(
                    f"{folder.path}: {who} is at work on {note.holder.host} and {harm}; wait for it, or "
                    f"`rodin cancel {folder.path}` where Slurm can be asked"
                )
        time.sleep(LOOK_SECONDS)


def check_source(source: RunFolder) -> None:
    """Refuse to take over from a run whose jobs are in the queue; where no Slurm answers, none runs as far as we know.

    Raises:
        ValueError: names a job.
    """
    sent = [*unfinished(source, submissions(source)), *cut_off(source)]
    if not sent:
        return
    with suppress(Unreachable):
        if queued := queue(sent):
            raise ValueError(
                f"--from {source.path}: job {min(queued)} of this run is in the queue; wait for it, or "
                f"`rodin cancel {source.path}` first"
            )
