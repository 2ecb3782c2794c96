"""Which avatars stage `sample` draws, from which seeds, and how their latents come about."""

import pytest
import torch
from fixtures.small_run import CONFIG

from rodin.evaluation.prompts import Prompt
from rodin.generate.latents import interpolate, unit
from rodin.presets import preset
from rodin.stages.sample import PlannedSample, batches, drawn_samples, planned_items, sample_latents, stored_meta


def planned(*overrides):
    counts = {"unconditional": 5, "interpolations": 2, "interpolation_steps": 3, "trajectory_steps": 3, "prompts": 3}
    config = preset("tiny", [*(f"sample.{name}={count}" for name, count in counts.items()), *overrides])
    prompts = [Prompt(f"text {number}", "hair", "red") for number in range(config.sample.prompts)]
    items = planned_items(config, prompts)
    assert len(items) == config.sample_count()
    return items


def test_every_avatar_has_its_own_seed_and_follows_from_the_run_s():
    items = planned()
    drawn = [one for item in items for one in item if one.kind in ("unconditional", "prompt")]
    assert len({one.seed for one in drawn}) == len(drawn) == 8
    assert [one.seed for item in planned() for one in item] == [one.seed for item in items for one in item]
    others = {one.seed for item in planned("seed=1") for one in item}
    assert not others & {one.seed for one in drawn}


def test_interpolations_go_from_one_unconditional_avatar_to_another():
    items = planned()
    unconditional = [item[0] for item in items[:5]]
    for pair, (first, last) in enumerate(((0, 2), (1, 3))):
        row = items[5 + pair]
        assert [one.name for one in row] == [f"interpolation-{pair}-{step:02d}" for step in range(3)]
        assert [one.meta["blend"] for one in row] == [0, 0.5, 1]
        assert {tuple(one.latent_seeds) for one in row} == {(unconditional[first].seed, unconditional[last].seed)}
        assert {one.seed for one in row} == {unconditional[first].seed}


def test_the_reverse_process_is_the_first_avatar_s_from_its_first_step_to_its_last():
    items = planned("base.diffusion.sampling_steps=9")
    assert [one.meta["step"] for one in items[-1]] == [0, 4, 8]
    assert {one.seed for one in items[-1]} == {items[0][0].seed}
    assert len(planned("base.diffusion.sampling_steps=2")[-1]) == 2


def test_prompts_keep_their_text_and_what_it_asks_for():
    prompts = [item[0] for item in planned() if item[0].kind == "prompt"]
    assert [one.meta for one in prompts] == [
        {"prompt": f"text {number}", "attribute": "hair", "colour": "red"} for number in range(3)
    ]


def test_an_attribute_prompt_and_its_control_differ_in_their_words_alone():
    config = preset("tiny", ["sample.prompts=2", "sample.attribute_prompts=2"])
    asked = [Prompt("text", "hair", "red")] * 2
    asked += [Prompt(f"text {n}", present={"hat": n % 2 == 0}, pair=n // 2) for n in range(4)]
    items = planned_items(config, asked)
    assert len(items) == config.sample_count()
    colour, _, *rest = [item[0] for item in items if item[0].kind == "prompt"]
    assert rest[0].seed == rest[1].seed != rest[2].seed == rest[3].seed
    assert len({colour.seed, rest[0].seed, rest[2].seed}) == 3
    assert [(one.meta["pair"], one.meta["present"]) for one in rest[:2]] == [(0, {"hat": True}), (0, {"hat": False})]
    assert not {"pair", "present"} & colour.meta.keys()


def test_batches_hold_what_is_missing_and_the_reverse_process_and_prompts_apart():
    rows = [one for item in planned() for one in item]
    done = {"unconditional-0001", "trajectory-0000"}
    made = batches(rows, {one.name for one in rows} - done, 4)
    assert [one.name for batch in made for one in batch] == [one.name for one in rows if one.name not in done]
    assert {one.kind for one in made[-1]} == {"trajectory"}
    assert {one.kind for one in made[-2]} == {"prompt"}
    assert [len(batch) for batch in made] == [4, 4, 2, 3, 2]


class FakeAvatars:
    """Latents that say what they were made of."""

    def latents_unconditional(self, seeds):
        return unit(torch.stack([torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]))

    config = CONFIG

    def prior_latents(self, texts, seeds):
        return torch.stack([self.text(text, seed) for text, seed in zip(texts, seeds, strict=True)])

    def planes(self, latents, seeds, scale, on_step=None):
        return scale * latents + torch.tensor(seeds)[:, None]

    @staticmethod
    def text(text, seed):
        return unit(torch.tensor([float(len(text)), float(seed), 1, 0, 0, 0, 0, 0]))


def test_every_kind_gets_the_latent_it_is_named_after():
    avatars = FakeAvatars()
    first, last = avatars.latents_unconditional([3, 4])
    rows = [
        PlannedSample("b", "interpolation", 3, {"blend": 0.25, "ends": [3, 4]}),
        PlannedSample("c", "unconditional", 4),
        PlannedSample("e", "trajectory", 3, {"step": 0}),
    ]
    wanted = torch.stack([interpolate(first, last, 0.25), last, first])
    torch.testing.assert_close(sample_latents(avatars, rows), wanted)
    latents, planes = drawn_samples(avatars, rows[:2])
    torch.testing.assert_close(latents, wanted[:2])
    torch.testing.assert_close(planes, CONFIG.sample.guidance_scale * latents + torch.tensor([3, 4])[:, None])
    texts = [PlannedSample(text, "prompt", seed, {"prompt": text}) for text, seed in (("a man", 9), ("a woman", 8))]
    latents, planes = drawn_samples(avatars, texts)
    torch.testing.assert_close(latents, torch.stack([avatars.text("a man", 9), avatars.text("a woman", 8)]))
    torch.testing.assert_close(planes, CONFIG.sample.guidance_scale * latents + torch.tensor([9, 8])[:, None])


@pytest.mark.parametrize("kind", ["unconditional", "prompt"])
def test_what_is_stored_says_how_it_was_drawn_and_that_it_is_generated(kind):
    meta = stored_meta(CONFIG, PlannedSample("a", kind, 5, {"prompt": "x"}))
    assert meta == {
        "kind": kind,
        "seed": 5,
        "guidance_scale": CONFIG.sample.guidance_scale,
        "generated": True,
        "prompt": "x",
    }
