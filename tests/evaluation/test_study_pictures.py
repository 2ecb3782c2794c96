"""A run's pictures for a user study: whom they show, by which camera, and that methods are what they are called."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures import coloured_people
from fixtures.small_run import CONFIG
from fixtures.trained_run import load_avatars

from jobs.cli.study_sources import check_same_people
from rodin.data.normalisers import mean_subject
from rodin.evaluation.reconstruction import reconstruct, reconstruction_seed
from rodin.evaluation.study_pictures import HeldOutPeople, RebuiltPeople, SampledAvatars
from rodin.hooks import Hooks
from rodin.stages.sweeps import convolution
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

HELD_OUT = CONFIG.held_out_subjects()
SIZE = CONFIG.data.resolution


def pictures(source, items=HELD_OUT):
    return dict(source.pictures(items))


def seen(avatars, run, subject, planes, size=SIZE):
    """Planes by the camera of a subject's frontal view, at the size of the views."""
    views = Shards(run.stage("render"), "views")
    cameras = (views.read(subject, name)[:1] for name in ("camera_to_world", "intrinsics"))
    return avatars.render(planes, *cameras, size)[0]


@pytest.fixture(scope="module")
def people(trained):
    return HeldOutPeople(trained, CONFIG, SIZE)


def test_the_reference_is_the_frontal_picture_of_each_held_out_person(people, trained):
    assert people.items == HELD_OUT
    views = Shards(trained.stage("render"), "views")
    for subject, picture in pictures(people).items():
        assert np.array_equal(picture, views.read(subject, "rgba")[0])


def test_rodin_is_the_reconstruction_that_is_measured(people, trained):
    avatars, latents = load_avatars(trained), Shards(trained.stage("embed"), "latents")
    found = pictures(RebuiltPeople(people, "rodin"))
    assert list(found) == HELD_OUT
    for subject, planes in reconstruct(avatars, latents, HELD_OUT, CONFIG.sample.guidance_scale, Hooks()):
        assert np.array_equal(found[subject], seen(avatars, trained, subject, planes))


def test_mean_and_nearest_are_the_mean_planes_and_those_of_the_nearest_latent(people, trained):
    avatars, latents = load_avatars(trained), Shards(trained.stage("embed"), "latents")
    fits, mean = Shards(trained.stage("fit"), "planes"), torch.from_numpy(mean_subject(trained))
    means, nearest = (pictures(RebuiltPeople(people, method)) for method in ("mean", "nearest"))
    for subject in HELD_OUT:
        assert np.array_equal(means[subject], seen(avatars, trained, subject, mean))
        own = latents.read(subject, "image", 0)
        alike = max(CONFIG.train_subjects(), key=lambda other: float(own @ latents.read(other, "image", 0)))
        planes = torch.from_numpy(fits.read(alike, "planes")).float()
        assert np.array_equal(nearest[subject], seen(avatars, trained, subject, planes))


def test_the_autoencoder_decodes_a_latent_in_one_step_and_wants_a_model_of_planes(people, trained, monkeypatch):
    method = RebuiltPeople(people, "autoencoder")
    told = "method autoencoder (one step of the base model, then the run's diffusion upsampler)"
    assert method.description.endswith(told)
    with pytest.raises(ValueError, match="wants a base model that predicts x0 or v, got eps; `rodin run --from"):
        method.check()
    avatars, latents = load_avatars(trained), Shards(trained.stage("embed"), "latents")
    avatars.base = replace(avatars.base, diffusion=avatars.base.diffusion | {"predicts": "x0"})
    monkeypatch.setattr(RebuiltPeople, "_avatars", lambda self: avatars)
    for subject, picture in pictures(method).items():
        latent = torch.from_numpy(latents.read(subject, "image", 0)[None])
        seeds = [reconstruction_seed(CONFIG, subject)]
        planes = avatars.upsampled(avatars.low_planes(latent, seeds, 1.0, steps=1), latent, seeds)[0]
        assert np.array_equal(picture, seen(avatars, trained, subject, planes))


def test_a_larger_picture_shows_the_same_at_the_same_place(people, trained):
    large = HeldOutPeople(trained, CONFIG, 3 * SIZE)
    small, (big,) = (
        pictures(RebuiltPeople(people, "mean")),
        pictures(RebuiltPeople(large, "mean"), HELD_OUT[:1]).values(),
    )
    assert big.shape == (3 * SIZE, 3 * SIZE, 4)
    blocks = big.astype(float).reshape(SIZE, 3, SIZE, 3, 4).mean(axis=(1, 3))
    opacity = [picture[..., 3].astype(float) for picture in (blocks, small[HELD_OUT[0]])]
    assert np.corrcoef(opacity[0].ravel(), opacity[1].ravel())[0, 1] > 0.98


def test_people_of_another_run_with_equal_ids_are_refused(trained, tmp_path, monkeypatch):
    other = RunFolder(tmp_path / "other")
    shutil.copytree(trained.path, other.path, symlinks=True)
    sources = [RebuiltPeople(HeldOutPeople(run, CONFIG, SIZE), "rodin") for run in (trained, other)]
    check_same_people(sources)
    shutil.rmtree(other.stage("render"))
    monkeypatch.setattr(coloured_people, "names", lambda number: ("blond", "purple"))
    coloured_people.make_views(CONFIG, other)
    sources[1] = HeldOutPeople(other, CONFIG, SIZE)
    with pytest.raises(ValueError, match=f"{HELD_OUT[0]} is one person in .* and another in .*; wanted runs"):
        check_same_people(sources)


def test_samples_are_the_unconditional_ones_seen_from_the_front(sampled):
    source = SampledAvatars(sampled, CONFIG, CONFIG.sample.resolution)
    samples = Shards(sampled.stage("sample"), "samples")
    assert source.items == [one for one in samples.subjects if one.startswith("unconditional")]
    assert len(source.items) == CONFIG.sample.unconditional
    for item, picture in source.pictures(source.items[:2]):
        assert np.abs(picture.astype(int) - samples.read(item, "rgba", 0)).max() <= 1  # planes are stored rounded


def test_roll_out_is_that_of_the_ablation_and_missing_without_it(copy):
    method = RebuiltPeople(HeldOutPeople(copy, CONFIG, SIZE), "without-roll-out")
    with pytest.raises(FileNotFoundError, match="needs the ablation of convolutions; `rodin sweep convolution"):
        method.check()
    stage, measured = copy.stage("sweep-convolution"), {}
    for shard in (0, 2):
        convolution.run(CONFIG, copy, shard, Hooks())
        measured[shard] = Shards(stage, "samples").read(HELD_OUT[0], "rgba", 0)
        copy.manifest("sweep-convolution", shard).rename(stage / f"{shard}.kept")  # a store holds a subject once
    for shard in (0, 2):
        (stage / f"{shard}.kept").rename(copy.manifest("sweep-convolution", shard))
    people = HeldOutPeople(copy, CONFIG, SIZE)
    for name, shard in (("with-roll-out", 0), ("without-roll-out", 2)):
        method = RebuiltPeople(people, name)
        method.check()
        assert np.array_equal(pictures(method, HELD_OUT[:1])[HELD_OUT[0]], measured[shard])
    assert not np.array_equal(measured[0], measured[2])
