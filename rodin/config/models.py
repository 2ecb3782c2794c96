"""The learned models: CLIP, base, upsampler, latent, text prior, refiner."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rodin.config.section import Count, Dropout, Finite, Fraction, Positive, Real, Section, Weight

MOST_TIMESTEPS = 100_000  # a hundred times the paper's; a schedule is computed as a whole
LATENT_STD = 4.5  # standard deviations; of a million normal numbers 7 lie beyond, so the clip takes no latent away


class SmallClip(Section):
    """The CLIP that conditions the models: pretrained where configured, else a small one trained on our captions."""

    pretrained: str | None = "ViT-B-32-quickgelu"
    """open_clip model with weights from `rodin weights fetch` (R8: ViT-B/32); none: stage `clip` trains a small one"""
    width: Positive = 512
    """width of the shared embedding, D (R8: 512)"""
    image_size: Positive = 224
    """side of the pictures it sees (ViT-B/32: 224) (ours)"""
    subjects: Count = 0
    """more people, rendered for the small one, and with `prior.portraits` for the prior; no fit, base model or
    upsampler sees them; 0: it learns from the run's training people (ours)"""
    views: Positive = 4
    """near-frontal pictures of each of them; view 0 is exactly frontal (ours)"""
    shard_subjects: Positive = 48
    """of those people, packed into one array element (ours)"""
    image_channels: Count = 0
    """channels of a convolutional image tower at half the side, for few people; 0: a vision transformer (ours)"""
    image_layers: Positive = 4
    """transformer layers of the small image tower, or its residual blocks at each of three sides (ours)"""
    text_layers: Positive = 2
    """transformer layers of the small text tower (ours)"""
    tower_width: Positive = 128
    """hidden width of both small towers (ours)"""
    patch: Positive = 8
    """patch side of the small image tower where it is a transformer, pixels (ours)"""
    frontal: Weight = 0.0
    """weight of an auxiliary loss of the small one: a linear map of the embedding tells the frontal picture (ours)"""
    steps: Positive = 1_000
    """training steps of the small CLIP (ours)"""
    batch: Positive = 64
    """picture-caption pairs in a step (ours)"""
    lr: Real = 5e-4
    """AdamW's step size (ours)"""


def _clip_named(value: Any) -> Any:
    """The name of a clip that an earlier version's config has as true or false; "none" in a TOML file is None."""
    if value is None or isinstance(value, bool):
        return "range" if value else "off"
    return value


class Diffusion(Section):
    """Noising and sampling (R1-R4, R16-R19)."""

    timesteps: Annotated[int, Field(ge=1, le=MOST_TIMESTEPS)] = 1_000
    """T (R16: 1000; upsampler R17: 100)"""
    schedule: Literal["linear", "cosine", "sigmoid"] = "linear"
    """noise schedule; linear betas are scaled by 1000/T (R18)"""
    schedule_start: Finite | None = None
    """start of the cosine's or sigmoid's curve; none: 0.2 and 0 (ours)"""
    schedule_end: Finite | None = None
    """end of that curve; none: 1 and 3 (ours)"""
    schedule_tau: Real | None = None
    """temperature of that curve, the higher the noisier for the cosine, the lower for the sigmoid; none: 3 and 0.3
    (ours)"""
    predicts: Literal["eps", "x0", "v"] = "eps"
    """what the network predicts (R3: eps; ours for the upsampler and prior: x0)"""
    min_snr: Real | None = None
    """gamma of the min-SNR weights of timesteps in the loss (Hang et al.: 5); none: all weigh the same (ours)"""
    min_snr_after: Count = 0
    """training steps before min_snr weighs: what very noisy samples teach is learned first, detail then (ours)"""
    sampler: Literal["ancestral", "ddim"] = "ancestral"
    """ancestral steps of equation 3, or DDIM (R4)"""
    sampling_steps: Positive = 100
    """steps of a sample (R19: 100)"""
    clip: Annotated[Literal["off", "range", "texel", "std", "dynamic"], BeforeValidator(_clip_named)] = "texel"
    """clip of x0_hat while sampling: to each texel's range over the training people, to planes' range [-1, 1], to
    clip_std, dynamic thresholding, or off; a model that knows no texel's range has range for texel (ours)"""
    clip_std: Real = 2.0
    """bound of clips std and dynamic, standard deviations of the training data around its mean; ADM's data: 2 (ours)"""
    clip_share: Annotated[float, Field(gt=0, le=1)] = 0.995
    """share of a sample's entries that clip dynamic brings within clip_std by scaling; Imagen: 0.995 (ours)"""
    noise_scale: Real = 1.0
    """scale of the noise added while sampling (ours)"""
    guidance_interval: tuple[Weight, Weight] | None = None
    """noise levels √(1/alpha_bar − 1) over the first and up to the second at which samples are guided; none: all;
    Kynkäänniemi et al.: 0.28 to 2.9 of data whose standard deviation is 0.5, as of planes here (ours)"""


class Training(Section):
    """How a network is trained (R12-R15, R39, R42)."""

    batch: Positive = 48
    """samples in a step over all ranks (R14: 48 base, 16 upsampler, 96 latent and prior)"""
    steps: Positive = 500_000
    """optimiser steps (ours)"""
    lr: Real = 5e-5
    """AdamW's step size (R13: 5e-5; R39, R42: 4e-5)"""
    warmup: Count = 1_000
    """steps over which the step size rises (ours)"""
    weight_decay: Weight = 0.0
    """AdamW's weight decay (ours)"""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    """rate of the exponential moving average (R15: 0.9999)"""
    clip_norm: Real = 1.0
    """largest norm of the gradient (ours)"""
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """autocast precision on a GPU; weights, average and moments stay float32; float16 (V100) scales the loss; float32
    has TF32 convolutions, as of sample.precision (ours)"""
    micro_batch: Positive | None = None
    """samples a rank computes at once, its share of the batch in as many parts as need be; none: all at once (ours)"""
    recompute: bool = False
    """keep no activations inside blocks, compute them again backward: a third more work, far less memory (ours)"""
    compile: bool = False
    """torch.compile the network; needs a C++ compiler on compute nodes (ours)"""
    sharded: bool = False
    """split weights, moments and average over the ranks (FSDP2) instead of keeping them on each (ours)"""
    checkpoint_every: Positive = 2_000
    """steps between checkpoints; training does not wait while they are written (ours)"""
    picture_every: Count = 5_000
    """steps between pictures of samples in the stage's pictures/; 0: none; latent and prior have none (ours)"""
    tensorboard: bool = True
    """write the loss curve and pictures for tensorboard, if installed; log.jsonl is written in any case (ours)"""


class Base(Section):
    """The base model (R5-R8)."""

    channels: Positive = 192
    """channels at the first level (R5: 192)"""
    multipliers: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1, 2, 3, 4)
    """channel multiplier of each level (ours)"""
    blocks: Positive = 3
    """residual blocks a level (ours)"""
    attention: tuple[Positive, ...] = (32, 16, 8)
    """sides of levels with attention, in texels or patches (ours)"""
    head_channels: Positive = 64
    """channels of an attention head (ours)"""
    patch: Positive = 1
    """side of the squares of texels that become channels; the first level has side base_resolution / patch (ours)"""
    latent_map: Count = 0
    """channels of a coarse map that the latent is projected to, added to the input; 0: none (ours)"""
    dropout: Dropout = 0.1
    """dropout in residual blocks (ours)"""
    drop_latent: Fraction = 0.2
    """share of training samples whose condition is dropped (R50)"""
    mirror: Fraction = 0.0
    """share of training samples mirrored left to right, so that few people serve as twice as many (ours)"""
    keep_averages: bool = False
    """keep the averaged weights every `base.training.picture_every` steps, to see whether copies come later (ours)"""
    diffusion: Diffusion = Diffusion()
    """noising and sampling"""
    training: Training = Training()
    """how it is trained"""


class Degrade(Section):
    """Condition augmentation: a random mix of downscale, blur and noise (R11; ranges ours)."""

    downscale: tuple[Finite, Finite] = (1.0, 2.0)
    """least and greatest factor under the base resolution (ours)"""
    blur: tuple[Finite, Finite] = (0.0, 1.0)
    """least and greatest standard deviation of the Gaussian blur, low-resolution pixels (ours)"""
    noise: tuple[Finite, Finite] = (0.0, 0.1)
    """least and greatest standard deviation of the Gaussian noise, feature units (ours)"""


class Patch(Section):
    """The upsampler's image-level loss on patches of pictures (R10); both weights 0: without."""

    pixel: Weight = 0.0
    """weight of the squared error of pixels (ours; preset paper: 1)"""
    perceptual: Weight = 0.0
    """weight of LPIPS, which needs the weights of `rodin weights fetch lpips` (ours; preset paper: 0.1)"""
    side: Positive = 64
    """side of a patch, pixels; the whole picture where that is smaller (ours)"""
    samples: Positive = 64
    """samples on a ray (ours)"""

    @property
    def used(self) -> bool:
        """Whether there is such a loss."""
        return bool(self.pixel or self.perceptual)


class Upsample(Section):
    """The upsampling model (R9-R11)."""

    channels: Positive = 192
    """channels at the low resolution (ours)"""
    blocks: Positive = 4
    """residual blocks on either side of the middle (ours)"""
    dropout: Dropout = 0.0
    """dropout in residual blocks (ours)"""
    roll_out: bool = True
    """the three planes side by side (R6); off for Figure 6's ablation"""
    aware: bool = True
    """3D-aware convolution (R7); off for Figure 6's ablation"""
    latent: bool = False
    """whether the latent conditions it too: detail that low planes cannot hold, such as rims of glasses (ours)"""
    degrade: Degrade = Degrade()
    """condition augmentation"""
    patch: Patch = Patch()
    """image-level loss"""
    diffusion: Diffusion = Diffusion(timesteps=100, predicts="x0")
    """noising and sampling (R17: T = 100)"""
    training: Training = Training(batch=16)
    """how it is trained (R14: batch 16)"""


class Latent(Section):
    """Latent diffusion for unconditional sampling (R39)."""

    layers: Annotated[int, Field(ge=2, le=1_000)] = 20
    """layers of the MLP (R39: 20)"""
    hidden: Positive = 2048
    """hidden width (R39: 2048)"""
    diffusion: Diffusion = Diffusion(clip="std", clip_std=LATENT_STD)
    """noising and sampling"""
    training: Training = Training(batch=96, lr=4e-5)
    """how it is trained"""


class Prior(Section):
    """Text prior: text embedding to image embedding (R40-R42)."""

    layers: Positive = 12
    """transformer layers (ours)"""
    width: Positive = 512
    """transformer width (ours)"""
    heads: Positive = 8
    """attention heads (ours)"""
    drop_text: Fraction = 0.1
    """share of training samples whose text is dropped (ours)"""
    best_of: Positive = 2
    """samples drawn, the best kept by dot product with the text (R41: 2)"""
    rerank: Positive = 1
    """so many are kept and made into avatars, of which the one stays whose picture is nearest to the text (ours)"""
    guidance_scale: Real = 1.0
    """classifier-free guidance of its samples; 1: without (ours)"""
    pairs: str | None = None
    """folder of another run with the same CLIP, whose captions and views it learns too, but for people whose ids are
    held out here; people whom an import gave other ids are not told apart, and are learned; none: the run's own alone
    (R42: 100,000 pairs)"""
    portraits: bool = False
    """whether it also learns the captions and views of the people that the small CLIP learned from (ours)"""
    diffusion: Diffusion = Diffusion(predicts="x0", clip="std", clip_std=LATENT_STD)
    """noising and sampling"""
    training: Training = Training(batch=96, lr=4e-5)
    """how it is trained"""


class Refine(Section):
    """Convolution refinement of rendered pictures (R63): off unless asked for."""

    enabled: bool = False
    """whether the stage is part of the run (ours)"""
    channels: Positive = 64
    """channels of the network (ours)"""
    blocks: Positive = 4
    """residual blocks (ours)"""
    training: Training = Training(batch=16, lr=1e-4, steps=50_000)
    """how it is trained"""
