"""The surface of a person as Blender's cameras see it: where the ray of each pixel first meets a part."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rodin.avatars import atlas
from rodin.avatars.blender import bpy, new_scene, place_atlas
from rodin.avatars.geometry import Part, Strands
from rodin.avatars.lighting import Light

FORMAT = {"file_format": "OPEN_EXR", "color_depth": "32", "color_mode": "RGB"}
PASSES = {"Position": "position", "IndexOB": "number"}  # Blender's name of a pass -> of its file


def visible_surface(
    parts: Sequence[Part],
    light: Light,
    camera_to_world: np.ndarray,
    intrinsics: np.ndarray,
    *,
    resolution: int,
    threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the parts that cameras see: Blender's position pass of the scene that pictures are rendered of.

    Args:
        parts, light, camera_to_world, intrinsics, threads: as `rodin.avatars.blender.render`.
        resolution: height and width of a view, pixels.

    Returns:
        points [P, 3] float32 in world units, of all pixels of all views that see a part; whether each is of a strand
        of hair [P] bool. What is under half opaque, such as a lens, is seen through.
    """
    scene = new_scene(parts, light, 1, False, "CPU", threads)
    for number, part in enumerate(parts, start=1):
        scene.collection.objects[number + len(light.lamps) - 1].pass_index = 2 if isinstance(part, Strands) else 1
    layer = bpy.context.view_layer
    layer.use_pass_position = layer.use_pass_object_index = True
    found = []
    with tempfile.TemporaryDirectory(prefix="rodin-surface-") as folder:
        _write_passes(scene, Path(folder))
        for views in atlas.batches(len(camera_to_world), resolution):
            place_atlas(scene, camera_to_world[views], intrinsics[views], resolution, Path(folder))
            bpy.ops.render.render()
            point, number = (_read(Path(folder) / f"{name}0001.exr") for name in PASSES.values())
            found.append((point[number[..., 0] > 0], number[number > 0].reshape(-1, 3)[:, 0] > 1))
    points, strands = zip(*found, strict=True)
    return np.concatenate(points), np.concatenate(strands)


def _write_passes(scene: Any, folder: Path) -> None:
    """Have each rendering write its passes to a folder, as 32-bit numbers."""
    scene.use_nodes = True
    nodes, links = scene.node_tree.nodes, scene.node_tree.links
    nodes.clear()
    layers, files = nodes.new("CompositorNodeRLayers"), nodes.new("CompositorNodeOutputFile")
    files.base_path = str(folder)
    files.file_slots.clear()
    for name, value in FORMAT.items():
        setattr(files.format, name, value)
    for source, name in PASSES.items():
        files.file_slots.new(name)
        links.new(layers.outputs[source], files.inputs[name])


def _read(path: Path) -> np.ndarray:
    """An EXR file of Blender, [H, W, 3] float32, the first row the top."""
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    shaped = values.reshape(image.size[1], image.size[0], image.channels)[::-1, :, :3]
    bpy.data.images.remove(image)
    return shaped
