"""Division into shards, and configs whose networks could not be built."""

import pytest

from rodin.config.shards import shard_count, shard_of
from rodin.presets import preset


@pytest.mark.parametrize(("items", "size"), [(0, 3), (1, 3), (3, 3), (4, 3), (7, 1), (64, 64), (65, 64)])
def test_every_item_is_in_one_shard_and_no_shard_is_empty(items: int, size: int):
    shards = [shard_of(range(items), number, size) for number in range(shard_count(items, size))]
    assert [item for shard in shards for item in shard] == list(range(items))
    assert all(0 < len(shard) <= size for shard in shards)
    assert all(len(shard) == size for shard in shards[:-1])


def test_held_out_subjects_are_rendered_and_embedded_but_not_fitted():
    config = preset("tiny", ["data.subjects=5", "data.held_out=3", "data.shard_subjects=4"])
    for stage in ("render", "import", "embed"):
        assert [len(config.subjects_of(stage, shard)) for shard in range(2)] == [4, 4]
    assert config.shards("render") == config.shards("import") == config.shards("fit") == 2
    assert config.subjects_of("fit", 1) == ["000004"]
    assert config.shards("embed") == 1


@pytest.mark.parametrize(
    ("wanted", "held_out", "measured"), [(10, 3, 3), (2, 3, 2), (4, 0, 0)], ids=["few", "many", "none"]
)
def test_measured_subjects_are_held_out_ones_and_a_sweep_has_a_shard_even_without(wanted, held_out, measured):
    changes = [f"evaluate.subjects={wanted}", f"data.held_out={held_out}", "sweeps.shard_subjects=2"]
    config = preset("tiny", changes)
    assert config.measured_count() == measured
    assert config.shards("sweep-cfg") == len(config.sweeps.guidance_scales) * max(1, -(-measured // 2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["base.head_channels=12"],
            "base.head_channels 12 does not divide the 32 channels of the level with attention at",
        ),
        (["base.attention=[]", "base.head_channels=12"], "does not divide the 32 channels"),  # of the middle
        (["base.multipliers=[1,2,2,2,2]"], "triplane.base_resolution 8 cannot be halved 4 times"),
        (["upsample.channels=15"], "upsample.channels 15 is not a multiple of 2"),
        (["prior.heads=3"], "prior.width 32 is not a multiple of prior.heads 3"),
    ],
)
def test_a_config_whose_networks_cannot_be_built_is_refused(changes: list[str], words: str):
    with pytest.raises(ValueError, match=words):
        preset("tiny", changes)


def test_levels_without_attention_may_have_any_channels():
    assert preset("tiny", ["base.attention=[]", "base.multipliers=[3,2]", "base.head_channels=32"])


def test_the_ablation_of_convolutions_has_a_shard_for_each_upsampler():
    from jobs.graph.stages.sweeps import UPSAMPLERS
    from rodin.stages.sweeps.convolution import VARIANTS

    assert preset("paper").shards("sweep-convolution") == len(VARIANTS) == len(set(VARIANTS)) == UPSAMPLERS
