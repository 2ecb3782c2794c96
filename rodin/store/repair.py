"""Check of all stores of a run, and withdrawal of what is damaged, so that the next run makes only that again."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rodin.hooks import Progress
from rodin.store import manifest
from rodin.store.atomic import fsync_folder
from rodin.store.errors import OtherVersion, StoreError, Unreadable, disk_error, read_error
from rodin.store.reading import entries
from rodin.store.run_folder import RunFolder
from rodin.store.shards import attempt as attempts
from rodin.store.shards import schema
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.checking import check_shard, subjects_to_remake

NO_STAGES = ("jobs", "code", "results", "tables", "figures")  # folders of a run without manifests of stages


@dataclass(frozen=True)
class Damage:
    """A manifest that does not match what is on disk, or whose files cannot be read.

    Args:
        path: the manifest.
        problems: one line each, with its next step.
        subjects: subjects whose rows the stage must make again; empty if it is not a shard that is damaged; None if
            neither shard nor manifest lists them, which means all of the shard's.
        unreadable: the operating system does not let the files be read, so that nothing is known to be damaged.
    """

    path: Path
    problems: list[str]
    subjects: list[str] | None
    unreadable: bool = False


def damaged(run: RunFolder, progress: Progress | None = None, rank: int = 0, size: int = 1) -> list[Damage]:
    """The manifests of a run that do not match what is on disk, or whose files cannot be read.

    Args:
        run: the run.
        progress: called with manifests done, manifests in all and the present one's name.
        rank, size: check every `size`-th manifest from the `rank`-th on; a single process uses all its processors.

    Raises:
        OtherVersion: another version of rodin wrote the run, which is no damage; this version cannot judge it.
    """
    paths = [path for folder in stage_folders(run) for path in manifest_paths(folder)][rank::size]
    found = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if size == 1 else 1) as pool:
        results = pool.map(damage_of, paths)
        for done, path in enumerate(paths):
            if progress is not None:
                progress(done, len(paths), f"{path.parent.name}/{path.stem}")
            damage = next(results)
            found += [] if damage is None else [damage]
    return found


def stage_folders(run: RunFolder) -> list[Path]:
    """The folders of a run that stages write to."""
    found = [path for path in entries(run.path) if path.name not in NO_STAGES and not path.name.startswith(".")]
    return [path for path in found if path.is_dir()]


def damage_of(path: Path) -> Damage | None:
    """Damage of one manifest or of the files it describes; None if there is none."""
    shard, problems = path.with_suffix(".h5"), []
    try:
        is_shard = manifest.read(path).get("kind") in schema.KINDS
        problems = check_shard(shard) if is_shard else manifest.check_files(path)
    except OtherVersion:
        raise
    except Unreadable as problem:
        return Damage(path, [str(problem)], [], unreadable=True)
    except OSError as problem:
        return Damage(path, [str(read_error(Path(problem.filename or path), problem))], [], unreadable=True)
    except StoreError as problem:
        is_shard, problems = shard.exists(), [str(problem)]
    return Damage(path, problems, subjects_to_remake(shard) if is_shard else []) if problems else None


def set_aside(found: Sequence[Damage]) -> None:
    """Withdraw the manifests of what is damaged; what could only not be read is left alone.

    Shard files stay: the next run of the stage copies their intact rows and makes only the others again.
    """
    broken = [damage.path for damage in found if not damage.unreadable]
    gates = [gate for path in broken for gate in manifest.linked_manifests(path)]
    for path in dict.fromkeys([*gates, *broken]):
        withdraw(path)


def remove_leftovers(run: RunFolder) -> int:
    """Remove files that killed attempts left beside published shards; returns the bytes freed."""
    freed = 0
    for path in [path for folder in stage_folders(run) for path in manifest_paths(folder)]:
        for leftover in attempts.leftovers(path.parent, int(path.stem)):
            freed += leftover.stat().st_size
            leftover.unlink()
    return freed


def withdraw(path: Path) -> None:
    """Rename a manifest to ``.json.damaged``, so that its shard counts as not done."""
    if not path.exists():
        return
    try:
        path.replace(path.with_suffix(".json.damaged"))
        fsync_folder(path.parent)
    except OSError as problem:
        raise disk_error(path, problem) from problem
