"""Parts of the networks as their papers write them, one step a line, for comparison."""

import math

import torch
import torch.nn.functional as F


def attention(q, k, v, heads, causal=False):
    """[N, T, heads · d] three times -> the same: softmax(q kᵀ / √d) v for each head alone, heads side by side."""
    seen = []
    for one, other, values in zip(*(part.chunk(heads, dim=2) for part in (q, k, v)), strict=True):
        scores = one @ other.transpose(1, 2) / math.sqrt(one.shape[2])
        if causal:
            later = torch.ones(scores.shape[1:]).triu(1).bool()
            scores = scores.masked_fill(later, -math.inf)
        seen.append(scores.softmax(dim=2) @ values)
    return torch.cat(seen, dim=2)


def causal_block(block, h):
    """DALL·E 2's prior: h + attention(norm(h)), then h + MLP(norm(h))."""
    q, k, v = block.qkv(block.norm1(h)).chunk(3, dim=2)
    h = h + block.out(attention(q, k, v, block.heads, causal=True))
    return h + block.mlp(block.norm2(h))


def residual_block(block, x, embedding):
    """ADM's: norm, SiLU, resample, convolve; norm, (1 + scale), shift, SiLU, convolve; plus x, resampled."""
    resampled = {
        None: lambda y: y,
        "down": lambda y: (y[..., ::2, ::2] + y[..., ::2, 1::2] + y[..., 1::2, ::2] + y[..., 1::2, 1::2]) / 4,
        "up": lambda y: y.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3),
    }[block.resample]
    h = block.conv1(resampled(F.silu(block.norm1(x))))
    modulation = block.modulation(F.silu(embedding))
    scale, shift = modulation[:, : h.shape[1], None, None], modulation[:, h.shape[1] :, None, None]
    h = block.conv2(F.silu(block.norm2(h) * (1 + scale) + shift))
    return block.skip(resampled(x)) + h


def latent_model(model, x_t, embedding):
    """Diffusion Autoencoders' MLPSkipNet: x_t again before every layer; scale by time, norm, SiLU after all but one."""
    time = F.silu(model.time[2](F.silu(model.time[0](embedding))))
    h = x_t
    for place, (layer, scale, norm) in enumerate(zip(model.layers, model.scales, model.norms, strict=True)):
        h = layer(h) if place == 0 else layer(torch.cat([h, x_t], dim=1))
        h = F.silu(norm(h * (1 + scale(time))))
    return model.last(torch.cat([h, x_t], dim=1))


def upsampler(model, x_t, embedding, low):
    """x_t [N, 3, C, R, R] in f × f blocks beside low [N, 3, C, r, r]; a U of blocks; up; x_t; plus bilinear low."""
    fold = model.factor
    blocks = x_t.unflatten(4, (-1, fold)).unflatten(3, (-1, fold))  # [N, 3, C, r, f, r, f]
    depth = blocks.permute(0, 1, 2, 4, 6, 3, 5).flatten(2, 4)
    h = model.first(torch.cat([*torch.cat([depth, low], dim=2).unbind(1)], dim=3))
    skips = []
    for block in model.down:
        h = block(h, embedding)
        skips.append(h)
    h = model.middle(h, embedding)
    for block, skip in zip(model.up, reversed(skips), strict=True):
        h = block(torch.cat([h, skip], dim=1), embedding)
    h = model.upsample(F.silu(model.up_norm(h)))
    h = h.unflatten(1, (-1, fold, fold)).permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    h = model.high(torch.cat([h, torch.cat([*x_t.unbind(1)], dim=3)], dim=1), embedding)
    residual = torch.stack(model.last(F.silu(model.last_norm(h))).chunk(3, dim=3), dim=1)
    smooth = F.interpolate(low.flatten(0, 1), scale_factor=fold, mode="bilinear").unflatten(0, (-1, 3))
    return smooth + residual
