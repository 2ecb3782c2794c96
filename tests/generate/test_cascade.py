"""The cascade: what a sampler is asked for, which seeds and conditions each model gets, and which candidate is kept."""

import dataclasses

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG

from rodin.config import Diffusion
from rodin.data.rows import noising_settings, schedule_of, trained_noising
from rodin.diffusion.clips import dynamic
from rodin.diffusion.curves import EARLIER
from rodin.diffusion.schedule import Schedule
from rodin.field.planes import mirrored, resize
from rodin.generate.cascade import Avatars
from rodin.generate.drawing import draw_samples, guided_timesteps
from rodin.generate.reranking import drawn_from_text
from rodin.store.shards.reader import Shards
from rodin.train.data.normaliser import Normaliser

CPU = torch.device("cpu")
NORMALISER = Normaliser([1.0, -2.0, 0.5], [2.0, 4.0, 1.0], 0.5, axis=1, low=-3.0, high=3.0)


@pytest.mark.parametrize("predicts", ["x0", "eps", "v"])
@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_a_model_that_knows_the_answer_gives_it_in_the_data_s_units(predicts, sampler):
    settings = Diffusion(predicts=predicts, sampler=sampler, sampling_steps=4)
    truth = torch.tensor([[0.5, -1.0, 0.25], [1.0, 2.0, -1.0]])
    schedule, steps = Schedule.named(settings.schedule, settings.timesteps), []

    def model(x_t, timestep, latent):
        x0 = NORMALISER.to_model(latent)
        if predicts == "x0":
            return x0
        alpha_bar = schedule.alpha_bar[timestep].to(x_t)[:, None]
        eps = (x_t - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()
        return eps if predicts == "eps" else alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * x0

    def on_step(step, timestep, x0):
        steps.append((step, timestep))
        torch.testing.assert_close(x0, truth, atol=1e-3, rtol=0)

    drawn = draw_samples(model, NORMALISER, settings, (3,), [1, 2], latent=truth, device=CPU, on_step=on_step)
    torch.testing.assert_close(drawn, truth, atol=1e-3, rtol=0)
    assert [step for step, _ in steps] == [0, 1, 2, 3]
    assert [timestep for _, timestep in steps] == [999, 666, 333, 0]


CLIPS = {  # of [9, 9, 0.9], whose means are 1, -2 and 0.5 and standard deviations 2, 4 and 1
    "off": [9.0, 9.0, 0.9],
    "range": [3.0, 3.0, 0.9],
    True: [3.0, 3.0, 0.9],  # as run.toml of earlier versions says it
    False: [9.0, 9.0, 0.9],
    "texel": [1.5, 2.5, 0.9],
    "std": [1 + 1.5 * 2, -2 + 1.5 * 4, 0.9],
    # 4, 2.75 and 0.4 standard deviations: two thirds lie within 2.75, which becomes 1.5
    "dynamic": [1 + 1.5 * 2, -2 + 1.5 * 4, 0.5 + 0.4 * 1.5 / 2.75],
}


@pytest.mark.parametrize("clip", CLIPS)
def test_samples_are_clipped_as_is_asked(clip):
    settings = Diffusion(predicts="x0", sampler="ddim", sampling_steps=2, clip=clip, clip_std=1.5, clip_share=0.6)
    bounds = torch.tensor([0.0, -1.0, 0.5]), torch.tensor([1.5, 2.5, 1.0])
    normaliser = Normaliser(**NORMALISER.state() | dict(zip(("least", "greatest"), bounds, strict=True)))
    far = normaliser.to_model(torch.tensor([[9.0, 9.0, 0.9]]))
    drawn = draw_samples(lambda x_t, timestep, latent: far, normaliser, settings, (3,), [0], device=CPU)
    torch.testing.assert_close(drawn, torch.tensor([CLIPS[clip]]))


def test_a_model_of_an_earlier_version_is_sampled_as_before():
    state = {name: NORMALISER.state()[name] for name in ("mean", "std", "target", "axis", "low", "high")}
    settings = Diffusion(predicts="x0", sampler="ddim", sampling_steps=2)
    assert settings.clip == "texel"
    far = NORMALISER.to_model(torch.full((1, 3), 9.0))
    drawn = draw_samples(lambda x_t, timestep, latent: far, Normaliser(**state), settings, (3,), [0], device=CPU)
    torch.testing.assert_close(drawn, torch.full((1, 3), 3.0))


def test_a_noise_level_of_the_interval_is_guided():
    settings = Diffusion(guidance_interval=(0.28, 2.9))
    guides = guided_timesteps(settings, CPU)
    alpha_bar = Schedule.linear(1000).alpha_bar
    for timestep in (0, 100, 400, 700, 999):
        level = ((1 - alpha_bar[timestep]) / alpha_bar[timestep]).sqrt().item()
        assert bool(guides[timestep]) == (0.28 < level <= 2.9)
    assert 300 < guides.sum() < 600
    assert guided_timesteps(Diffusion(), CPU) is None
    stronger = guided_timesteps(settings.model_copy(update={"schedule": "cosine"}), CPU)
    assert stronger.nonzero().max() < guides.nonzero().max()


def test_a_model_is_sampled_with_the_curve_it_was_trained_with():
    """Whatever the config says today; a file of an earlier version has no curve, and means that version's."""
    trained = Diffusion(schedule="cosine", schedule_tau=2.0)
    settings = Diffusion(schedule="sigmoid", schedule_tau=0.5).model_copy(
        update=trained_noising(noising_settings(trained))
    )
    assert torch.equal(schedule_of(settings, CPU).alpha_bar, Schedule.named("cosine", 1000, 0.2, 1, 2).alpha_bar)
    for name in ("cosine", "sigmoid"):
        older = trained_noising({"timesteps": 1000, "schedule": name, "predicts": "eps"})
        found = schedule_of(settings.model_copy(update=older), CPU)
        assert torch.equal(found.alpha_bar, Schedule.named(name, 1000, *EARLIER[name]).alpha_bar)
    linear = noising_settings(Diffusion(schedule_tau=2.0))
    assert linear == {"timesteps": 1000, "schedule": "linear", "predicts": "eps"}
    assert trained_noising(linear) == linear


def test_dynamic_thresholding_looks_at_each_sample_alone():
    x0 = torch.tensor([[0.2, -0.5, 0.9, 1.2], [-2.0, 4.0, 1.0, 40.0]])
    torch.testing.assert_close(dynamic(x0, 1.0, 0.75), torch.tensor([[0.2, -0.5, 0.9, 1.0], [-0.5, 1.0, 0.25, 1.0]]))
    torch.testing.assert_close(dynamic(x0, 1.0, 1.0)[1], x0[1] / 40)


@pytest.fixture
def spied(avatars, monkeypatch):
    """A cascade of its own, and a list of what each sampling was asked for and gave."""
    config = CONFIG.model_copy(update={"prior": CONFIG.prior.model_copy(update={"best_of": 4})})
    fresh, calls = Avatars(config, avatars.folder, CPU), []
    original = fresh._draw

    def spy(model, loaded, settings, shape, seeds, **named):
        drawn = original(model, loaded, settings, shape, seeds, **named)
        calls.append({"loaded": loaded, "seeds": list(seeds), "drawn": drawn, "latent": named.get("latent")})
        return drawn

    monkeypatch.setattr(fresh, "_draw", spy)
    return fresh, calls


def test_of_all_candidates_each_text_gets_the_nearest(spied, monkeypatch):
    fresh, _ = spied
    candidates = torch.nn.functional.normalize(
        torch.randn(4, 4, 16, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    attempts = iter(candidates)
    monkeypatch.setattr(fresh, "_draw", lambda *_, **__: 3 * next(attempts))  # `unit` makes them candidates again
    texts = ["a person with red hair", "a person in a green shirt", "a man", "a person in a blue shirt"]
    best = fresh.prior_latents(texts, [1, 2, 3, 4])
    assert next(attempts, None) is None
    wanted = torch.cat([fresh.clip.text([text])[0] for text in texts])
    similarity = (candidates * wanted).sum(dim=-1)
    torch.testing.assert_close((best * wanted).sum(dim=-1), similarity.max(dim=0).values)
    assert len(similarity.argmax(dim=0).unique()) > 1


def test_of_all_avatars_each_text_keeps_the_one_whose_picture_is_nearest(avatars, monkeypatch):
    texts = ["a person with red hair", "a man in a green shirt", "a woman", "a man", "a person", "a girl"]
    seeds, draws = [3, 5, 8, 13, 21, 34], 3
    config = avatars.config.model_copy(update={"prior": avatars.config.prior.model_copy(update={"rerank": draws})})

    # networks as little trained as these draw the same for all
    def latents_of(_, prompts, seeds, draw=0, embedded=None):
        noise = [torch.randn(16, generator=torch.Generator().manual_seed(3 * seed + draw)) for seed in seeds]
        return torch.nn.functional.normalize(torch.stack(noise), dim=-1)

    def planes_of(_, latents, seeds, scale, on_step=None):
        assert scale == config.sample.guidance_scale
        return (60 * latents + torch.tensor(seeds)[:, None]).sin()

    def picture_of(_, planes, views, resolution):
        return (127 * planes[:, None, None] + 128).expand(16, 16, 4).numpy().astype(np.uint8)[None]

    monkeypatch.setattr(Avatars, "prior_latents", latents_of)
    monkeypatch.setattr(Avatars, "planes", planes_of)
    monkeypatch.setattr(Avatars, "turn", picture_of)
    monkeypatch.setattr(
        Avatars, "latent_from_image", lambda _, rgba: torch.from_numpy(rgba[None, :, 0, 0]).float() - 128
    )
    ranking = Avatars(config, avatars.folder, avatars.device)
    (chosen, drawn), places = drawn_from_text(ranking, texts, seeds), []
    assert torch.equal(drawn, avatars.planes(chosen, seeds, config.sample.guidance_scale))
    for text, seed, latent in zip(texts, seeds, chosen, strict=True):
        candidates = torch.cat([avatars.prior_latents([text], [seed], draw) for draw in range(draws)])
        pictures = [
            avatars.turn(avatars.planes(one[None], [seed], config.sample.guidance_scale)[0], 1, config.data.resolution)
            for one in candidates
        ]
        wanted = avatars.clip.text([text])[0][0]
        likeness = [float(avatars.latent_from_image(picture[0])[0] @ wanted) for picture in pictures]
        places.append(int(np.argmax(likeness)))
        torch.testing.assert_close(latent, candidates[places[-1]], atol=1e-5, rtol=1e-4)
        assert len({tuple(one.tolist()) for one in candidates}) == draws
    assert len(set(places)) > 1
    assert torch.equal(drawn_from_text(avatars, texts, seeds)[0], avatars.prior_latents(texts, seeds, 0))


def test_ranked_texts_are_embedded_once_and_no_avatar_is_drawn_twice(spied, monkeypatch):
    fresh, calls = spied
    ranked = fresh.config.prior.model_copy(update={"rerank": 3, "best_of": 2})
    fresh.config = fresh.config.model_copy(update={"prior": ranked})
    texts, seeds, read, steps = ["a man", "a woman with red hair", "a girl"], [3, 4, 5], [], []
    real = fresh.clip.text
    monkeypatch.setattr(fresh.clip, "text", lambda some: read.append(some) or real(some))
    latents, planes = drawn_from_text(fresh, texts, seeds, lambda step, *_: steps.append(step))
    assert read == [[text] for text in texts]
    passes = 3 * -(-len(texts) // fresh.config.sample.batch)
    assert sum(call["loaded"] is fresh.base for call in calls) == passes
    assert len(steps) == passes * fresh.config.base.diffusion.sampling_steps
    assert torch.equal(planes, fresh.planes(latents, seeds, fresh.config.sample.guidance_scale))


def test_the_prior_is_guided_where_asked(avatars):
    drawn = {}

    def prior(z_t, timestep, text, tokens, mask, drop):
        away = torch.zeros(len(z_t), dtype=torch.bool) if drop is None else drop
        return torch.where(away[:, None], z_t.new_tensor([0.0] * 8 + [1.0] * 8), z_t.new_tensor([1.0] * 8 + [0.0] * 8))

    for scale, interval in ((1.0, None), (3.0, None), (3.0, (1e6, 1e7))):
        diffusion = avatars.config.prior.diffusion.model_copy(update={"guidance_interval": interval})
        changes = {"guidance_scale": scale, "diffusion": diffusion}
        config = avatars.config.model_copy(update={"prior": avatars.config.prior.model_copy(update=changes)})
        fresh = Avatars(config, avatars.folder, CPU)
        plain = Normaliser([0.0] * 16, [1.0] * 16, 1.0, axis=1)
        fresh.__dict__["_prior"] = dataclasses.replace(avatars._prior, network=prior, normaliser=plain)
        drawn[scale, interval] = fresh.prior_latents(["a man"], [3])[0]
    towards = torch.tensor([3.0] * 8 + [-2.0] * 8)  # u + 3 (c - u)
    torch.testing.assert_close(drawn[1.0, None], torch.tensor([1.0] * 8 + [0.0] * 8) / 8**0.5)
    torch.testing.assert_close(drawn[3.0, None], towards / towards.norm())
    assert torch.equal(drawn[3.0, (1e6, 1e7)], drawn[1.0, None])


def test_every_model_and_every_candidate_has_noise_of_its_own(spied):
    fresh, calls = spied
    latents = fresh.latents_unconditional([7, 8])
    fresh.prior_latents(["a man", "a woman"], [7, 8])
    fresh.planes(latents, [7, 8], 1.5)
    seeds = [seed for call in calls for seed in call["seeds"]]
    assert len(calls) == 1 + 4 + 2
    assert len(set(seeds)) == len(seeds)


def test_the_upsampler_is_conditioned_on_the_normalised_low_planes(spied):
    fresh, calls = spied
    latents = fresh.latents_unconditional([7])
    fresh.planes(latents, [7], 1.5)
    base, upsample = calls[-2:]
    mean, std = (upsample["loaded"].normaliser.state()[name] for name in ("mean", "std"))
    low = base["drawn"].clamp(-1, 1)
    wanted = (low - resize(torch.as_tensor(mean)[None], low.shape[-1])) * 0.5 / torch.as_tensor(std)[:, None, None]
    torch.testing.assert_close(upsample["latent"][0], wanted, atol=1e-4, rtol=1e-4)
    assert torch.equal(base["latent"], latents)
    assert len(upsample["latent"]) == 1  # one that learned without a latent is given none
    fresh.upsampled(3 * base["drawn"], latents, [7])
    outside = (3 * base["drawn"]).clamp(-1, 1) - low
    shift = outside * 0.5 / torch.as_tensor(std)[:, None, None]
    assert outside.abs().max() > 0.1
    torch.testing.assert_close(calls[-1]["latent"][0] - upsample["latent"][0], shift, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("predicts", "steps"), [("eps", 4), ("x0", 1), ("v", 1)])
def test_planes_are_predicted_unguided_in_one_step_or_in_four_of_noise(avatars, monkeypatch, predicts, steps):
    fresh, asked = Avatars(avatars.config, avatars.folder, CPU), []
    fresh.__dict__["base"] = dataclasses.replace(
        avatars.base, diffusion=avatars.base.diffusion | {"predicts": predicts}
    )

    def drawn(model, loaded, settings, shape, seeds, latent, gradients, on_step=None):
        asked.append((loaded, settings.sampling_steps, gradients))
        return torch.zeros(len(seeds), *shape)

    monkeypatch.setattr(fresh, "_draw", drawn)
    monkeypatch.setattr(fresh, "_guided", lambda *named: asked.append(named[-1]))
    fresh.predicted(torch.ones(2, fresh.latent_width), [3, 4], gradients=predicts == "x0")
    assert asked == [1.0, (fresh.base, steps, predicts == "x0"), (fresh._upsampler, 1, predicts == "x0")]


@pytest.mark.parametrize(("model", "field"), [("base", "base"), ("_upsampler", "planes")])
def test_models_of_people_and_their_mirror_images_are_clipped_to_the_range_of_both(trained, model, field):
    fits = Shards(trained.stage("fit"), "planes")
    people = torch.stack([torch.from_numpy(fits.read(subject, field)).float() for subject in fits])
    everybody = torch.cat([people, mirrored(people, torch.ones(len(people), dtype=torch.bool))])
    for share, seen in ((0.0, people), (0.5, everybody)):
        config = CONFIG.model_copy(update={"base": CONFIG.base.model_copy(update={"mirror": share})})
        normaliser = getattr(Avatars(config, trained, torch.device("cpu")), model).normaliser
        wild = torch.linspace(-3, 3, people[0].numel()).view(people[:1].shape)
        clipped = normaliser.from_model(normaliser.clip_entries(normaliser.to_model(wild)))
        torch.testing.assert_close(clipped, wild.clamp(seen.amin(0), seen.amax(0)), atol=1e-5, rtol=0)


def test_a_turn_starts_at_the_front_and_is_seen_from_all_sides(avatars):
    planes = avatars.planes(avatars.latents_unconditional([5]), [5], 1.5)[0]
    four, one = avatars.turn(planes, 4, 24), avatars.turn(planes, 1, 24)
    assert np.array_equal(four[0], one[0])
    assert all(not np.array_equal(four[0], other) for other in four[1:])


def test_the_config_s_refiner_is_used_only_where_enabled(avatars, monkeypatch):
    planes = avatars.planes(avatars.latents_unconditional([5]), [5], 1.5)[0]
    plain = avatars.turn(planes, 1, 24)
    monkeypatch.setattr("rodin.generate.cascade.load_refiner", lambda *_: lambda images: torch.zeros_like(images))
    assert np.array_equal(Avatars(CONFIG, avatars.folder, CPU).turn(planes, 1, 24), plain)
    enabled = CONFIG.model_copy(update={"refine": CONFIG.refine.model_copy(update={"enabled": True})})
    dark = Avatars(enabled, avatars.folder, CPU).turn(planes, 1, 24)
    assert np.array_equal(dark[..., 3], plain[..., 3])
    assert dark[..., :3][plain[..., 3] > 200].max() == 0
