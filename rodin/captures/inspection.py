"""Contents of `rodin import --check`: the first subject's views, and the visual hull of its masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.captures.alpha import OPAQUE
from rodin.captures.importing import CapturedSubject, notes_of
from rodin.field.hull import carve

HULL_RESOLUTION = 64
"""cells along a side of the hull: enough to see its shape, a second of work"""


def inspect(subjects: list[CapturedSubject]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the first subject's images and carve its hull.

    Returns:
        the report, {"subjects", "views", "name", "centre", "scale", "hull": its share of the box, "touches":
        whether it reaches the box's faces, "notes": of `notes_of`}, and the fields of
        `analysis.figures.capture_check.CaptureCheck`.
    """
    subject = subjects[0]
    box, count = subject.settings.alignment.box, len(subject.views)
    rgba = np.stack([subject.image(index) for index in range(count)])
    hull = carve(
        torch.from_numpy(np.ascontiguousarray(rgba[..., 3])),
        torch.from_numpy(subject.camera_to_world),
        torch.from_numpy(subject.intrinsics),
        box=box,
        resolution=HULL_RESOLUTION,
    ).numpy()
    share, touches, placing = float(hull.mean()), reaches_faces(hull), subject.placing.options()
    report = {"subjects": len(subjects), "views": count, "name": subject.capture.name, **placing}
    report |= {"hull": round(share, 4), "touches": touches, "notes": notes_of(subjects)}
    more = f", the first of {len(subjects)}" if len(subjects) > 1 else ""
    shown = sorted({0, min(subject.settings.reference_views, count - 1), count // 2, count - 1})
    centre = ",".join(f"{value:g}" for value in placing["centre"])
    drawn = {
        "title": f"{subject.capture.name}{more}: {count} views, the hull is {100 * share:.1f} % of the box",
        "poses": subject.camera_to_world,
        "lenses": subject.intrinsics,
        "shown": [(index, subject.capture.frames[subject.views[index].frame].path.name) for index in shown],
        "pictures": rgba[shown],
        "hull": hull,
        "box": box,
        "notes": [
            f"In the capture's world: --centre={centre} --scale {placing['scale']:g}. The box is +-{box:g} in ours.",
            advice(share, touches, subject.settings.whole),
            *cut_off(subject, rgba),
            *report["notes"],
        ],
    }
    return report, drawn


def cut_off(subject: CapturedSubject, rgba: np.ndarray) -> list[str]:
    """A note on images [V, R, R, 4] where the subject continues beyond a padded side, if there are such.

    Padding counts as background, so the hull loses what the image did not show.
    """
    found = []
    for view, alpha in zip(subject.views, rgba[..., 3] > OPAQUE, strict=True):
        rows, columns = (np.ceil(-np.array([view.cut.top, view.cut.left]) * len(alpha) / view.cut.side)).astype(int)
        edges = [alpha[rows], alpha[-1 - rows]] if rows > 0 else []
        edges += [alpha[:, columns], alpha[:, -1 - columns]] if columns > 0 else []
        if any(edge.any() for edge in edges):
            found.append(subject.capture.frames[view.frame].path.name)
    if not found:
        return []
    return [f"In {len(found)} pictures ({found[0]}, ...) the person goes on beyond a padded side: use --frame crop."]


def reaches_faces(hull: np.ndarray) -> bool:
    """Whether a hull [G, G, G] touches a face of the box."""
    return any(bool(np.take(hull, end, axis=axis).any()) for axis in range(3) for end in (0, -1))


def advice(share: float, touches: bool, whole: bool) -> str:
    """A sentence on the hull: what is wrong, and what to change."""
    if whole:
        return "Pictures are kept whole: all that is seen in the box is fitted, so no hull can be carved."
    if share == 0:
        return "The hull is empty: the cameras disagree. Look at --up, --centre and the masks."
    if touches:
        return "The hull reaches the faces of the box: the person may be cut off there. A smaller --scale shows more."
    return "The hull lies inside the box, away from its faces."
