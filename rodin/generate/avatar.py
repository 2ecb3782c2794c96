"""One avatar: its tri-planes, what it was made from, and what one can do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rodin.field.cameras import PATHS, Cameras
from rodin.field.mesh import Mesh
from rodin.field.mesh_files import checked_faces, checked_kind, simplified, write_mesh
from rodin.generate.cascade import Avatars
from rodin.generate.export import check_export, export_avatar, metadata_of
from rodin.generate.look import TURNTABLE, Look, cameras_along, render_samples
from rodin.generate.mesh import surface_mesh
from rodin.hooks import Progress
from rodin.marks.tags import glb_extras, mesh_origin
from rodin.shapes import check_whole
from rodin.store.atomic import publishing
from rodin.store.errors import disk_error
from rodin.store.outputs import check_file

MESH_SIDE = 256  # grid points a side of a mesh: a cell is then a quarter of a texel of 64² planes
MOST_MESH_SIDE = 512  # grid points a side; twice as many need 4 GB and no texel is as small
LEAST_MESH_SIDE = 16  # grid points a side; of fewer no head remains


@dataclass(frozen=True)
class Avatar:
    """One avatar of a run, or a person of it.

    Args:
        models: of the run.
        planes: [3, C, R, R] in [-1, 1].
        latent: [D] of unit length that it was made of; None: not known.
        seed: of the models' noise.
        provenance: what it was made from, as in its metadata.json.
        before: the avatar before a change, of an edited or inverted one.
        pictures: name -> sheets [H, W, 4] uint8 of given pictures beside its own, saved with it as they are.
    """

    models: Avatars
    planes: torch.Tensor
    latent: torch.Tensor | None
    seed: int
    provenance: Mapping[str, Any]
    before: Avatar | None = None
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def cameras(self, path: str = "ring", views: int = TURNTABLE) -> Cameras:
        """Cameras along a path: "ring", "swing" or "spiral"; the first is frontal."""
        return cameras_along(self.models.config, path, views)

    def render(
        self,
        cameras: Cameras | str = "ring",
        *,
        views: int = 4,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Pictures of the avatar.

        Args:
            cameras: a path ("ring", "swing", "spiral"), or cameras of your own, see `rodin.field.cameras`.
            views: number of pictures along a path.
            size: side of a picture, 16 to 1024 pixels; None: 256, see `Look`.
            progress: called with pictures done, pictures in all and a note.

        Returns:
            [V, size, size, 4] uint8, straight alpha.

        Raises:
            ValueError: an unknown path, or a number out of range.
        """
        Look(size, views)  # of numbers out of range no camera can be made
        along = self.cameras(cameras, views) if isinstance(cameras, str) else cameras
        look = Look(size, len(along.poses)).of(self.models.config)
        samples, seen = render_samples(self.models.config, look.side), []
        for pose, lens in zip(along.poses, along.intrinsics(look.side), strict=True):
            seen.append(self.models.render(self.planes, pose[None], lens, look.side, samples)[0])
            if progress is not None:
                progress(len(seen), len(along.poses), "pictures")
        return np.stack(seen)

    def turntable(self, views: int = TURNTABLE, size: int | None = None) -> np.ndarray:
        """Pictures from all around at eye level, the first frontal: [views, size, size, 4] uint8."""
        return self.render("ring", views=views, size=size)

    def mesh(self, resolution: int = MESH_SIDE, faces: int | None = None) -> Mesh:
        """The avatar's surface: closed, without floaters, with a colour at each vertex.

        Args:
            resolution: grid points a side, 16 to 512.
            faces: about how many to keep, at least 100; None: all.

        Returns:
            vertices in world units; without faces where the avatar has no surface.

        Raises:
            ValueError: a number out of range, or faces without the package fast-simplification.
        """
        check_resolution(resolution)
        if faces is not None:
            checked_faces(faces)
        config, planes = self.models.config, self.planes.to(self.models.device)
        box = config.triplane.box
        mesh = surface_mesh(planes, self.models.decoder, config.data, box=box, resolution=resolution)
        return mesh if faces is None or not len(mesh.faces) else simplified(mesh, faces)

    def save_mesh(self, path: Path | str, resolution: int = MESH_SIDE, faces: int | None = None) -> Mesh:
        """Write the surface to a file, which says that it is generated (R60); an earlier one is replaced.

        Args:
            path: ends in .glb, .ply or .obj.
            resolution, faces: as in `mesh`.

        Returns:
            what was written.

        Raises:
            ValueError: as `mesh`, another kind of file or none that can be, or an avatar without a surface.
            StoreError: the disk refuses.
        """
        path = Path(path)
        checked_kind(path)
        check_file(path)
        mesh = self.mesh(resolution, faces)
        if not len(mesh.faces):
            raise ValueError(f"{path}: the avatar has no surface, so there is no mesh; try another seed")
        metadata = metadata_of(self.models, self.provenance)
        try:
            with publishing(path) as temporary:
                write_mesh(temporary, mesh, glb_extras(mesh_origin(metadata), metadata))
        except OSError as problem:
            raise disk_error(path, problem) from problem
        return mesh

    def save(
        self,
        folder: Path | str,
        *,
        look: Look | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Write pictures, a turntable, a mesh, planes and metadata to a folder; `Rodin.load` reads it.

        Args:
            folder: a new folder, or one that an earlier avatar was saved to, which is replaced.
            look: size, number and format of the pictures.
            progress: called with pictures done, pictures in all and a note.

        Returns:
            paths, as `export_avatar`.

        Raises:
            ValueError: a folder that holds other things.
            StoreError: the disk refuses.
        """
        check_export(Path(folder))
        both = {"avatar": self.planes} | ({} if self.before is None else {"before": self.before.planes})
        named = {"latent": self.latent, "look": look, "pictures": self.pictures, "progress": progress}
        return export_avatar(self.models, Path(folder), both, self.provenance, **named)


def check_resolution(resolution: int) -> None:
    """Refuse a mesh that is too coarse or too fine.

    Raises:
        ValueError: out of range.
    """
    check_whole("resolution", resolution, LEAST_MESH_SIDE, MOST_MESH_SIDE, " grid points a side")


def check_path(name: str) -> None:
    """Refuse a path of cameras that there is not.

    Raises:
        ValueError: another name.
    """
    if name not in PATHS:
        raise ValueError(f"camera path: got {name!r}, wanted {', '.join(PATHS)}, or a transforms JSON file")
