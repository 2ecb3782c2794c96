"""Setting damaged shards aside, so that the same command as before makes again what is damaged and nothing else."""

from collections.abc import Callable
from pathlib import Path

from rodin.store import manifest, schema
from rodin.store.atomic import fsync_folder
from rodin.store.errors import StoreError, disk_error
from rodin.store.reader import Shards, manifest_paths
from rodin.store.run_folder import RunFolder

FOLDERS = {kind: kind for kind in schema.KINDS}
"""kind of shard -> its folder in a run"""


def repair(run: RunFolder, progress: Callable[[int, int, str], None] | None = None) -> list[str]:
    """Check every shard of a run and withdraw the manifests of damaged ones.

    The shard files stay: the next run of the stage adopts their whole rows and makes the damaged ones again.

    Args:
        run: the run.
        progress: told shards done, shards in all and the present shard's name.

    Returns:
        one line a problem; empty if all is well.
    """
    problems = []
    for kind, name in FOLDERS.items():
        folder = run.path / name
        unread = [path for path in manifest_paths(folder) if not readable(path)]
        problems += [f"{path}: damaged manifest" for path in unread]
        withdraw(unread)
        if manifest_paths(folder):
            shards, damaged = Shards(folder, kind), []
            for number, shard in enumerate(shards.shards):
                if progress is not None:
                    progress(number, len(shards.shards), f"{folder.name}/{shard:05d}")
                if found := shards.verify_shard(shard):
                    problems += found
                    damaged.append(folder / f"{shard:05d}.json")
            withdraw(damaged)
    return problems


def readable(path: Path) -> bool:
    """Whether a manifest is whole."""
    try:
        manifest.read(path)
    except StoreError:
        return False
    return True


def withdraw(manifests: list[Path]) -> None:
    """Rename manifests so that their shards count as not done."""
    gates = [gate for path in manifests for gate in manifest.gates(path)]
    for path in dict.fromkeys([*gates, *manifests]):
        if not path.exists():
            continue
        try:
            path.replace(path.with_suffix(".json.damaged"))
            fsync_folder(path.parent)
        except OSError as problem:
            raise disk_error(path, problem) from problem
