"""A picture of a glTF mesh as a viewer shows it, unlit: one triangle after the other, pixel by pixel."""

from pathlib import Path

import numpy as np
import trimesh


def srgb(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] as sRGB in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def read_glb(path: Path) -> tuple[trimesh.Trimesh, np.ndarray]:
    """The one mesh of a GLB file as trimesh reads it, placed by its node, and its stored colours [K, 4] uint16."""
    scene = trimesh.load_scene(path, process=False)
    ((transform, name),) = (scene.graph[node] for node in scene.graph.nodes_geometry)
    shape = scene.geometry[name]
    colours = shape.visual.vertex_attributes["color"].copy()
    return shape.apply_transform(transform), colours


def picture_of(path: Path, camera_to_world: np.ndarray, lens: np.ndarray, size: int) -> np.ndarray:
    """[size, size, 4] uint8 of a GLB file; the camera's OpenCV axes and its place are in the file's metres."""
    shape, colours = read_glb(path)
    light = colours[:, :3] / 65535
    world_to_camera = np.linalg.inv(camera_to_world)
    points = shape.vertices @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    x = lens[0] * points[:, 0] / points[:, 2] + lens[2]
    y = lens[1] * points[:, 1] / points[:, 2] + lens[3]
    nearest = np.full((size, size), np.inf)
    picture = np.zeros((size, size, 4), np.uint8)
    for a, b, c in shape.faces:
        area = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
        if area >= 0:  # seen from behind: outward faces turn to the left in a picture whose y points down
            continue
        for row in range(max(0, int(min(y[[a, b, c]]))), min(size, int(max(y[[a, b, c]])) + 1)):
            for column in range(max(0, int(min(x[[a, b, c]]))), min(size, int(max(x[[a, b, c]])) + 1)):
                u, v = column + 0.5, row + 0.5
                first = ((x[b] - u) * (y[c] - v) - (y[b] - v) * (x[c] - u)) / area
                second = ((x[c] - u) * (y[a] - v) - (y[c] - v) * (x[a] - u)) / area
                third = 1 - first - second
                depth = first * points[a, 2] + second * points[b, 2] + third * points[c, 2]
                if min(first, second, third) >= 0 and depth < nearest[row, column]:
                    nearest[row, column] = depth
                    seen = srgb(first * light[a] + second * light[b] + third * light[c])
                    picture[row, column] = [*np.rint(255 * seen), 255]
    return picture
