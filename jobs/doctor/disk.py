"""Checks of a file system as the suite uses it: publishing files, locks, stores."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jobs.doctor.finding import Finding, fail, found, warn
from jobs.run.lock import NO_LOCKS
from rodin.store.atomic import publish_bytes
from rodin.store.errors import StoreError
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter
from rodin.units import byte_size

PUBLISHED = 1 << 20  # bytes of the file that is published: 1 MiB, between a manifest and a small shard
SLOW_SECONDS = 1.0  # to publish it; a run publishes a few files for each person
LEAST_FREE = 5e9  # bytes: what the smallest presets leave
LEAST_SCRATCH = 1e9  # bytes in TMPDIR: an unpacked package of weights and the caches of compilers
HDF5_SECONDS = 60  # longest import of h5py on a slow file system
HDF5 = (
    "import sys, h5py\n"
    "with h5py.File(sys.argv[1], 'w') as file: file['x'] = 1\n"
    "with h5py.File(sys.argv[1], 'r') as file: assert file['x'][()] == 1\n"
)


def publishing(folder: Path) -> Iterator[Finding]:
    """Rename and fsync, as every result is published, and the space that is left."""
    times = []
    for number in range(3):
        begin = time.monotonic()
        publish_bytes(folder / f"published-{os.getpid()}", bytes([number]) * PUBLISHED)
        times.append(time.monotonic() - begin)
    seconds = sorted(times)[1]
    if (folder / f"published-{os.getpid()}").read_bytes() != bytes([2]) * PUBLISHED:
        yield fail("rename, fsync", "a file that was replaced still reads as the old one", "use another file system")
    elif seconds > SLOW_SECONDS:
        line = f"1 MB is safe on disk after {seconds:.1f} s"
        yield warn(
            "rename, fsync", line, "expect slow ends of shards; a scratch file system is faster than a home folder"
        )
    else:
        yield found("rename, fsync", f"1 MB is safe on disk after {1000 * seconds:.0f} ms")
    numbers = os.statvfs(folder)
    free = numbers.f_bavail * numbers.f_frsize
    if free < LEAST_FREE:
        yield warn(
            "space", f"{byte_size(free)} free", "`rodin plan` tells what a run needs; a quota may be lower still"
        )
    else:
        yield found("space", f"{byte_size(free)} free (a quota may be lower)")


def locking(folder: Path) -> Iterator[Finding]:
    """flock, with which one `rodin run` keeps off another; two descriptors of one process exclude each other."""
    path = folder / f"lock-{os.getpid()}"
    state = lock_state(path, lambda: lock_state(path))
    if state == "held":
        yield found("locks", "flock excludes a second holder")
    elif state == "taken":
        yield warn("locks", "flock lets two processes hold one lock", "start one `rodin run` of a run at a time")
    else:
        yield warn(
            "locks", f"flock: {state}", "start one `rodin run` of a run at a time; `rodin run` works without locks"
        )


def lock_state(path: Path, inside: Callable[[], str] = lambda: "taken") -> str:
    """Take a lock as `rodin run` does.

    Args:
        path: of the lock file.
        inside: called while it is held; its answer is returned.

    Returns:
        "taken", "held" by another, or the error of a file system without locks.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "held"
        except OSError as problem:
            if problem.errno not in NO_LOCKS:
                raise
            return os.strerror(problem.errno)
        return inside()


def storing(folder: Path) -> Iterator[Finding]:
    """A shard written and read by the suite's store, and HDF5's own locking, which other programs meet."""
    rgba = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 4), dtype=np.uint8)
    shapes = {"rgba": rgba.shape, "camera_to_world": (1, 4, 4), "intrinsics": (1, 4)}
    own = folder / f"store-{os.getpid()}"
    try:
        with ShardWriter(own, 0, "views", ["000000"], shapes) as writer:
            places = np.zeros((1, 4, 4), np.float32), np.zeros((1, 4), np.float32)
            writer.add("000000", rgba=rgba, camera_to_world=places[0], intrinsics=places[1])
            writer.publish()
        same = np.array_equal(Shards(own, "views").read("000000", "rgba"), rgba)
    except StoreError as problem:
        yield fail("store", str(problem), "use another file system for runs")
        return
    if not same:
        yield fail("store", "a shard reads back as other numbers", "use another file system for runs")
        return
    setting = os.environ.get("HDF5_USE_FILE_LOCKING", "not set")
    path = folder / f"plain-{os.getpid()}.h5"
    command = [sys.executable, "-c", HDF5, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HDF5_SECONDS, check=False)
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        line = f"stores work (rodin takes no HDF5 locks); other programs' h5py fails: {words}"
        yield warn("h5py locking", line, "export HDF5_USE_FILE_LOCKING=FALSE where you read stores yourself")
    else:
        yield found("h5py locking", f"stores and plain h5py files work (HDF5_USE_FILE_LOCKING {setting})")


def scratch() -> Iterator[Finding]:
    """The folder for temporary files of this machine."""
    place = Path(tempfile.gettempdir())
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x" * 1000)
            file.flush()
    except OSError as problem:
        reason = problem.strerror or errno.errorcode.get(problem.errno or 0, "no reason given")
        yield fail("scratch", f"{place}: {reason}", "`export TMPDIR=...` in setup of the site file")
        return
    numbers = os.statvfs(place)
    free = numbers.f_bavail * numbers.f_frsize
    kind = ", which is memory" if _in_memory(place) else ""
    line = f"{place} has {byte_size(free)} free{kind}"
    if free < LEAST_SCRATCH:
        yield warn("scratch", line, "`export TMPDIR=...` in setup of the site file, to a folder with more")
    else:
        yield found("scratch", line)


def _in_memory(place: Path) -> bool:
    """Whether a folder lies on a tmpfs."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    above = {str(path) for path in (place, *place.parents)}
    there = [(len(words[1]), words[2]) for words in mounts if words[1] in above]
    return max(there, default=(0, ""))[1] == "tmpfs"
