"""Reconstruction of held-out subjects and its rows: fields, baselines, seeds, views; and quality on held-out views."""

import json

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG

from rodin.evaluation.comparison import ViewComparison
from rodin.evaluation.haze import avatar_haze
from rodin.evaluation.held_out import HeldOutViews, measure, read_held_out
from rodin.evaluation.reconstruction import measure_shard, reconstruct
from rodin.field.cameras import spread
from rodin.field.render import render_views
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.stages import evaluate
from rodin.store.results import read_rows
from rodin.store.shards.reader import Shards

CPU = torch.device("cpu")
HELD_OUT = CONFIG.held_out_subjects()


def stores_of(run):
    return Shards(run.stage("render"), "views"), Shards(run.stage("embed"), "latents")


def test_every_subject_of_a_shard_has_the_same_fields_whatever_the_baselines_say(avatars, copy):
    planes = torch.zeros(3, 4, 16, 16)
    baselines = {"a": lambda subject: (planes, {"guidance_scale": None, "of": subject, "bold": True})}
    fresh = Avatars(CONFIG, copy, CPU)
    measure_shard(
        copy,
        "evaluate",
        0,
        HELD_OUT,
        avatars=fresh,
        scale=2.5,
        hooks=Hooks(),
        baselines=baselines,
        fields={"roll_out": True},
        extra_rows=[{"stage": "more"}],
    )
    rows = read_rows(copy, "evaluate")
    ours, theirs = ([row for row in rows if row.get("method") == method] for method in ("rodin", "a"))
    assert [row["subject"] for row in ours] == [row["subject"] for row in theirs] == HELD_OUT
    for row in ours:
        assert (row["guidance_scale"], row["roll_out"]) == (2.5, True)
        assert not {"of", "bold"} & row.keys()
    for row in theirs:
        assert (row["guidance_scale"], row["of"], row["bold"]) == (None, row["subject"], True)
        assert "roll_out" not in row
    assert {"stage": "more"} in rows
    store = Shards(copy.stage("evaluate"), "samples")
    meta = store.meta(HELD_OUT[1])
    assert (meta["reference"], meta["guidance_scale"], meta["generated"]) == (HELD_OUT[1], 2.5, True)
    assert len(store.read(HELD_OUT[1], "rgba")) == len(meta["views"]) == CONFIG.sample.views
    poses = stores_of(copy)[0].read(HELD_OUT[1], "camera_to_world")
    chosen = spread(poses, CONFIG.evaluate.views)
    assert meta["views"] == [chosen[place] for place in spread(poses[chosen], CONFIG.sample.views)]


def test_noise_belongs_to_the_subject_and_the_latent_is_of_its_frontal_view(avatars, trained):
    _, latents = stores_of(trained)
    asked = []

    class Spy:
        config, device = CONFIG, CPU

        def planes(self, latents, seeds, scale):
            asked.extend(zip(latents, seeds, [scale] * len(seeds), strict=True))
            return latents

    subjects = CONFIG.all_subjects()
    assert [subject for subject, _ in reconstruct(Spy(), latents, subjects, 3.0, Hooks())] == subjects
    assert len({seed for _, seed, _ in asked}) == len(subjects)
    assert {scale for _, _, scale in asked} == {3.0}
    for subject, (latent, seed, _) in zip(subjects, list(asked), strict=True):
        assert np.array_equal(latent.numpy(), latents.read(subject, "image", 0))
        asked.clear()
        list(reconstruct(Spy(), latents, [subject], 1.0, Hooks()))
        assert asked[0][1] == seed


class Pictured:
    """A store of one subject's views: an avatar's own renderings."""

    def __init__(self, views, rgba):
        self.views, self.rgba = views, rgba

    def shape(self, field):
        return self.rgba.shape

    def read(self, subject, field, rows=None):
        if field != "rgba":
            return self.views.read(subject, field)
        return self.rgba[rows]


def test_an_avatar_compared_with_its_own_views_is_like_them_and_another_is_not(avatars, trained):
    views, _ = stores_of(trained)
    subject = HELD_OUT[0]
    first, second = avatars.planes(avatars.latents_unconditional([1, 2]), [1, 2], 1.5)
    cameras = (views.read(subject, name) for name in ("camera_to_world", "intrinsics"))
    own = Pictured(views, avatars.render(first, *cameras, CONFIG.data.resolution))
    compare = ViewComparison(avatars, own, 4)
    assert compare.chosen(HELD_OUT[0]) == spread(own.read(HELD_OUT[0], "camera_to_world"), 4)
    values, rendered = compare(subject, first)
    assert values["psnr"] > 60
    assert values["ssim"] > 0.999
    assert np.array_equal(rendered, own.rgba[compare.chosen(subject)])
    assert compare(subject, second)[0]["psnr"] < 50


def test_the_nearest_subject_is_the_one_whose_frontal_latent_is_most_alike(sampled):
    evaluate.run(CONFIG, sampled, 0, Hooks())
    _, latents = stores_of(sampled)
    planes, training = Shards(sampled.stage("fit"), "planes"), CONFIG.train_subjects()
    compare = ViewComparison(Avatars(CONFIG, sampled, CPU), stores_of(sampled)[0], CONFIG.evaluate.views)
    rows = [row for row in read_rows(sampled, "evaluate") if row.get("method") == "nearest person"]
    assert len(rows) == len(HELD_OUT)
    for row in rows:
        own = latents.read(row["subject"], "image", 0)
        likeness = [float(own @ latents.read(subject, "image", 0)) for subject in training]
        assert row["of"] == training[int(np.argmax(likeness))]
        assert row["guidance_scale"] is None
        nearest = torch.from_numpy(planes.read(row["of"], "planes")).float()
        assert row["psnr"] == pytest.approx(compare(row["subject"], nearest)[0]["psnr"], abs=1e-3)
        assert row["haze"] == pytest.approx(avatar_haze(compare.avatars, nearest), rel=1e-4)


def test_neighbours_of_samples_are_the_most_similar_training_subjects(sampled):
    evaluate.run(CONFIG, sampled, 0, Hooks())
    avatars, (_, latents) = Avatars(CONFIG, sampled, CPU), stores_of(sampled)
    samples, training = Shards(sampled.stage("sample"), "samples"), CONFIG.train_subjects()
    for row in [row for row in read_rows(sampled, "evaluate") if row["stage"] == "neighbours"]:
        own = avatars.latent_from_image(samples.read(row["sample"], "rgba", 0))[0].numpy()
        likeness = {subject: float(own @ latents.read(subject, "image", 0)) for subject in training}
        wanted = sorted(training, key=lambda subject: -likeness[subject])[: CONFIG.evaluate.neighbours]
        assert row["neighbours"] == wanted
        assert row["similarity"] == pytest.approx([likeness[subject] for subject in wanted], abs=1e-4)
        planes = torch.from_numpy(samples.read(row["sample"], "planes")).float()
        assert row["haze"] == pytest.approx(avatar_haze(avatars, planes), rel=1e-4)
        assert 0 <= row["haze"] <= 1


def test_held_out_views_are_the_last_and_a_fit_is_measured_on_them(avatars, trained):
    views, _ = stores_of(trained)
    count = CONFIG.fit.held_out_views
    held_out = read_held_out(CONFIG, views, "000001", CPU)
    for name, found in zip(("rgba", "camera_to_world", "intrinsics"), held_out, strict=True):
        assert np.array_equal(found.numpy(), views.read("000001", name)[-count:])
    planes = avatars.planes(avatars.latents_unconditional([1]), [1], 1.5)[0]
    size = held_out.rgba.shape[1]
    box, samples = CONFIG.triplane.box, CONFIG.fit.samples
    rgba = render_views(planes, avatars.decoder, *held_out[1:], size, size, box=box, samples=samples)
    own = measure(CONFIG, planes, avatars.decoder, HeldOutViews((rgba * 255).round().to(torch.uint8), *held_out[1:]))
    assert own.psnr > 50
    assert own.ssim > 0.999
    true = measure(CONFIG, planes, avatars.decoder, held_out)
    white = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    seen = held_out.rgba.float() / 255
    truth = seen[..., :3] * seen[..., 3:] + 1 - seen[..., 3:]
    error = (white - truth).square().mean(dim=(1, 2, 3))
    assert true.psnr == pytest.approx(float((-10 * torch.log10(error)).mean()), abs=1e-3)
    torch.testing.assert_close(true.pictures, white)


def test_prompt_rows_say_what_was_asked_and_whether_it_came_out(sampled):
    evaluate.run(CONFIG, sampled, 0, Hooks())
    samples = Shards(sampled.stage("sample"), "samples")
    rows = [row for row in read_rows(sampled, "evaluate") if row["stage"] == "prompts"]
    assert rows
    for row in rows:
        meta = samples.meta(row["sample"])
        assert (row["prompt"], row["attribute"], row["wanted"]) == (meta["prompt"], meta["attribute"], meta["colour"])
        assert row["hit"] is (row["measured"] == row["wanted"])
    (frechet,) = (row for row in read_rows(sampled, "evaluate") if row["stage"] == "frechet")
    assert (frechet["samples"], frechet["subjects"]) == (2, len(CONFIG.train_subjects()))
    assert json.dumps(frechet["value"]) != "NaN"
    assert frechet["value"] > 0
