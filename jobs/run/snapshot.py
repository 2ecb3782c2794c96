"""The code a run was started with, copied into run/code; its jobs import from there, come what may."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

from rodin.store.atomic import make_folder
from rodin.store.run_folder import RunFolder

PACKAGES = ("jobs", "rodin", "analysis")
LARGEST = 2_000_000  # bytes; nothing of ours is larger


def take(folder: RunFolder, refresh: bool = False) -> bool:
    """Copy our packages into run/code, once.

    Args:
        folder: the run.
        refresh: replace a copy that is there.

    Returns:
        whether the copy that is kept differs from the code of this command.
    """
    original = Path(__file__).resolve().parents[2]
    if original == folder.code.resolve():
        return False
    if folder.code.is_dir() and not refresh:
        return digest(folder.code) != digest(original)
    make_folder(folder.path)
    fresh = folder.path / f".code-{uuid.uuid4().hex}"
    for relative in files(original):
        target = fresh / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(original / relative, target)
    if folder.code.is_dir():
        old = folder.path / f".old-{uuid.uuid4().hex}"
        folder.code.rename(old)
        shutil.rmtree(old)
    fresh.rename(folder.code)
    return False


def files(root: Path) -> list[Path]:
    """Our files under a folder that holds the packages, as sorted relative paths."""
    found = []
    for package in PACKAGES:
        for path in (root / package).rglob("*"):
            hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
            if path.is_file() and not hidden and path.stat().st_size <= LARGEST:
                found.append(path.relative_to(root))
    return sorted(found)


def digest(root: Path) -> str:
    """One number for all our code under a folder."""
    whole = hashlib.sha256()
    for relative in files(root):
        whole.update(str(relative).encode() + b"\0" + (root / relative).read_bytes() + b"\0")
    return whole.hexdigest()
