"""Meshes of tri-planes: marching cubes on the density, vertex colours from the decoder, shaded images of the mesh."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from skimage import measure

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.grids import surface_grid
from rodin.field.occupancy import CHUNK
from rodin.field.planes import look_up

LIGHT = np.array([0.35, 0.5, 0.8])  # towards the light in camera axes with y up, z to the viewer: right, above, front
AMBIENT, DIFFUSE = 0.25, 0.65  # brightness in shadow, and added where the surface faces the light; at most 0.9
SUPERSAMPLING = 2  # image samples a pixel and axis, against jagged edges
NEAREST = 1e-6  # world units; triangles nearer to the camera plane are not drawn
SMALLEST = 0.02  # of the largest solid's volume, a quarter of its width: a person is one solid, less is a floater
SLACK = 1e-9  # barycentric; pixel centres on an edge belong to both triangles


class Mesh(NamedTuple):
    """A coloured mesh: vertices [K, 3] float32 in world units, faces [F, 3] int64, colours [K, 3] uint8 (sRGB)."""

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray


def surface(density: np.ndarray, *, box: float, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Closed surface on which a density grid crosses a level, without floaters.

    Args:
        density: [G, G, G], indexed (x, y, z), reaching the faces of the box.
        box: half the side of the cube.
        level: density of the surface, per world unit.

    Returns:
        vertices [K, 3] float32 in world units, faces [F, 3] int64 with outward normals; both empty if no density
        exceeds the level.

    Source: R55. Ours: components under `SMALLEST` and inner hollows are removed.
    """
    cell = 2 * box / (density.shape[0] - 1)
    solid = density > level
    if not solid.any():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    sides = [np.flatnonzero(solid.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    low = np.array([side[0] for side in sides])
    part = tuple(slice(side[0], side[-1] + 1) for side in sides)
    around = np.pad(density, 1)[tuple(slice(one.start, one.stop + 2) for one in part)]
    body = _body(solid[part])
    # outside the body only its own edge is kept, where the surface passes between two points of the grid
    edge = np.asarray(ndimage.maximum_filter(body, 3), bool) & (around <= level)
    cleaned = np.where(body, np.maximum(around, np.nextafter(np.float32(level), np.float32(np.inf))), around * edge)
    vertices, faces, _, _ = measure.marching_cubes(cleaned, level, gradient_direction="ascent")
    return ((vertices - 1 + low) * cell - box).astype(np.float32), faces.astype(np.int64)


def _body(solid: np.ndarray) -> np.ndarray:
    """The large connected parts of a solid [X, Y, Z] bool, hollows filled, padded by one empty cell all around."""
    labels = np.empty([side + 2 for side in solid.shape], np.int32)
    ndimage.label(np.pad(solid, 1), output=labels)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = (sizes >= max(1.0, SMALLEST * sizes.max()))[labels]
    ndimage.label(~body, output=labels)
    return labels != labels[0, 0, 0]


@torch.no_grad()
def mesh(planes: torch.Tensor, decoder: Decoder, *, box: float, resolution: int, level: float = 10.0) -> Mesh:
    """Mesh of a tri-plane with vertex colours.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        box: half the side of the fitted cube.
        resolution: G, grid points a side for marching cubes.
        level: density of the surface, per world unit.

    Returns:
        the mesh, without floaters; no faces where nothing is dense.

    Source: R55.
    """
    density, _ = surface_grid(planes, decoder, box=box, resolution=resolution, level=level)
    vertices, faces = surface(density, box=box, level=level)
    return Mesh(vertices, faces, surface_colours(planes, decoder, vertices, box))


@torch.no_grad()
def surface_colours(planes: torch.Tensor, decoder: Decoder, vertices: np.ndarray, box: float) -> np.ndarray:
    """Colours [K, 3] uint8 (sRGB) of a field at points [K, 3] of its surface, world units, seen from outside."""
    points = torch.from_numpy(vertices).to(planes)
    colours = []
    for part in points.split(CHUNK):
        facing = -torch.nn.functional.normalize(part, dim=-1) if decoder.view_directions else None
        colours.append(decoder(look_up(planes[None], part[None], box)[0], facing)[1])
    return np.rint(torch.cat(colours).cpu().numpy() * 255).astype(np.uint8)


def shade(
    vertices: np.ndarray,
    faces: np.ndarray,
    camera_to_world: np.ndarray,
    intrinsics: np.ndarray,
    size: int,
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """Shaded image of a mesh on white, by a z-buffer over its triangles.

    Args:
        vertices: [K, 3], world units.
        faces: [F, 3], outward normals.
        camera_to_world: [4, 4], OpenCV axes.
        intrinsics: [4] fx, fy, cx, cy in pixels of an image of `size`.
        size: side of the image, pixels.
        colours: [K, 3] uint8 at the vertices; none: grey.

    Returns:
        [size, size, 3] uint8.
    """
    fine = SUPERSAMPLING * size
    image = np.full((fine, fine, 3), 1.0)
    if len(faces):
        pixels, depth = cameras.project(vertices, camera_to_world, np.asarray(intrinsics) * SUPERSAMPLING)
        pixel, face, corner = _fragments(pixels[faces], depth[faces], fine)
        normals = vertex_normals(vertices, faces)
        normal = np.einsum("kc,kcd->kd", corner, normals[faces[face]])
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
        light = np.asarray(camera_to_world, np.float64)[:3, :3] @ (LIGHT * (1, -1, -1) / np.linalg.norm(LIGHT))
        brightness = AMBIENT + DIFFUSE * np.clip(normal @ light, 0, 1)
        base = np.full((1, 3), 1.0) if colours is None else np.einsum("kc,kcd->kd", corner, colours[faces[face]] / 255)
        image.reshape(-1, 3)[pixel] = base * brightness[:, None]
    image = image.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))
    return np.rint(image * 255).astype(np.uint8)


def visible_points(
    vertices: np.ndarray, faces: np.ndarray, camera_to_world: np.ndarray, intrinsics: np.ndarray, size: int
) -> np.ndarray:
    """Points [P, 3] of a mesh that a camera sees, one for each pixel that it covers; arguments as `shade`."""
    pixels, depth = cameras.project(vertices, camera_to_world, intrinsics)
    _, face, corner = _fragments(pixels[faces], depth[faces], size)
    return np.einsum("kc,kcd->kd", corner, vertices[faces[face]])


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Outward normals at the vertices, [K, 3] float64 of unit length: those of the faces around, by their area."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    cross = np.cross(b - a, c - a)
    flat = faces.ravel()
    columns = [np.bincount(flat, np.repeat(cross[:, k], 3), minlength=len(vertices)) for k in range(3)]
    normals = np.stack(columns, axis=-1)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def _fragments(corners: np.ndarray, depth: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest triangle at each pixel centre: pixel [K], face [K], barycentric coordinates [K, 3]."""
    low = np.clip(np.ceil(corners.min(1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners.max(1) - 0.5) + 1, 0, size).astype(np.int64)
    extent = np.where((depth > NEAREST).all(-1)[:, None], np.maximum(high - low, 0), 0)
    counts = extent.prod(-1)
    face = np.repeat(np.arange(len(corners)), counts)
    place = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    across = np.maximum(extent[face, 0], 1)
    x, y = low[face, 0] + place % across, low[face, 1] + place // across
    corner = _barycentric(corners[face], np.stack([x, y], axis=-1) + 0.5)
    inside = (corner >= -SLACK).all(-1)
    face, corner, pixel = face[inside], corner[inside], (y * size + x)[inside]
    distance = (corner * depth[face]).sum(-1)
    order = np.lexsort((distance, pixel))
    _, nearest = np.unique(pixel[order], return_index=True)
    first = order[nearest]
    return pixel[first], face[first], corner[first]


def _barycentric(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]

    def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]

    area = cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-12, np.inf, area)
    first, second = cross(b - points, c - points) / area, cross(c - points, a - points) / area
    return np.stack([first, second, np.where(np.isinf(area), -1.0, 1.0 - first - second)], axis=-1)
