"""One run's published files in another run: hard links where the file system allows them, else copies.

Published files are never changed, only replaced as a whole, so that two runs can have the same file. A folder appears
in the other run at once, by a rename, with its manifests in it: a kill at any moment leaves all of it or nothing.
"""

import errno
import fcntl
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from rodin.hooks import Progress, no_progress
from rodin.store.atomic import fsync_folder, make_folder
from rodin.store.errors import check_space, disk_error, read_error

GROWING = ("log.jsonl",)  # files that a training which goes on writes into: each run has its own
MANIFEST = re.compile(r"\d{5}\.json", re.ASCII)
# errors of link() where a copy does: another file system, a link to a file of somebody else (fs.protected_hardlinks),
# more links than an inode holds, a file system without links
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
FICLONE = 0x40049409  # Linux's ioctl by which a copy shares its blocks with the original (btrfs, XFS)
BLOCK = 16 << 20  # bytes copied at a time


@dataclass(frozen=True)
class Shared:
    """What was shared: files, their bytes, and how many of them are links."""

    files: int = 0
    bytes: int = 0
    links: int = 0

    def __add__(self, other: "Shared") -> "Shared":
        return Shared(self.files + other.files, self.bytes + other.bytes, self.links + other.links)


def share_folder(source: Path, target: Path, progress: Progress = no_progress) -> Shared:
    """Make a folder with the published files of another one; unfinished attempts, caches and damage stay behind.

    Args:
        source: a stage's folder.
        target: the folder to make; one that is there gives way.
        progress: called with files done, files in all and the present one's name.

    Raises:
        StoreError: the disk refuses; `target` is as it was, and the next call goes on from there.
    """
    partial, old = (target.with_name(f".{target.name}.{word}") for word in ("taking", "replaced"))
    names = published_files(source)
    make_folder(partial)
    shutil.rmtree(old, ignore_errors=True)
    wanted = {partial / name for name in names}
    for path in [path for path in partial.rglob("*") if path.is_file() and path not in wanted]:
        path.unlink()
    sizes = [(source / name).stat().st_size for name in names]
    shared = Shared()
    for done, name in enumerate(names):
        progress(done, len(names), f"{target.name}/{name}")
        shared += _share(source / name, partial / name, sum(sizes[done:]))
    try:
        for folder in [partial, *(path for path in partial.rglob("*") if path.is_dir())]:
            fsync_folder(folder)
        if target.exists():
            target.rename(old)
        partial.rename(target)
        fsync_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as problem:
        raise disk_error(target, problem) from problem
    return shared


def published_files(folder: Path) -> list[Path]:
    """Files of a stage's folder, as relative paths: the manifests come last, and of them the one of shard 0."""
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and path.suffix != ".damaged" and not any(part.startswith(".") for part in name.parts):
            found.append(name)
    return sorted(found, key=lambda name: (bool(MANIFEST.fullmatch(name.name)), name.name == "00000.json", name))


def share_file(source: Path, target: Path) -> Shared:
    """Make one file that another run has published; an older file of that name is replaced as a whole."""
    make_folder(target.parent)
    if _same(source, target):
        return Shared(1, target.stat().st_size, int(target.samefile(source)))
    temporary = target.parent / f".{uuid4().hex}.{target.name}"
    try:
        shared = _share(source, temporary, source.stat().st_size)
        temporary.replace(target)
        fsync_folder(target.parent)
    except OSError as problem:
        raise disk_error(target, problem) from problem
    finally:
        temporary.unlink(missing_ok=True)
    return shared


def _share(source: Path, target: Path, left: int) -> Shared:
    """Link or copy a file, unless an earlier call did; `left`: bytes to copy from here on, should links be refused."""
    size = source.stat().st_size
    if target.exists():
        if _same(source, target):
            return Shared(1, size, int(target.samefile(source)))
        target.unlink()
    make_folder(target.parent)
    if source.name not in GROWING:
        try:
            os.link(source, target)
            return Shared(1, size, 1)
        except OSError as problem:
            if problem.errno not in NO_LINK:
                raise disk_error(target, problem) from problem
        check_space(target, left)
    _copy(source, target)
    return Shared(1, size, 0)


def _same(source: Path, target: Path) -> bool:
    """Whether a file is a link to another or a finished copy, which has the time of the original."""
    if not target.exists():
        return False
    ours, theirs = target.stat(), source.stat()
    if os.path.samestat(ours, theirs):
        return source.name not in GROWING
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def _copy(source: Path, target: Path) -> None:
    """Copy a file durably; the time of the original marks the copy as whole, so it is set last."""
    try:
        read = source.open("rb")
    except OSError as problem:
        raise read_error(source, problem) from None
    with read:
        status = os.fstat(read.fileno())
        try:
            with target.open("wb") as written:
                try:
                    fcntl.ioctl(written.fileno(), FICLONE, read.fileno())
                except OSError:  # a file system without shared blocks
                    shutil.copyfileobj(read, written, BLOCK)
                written.flush()
                os.fsync(written.fileno())
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        except OSError as problem:
            raise disk_error(target, problem, status.st_size) from problem
