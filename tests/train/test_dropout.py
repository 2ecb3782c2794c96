"""Dropout whose masks belong to samples: its statistics, and that nothing but seed, sample and layer decides a mask."""

import functools

import pytest
import torch
from torch import nn

from rodin.nets.blocks import ResBlock
from rodin.train.data.draws import Draws
from rodin.train.dropout import SampleDropout, by_sample
from rodin.train.recompute import recompute


def masks(positions, *shape, p=0.3, layer=0, seed=0, rows=1):
    dropout = SampleDropout(p, f"dropout {layer}")
    dropout.draws = Draws(seed, positions)
    return dropout(torch.ones(rows * len(positions), *shape))


def test_the_share_dropped_and_the_scale_of_the_rest():
    mask = masks(range(64), 32, 16, 16)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    shares = (mask == 0).float().flatten(1).mean(dim=1)
    assert shares.mean().item() == pytest.approx(0.3, abs=0.001)
    assert shares.std().item() == pytest.approx((0.3 * 0.7 / 8192) ** 0.5, rel=0.3)


def test_masks_of_samples_layers_seeds_and_neighbours_do_not_look_alike():
    first = masks(range(300), 400)
    for other in (masks(range(300), 400, layer=1), masks(range(300), 400, seed=1), first.roll(1, 0), first.roll(1, 1)):
        pair = torch.stack([first.flatten(), other.flatten()])
        assert torch.corrcoef(pair)[0, 1].item() == pytest.approx(0, abs=0.01)
    assert torch.corrcoef(first)[~torch.eye(300, dtype=torch.bool)].std().item() == pytest.approx(0.05, rel=0.1)


def test_a_mask_does_not_depend_on_the_batch_it_is_in():
    whole = masks(range(40, 52), 3, 5)
    assert torch.equal(torch.cat([masks(range(40, 43), 3, 5), masks(range(43, 52), 3, 5)]), whole)
    planes = masks(range(40, 52), 3, 5, rows=3)
    assert torch.equal(torch.cat([masks(range(40, 41), 3, 5, rows=3), masks(range(41, 52), 3, 5, rows=3)]), planes)
    assert not torch.equal(planes[0], planes[1])


def test_it_takes_the_place_of_the_network_s_own_and_evaluation_drops_nothing():
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.0)))
    names = set(network.state_dict())
    made = by_sample(network)
    assert [layer.p for layer in made] == [0.5, 0.1]
    assert made[0].purpose != made[1].purpose
    assert (network[1], network[2][0]) == (made[0], made[1])
    assert set(network.state_dict()) == names
    x = torch.randn(3, 4)
    with pytest.raises(ValueError, match="3 rows for 0 samples; set `draws`"):
        network(x)
    assert torch.equal(network.eval()(x), network[0](x))


def test_every_block_is_recomputed():
    calls = []

    class Block(nn.Linear):
        def forward(self, x):
            calls.append(self)
            return super().forward(x).sin()

    first, second = Block(3, 3), Block(3, 3)
    recompute([first, second])
    second(first(torch.ones(1, 3, requires_grad=True))).sum().backward()
    assert calls == [first, second, second, first]


def test_recomputed_blocks_have_the_same_gradients_and_keep_less():
    def gradients(again):
        torch.manual_seed(0)
        block = ResBlock(8, 16, 12, dropout=0.3, rolled=True, aware=True)
        nn.init.normal_(block.conv2.weight)
        by_sample(block)[0].draws = Draws(0, range(2))
        if again:
            recompute([block])
        x, embedding = torch.randn(2, 8, 4, 12, requires_grad=True), torch.randn(2, 12)
        stored = []
        with torch.autograd.graph.saved_tensors_hooks(lambda one: stored.append(one.numel()) or one, lambda one: one):
            out = block(x, embedding).square().sum()
        out.backward()
        return [x.grad, *(one.grad for one in block.parameters())], sum(stored)

    (plain, much), (again, little) = gradients(False), gradients(True)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert little < 0.2 * much


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo looks at its own tensors
def test_recomputed_blocks_with_dropout_are_compiled_and_their_gradients_are_the_same(monkeypatch):
    convolutions = []

    def backend(graph, inputs):
        convolutions.extend(node for node in graph.graph.nodes if "conv" in str(node.target))
        return graph

    def gradients(compiled):
        torch.manual_seed(0)
        network = Blocks()
        for layer in by_sample(network):
            layer.draws = Draws(0, range(2))
        recompute([network.first, network.second], compiled)
        if compiled:
            network.compile()
        x = torch.randn(2, 8, 4, 12, requires_grad=True)
        loss = network(x, torch.randn(2, 12)).square().sum()
        loss.backward()
        return [loss, x.grad, *(one.grad for one in network.parameters())]

    plain = gradients(False)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    torch._dynamo.reset()
    for one, other in zip(plain, gradients(True), strict=True):
        torch.testing.assert_close(one, other)
    assert len(convolutions) >= 4


class Blocks(nn.Module):
    """Two blocks of two convolutions each."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (ResBlock(8, 8, 12, dropout=0.3, rolled=True, aware=False) for _ in range(2))
        for block in (self.first, self.second):
            nn.init.normal_(block.conv2.weight)

    def forward(self, x, embedding):
        return self.second(self.first(x, embedding), embedding)
