"""`rodin import transforms`: captured people, one NeRF or nerfstudio folder each, as the views of a run.

Everything is read and checked before anything is written. Views are put in the order the other stages count on: the
most frontal first, then the one nearest the back, then all sides evenly, so that the last ones, which are never fitted,
see all sides too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rodin.config import Config
from rodin.store.run_folder import RunFolder
from rodin.store.shard import ShardWriter
from rodin.store.squares import square, square_intrinsics
from rodin.store.transforms import FILE, Capture, read_capture

GOLDEN = (5.0**0.5 - 1.0) / 2.0
TURNS = {
    "y": np.eye(3),
    "z": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class World:
    """From the capture's world to ours: turn it upright, move `centre` to the origin, then scale.

    Args:
        box: half the side of the cube that is fitted, our units.
        centre: the middle of the head in the capture's world.
        scale: our units in one of theirs.
        up: the capture's upward axis; with "z" people face -y, as in Blender.
    """

    box: float = 1.0
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    up: str = "y"

    def __post_init__(self) -> None:
        if self.up not in TURNS:
            raise ValueError(f"up: got {self.up!r}, wanted one of {', '.join(TURNS)}")
        if not (
            np.isfinite(self.scale) and self.scale > 0 and len(self.centre) == 3 and np.isfinite(self.centre).all()
        ):
            raise ValueError(f"scale {self.scale}, centre {self.centre}: wanted a number over 0 and three numbers")

    def place(self, pose: np.ndarray) -> np.ndarray:
        """A camera_to_world [4, 4] of the capture in our world."""
        placed = np.eye(4)
        placed[:3, :3] = TURNS[self.up] @ pose[:3, :3]
        placed[:3, 3] = self.scale * (TURNS[self.up] @ (pose[:3, 3] - np.asarray(self.centre)))
        return placed


@dataclass(frozen=True)
class Person:
    """One checked capture and what becomes of it: its views in order, cameras [V, 4, 4] and intrinsics [V, 4]."""

    subject: str
    capture: Capture
    order: list[int]
    camera_to_world: np.ndarray
    intrinsics: np.ndarray


def import_transforms(
    source: Path,
    folder: RunFolder,
    *,
    resolution: int,
    world: World | None = None,
    views: int | None = None,
    reference_views: int = 1,
    subjects: Sequence[str] | None = None,
    shard_subjects: int = 64,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Bring one person's folder, or a folder of such folders, into a run's `views` shards.

    Args:
        source: holds `transforms.json`, or folders that do.
        folder: the run.
        resolution: side of the stored pictures, pixels.
        world: where the capture's world lies in ours; default: as it is.
        views: views kept of each person; default: as many as every one has.
        reference_views: how many of the most frontal views go first.
        subjects: ids for the people, by folder name; default: the cleaned folder names.
        shard_subjects: people in one shard.
        progress: told people done, people in all and the present id.

    Returns:
        {"people", "views", "shards"}.

    Raises:
        ValueError, FileNotFoundError: one line naming the file; nothing was written.
    """
    people = plan(source, resolution, world or World(), views=views, reference_views=reference_views, subjects=subjects)
    return write(people, resolution, shard_subjects, folder, progress)


def plan_import(source: Path, config: Config, world: World | None = None) -> Callable[[RunFolder, Progress], dict]:
    """Check everything a run of this config needs of a source; what is returned then writes it.

    Args:
        source: holds `transforms.json`, or folders that do.
        config: the run's config; its people are the folders in the order of their names.
        world: where the capture's world lies in ours; default: as it is, with the config's box.
    """
    data, found = config.data, len(folders_of(source))
    wanted = data.subjects + data.held_out
    if found != wanted:
        raise ValueError(
            f"{source}: has {found} people, the run wants data.subjects {data.subjects} + data.held_out "
            f"{data.held_out} = {wanted}; set them to add up to {found}"
        )
    people = plan(
        source,
        data.resolution,
        world or World(box=config.triplane.box),
        views=data.views,
        reference_views=data.reference_views,
        subjects=config.all_subjects(),
    )
    return partial(write, people, data.resolution, data.shard_subjects)


def plan(
    source: Path,
    resolution: int,
    world: World,
    *,
    views: int | None,
    reference_views: int,
    subjects: Sequence[str] | None,
) -> list[Person]:
    """Read and check every person; nothing is written."""
    folders = folders_of(source)
    ids = list(subjects) if subjects is not None else [clean(path.name) for path in folders]
    if len(ids) != len(folders) or len(set(ids)) != len(ids):
        raise ValueError(
            f"{source}: {len(folders)} folders for {len(set(ids))} different ids; rename folders alike in name"
        )
    captures = [read_capture(path) for path in folders]
    if views is None:
        views = min(len(capture.frames) for capture in captures)
    people = []
    for subject, capture in zip(ids, captures, strict=True):
        if len(capture.frames) < views:
            raise ValueError(
                f"{capture.folder / FILE}: {len(capture.frames)} pictures, wanted {views}; set data.views lower"
            )
        if max(capture.width, capture.height) < resolution:
            size = f"{capture.width} x {capture.height}"
            raise ValueError(
                f"{capture.folder / FILE}: pictures of {size}, wanted {resolution}; set data.resolution lower"
            )
        people.append(placed(subject, capture, resolution, world, views, reference_views))
    return people


def placed(subject: str, capture: Capture, resolution: int, world: World, views: int, reference_views: int) -> Person:
    """One person in our world, views in order, every camera checked to look at the box from outside."""
    poses = np.stack([world.place(frame.camera_to_world) for frame in capture.frames])
    for frame, pose in zip(capture.frames, poses, strict=True):
        if np.abs(pose[:3, 3]).max() <= world.box:
            raise ValueError(
                f"{frame.path}: its camera stands at {np.round(pose[:3, 3], 2).tolist()}, inside the box of "
                f"+-{world.box}; give a larger scale or another centre"
            )
        if pose[:3, 2] @ -pose[:3, 3] <= 0:
            raise ValueError(f"{frame.path}: its camera looks away from the origin; give the head's middle as centre")
    order = view_order(poses[:, :3, 3], reference_views)[:views]
    intrinsics = [
        square_intrinsics(capture.frames[index].intrinsics, capture.height, capture.width, resolution)
        for index in order
    ]
    return Person(subject, capture, order, poses[order].astype("float32"), np.stack(intrinsics).astype("float32"))


def view_order(positions: np.ndarray, reference_views: int) -> list[int]:
    """The most frontal cameras, the one nearest the back, then the others by golden steps through their own order.

    Args:
        positions: [V, 3] camera places, our world.
        reference_views: how many of the most frontal go first.
    """
    frontal = positions[:, 2] / np.linalg.norm(positions, axis=1)
    first = np.argsort(-frontal, kind="stable")[:reference_views].tolist()
    rest = [index for index in range(len(positions)) if index not in set(first)]
    if not rest:
        return first
    back = min(rest, key=lambda index: (frontal[index], index))
    others = [index for index in rest if index != back]
    ranks = np.argsort(np.argsort((np.arange(len(others)) * GOLDEN) % 1.0))
    return [*first, back, *(others[rank] for rank in ranks)]


def write(
    people: list[Person], resolution: int, shard_subjects: int, folder: RunFolder, progress: Progress | None = None
) -> dict[str, Any]:
    """Write checked people into `views` shards; what an earlier try wrote is kept."""
    count, done = len(people[0].order), 0
    shapes = {
        "rgba": (count, resolution, resolution, 4),
        "camera_to_world": (count, 4, 4),
        "intrinsics": (count, 4),
    }
    starts = range(0, len(people), shard_subjects)
    for shard, start in enumerate(starts):
        members = {person.subject: person for person in people[start : start + shard_subjects]}
        with ShardWriter(
            folder.stage("import"), shard, "views", list(members), shapes, {"resolution": resolution}
        ) as writer:
            for subject in writer.missing():
                if progress is not None:
                    progress(done, len(people), subject)
                add(writer, members[subject], resolution)
                done += 1
            writer.publish()
        done = min(start + shard_subjects, len(people))
    return {"people": len(people), "views": count, "shards": len(starts)}


def add(writer: ShardWriter, person: Person, resolution: int) -> None:
    """Write one person's row."""
    frames = [person.capture.frames[index] for index in person.order]
    captions = person.capture.captions
    meta = {
        "caption": captions[0] if captions else "",
        "captions": captions,
        "attributes": {},
        "name": person.capture.folder.name,
        "frames": [frame.path.name for frame in frames],
    }
    writer.add(
        person.subject,
        meta=meta,
        rgba=np.stack([square(frame.path, resolution) for frame in frames]),
        camera_to_world=person.camera_to_world,
        intrinsics=person.intrinsics,
    )


def folders_of(source: Path) -> list[Path]:
    """The folders of people in a source, by name; the source itself where it is one person's."""
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; wanted one with {FILE}, or of such folders")
    if (source / FILE).is_file():
        return [source]
    found = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not any((path / FILE).is_file() for path in found):
        raise FileNotFoundError(f"{source}: neither has {FILE} nor holds folders that do")
    return found


def clean(name: str) -> str:
    """A folder's name as an id: letters, digits, '_' and '-' only."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "person"
