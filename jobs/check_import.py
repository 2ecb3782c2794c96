"""What `rodin import --check` draws: the first person's views, and the hull that their pictures carve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.check_import import Checked, save
from rodin.config import Config
from rodin.field.hull import carve
from rodin.stages.import_captures import Person

HULL_RESOLUTION = 64


def draw(people: list[Person], config: Config, path: Path) -> dict[str, Any]:
    """Draw the first person.

    Returns:
        {"people", "views", "png", "name", "centre", "scale", "hull": share of the box, "touches": whether the hull
        reaches the box's faces, "summary"}.
    """
    person, box = people[0], config.triplane.box
    rgba = np.stack([person.picture(index) for index in range(len(person.views))])
    hull = carve(
        torch.from_numpy(np.ascontiguousarray(rgba[..., 3])),
        torch.from_numpy(person.camera_to_world),
        torch.from_numpy(person.intrinsics),
        box=box,
        resolution=HULL_RESOLUTION,
    ).numpy()
    shown = [0, config.data.reference_views, len(rgba) // 2, len(rgba) - 1]
    share, touches = float(hull.mean()), reaches_faces(hull)
    told = {"people": len(people), "views": len(rgba), "png": str(path), "name": person.capture.name}
    told |= person.placing.told() | {"hull": round(share, 4), "touches": touches}
    centre, scale = ",".join(f"{value:g}" for value in person.placing.told()["centre"]), f"{person.placing.scale:.5g}"
    more = f", the first of {len(people)}" if len(people) > 1 else ""
    told["summary"] = f"{person.capture.name}{more}: {len(rgba)} views, the hull is {100 * share:.1f} % of the box"
    notes = [f"--centre={centre} --scale {scale} in the capture's world; the box is +-{box:g} in ours."]
    notes.append(advice(share, touches, person.wish.whole))
    frames = person.capture.frames
    save(
        Checked(
            told["summary"],
            person.camera_to_world,
            person.intrinsics,
            [(index, frames[person.views[index].frame].path.name) for index in shown],
            rgba[shown],
            hull,
            box,
            notes,
        ),
        path,
    )
    return told


def reaches_faces(hull: np.ndarray) -> bool:
    """Whether a hull [G, G, G] touches a face of the box."""
    return any(bool(np.take(hull, end, axis=axis).any()) for axis in range(3) for end in (0, -1))


def advice(share: float, touches: bool, whole: bool) -> str:
    """What to make of the hull, in a sentence."""
    if whole:
        return "Pictures are kept whole: all that is seen in the box is fitted, so no hull can be carved."
    if share == 0:
        return "The hull is empty: the cameras disagree. Look at --up, --centre and the masks."
    if touches:
        return "The hull reaches the faces of the box: the person may be cut off there. A smaller --scale shows more."
    return "The hull lies inside the box, away from its faces."
