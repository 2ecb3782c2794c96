"""Check of one published shard against its manifest: every byte of the manifest, of the rows and of the frame."""

from pathlib import Path
from typing import Any

from rodin.store import manifest
from rodin.store.errors import OtherVersion, StoreError, Unreadable, read_error
from rodin.store.manifest import next_step
from rodin.store.shards import attempt as attempts
from rodin.store.shards import layout, schema
from rodin.store.shards.rowfile import BLOCK, Handle, frame_sha256, row_checksum


def check_shard(path: Path) -> list[str]:
    """Problems of a shard.

    Args:
        path: the shard's HDF5 file; its manifest lies beside it.

    Returns:
        one line a problem, each with its next step; empty if the shard is intact.

    Raises:
        OtherVersion: another version of rodin wrote it.
        Unreadable: the operating system does not let it be read, so that nothing is known about it.
    """
    try:
        known = manifest.read(path.with_suffix(".json"))
        if known.get("version") != schema.VERSION:
            raise OtherVersion(f"{path.with_suffix('.json')}: {schema.other_version(known.get('version'))}")
        return problems_of(path, known)
    except FileNotFoundError:
        return [f"{path}: missing though its manifest is there; {next_step(path)}"]
    except OSError as problem:
        raise read_error(path, problem) from None
    except (OtherVersion, Unreadable):
        raise
    except StoreError as problem:
        return [str(problem)]


def problems_of(path: Path, known: dict[str, Any]) -> list[str]:
    """Problems of a shard's HDF5 file, given its manifest's content."""
    handle, buffer, problems = Handle(path), memoryview(bytearray(BLOCK)), []
    content = layout.inspect(path)
    if content.kind != known["kind"] or content.subjects != known["subjects"]:
        return [f"{path}: damaged shard (it does not hold what its manifest lists); {next_step(path)}"]
    for field, rows in content.rows.items():
        for row, subject in enumerate(content.subjects):
            found = row_checksum(handle.number, rows, row, buffer)
            if found is None:
                problem = "the file ends too soon"
            elif found != content.checksums[field][row].tolist():
                problem = "damaged (its checksum does not fit)"
            else:
                continue
            problems.append(f"{path}, subject {subject}, field {field!r}: {problem}; {next_step(path)}")
    intact = frame_sha256(handle.number, content.rows.values(), len(content.subjects)) == known["frame_sha256"]
    if problems or (intact and path.stat().st_size == known["bytes"]):
        return problems
    return [f"{path}: its bytes are not those its manifest lists, though every row reads well; {next_step(path)}"]


def subjects_to_remake(path: Path) -> list[str] | None:
    """The subjects that the stage must make again once a shard's manifest is withdrawn.

    Args:
        path: the shard's HDF5 file; its manifest lies beside it.

    Returns:
        all subjects but those whose rows are intact; None if neither file lists the subjects.
    """
    source = attempts.from_shard(path)
    intact = [] if source is None else attempts.intact_subjects(source)
    try:
        known = manifest.read(path.with_suffix(".json"))
        wanted = [*known["subjects"], *known["failed"]]
    except (StoreError, KeyError):
        if source is None:
            return None
        wanted = [finished.subject for finished in source.finished]
    return sorted(set(wanted) - set(intact))
