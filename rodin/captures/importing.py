"""`rodin import`: captured subjects become the views of a run.

Everything is read and checked before anything is written. Views are sorted as the other stages expect: the most frontal
ones first, then the one nearest to the back, then all sides evenly, so that the last ones, which are never fitted, also
show all sides. Those of an exported run keep their order where as many near-frontal ones come first in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures import colmap, eg3d, transforms
from rodin.captures.alpha import Alpha, Cut, cutter
from rodin.captures.capture import Capture, check_texts, clean
from rodin.captures.lens import Lens, distort, pinhole_of, undistort
from rodin.captures.mask_files import check_masks
from rodin.captures.placing import Alignment, Placing, check_outside, placing_of
from rodin.captures.squares import FRAMINGS, Window, meets_box, square, square_intrinsics, window
from rodin.config import Config
from rodin.config.shards import shard_count, shard_of
from rodin.hooks import Progress
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

READERS = {"transforms": transforms.captures, "eg3d": eg3d.captures, "colmap": colmap.captures}
GOLDEN = (5.0**0.5 - 1.0) / 2.0
"""golden ratio: its multiples spread evenly over the remaining views, however many are used"""
VOTES = 12
"""images that vote on whether a point of the scene lies on the subject"""
NOISE = 8
"""alpha up to which a stored image shows nobody: soft masks of networks are not quite 0 where there is nobody"""
ON_SUBJECT = 0.75
"""share of the votes that a point needs"""


@dataclass(frozen=True)
class ImportSettings:
    """Settings of an import, shared by all captures.

    Args:
        resolution: side of the stored images, pixels.
        alignment: of a capture's world with ours.
        alpha: how the subject is told from the background.
        framing: "pad" images to squares or "crop" them; None: crop where nothing is background, else pad.
        views: views stored of each subject; None: as many as every subject has.
        reference_views: number of the most frontal views, which come first.
    """

    resolution: int
    alignment: Alignment = field(default_factory=Alignment)
    alpha: Alpha = field(default_factory=Alpha)
    framing: str | None = None
    views: int | None = None
    reference_views: int = 1

    def __post_init__(self) -> None:
        if self.framing not in (None, *FRAMINGS):
            raise ValueError(f"frame: got '{self.framing}', wanted one of {', '.join(FRAMINGS)}")

    @property
    def whole(self) -> bool:
        """Whether images are used whole: everything that a camera sees in the box is the subject."""
        return self.alpha.background == "none"


@dataclass(frozen=True)
class View:
    """One view to be written: number of its frame, pinhole and window of the stored image, and its camera."""

    frame: int
    pinhole: Lens
    cut: Window
    camera_to_world: np.ndarray
    intrinsics: np.ndarray


@dataclass(frozen=True)
class CapturedSubject:
    """One checked capture and its views in order."""

    id: str
    capture: Capture
    settings: ImportSettings
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

    def image(self, index: int) -> np.ndarray:
        """The stored image of a view: rgba uint8 [R, R, 4], straight alpha."""
        view, settings = self.views[index], self.settings
        frame = self.capture.frames[view.frame]
        rgba = square(undistort(self.cut_out(frame), frame.lens, view.pinhole), view.cut, settings.resolution)
        if settings.whole:
            rgba[~meets_box(view.camera_to_world, view.intrinsics, settings.resolution, settings.alignment.box)] = 0
        return rgba


def plan_import(
    kind: str,
    source: Path,
    config: Config,
    alignment: Alignment,
    alpha: Alpha,
    framing: str | None = None,
    skip_missing: bool = False,
    follow_links: bool = False,
) -> list[CapturedSubject]:
    """Read a source and check everything that a run of this config needs; nothing is written.

    Args:
        kind: the format, a key of READERS.
        source: the user's folder.
        config: the run's config; its subjects are the captures, sorted by name.
        alignment: of the captures' world with ours.
        alpha: how the subject is told from the background.
        framing: as in ImportSettings.
        skip_missing: skip images that are listed but missing.
        follow_links: read images that symbolic links out of the source lead to.

    Raises:
        ValueError, FileNotFoundError: one line naming the file.
    """
    data, captures = config.data, READERS[kind](source, skip_missing, follow_links)
    wanted = data.subjects + data.held_out
    if len(captures) != wanted:
        raise ValueError(
            f"{source}: has {len(captures)} people, the run wants data.subjects {data.subjects} + data.held_out "
            f"{data.held_out} = {wanted}; set them to add up to {len(captures)}"
        )
    settings = ImportSettings(data.resolution, alignment, alpha, framing, data.views, data.reference_views)
    return check_captures(captures, settings, config.all_subjects())


def check_captures(
    captures: list[Capture], settings: ImportSettings, subjects: Sequence[str] | None = None
) -> list[CapturedSubject]:
    """The checked subjects of captures; subjects: their ids, by default their cleaned names."""
    ids = list(subjects) if subjects is not None else [clean(capture.name) for capture in captures]
    if len(ids) != len(captures) or len(set(ids)) != len(ids):
        raise ValueError(
            f"{captures[0].source.parent}: {len(captures)} folders for {len(set(ids))} different ids; "
            "rename folders alike in name"
        )
    for capture in captures:
        check_texts(capture)
    check_masks(captures, settings.alpha.masks)
    views = settings.views or min(len(capture.frames) for capture in captures)
    return [place_subject(subject, capture, settings, views) for subject, capture in zip(ids, captures, strict=True)]


def place_subject(subject: str, capture: Capture, settings: ImportSettings, views: int) -> CapturedSubject:
    """One subject in our world, views in order; every camera is checked to look at the box from outside."""
    if len(capture.frames) < views:
        raise ValueError(f"{capture.source}: {len(capture.frames)} pictures, wanted {views}; set data.views lower")
    cut_out = cutter(capture, settings.alpha)
    if (
        capture.points is not None
        and not settings.whole
        and None in (settings.alignment.centre, settings.alignment.scale)
    ):
        capture = replace(capture, points=points_on_subject(capture, cut_out))
    placing = placing_of(settings.alignment, capture)
    poses = np.stack([placing.pose(frame.camera_to_world) for frame in capture.frames])
    for frame, pose in zip(capture.frames, poses, strict=True):
        check_outside(frame, pose, settings.alignment.box)
    kept, positions = capture.in_order(settings.reference_views), poses[:, :3, 3]
    chosen = (range(len(poses)) if kept else view_order(positions, settings.reference_views))[:views]
    chosen_views = [view_of(capture, index, poses[index], settings) for index in chosen]
    return CapturedSubject(subject, capture, settings, placing, chosen_views, cut_out)


def points_on_subject(capture: Capture, cut_out: Cut) -> np.ndarray:
    """The points of the scene [M, 3] that lie on the person in most of VOTES images that show them."""
    points = np.zeros((0, 3)) if capture.points is None else capture.points
    shown, hits = np.zeros(len(points)), np.zeros(len(points))
    for frame in capture.frames[:: max(1, len(capture.frames) // VOTES)]:
        lens, pose = frame.lens, frame.camera_to_world
        local = (points - pose[:3, 3]) @ pose[:3, :3]
        before = local[:, 2] > 1e-6
        flat = distort(lens, local[:, :2] / np.where(before, local[:, 2], 1.0)[:, None])
        columns, rows = np.floor(flat * lens.intrinsics[:2] + lens.intrinsics[2:]).T
        framed = before & (columns >= 0) & (columns < lens.width) & (rows >= 0) & (rows < lens.height)
        alpha = cut_out(frame)[..., 3]
        shown += framed
        hits[framed] += alpha[rows[framed].astype(int), columns[framed].astype(int)] > 127
    return points[(shown > 0) & (hits >= ON_SUBJECT * shown)]


def view_of(capture: Capture, index: int, pose: np.ndarray, settings: ImportSettings) -> View:
    """One frame's view: undistorted, and cropped around the projection of the origin."""
    frame = capture.frames[index]
    pinhole = pinhole_of(frame.lens, f"{capture.source}, '{frame.name}'")
    x, y, depth = pose[:3, :3].T @ -pose[:3, 3]
    middle = (pinhole.fx * x / depth + pinhole.cx, pinhole.fy * y / depth + pinhole.cy)
    cut = window(pinhole, settings.framing or ("crop" if settings.whole else "pad"), middle)
    if cut.side < settings.resolution:
        size = f"{pinhole.width} x {pinhole.height}"
        raise ValueError(f"{frame.path}: pictures of {size}, wanted {settings.resolution}; set data.resolution lower")
    return View(index, pinhole, cut, pose, square_intrinsics(pinhole.intrinsics, cut, settings.resolution))


def view_order(positions: np.ndarray, reference_views: int) -> list[int]:
    """The most frontal cameras, the one nearest to the back, then the others in golden-ratio steps of their own order.

    Args:
        positions: [V, 3] positions of the cameras, our world.
        reference_views: number of the most frontal ones, which come first.
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


def write_views(
    subjects: list[CapturedSubject], shard_subjects: int, folder: RunFolder, progress: Progress | None = None
) -> dict[str, Any]:
    """Write checked subjects into `views` shards; rows of an earlier attempt are kept.

    Args:
        subjects: of `check_captures`.
        shard_subjects: subjects in one shard.
        folder: the run.
        progress: called with subjects done, subjects in all and the current id.

    Returns:
        {"subjects", "views", "shards", "skipped", "empty", "notes"}: empty counts the images written now in which
        nobody is to be seen, notes are lines for the user.
    """
    empty: list[Path] = []
    count, done, resolution = len(subjects[0].views), 0, subjects[0].settings.resolution
    shapes = {
        "rgba": (count, resolution, resolution, 4),
        "camera_to_world": (count, 4, 4),
        "intrinsics": (count, 4),
    }
    shards = shard_count(len(subjects), shard_subjects)
    for shard in range(shards):
        members = {subject.id: subject for subject in shard_of(subjects, shard, shard_subjects)}
        with ShardWriter(
            folder.stage("import"), shard, "views", list(members), shapes, {"resolution": resolution}
        ) as writer:
            for missing in writer.missing():
                if progress is not None:
                    progress(done, len(subjects), missing)
                empty += add_subject(writer, members[missing])
                done += 1
            writer.publish()
        done = min((shard + 1) * shard_subjects, len(subjects))
    skipped = sum(len(subject.capture.skipped) for subject in subjects)
    made: dict[str, Any] = {"subjects": len(subjects), "views": count, "shards": shards, "skipped": skipped}
    notes = [f"nobody is to be seen in {len(empty)} pictures, such as {empty[0]}"] if empty else []
    return made | {"empty": len(empty), "notes": notes + notes_of(subjects)}


def notes_of(subjects: list[CapturedSubject]) -> list[str]:
    """What the user must know of the way that subjects were told from the background, each note once."""
    return list(dict.fromkeys(note for subject in subjects for note in subject.cut_out.notes))


def add_subject(writer: ShardWriter, subject: CapturedSubject) -> list[Path]:
    """Write one subject's row; returns the images in which nobody is to be seen."""
    capture = subject.capture
    meta = {
        "caption": capture.captions[0] if capture.captions else "",
        "captions": capture.captions,
        "attributes": {},
        **{name: capture.record[name] for name in ("origin", "attributes") if name in capture.record},
        "name": capture.name,
        "frames": [capture.frames[view.frame].name for view in subject.views],
        "placing": subject.placing.options() | {"turn": subject.placing.turn.tolist()},
    }
    rgba = np.stack([subject.image(index) for index in range(len(subject.views))])
    writer.add(subject.id, meta=meta, rgba=rgba, camera_to_world=subject.camera_to_world, intrinsics=subject.intrinsics)
    seen = (rgba[..., 3] > NOISE).any(axis=(1, 2))
    return [capture.frames[view.frame].path for view, some in zip(subject.views, seen, strict=True) if not some]
