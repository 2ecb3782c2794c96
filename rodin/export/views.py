"""`rodin export views`: the pictures and cameras of people, in a format that other projects read.

Each person is a folder, written under another name and renamed once it is whole.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rodin.captures import eg3d, transforms
from rodin.compositing import bytes_over_white
from rodin.config import Config
from rodin.export.folder import ORIGINS, exporting, record_of
from rodin.export.formats import AXES, BACKGROUND, Person, about_text, labels, transforms_text
from rodin.hooks import Progress
from rodin.marks.tags import Origin, png_chunks
from rodin.presets.toml import to_toml
from rodin.store.atomic import fsync_file, fsync_folder, publish_bytes, publishing
from rodin.store.errors import check_space, disk_error
from rodin.store.manifest import readable
from rodin.store.outputs import replace_folder
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

FORMATS = ("transforms", "eg3d")
SETTINGS = "import.toml"
"""the run's config, with which the export is imported as it was"""
THREADS = min(8, len(os.sched_getaffinity(0)))
"""pictures written at a time: two cores gain 1.7 times, and a disk that is shared wants no more"""
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""ids that may name a folder on any system"""
PIXELS = {"transforms": "sRGB with straight alpha, lossless", "eg3d": f"sRGB over {BACKGROUND}, without alpha"}
"""format -> what its pictures hold: EG3D trains on pictures of one or three channels alone"""


@dataclass(frozen=True)
class ViewsExport:
    """What is to be written.

    Args:
        folder: the run.
        config: its config.
        form: one of FORMATS.
        output: the folder for it.
        shards: the run's views.
        subjects: ids, sorted.
    """

    folder: RunFolder
    config: Config
    form: str
    output: Path
    shards: Shards
    subjects: Sequence[str]

    def __post_init__(self) -> None:
        if self.form not in FORMATS:
            raise ValueError(f"--format got '{self.form}', wanted {' or '.join(FORMATS)}")
        taken: dict[str, str] = {}
        for subject in self.subjects:
            other = taken.setdefault(subject.casefold(), subject)
            if not NAME.fullmatch(subject) or other != subject:
                beside = "" if other == subject else f" beside {other!r}"
                raise ValueError(
                    f"{self.shards.folder}: subject {subject!r} cannot name a folder{beside}; leave it out with "
                    "--subjects"
                )

    def person(self, subject: str) -> Person:
        """A person's cameras and descriptions."""
        poses, lenses = (self.shards.read(subject, field) for field in ("camera_to_world", "intrinsics"))
        meta, checksum = self.shards.meta(subject), self.shards.checksum(subject, "rgba")
        captions = meta.get("captions") or [meta.get("caption", "")]
        origin = meta.get("origin", ORIGINS[self.config.data.source])
        side = self.shards.shape("rgba")[1]
        about = (captions, meta.get("attributes") or {}, origin, checksum, self.config.data.reference_views)
        return Person(subject, poses, lenses, side, *about)

    def listing(self, person: Person) -> tuple[str, str]:
        """Name and text of the file in a person's folder that is written last."""
        if self.form == "eg3d":
            return eg3d.PERSON, about_text(person)
        return transforms.FILE, transforms_text(person)

    def pictures(self, home: Path) -> Path:
        """Folder of a person's pictures."""
        return home if self.form == "eg3d" else home / "images"

    def picture(self, rgba: np.ndarray) -> Image.Image:
        """A view [R, R, 4] uint8, straight alpha, as its file shows it."""
        return Image.fromarray(bytes_over_white(rgba) if self.form == "eg3d" else rgba)

    @property
    def command(self) -> str:
        """The command that imports the export: `transforms` as it was, `eg3d` with an alpha told by the colours."""
        words = ["rodin", "import", self.form, str(self.output), "--preset", str(self.output / SETTINGS)]
        cut = ["--background", BACKGROUND] if self.form == "eg3d" else []
        return shlex.join([*words, *cut, "--run", "NEW"])

    @property
    def settings(self) -> Config:
        """The config of a run of these people."""
        held_out = set(self.config.held_out_subjects())
        train = sum(subject not in held_out for subject in self.subjects)
        counts = (train, len(self.subjects) - train) if train else (len(self.subjects), 0)
        data = {"source": "import", "subjects": counts[0], "held_out": counts[1]}
        return self.config.model_copy(update={"data": self.config.data.model_copy(update=data)})


def is_whole(export: ViewsExport, subject: str) -> bool:
    """Whether a person's folder holds the same cameras, descriptions and pictures as would be written now."""
    home = export.output / subject
    if not home.is_dir():
        return False
    person = export.person(subject)
    name, text = export.listing(person)
    try:
        same = (home / name).read_bytes() == text.encode()
        return same and set(person.pictures) <= {path.name for path in export.pictures(home).iterdir()}
    except FileNotFoundError:
        return False


def size_of(export: ViewsExport, subject: str) -> int:
    """Bytes of the pictures of a person, found by making them in memory."""
    chunks, size = chunks_of(export.person(subject).origin), 0
    for rgba in export.shards.read(subject, "rgba"):
        memory = io.BytesIO()
        export.picture(rgba).save(memory, "PNG", pnginfo=chunks)
        size += memory.tell()
    return size


def chunks_of(origin: str) -> PngInfo:
    """Text chunks of a picture that say where it comes from (R60)."""
    return png_chunks(Origin(origin))


def write_person(export: ViewsExport, person: Person, threads: ThreadPoolExecutor) -> None:
    """Write a person's folder; one that is there is replaced as a whole."""
    home, temporary = export.output / person.subject, export.output / f".{uuid.uuid4().hex}"
    pictures, chunks = export.pictures(temporary), chunks_of(person.origin)
    name, text = export.listing(person)

    def write(picture: str, rgba: np.ndarray) -> None:
        export.picture(rgba).save(pictures / picture, "PNG", pnginfo=chunks)
        fsync_file(pictures / picture)

    try:
        pictures.mkdir(parents=True)
        rgba = export.shards.read(person.subject, "rgba")
        for _ in threads.map(write, person.pictures, rgba):
            pass
        (temporary / name).write_text(text, encoding="utf-8")
        fsync_file(temporary / name)
        fsync_folder(pictures)
        fsync_folder(temporary)
        replace_folder(temporary, home)
    except OSError as problem:
        raise disk_error(home, problem) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export_views(
    export: ViewsExport, progress: Progress | None = None, looking: Progress | None = None
) -> dict[str, Any]:
    """Write an export; people who are there already, whole and the same, are kept.

    Args:
        export: what is to be written.
        progress: called with people done, people in all and the current id.
        looking: the same, while it is found out who is there already.

    Returns:
        {"output", "format", "subjects", "views", "pictures", "written", "kept", "import"}: numbers of people, views of
        each and pictures in all; people written now and kept; the command that imports them.

    Raises:
        ValueError, StoreError: one line, see `exporting`; what is whole stays.
    """
    subjects, views = list(export.subjects), export.shards.shape("rgba")[0]
    record = record_of(export.folder, export.config, "views", export.form, subjects) | described(export)
    with exporting(export.output, record), ThreadPoolExecutor(THREADS) as threads:
        missing = []
        for number, subject in enumerate(subjects):
            if looking is not None:
                looking(number, len(subjects), subject)
            if not is_whole(export, subject):
                missing.append(subject)
        if missing:
            check_space(export.output / missing[0], len(missing) * size_of(export, missing[0]))
            (export.output / eg3d.FILE).unlink(missing_ok=True)
        for number, subject in enumerate(missing):
            if progress is not None:
                progress(len(subjects) - len(missing) + number, len(subjects), subject)
            write_person(export, export.person(subject), threads)
        publish_bytes(export.output / SETTINGS, to_toml(export.settings).encode())
        if export.form == "eg3d":
            write_labels(export)
    made: dict[str, Any] = {"output": str(export.output), "format": export.form, "subjects": len(subjects)}
    made |= {"views": views, "pictures": views * len(subjects), "written": len(missing)}
    return made | {"kept": len(subjects) - len(missing), "import": export.command}


def write_labels(export: ViewsExport) -> None:
    """Write EG3D's `dataset.json`, one person at a time: of 100,000 people it has gigabytes."""
    with publishing(export.output / eg3d.FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, subject in enumerate(export.subjects):
            file.write(",\n" if number else '{"labels": [\n')
            file.write(",\n".join(labels(export.person(subject))))
        file.write("\n]}\n")


def described(export: ViewsExport) -> dict[str, Any]:
    """What the record says of the pictures and cameras."""
    views, side = export.shards.shape("rgba")[:2]
    data = export.config.data
    return {
        "views": views,
        "pictures": f"PNG, {side} x {side} pixels, {PIXELS[export.form]}; the first row is the top",
        "cameras": f"{AXES[export.form]}; the centre of the first pixel is (0.5, 0.5)",
        "world": "y up, the face looks to +z; people fit into the box of half the side `box`, world units",
        "box": export.config.triplane.box,
        "order": f"view 0 is frontal, {data.reference_views} near-frontal views come first, then the back",
        "import": readable(export.command),
    }
