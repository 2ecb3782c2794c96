"""Blocks and models against the same written out step by step, and what they read at which scale."""

import pytest
import torch
import torch.nn.functional as F
from oracles import plain_nets

from rodin.nets.base import BaseUNet
from rodin.nets.blocks import Attention, ResBlock, time_embedding
from rodin.nets.latent import TIME_WIDTH, LatentMLP
from rodin.nets.prior import Prior
from rodin.nets.refine import Refiner
from rodin.nets.upsample import Upsampler


def awake(model):
    """The model with all parameters moved off zero, in evaluation mode and float64."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.double().eval()


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("resample", [None, "down", "up"])
@pytest.mark.parametrize("outputs", [8, 12])
def test_residual_block(resample, outputs):
    block = awake(ResBlock(8, outputs, 5, dropout=0.5, rolled=True, aware=False, resample=resample))
    x, embedding = drawn(2, 8, 4, 12), drawn(2, 5, seed=1)
    close(block(x, embedding), plain_nets.residual_block(block, x, embedding))


def test_dropout_acts_in_training_alone():
    block = awake(ResBlock(8, 8, 5, dropout=0.5, rolled=True, aware=False))
    x, embedding = drawn(2, 8, 4, 12), drawn(2, 5, seed=1)
    assert torch.equal(block(x, embedding), block(x, embedding))
    block.train()
    assert not torch.equal(block(x, embedding), block(x, embedding))


@pytest.mark.parametrize("head_channels", [2, 4, 8])
def test_attention_of_many_heads(head_channels):
    layer, x = awake(Attention(8, head_channels)), drawn(2, 8, 3, 5)
    q, k, v = layer.qkv(layer.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=2)
    seen = layer.out(plain_nets.attention(q, k, v, 8 // head_channels))
    close(layer(x), x + seen.transpose(1, 2).reshape(x.shape))


def test_block_of_the_prior():
    model = Prior(latent_width=6, token_width=5, token_count=7, width=12, layers=1, heads=3)
    block, h = awake(model.blocks[0]), drawn(2, 6, 12)
    close(block(h), plain_nets.causal_block(block, h))


def test_prior_reads_its_sequence_in_order():
    """Tokens, text, time, noised image, query; positions on all of them; the answer at the query's place."""
    model = awake(Prior(latent_width=6, token_width=5, token_count=4, width=12, layers=2, heads=3))
    z_t, text, tokens, timestep = drawn(2, 6), drawn(2, 6, seed=1), drawn(2, 4, 5, seed=2), torch.tensor([3, 800])
    mask = torch.tensor([[True, True, False, False], [True, True, True, False]])
    words = torch.where(mask[..., None], model.token(tokens), model.null_tokens)
    time = model.time(time_embedding(timestep, 12).double())
    rest = [model.text(text * 6**0.5), time, model.image(z_t), model.query.expand(2, -1)]
    h = torch.cat([words, *[one[:, None] for one in rest]], dim=1) + model.positions
    for block in model.blocks:
        h = plain_nets.causal_block(block, h)
    model.time.register_forward_pre_hook(lambda module, inputs: inputs[0].double())
    close(model(z_t, timestep, text, tokens, mask), model.last(model.last_norm(h[:, -1])))


def test_latent_model():
    model = awake(LatentMLP(latent_width=6, hidden=10, layers=4))
    embedding = time_embedding(torch.tensor([3, 800]), TIME_WIDTH).double()
    model.time.register_forward_pre_hook(lambda module, inputs: inputs[0].double())
    x_t = drawn(2, 6)
    close(model(x_t, torch.tensor([3, 800])), plain_nets.latent_model(model, x_t, embedding))


def test_time_turns_at_adms_rates():
    """The fastest pair turns once in 2π steps, the slowest in almost 20000π; cosines come first."""
    embedding = time_embedding(torch.arange(1000), 64)
    assert embedding.shape == (1000, 64)
    steps = torch.arange(1000).float()
    torch.testing.assert_close(embedding[:, 0], steps.cos(), rtol=0, atol=1e-4)
    torch.testing.assert_close(embedding[:, 32], steps.sin(), rtol=0, atol=1e-4)
    torch.testing.assert_close(embedding[:, 63], (steps * 10_000 ** (-31 / 32)).sin(), rtol=0, atol=1e-4)
    assert time_embedding(torch.arange(3), 7).shape == (3, 7)


def test_refiner_sees_values_about_zero():
    model, seen = awake(Refiner(4, 1)), []
    model.first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    out = model(image)
    close(seen[0], 2 * image - 1)
    h = model.first(2 * image - 1)
    h = h + model.blocks[0].conv2(F.silu(model.blocks[0].conv1(F.silu(h))))
    close(out, image + model.last(F.silu(h)))


BASE = {"plane_channels": 2, "channels": 8, "head_channels": 4, "dropout": 0.0, "latent_width": 16, "blocks": 1}


def test_a_latent_enters_with_entries_of_order_one():
    """A unit vector of D entries is multiplied by √D in the base model and in the upsampler."""
    latent = F.normalize(torch.ones(2, 16), dim=1)
    x_t, timestep = torch.zeros(2, 3, 2, 8, 8), torch.tensor([1, 2])
    base = BaseUNet(**BASE, resolution=8, multipliers=(1, 2), attention=())
    sizes = {"resolution": 8, "low_resolution": 4, "channels": 8, "blocks": 1, "dropout": 0.0, "latent_width": 16}
    upsampler = Upsampler(plane_channels=2, **sizes)
    for model, rest in ((base, (latent,)), (upsampler, (x_t[..., :4, :4], latent))):
        seen = []
        model.latent.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0]))
        model(x_t, timestep, *rest)
        torch.testing.assert_close(seen[0], torch.ones(2, 16))
    assert base.null_latent.norm().item() == pytest.approx(1, rel=0.6)


def test_attention_stands_at_the_resolutions_asked_for():
    model, seen = BaseUNet(**BASE, resolution=16, multipliers=(1, 2, 2), attention=(8,)), []
    for module in model.modules():
        if isinstance(module, Attention):
            module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[2]))
    model(torch.zeros(1, 3, 2, 16, 16), torch.tensor([1]))
    assert seen == [8, 4, 8, 8]  # one block down, the middle, two blocks up


def test_a_sample_that_is_not_rolled_out_meets_its_own_embedding():
    """The three pictures of a sample follow one another, and so do their embeddings."""
    for model, rest in (
        (BaseUNet(**BASE, resolution=8, multipliers=(1, 2), attention=(), roll_out=False), ()),
        (
            Upsampler(
                plane_channels=2, resolution=8, low_resolution=4, channels=8, blocks=1, dropout=0.0, roll_out=False
            ),
            (drawn(2, 3, 2, 4, 4, seed=3),),
        ),
    ):
        model, x_t, timestep = awake(model), drawn(2, 3, 2, 8, 8), torch.tensor([1, 900])
        model.time.register_forward_pre_hook(lambda module, inputs: inputs[0].double())
        both = model(x_t, timestep, *rest)
        for n in range(2):
            alone = model(x_t[n : n + 1], timestep[n : n + 1], *(one[n : n + 1] for one in rest))
            close(both[n : n + 1], alone)


def test_the_place_map_tells_texels_apart():
    """On planes that are alike everywhere, what the base model adds differs from texel to texel, by the learned map."""
    model = awake(BaseUNet(**BASE, resolution=8, multipliers=(1, 2), attention=(), aware=False, roll_out=False))
    model.time.register_forward_pre_hook(lambda module, inputs: inputs[0].double())
    x_t, timestep = drawn(1, 3, 2, 8, 8), torch.tensor([5])
    before = model(x_t, timestep)
    with torch.no_grad():
        model.place[1, :, 2, 3] += 5
    moved = (model(x_t, timestep) - before).abs().amax(dim=2)[0]
    assert moved[1, 2, 3] > 1e-3
    assert moved[0].max() == moved[2].max() == 0


@pytest.mark.parametrize("low_resolution", [4, 2])
def test_upsampler(low_resolution):
    sizes = {"resolution": 8, "low_resolution": low_resolution, "channels": 8, "blocks": 2, "dropout": 0.0}
    model = awake(Upsampler(plane_channels=2, **sizes))
    model.time.register_forward_pre_hook(lambda module, inputs: inputs[0].double())
    x_t, low, timestep = drawn(2, 3, 2, 8, 8), drawn(2, 3, 2, *[low_resolution] * 2, seed=1), torch.tensor([3, 800])
    embedding = model.time(time_embedding(timestep, 8))
    close(model(x_t, timestep, low), plain_nets.upsampler(model, x_t, embedding, low))
