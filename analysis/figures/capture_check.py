"""Picture of `rodin import --check`: cameras, fitted box and visual hull of one capture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from analysis.figures.contact_sheet import GAP, INK, MARGIN, PAPER, SOFT, font
from rodin.compositing import bytes_over_white
from rodin.field.cameras import project
from rodin.marks.tags import CAPTURED, png_chunks
from rodin.store.atomic import publish_bytes

CAMERA, FIRST, BOX, HULL = "#7d8796", "#c22f27", "#1f62c9", "#12823f"
HULL_FILL, GROUND = "#a9d3b8", "#f6f7f9"
MAP_SIDE, PICTURE_SIDE = 572, 280  # px: two maps are as wide as four pictures
TITLE_HEIGHT, KEY_HEIGHT, NAME_HEIGHT, NOTE_HEIGHT = 34, 48, 36, 21  # px
FRUSTUM = 0.16  # length of a drawn camera, as a share of the map's reach
CAMERA_MARGIN, BOX_MARGIN = 1.08, 1.5  # reach of a map over the farthest camera, and at least over half the box
OUTLINE = 2  # px, width of the hull's outline
NAME_LETTERS = 20  # of a file's name; more do not fit under a picture
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
EDGES = [(a, b) for a in range(8) for b in range(a) if np.abs(CORNERS[a] - CORNERS[b]).sum() == 2]


@dataclass(frozen=True)
class CaptureCheck:
    """Contents of the picture of one capture.

    Args:
        title: line at the top.
        poses: camera_to_world [V, 4, 4], OpenCV axes, view 0 first.
        lenses: intrinsics [V, 4] in pixels of the pictures.
        shown: (number, name) of the S views whose pictures are drawn.
        pictures: [S, R, R, 4] uint8, those views.
        hull: [G, G, G] bool, indexed (x, y, z).
        box: half the side of the fitted cube, world units.
        notes: lines at the bottom.
    """

    title: str
    poses: np.ndarray
    lenses: np.ndarray
    shown: Sequence[tuple[int, str]]
    pictures: np.ndarray
    hull: np.ndarray
    box: float
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class MapAxes:
    """Orthographic projection along one world axis.

    Args:
        right, down: (world axis, sign) of the map's directions.
        label: name of the projection.
        facing: where the subject looks.
    """

    right: tuple[int, int]
    down: tuple[int, int]
    label: str
    facing: str


ABOVE = MapAxes((0, 1), (2, 1), "from above", "the face looks down this picture, +z")
BESIDE = MapAxes((2, 1), (1, -1), "from the side", "the face looks to the right, +z")


def save(checked: CaptureCheck, path: Path) -> None:
    """Write the picture atomically as a PNG."""
    data = io.BytesIO()
    draw(checked).save(data, "PNG", pnginfo=png_chunks(CAPTURED, "Check of captured pictures"))
    publish_bytes(path, data.getvalue())


def draw(checked: CaptureCheck) -> Image.Image:
    """Draw cameras from above and from the side, then some photographs overlaid with box and hull."""
    maps_top = MARGIN + TITLE_HEIGHT
    pictures_top = maps_top + MAP_SIDE + KEY_HEIGHT
    notes_top = pictures_top + PICTURE_SIDE + NAME_HEIGHT
    width = 2 * MAP_SIDE + GAP + 2 * MARGIN
    sheet = Image.new("RGB", (width, notes_top + NOTE_HEIGHT * len(checked.notes) + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 4), checked.title, INK, font(18, True))
    for place, side in enumerate((ABOVE, BESIDE)):
        sheet.paste(world_map(checked, side), (MARGIN + place * (MAP_SIDE + GAP), maps_top))
    _key(pen, maps_top + MAP_SIDE + 14)
    for place, (number, name) in enumerate(checked.shown):
        left = MARGIN + place * (PICTURE_SIDE + GAP)
        sheet.paste(overlaid(checked, place), (left, pictures_top))
        first = " (frontal)" if number == 0 else ""
        short = name if len(name) <= NAME_LETTERS else f"…{name[-NAME_LETTERS:]}"
        pen.text((left, pictures_top + PICTURE_SIDE + 6), f"view {number}{first}: {short}", SOFT, font(13))
    for line, note in enumerate(checked.notes):
        pen.text((MARGIN, notes_top + NOTE_HEIGHT * line), note, INK, font(14))
    return sheet


def world_map(checked: CaptureCheck, side: MapAxes) -> Image.Image:
    """Draw cameras, box and hull seen along one axis."""
    reach = max(float(np.abs(checked.poses[:, :3, 3]).max()) * CAMERA_MARGIN, BOX_MARGIN * checked.box)
    sheet = Image.new("RGB", (MAP_SIDE, MAP_SIDE), GROUND)
    pen = ImageDraw.Draw(sheet)
    size = max(2, round(checked.box / reach * MAP_SIDE))
    filled = Image.fromarray(flat_hull(checked.hull, side).astype(np.uint8) * 255)
    corner = (MAP_SIDE - size) // 2
    sheet.paste(HULL_FILL, (corner, corner), filled.resize((size, size), Image.Resampling.NEAREST))
    pen.rectangle((corner, corner, corner + size, corner + size), outline=BOX, width=2)
    for number in range(len(checked.poses) - 1, -1, -1):
        colour, line = (FIRST, 3) if number == 0 else (CAMERA, 1)
        tip = checked.poses[number, :3, 3]
        ends = frustum(checked.poses[number], checked.lenses[number], checked.pictures.shape[1], FRUSTUM * reach)
        for a, b in zip(ends, np.roll(ends, 1, axis=0), strict=True):
            pen.line([_flat(point, side, reach) for point in (tip, a, b)], colour, line)
        x, y = _flat(tip, side, reach)
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
    pen.text((10, 8), f"{side.label}: {side.facing}", SOFT, font(14))
    return sheet


def flat_hull(hull: np.ndarray, side: MapAxes) -> np.ndarray:
    """Projection of the hull [G, G, G] along the axis that a map does not show: [G, G] bool, rows down."""
    (across, across_sign), (down, down_sign) = side.right, side.down
    shadow = np.moveaxis(hull, (down, across), (0, 1)).any(axis=2)
    return shadow[::down_sign, ::across_sign]


def frustum(pose: np.ndarray, lens: np.ndarray, pixels: int, length: float) -> np.ndarray:
    """Corners of a camera's image plane at distance `length` before it: [4, 3], world units."""
    corners = np.array([[0, 0], [pixels, 0], [pixels, pixels], [0, pixels]], dtype=np.float64)
    local = np.column_stack([(corners - lens[2:]) / lens[:2], np.ones(4)]) * length
    return local @ pose[:3, :3].T + pose[:3, 3]


def overlaid(checked: CaptureCheck, place: int) -> Image.Image:
    """Draw a photograph over white with the hull's outline and the box's edges."""
    number = checked.shown[place][0]
    pose, pixels = checked.poses[number], checked.pictures.shape[1]
    lens = checked.lenses[number] * (PICTURE_SIDE / pixels)
    picture = Image.fromarray(bytes_over_white(checked.pictures[place])).resize((PICTURE_SIDE, PICTURE_SIDE))
    mask = silhouette(checked.hull, checked.box, pose, lens)
    outline = ndimage.binary_dilation(mask, iterations=OUTLINE) & ~mask
    picture.paste(HULL, (0, 0), Image.fromarray(outline.astype(np.uint8) * 255))
    pen = ImageDraw.Draw(picture)
    corners, depth = project(CORNERS * checked.box, pose, lens)
    for a, b in EDGES:
        if min(depth[a], depth[b]) > 0:
            pen.line([tuple(corners[a]), tuple(corners[b])], BOX, 1)
    pen.rectangle((0, 0, PICTURE_SIDE - 1, PICTURE_SIDE - 1), outline=CAMERA)
    return picture


def silhouette(hull: np.ndarray, box: float, pose: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """Mask of the hull in a drawn picture: [PICTURE_SIDE, PICTURE_SIDE] bool; each cell is a square of its size."""
    cells = np.argwhere(hull & ~np.asarray(ndimage.binary_erosion(hull), bool))
    pixels, depth = project((cells + 0.5) / len(hull) * 2 * box - box, pose, lens)
    cell = 2 * box / len(hull) * lens[0]
    mask = np.zeros((PICTURE_SIDE, PICTURE_SIDE), bool)
    for (x, y), distance in zip(pixels[depth > 0], depth[depth > 0], strict=True):
        half = 0.5 * cell / distance
        left, top = max(int(x - half), 0), max(int(y - half), 0)
        mask[top : max(int(y + half) + 1, 0), left : max(int(x + half) + 1, 0)] = True
    return np.asarray(ndimage.binary_fill_holes(mask))


def _flat(point: np.ndarray, side: MapAxes, reach: float) -> tuple[float, float]:
    x, y = (MAP_SIDE / 2 * (1 + sign * point[axis] / reach) for axis, sign in (side.right, side.down))
    return x, y


def _key(pen: ImageDraw.ImageDraw, top: int) -> None:
    left = MARGIN
    for colour, label in (
        (FIRST, "view 0: should look into the face"),
        (CAMERA, "other cameras"),
        (BOX, "the box that is fitted"),
        (HULL, "visual hull: should hug the person, inside the box"),
    ):
        pen.rectangle((left, top + 3, left + 13, top + 16), fill=colour)
        pen.text((left + 20, top + 1), label, INK, font(14))
        left += 46 + int(font(14).getlength(label))
