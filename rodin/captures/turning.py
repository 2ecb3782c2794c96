"""Quarter turns by EXIF orientation: phones store upright pictures on their sides, and COLMAP's cameras lie with them.

A turn by n quarters clockwise takes pixels [H, W], the lens and the camera's axes together, so that every pixel keeps
its ray. One quarter brings pixel (u, v) to (H - v, u): x' = -y and y' = x in the camera.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from rodin.captures.capture import Frame
from rodin.captures.lens import Lens
from rodin.data.decoding import opened

QUARTERS = {3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}
"""EXIF orientation -> clockwise quarters that bring up to the top; 2, 4, 5 and 7 are mirrored too, and stay so: their
cameras were found in the mirrored pixels"""
MIRRORED = (2, 4, 5, 7)
"""EXIF orientations of pictures that are mirrored where they are set upright"""
TRANSPOSED = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}
"""Pillow's name of each turn; it counts the other way round"""


def set_upright(frame: Frame, orientation: int) -> Frame:
    """A frame whose camera is that of the pixels as stored, turned by an EXIF orientation, 1 to 8; others: as it is."""
    turns = QUARTERS.get(orientation, 0)
    pose, lens = frame.camera_to_world, frame.lens
    for _ in range(turns):
        pose, lens = turned_pose(pose), turned_lens(lens)
    return replace(frame, camera_to_world=pose, lens=lens, turns=turns)


def turned_pose(pose: np.ndarray) -> np.ndarray:
    """A camera_to_world [4, 4] with OpenCV axes after one quarter turn of its picture clockwise; exact."""
    turned = pose.copy()
    turned[:3, 0], turned[:3, 1] = -pose[:3, 1], pose[:3, 0]
    return turned


def turned_lens(lens: Lens) -> Lens:
    """A lens after one quarter turn of its picture clockwise, by x' = -y, y' = x in the formulae of `lens`."""
    (p1, p2), (s1, s2, s3, s4) = lens.tangential, lens.prism
    return replace(
        lens,
        width=lens.height,
        height=lens.width,
        fx=lens.fy,
        fy=lens.fx,
        cx=lens.height - lens.cy,
        cy=lens.cx,
        tangential=(p2, -p1),
        prism=(-s3, -s4, s1, s2),
    )


def turned(picture: Image.Image, turns: int) -> Image.Image:
    """An image turned by 0 to 3 quarters clockwise."""
    return picture.transpose(TRANSPOSED[turns]) if turns else picture


def picture_of(frame: Frame) -> Image.Image:
    """A frame's image, RGB or RGBA, as its camera sees it; errors as of `opened`."""
    return turned(opened(frame.path, frame.upright), frame.turns)
