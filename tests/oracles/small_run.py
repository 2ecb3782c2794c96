"""The config of the small run that the generation tests share."""

from rodin.presets import preset

SHORT = [f"{stage}.training.steps=2" for stage in ("base", "upsample", "latent", "prior")]
CONFIG = preset(
    "tiny",
    [
        "data.subjects=5",
        "clip.steps=2",
        "decoder.steps=4",
        "sample.prompts=3",
        "sample.shard_samples=5",
        "sweeps.guidance_scales=[1.0, 3.0]",
        "sweeps.shard_subjects=1",
        "fit.steps=4",
        *SHORT,
    ],
)
PEOPLE = CONFIG.all_subjects()
