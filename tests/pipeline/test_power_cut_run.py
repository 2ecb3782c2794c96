"""A whole run whose power is cut: each manifest stands for whole files, and what is done stays done."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracles.lossy_disk import File, Folder, LossyDisk, Tree, put
from oracles.syscalls import Event, available, record

from rodin.store import manifest
from rodin.store.repair import damaged
from rodin.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
MANIFEST = re.compile(r"(?!jobs/).*/\d{5}\.json", re.ASCII)
RESUMED = 2  # power cuts after which the run is finished and compared; each is a whole run
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not available(), reason="needs strace, and leave to trace: apt install strace"),
]


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "jobs", "run", "tiny", "--run", str(folder)]


class Promises:
    """What a run has promised so far: contents that files had under their final names, and what is done.

    Manifests and hashes are remembered by the bytes objects, which the disk keeps while a file does not change.
    """

    def __init__(self) -> None:
        self.seen: dict[str, set[bytes]] = {}
        self.digests: dict[int, tuple[bytes, bytes]] = {}

    def digest(self, data: bytes) -> bytes:
        """SHA-256 of some bytes."""
        if id(data) not in self.digests:
            self.digests[id(data)] = (data, hashlib.sha256(data).digest())
        return self.digests[id(data)][1]

    def named(self, path: str, node: File | Folder) -> None:
        """A file got a name by rename: all that it ever held there is whole."""
        if isinstance(node, File):
            self.seen.setdefault(path, set()).add(self.digest(node.content()))

    def problems(self, tree: Tree) -> list[str]:
        """Manifests in what a power cut left that stand for files which are not whole."""
        found = []
        for path, data in tree.items():
            if data is None or not MANIFEST.fullmatch(path):
                continue
            if self.digest(data) not in self.seen.get(path, set()):
                found.append(f"{path} is not whole")
                continue
            known, home = json.loads(data), Path(path).parent
            files = {os.path.normpath(home / name): bytes.fromhex(one["sha256"]) for name, one in files_of(known)}
            shard = path.removesuffix(".json") + ".h5"
            if "frame_sha256" in known and self.digest(tree.get(shard) or b"") not in self.seen.get(shard, set()):
                found.append(f"{path} stands for a shard that is not whole")
            found += [
                f"{path} lists {name}, which is not whole"
                for name, wanted in files.items()
                if self.digest(tree.get(name) or b"") != wanted
            ]
        return found


def files_of(known: dict) -> list[tuple[str, dict]]:
    """The files that a manifest lists by their SHA-256."""
    return [(name, one) for name, one in known.get("files", {}).items() if one["sha256"]]


def replay(events: list[Event]) -> Iterator[tuple[int, Event, LossyDisk, Promises]]:
    """Apply every event; yield after those that change what a power cut may leave."""
    disk, promises, places = LossyDisk(), Promises(), {}
    for number, event in enumerate(events):
        disk.apply(event)
        if event.kind == "sync":
            places[event.token] = event.path
        if event.kind == "rename":
            promises.named(event.other, disk.find(event.other))
        if event.kind in ("synced", "rename", "unlink", "rmdir"):
            where = places.pop(event.token, "") if event.kind == "synced" else event.path
            yield number, Event(event.kind, where), disk, promises


def test_manifests_stand_for_whole_files_and_done_stays_done(tmp_path: Path) -> None:
    folder, generator = tmp_path / "run", random.Random(4)
    folder.mkdir()
    events = record(command(folder), folder, os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    wanted, count, cut = done_of(folder), 0, generator.sample(range(len(events)), RESUMED)
    trees: list[Tree] = []
    for number, event, disk, promises in replay(events):
        strict = disk.remains(0, 0)
        for tree in (strict, disk.remains(1, 0), disk.remains(0.5, 0.5, seed=number)):
            count += 1
            assert promises.problems(tree) == [], f"event {number} of {len(events)}: {event.kind} {event.path}"
        node = disk.find(event.path) if event.kind == "synced" else None
        for name in node.synced if isinstance(node, Folder) else ():
            path = os.path.normpath(f"{event.path}/{name}")
            assert not MANIFEST.fullmatch(path) or path in strict, f"{path} is done, and a power cut may take it"
        if cut and number >= min(cut):
            cut.remove(min(cut))
            trees.append(disk.remains(0.5, 0.5, seed=number))
    print(f"{len(events)} events, {count} power cuts")
    assert count > 1000
    for tree in trees:
        shutil.rmtree(folder)
        put(tree, folder)
        done = subprocess.run(
            command(folder), capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done_of(folder) == wanted
        assert damaged(RunFolder(folder)) == []


def done_of(folder: Path) -> dict[str, bytes]:
    """Shards and models of a run, which a resumed run makes to the same bits."""
    listed = [path for pattern in ("*/*.h5", "*/model.pt", "*/decoder.pt") for path in folder.glob(pattern)]
    assert all(manifest.complete(path.parent / "00000.json") for path in listed)
    return {str(path.relative_to(folder)): path.read_bytes() for path in listed}
