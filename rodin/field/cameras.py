"""Cameras on a sphere around the head, in numpy, shared by the renderer of subjects and the fitter.

World axes: x right in the frontal view, y up, z towards which the face looks. Camera axes: OpenCV (x right, y down, z
forward). A camera at azimuth 0 is frontal (on +z), at 90 degrees on +x; elevation is positive above the equator.
"""

import math
from typing import NamedTuple

import numpy as np

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0  # turns between cameras: any run of them then covers all sides
FRONTAL_DEGREES = 45.0  # largest azimuth of a near-frontal view: both eyes are still visible
SHORTEST = 1e-9  # world units; a vector shorter than this has no direction
PARALLEL = 1e-6  # sine of the angle to the y axis under which "up" is undefined
SWING = (35.0, 8.0)  # degrees that a swing goes to either side, and above: a face stays in sight
SPIRAL = (-15.0, 40.0)  # degrees of elevation between which a spiral rises and falls
PATHS = ("ring", "swing", "spiral")


class Cameras(NamedTuple):
    """Cameras of square images of any size.

    Args:
        poses: camera_to_world [V, 4, 4] float32, OpenCV axes.
        lenses: fx, fy, cx, cy [V, 4] float32, in sides of the image.
    """

    poses: np.ndarray
    lenses: np.ndarray

    def intrinsics(self, size: int) -> np.ndarray:
        """fx, fy, cx, cy [V, 4] in pixels of images of `size` pixels a side."""
        return self.lenses * np.float32(size)


def position(azimuth: float, elevation: float, radius: float) -> np.ndarray:
    """Position of a camera, [3] float64, world units, from angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return radius * np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])


def look_at(position: np.ndarray) -> np.ndarray:
    """Pose of the camera at `position` that looks at the origin with the world's y axis up.

    Args:
        position: [3], world units, not on the y axis.

    Returns:
        camera_to_world [4, 4] float32.
    """
    position = np.asarray(position, dtype=np.float64)
    length = float(np.linalg.norm(position))
    forward = -position / max(length, SHORTEST)
    right = np.cross(forward, (0.0, 1.0, 0.0))
    if length < SHORTEST or np.linalg.norm(right) < PARALLEL:
        raise ValueError(f"camera position: got {position.tolist()}, wanted a point off the y axis, where y can be up")
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, down, forward, position], axis=1)
    return pose.astype(np.float32)


def sphere(views: int, *, reference_views: int, radius: float, elevation: tuple[float, float], seed: int) -> np.ndarray:
    """Cameras around one subject: one frontal, some near frontal, one at the back, then all sides.

    View 0 is exactly frontal, views 1 .. reference_views - 1 lie within 45 degrees of it, view `reference_views` is
    exactly at the back. The others step by the golden angle, so that every run of them, including the last ones (held
    out), covers all sides. Each of those azimuths is jittered by up to a quarter of their mean spacing either way, so
    that subjects have different cameras.

    Args:
        views: V, number of cameras.
        reference_views: number of them that are near frontal, at least 1.
        radius: distance from the origin, world units.
        elevation: lowest and highest camera, degrees above the equator; drawn uniformly between.
        seed: of the random azimuths and elevations.

    Returns:
        camera_to_world [V, 4, 4] float32.
    """
    if not 1 <= reference_views <= views:
        raise ValueError(f"reference_views: got {reference_views}, wanted 1 to the number of views, {views}")
    generator = np.random.default_rng(seed)
    around = views - reference_views
    azimuths = np.empty(views)
    azimuths[:reference_views] = generator.uniform(-FRONTAL_DEGREES, FRONTAL_DEGREES, reference_views)
    spacing = 360.0 / max(around, 1)
    jitter = generator.uniform(-spacing / 4, spacing / 4, around)
    azimuths[reference_views:] = (180.0 + 360.0 * GOLDEN * np.arange(around) + jitter) % 360.0
    elevations = generator.uniform(*elevation, views)
    azimuths[0] = elevations[0] = 0.0
    if around:
        azimuths[reference_views], elevations[reference_views] = 180.0, 0.0
    return np.stack([look_at(position(a, e, radius)) for a, e in zip(azimuths, elevations, strict=True)])


def spread(camera_to_world: np.ndarray, count: int) -> list[int]:
    """Choose views that cover all sides: view 0, then each time the one farthest from those chosen.

    Numbers evenly spaced among cameras that step by an angle (`sphere`) lie on one side where the two steps beat.

    Args:
        camera_to_world: [V, 4, 4], of cameras around the origin.
        count: of views; all of them if there are fewer.

    Returns:
        their numbers, in order.
    """
    places = camera_to_world[:, :3, 3].astype(np.float64)
    sides = places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), SHORTEST)
    chosen = [0]
    nearest = sides @ sides[0]  # cosine of the angle to the nearest chosen view
    while len(chosen) < min(count, len(sides)):
        nearest[chosen[-1]] = np.inf
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, sides @ sides[chosen[-1]])
    return sorted(chosen)


def ring(views: int, *, radius: float, elevation: float = 0.0) -> np.ndarray:
    """Turntable: V cameras evenly spaced at one elevation (degrees), view 0 frontal, towards +x; [V, 4, 4] float32."""
    return np.stack([look_at(position(360.0 * view / views, elevation, radius)) for view in range(views)])


def path(name: str, views: int, *, radius: float, fov_degrees: float) -> Cameras:
    """Cameras along a closed path, the first frontal; played in a loop, it has no jump.

    Args:
        name: "ring", once around at eye level; "swing", to both sides and back; "spiral", once around while it falls
            and rises.
        views: V, number of cameras.
        radius: distance from the origin, world units.
        fov_degrees: width of the images.

    Raises:
        ValueError: a path of another name, or fewer than one camera.
    """
    if views < 1:
        raise ValueError(f"views: got {views}, wanted 1 or more")
    turn = 2 * np.pi * np.arange(views) / views
    lenses = np.repeat(pinhole(1, fov_degrees)[None], views, axis=0)
    match name:
        case "ring":
            return Cameras(ring(views, radius=radius), lenses)
        case "swing":
            angles = np.stack([SWING[0] * np.sin(turn), SWING[1] * np.sin(turn) ** 2], axis=-1)
        case "spiral":
            low, high = SPIRAL
            middle, reach = (low + high) / 2, (high - low) / 2
            begin = math.asin(-middle / reach)  # where the elevation is 0
            angles = np.stack([np.degrees(turn), middle + reach * np.sin(turn + begin)], axis=-1)
        case _:
            raise ValueError(f"camera path: got {name!r}, wanted {', '.join(PATHS)}, or a transforms JSON file")
    return Cameras(np.stack([look_at(position(a, e, radius)) for a, e in angles]), lenses)


def pinhole(resolution: int, fov_degrees: float) -> np.ndarray:
    """Intrinsics fx, fy, cx, cy in pixels, [4] float32, of a square image with the optical axis through its centre."""
    if not 0.0 < fov_degrees < 180.0:
        raise ValueError(f"fov_degrees: got {fov_degrees}, wanted an angle between 0 and 180")
    focal = 0.5 * resolution / math.tan(math.radians(fov_degrees) / 2)
    return np.array([focal, focal, resolution / 2, resolution / 2], dtype=np.float32)


def rays(camera_to_world: np.ndarray, intrinsics: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rays through the centres of all pixels, row by row.

    Args:
        camera_to_world: [4, 4], OpenCV axes.
        intrinsics: [4] fx, fy, cx, cy in pixels; the centre of pixel (row i, column j) is (j + 0.5, i + 0.5).
        height: H, pixels.
        width: W, pixels.

    Returns:
        origins [H*W, 3], directions [H*W, 3] of unit length, float32, world axes.
    """
    fx, fy, cx, cy = np.asarray(intrinsics, dtype=np.float64)
    pose = np.asarray(camera_to_world, dtype=np.float64)
    rows, columns = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    local = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(rows)], axis=-1).reshape(-1, 3)
    directions = local @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origins = np.broadcast_to(pose[:3, 3], directions.shape)
    return origins.astype(np.float32), directions.astype(np.float32)


def project(points: np.ndarray, camera_to_world: np.ndarray, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projection of points into an image.

    Args:
        points: [M, 3], world units.
        camera_to_world: [4, 4], OpenCV axes.
        intrinsics: [4] fx, fy, cx, cy in pixels.

    Returns:
        pixels [M, 2] as (x right, y down) in pixels, depth [M] along the optical axis, world units; float64.
    """
    fx, fy, cx, cy = np.asarray(intrinsics, dtype=np.float64)
    pose = np.asarray(camera_to_world, dtype=np.float64)
    local = (np.asarray(points, dtype=np.float64) - pose[:3, 3]) @ pose[:3, :3]
    depth = local[:, 2]
    safe = np.where(np.abs(depth) < SHORTEST, SHORTEST, depth)
    return np.stack([fx * local[:, 0] / safe + cx, fy * local[:, 1] / safe + cy], axis=-1), depth
