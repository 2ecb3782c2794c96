"""The training stages on a run of made-up people: what they write, that it loads, learns, stops and goes on."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from fixtures.made_up_run import make_latents, make_planes

from rodin.data.index_files import RANGES
from rodin.data.normalisers import latent_normaliser, plane_normaliser
from rodin.data.rows import SubjectField, training_subjects
from rodin.generate import models
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks, Stopped
from rodin.presets import preset
from rodin.stages import base, latent, prior, upsample
from rodin.stages.training import TrainingFolder
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws

STAGES = {"base": base, "upsample": upsample, "latent": latent, "prior": prior}
LOADERS = {
    "base": models.load_base,
    "upsample": models.load_upsampler,
    "latent": models.load_latent,
    "prior": models.load_prior,
}


def config_of(*overrides):
    longer = [f"{stage}.training.steps=40" for stage in STAGES] + [f"{stage}.training.ema=0.8" for stage in STAGES]
    intact = ["upsample.degrade.noise=[0, 0]", "upsample.degrade.blur=[0, 0]", "upsample.degrade.downscale=[1, 1]"]
    return preset("tiny", ["data.subjects=6", *longer, *intact, *overrides])


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    make_planes(config_of(), run)
    make_latents(config_of(), run)
    return run


@pytest.fixture
def run(stores, tmp_path):
    for stage in ("fit", "index", "embed"):
        (tmp_path / stores.stage(stage).name).symlink_to(stores.stage(stage))
    return RunFolder(tmp_path)


def inputs(stage, config, count=3):
    torch.manual_seed(0)
    plane, width, steps = config.triplane, config.clip.width, torch.randint(0, 100, (count,))
    planes = torch.randn(count, 3, plane.channels, plane.resolution, plane.resolution)
    small = torch.randn(count, 3, plane.channels, plane.base_resolution, plane.base_resolution)
    vector = torch.randn(count, width)
    return {
        "base": (small, steps, vector),
        "upsample": (planes, steps, small),
        "latent": (vector, steps),
        "prior": (vector, steps, vector, torch.randn(count, 8, 12), torch.ones(count, 8, dtype=torch.bool)),
    }[stage]


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_trains_publishes_and_loads(stage, run):
    config, told = config_of(), []
    STAGES[stage].run(config, run, 0, Hooks(progress=lambda *what: told.append(what)))
    assert told[-1][:2] == (40, 40)
    assert told[-1][2].startswith("loss ")

    done = manifest.read(run.manifest(stage))
    assert list(done["files"]) == ["model.pt"]
    assert done["samples"] == 40 * getattr(config, stage).training.batch
    rows = read_rows(run, stage)
    assert rows[-1].keys() >= {"stage", "step", "samples", "loss", "grad_norm", "samples_per_second"}
    losses = [row["loss"] for row in rows]
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])
    assert len(rows) == 40

    loaded = LOADERS[stage](run, torch.device("cpu"))
    first, second = loaded(*inputs(stage, config)), loaded(*inputs(stage, config))
    assert torch.equal(first, second)
    assert first.shape == inputs(stage, config)[0].shape
    assert not loaded.network.training
    assert loaded.diffusion["predicts"] == getattr(config, stage).diffusion.predicts
    assert first.abs().max() > 0

    told.clear()
    STAGES[stage].run(config, run, 0, Hooks(progress=lambda *what: told.append(what)))
    assert told == []


@pytest.mark.parametrize("stage", list(STAGES))
def test_target_weights_and_curve_of_the_config_are_those_of_the_training(stage, stores, tmp_path):
    losses = {}
    for name, changes in {
        "plain": [],
        "v": ["predicts=v"],
        "weighted": ["predicts=v", "min_snr=0.5"],
        "weighted later": ["predicts=v", "min_snr=0.5", "min_snr_after=1"],
        "noisier": ["predicts=v", "schedule=cosine", "schedule_tau=2"],
    }.items():
        run = RunFolder(tmp_path / name)
        run.path.mkdir()
        for other in ("fit", "index", "embed"):
            (run.path / stores.stage(other).name).symlink_to(stores.stage(other))
        config = config_of(f"{stage}.training.steps=1", *(f"{stage}.diffusion.{change}" for change in changes))
        STAGES[stage].run(config, run, 0, Hooks())
        losses[name] = read_rows(run, stage)[0]["loss"]
    assert len(set(losses.values())) == 4
    assert losses["weighted later"] == losses["v"]
    loaded = LOADERS[stage](run, torch.device("cpu")).diffusion
    shape = {"schedule_start": 0.2, "schedule_end": 1.0, "schedule_tau": 2.0}
    assert loaded == {"timesteps": loaded["timesteps"], "schedule": "cosine", "predicts": "v", **shape}


@pytest.mark.parametrize("stage", list(STAGES))
def test_stopped_at_any_step_and_run_again_it_is_the_unbroken_stage(stage, stores, tmp_path):
    config, states = config_of(f"{stage}.training.steps=9"), []
    for name, stop_at in (("unbroken", 99), ("stopped", 4)):
        run = RunFolder(tmp_path / name)
        run.path.mkdir()
        for other in ("fit", "index", "embed"):
            (run.path / stores.stage(other).name).symlink_to(stores.stage(other))
        calls = itertools.count(1)
        hooks = Hooks(should_stop=lambda calls=calls, stop_at=stop_at: next(calls) == stop_at)
        if stop_at < 9:
            with pytest.raises(Stopped):
                STAGES[stage].run(config, run, 0, hooks)
            assert not manifest.complete(run.manifest(stage))
        STAGES[stage].run(config, run, 0, Hooks())
        states.append(LOADERS[stage](run).network.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_the_published_weights_are_the_moving_average(stores, tmp_path):
    weights, losses = [], []
    for ema in (0, 0.9):
        run = RunFolder(tmp_path / str(ema))
        run.path.mkdir()
        (run.path / stores.stage("embed").name).symlink_to(stores.stage("embed"))
        latent.run(config_of("latent.training.steps=6", f"latent.training.ema={ema}"), run, 0, Hooks())
        losses.append([row["loss"] for row in read_rows(run, "latent")])
        weights.append(models.load_latent(run, torch.device("cpu")).network.state_dict())
    assert losses[0] == losses[1]
    assert any((value - weights[1][name]).abs().max() > 1e-4 for name, value in weights[0].items())


def test_held_out_people_enter_no_training(stores):
    config = config_of()
    fits, embeddings = Shards(stores.stage("fit"), "planes"), Shards(stores.stage("embed"), "latents")
    assert set(config.held_out_subjects()) <= set(embeddings.subjects)
    assert training_subjects(config, embeddings) == config.train_subjects()
    assert training_subjects(config, fits, embeddings) == config.train_subjects()
    with pytest.raises(StoreError, match="no training subject"):
        training_subjects(config, _Empty(fits.folder))


class _Empty:
    def __init__(self, folder):
        self.folder = folder

    def __contains__(self, subject):
        return False


def test_rows_read_as_they_come_are_rows_in_memory(stores):
    embeddings = Shards(stores.stage("embed"), "latents")
    people = config_of().train_subjects()
    held = SubjectField(embeddings, people, "image", 3)
    streamed = SubjectField(embeddings, people, "image", 3, cache_bytes=0)
    assert held.cached is not None
    assert streamed.cached is None
    items, entries = np.array([5, 0, 3, 3]), np.array([2, 0, 1, 2])
    assert np.array_equal(held(items), streamed(items))
    assert np.array_equal(held.entry(items, entries), streamed.entry(items, entries))
    assert np.array_equal(held.entry(items, entries)[1], embeddings.read(people[0], "image")[0])


def test_normalisers_bring_what_is_trained_on_to_scale(stores):
    config = config_of()
    embeddings, fits = Shards(stores.stage("embed"), "latents"), Shards(stores.stage("fit"), "planes")
    people = config.train_subjects()
    rows = SubjectField(embeddings, people, "image", 3)
    latents = torch.from_numpy(rows(np.arange(6))).flatten(0, 1)
    scaled = latent_normaliser(rows).to_model(latents)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(dim=0, correction=0), torch.ones(16), atol=1e-4, rtol=0)
    planes = torch.from_numpy(SubjectField(fits, people, "planes")(np.arange(6))).float()
    scaled = plane_normaliser(stores, "planes").to_model(planes)
    assert scaled.square().mean(dim=(0, 1, 3, 4)).sqrt().tolist() == pytest.approx([0.5] * 4, abs=1e-3)
    assert scaled.mean(dim=0).abs().max() < 1e-3
    for field in ("planes", "base"):  # a sampler clips x0_hat to the range of planes
        normaliser = plane_normaliser(stores, field)
        wild = torch.linspace(-3, 3, normaliser.mean.numel()).view(1, *normaliser.mean.shape)
        clipped = normaliser.from_model(normaliser.clip(normaliser.to_model(wild)))
        torch.testing.assert_close(clipped, wild.clamp(-1, 1), atol=1e-5, rtol=0)
        each = torch.from_numpy(SubjectField(fits, people, field)(np.arange(6))).float()
        clipped = normaliser.from_model(normaliser.clip_entries(normaliser.to_model(wild)))
        torch.testing.assert_close(clipped, wild.clamp(each.amin(0), each.amax(0)), atol=1e-5, rtol=0)


def test_an_index_of_an_earlier_version_has_no_ranges_and_clips_to_that_of_planes(stores, tmp_path):
    run = RunFolder(tmp_path)
    shutil.copytree(stores.stage("index"), run.stage("index"))
    content = manifest.read(run.manifest("index"))
    del content["files"][RANGES]
    manifest.publish(run.manifest("index"), content)
    (run.stage("index") / RANGES).unlink()
    normaliser = plane_normaliser(run, "base")
    wild = torch.linspace(-9, 9, normaliser.mean.numel()).view(1, *normaliser.mean.shape)
    assert torch.equal(normaliser.clip_entries(wild), normaliser.clip(wild))


def test_an_upsampler_variant_goes_to_its_own_place(run):
    config = config_of("upsample.training.steps=3", "upsample.roll_out=false", "upsample.aware=false")
    place = TrainingFolder(run, "sweep-convolution", 2, run.stage("sweep-convolution") / "00002")
    upsample.train_upsampler(config, place, Hooks())
    loaded = models.load_upsampler(run, model_folder=place.path)
    assert (loaded.settings["roll_out"], loaded.settings["aware"]) == (False, False)
    assert {row["stage"] for row in read_rows(run, "sweep-convolution")} == {"sweep-convolution"}
    with pytest.raises(FileNotFoundError, match="run stage upsample first"):
        models.load_upsampler(run)


def test_a_checkpoint_of_another_network_is_refused_by_the_stage(run):
    config = config_of()
    calls = itertools.count(1)
    with pytest.raises(Stopped):
        latent.run(config, run, 0, Hooks(should_stop=lambda: next(calls) == 2))
    with pytest.raises(ValueError, match="hidden is 32 there, 64 here"):
        latent.run(config_of("latent.hidden=64"), run, 0, Hooks())


def test_no_pretrained_weights_is_a_line_that_says_what_to_do(run, monkeypatch):
    monkeypatch.setenv("RODIN_WEIGHTS", str(run.path / "weights"))
    with pytest.raises(FileNotFoundError, match="rodin weights fetch"):
        models.load_clip(preset("paper"), run)
    with pytest.raises(FileNotFoundError, match="run stage clip first"):
        models.load_clip(config_of(), run)


def test_degraded_planes_belong_to_the_sample_and_stay_in_range(stores):
    config = preset("tiny")
    planes = torch.rand(4, 3, 4, 16, 16) * 2 - 1
    whole = upsample.degraded(config, planes, Draws(0, range(4)))
    assert whole.shape == (4, 3, 4, 8, 8)
    assert whole.abs().max() <= 1
    assert torch.equal(whole[2:3], upsample.degraded(config, planes[2:3], Draws(0, [2])))
    assert not torch.equal(whole[2:3], upsample.degraded(config, planes[2:3], Draws(0, [3])))


def test_an_upsampler_that_learns_with_latents_is_given_those_of_its_people(run):
    config = config_of("upsample.latent=true", "upsample.training.steps=80", "upsample.training.lr=1e-2")
    upsample.run(config, run, 0, Hooks())
    loaded = models.load_upsampler(run, torch.device("cpu"))
    assert loaded.settings["latent_width"] == config.clip.width
    people = config.train_subjects()
    fits, embeddings = Shards(run.stage("fit"), "planes"), Shards(run.stage("embed"), "latents")
    low = torch.from_numpy(np.stack([fits.read(one, "base") for one in people])).float()
    low = low.mean(dim=0, keepdim=True).expand_as(low)  # low planes that tell nobody apart
    true = torch.from_numpy(np.stack([fits.read(one, "planes") for one in people])).float()
    latents = torch.from_numpy(np.stack([embeddings.read(one, "image", 0) for one in people]))
    avatars, seeds = Avatars(config, run), list(range(len(people)))
    own = (avatars.upsampled(low, latents, seeds) - true).square().mean()
    other = (avatars.upsampled(low, latents.roll(1, 0), seeds) - true).square().mean()
    assert own < other
