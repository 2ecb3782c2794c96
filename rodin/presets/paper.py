"""`paper`: every number of the paper. The defaults of `rodin.config` are the paper's, so little stands here."""

from rodin.config import Config, Fit, Patch, Upsample

PAPER = Config(
    preset="paper", fit=Fit(target_psnr=None, together=4), upsample=Upsample(patch=Patch(pixel=1, perceptual=0.1))
)
