"""Snapshot of the code with which a run started, in run/code. All jobs of the run import from it.

Its modules are compiled as it is taken, and jobs compile none into it (`PYTHONDONTWRITEBYTECODE`): before a full disk
Python publishes half of a compiled module without a word, and every later start then ends in "marshal data too short".
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import py_compile
import shutil
import struct
import sys
import uuid
from contextlib import suppress
from pathlib import Path

from jobs.run.private import OTHERS, OWN
from rodin.store.atomic import fsync_folder, fsync_tree, make_folder
from rodin.store.errors import disk_error
from rodin.store.run_folder import RunFolder

PACKAGES = ("jobs", "rodin", "analysis")
HEADER = struct.Struct("<4sIII")  # of a compiled module: version of Python, kind, time and size of its text
LARGEST = 2_000_000  # bytes of a file; larger ones are no source code


def take(folder: RunFolder, refresh: bool = False) -> bool:
    """Copy the packages of this program into run/code, once; all of it is there after a power cut, or nothing.

    Args:
        folder: the run.
        refresh: replace an existing copy.

    Returns:
        whether the run keeps a copy that differs from the code of this command.
    """
    original = Path(__file__).resolve().parents[2]
    if original == folder.code.resolve():
        return False
    if folder.code.is_dir() and not refresh:
        return other_code(folder)
    fresh = folder.path / f".code-{uuid.uuid4().hex}"
    make_folder(fresh, OWN)
    try:
        _copy_all(original, fresh)
    except OSError as problem:  # which names the original
        raise disk_error(folder.code, problem) from problem
    if folder.code.is_dir():
        folder.code.rename(folder.path / f".old-{uuid.uuid4().hex}")
    fresh.rename(folder.code)
    fsync_folder(folder.path)
    for leftover in [*folder.path.glob(".old-*"), *folder.path.glob(".code-*")]:  # also of killed commands
        shutil.rmtree(leftover)
    return False


def _copy_all(original: Path, fresh: Path) -> None:
    for relative in files(original):
        target = fresh / relative
        for place in (place for place in reversed(target.parents) if not place.exists()):
            place.mkdir(OWN)
        _copy(original / relative, target)
        if relative.suffix == ".py" and sys.pycache_prefix is None:
            _copy_compiled(original / relative, target)
    fsync_tree(fresh)


def _copy(source: Path, target: Path) -> None:
    shutil.copy2(source, target)
    target.chmod(target.stat().st_mode & ~OTHERS)


def _copy_compiled(source: Path, target: Path) -> None:
    """Copy what Python has compiled of a module, which it takes by the time and size of the module's text.

    What is not compiled yet is compiled beside its text, as Python does it, so that the next run finds it; or, where
    that cannot be written, for this run alone. Else every job would compile the module again.
    """
    compiled, wanted = (Path(importlib.util.cache_from_source(str(path))) for path in (source, target))
    wanted.parent.mkdir(OWN, exist_ok=True)
    for again in (False, True):
        if again and not sys.dont_write_bytecode:
            _compile(source, compiled)
        with suppress(OSError):  # not there, or being replaced
            _copy(compiled, wanted)
        if _is_whole(wanted, target):
            return
    _compile(target, wanted)  # with the mode of the text
    if not _is_whole(wanted, target):
        wanted.unlink(missing_ok=True)


def _compile(source: Path, compiled: Path) -> None:
    with suppress(OSError, py_compile.PyCompileError):
        mode = py_compile.PycInvalidationMode.TIMESTAMP
        py_compile.compile(str(source), str(compiled), doraise=True, invalidation_mode=mode)


def _is_whole(compiled: Path, source: Path) -> bool:
    """Whether a compiled module is whole and of a module's text as it is now."""
    try:
        data, text = compiled.read_bytes(), source.stat()
        marshal.loads(data[HEADER.size :])  # noqa: S302  made by this program's own user, who runs it as code
        return HEADER.unpack_from(data) == (importlib.util.MAGIC_NUMBER, 0, int(text.st_mtime), text.st_size)
    except (OSError, EOFError, ValueError, TypeError, struct.error):
        return False


def other_code(folder: RunFolder) -> bool:
    """Whether a run keeps a copy of the code that differs from the code of this command."""
    original = Path(__file__).resolve().parents[2]
    return folder.code.is_dir() and original != folder.code.resolve() and digest(folder.code) != digest(original)


def files(root: Path) -> list[Path]:
    """Files of the packages under a folder, as sorted relative paths."""
    found = []
    for package in PACKAGES:
        for path in (root / package).rglob("*"):
            hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
            if path.is_file() and not hidden and path.stat().st_size <= LARGEST:
                found.append(path.relative_to(root))
    return sorted(found)


def digest(root: Path) -> str:
    """SHA-256 of all files of the packages under a folder."""
    whole = hashlib.sha256()
    for relative in files(root):
        whole.update(str(relative).encode() + b"\0" + (root / relative).read_bytes() + b"\0")
    return whole.hexdigest()
