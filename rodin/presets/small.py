"""`small`: one GPU, an afternoon. All values are ours."""

from rodin.config import (
    Base,
    Config,
    Data,
    Diffusion,
    Evaluate,
    Fit,
    Latent,
    Patch,
    Prior,
    Sample,
    SharedDecoder,
    SmallClip,
    Sweeps,
    Training,
    TriPlane,
    Upsample,
)

SMALL = Config(
    preset="small",
    data=Data(subjects=1_000, held_out=50, views=60, reference_views=12, resolution=128, samples=16, shard_subjects=50),
    triplane=TriPlane(channels=16, resolution=128, base_resolution=32),
    clip=SmallClip(pretrained=None, width=128, image_size=96, patch=8, steps=4_000, batch=128),
    decoder=SharedDecoder(subjects=64, steps=10_000, rays=2048),
    fit=Fit(steps=2_000, rays=4096, samples=96, min_rescale=32, held_out_views=4, together=4),
    base=Base(
        channels=96,
        multipliers=(1, 2, 3),
        blocks=2,
        attention=(16, 8),
        head_channels=32,
        training=Training(batch=48, steps=40_000, lr=1e-4, ema=0.999),
    ),
    upsample=Upsample(
        channels=96,
        patch=Patch(pixel=1),
        diffusion=Diffusion(timesteps=100, predicts="x0"),
        training=Training(batch=16, steps=20_000, lr=1e-4, ema=0.999),
    ),
    latent=Latent(
        layers=10,
        hidden=1024,
        diffusion=Diffusion(predicts="v", clip="std", clip_std=4.5),
        training=Training(batch=96, steps=20_000, lr=1e-4, ema=0.999),
    ),
    prior=Prior(layers=6, width=256, training=Training(batch=96, steps=20_000, lr=1e-4, ema=0.999)),
    sample=Sample(unconditional=32, resolution=128, mesh_resolution=128),
    evaluate=Evaluate(subjects=50, views=60, cascade=24),
    sweeps=Sweeps(plane_resolutions=(8, 16, 32, 64, 128), view_counts=(5, 10, 20, 40, 56)),
)
