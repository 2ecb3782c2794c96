"""Each model learns four people by heart: its loss goes to what it can be at least, and samples give them back."""

import numpy as np
import pytest
import torch
from fixtures.made_up_run import make_latents, make_planes

from rodin.field.planes import resize
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.stages import base, latent, prior, upsample
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

STAGES = {"base": base, "upsample": upsample, "latent": latent, "prior": prior}
STEPS = {"base": 500, "upsample": 500, "latent": 4000, "prior": 800}
CHANGES = [
    "data.subjects=4",
    "data.reference_views=1",
    "base.channels=32",
    "base.drop_latent=0",
    "base.diffusion.predicts=x0",
    "upsample.channels=32",
    "upsample.degrade.noise=[0, 0]",
    "latent.layers=5",
    "latent.hidden=128",
    "prior.drop_text=0",
    "latent.diffusion.sampling_steps=50",
    "prior.diffusion.sampling_steps=20",
    *(f"{stage}.training.{name}={value}" for stage in STAGES for name, value in (("batch", 8), ("ema", 0.98))),
    *(f"{stage}.training.lr=2e-3" for stage in STAGES),
    *(f"{stage}.training.checkpoint_every=10000" for stage in STAGES),
]


class FakeClip:
    """Knows the texts of the store by heart."""

    def __init__(self, store, people):
        self.store, self.people = store, people

    def text(self, prompts):
        (subject,) = prompts
        rows = (self.store.read(subject, field, 0)[None] for field in ("text", "tokens", "token_mask"))
        text, tokens, mask = (torch.from_numpy(row) for row in rows)
        return text, tokens.float(), mask


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config, run = preset("tiny", CHANGES), RunFolder(tmp_path_factory.mktemp("run"))
    make_planes(config, run, detail=0.2)
    make_latents(config, run)
    return run


def learned(stage, run, steps):
    """Losses of the training, and what draws from it."""
    config = preset("tiny", [*CHANGES, f"{stage}.training.steps={steps}"])
    STAGES[stage].run(config, run, 0, Hooks())
    return [row["loss"] for row in read_rows(run, stage)], Avatars(config, run)


def stored(run, name, field):
    store = Shards(run.stage(name), {"fit": "planes", "embed": "latents"}[name])
    people = preset("tiny", CHANGES).train_subjects()
    rows = [store.read(one, field) if name == "fit" else store.read(one, field, 0) for one in people]
    return torch.from_numpy(np.stack(rows)).float()


def psnr(ours, theirs):
    """Of planes, whose values lie in [-1, 1]."""
    return 10 * torch.log10(4 / (ours - theirs).square().flatten(1).mean(dim=1))


@pytest.mark.slow
def test_the_base_model_learns_four_people_by_heart(made):
    losses, avatars = learned("base", made, STEPS["base"])
    assert np.mean(losses[-10:]) < 0.01 * losses[0]
    drawn = avatars.low_planes(stored(made, "embed", "image"), [1, 2, 3, 4], 1.0)
    assert psnr(drawn, stored(made, "fit", "base")).min() > 30


@pytest.mark.slow
def test_the_upsampler_learns_four_people_by_heart(made):
    losses, avatars = learned("upsample", made, STEPS["upsample"])
    assert np.mean(losses[-10:]) < 0.1 * losses[0]
    low, whole = stored(made, "fit", "base"), stored(made, "fit", "planes")
    assert psnr(resize(low, whole.shape[-1]), whole).max() < 25  # what low planes alone tell
    assert psnr(avatars.upsampled(low, stored(made, "embed", "image"), [1, 2, 3, 4]), whole).min() > 30


@pytest.mark.slow
def test_the_latent_model_learns_four_latents_by_heart(made):
    """It predicts noise, of which a little stays unknown where the four cannot be told apart yet."""
    losses, avatars = learned("latent", made, STEPS["latent"])
    assert np.mean(losses[-10:]) < 0.1 * losses[0]
    likeness = avatars.latents_unconditional(range(16)) @ stored(made, "embed", "image").T
    assert likeness.max(dim=1).values.min() > 0.98
    assert len(likeness.argmax(dim=1).unique()) > 2  # and not one of them alone


def test_the_prior_learns_four_texts_by_heart(made):
    losses, avatars = learned("prior", made, 150)
    assert np.mean(losses[-5:]) < 0.1 * losses[0]
    people = preset("tiny", CHANGES).train_subjects()
    avatars.__dict__["clip"] = FakeClip(Shards(made.stage("embed"), "latents"), people)
    likeness = avatars.prior_latents(people, [1, 2, 3, 4]) @ stored(made, "embed", "image").T
    assert likeness.argmax(dim=1).tolist() == [0, 1, 2, 3]
    assert likeness.diagonal().min() > 0.97
