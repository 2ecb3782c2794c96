"""What `rodin import --check` shows: the first person's views, and the hull that their pictures carve."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.captures.importing import Person
from rodin.field.hull import carve

HULL_RESOLUTION = 64


def look(people: list[Person]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the first person's pictures and carve the hull.

    Returns:
        what is reported, {"subjects", "views", "name", "centre", "scale", "hull": its share of the box, "touches":
        whether it reaches the box's faces}, and what is drawn, the fields of `analysis.figures.capture_check.Checked`.
    """
    person = people[0]
    box, count = person.wish.world.box, len(person.views)
    rgba = np.stack([person.picture(index) for index in range(count)])
    hull = carve(
        torch.from_numpy(np.ascontiguousarray(rgba[..., 3])),
        torch.from_numpy(person.camera_to_world),
        torch.from_numpy(person.intrinsics),
        box=box,
        resolution=HULL_RESOLUTION,
    ).numpy()
    share, touches, placing = float(hull.mean()), reaches_faces(hull), person.placing.told()
    told = {"subjects": len(people), "views": count, "name": person.capture.name, **placing}
    told |= {"hull": round(share, 4), "touches": touches}
    more = f", the first of {len(people)}" if len(people) > 1 else ""
    shown = sorted({0, min(person.wish.reference_views, count - 1), count // 2, count - 1})
    centre = ",".join(f"{value:g}" for value in placing["centre"])
    drawn = {
        "title": f"{person.capture.name}{more}: {count} views, the hull is {100 * share:.1f} % of the box",
        "poses": person.camera_to_world,
        "lenses": person.intrinsics,
        "shown": [(index, person.capture.frames[person.views[index].frame].path.name) for index in shown],
        "pictures": rgba[shown],
        "hull": hull,
        "box": box,
        "notes": [
            f"In the capture's world: --centre={centre} --scale {placing['scale']:g}. The box is +-{box:g} in ours.",
            advice(share, touches, person.wish.whole),
            *cut_off(person, rgba),
        ],
    }
    return told, drawn


def cut_off(person: Person, rgba: np.ndarray) -> list[str]:
    """A line on pictures [V, R, R, 4] where the person goes on beyond a side that was padded, if there are such.

    The padding says that nothing is there, so the hull loses what the picture did not show.
    """
    found = []
    for view, alpha in zip(person.views, rgba[..., 3] > 127, strict=True):
        rows, columns = (np.ceil(-np.array([view.cut.top, view.cut.left]) * len(alpha) / view.cut.side)).astype(int)
        edges = [alpha[rows], alpha[-1 - rows]] if rows > 0 else []
        edges += [alpha[:, columns], alpha[:, -1 - columns]] if columns > 0 else []
        if any(edge.any() for edge in edges):
            found.append(person.capture.frames[view.frame].path.name)
    if not found:
        return []
    return [f"In {len(found)} pictures ({found[0]}, ...) the person goes on beyond a padded side: use --frame crop."]


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
