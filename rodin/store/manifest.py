"""Manifests: small JSON files whose presence is the only "done" of a stage's shard.

Each ends with the SHA-256 of the bytes before it, so that a change of any byte is found.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from rodin.store.atomic import fsync_file, fsync_folder, publish_bytes, sha256_of
from rodin.store.errors import OtherVersion, StoreError, read_error
from rodin.store.reading import read_bytes
from rodin.store.shards import schema

CHECKSUM_KEY = "manifest_sha256"  # last key of every manifest
SHARD_KEYS = {
    "subjects": list, "failed": dict, "bytes": int, "frame_sha256": str, "meta": dict, "attributes": dict,
}  # fmt: skip
"""key of a shard's manifest -> type of its value; FORMAT.md says what they hold"""
DONE_BY_FIRST = ("latents", "evaluate")
"""folders of the shards of stages (`embed`, `evaluate`) that are one task, done once shard 0 is"""


def plain(value: Any) -> Any:
    """JSON value of a numpy scalar, an array or a path.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data")


def readable(path: Path | str) -> str:
    """A path as text that can be stored: bytes in it that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def canonical(content: Any) -> str:
    """Canonical JSON text: keys sorted, no spaces, no NaN; equal content gives equal text.

    Raises:
        StoreError: the content is not plain data.
    """
    try:
        return json.dumps(
            content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=plain
        )
    except (TypeError, ValueError) as problem:
        raise StoreError(f"only finite numbers, texts, lists and dicts can be stored: {problem}") from problem


def publish(path: Path, content: dict[str, Any]) -> None:
    """Publish a manifest atomically and durably."""
    publish_bytes(Path(path), encoded(content))


def encoded(content: dict[str, Any]) -> bytes:
    """Bytes of a manifest: JSON whose last entry is the SHA-256 of all bytes before that entry."""
    stored = json.loads(canonical({key: value for key, value in content.items() if key != CHECKSUM_KEY}))
    text = json.dumps(stored, ensure_ascii=False, indent=1).removesuffix("}").rstrip("\n") + "," * bool(stored)
    return text.encode() + ending(text.encode())


def ending(data: bytes) -> bytes:
    """Last bytes of a manifest that begins with `data`."""
    return b'\n "%s": "%s"\n}\n' % (CHECKSUM_KEY.encode(), hashlib.sha256(data).hexdigest().encode())


def read(path: Path) -> dict[str, Any]:
    """Read a manifest and check its checksum.

    Returns:
        its content, without the checksum.

    Raises:
        StoreError: it is missing or damaged; the message names the file and the next step.
        OtherVersion: it is intact, but of schema 1 or of a form that this version does not know.
        Unreadable: the operating system does not let it be read.
    """
    path = Path(path)
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: no such manifest, this part of the run is not done; run its stage first") from None
    except OSError as problem:
        raise read_error(path, problem) from None
    text = data[: -len(ending(b""))]
    if data == text + ending(text):
        try:
            content = json.loads(data)
            del content[CHECKSUM_KEY]
        except (ValueError, RecursionError, TypeError, KeyError):  # its checksum fits, but rodin writes none such
            raise StoreError(f"{path}: not a manifest that rodin wrote; {next_step(path)}") from None
        if (odd := odd_key(content)) is not None:
            raise OtherVersion(
                f"{path}: written by another rodin (its {odd!r} has another form); "
                "use the code snapshot in the run's code/ folder"
            )
        return content
    if is_schema_1(data):
        raise OtherVersion(f"{path}: written by an older rodin; use the code snapshot in the run's code/ folder")
    if CHECKSUM_KEY.encode() not in data:
        raise StoreError(f"{path}: not a manifest that rodin wrote, or damaged beyond recognition; {next_step(path)}")
    raise StoreError(f"{path}: damaged or hand-edited manifest (its checksum does not fit); {next_step(path)}")


def odd_key(content: dict[str, Any]) -> str | None:
    """The key of an intact manifest that is missing or holds another kind of value than readers count on."""
    files = content.get("files", {})
    if not isinstance(files, dict):
        return "files"
    sizes = [one.get("bytes") if isinstance(one, dict) and "sha256" in one else None for one in files.values()]
    if not all(isinstance(size, int) for size in sizes) or not all(map(within_run, files)):
        return "files"
    kind = content.get("kind")
    if kind is not None and not isinstance(kind, str):
        return "kind"
    if kind not in schema.KINDS or content.get("version") != schema.VERSION:
        return None
    for key, form in SHARD_KEYS.items():
        if not isinstance(content.get(key), form):
            return key
    if not all(isinstance(subject, str) for subject in content["subjects"]):
        return "subjects"
    if not all(isinstance(reason, str) for reason in content["failed"].values()):
        return "failed"
    return None if all(isinstance(content["meta"].get(subject), dict) for subject in content["subjects"]) else "meta"


def within_run(name: str) -> bool:
    """Whether a file that a stage's manifest lists lies in the run: in the stage's folder, or in the one above it."""
    parts = PurePosixPath(os.path.normpath(name)).parts
    return bool(parts) and "\0" not in name and parts[0] != "/" and parts.count("..") <= 1


def is_schema_1(data: bytes) -> bool:
    """Whether these are the bytes of an intact manifest of schema 1, whose checksum was over its canonical content."""
    try:
        content = json.loads(data)
        return content.pop(CHECKSUM_KEY) == hashlib.sha256(canonical(content).encode()).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def complete(path: Path) -> bool:
    """Whether a manifest is there, which is the only "done"."""
    return Path(path).is_file()


def next_step(path: Path) -> str:
    """Next step for a damaged shard or manifest, as the end of an error message."""
    names = dict.fromkeys([*linked_manifests(path), Path(path).with_suffix(".json")])
    return f"delete {' and '.join(map(str, names))} and run the same command again: it re-makes what is damaged"


def linked_manifests(path: Path) -> list[Path]:
    """Manifests to remove as well before a shard can be made again: some stages are done once their shard 0 is."""
    return [Path(path).with_name("00000.json")] if Path(path).parent.name in DONE_BY_FIRST else []


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Value of a manifest's ``files`` key: name relative to `folder` -> {sha256, bytes}.

    The files are fsynced first, and the folders that hold them: a manifest must not outlive what it describes.
    """
    paths = {name: folder / name for name in names}
    for path in paths.values():
        fsync_file(path)
    for place in {folder, folder.parent, *(path.parent for path in paths.values())}:  # a library may have made them
        fsync_folder(place)
    return {name: {"sha256": sha256_of(path), "bytes": path.stat().st_size} for name, path in paths.items()}


def check_files(path: Path) -> list[str]:
    """Problems of the files that a manifest lists under ``files``, one line each: missing or changed."""
    path = Path(path)
    problems = []
    for name, wanted in read(path).get("files", {}).items():
        file = path.parent / name
        if not file.is_file():
            problems.append(f"{file}: missing; {next_step(path)}")
        elif file.stat().st_size != wanted["bytes"] or sha256_of(file) != wanted["sha256"]:
            problems.append(f"{file}: not the bytes its manifest lists; {next_step(path)}")
    return problems
