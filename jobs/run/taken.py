"""Record of what a run took over from another run: run/jobs/taken/STAGE.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rodin.store.atomic import publish_bytes, sha256_of
from rodin.store.errors import read_error
from rodin.store.reading import entries, read_record
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths


@dataclass(frozen=True)
class TakenStage:
    """A stage whose files were made in another run.

    Args:
        stage: its name.
        source: absolute path of the run folder that it was taken from.
        manifests: name of each manifest -> SHA-256 of its bytes; no other stage has the same.
        code: version of the code that made it, as in run.toml of the source.
        when: seconds since 1970.
        files, bytes, links: how many files were taken, their size, and how many of them are links.
    """

    stage: str
    source: str
    manifests: dict[str, str]
    code: dict[str, str] = field(default_factory=dict)
    when: float = 0.0
    files: int = 0
    bytes: int = 0
    links: int = 0


def manifests_of(folder: RunFolder, stage: str) -> dict[str, str]:
    """Name of each manifest of a stage -> SHA-256 of its bytes.

    Raises:
        Unreadable: the operating system does not let one be read.
    """
    paths = manifest_paths(folder.stage(stage))
    try:
        return {path.name: sha256_of(path) for path in paths}
    except OSError as problem:
        raise read_error(folder.stage(stage), problem) from None


def record_taken(folder: RunFolder, taken: TakenStage) -> None:
    """Write down that a stage was taken over."""
    publish_bytes(_path(folder, taken.stage), (json.dumps(asdict(taken), indent=1) + "\n").encode())


def taken_stage(folder: RunFolder, stage: str) -> TakenStage | None:
    """What was taken over as a stage; None where the stage was made here, or made again since, or nothing tells."""
    found = _read(_path(folder, stage))
    return found if found is not None and found.manifests == manifests_of(folder, stage) else None


def all_taken(folder: RunFolder) -> list[TakenStage]:
    """What was ever taken over by a run, also where it was made again since."""
    found = (_read(path) for path in entries(folder.jobs / "taken") if path.suffix == ".json")
    return [one for one in found if one is not None]


def _read(path: Path) -> TakenStage | None:
    try:
        return TakenStage(**read_record(path))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _path(folder: RunFolder, stage: str) -> Path:
    return folder.jobs / "taken" / f"{stage}.json"
