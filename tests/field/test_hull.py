"""The hull holds the person, and rays are drawn where they teach."""

import numpy as np
import pytest
import torch
from fixtures import ellipsoids

from rodin.field import cameras
from rodin.field.generators import generators_for
from rodin.field.hull import carve, hull_cells
from rodin.field.occupancy import cell_centres, cell_index, cells_at, dilate
from rodin.fitting.scene import FitScene, Rays, draw_rays, make_scene, rays_at


def scene(resolution: int = 24) -> FitScene:
    rgba, poses, lenses = ellipsoids.views(9, 32, seed=4)
    return make_scene(rgba, poses, lenses, box=1.0, hull_resolution=resolution)


@pytest.mark.parametrize("resolution", [7, 24, 40])
def test_hull_contains_the_person_and_little_else(resolution: int) -> None:
    hull = scene(resolution).hull
    points = np.random.default_rng(0).uniform(-1, 1, (20000, 3))
    body = ellipsoids.inside(ellipsoids.person(4), points)
    inside = hull.flatten()[cell_index(torch.from_numpy(points), resolution, 1.0)].numpy()
    assert body.sum() > 1000
    assert inside[body].all()
    if resolution >= 24:
        assert inside.mean() < 3 * body.mean()


@pytest.mark.parametrize("corner", [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])
def test_a_ball_in_the_corner_of_a_cell_keeps_that_cell(corner: tuple[int, int, int]) -> None:
    """A cell is judged by all that it may hold, not by its centre."""
    ball = [ellipsoids.Part(np.array([0.25, 0.25, -0.25]) + 0.23 * np.array(corner), np.full(3, 0.02), np.ones(3))]
    directions = ((0, 0, 4), (4, 0, 0.0), (0, 2.8, 2.8), (2.4, -2.4, 2.4), (-2, 2, -3), (0, 0, -3))
    poses, lens = [cameras.look_at(np.array(place, float)) for place in directions], cameras.pinhole(128, 40.0)
    masks = [ellipsoids.nearest_hit(ball, *cameras.rays(pose, lens, 128, 128))[1].reshape(128, 128) for pose in poses]
    alpha = torch.from_numpy(np.stack(masks)).to(torch.uint8) * 255
    assert (alpha > 0).flatten(1).any(1).all()
    lenses = torch.from_numpy(lens).expand(len(poses), 4)
    hull = carve(alpha, torch.from_numpy(np.stack(poses)), lenses, box=1.0, resolution=4)
    assert hull[2, 2, 1]  # of x, y in [0, 0.5] and z in [-0.5, 0]
    assert hull.sum() < 16


@pytest.mark.parametrize(("fov", "radius"), [(31.0, 4.7), (70.0, 2.6)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_cell_is_kept_where_its_sphere_touches_what_is_opaque(fov: float, radius: float, axis: int) -> None:
    """Lines of opaque pixels, one after another, also at the edges of a wide picture."""
    cells, size = 16, 80
    pose, lens = cameras.look_at(np.array([0.0, 0.0, radius])), cameras.pinhole(size, fov)
    local = (cell_centres(cells, 1.0).numpy().astype(float) - pose[:3, 3]) @ pose[:3, :3]
    middle = np.arctan2(local[:, axis], local[:, 2])
    half = np.arcsin(
        np.sqrt(3) / cells / np.hypot(local[:, axis], local[:, 2])
    )  # the angle that a sphere is seen under
    first, last = (np.floor(np.tan(middle + way * half) * lens[axis] + lens[2 + axis]) for way in (-1, 1))
    camera, kept, touched = (torch.from_numpy(pose)[None], torch.from_numpy(lens)[None]), 0, 0
    for place in range(size):
        alpha = torch.zeros(1, size, size, dtype=torch.uint8)
        alpha.select(2 - axis, place)[:] = 255
        hull = carve(alpha, *camera, box=1.0, resolution=cells).flatten().numpy()
        here = (first <= place) & (place <= last)
        assert hull[here].all()
        kept, touched = kept + hull.sum(), touched + here.sum()
    assert touched > 1000
    assert kept < 2 * touched


def test_what_no_picture_shows_is_kept() -> None:
    poses = torch.from_numpy(cameras.ring(4, radius=4.0))
    lenses = torch.from_numpy(cameras.pinhole(16, 8.0)).expand(4, 4)  # sees only the middle of the box
    hull = carve(torch.zeros(4, 16, 16, dtype=torch.uint8), poses, lenses, box=1.0, resolution=16)
    assert not hull[8, 8, 8]
    assert hull[8, 0, 8]
    assert hull[8, 15, 8]
    full = carve(torch.full((4, 16, 16), 255, dtype=torch.uint8), poses, lenses, box=1.0, resolution=16)
    assert full.all()


def test_cells_and_points_agree() -> None:
    centres = cell_centres(5, 1.4)
    assert torch.equal(cell_index(centres, 5, 1.4), torch.arange(125))
    assert cell_index(torch.tensor([9.0, -9.0, 9.0]), 5, 1.4) == 4 * 25 + 4
    cells = torch.arange(125).view(5, 5, 5)
    assert cells_at(cells, torch.tensor([[[1.3, 0.0, -1.3]]]), 1.4) == cells[4, 2, 0]
    one = torch.zeros(7, 7, 7, dtype=torch.bool)
    one[3, 3, 0] = True
    assert int(dilate(one).sum()) == 18
    assert dilate(one)[2, 4, 1]


def test_rays_show_the_pixels_they_go_through() -> None:
    here = scene()
    rays = Rays(*(part[0] for part in rays_at([here], torch.arange(32 * 32)[None] + 3 * 32 * 32)))
    origins, directions = cameras.rays(here.poses[3].numpy(), here.lenses[3].numpy(), 32, 32)
    np.testing.assert_allclose(rays.origins, origins, atol=1e-6)
    np.testing.assert_allclose(rays.directions, directions, atol=1e-5)
    np.testing.assert_allclose(rays.alpha.view(32, 32) * 255, here.rgba[3, ..., 3], atol=1e-3)
    np.testing.assert_allclose(rays.colour.view(32, 32, 3) * 255, here.rgba[3, ..., :3], atol=1e-3)


def test_most_rays_go_where_the_person_is() -> None:
    here = scene()
    opaque = float((here.rgba[..., 3] > 0).float().mean())
    drawn = Rays(*(part[0] for part in draw_rays([here], 1000, 0.1, [generators_for(0)])))
    assert drawn.origins.shape == (1000, 3)
    assert float((drawn.alpha[900:] == 0).float().mean()) == 1.0
    assert float((drawn.alpha[:900] > 0).float().mean()) > max(0.6, opaque + 0.2)
    everywhere = here._replace(outside=here.outside[:0])
    drawn = Rays(*(part[0] for part in draw_rays([everywhere], 1000, 0.1, [generators_for(0)])))
    assert float((drawn.alpha[900:] > 0).float().mean()) > 0.6


def test_pixels_beside_the_person_are_drawn_with_them() -> None:
    """The outline is learned from both of its sides."""
    rgba = np.zeros((1, 9, 9, 4), np.uint8)
    rgba[0, 4, 5] = 255
    rgba[0, 8, 0, 3] = 2  # a trace that is no person
    pose, lens = cameras.look_at(np.array([0.0, 0.0, 4.0]))[None], cameras.pinhole(9, 30.0)[None]
    made = make_scene(rgba, pose, lens, box=1.0, hull_resolution=4)
    assert made.inside.tolist() == [9 * row + column for row in (3, 4, 5) for column in (4, 5, 6)]
    assert sorted([*made.inside.tolist(), *made.outside.tolist()]) == list(range(81))


def test_a_hull_is_half_as_fine_as_its_planes_where_they_are_large() -> None:
    assert [hull_cells(resolution) for resolution in (16, 64, 128, 256, 512)] == [16, 64, 64, 128, 128]


def test_pictures_of_nobody_are_refused() -> None:
    rgba, poses, lenses = ellipsoids.views(3, 16)
    with pytest.raises(ValueError, match="without one opaque pixel"):
        make_scene(rgba * 0, poses, lenses, box=1.0, hull_resolution=8)
    with pytest.raises(ValueError, match="camera_to_world"):
        make_scene(rgba, poses[:2], lenses, box=1.0, hull_resolution=8)
