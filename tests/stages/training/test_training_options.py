"""Options of the training stages: mirrored people, and the step after which min-SNR weighs."""

import inspect

import numpy as np
import pytest
import torch
from fixtures.made_up_run import make_latents, make_planes

from rodin.config import Diffusion
from rodin.data.normalisers import plane_normaliser
from rodin.data.rows import min_snr_of, mirrored_latents
from rodin.field.planes import mirrored
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.stages import base
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws

STEPS = 8


def planes_trained_on(run, monkeypatch, share):
    """Planes [8 * batch, 3, C, r, r] and latents [8 * batch, D] of the base model with a share of people mirrored."""
    seen, told = [], []

    def note(denoise, schedule, x0, *rest):
        seen.append(x0)
        told.append(inspect.getclosurevars(denoise).nonlocals["batch"]["latent"])
        return denoise(x0, torch.zeros(len(x0), dtype=torch.long)).mean((1, 2, 3, 4))

    monkeypatch.setattr(base, "denoising_loss", note)
    config = preset("tiny", [f"base.training.steps={STEPS}", "data.subjects=6", f"base.mirror={share}"])
    make_planes(config, run)
    make_latents(config, run)
    base.run(config, run, 0, Hooks())
    return plane_normaliser(run, "base").from_model(torch.cat(seen)), torch.cat(told)


def test_base_trains_on_the_mirrored_share_of_people(tmp_path, monkeypatch):
    folders = [RunFolder(tmp_path / name) for name in ("none", "half", "all")]
    for folder in folders:
        folder.path.mkdir()
    (plain, ahead), (half, both), (whole, turned) = (
        planes_trained_on(folder, monkeypatch, share) for folder, share in zip(folders, (0, 0.5, 1), strict=True)
    )
    torch.testing.assert_close(turned, ahead.flip(-1))  # as the made-up latents of mirrored pictures are
    torch.testing.assert_close(whole, mirrored(plain, torch.ones(len(plain), dtype=torch.bool)))
    same = ((half - plain).abs().amax((1, 2, 3, 4)) < 1e-5).float()
    other = ((half - whole).abs().amax((1, 2, 3, 4)) < 1e-5).float()
    torch.testing.assert_close(same + other, torch.ones(len(plain)))
    assert 0.2 < same.mean() < 0.8
    torch.testing.assert_close(both, torch.where(same[:, None] > 0, ahead, turned))  # each with its own picture's


def test_latents_of_an_older_run_are_told(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    planes_trained_on(run, monkeypatch, 0)
    store = Shards(run.stage("embed"), "latents")
    read = Shards.read

    def lacking(self, subject, field, *rest):
        return read(self, subject, "none" if field == "mirrored" else field, *rest)

    monkeypatch.setattr(Shards, "read", lacking)
    with pytest.raises(
        StoreError, match="no latents of mirrored pictures, which base.mirror wants; remove that folder"
    ):
        mirrored_latents(store, store.subjects)


@pytest.mark.parametrize(("step", "gamma"), [(0, None), (2, None), (3, 5.0), (4, 5.0)])
def test_min_snr_weighs_after_its_step(step, gamma):
    batch, diffusion = 4, Diffusion(min_snr=5.0, min_snr_after=3)
    for part in (slice(0, 2), slice(2, 4)):  # ranks and micro-batches see parts of a step
        draws = Draws(0, np.arange(step * batch, (step + 1) * batch)[part])
        assert min_snr_of(diffusion, batch, draws) == gamma
    assert min_snr_of(Diffusion(), batch, draws) is None
