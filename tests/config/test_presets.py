"""Presets are whole, overrides are checked, and a config survives its file."""

import re

import pytest

from rodin.config import Config
from rodin.presets import PRESETS, describe, differences, load, preset
from rodin.presets.toml import from_toml, to_toml


def test_the_paper_preset_holds_the_papers_numbers():
    paper = PRESETS["paper"]
    assert (paper.data.subjects, paper.data.held_out, paper.data.views, paper.data.resolution) == (
        100_000,
        1_000,
        300,
        256,
    )
    assert (paper.triplane.channels, paper.triplane.resolution, paper.triplane.base_resolution) == (32, 256, 64)
    assert (paper.decoder.subjects, paper.triplane.decoder_layers, paper.fit.min_rescale) == (1_000, 4, 64)
    assert (paper.base.channels, paper.base.training.batch, paper.base.training.lr) == (192, 48, 5e-5)
    assert (paper.upsample.training.batch, paper.upsample.training.lr) == (16, 5e-5)
    assert (paper.latent.layers, paper.latent.hidden, paper.latent.training.batch, paper.latent.training.lr) == (
        20,
        2048,
        96,
        4e-5,
    )
    assert (paper.prior.training.batch, paper.prior.training.lr, paper.prior.best_of) == (96, 4e-5, 2)
    for model, timesteps in ((paper.base, 1000), (paper.upsample, 100), (paper.latent, 1000), (paper.prior, 1000)):
        assert model.diffusion.timesteps == timesteps
        assert model.diffusion.schedule == "linear"
        assert model.diffusion.sampling_steps == 100
        assert model.training.ema == 0.9999
    assert paper.sweeps.guidance_scales == (1.0, 1.2, 1.5, 3.0, 6.0)
    assert paper.sweeps.plane_resolutions == (64, 128, 256, 384, 512)


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_survives_its_file(name, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(to_toml(PRESETS[name]))
    assert from_toml(file) == PRESETS[name]


def test_every_key_is_documented_with_its_source():
    undocumented = [key for key, text in describe().items() if not text]
    assert undocumented == []
    source = re.compile(r"\bR\d+|\bours\b|\bB\.\d|\bpaper\b", re.IGNORECASE)
    assert [key for key, text in describe().items() if not source.search(text)] == []
    assert [key for key, text in describe().items() if "\n" in text] == []


def test_the_words_that_a_key_takes_are_told():
    assert describe()["data.device"].endswith("; one of CPU, CUDA, OPTIX")
    assert describe()["base.diffusion.clip"].endswith("; one of off, range, texel, std, dynamic")
    assert "one of" not in describe()["fit.steps"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.step=3", "did you mean 'fit.steps'"),
        ("fit.steps=abc", "fit.steps: got 'abc'"),
        ("fit.steps=0", "fit.steps: got 0"),
        ("fit.steps=2.5", "fit.steps: got 2.5"),
        ("fit.lr=NaN", "fit.lr"),
        ("fit=3", "is a section"),
        ("fit.steps", "wanted key=value"),
        ("=3", "wanted key=value"),
        ("triplane.resolution=65", "not a multiple"),
        ("fit.held_out_views=24", "leaves none"),
        ("base.diffusion.schedule=quadratic", "base.diffusion.schedule: got 'quadratic'"),
        ("seed.x=3", "unknown key 'seed.x'"),
    ],
)
def test_a_wrong_override_is_one_clear_line(override, message):
    with pytest.raises(ValueError) as caught:
        preset("demo", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_take_json_words_and_none():
    config = preset(
        "demo", ["fit.steps=7", "base.multipliers=[1, 3]", "fit.target_psnr=none", "base.diffusion.schedule=cosine"]
    )
    assert config.fit.steps == 7
    assert config.base.multipliers == (1, 3)
    assert config.fit.target_psnr is None
    assert config.base.diffusion.schedule == "cosine"
    assert set(differences(PRESETS["demo"], config)) == {"fit.steps", "base.multipliers", "base.diffusion.schedule"}


def test_unknown_preset_and_unknown_key_name_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'demo'"):
        preset("dem")
    with pytest.raises(ValueError, match="unknown key 'fit.stepz'"):
        load({"preset": "x", "fit": {"stepz": 1}})


@pytest.mark.parametrize("name", PRESETS)
def test_shards_hold_each_person_once(name):
    config: Config = PRESETS[name]
    rendered = [subject for shard in range(config.shards("render")) for subject in config.subjects_of("render", shard)]
    fitted = [subject for shard in range(config.shards("fit")) for subject in config.subjects_of("fit", shard)]
    assert rendered == config.all_subjects()
    assert fitted == config.train_subjects()
    assert not set(fitted) & set(config.held_out_subjects())
