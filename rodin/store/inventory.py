"""Summary of the stores of a run."""

import re
from pathlib import Path
from typing import Any

from rodin.store import manifest
from rodin.store.errors import StoreError, read_error
from rodin.store.manifest import next_step
from rodin.store.reading import entries
from rodin.store.repair import stage_folders
from rodin.store.run_folder import RunFolder
from rodin.store.shards import layout, schema
from rodin.store.shards.catalogue import catalogue, manifest_paths

UNFINISHED = re.compile(r"\.\d{5}\..*\.h5", re.ASCII)


def inventory(run: RunFolder) -> list[dict[str, Any]]:
    """Summaries of all folders of a run that hold shards.

    Returns:
        a dict each: store (folder name), kind, schema (version), rows, failed (subject -> reason), shards (how many),
        bytes (of the published shards), fields (field -> type and one subject's shape) and unfinished (bytes of
        attempts that are not published).
    """
    return [found for folder in stage_folders(run) if (found := describe(folder)) is not None]


def describe(folder: Path) -> dict[str, Any] | None:
    """Summary of one folder; None if it holds no published shard.

    A subject may have a row in several shards, as in `sweep-cfg`, which makes each held-out person once a scale.

    Raises:
        StoreError: a manifest or the first shard is damaged or cannot be read.
        OtherVersion: a manifest is whole, but not of a form that this version of rodin knows.
    """
    manifests = manifest_paths(folder)
    if not manifests or manifest.read(manifests[0]).get("kind") not in schema.KINDS:
        return None
    shards = catalogue(folder)
    paths = [folder / f"{one.shard:05d}.h5" for one in shards]
    types, first = schema.fields_of(shards[0].kind), first_index(paths[0])
    return {
        "store": folder.name,
        "kind": shards[0].kind,
        "schema": shards[0].version,
        "rows": sum(len(one.subjects) for one in shards),
        "failed": {subject: reason for one in shards for subject, reason in one.failed.items()},
        "shards": len(shards),
        "bytes": sum(path.stat().st_size for path in paths if path.exists()),
        "fields": {name: [types[name].dtype, *rows.shape] for name, rows in sorted(first.rows.items())},
        "unfinished": sum(path.stat().st_size for path in entries(folder) if UNFINISHED.fullmatch(path.name)),
    }


def first_index(path: Path) -> layout.ShardContent:
    """Index of a folder's first shard, whose fields and shapes all its shards have."""
    try:
        return layout.inspect(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: missing though its manifest is there; {next_step(path)}") from None
    except OSError as problem:
        raise read_error(path, problem) from None
