"""`paper`: every number of the paper. The defaults of `rodin.config` are the paper's, so little stands here."""

from rodin.config import Config, Fit

PAPER = Config(preset="paper", fit=Fit(target_psnr=None))
