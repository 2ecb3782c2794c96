"""Folders from which code is run: pickles of jobs, and the copy of this program. Only the user may write there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rodin.store.atomic import make_folder

OWN = 0o755  # mode of these folders: others may read, whatever the umask
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def make_private(folder: Path) -> Path:
    """Make jobs/logs/NAME of a run if it is missing, and check it.

    Raises:
        ValueError: others may write there; one line with the next step.
    """
    make_folder(folder, OWN)
    check_private(folder)
    return folder


def check_private(folder: Path) -> None:
    """Refuse a folder of pickles, or the run's copy of the code, that others may write to: they would run their code.

    Args:
        folder: jobs/logs/NAME of a run.

    Raises:
        ValueError: names the folder and the next step.
    """
    logs = folder.resolve().parent
    for place in (logs.parents[1] / "code", logs.parent, logs, logs / folder.name):
        if not place.exists():
            continue
        status, user = place.stat(), os.geteuid()
        if status.st_uid != user:
            raise ValueError(
                f"{place}: belongs to user {status.st_uid}, whose code user {user} would run; run as that user, or "
                "start a run of your own"
            )
        if status.st_mode & OTHERS:
            raise ValueError(
                f"{place}: others may write there (mode {stat.S_IMODE(status.st_mode):o}), and code that lies there is "
                f"run; see that it is yours, then `chmod go-w {place}` and run the same command again"
            )
