"""`tiny`: the whole pipeline in under a minute, for tests. Too small to look at. All values are ours."""

from rodin.config import (
    Base,
    Config,
    Data,
    Diffusion,
    Evaluate,
    Fit,
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


def _training(batch: int, steps: int) -> Training:
    return Training(
        batch=batch,
        steps=steps,
        lr=1e-3,
        warmup=2,
        ema=0.9,
        precision="float32",
        checkpoint_every=5,
        picture_every=0,
        tensorboard=False,
    )


TINY = Config(
    preset="tiny",
    data=Data(
        subjects=4, held_out=2, views=10, reference_views=3, resolution=24, samples=2, shard_subjects=2, captions=4
    ),
    triplane=TriPlane(channels=4, resolution=16, base_resolution=8, decoder_width=16),
    clip=SmallClip(
        pretrained=None,
        width=16,
        image_size=24,
        subjects=4,
        views=2,
        shard_subjects=2,
        image_channels=8,
        tower_width=32,
        image_layers=1,
        text_layers=1,
        steps=20,
        batch=8,
    ),
    decoder=SharedDecoder(subjects=3, steps=20, subjects_per_step=1, rays=128),
    fit=Fit(steps=20, rays=128, samples=16, min_rescale=8, held_out_views=2, floor_psnr=5.0),
    base=Base(
        channels=16,
        multipliers=(1, 2),
        blocks=1,
        attention=(4,),
        head_channels=8,
        dropout=0.0,
        diffusion=Diffusion(sampler="ddim", sampling_steps=4),
        training=_training(4, 10),
    ),
    upsample=Upsample(
        channels=16,
        blocks=1,
        diffusion=Diffusion(timesteps=100, predicts="x0", sampler="ddim", sampling_steps=3),
        training=_training(2, 10),
    ),
    latent=Latent(
        layers=2,
        hidden=32,
        diffusion=Diffusion(clip="std", clip_std=4.5, sampling_steps=4),
        training=_training(8, 10),
    ),
    prior=Prior(
        layers=1,
        width=32,
        heads=2,
        diffusion=Diffusion(predicts="x0", clip="std", clip_std=4.5, sampling_steps=4),
        training=_training(8, 10),
    ),
    sample=Sample(
        unconditional=2,
        interpolations=1,
        interpolation_steps=3,
        prompts=4,
        trajectory_steps=2,
        views=2,
        resolution=24,
        render_samples=16,
        main_body=True,
        mesh_resolution=16,
        shard_samples=4,
        batch=2,
    ),
    evaluate=Evaluate(subjects=2, views=10, neighbours=2, cascade=2),
    sweeps=Sweeps(plane_resolutions=(8, 16), view_counts=(4, 8), fit_subjects=1, shard_subjects=2),
)
