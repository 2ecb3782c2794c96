"""Haze: the share of an avatar's visible opacity that is not part of the person, such as specks, horns and fog.

What is part of the person is a grid of cells: the visual hull, where pictures of the person tell it; else the main
body, the largest connected solid of the avatar itself, so that avatars of nobody in particular can be measured too.
"""

import torch

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.occupancy import cells_at, main_body, occupancy_of_field, with_edge
from rodin.field.render import CHUNK_SAMPLES, trace
from rodin.generate.cascade import Avatars

VIEWS = 4  # around an avatar: front, both sides and behind show what stands off on any side


@torch.no_grad()
def haze(
    planes: torch.Tensor,
    decoder: Decoder,
    camera_to_world: torch.Tensor,
    intrinsics: torch.Tensor,
    size: tuple[int, int],
    *,
    box: float,
    samples: int,
    person: torch.Tensor | None = None,
) -> float:
    """Share of the opacity in pictures of a field that comes from outside of the person.

    haze = sum of w_i of samples outside / sum of all w_i,   w_i: weights along the rays of all pixels

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        camera_to_world: [V, 4, 4], OpenCV axes (torch or numpy).
        intrinsics: [V, 4] fx, fy, cx, cy in pixels.
        size: height and width of the pictures, pixels.
        box: half the side of the cube, world units.
        samples: of a ray.
        person: [G, G, G] bool, the cells that are the person; None: the main body. Opacity at their edge is not haze.

    Returns:
        in [0, 1]; 0 where nothing at all is seen.
    """
    occupancy = occupancy_of_field(planes, decoder, box=box)
    person = main_body(occupancy) if person is None else person
    inside = with_edge(person, planes.shape[-1])
    outside = total = 0.0
    for pose, lens in zip(torch.as_tensor(camera_to_world), torch.as_tensor(intrinsics), strict=True):
        rays = cameras.rays(pose.cpu().numpy(), lens.cpu().numpy(), *size)
        origins, directions = (torch.from_numpy(array).to(planes)[None] for array in rays)
        some = max(1, CHUNK_SAMPLES // samples)
        for here, there in zip(origins.split(some, 1), directions.split(some, 1), strict=True):
            seen = trace(planes[None], decoder, here, there, box=box, samples=samples, occupancy=occupancy[None])
            points = here[..., None, :] + seen.t[..., None] * there[..., None, :]
            outside += float(seen.weights[~cells_at(inside, points, box)].sum())
            total += float(seen.weights.sum())
    return outside / total if total else 0.0


def avatar_haze(avatars: Avatars, planes: torch.Tensor) -> float:
    """Haze of an avatar, planes [3, C, R, R], beside its main body, seen from four sides as large as the data.

    It is measured on all that the planes hold: pictures show none of it where `sample.main_body` is set.
    """
    config = avatars.config
    side, box, samples = config.data.resolution, config.triplane.box, config.fit.samples
    poses = torch.from_numpy(cameras.ring(VIEWS, radius=config.data.camera_radius))
    lenses = torch.from_numpy(cameras.pinhole(side, config.data.fov_degrees)).expand(VIEWS, 4)
    return haze(planes.to(avatars.device), avatars.decoder, poses, lenses, (side, side), box=box, samples=samples)
