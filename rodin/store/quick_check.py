"""Quick look at what a run has published: damage that sizes, names and small files show, without reading the stores.

`rodin store verify` reads every byte; this reads the manifests, the first bytes of each shard and both ends of each
file of rows, so that `rodin status` can do it each time.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from rodin.store import manifest, results
from rodin.store.errors import OtherVersion, StoreError, Unreadable, read_error
from rodin.store.manifest import next_step
from rodin.store.reading import opened
from rodin.store.run_folder import RunFolder
from rodin.store.shards import schema
from rodin.store.shards.catalogue import manifest_paths

SIGNATURE = b"\x89HDF\r\n\x1a\n"  # first bytes of every HDF5 file
TAIL = 64 << 10  # bytes read from the end of a file of rows; a row is longer only with hundreds of prompts


def quick_problems(run: RunFolder, stages: Iterable[str]) -> dict[str, list[str]]:
    """What is wrong with the manifests, their files and the result rows of some stages.

    Returns:
        stage -> one line a problem, each with its next step; a stage without any has an empty list.
    """
    found = {stage: [] for stage in stages}
    stage_at = {run.stage(stage): stage for stage in found}
    for folder, stage in stage_at.items():
        try:
            found[stage] += [line for path in manifest_paths(folder) for line in problems_of_manifest(path)]
        except Unreadable as problem:
            found[stage].append(str(problem))
    try:
        rows = results.row_files(run)
    except Unreadable as problem:
        rows, found = [], {stage: [*lines, str(problem)] for stage, lines in found.items()}
    for path in rows:
        stage = stage_at.get(stage_of(run, path))
        if stage is not None:
            found[stage] += problems_of_rows(run, path)
    return found


def stage_of(run: RunFolder, path: Path) -> Path:
    """Folder of the stage that wrote a file of rows, or whose times it holds."""
    made_by = results.manifest_of(run, path)
    if made_by is not None:
        return made_by.parent
    return run.stage(path.stem.removeprefix(results.TIMING).rpartition("-")[0])


def problems_of_manifest(path: Path) -> list[str]:
    """What is wrong with a manifest, or with the files it describes: missing, of another size, or no HDF5 file."""
    try:
        known = manifest.read(path)
        if known.get("kind") in schema.KINDS and known.get("version") != schema.VERSION:
            return []
        if known.get("kind") in schema.KINDS:
            files = {path.with_suffix(".h5"): known["bytes"]}
        else:
            files = {path.parent / name: wanted["bytes"] for name, wanted in known.get("files", {}).items()}
        lines = [problem_of_file(file, size, path) for file, size in files.items()]
    except OtherVersion:  # whole, as far as this version can tell
        return []
    except StoreError as problem:
        return [str(problem)]
    return [line for line in lines if line]


def problem_of_file(file: Path, wanted: int, described_by: Path) -> str:
    """What is wrong with one file of a manifest; empty if nothing shows."""
    try:
        with os.fdopen(opened(file), "rb") as raw:
            size, begins = os.fstat(raw.fileno()).st_size, raw.read(len(SIGNATURE))
    except FileNotFoundError:
        return f"{file}: missing though its manifest is there; {next_step(described_by)}"
    except OSError as problem:
        return str(read_error(file, problem))
    if size != wanted:
        return f"{file}: damaged, has {size:,} bytes where its manifest lists {wanted:,}; {next_step(described_by)}"
    if file.suffix == ".h5" and begins != SIGNATURE:
        return f"{file}: damaged, no HDF5 file though of the right size; {next_step(described_by)}"
    return ""


def problems_of_rows(run: RunFolder, path: Path) -> list[str]:
    """What is wrong with a file of result rows, by its first and last bytes."""
    try:
        with os.fdopen(opened(path), "rb") as file:
            first = file.readline(TAIL)
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            tail = file.read()
    except FileNotFoundError:
        return []
    except OSError as problem:
        return [str(read_error(path, problem))]
    _, begun, last = tail.removesuffix(b"\n").rpartition(b"\n")
    ends = [line for line, whole in ((first, first.endswith(b"\n")), (last, begun)) if whole]
    if not first:
        reason = "is empty"
    elif not tail.endswith(b"\n"):
        reason = "ends in the middle of a row"
    elif any(results.row_of(line) is None for line in ends):
        reason = "holds something else than result rows"
    else:
        return []
    return [f"{path}: damaged, {reason}; {results.next_step(run, path)}"]
