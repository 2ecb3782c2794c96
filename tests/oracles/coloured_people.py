"""Store of views of subjects made of ellipsoids with named hair and shirt colours: a run without Blender."""

import numpy as np
from oracles.ellipsoids import Part, nearest_hit

from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS
from rodin.config import Config
from rodin.field import cameras
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

HAIR, SHIRT = ("red", "blond", "blue"), ("green", "white", "purple")


def names(number: int) -> tuple[str, str]:
    return HAIR[number % 3], SHIRT[(number // 3 + number) % 3]


def parts(number: int) -> list[Part]:
    hair, shirt = (np.array(rgb) / 255 for rgb in (HAIR_COLOURS[names(number)[0]], SHIRT_COLOURS[names(number)[1]]))
    width = 0.95 + 0.1 * (number % 4) / 3
    rows = [
        ((0.0, 0.15, 0.05), (0.34 * width, 0.44, 0.38), np.array([0.85, 0.65, 0.5])),
        ((0.0, 0.30, -0.10), (0.42 * width, 0.44, 0.40), hair),
        ((0.0, -0.60, -0.05), (0.68, 0.32, 0.32), shirt),
    ]
    return [Part(np.array(centre), np.array(axes), colour) for centre, axes, colour in rows]


def picture(number: int, pose: np.ndarray, lens: np.ndarray, size: int) -> np.ndarray:
    """[size, size, 4] uint8, straight alpha, hard edges."""
    colour, hit = nearest_hit(parts(number), *cameras.rays(pose, lens, size, size))
    rgba = np.concatenate([colour * hit[:, None], hit[:, None]], axis=1).reshape(size, size, 4)
    return np.rint(rgba.clip(0, 1) * 255).astype(np.uint8)


def make_views(config: Config, run: RunFolder) -> None:
    data, subjects = config.data, config.all_subjects()
    size, lens = data.resolution, cameras.pinhole(data.resolution, data.fov_degrees)
    shapes = {"rgba": (data.views, size, size, 4), "camera_to_world": (data.views, 4, 4), "intrinsics": (data.views, 4)}
    with ShardWriter(run.stage("render"), 0, "views", subjects, shapes) as writer:
        for number, subject in enumerate(subjects):
            poses = cameras.sphere(
                data.views,
                reference_views=data.reference_views,
                radius=data.camera_radius,
                elevation=data.elevation,
                seed=number,
            )
            rgba = np.stack([picture(number, pose, lens, size) for pose in poses])
            hair, shirt = names(number)
            captions = [f"a person with {hair} hair and a {shirt} shirt", f"a person with {hair} hair"]
            meta = {
                "caption": captions[0],
                "captions": captions,
                "attributes": {"hair_colour": hair, "shirt_colour": shirt},
            }
            writer.add(subject, meta, rgba=rgba, camera_to_world=poses, intrinsics=np.tile(lens, (data.views, 1)))
        writer.publish()
