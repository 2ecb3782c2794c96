"""`rodin bench mesh --run RUN`: how near meshes come to the surface that Blender rendered, and whether they are whole.

Both surfaces are measured alike: as points that the same cameras see from outside. Distances are from one point in each
small cell, so that no part counts by how many cameras see it, to the nearest of all points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree

from rodin.avatars.body import HEAD_HEIGHT
from rodin.config import Config
from rodin.data.pictures import evenly
from rodin.data.shared_decoder import load_mean
from rodin.field import cameras
from rodin.field.mesh import Mesh, visible_points
from rodin.field.mesh_files import optional, simplified
from rodin.generate.api import Rodin
from rodin.generate.avatar import Avatar
from rodin.hooks import Progress
from rodin.stages.render import visible_surfaces
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

Rings = tuple[np.ndarray, np.ndarray]  # camera_to_world [V, 4, 4] and intrinsics [V, 4]

RESOLUTIONS = (128, 256)  # grid points a side of a mesh; 256 is that of `rodin mesh`
FACES = 10_000  # of a mesh made smaller
NEAR = 0.01  # of a head's height; points nearer than this count for the F-score
VIEWS, SIDE, SEED = 32, 192, 7  # cameras, none of a run's own, and pixels of each: a point for 0.004 units of surface
CELL = 0.01  # world units; of the points in such a cell one is measured from: 30,000 in all
MEAN, POINTS = "mean person", "the true surface's own points, half against half"
MEASURES = ("Chamfer", "mesh to truth", "truth to mesh", "truth to mesh without hair", "F-score")


def bench_mesh(config: Config, folder: RunFolder, count: int, progress: Progress) -> list[dict[str, Any]]:
    """Measure meshes of fitted people against their true surface, and whether these and avatars' meshes are whole.

    Args:
        config: the run's config.
        folder: the run, of synthetic people, with fits.
        count: number of fitted people, and of avatars where the run has some.
        progress: called with people and avatars done, in all, and a note.

    Returns:
        rows of `distance_rows`, against the mesh of the mean person, and of `whole_rows`.

    Raises:
        ValueError: captured people, whose true surface nobody knows; or a library is not installed.
        StoreError: no fits.
    """
    if config.data.source != "avatars":
        raise ValueError("the true surface of captured people is not known; wanted a run of synthetic people")
    optional("trimesh", "to check meshes")
    rodin = Rodin(folder.path)
    fits = Shards(folder.stage("fit"), "planes").subjects
    people, drawn = [fits[place] for place in evenly(len(fits), count)], drawn_avatars(rodin, count)
    mean = Avatar(rodin.models, load_mean(folder, rodin.models.device), None, 0, {"from": "bench"})
    found, whole, ring = defaultdict(list), [], true_cameras(config)
    guess = seen(mean.mesh(RESOLUTIONS[0]), ring)
    for done, (name, true) in enumerate(zip(people, visible_surfaces(config, people, *ring, SIDE), strict=True)):
        progress(done, len(people) + len(drawn), name)
        truth, hair = true
        meshes = {side: rodin.subject(name).mesh(side) for side in RESOLUTIONS}
        for side, mesh in meshes.items():
            found[f"{side}³"].append(distances(seen(mesh, ring), truth, hair))
        found[MEAN].append(distances(guess, truth, hair))
        half = np.random.default_rng(0).permutation(len(truth)) % 2 == 0
        found[POINTS].append(distances(truth[half], truth[~half], hair[~half]))
        whole.append(wholeness(meshes[RESOLUTIONS[-1]]))
    for done, avatar in enumerate(drawn, start=len(people)):
        progress(done, len(people) + len(drawn), "meshes of avatars")
        whole.append(wholeness(avatar.mesh(RESOLUTIONS[-1])))
    return [*distance_rows(found), *whole_rows(whole)]


def drawn_avatars(rodin: Rodin, count: int) -> list[Avatar]:
    """The first avatars that stage `sample` drew; none where it has not run."""
    folder = rodin.models.folder.stage("sample")
    if not folder.is_dir():
        return []
    store = Shards(folder, "samples")
    names = [name for name in store.subjects if store.meta(name)["kind"] != "trajectory"][:count]
    planes = [torch.from_numpy(store.read(name, "planes")).float() for name in names]
    return [Avatar(rodin.models, one, None, 0, {"from": "bench"}) for one in planes]


def true_cameras(config: Config) -> Rings:
    """Cameras from all sides within the run's elevations."""
    data = config.data
    poses = cameras.sphere(VIEWS, reference_views=1, radius=data.camera_radius, elevation=data.elevation, seed=SEED)
    return poses, np.tile(cameras.pinhole(SIDE, data.fov_degrees), (VIEWS, 1))


def seen(mesh: Mesh, ring: Rings) -> np.ndarray:
    """Points [P, 3] of a mesh that cameras see."""
    views = [visible_points(mesh.vertices, mesh.faces, *camera, SIDE) for camera in zip(*ring, strict=True)]
    return np.concatenate(views)


def evenly_spread(points: np.ndarray) -> np.ndarray:
    """Numbers of the first of points [P, 3] in each cell of a grid."""
    cell = np.floor(points / CELL).astype(np.int64)
    cell -= cell.min(axis=0, initial=0)
    sides = cell.max(axis=0, initial=0) + 1
    return np.unique(np.ravel_multi_index(tuple(cell.T), tuple(sides)), return_index=True)[1]


def distances(points: np.ndarray, truth: np.ndarray, hair: np.ndarray) -> dict[str, float]:
    """Distances between two surfaces, world units, from evenly spread points to the nearest of all; F-score at NEAR.

    Args:
        points: [P, 3] of a mesh.
        truth: [Q, 3] of the true surface.
        hair: whether each of these is of a strand, [Q] bool.
    """
    ours, theirs = evenly_spread(points), evenly_spread(truth)
    there, back = tree(truth).query(points[ours])[0], tree(points).query(truth[theirs])[0]
    precision, recall = (float((one < NEAR * HEAD_HEIGHT).mean()) for one in (there, back))
    score = 2 * precision * recall / max(precision + recall, 1e-9)
    values = ((there.mean() + back.mean()) / 2, there.mean(), back.mean(), back[~hair[theirs]].mean(), score)
    return dict(zip(MEASURES, map(float, values), strict=True))


def tree(points: np.ndarray) -> KDTree:
    """A tree that is built once and asked little: not balanced, a third of the time."""
    return KDTree(points, balanced_tree=False, compact_nodes=False)


def wholeness(mesh: Mesh) -> dict[str, bool]:
    """Whether a mesh, as it is and of FACES faces, is closed and oriented outwards, and one body."""
    trimesh = optional("trimesh", "to check meshes")
    found = {}
    for name, one in (("", mesh), (f" of {FACES:,} faces", simplified(mesh, FACES))):
        shape = trimesh.Trimesh(one.vertices, one.faces, process=False)
        closed = bool(len(one.faces)) and shape.is_watertight and shape.is_winding_consistent and shape.volume > 0
        found[f"closed and oriented{name}"] = bool(closed)
        found[f"one body{name}"] = bool(closed) and shape.body_count == 1
    return found


def distance_rows(found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Means over people of each measure and resolution, beside those of the mean person's mesh.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; in world units, their share of a head's height in the
        unit; last the distance that comes of measuring by points.
    """
    rows = []
    for measure in MEASURES:
        means = {name: float(np.mean([one[measure] for one in each])) for name, each in found.items()}
        for name in (f"{side}³" for side in RESOLUTIONS):
            value, theirs = means[name], means[MEAN]
            share = measure == MEASURES[-1]
            unit = f"at {NEAR:.0%} of a head" if share else f"units, {value / HEAD_HEIGHT:.2%} of a head"
            better, worse = (value, theirs) if share else (theirs, value)
            row = {"name": f"{measure}, {name}", "value": value, "unit": unit, "baseline": MEAN}
            rows.append(row | {"baseline_value": theirs, "ratio": better / worse if worse else None})
    floor = float(np.mean([one[MEASURES[0]] for one in found[POINTS]]))
    return [*rows, {"name": "Chamfer of points", "value": floor, "unit": f"units, {POINTS}"}]


def whole_rows(whole: Sequence[Mapping[str, bool]]) -> list[dict[str, Any]]:
    """Shares of meshes of the finest resolution that are whole in each way."""
    return [
        {"name": name, "value": float(np.mean([one[name] for one in whole])), "unit": f"of {len(whole)} meshes"}
        for name in (whole[0] if whole else ())
    ]
