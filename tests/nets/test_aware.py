import pytest
import torch
from oracles.aware_conv import naive, replicated

from rodin.field.planes import look_up
from rodin.nets.aware import AwareConv, aware_conv, profiles
from rodin.nets.blocks import to_picture, to_planes


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("roll_out", [True, False])
@pytest.mark.parametrize("side", [2, 3, 8])
def test_factored_is_the_concatenation_forward_and_backward(roll_out, side):
    planes = drawn(2, 3, 5, side, side)
    weights = [drawn(4, 5, 3, 3, seed=1), drawn(4, 5, 3, 3, seed=2), drawn(4, 5, 3, 3, seed=3), drawn(4, seed=4)]
    ours = to_planes(aware_conv(to_picture(planes, roll_out), *weights, roll_out=roll_out), roll_out)
    theirs = naive(planes, *weights, roll_out=roll_out)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    pull = drawn(*ours.shape, seed=5).detach()
    for mine, wanted in zip(
        torch.autograd.grad(ours, [planes, *weights], pull),
        torch.autograd.grad(theirs, [planes, *weights], pull),
        strict=True,
    ):
        torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-12)


def test_parts_that_need_no_gradient_get_none():
    planes, layer = drawn(1, 3, 2, 4, 4).detach(), AwareConv(2, 2).double()
    layer(to_picture(planes, True)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert aware_conv(to_picture(planes, True), layer.weight, layer.weight_columns, layer.weight_rows).grad_fn


def test_autocast_computes_in_its_precision_and_keeps_the_gradients():
    layer, picture = AwareConv(4, 4), torch.randn(1, 4, 4, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(picture)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(picture), rtol=0.05, atol=0.05)
    out.float().square().sum().backward()
    mine = {name: p.grad.clone() for name, p in layer.named_parameters()}
    layer.zero_grad()
    layer(picture).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert mine[name].dtype == torch.float32
        assert (mine[name] - parameter.grad).norm() < 0.05 * parameter.grad.norm()


def test_kernels_and_their_gradients_lie_in_memory_as_they_are_used():
    layer = AwareConv(2, 4)
    layer(torch.randn(1, 2, 4, 12)).sum().backward()
    for parameter, order in ((layer.weight_columns, (2, 0, 1, 3)), (layer.weight_rows, (3, 0, 1, 2))):
        assert parameter.shape == parameter.grad.shape == (4, 2, 3, 3)
        assert parameter.permute(order).is_contiguous()
        assert parameter.grad.permute(order).is_contiguous()


def test_channels_last_changes_nothing():
    picture = to_picture(drawn(2, 3, 5, 4, 4).detach(), True)
    layer = AwareConv(5, 6).double()
    torch.testing.assert_close(
        layer(picture.contiguous(memory_format=torch.channels_last)), layer(picture), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_is_seen_at_its_place(axis):
    """Mark one coordinate of a world axis on the planes that hold it: the maps carry the mark to the same place."""
    side, place = 8, 5
    point = torch.zeros(1, 1, 3)
    point[..., axis] = (place + 0.5) / side * 2 - 1
    planes = torch.zeros(1, 3, 1, side, side, dtype=torch.float32, requires_grad=True)
    # which texels the field reads at that coordinate, whatever the other two are
    others = [i for i in range(3) if i != axis]
    grid = (torch.arange(side) + 0.5) / side * 2 - 1
    points = point.repeat(1, side * side, 1)
    points[0, :, others[0]], points[0, :, others[1]] = torch.cartesian_prod(grid, grid).unbind(1)
    look_up(planes, points, 1.0).sum().backward()
    holding = [p for p, axes in enumerate(((0, 1), (0, 2), (1, 2))) if axis in axes]
    marked = torch.zeros(1, 3, 1, side, side, dtype=torch.float64)
    for p in holding:
        read = planes.grad[0, p, 0]
        marked[0, p, 0] = (read > 0.5 * read.max()).double()
        assert marked[0, p].sum() == side
    along_columns, along_rows = replicated(marked)
    for p in holding:
        carried = (along_columns + along_rows)[0, p, 0]
        # the other holder's line is 1 at the mark after pooling; its twin map adds an even 1/side at most
        assert torch.equal((carried > 0.9), marked[0, p, 0].bool())
    columns, rows = profiles(marked.permute(0, 2, 3, 1, 4), False)[..., 1:-1].unbind(1)
    for p in holding:
        ours = (columns[0, 0, p][None, :] + rows[0, 0, p][:, None]) > 0.9
        assert torch.equal(ours, marked[0, p, 0].bool())


def test_a_change_in_one_plane_reaches_the_others_only_if_aware():
    x = torch.zeros(1, 3, 2, 6, 6, requires_grad=True)
    layer = AwareConv(2, 2)
    out = to_planes(layer(to_picture(x, True)), True)
    (reach,) = torch.autograd.grad(out[0, 2, :, 3, 3].sum(), x)
    assert all(reach[0, p].abs().sum() > 0 for p in range(3))
    plain = torch.nn.Conv2d(2, 2, 3, padding=1)
    (reach,) = torch.autograd.grad(to_planes(plain(to_picture(x, True)), True)[0, 2, :, 3, 3].sum(), x)
    assert reach[0, 0].abs().sum() == 0


def test_planes_must_be_square():
    with pytest.raises(ValueError, match="three square planes"):
        AwareConv(2, 2)(torch.zeros(1, 2, 4, 9))


def test_it_costs_little_more_than_a_plain_convolution():
    """Counted, not timed: multiply-adds at 64 × 64."""
    from torch.utils.flop_counter import FlopCounterMode

    counts = {}
    layer = AwareConv(16, 16)
    for name, run in {
        "factored": lambda: layer(torch.zeros(1, 16, 64, 192)),
        "plain": lambda: torch.nn.functional.conv2d(torch.zeros(1, 16, 64, 192), layer.weight, padding=1),
    }.items():
        with FlopCounterMode(display=False) as counter:
            run()
        counts[name] = counter.get_total_flops()
    assert counts["factored"] / counts["plain"] == pytest.approx(1 + 2 / 64)
