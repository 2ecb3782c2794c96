"""Look-up against a loop, and what must hold when axes turn or planes change shape."""

import pytest
import torch
from oracles import triplane

from rodin.field.planes import bounded, look_up, look_up_ragged, look_up_sampled, mirrored, resize
from rodin.field.rollout import roll_in, roll_out
from rodin.field.texels import FROM_CHANNELS, texel_major

BOX = 1.3


def draw(resolution: int = 7, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(2, 3, channels, resolution, resolution, generator=generator, dtype=torch.float64)
    points = (torch.rand(2, 40, 3, generator=generator, dtype=torch.float64) * 2.4 - 1.2) * BOX
    return planes, points


@pytest.mark.parametrize("channels", [3, FROM_CHANNELS])
def test_look_up_is_the_loop_forward_and_gradient(channels: int) -> None:
    planes, points = draw(channels=channels)
    planes.requires_grad_(True)
    fast = look_up(planes, points, BOX)
    slow = torch.stack(
        [
            torch.stack([triplane.feature(one, point.tolist(), BOX) for point in places])
            for one, places in zip(planes, points, strict=True)
        ]
    )
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-10)
    weight = torch.randn(fast.shape, dtype=torch.float64)
    gradients = [torch.autograd.grad((features * weight).sum(), planes)[0] for features in (fast, slow)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("channels", [3, FROM_CHANNELS])
def test_points_of_several_people_are_looked_up_as_if_each_were_alone(channels: int) -> None:
    planes, points = draw(channels=channels)
    planes.requires_grad_(True)
    some = torch.cat([points[0, :7], points[1]])
    fast = look_up_ragged(planes, some, [7, len(points[1])], BOX)
    slow = torch.cat(
        [look_up_sampled(planes[:1], points[:1, :7], BOX)[0], look_up_sampled(planes[1:], points[1:], BOX)[0]]
    )
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-10)
    weight = torch.randn(fast.shape, dtype=torch.float64)
    gradients = [torch.autograd.grad((features * weight).sum(), planes)[0] for features in (fast, slow)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-10)
    assert look_up_ragged(planes, some[:0], [0, 0], BOX).shape == (0, channels)


def test_texels_lie_together_without_a_change_of_value() -> None:
    planes, _ = draw(channels=FROM_CHANNELS)
    laid = texel_major(planes)
    assert torch.equal(laid, planes)
    assert laid.permute(0, 1, 3, 4, 2).is_contiguous()


def test_turning_the_axes_turns_the_planes() -> None:
    planes, points = draw()
    xy, xz, yz = planes.unbind(1)
    # x -> y -> z -> x: the new plane xy holds what the old zx held, and so on
    turned = torch.stack([xz.transpose(-1, -2), yz.transpose(-1, -2), xy], dim=1)
    torch.testing.assert_close(look_up(turned, points[..., [2, 0, 1]], BOX), look_up(planes, points, BOX))


def test_each_plane_ignores_the_axis_it_does_not_share() -> None:
    planes, points = draw()
    for missing, keep in ((2, 0), (1, 1), (0, 2)):
        alone = torch.zeros_like(planes)
        alone[:, keep] = planes[:, keep]
        moved = points.clone()
        moved[..., missing] += 0.3
        torch.testing.assert_close(look_up(alone, points, BOX), look_up(alone, moved, BOX))


def test_roll_in_undoes_roll_out() -> None:
    planes, _ = draw()
    wide = roll_out(planes)
    assert wide.shape == (2, 3, 7, 21)
    assert torch.equal(wide[..., 7:14], planes[:, 1])
    assert torch.equal(roll_in(wide), planes)
    with pytest.raises(ValueError, match="three square planes"):
        roll_in(wide[..., :20])


def test_resize_keeps_what_is_smooth() -> None:
    row = torch.linspace(-1, 1, 32)
    smooth = (row[:, None] + row[None]).expand(1, 3, 2, 32, 32) / 2
    small = resize(smooth, 16)
    assert small.shape == (1, 3, 2, 16, 16)
    torch.testing.assert_close(resize(small, 32)[..., 3:-3, 3:-3], smooth[..., 3:-3, 3:-3], atol=1e-5, rtol=0)
    assert resize(smooth, 32) is smooth
    constant = torch.full((1, 3, 2, 30, 30), 0.7)
    torch.testing.assert_close(resize(constant, 13), torch.full((1, 3, 2, 13, 13), 0.7))


def test_bounded_planes_are_clamped_and_only_their_way_back_has_a_gradient() -> None:
    planes = torch.tensor([-2.0, -2.0, -0.5, 0.5, 2.0, 2.0], requires_grad=True)
    uphill = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    inside = bounded(planes)
    (inside * uphill).sum().backward()
    assert torch.equal(inside, planes.clamp(-1, 1))
    assert planes.grad is not None
    assert planes.grad.tolist() == [0.0, -1.0, 1.0, -1.0, 1.0, 0.0]


def test_a_mirrored_person_has_at_minus_x_what_was_at_x():
    planes, points = draw()
    twice = mirrored(planes, torch.tensor([True, False]))
    expected = look_up(planes, points * torch.tensor([-1.0, 1.0, 1.0]), BOX)
    torch.testing.assert_close(look_up(twice, points, BOX)[0], expected[0], atol=1e-12, rtol=1e-10)
    assert torch.equal(twice[1], planes[1])
    assert not torch.equal(twice[0], planes[0])
