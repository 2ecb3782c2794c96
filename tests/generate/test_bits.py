"""An avatar is the same whatever is drawn with it, by whom and on what: to the last bit on a CPU."""

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG

from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.stages import sample
from rodin.store.shards.reader import Shards


def test_an_avatar_does_not_depend_on_its_batch(avatars):
    """To the last bit, on a CPU."""
    seeds = [11, 12, 13]
    latents = avatars.latents_unconditional(seeds)
    assert torch.allclose(latents.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.equal(latents[1:2], avatars.latents_unconditional([12]))
    texts = ["a person with red hair", "a person in a green shirt"]
    assert torch.equal(avatars.prior_latents(texts, [1, 2])[1:], avatars.prior_latents(texts[1:], [2]))
    together = avatars.planes(latents, seeds, 2.0)
    assert together.abs().max() <= 1
    assert torch.equal(together[2:], avatars.planes(latents[2:], [13], 2.0))
    assert not torch.allclose(together[1], together[2], atol=1e-2)


def test_samples_do_not_depend_on_how_the_work_is_dealt_out(sampled, copy):
    """Other shards and other batches, as other ranks would draw them: the same bits."""
    dealt = CONFIG.model_copy(update={"sample": CONFIG.sample.model_copy(update={"batch": 3, "shard_samples": 2})})
    for shard in range(2):
        sample.run(dealt, copy, shard, Hooks())
    ours, theirs = Shards(copy.stage("sample"), "samples"), Shards(sampled.stage("sample"), "samples")
    assert len(ours.subjects) > 2
    for name in ours.subjects:
        for field in ("planes", "latent", "rgba"):
            assert np.array_equal(ours.read(name, field), theirs.read(name, field)), (name, field)


@pytest.mark.gpu
def test_a_gpu_draws_the_same_avatars_whatever_the_batch(trained, avatars):
    """Nearly: a GPU adds up in an order that depends on the batch."""
    there, seeds = Avatars(CONFIG, trained, torch.device("cuda")), [11, 12, 13]
    latents = avatars.latents_unconditional(seeds)
    assert torch.allclose(there.latents_unconditional(seeds).cpu(), latents, atol=1e-3)
    together = there.planes(latents, seeds, 2.0)
    assert torch.allclose(together[2:], there.planes(latents[2:], [13], 2.0), atol=1e-2)
    assert torch.allclose(together.cpu(), avatars.planes(latents, seeds, 2.0), atol=1e-2)


def test_bfloat16_networks_draw_nearly_the_same(avatars):
    brief = CONFIG.model_copy(update={"sample": CONFIG.sample.model_copy(update={"precision": "bfloat16"})})
    latents = avatars.latents_unconditional([3])
    exact, rough = avatars.planes(latents, [3], 1.5), Avatars(brief, avatars.folder).planes(latents, [3], 1.5)
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert (exact - rough).square().mean().sqrt() < 0.05 * exact.std()
