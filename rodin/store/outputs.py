"""Folders that a command writes for the user: refused where other things lie there, replaced as a whole."""

import os
import re
import shutil
import uuid
from pathlib import Path

from rodin.store.atomic import fsync_folder, fsync_tree
from rodin.store.errors import StoreError

LONGEST_NAME = 255  # bytes of a file's name, on all file systems that Linux commonly has
LEFTOVER = re.compile(r"\.[0-9a-f]{32}(\..+)?")
"""names of files and folders that a killed command was still writing, see `rodin.store.atomic.publishing`"""


def check_output(output: Path, record: str) -> None:
    """Refuse, before any work, an output folder that cannot be written or would overwrite anything but an export.

    Args:
        output: the folder.
        record: name of the file in it that shows it to be an earlier output of the same command.

    Raises:
        ValueError: no folder's name or a too long one, a file of that name, or a folder with other contents.
        StoreError: nothing can be written there.
    """
    check_name(output, "folder that is not there yet")
    there = next(folder for folder in (output, *output.parents) if folder.exists())
    if not there.is_dir():
        named = "" if there == output else f" {there}"
        raise ValueError(f"{output}:{named} is a file, wanted a folder's name for the output")
    foreign = output.exists() and not all(LEFTOVER.fullmatch(path.name) for path in output.iterdir())
    if foreign and not (output / record).is_file():
        raise ValueError(f"{output}: holds other files; wanted a new folder's name for the output")
    check_place(output, output.resolve().parent if there == output else there)


def check_file(output: Path) -> None:
    """Refuse, before any work, a file that cannot be written; an earlier one there may be replaced.

    Raises:
        ValueError: no file's name or a too long one, a folder of that name, or a file where a folder is wanted.
        StoreError: nothing can be written there.
    """
    check_name(output, "file")
    if output.is_dir():
        raise ValueError(f"{output}: is a folder, wanted a file's name")
    there = next(folder for folder in output.parents if folder.exists())
    if not there.is_dir():
        raise ValueError(f"{output}: {there} is a file, wanted a folder")
    check_place(output, there, f".{output.name}")  # as `publishing` names a file that it still writes


def check_name(output: Path, what: str) -> None:
    """Refuse a path that cannot name an output.

    Raises:
        ValueError: no name, as in "." or "..", or a too long one.
    """
    if output.name in ("", "..") or "\0" in str(output):
        raise ValueError(f"output: got {str(output)!r}, wanted the name of a {what}")
    if too_long := [part for part in output.parts if len(os.fsencode(part)) > LONGEST_NAME]:
        raise ValueError(f"output: a name of {len(os.fsencode(too_long[0]))} bytes, wanted at most {LONGEST_NAME}")


def check_place(output: Path, above: Path, ending: str = "") -> None:
    """Refuse a folder in which an output's entry cannot be made, by trying.

    Raises:
        StoreError: the system refuses.
    """
    trial = above / f".{uuid.uuid4().hex}{ending}"
    try:  # what permissions say does not hold for root, on file systems of others, and on those that are read-only
        trial.mkdir()
        trial.rmdir()
    except OSError as problem:
        reason = problem.strerror or problem
        raise StoreError(f"{output}: cannot write in {above} ({reason}); give another folder with --output") from None


def replace_folder(temporary: Path, output: Path) -> None:
    """Rename a finished folder to its final name, durably; an earlier export there is removed. No symbolic link."""
    fsync_tree(temporary)
    earlier = temporary.with_name(f"{temporary.name}.old")
    if output.exists():
        output.replace(earlier)
    temporary.replace(output)
    fsync_folder(output.parent)
    shutil.rmtree(earlier, ignore_errors=True)
