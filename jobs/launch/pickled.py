"""Start of a job that submitit pickled: `python -m jobs.launch.pickled FOLDER`.

A pickle runs whatever code its writer likes. submitit's own entry point loads it unseen; this one first looks whether
anybody but the user may have written it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.run.failures import print_error
from jobs.run.private import check_private


def command(python: str, folder: Path, quoted: str) -> str:
    """Shell command by which a job starts: this module, or submitit's where the run's copy of the code is older.

    Args:
        python: interpreter, quoted for the shell.
        folder: jobs/logs/NAME of the run, where the pickle lies.
        quoted: the same, quoted for the shell.
    """
    code = folder.resolve().parents[2] / "code"
    copied = (code / "jobs" / "launch" / Path(__file__).name).is_file() or not code.is_dir()
    return f"{python} -u -m {'jobs.launch.pickled' if copied else 'submitit.core._submit'} {quoted}"


def main(folder: str) -> None:
    """Run the job whose pickle lies in a folder, if only the user may write there; exit status 2 if not."""
    try:
        check_private(Path(folder))
    except ValueError as problem:
        print_error(str(problem))
        sys.exit(2)
    from submitit.core.submission import process_job

    process_job(folder)


if __name__ == "__main__":
    main(sys.argv[1])
