"""Alignment of a capture's world with ours: upright, the face towards +z, the head's middle at the origin, scaled."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rodin.captures.capture import Capture, Frame
from rodin.captures.naming import ending, parts_of

TURNS = {
    "y": np.eye(3),
    "z": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}
NEAR = 0.5
"""points of the scene count up to this share of the distance to the nearest camera"""
FEWEST_POINTS = 20
"""fewer points than this are no guide"""
FILLED, ROOM = 0.95, 0.85
"""the scale brings this share of the points into this share of the box: some points are strays"""
OUTSIDE = 1.02
"""least distance of a camera from the origin, in half sides of the box"""
FLAT = 0.3
"""spread of the cameras' x axes across their plane, as a share of that along it, below which they span a plane"""
SPAN = 0.005
"""least such spread, about the square of 4 degrees: less of it is how cameras happen to be rolled"""
LINE = 0.3
"""spread of the x axes about the one line that fits them best, as a share of the y axes' own, below which they lie
along it: pictures on their sides, or cameras above each other"""
ALIKE = 0.02
"""spread of the y axes, about the square of 8 degrees, up to which cameras are held alike: their own up is up"""
LEAST_UP = 0.1
"""least length of the mean of the cameras' own up along the one that is found; cameras 84 degrees above have this"""


@dataclass(frozen=True)
class Alignment:
    """The user's rotation, centre and scale of a capture; None: estimated from its cameras and points.

    Args:
        box: half the side of the cube that is fitted, our units.
        centre: the middle of the head in the capture's world.
        scale: our units per unit of the capture.
        up: the capture's upward axis, "y" or "z"; with "z" people face -y, as in Blender; None: estimated.
        front: name of the frontal image, with its folder where several are named alike; None: no rotation about the
            vertical where `up` is given, else the image in the middle of all.
    """

    box: float = 1.0
    centre: tuple[float, float, float] | None = (0.0, 0.0, 0.0)
    scale: float | None = 1.0
    up: str | None = "y"
    front: str | None = None

    def __post_init__(self) -> None:
        if self.up is not None and self.up not in TURNS:
            raise ValueError(f"up: got {self.up!r}, wanted one of {', '.join(TURNS)}, auto")
        scaled = self.scale is None or (np.isfinite(self.scale) and self.scale > 0)
        if not scaled or (self.centre is not None and not (len(self.centre) == 3 and np.isfinite(self.centre).all())):
            raise ValueError(f"scale {self.scale}, centre {self.centre}: wanted a number over 0 and three numbers")


@dataclass(frozen=True)
class Placing:
    """The map from a capture's world to ours: p -> scale * turn @ (p - centre)."""

    turn: np.ndarray
    centre: np.ndarray
    scale: float

    def pose(self, camera_to_world: np.ndarray) -> np.ndarray:
        """A camera_to_world [4, 4] of the capture in our world; to the last bit the same where nothing moves."""
        placed = np.eye(4)
        if self.scale == 1 and not self.centre.any() and np.array_equal(self.turn, np.eye(3)):
            placed[:3] = camera_to_world[:3]  # a product would turn -0 into 0
            return placed
        placed[:3, :3] = self.turn @ camera_to_world[:3, :3]
        placed[:3, 3] = self.scale * (self.turn @ (camera_to_world[:3, 3] - self.centre))
        return placed

    def options(self) -> dict[str, Any]:
        """The numbers, rounded, as options of `rodin import`."""
        return {"centre": [round(float(value), 4) for value in self.centre], "scale": round(self.scale, 5)}


def placing_of(world: Alignment, capture: Capture) -> Placing:
    """The placing of a capture; what the user left open is estimated.

    Raises:
        ValueError: a front image that does not exist; cameras whose axes do not meet, or that do not tell up.
    """
    poses = np.stack([frame.camera_to_world for frame in capture.frames])
    centre = np.asarray(world.centre, np.float64) if world.centre is not None else guess_centre(capture, poses)
    turn = TURNS[world.up] if world.up is not None else guess_upright(capture, poses)
    front = front_frame(capture, world, poses, turn, centre)
    if front is not None:
        turn = _about_y(turn @ (front.camera_to_world[:3, 3] - centre)) @ turn
    scale = world.scale if world.scale is not None else guess_scale(capture, poses, turn, centre, world.box)
    return Placing(turn, centre, float(scale))


def check_outside(frame: Frame, pose: np.ndarray, box: float) -> None:
    """Raise where a placed camera is inside the box or looks away from it."""
    if np.abs(pose[:3, 3]).max() <= box:
        raise ValueError(
            f"{frame.path}: its camera stands at {np.round(pose[:3, 3], 2).tolist()}, inside the box of "
            f"+-{box}; give a larger scale or another centre"
        )
    if pose[:3, 2] @ -pose[:3, 3] <= 0:
        raise ValueError(f"{frame.path}: its camera looks away from the origin; give the head's middle as centre")


def guess_centre(capture: Capture, poses: np.ndarray) -> np.ndarray:
    """The point nearest to all cameras' axes, or the median of the scene's points near it."""
    places, axes = poses[:, :3, 3], poses[:, :3, 2]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    whole = across.sum(axis=0)
    if np.linalg.eigvalsh(whole)[0] < 1e-3 * len(poses):
        raise ValueError(f"{capture.source}: its cameras look all one way, so nowhere do they meet; give --centre")
    focus = np.linalg.solve(whole, np.einsum("vij,vj->i", across, places))
    near = _near(capture, poses, focus)
    return np.median(near, axis=0) if near is not None else focus


def guess_upright(capture: Capture, poses: np.ndarray) -> np.ndarray:
    """A rotation [3, 3] that makes cameras upright: their x axes horizontal, or their y axes pointing down on average.

    Cameras are held level, so their x axes lie in one plane and up is perpendicular to it; where the axes are too alike
    to span a plane, up is the mean of the cameras' own.

    Raises:
        ValueError: cameras on their sides, whose x axes all lie along one line, or as many of them up as down.
    """
    right, down = poses[:, :3, 0], poses[:, :3, 1]
    (flat, across, _), directions = np.linalg.eigh(right.T @ right / len(right))
    turning = np.linalg.eigvalsh(down.T @ down / len(down))[1]
    fault = f"{capture.source}: its cameras do not tell which way is up:"
    remedy = "bring upright pictures with the cameras of these, or turn the world and give --up y or --up z"
    if turning > ALIKE and across < LINE * turning:
        raise ValueError(f"{fault} their x axes all lie along one line, as where pictures lie on their sides; {remedy}")
    mean = -down.mean(axis=0)
    up = mean / max(np.linalg.norm(mean), 1e-9)
    if flat < FLAT * across and across > SPAN:
        up = directions[:, 0] * np.sign(directions[:, 0] @ mean)
    if up @ mean < LEAST_UP:
        raise ValueError(f"{fault} as many are held upside down as upright, or all on their sides; {remedy}")
    x = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    x /= np.linalg.norm(x)
    return np.stack([x, up, np.cross(x, up)])


def guess_scale(capture: Capture, poses: np.ndarray, turn: np.ndarray, centre: np.ndarray, box: float) -> float:
    """Our units per unit of the capture, from the points near the centre, else from the images' field of view.

    No camera ends up inside the box.
    """
    near = _near(capture, poses, centre)
    if near is not None:
        reach = np.quantile(np.abs((near - centre) @ turn.T).max(axis=1), FILLED) / ROOM
    else:
        lenses = [frame.lens for frame in capture.frames]
        half = np.array([min(lens.width, lens.height) / (lens.fx + lens.fy) for lens in lenses])
        reach = np.median(half * np.linalg.norm(poses[:, :3, 3] - centre, axis=1))
    nearest = np.abs((poses[:, :3, 3] - centre) @ turn.T).max(axis=1).min()
    return float(box / max(min(reach, nearest / OUTSIDE), 1e-9))


def front_frame(
    capture: Capture, world: Alignment, poses: np.ndarray, turn: np.ndarray, centre: np.ndarray
) -> Frame | None:
    """The frontal image, if there is to be one."""
    if world.front is not None:
        return called(capture, world.front)
    if world.up is not None:
        return None
    level = (poses[:, :3, 3] - centre) @ turn.T
    level[:, 1] = 0
    level /= np.maximum(np.linalg.norm(level, axis=1, keepdims=True), 1e-9)
    return capture.frames[int((level @ level.mean(axis=0)).argmax())]


def called(capture: Capture, name: str) -> Frame:
    """The frame of a name: the one that is so listed, else the only one whose path ends so, suffix or not."""
    listed = {frame.name: frame for frame in capture.frames}
    if name in listed:
        return listed[name]
    paths = {frame.path.as_posix(): frame for frame in capture.frames}
    found = [paths[path] for path in ending(parts_of(name) or [name], paths)]
    if not found:
        names = ", ".join(list(listed)[:3])
        raise ValueError(f"{capture.source}: no picture '{name}' to be frontal; there are {names}, ...")
    if len(found) > 1:
        names = ", ".join(frame.name for frame in found[:4])
        raise ValueError(f"{capture.source}: '{name}' may be any of {names}; wanted one of these for --front")
    return found[0]


def _near(capture: Capture, poses: np.ndarray, centre: np.ndarray) -> np.ndarray | None:
    """The scene's points within NEAR of the way to the nearest camera; None where they are too few."""
    if capture.points is None or not len(capture.points):
        return None
    reach = NEAR * np.linalg.norm(poses[:, :3, 3] - centre, axis=1).min()
    near = capture.points[np.linalg.norm(capture.points - centre, axis=1) < reach]
    return near if len(near) >= FEWEST_POINTS else None


def _about_y(place: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] about y that brings a point above the +z axis."""
    angle = np.arctan2(place[0], place[2])
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
