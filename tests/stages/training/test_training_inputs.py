"""What each training stage feeds its network: conditions, views, captions, dropping and degradation, as configured."""

import numpy as np
import pytest
import torch
from fixtures.made_up_run import make_latents, make_planes
from torch import nn

from rodin.data.normalisers import latent_normaliser, plane_normaliser
from rodin.data.rows import SubjectField
from rodin.field.planes import resize
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.stages import base, latent, prior, upsample
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.denoising import denoising_loss

STEPS, BATCH = 8, 8


class Recorder(nn.Module):
    """A network that records its inputs; it has one weight, so that it can be trained."""

    def __init__(self, **settings):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.blocks = nn.ModuleList()
        self.calls = []

    def forward(self, x_t, *inputs):
        self.calls.append((x_t.detach().clone(), *(one.clone() for one in inputs)))
        return self.weight * x_t


def config_of(*overrides):
    stages = ("base", "upsample", "latent", "prior")
    short = [f"{stage}.training.{key}" for stage in stages for key in (f"steps={STEPS}", f"batch={BATCH}")]
    return preset("tiny", ["data.subjects=3", *short, *overrides])


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    make_planes(config_of(), run, detail=0.2)
    make_latents(config_of(), run)
    return run


@pytest.fixture
def recorded(stores, tmp_path, monkeypatch):
    """A function: train a stage with a recorder; returns x0 and each input of the network, over all steps."""

    def train(stage, kind, *overrides):
        run = RunFolder(tmp_path / str(len(list(tmp_path.iterdir()))))
        run.path.mkdir()
        for other in ("fit", "index", "embed"):
            (run.path / stores.stage(other).name).symlink_to(stores.stage(other))
        made, clean = [], []
        loss_of = denoising_loss
        monkeypatch.setattr(stage, kind, lambda **settings: made.append(Recorder(**settings)) or made[-1])
        monkeypatch.setattr(stage, "denoising_loss", lambda *given: clean.append(given[2]) or loss_of(*given))
        stage.run(config_of(*overrides), run, 0, Hooks())
        calls = made[0].calls
        assert len(calls) == STEPS
        return [torch.cat(clean), *(torch.cat(column) for column in zip(*calls, strict=True))]

    return train


def stored(stores, field, subject):
    return torch.from_numpy(Shards(stores.stage("embed"), "latents").read(subject, field))


def places(rows, table):
    """For each row, the place of the equal row in a table; -1 where there is none."""
    equal = (rows[:, None] == table[None]).flatten(2).all(dim=2)
    return torch.where(equal.any(dim=1), equal.float().argmax(dim=1), -1)


def image_table(stores, config):
    """[subjects * views, D] in order."""
    return torch.cat([stored(stores, "image", subject) for subject in config.train_subjects()])


@pytest.mark.parametrize(
    ("stage", "kind", "key"),
    [(base, "BaseUNet", "base.drop_latent"), (prior, "Prior", "prior.drop_text")],
)
def test_a_share_of_the_conditions_is_dropped(stage, kind, key, recorded):
    shares = [recorded(stage, kind, f"{key}={share}")[-1].float().mean() for share in (0.0, 0.4, 1.0)]
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.4, abs=0.15)
    assert shares[2] == 1


def test_the_base_model_sees_latents_of_all_reference_views_and_no_others(recorded, stores):
    config = config_of()
    _, _, timestep, latents, _ = recorded(base, "BaseUNet")
    found = places(latents, image_table(stores, config))
    assert set((found % config.data.views).tolist()) == set(range(config.data.reference_views))
    assert set((found // config.data.views).tolist()) == set(range(3))
    assert timestep.min() < 250
    assert timestep.max() > 750


def test_the_planes_belong_to_the_subject_of_the_latent(recorded, stores):
    config = config_of()
    x0, _, _, latents, _ = recorded(base, "BaseUNet")
    subjects = places(latents, image_table(stores, config)) // config.data.views
    fits = SubjectField(Shards(stores.stage("fit"), "planes"), config.train_subjects(), "base")
    planes = plane_normaliser(stores, "base").to_model(torch.from_numpy(fits(np.arange(3))).float())
    torch.testing.assert_close(x0, planes[subjects])


def low_of(recorded, *overrides):
    return recorded(upsample, "Upsampler", *overrides)[3]


INTACT = ["upsample.degrade.noise=[0, 0]", "upsample.degrade.blur=[0, 0]", "upsample.degrade.downscale=[1, 1]"]


def test_the_upsampler_s_condition_is_the_resized_planes_where_nothing_degrades_them(recorded, stores):
    config = config_of()
    fits = SubjectField(Shards(stores.stage("fit"), "planes"), config.train_subjects(), "planes")
    whole = torch.from_numpy(fits(np.arange(3))).float()
    small = resize(whole, config.triplane.base_resolution).clamp(-1, 1)
    wanted = plane_normaliser(stores, "planes").resized(config.triplane.base_resolution).to_model(small)
    low = low_of(recorded, *INTACT)
    nearest = (low[:, None] - wanted[None]).flatten(2).abs().amax(dim=2).min(dim=1).values
    assert nearest.max() < 1e-4


@pytest.mark.parametrize("change", ["noise=[0.1, 0.1]", "blur=[1, 1]", "downscale=[2, 2]"])
def test_each_degradation_reaches_the_upsampler_s_condition(change, recorded):
    intact, low = low_of(recorded, *INTACT), low_of(recorded, *INTACT, f"upsample.degrade.{change}")
    changed = (low - intact).square().flatten(1).mean(dim=1) > 1e-4
    assert 0.2 < changed.float().mean() < 0.8  # a random mix: each is applied to a part of the samples


def normalised_images(stores, config):
    embeddings = Shards(stores.stage("embed"), "latents")
    field = SubjectField(embeddings, config.train_subjects(), "image", config.data.reference_views)
    return latent_normaliser(field).to_model(image_table(stores, config))


def test_the_latent_model_is_trained_on_normalised_latents_of_all_reference_views_and_no_others(recorded, stores):
    config = config_of()
    x0, _, _ = recorded(latent, "LatentMLP")
    found = places(x0, normalised_images(stores, config))
    assert set((found % config.data.views).tolist()) == set(range(config.data.reference_views))
    assert set((found // config.data.views).tolist()) == set(range(3))


def test_the_prior_sees_one_caption_s_text_tokens_and_mask_and_its_subject_s_views(recorded, stores):
    config = config_of()
    x0, _, _, text, tokens, mask, _ = recorded(prior, "Prior")
    tables = {
        name: torch.cat([stored(stores, name, subject) for subject in config.train_subjects()])
        for name in ("text", "tokens", "token_mask")
    }
    captions = places(text, tables["text"])
    assert set(captions.tolist()) == set(range(3 * config.data.captions))
    assert torch.equal(tables["tokens"][captions].float(), tokens)
    assert torch.equal(tables["token_mask"][captions], mask)
    images = places(x0, normalised_images(stores, config))
    assert torch.equal(images // config.data.views, captions // config.data.captions)
    assert set((images % config.data.views).tolist()) == set(range(config.data.reference_views))
