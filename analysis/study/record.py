"""The folder of a study: `study.json`, pictures under names that tell nothing, and the raters' votes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.study.design import Design
from rodin.store.atomic import publish_bytes, sha256_of
from rodin.store.errors import StoreError
from rodin.store.reading import read_record

RECORD = "study.json"
KIND = "rodin study"  # key "kind" of the record
NAME_LENGTH = 24  # hex digits of a picture's name: no two of a study are the same

FIELDS: dict[str, type | tuple[type, ...]] = {
    "question": str, "consent": str, "methods": dict, "items": list, "trials": int, "catch": int, "repeats": int,
    "seed": int, "salt": str, "size": int, "complete": bool, "pictures": dict, "reference": (str, type(None)),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study folder that has been built.

    Args:
        path: the folder.
        record: contents of study.json.
    """

    path: Path
    record: dict[str, Any]

    @property
    def votes(self) -> Path:
        """The database of raters and votes."""
        return self.path / "votes.sqlite"

    @property
    def facts(self) -> Path:
        """What only people can tell about a study, for its checklist."""
        return self.path / "facts.toml"

    @property
    def design(self) -> Design:
        """Pairs, sides and orders."""
        return design_of(self.record)

    @property
    def question(self) -> str:
        """What raters are asked of each pair."""
        return self.record["question"]

    @property
    def has_reference(self) -> bool:
        """Whether pairs are compared with a third picture."""
        return self.record["reference"] is not None

    def picture(self, method: str, item: str) -> Path:
        """File of a method's picture of an item; of the reference with `REFERENCE` as method."""
        return picture_path(self.path, self.record["salt"], method, item)

    def check(self) -> None:
        """Check every picture against its checksum.

        Raises:
            StoreError: one is gone or damaged; names it.
        """
        for name, entry in self.record["pictures"].items():
            path = self.path / "pictures" / name
            if not path.is_file():
                raise StoreError(f"{path}: the picture is gone; bring it back from a copy of the study")
            if sha256_of(path) != entry["sha256"]:
                raise StoreError(f"{path}: the picture is damaged; bring it back from a copy of the study")


def open_study(path: Path) -> Study:
    """The study in a folder.

    Raises:
        FileNotFoundError: there is none.
        StoreError: its record is damaged, or it was not built to the end.
    """
    file = path / RECORD
    if not file.is_file():
        raise FileNotFoundError(f"{path}: not a study (it has no {RECORD}); `rodin study build` makes one")
    record = read_record(file)
    if record.get("kind") != KIND:
        raise StoreError(f"{file}: not the record of a study; `rodin study build` makes one in another folder")
    for name, kind in FIELDS.items():
        if not isinstance(record.get(name), kind) or (kind is int and isinstance(record[name], bool)):
            raise StoreError(f"{file}: '{name}' is {record.get(name)!r}, which rodin did not write; restore a copy")
    if (wrong := other_than_built(record)) is not None:
        raise StoreError(f"{file}: '{wrong}' is not as rodin wrote it; restore a copy")
    if not record["complete"]:
        raise StoreError(f"{path}: the study is not built to its end; give the same `rodin study build` again")
    return Study(path, record)


def other_than_built(record: dict[str, Any]) -> str | None:
    """The first key of a record, whose kinds are right, with a value that no study is built with; None: all is well."""
    items, pairs = len(record["items"]), len(record["methods"]) * (len(record["methods"]) - 1) // 2
    sound = {
        "methods": pairs > 0 and all(isinstance(one, str) for one in record["methods"].values()),
        "items": items > 0 and all(isinstance(one, str) for one in record["items"]),
        "trials": 0 < record["trials"] <= items * pairs,
        "catch": 0 <= record["catch"] <= items * len(record["methods"]),
        "repeats": 0 <= record["repeats"] <= record["trials"],
        "seed": record["seed"] >= 0,
        "pictures": all(
            isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("method", "item", "sha256"))
            for one in record["pictures"].values()
        ),
    }
    return next((name for name, right in sound.items() if not right), None)


def design_of(record: dict[str, Any]) -> Design:
    """The design that a record's settings give."""
    numbers = {name: record[name] for name in ("trials", "catch", "repeats", "seed")}
    return Design(tuple(record["methods"]), tuple(record["items"]), **numbers)


def picture_path(folder: Path, salt: str, method: str, item: str) -> Path:
    """File of a picture: its name follows from a secret of the study, so that it tells neither method nor item."""
    digest = hashlib.sha256(json.dumps([salt, method, item]).encode()).hexdigest()
    return folder / "pictures" / f"{digest[:NAME_LENGTH]}.png"


def publish_study(folder: Path, record: dict[str, Any]) -> None:
    """Write study.json, atomically."""
    publish_bytes(folder / RECORD, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
