"""Summary of the stores of a run."""

from pathlib import Path
from typing import Any

from rodin.store import manifest
from rodin.store.repair import stage_folders
from rodin.store.run_folder import RunFolder
from rodin.store.shards import schema
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards


def inventory(run: RunFolder) -> list[dict[str, Any]]:
    """Summaries of all folders of a run that hold shards.

    Returns:
        a dict each: store (folder name), kind, schema (version), rows, failed (subject -> reason), shards (how many),
        bytes (of the published shards), fields (field -> type and one subject's shape) and unfinished (bytes of
        attempts that are not published).
    """
    return [found for folder in stage_folders(run) if (found := describe(folder)) is not None]


def describe(folder: Path) -> dict[str, Any] | None:
    """Summary of one folder; None if it holds no published shard."""
    paths = manifest_paths(folder)
    kind = manifest.read(paths[0]).get("kind") if paths else None
    if kind not in schema.KINDS:
        return None
    shards = Shards(folder, kind)
    types = schema.fields_of(kind)
    return {
        "store": folder.name,
        "kind": kind,
        "schema": schema.VERSION,
        "rows": len(shards),
        "failed": shards.failed,
        "shards": len(shards.shards),
        "bytes": sum(path.stat().st_size for path in folder.glob("[0-9]*.h5")),
        "fields": {field: [types[field].dtype, *shards.shape(field)] for field in shards.fields()},
        "unfinished": sum(path.stat().st_size for path in folder.glob(".[0-9]*.h5")),
    }
