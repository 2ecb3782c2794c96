"""What is made of avatars that are there or asked for: pictures along a path, a mesh file, an interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rodin.field.cameras import Cameras
from rodin.field.mesh_files import checked_faces, checked_kind
from rodin.generate.avatar import MESH_SIDE, check_path, check_resolution
from rodin.generate.changes import captured_among, check_way
from rodin.generate.condition import AvatarRequest
from rodin.generate.export import METADATA, exporting, metadata_of
from rodin.generate.look import TURNTABLE, Look
from rodin.generate.morph import interpolation_paths, save_interpolation
from rodin.generate.options import SamplingOptions, sampling_metadata
from rodin.generate.pictures import save_animation
from rodin.generate.requests import check_output_of, kept, opened
from rodin.generate.texts import Tell
from rodin.hooks import Progress
from rodin.store.outputs import check_file


def render_avatar(
    run: Path,
    request: AvatarRequest,
    *,
    cameras: Cameras | str = "ring",
    look: Look | None = None,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Render an avatar along a path of cameras into a folder.

    Args:
        run: a run folder with trained models.
        request: the avatar.
        cameras: "ring", "swing" or "spiral"; or cameras of one's own, whose number then counts.
        look: size, number (24 where it is not said) and format of the pictures.
        output, options, progress, tell: as in `rodin.generate.requests.sample_avatar`.

    Returns:
        paths: output, pictures, metadata.

    Raises:
        ValueError, FileNotFoundError: as `sample_avatar`, or another path.
    """
    if isinstance(cameras, str):
        check_path(cameras)
    look = look or Look()
    count = look.views or TURNTABLE if isinstance(cameras, str) else len(cameras.poses)
    look, name = replace(look, views=count), cameras if isinstance(cameras, str) else "cameras"
    rodin = opened(run, options, progress, tell, request)
    check_output_of(output, request)
    source: dict[str, Any] = request.metadata() | sampling_metadata(rodin.config) | {"path": name}
    if not isinstance(cameras, str):
        source |= {"poses": cameras.poses.tolist(), "lenses": cameras.lenses.tolist()}
    if not kept(rodin, output, source, look):
        (avatar,) = rodin.made([request])
        frames = avatar.render(cameras, views=count, size=look.size, progress=progress)
        metadata = metadata_of(rodin.models, source | captured_among([avatar]), look)
        with exporting(rodin.models, output, metadata) as folder:
            save_animation(folder, name, rodin.models.marking.marked(frames), look.format, metadata)
    pictures = sorted(path for path in output.iterdir() if path.name.startswith(name))
    return {"output": output, "pictures": pictures, "metadata": output / METADATA}


def mesh_avatar(
    run: Path,
    request: AvatarRequest,
    *,
    resolution: int = MESH_SIDE,
    faces: int | None = None,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Write an avatar's mesh to a file.

    Args:
        run, request, options, progress, tell: as in `render_avatar`.
        resolution: grid points a side, 16 to 512.
        faces: about how many to keep; None: all.
        output: the file, ending in .glb, .ply or .obj; an earlier one is replaced.

    Returns:
        {"output", "vertices", "faces"}: its path and their numbers.

    Raises:
        ValueError, FileNotFoundError: as `sample_avatar`; another kind of file; or an avatar without a surface.
        StoreError: the file cannot be written.
    """
    check_resolution(resolution)
    checked_kind(output)
    if faces is not None:
        checked_faces(faces)
    check_file(output)
    rodin = opened(run, options, progress, tell, request)
    (avatar,) = rodin.made([request])
    if progress is not None:
        progress(0, 1, f"mesh of {resolution} points a side")
    mesh = avatar.save_mesh(output, resolution, faces)
    return {"output": output, "vertices": len(mesh.vertices), "faces": len(mesh.faces)}


def interpolate_avatars(
    run: Path,
    requests: Sequence[AvatarRequest],
    *,
    steps: int = 8,
    how: str = "slerp",
    look: Look | None = None,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Interpolate avatars into a folder, see `Rodin.interpolate` and `save_interpolation`.

    Args:
        run, look, output, options, progress, tell: as in `render_avatar`.
        requests: of the avatars, two or more, of any kinds.
        steps: avatars from each to the next, both counted.
        how: slerp or lerp.

    Returns:
        paths, as `save_interpolation`.

    Raises:
        ValueError, FileNotFoundError: as `Rodin.interpolate` and `sample_avatar`.
    """
    check_way(len(requests), steps, how)
    look = look or Look()
    rodin, look = opened(run, options, progress, tell, *requests), replace(look, views=look.views or 2 * TURNTABLE)
    check_output_of(output, *requests)
    source = {"from": "interpolation", "ends": [request.metadata() for request in requests]}
    source |= {"interpolated": how, "between": steps, **sampling_metadata(rodin.config)}
    if kept(rodin, output, source, look):
        files = [path.name for path in sorted(output.iterdir())]
        return interpolation_paths(output, files)
    ends = [rodin.made([request])[0] for request in requests]
    avatars = rodin.interpolate(*ends, steps=steps, how=how, progress=progress)
    return save_interpolation(avatars, output, source, look, progress)
