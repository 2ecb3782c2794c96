"""What the doctor starts in other processes: `python -m jobs.doctor.probe KIND FOLDER NUMBER`, one for each rank.

Each process leaves its findings in the folder as KIND-RANK.json.
"""

from __future__ import annotations

import dataclasses
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.doctor import disk, machine, meeting, ranks
from jobs.doctor.finding import Finding, guarded, write
from jobs.launch.process import process_of_environment


def machine_findings(folder: Path, gpus: int, needs: dict[str, str]) -> list[Finding]:
    """All checks of one machine and of a folder.

    Args:
        folder: on the file system of the runs.
        gpus: GPUs that this process should see.
        needs: as in `jobs.doctor.machine.weights`.
    """
    return [
        *guarded("rename, fsync", lambda: disk.publishing(folder)),
        *guarded("locks", lambda: disk.locking(folder)),
        *guarded("h5py locking", lambda: disk.storing(folder)),
        *guarded("scratch", disk.scratch),
        *guarded("limits", lambda: machine.limits(gpus)),
        *guarded("weights", lambda: machine.weights(needs)),
        *guarded("torch", lambda: machine.torch_findings(gpus)),
    ]


def main(arguments: Sequence[str]) -> int:
    """One rank of one kind of check."""
    kind, folder, number, *needed = arguments
    rank, path = process_of_environment().rank, Path(folder)
    if kind == "machine":
        needs = dict(one.split("=", 1) for one in needed)
        found = guarded("shared files", lambda: meeting.of_machine(path, str(rank)))
        found += machine_findings(path, int(number), needs)
    elif kind == "together":
        found = guarded("all-reduce", lambda: ranks.together(path))
    else:
        found = guarded("MPI", lambda: ranks.message_passing(int(number)))
    host = socket.gethostname().split(".")[0]
    where = host if kind == "machine" else ""
    write(path / f"{kind}-{rank}.json", [dataclasses.replace(one, where=where) for one in found])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
