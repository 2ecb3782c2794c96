"""Rendering with Blender; the only module that imports bpy, from which `surface` has it."""

import hashlib
import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy as untyped
import numpy as np
from PIL import Image

from rodin.avatars import atlas
from rodin.avatars.geometry import Finish, Mesh, Part, Strands
from rodin.avatars.lighting import Light

bpy: Any = untyped
"""the module is filled at run time, so type checkers do not see its contents"""
SENSOR = 36.0
"""width and height of Blender's sensor, mm: its lenses are at least 1 mm long, which here is a field of view of 173°"""


def render(
    parts: Sequence[Part],
    light: Light,
    camera_to_world: np.ndarray,
    intrinsics: np.ndarray,
    *,
    resolution: int,
    samples: int,
    denoise: bool = False,
    device: str = "CPU",
    threads: int = 0,
    at_once: bool = True,
) -> np.ndarray:
    """Render images of parts in an empty scene.

    Args:
        parts: meshes and strands.
        light: lamps and background light.
        camera_to_world: [V, 4, 4], OpenCV axes, world units.
        intrinsics: [V, 4] fx, fy, cx, cy in pixels.
        resolution: height and width, pixels.
        samples: rays a pixel.
        denoise: apply Open Image Denoise; needed where samples are few.
        device: CPU, CUDA or OPTIX.
        threads: CPU threads, 0 for all.
        at_once: all views in one atlas; needs OSL cameras, which CUDA does not support.

    Returns:
        [V, H, W, 4] uint8, sRGB, straight alpha.
    """
    scene = new_scene(parts, light, samples, denoise, device, threads)
    camera = scene.camera.data
    if not at_once:
        return _one_by_one(scene, camera, camera_to_world, intrinsics, resolution)
    with tempfile.TemporaryDirectory(prefix="rodin-avatars-") as folder:
        batches = [
            _picture(scene, camera_to_world[views], intrinsics[views], resolution, Path(folder))
            for views in atlas.batches(len(camera_to_world), resolution)
        ]
    return np.concatenate(batches)


def new_scene(parts: Sequence[Part], light: Light, samples: int, denoise: bool, device: str, threads: int) -> Any:
    """Blender's scene of some parts, its camera without a place; arguments as `render`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _settings(scene, samples, denoise, device, threads)
    _lights(scene, light)
    materials: dict[tuple[str, Finish], Any] = {}
    for part in parts:
        kind = (type(part).__name__, part.finish)
        if kind not in materials:
            materials[kind] = _material(part.finish)
        if isinstance(part, Mesh):
            _add_mesh(scene, part, materials[kind])
        else:
            _add_strands(scene, part, materials[kind])
    scene.camera = bpy.data.objects.new("atlas", bpy.data.cameras.new("atlas"))
    scene.collection.objects.link(scene.camera)
    return scene


def place_atlas(scene: Any, camera_to_world: np.ndarray, intrinsics: np.ndarray, resolution: int, folder: Path) -> None:
    """Make the scene's camera that of an atlas of views, and its picture as large; arguments as `render`.

    Args:
        scene: of `new_scene`.
        folder: where the camera's program is compiled.
    """
    camera, source, binary = scene.camera.data, folder / "atlas.osl", folder / "atlas.oso"
    source.write_text(atlas.shader(camera_to_world, intrinsics, resolution))
    if not importlib.import_module("_cycles").osl_compile(str(source), str(binary)):
        raise RuntimeError("Cycles could not compile the camera; this Blender was built without OSL")
    camera.type, code = "CUSTOM", binary.read_text()
    camera.custom_bytecode = code
    camera.custom_bytecode_hash = hashlib.sha256(code.encode()).hexdigest()[:32]
    columns, rows = atlas.layout(len(camera_to_world))
    scene.render.resolution_x, scene.render.resolution_y = columns * resolution, rows * resolution


def _picture(
    scene: Any, camera_to_world: np.ndarray, intrinsics: np.ndarray, resolution: int, folder: Path
) -> np.ndarray:
    place_atlas(scene, camera_to_world, intrinsics, resolution, folder)
    picture = folder / "atlas.png"
    scene.render.filepath = str(picture)
    bpy.ops.render.render(write_still=True)
    with Image.open(picture) as opened:
        return atlas.tiles(np.asarray(opened.convert("RGBA")), len(camera_to_world), resolution)


def _one_by_one(
    scene: Any, camera: Any, camera_to_world: np.ndarray, intrinsics: np.ndarray, resolution: int
) -> np.ndarray:
    """One image per view with Blender's own pinhole camera, for devices without OSL cameras."""
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    camera.sensor_fit, camera.sensor_width, camera.sensor_height = "HORIZONTAL", SENSOR, SENSOR
    scene.render.resolution_x = scene.render.resolution_y = resolution
    pictures = []
    with tempfile.TemporaryDirectory(prefix="rodin-avatars-") as folder:
        scene.render.filepath = str(Path(folder) / "view.png")
        for pose, (fx, fy, cx, cy) in zip(camera_to_world, intrinsics.tolist(), strict=True):
            camera.lens = SENSOR * fx / resolution
            scene.render.pixel_aspect_y = max(1.0, fx / fy)
            scene.render.pixel_aspect_x = max(1.0, fy / fx)
            camera.shift_x, camera.shift_y = 0.5 - cx / resolution, (cy / resolution - 0.5) * fx / fy
            scene.camera.matrix_world = (pose.astype(np.float64) @ flip).T.tolist()
            bpy.ops.render.render(write_still=True)
            with Image.open(scene.render.filepath) as opened:
                pictures.append(np.asarray(opened.convert("RGBA")))
    return np.stack(pictures)


def _settings(scene: Any, samples: int, denoise: bool, device: str, threads: int) -> None:
    scene.render.engine = "CYCLES"
    scene.render.film_transparent = True
    scene.render.resolution_percentage = 100
    scene.render.dither_intensity = 0
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.compression = 0
    scene.render.threads_mode = "FIXED" if threads else "AUTO"
    if threads:
        scene.render.threads = threads
    scene.view_settings.view_transform = "Standard"
    scene.render.use_persistent_data = True
    cycles = scene.cycles
    cycles.seed = 0
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = denoise
    cycles.denoiser, cycles.denoising_prefilter = "OPENIMAGEDENOISE", "FAST"
    cycles.pixel_filter_type = "BOX"
    cycles.filter_width = 1.0
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 1
    cycles.transmission_bounces, cycles.transparent_max_bounces = 0, 8
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.use_auto_tile = False
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles_curves.subdivisions = 1
    _device(cycles, device)


def _device(cycles: Any, device: str) -> None:
    if device == "CPU":
        cycles.device = "CPU"
        return
    preferences = bpy.context.preferences.addons["cycles"].preferences
    preferences.compute_device_type = device
    preferences.get_devices()
    found = [each for each in preferences.devices if each.type == device]
    if not found:
        raise ValueError(f"data.device: got {device}, but Blender finds no such device here; wanted CPU")
    for each in preferences.devices:
        each.use = each.type == device
    cycles.device = "GPU"


def _lights(scene: Any, light: Light) -> None:
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (*light.world, 1.0)
    scene.world = world
    for number, lamp in enumerate(light.lamps):
        data = bpy.data.lights.new(f"lamp{number}", "AREA")
        data.size, data.energy, data.color = lamp.size, lamp.power, lamp.colour
        thing: Any = bpy.data.objects.new(data.name, data)
        thing.location.xyz = lamp.position
        thing.rotation_mode = "QUATERNION"
        thing.rotation_quaternion = thing.location.to_track_quat("Z", "Y")
        scene.collection.objects.link(thing)


def _add_mesh(scene: Any, part: Mesh, material: Any) -> None:
    data = bpy.data.meshes.new(part.name)
    count = len(part.triangles)
    data.vertices.add(len(part.vertices))
    data.vertices.foreach_set("co", part.vertices.astype(np.float32).ravel())
    data.loops.add(3 * count)
    data.loops.foreach_set("vertex_index", part.triangles.astype(np.int32).ravel())
    data.polygons.add(count)
    data.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    data.polygons.foreach_set("use_smooth", np.full(count, part.smooth))
    data.update(calc_edges=True)
    _colour(data, "POINT", part.colours)
    data.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new(part.name, data))


def _add_strands(scene: Any, part: Strands, material: Any) -> None:
    data = bpy.data.hair_curves.new(part.name)
    strands, knots = part.points.shape[:2]
    data.add_curves([knots] * strands)
    data.position_data.foreach_set("vector", part.points.astype(np.float32).ravel())
    radius = data.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", part.radii.astype(np.float32).ravel())
    _colour(data, "CURVE", part.colours)
    data.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new(part.name, data))


def _colour(data: Any, domain: str, colours: np.ndarray) -> None:
    values = np.ones((len(colours), 4), dtype=np.float32)
    values[:, :3] = linear(colours)
    data.attributes.new("colour", "FLOAT_COLOR", domain).data.foreach_set("color", values.ravel())


def linear(colours: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in 0..1."""
    colours = np.clip(colours, 0, 1)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def _material(finish: Finish) -> Any:
    material = bpy.data.materials.new("finish")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = finish.roughness
    shader.inputs["Specular IOR Level"].default_value = finish.specular
    shader.inputs["Alpha"].default_value = finish.opacity
    attribute = nodes.new("ShaderNodeAttribute")
    attribute.attribute_name = "colour"
    colour = attribute.outputs["Color"]
    if finish.pattern != "plain":
        mix = nodes.new("ShaderNodeMix")
        mix.data_type = "RGBA"
        links.new(_pattern(nodes, links, finish.pattern), mix.inputs["Factor"])
        links.new(colour, mix.inputs[6])
        mix.inputs[7].default_value = (*linear(np.array(finish.second)), 1.0)
        colour = mix.outputs[2]
    links.new(colour, shader.inputs["Base Color"])
    return material


def _pattern(nodes: Any, links: Any, pattern: str) -> Any:
    """A 0/1 socket over world positions: 1 where cloth has its second colour."""
    place = nodes.new("ShaderNodeNewGeometry").outputs["Position"]
    limit = nodes.new("ShaderNodeMath")
    if pattern == "striped":
        split = nodes.new("ShaderNodeSeparateXYZ")
        links.new(place, split.inputs[0])
        times = nodes.new("ShaderNodeMath")
        times.operation, times.inputs[1].default_value = "MULTIPLY", 7.0
        links.new(split.outputs["Y"], times.inputs[0])
        part = nodes.new("ShaderNodeMath")
        part.operation = "FRACT"
        links.new(times.outputs[0], part.inputs[0])
        value, limit.operation, limit.inputs[1].default_value = part.outputs[0], "LESS_THAN", 0.32
    else:
        cells = nodes.new("ShaderNodeTexVoronoi")
        cells.inputs["Scale"].default_value, cells.inputs["Randomness"].default_value = 9.0, 0.35
        links.new(place, cells.inputs["Vector"])
        value, limit.operation, limit.inputs[1].default_value = cells.outputs["Distance"], "LESS_THAN", 0.3
    links.new(value, limit.inputs[0])
    return limit.outputs[0]
