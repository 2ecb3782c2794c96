"""`demo`: the whole of RODIN small and real, in ten minutes on two CPU cores. All values are ours."""

from rodin.config import (
    Base,
    Config,
    Data,
    Diffusion,
    Evaluate,
    Fit,
    FitLosses,
    Latent,
    Prior,
    Sample,
    SharedDecoder,
    SmallClip,
    Sweeps,
    Training,
    TriPlane,
    Upsample,
)


def _training(batch: int, steps: int, lr: float, ema: float = 0.99) -> Training:
    return Training(
        batch=batch,
        steps=steps,
        lr=lr,
        warmup=20,
        ema=ema,
        precision="float32",
        checkpoint_every=max(25, steps // 5),
        picture_every=steps // 2,
        tensorboard=False,
    )


DEMO = Config(
    preset="demo",
    data=Data(
        subjects=28, held_out=4, views=24, reference_views=6, resolution=64, samples=8, shard_subjects=8, captions=8
    ),
    triplane=TriPlane(channels=8, resolution=64, base_resolution=16),
    clip=SmallClip(
        pretrained=None,
        width=64,
        image_size=64,
        subjects=100,
        views=2,
        shard_subjects=50,
        image_channels=16,
        image_layers=1,
        tower_width=64,
        text_layers=2,
        steps=280,
        batch=48,
        lr=2e-3,
    ),
    decoder=SharedDecoder(subjects=12, steps=300, subjects_per_step=1, rays=1024, planes_lr=7e-3, decoder_lr=1e-2),
    fit=Fit(
        steps=90,
        rays=1024,
        samples=48,
        min_rescale=32,
        held_out_views=3,
        floor_psnr=14.0,
        start="learned",
        losses=FitLosses(sparse=1e-2, empty=1e-3, distortion=1e-2, planes_tv=1e-2, planes_l2=1e-3),
    ),
    base=Base(
        channels=16,
        multipliers=(1, 2, 4),
        blocks=1,
        attention=(8,),
        head_channels=16,
        dropout=0.0,
        diffusion=Diffusion(predicts="x0", sampler="ddim", sampling_steps=12),
        training=_training(8, 1400, 2e-3),
    ),
    upsample=Upsample(
        channels=32,
        blocks=1,
        diffusion=Diffusion(timesteps=100, predicts="x0", sampler="ddim", sampling_steps=4),
        training=_training(4, 200, 1e-3),
    ),
    latent=Latent(
        layers=6,
        hidden=256,
        diffusion=Diffusion(predicts="v", clip="std", clip_std=4.5, sampling_steps=100),
        training=_training(64, 1000, 5e-4, 0.99),
    ),
    prior=Prior(
        layers=3,
        width=96,
        heads=4,
        diffusion=Diffusion(predicts="x0", clip="std", clip_std=4.5, sampling_steps=50),
        training=_training(32, 500, 5e-4, 0.99),
    ),
    sample=Sample(
        unconditional=8,
        interpolations=1,
        interpolation_steps=5,
        prompts=24,
        attribute_prompts=3,
        trajectory_steps=5,
        views=4,
        resolution=64,
        render_samples=32,
        mesh_resolution=48,
        shard_samples=20,
        batch=8,
    ),
    evaluate=Evaluate(subjects=4, views=8, neighbours=3, cascade=4),
    sweeps=Sweeps(plane_resolutions=(16, 32, 64), view_counts=(6, 12, 21), fit_subjects=2, shard_subjects=4),
)
