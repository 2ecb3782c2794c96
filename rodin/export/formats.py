"""One person's cameras as other projects read them: `transforms.json` of NeRF tools, and labels of EG3D.

Numbers are written so that they are read back to the last bit: each float32 as the shortest decimal text of its value,
OpenGL's axes by changes of sign. EG3D's intrinsics are divided by the picture's side in double precision; a product
with the side, rounded to single precision, is the number before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rodin.captures.capture import EXPORT_VERSION, EXPORTED
from rodin.captures.transforms import other_axes

AXES = {
    "transforms": "camera_to_world with OpenGL axes: x right, y up, z backward",
    "eg3d": "camera_to_world with OpenCV axes: x right, y down, z forward; intrinsics in units of the picture's side",
}
"""format -> what its matrices are"""
BACKGROUND = "white"
"""behind the people of EG3D's pictures, which have no alpha: the colour that the models of a run train on"""


@dataclass(frozen=True)
class Person:
    """What is written of a person beside the pictures.

    Args:
        subject: id.
        camera_to_world: [V, 4, 4] float32, OpenCV axes.
        intrinsics: [V, 4] float32, fx, fy, cx, cy in pixels.
        side: of the pictures, pixels.
        captions: descriptions.
        attributes: plain values, such as hair_colour.
        origin: where the pictures come from.
        checksum: of the pictures in the store.
        reference_views: number of near-frontal views, which come first.
    """

    subject: str
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    side: int
    captions: list[str]
    attributes: dict[str, Any]
    origin: str
    checksum: str
    reference_views: int

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures' files, in order."""
        return [f"{view:03d}.png" for view in range(len(self.camera_to_world))]


def about(person: Person) -> dict[str, Any]:
    """Captions and our record of a person, as `rodin import` reads them."""
    record = {"version": EXPORT_VERSION, "subject": person.subject, "origin": person.origin}
    record |= {"checksum": person.checksum, "attributes": person.attributes}
    record |= {"views": len(person.pictures), "reference_views": person.reference_views}
    captions = [caption for caption in person.captions if caption.strip()]
    return {"captions": captions, EXPORTED: record} if captions else {EXPORTED: record}


def transforms_text(person: Person) -> str:
    """The content of a person's `transforms.json`.

    Numbers of the lens that all views share are said once, as NeRF tools expect.
    """
    lenses = [lens_of(values, person.side) for values in person.intrinsics.tolist()]
    same = all(lens == lenses[0] for lens in lenses)
    shared = {"camera_model": "PINHOLE", "w": person.side, "h": person.side, **(lenses[0] if same else {})}
    frames = []
    for name, pose, lens in zip(person.pictures, other_axes(person.camera_to_world).tolist(), lenses, strict=True):
        frame = {"file_path": f"images/{name}", "transform_matrix": pose, **({} if same else lens)}
        frames.append(json.dumps(frame, allow_nan=False))
    head = json.dumps(shared | about(person), allow_nan=False, ensure_ascii=False).removesuffix("}")
    return head + ', "frames": [\n' + ",\n".join(frames) + "\n]}\n"


def lens_of(intrinsics: list[float], side: int) -> dict[str, float]:
    """The numbers of a lens as keys of `transforms.json`; the angles are for readers that know nothing else."""
    fx, fy, cx, cy = intrinsics
    angles = {f"camera_angle_{axis}": 2 * math.atan(side / 2 / focal) for axis, focal in (("x", fx), ("y", fy))}
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, **angles}


def about_text(person: Person) -> str:
    """The content of a person's `rodin.json` beside EG3D's pictures; pictures with alpha of older versions differ."""
    told = about(person)
    told[EXPORTED] |= {"background": BACKGROUND}
    return json.dumps(told, allow_nan=False, ensure_ascii=False) + "\n"


def labels(person: Person) -> Iterator[str]:
    """One line of EG3D's `dataset.json` for each picture: its file and 25 numbers."""
    poses, lenses = person.camera_to_world.reshape(-1, 16).tolist(), person.intrinsics.tolist()
    for name, pose, lens in zip(person.pictures, poses, lenses, strict=True):
        fx, fy, cx, cy = (value / person.side for value in lens)
        numbers = [*pose, fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
        yield json.dumps([f"{person.subject}/{name}", numbers], allow_nan=False)
