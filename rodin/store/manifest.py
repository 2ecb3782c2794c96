"""Manifests: small JSON files whose presence is the only "done" of a stage's shard.

Each ends with the checksum of its own bytes, so that one with any byte changed is told from a good one.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rodin.store.atomic import publish_bytes, sha256_of
from rodin.store.errors import OtherVersion, StoreError

CHECKSUM_KEY = "manifest_sha256"


def plain(value: Any) -> Any:
    """What JSON shall write for a numpy scalar or a path; anything else is refused."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data")


def canonical(content: Any) -> str:
    """One text for one content: keys sorted, no spaces, no NaN."""
    try:
        return json.dumps(
            content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=plain
        )
    except (TypeError, ValueError) as problem:
        raise StoreError(f"only finite numbers, texts, lists and dicts can be stored: {problem}") from problem


def publish(path: Path, content: dict[str, Any]) -> None:
    """Publish a manifest, whole or not at all."""
    publish_bytes(Path(path), encoded(content))


def encoded(content: dict[str, Any]) -> bytes:
    """The bytes of a manifest: JSON whose last entry is the SHA-256 of all bytes before it."""
    stored = json.loads(canonical({key: value for key, value in content.items() if key != CHECKSUM_KEY}))
    text = json.dumps(stored, ensure_ascii=False, indent=1).removesuffix("}").rstrip("\n") + "," * bool(stored)
    return text.encode() + ending(text.encode())


def ending(data: bytes) -> bytes:
    """How a manifest that begins with `data` must end."""
    return b'\n "%s": "%s"\n}\n' % (CHECKSUM_KEY.encode(), hashlib.sha256(data).hexdigest().encode())


def read(path: Path) -> dict[str, Any]:
    """Read a manifest back, checked.

    Raises:
        StoreError: it is missing or damaged; the message names the file and the next step.
        OtherVersion: it is whole, but sealed as rodin did before.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{path}: no such manifest, this part of the run is not done; run its stage first") from None
    except OSError as problem:
        raise StoreError(f"{path}: unreadable manifest ({problem}); {next_step(path)}") from None
    text = data[: -len(ending(b""))]
    if data == text + ending(text):
        content = json.loads(data)
        del content[CHECKSUM_KEY]
        return content
    if is_schema_1(data):
        raise OtherVersion(f"{path}: written by an older rodin; use the code snapshot in the run's code/ folder")
    if CHECKSUM_KEY.encode() not in data:
        raise StoreError(f"{path}: not a manifest that rodin wrote, or damaged beyond knowing; {next_step(path)}")
    raise StoreError(f"{path}: damaged or hand-edited manifest (its checksum does not fit); {next_step(path)}")


def is_schema_1(data: bytes) -> bool:
    """Whether these are the bytes of a whole manifest of schema 1, whose seal was over its content."""
    try:
        content = json.loads(data)
        return content.pop(CHECKSUM_KEY) == hashlib.sha256(canonical(content).encode()).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def complete(path: Path) -> bool:
    """Whether a manifest is there: the only "done"."""
    return Path(path).is_file()


def next_step(path: Path) -> str:
    """The next step for a damaged shard or manifest."""
    names = dict.fromkeys([*linked_manifests(path), Path(path).with_suffix(".json")])
    return f"delete {' and '.join(map(str, names))} and run the same command again: it re-makes what is damaged"


def linked_manifests(path: Path) -> list[Path]:
    """Manifests that must go too before a shard is made again: latents are done when shard 0 is."""
    return [Path(path).with_name("00000.json")] if Path(path).parent.name == "latents" else []


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The ``files`` entry of a manifest: relative name -> sha256 and bytes."""
    return {name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size} for name in names}


def check_files(path: Path) -> list[str]:
    """Problems of the files a manifest lists under ``files``: missing, other size, other content."""
    path = Path(path)
    problems = []
    for name, wanted in read(path).get("files", {}).items():
        file = path.parent / name
        if not file.is_file():
            problems.append(f"{file}: missing; {next_step(path)}")
        elif file.stat().st_size != wanted["bytes"] or sha256_of(file) != wanted["sha256"]:
            problems.append(f"{file}: not the bytes its manifest lists; {next_step(path)}")
    return problems
