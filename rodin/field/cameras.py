"""Cameras on a sphere around the head, in numpy, so that the renderer of people and the fitter share one meaning.

World: x right in the frontal picture, y up, the face looks to +z. Cameras: OpenCV axes (x right, y down, z forward).
Azimuth 0 is the frontal camera (on +z), 90 degrees stands on +x; elevation is positive above the head's equator.
"""

import math

import numpy as np

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
FRONTAL_DEGREES = 45.0


def position(azimuth: float, elevation: float, radius: float) -> np.ndarray:
    """Where a camera stands: [3] float64, world units, from angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return radius * np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])


def look_at(position: np.ndarray) -> np.ndarray:
    """The camera at `position` that looks at the origin with the world's y axis up.

    Args:
        position: [3], world units, not on the y axis.

    Returns:
        camera_to_world [4, 4] float32.
    """
    position = np.asarray(position, dtype=np.float64)
    length = float(np.linalg.norm(position))
    forward = -position / max(length, 1e-12)
    right = np.cross(forward, (0.0, 1.0, 0.0))
    if length < 1e-9 or np.linalg.norm(right) < 1e-6:
        raise ValueError(f"camera position: got {position.tolist()}, wanted a point off the y axis, where y can be up")
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, down, forward, position], axis=1)
    return pose.astype(np.float32)


def sphere(views: int, *, reference_views: int, radius: float, elevation: tuple[float, float], seed: int) -> np.ndarray:
    """Cameras around one person: one frontal, some near frontal, the back, then all sides.

    View 0 is exactly frontal, views 1 .. reference_views - 1 keep within 45 degrees of it, view `reference_views` is
    the exact back. The others step by the golden angle, so that every run of them, the last ones (held out) too, sees
    all sides; a jitter of half their mean spacing makes people differ.

    Args:
        views: V, how many cameras.
        reference_views: how many of them are near frontal, at least 1.
        radius: distance from the origin, world units.
        elevation: lowest and highest camera, degrees over the equator; drawn evenly between.
        seed: draws the jitter.

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


def ring(views: int, *, radius: float, elevation: float = 0.0) -> np.ndarray:
    """A turntable: V cameras evenly around at one elevation (degrees), view 0 frontal; [V, 4, 4] float32."""
    return np.stack([look_at(position(360.0 * view / views, elevation, radius)) for view in range(views)])


def pinhole(resolution: int, fov_degrees: float) -> np.ndarray:
    """Intrinsics fx, fy, cx, cy in pixels, [4] float32, of a square picture with the axis through its centre."""
    if not 0.0 < fov_degrees < 180.0:
        raise ValueError(f"fov_degrees: got {fov_degrees}, wanted an angle between 0 and 180")
    focal = 0.5 * resolution / math.tan(math.radians(fov_degrees) / 2)
    return np.array([focal, focal, resolution / 2, resolution / 2], dtype=np.float32)


def rays(camera_to_world: np.ndarray, intrinsics: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One ray through the centre of every pixel, row after row.

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
    """Where points fall in a picture.

    Args:
        points: [M, 3], world units.
        camera_to_world: [4, 4], OpenCV axes.
        intrinsics: [4] fx, fy, cx, cy in pixels.

    Returns:
        pixels [M, 2] as (x right, y down) in pixels, depth [M] along the camera's axis; float64.
    """
    fx, fy, cx, cy = np.asarray(intrinsics, dtype=np.float64)
    pose = np.asarray(camera_to_world, dtype=np.float64)
    local = (np.asarray(points, dtype=np.float64) - pose[:3, 3]) @ pose[:3, :3]
    depth = local[:, 2]
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    return np.stack([fx * local[:, 0] / safe + cx, fy * local[:, 1] / safe + cy], axis=-1), depth
