"""Folders of data for other projects: what one says of itself, and how it is continued or refused.

`README.json` is written first, with `complete` false, and again at the end: a folder with it is an export, whole or
not. Everything else appears under its final name only once it is whole, so the same command goes on after a kill.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rodin import __version__
from rodin.config import Config
from rodin.store.atomic import make_folder, publish_bytes
from rodin.store.manifest import readable
from rodin.store.outputs import LEFTOVER, check_output
from rodin.store.reading import read_record
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

RECORD = "README.json"
GENERATOR = "rodin-suite"
IDENTITY = ("kind", "format", "run")
"""keys of the record that tell which exports may be continued by which"""
SHOWN = 3
"""ids that a message names"""
ORIGINS = {
    "avatars": "rendered pictures of synthetic people who do not exist, made by rodin-suite; not photographs",
    "import": "pictures that `rodin import` brought in; whom they show and on what terms, their source says",
}
"""config key data.source -> what is told of pictures that leave the project (R60)"""


def record_of(folder: RunFolder, config: Config, kind: str, form: str, subjects: Sequence[str]) -> dict[str, Any]:
    """The first part of an export's record: from which run it is, and of which people."""
    held_out = set(config.held_out_subjects())
    return {
        "generator": GENERATOR,
        "version": __version__,
        "kind": kind,
        "format": form,
        "run": readable(folder.path.resolve()),
        "origin": ORIGINS[config.data.source],
        "subjects": list(subjects),
        "held_out": [subject for subject in subjects if subject in held_out],
    }


@contextmanager
def exporting(output: Path, record: dict[str, Any]) -> Iterator[None]:
    """Hold an output folder while an export is written; its record says `complete` once the work within is done.

    Args:
        output: the folder; made if absent.
        record: of `record_of`, and what else the folder says of itself.

    Raises:
        ValueError: the folder holds other things, an export of something else or of people not asked for, or another
            process is writing it.
        StoreError: the disk refuses.
    """
    check_output(output, RECORD)
    check_earlier(output, record)
    make_folder(output)
    with locked(output) as alone:
        for path in output.iterdir() if alone else ():
            if LEFTOVER.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        publish_record(output, record | {"complete": False})
        yield
        publish_record(output, record | {"complete": True})


def check_earlier(output: Path, record: dict[str, Any]) -> None:
    """Refuse a folder with an export of another kind, format or run, or with people who are not asked for."""
    path = output / RECORD
    if not path.is_file():
        return
    found = read_record(path)
    if found.get("generator") != GENERATOR or not isinstance(found.get("subjects"), list):
        raise ValueError(f"{output}: its {RECORD} is not one of an export; choose another folder with --output")
    if differing := [key for key in IDENTITY if found.get(key) != record[key]]:
        there, wanted = (", ".join(f"{key} {one.get(key)!r}" for key in differing) for one in (found, record))
        raise ValueError(
            f"{output}: holds another export ({there}), wanted {wanted}; choose another folder with --output"
        )
    others = sorted(set(map(str, found["subjects"])) - set(record["subjects"]))
    if others:
        more = ", ..." if len(others) > SHOWN else ""
        raise ValueError(
            f"{output}: holds {len(others)} people who are not asked for now ({', '.join(others[:SHOWN])}{more}); ask "
            "for them too, or choose another folder with --output"
        )


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder against other processes; yields whether it is held, since some file systems have no such locks."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        alone = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another export is writing there; wait for it or stop it") from None
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(handle)


def publish_record(output: Path, record: dict[str, Any]) -> None:
    """Write the record of an export, long lists of people behind everything else."""
    last = {name: record[name] for name in ("held_out", "subjects")}
    ordered = {name: value for name, value in record.items() if name not in last} | last
    publish_bytes(output / RECORD, (json.dumps(ordered, indent=1, ensure_ascii=False) + "\n").encode())


def chosen(shards: Shards, text: str | None) -> list[str]:
    """The subjects of a store that a text such as `000003,000010:000019` names, sorted; None: all.

    Raises:
        ValueError: a subject that is not there, or a range without any.
    """
    if text is None:
        return shards.subjects
    found: set[str] = set()
    for part in (part.strip() for part in text.split(",")):
        first, colon, last = part.partition(":")
        if not colon:
            shards.locate(part)
            found.add(part)
            continue
        inside = [one for one in shards.subjects if first.strip() <= one and (not last or one <= last.strip())]
        if not inside:
            raise ValueError(
                f"--subjects got '{part}', and there is nobody between; people are {shards.subjects[0]} to "
                f"{shards.subjects[-1]}"
            )
        found.update(inside)
    return sorted(found)
