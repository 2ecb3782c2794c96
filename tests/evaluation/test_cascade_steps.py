"""The cascade step by step: which planes each step shows, on which views, and of whom; the posterior mean."""

import copy as shallow
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG

from rodin.bench.cascade import bench_cascade
from rodin.evaluation.cascade import cascade_people, measure_cascade
from rodin.evaluation.comparison import ViewComparison
from rodin.evaluation.reconstruction import baselines_of, reconstruct, reconstruction_seed
from rodin.evaluation.steps import FITTED, LOW, MEAN_PERSON, NEAREST_PERSON, POSTERIOR_MEAN, SEEN, UNSEEN, UPSAMPLED
from rodin.field.planes import resize
from rodin.hooks import Hooks, Stopped
from rodin.stages import evaluate
from rodin.store.results import read_rows
from rodin.store.shards.reader import Shards

CPU = torch.device("cpu")
SCALE = CONFIG.sample.guidance_scale
TRAINING, HELD_OUT = CONFIG.train_subjects(), CONFIG.held_out_subjects()


def stores_of(run):
    kinds = {"render": "views", "embed": "latents", "fit": "planes"}
    return [Shards(run.stage(stage), kind) for stage, kind in kinds.items()]


class Canvas:
    """Avatars whose render shows the planes themselves, so that a step's pictures tell its planes."""

    def __init__(self, avatars):
        self.avatars, self.config, self.folder, self.device = avatars, CONFIG, avatars.folder, CPU

    def __getattr__(self, name):
        return getattr(self.avatars, name)

    def render(self, planes, camera_to_world, intrinsics, resolution):
        assert len(camera_to_world) == len(intrinsics) == CONFIG.fit.held_out_views
        values = planes.numpy().ravel()[: resolution**2 * 4]
        picture = np.resize(np.round(127.5 * (values + 1)).clip(0, 255).astype(np.uint8), (resolution, resolution, 4))
        return np.stack([picture] * len(camera_to_world))


def test_each_step_shows_the_planes_it_names(avatars, trained):
    _, latents, fits = stores_of(trained)
    canvas, (person, unseen) = Canvas(avatars), (TRAINING[1], HELD_OUT[0])
    other = torch.full((3, 4, 16, 16), 0.25)
    baselines = {"guess": lambda subject: (other, {"of": subject})}
    measured = list(measure_cascade(canvas, [person, unseen], baselines, Hooks()))
    assert [(row["subject"], row["step"]) for row, _ in measured] == [
        *((person, step) for step in (FITTED, LOW, UPSAMPLED, SEEN)),
        *((unseen, step) for step in (UNSEEN, "guess")),
    ]
    fitted, low = (torch.from_numpy(fits.read(person, field).astype(np.float32)) for field in ("planes", "base"))
    made = dict(reconstruct(avatars, latents, [person, unseen], SCALE, Hooks()))
    wanted = [
        fitted,
        resize(low[None], 16)[0],
        avatars.upsampled(
            low[None],
            torch.from_numpy(latents.read(person, "image", 0)[None]),
            [reconstruction_seed(CONFIG, person)],
        )[0],
        made[person],
        made[unseen],
        other,
    ]
    for (row, pictures), planes in zip(measured, wanted, strict=True):
        poses = np.zeros((CONFIG.fit.held_out_views, 4, 4))
        assert np.array_equal(pictures, canvas.render(planes, poses, poses, CONFIG.data.resolution)), row["step"]
        assert row["stage"] == "cascade"
    assert len({pictures.tobytes() for _, pictures in measured}) == len(measured)
    assert measured[3].row["guidance_scale"] == measured[4].row["guidance_scale"] == SCALE
    assert "guidance_scale" not in measured[0].row
    assert measured[5].row["of"] == unseen


def test_the_views_are_those_no_fit_saw(avatars, trained):
    views, _, _ = stores_of(trained)
    count = CONFIG.fit.held_out_views
    compare = ViewComparison(avatars, views, count, unfitted=True)
    assert compare.chosen(views.subjects[0]) == list(range(CONFIG.data.views - count, CONFIG.data.views))
    asked = []

    class Spy(Canvas):
        def render(self, planes, camera_to_world, intrinsics, resolution):
            asked.append(camera_to_world)
            return super().render(planes, camera_to_world, intrinsics, resolution)

    list(measure_cascade(Spy(avatars), HELD_OUT[:1], {}, Hooks()))
    assert np.array_equal(asked[0], views.read(HELD_OUT[0], "camera_to_world")[-count:])


def test_people_are_spread_over_all_there_are_and_none_without_the_key(trained):
    views, latents, _ = stores_of(trained)
    found = cascade_people(CONFIG, views, latents, TRAINING)
    assert CONFIG.evaluate.cascade == 2
    assert found == [TRAINING[0], TRAINING[-1], *HELD_OUT]
    assert cascade_people(CONFIG, views, latents, TRAINING, 3) == [*TRAINING[::2], *HELD_OUT]
    off = CONFIG.model_copy(update={"evaluate": CONFIG.evaluate.model_copy(update={"cascade": 0})})
    assert cascade_people(off, views, latents, TRAINING) == []


def test_it_stops_when_asked(avatars):
    with pytest.raises(Stopped):
        next(measure_cascade(Canvas(avatars), TRAINING, {}, Hooks(should_stop=lambda: True)))


def predicting_x0(avatars):
    """The same models, the base model taken for one that predicts x0."""
    changed = shallow.copy(avatars)
    changed.base = replace(avatars.base, diffusion=avatars.base.diffusion | {"predicts": "x0"})
    return changed


def test_the_posterior_mean_is_x0_hat_at_the_last_timestep_without_guidance(avatars, trained):
    _, latents, fits = stores_of(trained)
    changed, first = predicting_x0(avatars), []
    features = np.stack([latents.read(subject, "image", 0) for subject in TRAINING])
    baselines = baselines_of(changed, fits, latents, TRAINING, features)
    assert list(baselines) == [POSTERIOR_MEAN, MEAN_PERSON, NEAREST_PERSON]
    planes, fields = baselines[POSTERIOR_MEAN](HELD_OUT[0])
    latent = torch.from_numpy(latents.read(HELD_OUT[0], "image", 0)[None])
    seeds = [reconstruction_seed(CONFIG, HELD_OUT[0])]

    def on_step(step, timestep, x0):
        first.append((timestep, x0.clone()))

    changed.low_planes(latent, seeds, 1.0, on_step)
    assert first[0][0] == CONFIG.base.diffusion.timesteps - 1
    assert len(first) == CONFIG.base.diffusion.sampling_steps > 1
    torch.testing.assert_close(planes, changed.upsampled(first[0][1], latent, seeds)[0])
    assert not torch.allclose(planes, changed.upsampled(first[-1][1], latent, seeds)[0], atol=1e-3)
    assert fields == {"guidance_scale": 1.0}


def test_a_model_that_predicts_noise_has_no_posterior_mean(avatars, trained):
    _, latents, fits = stores_of(trained)
    assert avatars.base.diffusion["predicts"] == "eps"
    features = np.stack([latents.read(subject, "image", 0) for subject in TRAINING])
    assert list(baselines_of(avatars, fits, latents, TRAINING, features)) == [MEAN_PERSON, NEAREST_PERSON]


def test_stage_evaluate_and_the_bench_measure_the_same(sampled):
    evaluate.run(CONFIG, sampled, 0, Hooks())
    rows = [row for row in read_rows(sampled, "evaluate") if row["stage"] == "cascade"]
    assert {row["subject"] for row in rows} == {TRAINING[0], TRAINING[-1], *HELD_OUT}
    assert {row["step"] for row in rows} == {FITTED, LOW, UPSAMPLED, SEEN, UNSEEN, MEAN_PERSON, NEAREST_PERSON}
    told = []
    benched = bench_cascade(CONFIG, sampled, 1, lambda *what: told.append(what))
    same = {(row["subject"], row["step"]): row["psnr"] for row in rows}
    for row, pictures in benched:
        assert same[row["subject"], row["step"]] == pytest.approx(row["psnr"], abs=1e-4)
        assert pictures.shape == (CONFIG.fit.held_out_views, CONFIG.data.resolution, CONFIG.data.resolution, 4)
    assert {row["subject"] for row, _ in benched} == {TRAINING[0], HELD_OUT[0]}
    assert [done for done, _, _ in told] == [1, 2]


def test_the_bench_needs_the_models_and_says_which_stage_makes_them(copy):
    (copy.path / "upsample").unlink()
    with pytest.raises(FileNotFoundError, match="stage upsample is not done"):
        bench_cascade(CONFIG, copy, 1, lambda *what: None)
