"""The renderer against a loop over samples, and what must hold whatever it renders."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import volume

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.occupancy import occupancy_of_field, occupancy_of_hull, visible
from rodin.field.planes import look_up
from rodin.field.render import box_interval, render, render_views, stratify, trace, weigh

BOX = 1.1


def draw(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, Decoder, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    planes = 3 * torch.randn(3, 4, 9, 9, dtype=dtype)
    pose, lens = cameras.look_at(cameras.position(30, 15, 3.0)), cameras.pinhole(4, 30)
    origins, directions = (torch.from_numpy(array).to(dtype) for array in cameras.rays(pose, lens, 4, 4))
    return planes, Decoder(4, 16).to(dtype), origins, directions


def test_rendering_is_the_loop_forward_and_gradient() -> None:
    planes, decoder, origins, directions = draw()
    planes.requires_grad_(True)
    colour, opacity, depth = render(planes[None], decoder, origins, directions, box=BOX, samples=11)
    slow = [
        volume.trace(planes, decoder, o.tolist(), d.tolist(), BOX, 11) for o, d in zip(origins, directions, strict=True)
    ]
    torch.testing.assert_close(colour, torch.stack([one[0] for one in slow]), atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(opacity, torch.stack([1 - one[1] for one in slow]), atol=1e-10, rtol=1e-8)
    for ray, (origin, direction) in enumerate(zip(origins.tolist(), directions.tolist(), strict=True)):
        near, far = volume.enter_and_leave(origin, direction, BOX)
        middles = [near + (k + 0.5) * (far - near) / 11 for k in range(11)]
        mean = sum(w * t for w, t in zip(slow[ray][2], middles, strict=True)) / sum(slow[ray][2])
        assert depth[ray].item() == pytest.approx(mean.item(), rel=1e-8)
    weight = torch.randn(colour.shape, dtype=colour.dtype)
    wanted = [planes, *decoder.parameters()]
    fast = torch.autograd.grad((colour * weight).sum() + opacity.sum(), wanted)
    loops = torch.autograd.grad(
        sum((one[0] * row).sum() + 1 - one[1] for one, row in zip(slow, weight, strict=True)), wanted
    )
    for ours, theirs in zip(fast, loops, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)


def test_weights_and_what_passes_make_one() -> None:
    planes, decoder, origins, directions = draw()
    generator = torch.Generator().manual_seed(2)
    rays = origins[None], directions[None]
    seen = trace(planes[None], decoder, *rays, box=BOX, samples=20, generators=[generator])
    near, far = box_interval(*rays, BOX)
    t, delta = stratify(near, far, 20, [torch.Generator().manual_seed(2)])
    density = decoder.density(
        look_up(planes[None], (origins[:, None] + t[0, ..., None] * directions[:, None]).flatten(0, 1)[None], BOX)[0]
    )
    weights, passed = weigh(density.view_as(t), delta)
    torch.testing.assert_close(weights.sum(-1) + passed, torch.ones_like(passed))
    torch.testing.assert_close(seen.weights, weights)
    assert (t.diff(dim=-1) > 0).all()
    assert (t[..., 0] >= near).all()
    assert (t[..., -1] <= far).all()


def test_a_fog_of_known_density_has_beers_opacity() -> None:
    class Fog(Decoder):
        def forward(self, features, directions=None):
            return torch.full(features.shape[:-1], 0.8), torch.full((*features.shape[:-1], 3), 0.25)

    origins, directions = torch.tensor([[0.0, 0.0, 5.0], [9.0, 0.0, 5.0]]), torch.tensor([[0.0, 0.0, -1.0]] * 2)
    colour, opacity, depth = render(torch.zeros(1, 3, 4, 8, 8), Fog(4), origins, directions, box=1.0, samples=64)
    expected = 1 - np.exp(-1.6)
    torch.testing.assert_close(opacity, torch.tensor([expected, 0.0], dtype=torch.float32))
    torch.testing.assert_close(colour[0], torch.full((3,), 0.25 * expected, dtype=torch.float32))
    assert 4 < depth[0] < 5


def test_several_subjects_are_rendered_apart_forward_and_gradient() -> None:
    planes, decoder, origins, directions = draw()
    subjects = torch.stack([planes, -planes, planes.flip(-1)]).requires_grad_()
    occupancy = torch.zeros(3, 8, 8, 8, dtype=torch.float64)
    occupancy[0, 1:6], occupancy[2, :, 2:4] = (
        1.0,
        0.5,
    )  # the second box is empty; different numbers of samples elsewhere
    rays = [torch.stack([array, array.flip(0), array]) for array in (origins, directions)]
    many = trace(subjects, decoder, *rays, box=BOX, samples=9, occupancy=occupancy)
    assert many.counts[1] == 0
    assert many.counts[0] != many.counts[2] > 0
    assert sum(many.counts) == len(many.points) == len(many.density)
    alone = [
        trace(one[None], decoder, o[None], d[None], box=BOX, samples=9, occupancy=own[None])
        for one, o, d, own in zip(subjects, *rays, occupancy, strict=True)
    ]
    for ours, *theirs in zip(many[:-1], *(each[:-1] for each in alone), strict=True):
        torch.testing.assert_close(ours, torch.cat(theirs), atol=1e-12, rtol=1e-10)
    weight = torch.randn(many.colour.shape, dtype=torch.float64)
    one, other = (
        torch.autograd.grad((colour * weight).sum(), subjects)[0]
        for colour in (many.colour, torch.cat([each.colour for each in alone]))
    )
    assert one[0].abs().sum() > 0
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)
    with pytest.raises(ValueError, match="wanted .1 3 C R R"):
        render(subjects, decoder, origins, directions, box=BOX, samples=9)


def test_full_occupancy_changes_nothing_and_an_empty_one_shows_nothing() -> None:
    planes, decoder, origins, directions = draw(torch.float32)
    plain = render(planes[None], decoder, origins, directions, box=BOX, samples=13)
    full = render(
        planes[None],
        decoder,
        origins,
        directions,
        box=BOX,
        samples=13,
        occupancy=occupancy_of_hull(torch.ones(8, 8, 8) > 0),
    )
    for ours, theirs in zip(full, plain, strict=True):
        torch.testing.assert_close(ours, theirs)
    nothing = render(planes[None], decoder, origins, directions, box=BOX, samples=13, occupancy=torch.zeros(8, 8, 8))
    assert not nothing[0].any()
    assert not nothing[1].any()


def test_samples_behind_what_is_dense_are_skipped() -> None:
    occupancy = torch.full((4, 4, 4), 20.0)
    occupancy[:, :, 3] = 0.0  # empty in front
    points = torch.stack([torch.zeros(8), torch.zeros(8), torch.linspace(0.9, -0.9, 8)], dim=-1)[None, None]
    kept = visible(occupancy[None], points, torch.tensor([[[0.25]]]), 1.0, cut=1e-3)[0, 0]
    assert kept.tolist() == [False, False, True, True, False, False, False, False]


def test_skipping_what_is_empty_gives_the_same_pictures() -> None:
    torch.manual_seed(0)
    decoder = Decoder(4, 16, density=1.0)
    axis = torch.linspace(-1, 1, 64)
    ball = 2.5 * (0.45 - (axis[:, None] ** 2 + axis[None] ** 2))
    planes = torch.cat([ball.expand(3, 1, 64, 64), 0.3 * torch.randn(3, 3, 64, 64)], dim=1)
    with torch.no_grad():
        decoder.trunk[0].weight[0] = torch.tensor([5.0, 0.2, -0.2, 0.1])
        decoder.trunk[1].weight[0, 0] = 5.0
        decoder.density_and_features.weight[0, 0], decoder.density_and_features.bias[0] = 5.0, -12.0
    poses, lens = torch.from_numpy(cameras.ring(3, radius=4.0, elevation=10)), torch.from_numpy(cameras.pinhole(32, 30))
    fast, plain = (
        render_views(planes, decoder, poses, lens, 32, 32, box=1.0, samples=64, skip_empty=skip)
        for skip in (True, False)
    )
    assert 0.1 < float(plain[..., 3].mean()) < 0.6
    assert 0.02 < float((occupancy_of_field(planes, decoder, box=1.0) > 0).float().mean()) < 0.6
    assert float((fast[..., 3] - plain[..., 3]).abs().max()) < 2 / 255
    white = [picture[..., :3] * picture[..., 3:] + 1 - picture[..., 3:] for picture in (fast, plain)]
    assert float((white[0] - white[1]).abs().max()) < 2 / 255
    one = render_views(planes, decoder, poses[1:2], lens, 32, 32, box=1.0, samples=64)
    assert torch.equal(one, fast[1:2])


def test_what_is_seen_past_a_nearer_outline_is_not_skipped() -> None:
    """A ray through the empty corner of a half-filled cell goes on, to the wall behind the ball."""
    decoder = Decoder(4, 16, density=300.0)
    axis = torch.linspace(-1, 1, 64)
    planes = torch.zeros(3, 4, 64, 64)
    planes[:, 0] = 8.0 * (0.1 - (axis[:, None] ** 2 + axis[None] ** 2))
    planes[1:, 1] = 24.0 * (-0.5 - axis[:, None])  # z grows with the rows of planes xz and yz
    with torch.no_grad():
        decoder.trunk[0].weight[:2] = torch.tensor([[10.0, 0, 0, 0], [0, 10.0, 0, 0]])
        decoder.trunk[1].weight[0] = torch.cat([torch.tensor([10.0, 10.0]), torch.zeros(14)])
        decoder.density_and_features.weight[0, 0], decoder.density_and_features.bias[0] = 10.0, -300.0
    poses, lens = torch.from_numpy(cameras.ring(1, radius=4.0)), torch.from_numpy(cameras.pinhole(96, 20))
    fast, plain = (
        render_views(planes, decoder, poses, lens, 96, 96, box=1.0, samples=96, skip_empty=skip)[..., 3]
        for skip in (True, False)
    )
    assert float(plain.min()) > 0.99  # the wall fills the picture
    middle = torch.tensor([[[0.0, 0.0, 0.45]]])
    assert decoder.density(look_up(planes[None], middle, 1.0))[0, 0].item() < 1e-3  # the ball is smaller
    assert float((fast - plain).abs().max()) < 2 / 255


def test_a_decoder_that_sees_directions_needs_them() -> None:
    torch.manual_seed(0)
    decoder = Decoder(4, 16, view_directions=True)
    with pytest.raises(ValueError, match="directions"):
        decoder(torch.zeros(2, 4))
    seen = [decoder(torch.ones(1, 4), torch.tensor([d])) for d in ([0.0, 0.0, 1.0], [0.0, 0.0, -1.0])]
    assert torch.equal(seen[0][0], seen[1][0])
    assert not torch.allclose(seen[0][1], seen[1][1])


@pytest.mark.parametrize("layers", [2, 3, 4, 6])
def test_the_decoder_has_the_layers_it_says(layers: int) -> None:
    decoder = Decoder(8, 16, layers)
    assert sum(isinstance(module, torch.nn.Linear) for module in decoder.modules()) == layers
    features = torch.randn(5, 8)
    density, colour = decoder(features)
    assert density.shape == (5,)
    assert colour.shape == (5, 3)
    assert (density >= 0).all()
    torch.testing.assert_close(decoder.density(features), density)


def test_bfloat16_products_are_nearly_the_same_forward_and_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    decoder, planes = Decoder(4, 16), torch.randn(1, 3, 4, 8, 8, generator=generator).requires_grad_(True)
    origins = torch.tensor([[0.1, 0.2, 3.0]]).expand(32, 3)
    directions = F.normalize(torch.randn(32, 3, generator=generator) * 0.1 - torch.tensor([0.0, 0.0, 1.0]), dim=-1)
    rays = origins[None], directions[None]
    made = [trace(planes, decoder, *rays, box=1.0, samples=24, bf16=bf16) for bf16 in (False, True)]
    full, half = made
    assert half.colour.dtype == torch.float32
    assert 0 < (half.colour - full.colour).abs().max() < 0.02
    one, other = (torch.autograd.grad(each.colour.sum(), planes)[0].flatten() for each in made)
    assert F.cosine_similarity(one, other, dim=0) > 0.999


def test_a_grid_made_in_a_training_in_half_precision_has_all_its_digits() -> None:
    torch.manual_seed(0)
    planes, decoder = 0.5 * torch.randn(3, 4, 16, 16), Decoder(4, 16, 2)
    decoder.density_and_features.weight.data.mul_(6)
    wanted = occupancy_of_field(planes, decoder, box=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(occupancy_of_field(planes, decoder, box=1.0), wanted)
    assert wanted.std() > 0


def test_images_have_straight_alpha_and_pixels_row_by_row(monkeypatch) -> None:
    class Sides(Decoder):
        """A fog, red where x > 0 and green where y > 0."""

        def forward(self, features, directions=None):
            x, y, _ = features.unbind(-1)
            colour = torch.stack([(x > 0).float(), (y > 0).float(), torch.full_like(x, 0.5)], dim=-1)
            return torch.full_like(x, 0.4), colour

    line = (torch.arange(32) + 0.5) / 16 - 1
    planes = torch.zeros(3, 3, 32, 32)
    planes[0, 0], planes[0, 1] = line[None], line[:, None]
    pose, lens = torch.from_numpy(cameras.ring(1, radius=4.0)), torch.tensor([60.0, 60.0, 12.0, 8.0])
    options = {"box": 1.0, "samples": 16, "skip_empty": False}
    image = render_views(planes, Sides(3), pose, lens, 16, 24, **options)
    assert image.shape == (1, 16, 24, 4)
    assert image[0, 1:7, 13:22, 0].min() > 0.99  # x to the right
    assert image[0, :, :11, 0].max() < 0.01
    assert image[0, :7, 1:23, 1].min() > 0.99  # y upwards
    assert image[0, 9:, :, 1].max() < 0.01
    middle = image[0, 8, 12]
    assert middle[2].item() == pytest.approx(0.5, abs=1e-4)
    assert middle[3].item() == pytest.approx(1 - np.exp(-0.8), abs=2e-3)
    monkeypatch.setattr("rodin.field.render.CHUNK_SAMPLES", 100)
    assert torch.equal(render_views(planes, Sides(3), pose, lens, 16, 24, **options), image)


def test_a_decoder_starts_thin_and_can_be_made_again() -> None:
    torch.manual_seed(0)
    decoder = Decoder(6, 32, 3, view_directions=True, density=7.0)
    again = Decoder(**decoder.settings())
    again.load_state_dict(decoder.state_dict())
    features, directions = torch.rand(9, 6) - 0.5, F.normalize(torch.randn(9, 3), dim=-1)
    for ours, theirs in zip(again(features, directions), decoder(features, directions), strict=True):
        assert torch.equal(ours, theirs)
    starts = torch.stack([Decoder(8).density(torch.zeros(1, 8)) for _ in range(40)])
    assert starts.mean().item() == pytest.approx(10 * np.log1p(np.exp(-2)), rel=0.2)
    plain, wide = torch.nn.Linear(8, 64).weight.std(), Decoder(8).trunk[0].weight.std()
    assert (wide / plain).item() == pytest.approx(4, rel=0.15)


def test_a_thin_fog_is_not_taken_for_empty() -> None:
    class Fog(Decoder):
        def density(self, features):
            return torch.full(features.shape[:-1], 0.01 if self.view_directions else 0.001)

    planes = torch.zeros(3, 4, 8, 8)
    assert (occupancy_of_field(planes, Fog(4, view_directions=True), box=1.0) > 0).all()
    assert not occupancy_of_field(planes, Fog(4), box=1.0).any()
