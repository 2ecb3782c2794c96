"""A whole small run on people of ellipsoids: embedding, sampling, evaluation, sweeps and avatars on request."""

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG, PEOPLE

from rodin.data.pictures import images_over_white
from rodin.evaluation.comparison import ViewComparison
from rodin.generate.cascade import Avatars
from rodin.generate.latents import unit
from rodin.generate.models import load_clip, load_upsampler
from rodin.hooks import Hooks, Stopped
from rodin.stages import embed, evaluate, sample
from rodin.stages.sweeps import convolution as sweep_convolution
from rodin.stages.sweeps import guidance as sweep_cfg
from rodin.store import manifest
from rodin.store.mpi import MpiRanks
from rodin.store.results import read_rows
from rodin.store.shards.reader import Shards


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".h5", ".json")}


def test_everybody_is_embedded_held_out_people_too(trained):
    latents, views = Shards(trained.stage("embed"), "latents"), Shards(trained.stage("render"), "views")
    assert latents.subjects == PEOPLE
    for subject in PEOPLE[:2]:
        assert latents.meta(subject)["captions"] == [views.meta(subject)["captions"][number % 2] for number in range(4)]
        assert np.allclose(np.linalg.norm(latents.read(subject, "image"), axis=-1), 1, atol=1e-5)
        assert np.allclose(np.linalg.norm(latents.read(subject, "text"), axis=-1), 1, atol=1e-5)
        assert latents.read(subject, "token_mask").any(axis=1).all()
        flipped = images_over_white(views.read(subject, "rgba")[: CONFIG.data.reference_views, :, ::-1])
        np.testing.assert_allclose(
            latents.read(subject, "mirrored"), load_clip(CONFIG, trained).image(flipped).numpy(), atol=1e-5
        )
    one = latents.read(PEOPLE[0], "image", 0)
    assert not np.allclose(one, latents.read(PEOPLE[1], "image", 0), atol=1e-3)


class Ranks:
    """A communicator of ranks that run one after the other, the last first; none fails."""

    def __init__(self, size):
        self.size = size

    def gather(self, value, root):
        return [(None, None)] * self.size

    def bcast(self, value, root):
        return []


def test_captions_that_are_too_long_are_counted_and_told_once(trained, copy, monkeypatch):
    views, clip = Shards(trained.stage("render"), "views"), load_clip(CONFIG, trained)
    assert embed.long_captions(clip, views, CONFIG.data.captions) == ""
    long = "a person with " + "very " * 30 + "red hair"
    monkeypatch.setattr(Shards, "meta", lambda self, subject: {"captions": [long, f"{long} {subject}", "a man"]})
    copy.stage("embed").unlink()
    with pytest.warns(UserWarning, match="longer than the 32 tokens") as told:
        embed.run(CONFIG, copy, 0, Hooks())
    (line,) = (str(one.message) for one in told)
    count = len(views.subjects)
    assert line.startswith(f"{count + 1} of {count + 2} different captions are longer")
    assert line.endswith("'very very very red hair' is left out")


def test_embeddings_do_not_depend_on_the_number_of_ranks(trained, copy, monkeypatch):
    copy.stage("embed").unlink()
    for rank in (2, 1, 0):
        assert not manifest.complete(copy.manifest("embed"))
        monkeypatch.setattr(embed, "mpi_ranks", lambda rank=rank: MpiRanks(rank, 3, Ranks(3)))
        embed.run(CONFIG, copy, 0, Hooks())
    assert manifest.complete(copy.manifest("embed"))
    assert bytes_of(copy.stage("embed")) == bytes_of(trained.stage("embed"))


def test_embedding_stopped_goes_on_to_the_same_bytes(trained, copy):
    copy.stage("embed").unlink()
    asked = iter([False, False, False, True])
    with pytest.raises(Stopped):
        embed.run(CONFIG, copy, 0, Hooks(should_stop=lambda: next(asked)))
    assert not manifest.complete(copy.manifest("embed"))
    embed.run(CONFIG, copy, 0, Hooks())
    assert bytes_of(copy.stage("embed")) == bytes_of(trained.stage("embed"))


def test_guidance_of_one_is_the_conditional_model_alone(avatars, monkeypatch):
    batches = []
    base = avatars.base

    def spy(x_t, timestep, latent, drop=None):
        batches.append((len(x_t), drop))
        return base.network(x_t, timestep, latent, drop)

    latents = avatars.latents_unconditional([5])
    monkeypatch.setitem(avatars.__dict__, "base", type("Spy", (), {**vars(base), "__call__": staticmethod(spy)})())
    alone = avatars.low_planes(latents, [5], 1.0)
    assert batches == [(1, None)] * CONFIG.base.diffusion.sampling_steps
    batches.clear()
    almost, strong = avatars.low_planes(latents, [5], 1.0 + 1e-7), avatars.low_planes(latents, [5], 6.0)
    assert [count for count, _ in batches] == [2] * 2 * CONFIG.base.diffusion.sampling_steps
    assert torch.allclose(alone, almost, atol=1e-4)
    assert not torch.allclose(alone, strong, atol=1e-4)


def test_a_run_draws_all_its_samples(sampled):
    store = Shards(sampled.stage("sample"), "samples")
    wanted = {"unconditional": 2, "interpolation": 3, "prompt": 5, "trajectory": 2}
    assert len(store) == sum(wanted.values())
    for kind, count in wanted.items():
        assert sum(store.meta(one)["kind"] == kind for one in store.subjects) == count
    meta = store.meta("prompt-0000")
    assert meta["prompt"] == "a person with blond hair"
    assert meta["guidance_scale"] == CONFIG.sample.guidance_scale
    assert meta["generated"] is True
    assert [store.meta(f"trajectory-000{number}")["timestep"] for number in range(2)] == [999, 0]
    size = CONFIG.sample.resolution
    assert store.shape("rgba") == (2, size, size, 4)
    assert np.allclose(np.linalg.norm(store.read("unconditional-0001", "latent")), 1, atol=1e-5)


def test_interpolation_starts_at_one_avatar_and_ends_at_the_other_latent(sampled):
    store = Shards(sampled.stage("sample"), "samples")
    first, middle, last = (f"interpolation-0-0{step}" for step in range(3))
    assert np.allclose(store.read(first, "latent"), store.read("unconditional-0000", "latent"), atol=1e-5)
    assert np.allclose(store.read(last, "latent"), store.read("unconditional-0001", "latent"), atol=1e-5)
    assert np.allclose(store.read(first, "planes"), store.read("unconditional-0000", "planes"), atol=2e-3)
    a, b = (store.read(name, "latent") for name in (first, last))
    between = store.read(middle, "latent")
    assert float(a @ between) == pytest.approx(float(b @ between), abs=1e-4)
    assert [store.meta(name)["blend"] for name in (first, middle, last)] == [0, 0.5, 1]


def test_what_is_stored_of_a_sample_belongs_together(sampled):
    store, avatars = Shards(sampled.stage("sample"), "samples"), Avatars(CONFIG, sampled, torch.device("cpu"))
    for name in ("unconditional-0001", "prompt-0000"):
        seed, latent = store.meta(name)["seed"], torch.from_numpy(store.read(name, "latent"))[None]
        planes = avatars.planes(latent, [seed], CONFIG.sample.guidance_scale)[0]
        assert np.allclose(store.read(name, "planes"), planes.numpy(), atol=2e-3)
        seen = avatars.turn(planes, CONFIG.sample.views, CONFIG.sample.resolution)
        assert np.abs(store.read(name, "rgba").astype(int) - seen).max() <= 2
    meshes = {path.stem for path in (sampled.stage("sample") / "meshes").iterdir()}
    assert meshes <= {"unconditional-0000", "unconditional-0001"}
    last = store.read("trajectory-0001", "planes")  # the end of the reverse process is the avatar itself
    assert np.allclose(last, store.read("unconditional-0000", "planes"), atol=2e-3)


def test_samples_stopped_go_on_where_they_were(sampled, copy):
    asked = iter([False, True])
    with pytest.raises(Stopped):
        sample.run(CONFIG, copy, 0, Hooks(should_stop=lambda: next(asked)))
    seen = []
    sample.run(CONFIG, copy, 0, Hooks(progress=lambda done, total, note: seen.append(done)))
    assert seen[0] == CONFIG.sample.batch
    ours, theirs = Shards(copy.stage("sample"), "samples"), Shards(sampled.stage("sample"), "samples")
    for name in ours.subjects:
        for field in ("planes", "latent", "rgba"):
            assert np.array_equal(ours.read(name, field), theirs.read(name, field)), (name, field)


def test_evaluation_measures_people_samples_and_prompts(sampled):
    evaluate.run(CONFIG, sampled, 0, Hooks())
    rows = read_rows(sampled, "evaluate")
    people = [row for row in rows if row["stage"] == "evaluate"]
    assert [(row["subject"], row["method"]) for row in people] == [
        (subject, method)
        for subject in CONFIG.held_out_subjects()
        for method in ("rodin", "mean person", "nearest person")
    ]
    assert all(np.isfinite([row["psnr"], row["ssim"]]).all() for row in people)
    assert all(row["lpips"] is None and "LPIPS" in row["lpips_reason"] for row in people)
    near = [row for row in rows if row["stage"] == "neighbours"]
    assert [row["sample"] for row in near] == ["unconditional-0000", "unconditional-0001"]
    for row in near:
        assert set(row["neighbours"]) < set(CONFIG.train_subjects())
        assert row["similarity"] == sorted(row["similarity"], reverse=True)
        assert len(row["similarity"]) == CONFIG.evaluate.neighbours
    checks = {row["attribute"]: row for row in rows if row["stage"] == "prompts-check"}
    assert checks["hair"]["accuracy"] == 1.0
    assert checks["hair"]["chance"] == pytest.approx(1 / 3)
    assert "grey" in checks["hair"]["left_out"]
    asked = [row for row in rows if row["stage"] == "prompts"]
    assert [row["sample"] for row in asked] == ["prompt-0000", "prompt-0001", "prompt-0002"]
    assert all(row["hit"] == (row["measured"] == row["wanted"]) for row in asked)
    assert (checks["glasses"]["subjects"], checks["glasses"]["counted"]) == (0, False)  # of nobody here it is known
    copies = [(row["set"], row["name"], row["step"]) for row in rows if row["stage"] == "memorisation"]
    held_out = [("held-out", subject, None) for subject in CONFIG.held_out_subjects()]
    known = [("known copies", subject, None) for subject in CONFIG.train_subjects()]
    assert copies == held_out + known + [("samples", row["sample"], CONFIG.base.training.steps) for row in near]
    similar = [row["similarity"] for row in rows if row.get("set") == "samples"]
    assert similar == pytest.approx([row["similarity"][0] for row in near], abs=1e-5)
    assert next(row["subjects"] for row in rows if row["stage"] == "frechet") == CONFIG.data.subjects


def test_the_mean_person_is_measured_as_the_mean_of_all_training_planes(sampled):
    evaluate.run(CONFIG, sampled, 0, Hooks())
    planes, views = Shards(sampled.stage("fit"), "planes"), Shards(sampled.stage("render"), "views")
    stack = np.stack([planes.read(subject, "planes").astype(np.float64) for subject in CONFIG.train_subjects()])
    subject = CONFIG.held_out_subjects()[0]
    compare = ViewComparison(Avatars(CONFIG, sampled), views, CONFIG.evaluate.views)
    values, _ = compare(subject, torch.from_numpy(stack.mean(axis=0)).float())
    rows = read_rows(sampled, "evaluate")
    row = next(row for row in rows if row.get("method") == "mean person" and row["subject"] == subject)
    assert row["psnr"] == pytest.approx(values["psnr"], abs=1e-3)


def test_guidance_scales_are_measured_on_the_same_people_and_noise(sampled):
    evaluate.run(CONFIG, sampled, 0, Hooks())
    for shard in range(CONFIG.shards("sweep-cfg")):
        sweep_cfg.run(CONFIG, sampled, shard, Hooks())
        assert manifest.complete(sampled.manifest("sweep-cfg", shard))
    rows = read_rows(sampled, "sweep-cfg")
    found = [(row["guidance_scale"], row["subject"]) for row in rows]
    assert found == [(scale, subject) for scale in (1.0, 3.0) for subject in CONFIG.held_out_subjects()]
    assert len({row["psnr"] for row in rows}) == len(rows)


def test_the_convolution_sweep_trains_its_own_upsampler(trained):
    sweep_convolution.run(CONFIG, trained, 3, Hooks())
    rows = read_rows(trained, "sweep-convolution")
    assert [(row["roll_out"], row["aware"], row["subject"]) for row in rows] == [
        (False, False, CONFIG.held_out_subjects()[0])
    ]
    alone = read_rows(trained, "sweep-convolution-alone")
    assert [(row["roll_out"], row["aware"], row["subject"]) for row in alone] == [(False, False, PEOPLE[0])]
    assert np.isfinite(alone[0]["psnr"])
    own = load_upsampler(trained, None, trained.stage("sweep-convolution") / "upsampler-3")
    assert (own.settings["roll_out"], own.settings["aware"]) == (False, False)
    assert Shards(trained.stage("sweep-convolution"), "samples").subjects == [CONFIG.held_out_subjects()[0]]


@pytest.mark.parametrize("shard", range(4))
def test_each_variant_of_the_convolution_sweep_differs_in_its_own_flags_alone(shard, copy, monkeypatch):
    seen, folder = {}, copy.stage("sweep-convolution")
    folder.unlink(missing_ok=True)  # a link to what another test has measured
    monkeypatch.setattr(
        sweep_convolution, "train_upsampler", lambda config, output, hooks: seen.update(config=config, output=output)
    )
    monkeypatch.setattr(sweep_convolution, "upsampled_rows", lambda avatars, views, fields, hooks: [])
    monkeypatch.setattr(
        sweep_convolution, "measure_shard", lambda *place, **given: seen.update(place=place, given=given)
    )
    refined = CONFIG.model_copy(update={"refine": CONFIG.refine.model_copy(update={"enabled": True})})
    sweep_convolution.run(refined, copy, shard, Hooks())
    flags = {"roll_out": shard in (0, 1), "aware": shard in (0, 2)}
    config, avatars = seen["config"], seen["given"]["avatars"]
    assert config.upsample == CONFIG.upsample.model_copy(update=flags)
    assert config.base == CONFIG.base
    assert seen["given"]["fields"] == flags
    assert seen["given"]["scale"] == CONFIG.sample.guidance_scale
    assert not avatars.config.refine.enabled
    assert avatars.upsampler == seen["output"].path == folder / f"upsampler-{shard}"
    assert seen["place"][1:] == ("sweep-convolution", shard, CONFIG.held_out_subjects()[: CONFIG.sweeps.fit_subjects])


def test_unit_brings_latents_to_the_sphere():
    assert torch.allclose(unit(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))
