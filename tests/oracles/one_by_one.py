"""The slow twin of the atlas: one person's views in one picture, and view by view through Blender's own camera.

A script, so that Blender keeps out of the tests' process: reads {"subject", "camera_to_world", "intrinsics",
"resolution", "samples", "output"} from stdin, writes an npz with `atlas` and `single` [V, H, W, 4] and `points` [M, 3],
many places on the person. With "ellipsoid", three radii, the scene holds that at the origin instead of the person.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from rodin.avatars.geometry import Mesh, Strands, at, ellipsoid, scatter


def main() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    from rodin.avatars import blender, scene
    from rodin.avatars.person import draw

    request = json.load(sys.stdin)
    parts, light = scene.build(draw(0, request["subject"]))
    if "ellipsoid" in request:
        vertices, triangles = ellipsoid(np.zeros(3), np.array(request["ellipsoid"]))
        parts = [Mesh("ellipsoid", vertices, triangles, np.full((len(vertices), 3), 0.5))]
    poses, lenses = (np.array(request[name], dtype=np.float32) for name in ("camera_to_world", "intrinsics"))
    size, samples = request["resolution"], request["samples"]
    atlas, single = (
        blender.render(parts, light, poses, lenses, resolution=size, samples=samples, at_once=at_once)
        for at_once in (True, False)
    )
    points = np.concatenate([_surface(part) for part in parts])
    np.savez(Path(request["output"]), atlas=atlas, single=single, points=points)


def _surface(part: Mesh | Strands) -> np.ndarray:
    if isinstance(part, Strands):
        return part.points.reshape(-1, 3)
    chosen, weights = scatter(np.random.default_rng(0), part.vertices, part.triangles, 20_000)
    return at(part.vertices, part.triangles, chosen, weights)


if __name__ == "__main__":
    main()
