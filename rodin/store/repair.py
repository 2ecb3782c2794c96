"""Checking everything a run keeps, and setting aside what is damaged so that the same command makes only that again."""

from collections.abc import Callable
from pathlib import Path

from rodin.store import manifest, schema
from rodin.store.atomic import fsync_folder
from rodin.store.catalogue import manifest_paths
from rodin.store.checking import check_shard
from rodin.store.errors import OtherVersion, StoreError, disk_error
from rodin.store.run_folder import RunFolder

FOLDERS = {kind: kind for kind in schema.KINDS}
"""kind of shard -> the folder of the stage that makes it"""

NO_STAGES = ("jobs", "code", "results", "tables", "figures")
Progress = Callable[[int, int, str], None]


def verify(run: RunFolder, progress: Progress | None = None) -> list[str]:
    """Hold every manifest of a run against what it stands for: shards by their rows, other files by their SHA-256.

    Args:
        run: the run.
        progress: told manifests done, manifests in all and the present one's name.

    Returns:
        one line a problem, each with its next step; empty if all is well.
    """
    return [problem for problems in damaged(run, progress).values() for problem in problems]


def repair(run: RunFolder, progress: Progress | None = None) -> list[str]:
    """Verify a run and withdraw the manifests of what is damaged.

    Shard files stay: the next run of the stage adopts their whole rows and makes the damaged ones again.

    Args:
        run: the run.
        progress: told manifests done, manifests in all and the present one's name.

    Returns:
        one line a problem; empty if all is well.
    """
    found = damaged(run, progress)
    gates = [gate for path in found for gate in manifest.gates(path)]
    for path in dict.fromkeys([*gates, *found]):
        withdraw(path)
    return [problem for problems in found.values() for problem in problems]


def damaged(run: RunFolder, progress: Progress | None = None) -> dict[Path, list[str]]:
    """The manifests of a run that do not stand for what is on disk, each with its problems."""
    folders = [path for path in sorted(run.path.glob("[!.]*")) if path.is_dir() and path.name not in NO_STAGES]
    paths = [path for folder in folders for path in manifest_paths(folder)]
    found = {}
    for done, path in enumerate(paths):
        if progress is not None:
            progress(done, len(paths), f"{path.parent.name}/{path.stem}")
        if problems := problems_of(path):
            found[path] = problems
    return found


def problems_of(path: Path) -> list[str]:
    """Problems of one manifest and of what it stands for.

    Raises:
        StoreError: it is of another version of rodin, which is no damage: nothing of such a run is to be judged here.
    """
    try:
        content = manifest.read(path)
    except OtherVersion:
        raise
    except StoreError as problem:
        return [str(problem)]
    if content.get("kind") not in schema.KINDS:
        return manifest.check_files(path)
    return check_shard(path.with_suffix(".h5"))


def withdraw(path: Path) -> None:
    """Rename a manifest so that what it stands for counts as not done."""
    if not path.exists():
        return
    try:
        path.replace(path.with_suffix(".json.damaged"))
        fsync_folder(path.parent)
    except OSError as problem:
        raise disk_error(path, problem) from problem
