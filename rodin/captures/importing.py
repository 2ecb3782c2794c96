"""`rodin import`: captured people, as `rodin.captures` reads them, as the views of a run.

Everything is read and checked before anything is written. Views are put in the order the other stages count on: the
most frontal first, then the one nearest the back, then all sides evenly, so that the last ones, which are never fitted,
see all sides too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures import colmap, eg3d, transforms
from rodin.captures.alpha import Alpha, Cut, cutter
from rodin.captures.capture import Capture, clean
from rodin.captures.lens import Lens, bend, straight, straighten
from rodin.captures.placing import Alignment, Placing, check_outside, placing_of
from rodin.captures.squares import FRAMINGS, Window, meets_box, square, square_intrinsics, window
from rodin.config import Config
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

READERS = {"transforms": transforms.captures, "eg3d": eg3d.captures, "colmap": colmap.captures}
GOLDEN = (5.0**0.5 - 1.0) / 2.0
VOTES = 12
ON_PERSON = 0.75
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Wish:
    """What is wanted of every capture.

    Args:
        resolution: side of the stored pictures, pixels.
        world: where the capture's world lies in ours.
        alpha: what in a picture is person and what is background.
        framing: "pad" pictures to squares or "crop" them; None: crop where nothing is background, else pad.
        views: views kept of each person; None: as many as every one has.
        reference_views: how many of the most frontal views go first.
    """

    resolution: int
    world: Alignment = field(default_factory=Alignment)
    alpha: Alpha = field(default_factory=Alpha)
    framing: str | None = None
    views: int | None = None
    reference_views: int = 1

    def __post_init__(self) -> None:
        if self.framing not in (None, *FRAMINGS):
            raise ValueError(f"frame: got '{self.framing}', wanted one of {', '.join(FRAMINGS)}")

    @property
    def whole(self) -> bool:
        """Whether pictures are kept whole: all that a camera sees in the box is the subject."""
        return self.alpha.background == "none"


@dataclass(frozen=True)
class View:
    """One view to be written: the number of its frame, the pinhole and the square it is brought to, its camera."""

    frame: int
    pinhole: Lens
    cut: Window
    camera_to_world: np.ndarray
    intrinsics: np.ndarray


@dataclass(frozen=True)
class Person:
    """One checked capture and what becomes of it: its views in order."""

    subject: str
    capture: Capture
    wish: Wish
    placing: Placing
    views: list[View]
    cut_out: Cut

    @property
    def camera_to_world(self) -> np.ndarray:
        """[V, 4, 4] float32, OpenCV axes, our world."""
        return np.stack([view.camera_to_world for view in self.views]).astype("float32")

    @property
    def intrinsics(self) -> np.ndarray:
        """[V, 4] float32, fx, fy, cx, cy in pixels."""
        return np.stack([view.intrinsics for view in self.views]).astype("float32")

    def picture(self, index: int) -> np.ndarray:
        """A view as it is stored: rgba uint8 [R, R, 4], straight alpha."""
        view, wish = self.views[index], self.wish
        frame = self.capture.frames[view.frame]
        rgba = square(straighten(self.cut_out(frame), frame.lens, view.pinhole), view.cut, wish.resolution)
        if wish.whole:
            rgba[~meets_box(view.camera_to_world, view.intrinsics, wish.resolution, wish.world.box)] = 0
        return rgba


def plan_import(
    kind: str,
    source: Path,
    config: Config,
    world: Alignment,
    alpha: Alpha,
    framing: str | None = None,
    skip_missing: bool = False,
) -> list[Person]:
    """Read a source and check everything a run of this config needs of it; nothing is written.

    Args:
        kind: the format, a key of READERS.
        source: the user's folder.
        config: the run's config; its people are the captures in the order of their names.
        world: where the captures' world lies in ours.
        alpha: what in a picture is person and what is background.
        framing: see Wish.
        skip_missing: leave out pictures that are listed and not there.

    Raises:
        ValueError, FileNotFoundError: one line naming the file.
    """
    data, captures = config.data, READERS[kind](source, skip_missing)
    wanted = data.subjects + data.held_out
    if len(captures) != wanted:
        raise ValueError(
            f"{source}: has {len(captures)} people, the run wants data.subjects {data.subjects} + data.held_out "
            f"{data.held_out} = {wanted}; set them to add up to {len(captures)}"
        )
    wish = Wish(data.resolution, world, alpha, framing, data.views, data.reference_views)
    return plan(captures, wish, config.all_subjects())


def plan(captures: list[Capture], wish: Wish, subjects: Sequence[str] | None = None) -> list[Person]:
    """What becomes of each capture; subjects: ids for the people, default their cleaned names."""
    ids = list(subjects) if subjects is not None else [clean(capture.name) for capture in captures]
    if len(ids) != len(captures) or len(set(ids)) != len(ids):
        raise ValueError(
            f"{captures[0].source.parent}: {len(captures)} folders for {len(set(ids))} different ids; "
            "rename folders alike in name"
        )
    views = wish.views or min(len(capture.frames) for capture in captures)
    return [placed(subject, capture, wish, views) for subject, capture in zip(ids, captures, strict=True)]


def placed(subject: str, capture: Capture, wish: Wish, views: int) -> Person:
    """One person in our world, views in order, every camera checked to look at the box from outside."""
    if len(capture.frames) < views:
        raise ValueError(f"{capture.source}: {len(capture.frames)} pictures, wanted {views}; set data.views lower")
    cut_out = cutter(capture, wish.alpha)
    if capture.points is not None and not wish.whole and None in (wish.world.centre, wish.world.scale):
        capture = replace(capture, points=points_on_subject(capture, cut_out))
    placing = placing_of(wish.world, capture)
    poses = np.stack([placing.pose(frame.camera_to_world) for frame in capture.frames])
    for frame, pose in zip(capture.frames, poses, strict=True):
        check_outside(frame, pose, wish.world.box)
    chosen = view_order(poses[:, :3, 3], wish.reference_views)[:views]
    kept = [view_of(capture, index, poses[index], wish) for index in chosen]
    return Person(subject, capture, wish, placing, kept, cut_out)


def points_on_subject(capture: Capture, cut_out: Cut) -> np.ndarray:
    """The points of the scene [M, 3] that fall on the person in nearly every one of some pictures that show them."""
    points = np.zeros((0, 3)) if capture.points is None else capture.points
    shown, hits = np.zeros(len(points)), np.zeros(len(points))
    for frame in capture.frames[:: max(1, len(capture.frames) // VOTES)]:
        lens, pose = frame.lens, frame.camera_to_world
        local = (points - pose[:3, 3]) @ pose[:3, :3]
        before = local[:, 2] > 1e-6
        flat = bend(lens, local[:, :2] / np.where(before, local[:, 2], 1.0)[:, None])
        columns, rows = np.floor(flat * lens.intrinsics[:2] + lens.intrinsics[2:]).T
        framed = before & (columns >= 0) & (columns < lens.width) & (rows >= 0) & (rows < lens.height)
        alpha = cut_out(frame)[..., 3]
        shown += framed
        hits[framed] += alpha[rows[framed].astype(int), columns[framed].astype(int)] > 127
    return points[(shown > 0) & (hits >= ON_PERSON * shown)]


def view_of(capture: Capture, index: int, pose: np.ndarray, wish: Wish) -> View:
    """One frame's view: straightened, and cut around where the world's middle falls."""
    frame = capture.frames[index]
    pinhole = straight(frame.lens, f"{capture.source}, '{frame.path.name}'")
    x, y, depth = pose[:3, :3].T @ -pose[:3, 3]
    middle = (pinhole.fx * x / depth + pinhole.cx, pinhole.fy * y / depth + pinhole.cy)
    cut = window(pinhole, wish.framing or ("crop" if wish.whole else "pad"), middle)
    if cut.side < wish.resolution:
        size = f"{pinhole.width} x {pinhole.height}"
        raise ValueError(f"{frame.path}: pictures of {size}, wanted {wish.resolution}; set data.resolution lower")
    return View(index, pinhole, cut, pose, square_intrinsics(pinhole.intrinsics, cut, wish.resolution))


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
    people: list[Person], shard_subjects: int, folder: RunFolder, progress: Progress | None = None
) -> dict[str, Any]:
    """Write checked people into `views` shards; what an earlier try wrote is kept.

    Args:
        people: of `plan`.
        shard_subjects: people in one shard.
        folder: the run.
        progress: told people done, people in all and the present id.

    Returns:
        {"subjects", "views", "shards", "skipped"}.
    """
    count, done, resolution = len(people[0].views), 0, people[0].wish.resolution
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
                add(writer, members[subject])
                done += 1
            writer.publish()
        done = min(start + shard_subjects, len(people))
    skipped = sum(len(person.capture.skipped) for person in people)
    return {"subjects": len(people), "views": count, "shards": len(starts), "skipped": skipped}


def add(writer: ShardWriter, person: Person) -> None:
    """Write one person's row."""
    capture = person.capture
    meta = {
        "caption": capture.captions[0] if capture.captions else "",
        "captions": capture.captions,
        "attributes": {},
        "name": capture.name,
        "frames": [capture.frames[view.frame].path.name for view in person.views],
        "placing": person.placing.told() | {"turn": person.placing.turn.tolist()},
    }
    writer.add(
        person.subject,
        meta=meta,
        rgba=np.stack([person.picture(index) for index in range(len(person.views))]),
        camera_to_world=person.camera_to_world,
        intrinsics=person.intrinsics,
    )
