"""A config in a TOML file: what is left out is the named preset's, and what a run wrote is read as it is."""

from pathlib import Path

import pytest

from jobs.run.record import read_config, write_config
from rodin.data.rows import noising_settings
from rodin.diffusion.curves import EARLIER
from rodin.presets import PRESETS, preset
from rodin.presets.toml import from_run_toml, from_toml, to_toml
from rodin.store.run_folder import RunFolder


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("head", ["", "[config]\n"])
@pytest.mark.parametrize("name", PRESETS)
def test_keys_that_are_left_out_are_those_of_the_named_preset(name: str, head: str, tmp_path: Path):
    section = "config.fit" if head else "fit"
    path = written(tmp_path, f'{head}preset = "{name}"\nseed = 3\n[{section}]\nsteps = 7\n')
    assert from_toml(path) == preset(name, ["seed=3", "fit.steps=7"])


def test_changes_are_laid_over_the_file(tmp_path: Path):
    path = written(tmp_path, 'preset = "demo"\n[fit]\nsteps = 7\ntarget_psnr = 30.0\n')
    found = from_toml(path, ["fit.steps=8", "base.training.steps=9"])
    assert found == preset("demo", ["fit.steps=8", "fit.target_psnr=30.0", "base.training.steps=9"])


def test_a_list_or_a_null_replaces_that_of_the_preset(tmp_path: Path):
    path = written(
        tmp_path, 'preset = "paper"\n[base]\nmultipliers = [1, 2]\nattention = []\n[clip]\npretrained = "none"\n'
    )
    found = from_toml(path)
    assert (found.base.multipliers, found.base.attention, found.clip.pretrained) == ((1, 2), (), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[fit]\nsteps = 7\n", "mine.toml: key 'preset' is missing: wanted the preset that all other keys come from"),
        ("", "mine.toml: is empty"),
        ("preset = 3\n", "key 'preset' is missing"),
        ('preset = "dmeo"\n', "unknown preset 'dmeo' (did you mean 'demo'?)"),
        ('preset = "demo"\nstep = 3\n', "unknown key 'step'"),
        ('preset = "demo"\n[fit]\nstep = 3\n', "unknown key 'fit.step' (did you mean 'fit.steps'?)"),
        ('preset = "demo"\nfit = 3\n', "fit: got 3"),
        ('preset = "demo"\n[prior]\nheads = 5\n', "prior.width 96 is not a multiple of prior.heads 5"),
        ("config = 3\n", "config: got 3, wanted a table"),
        ("preset = ", "mine.toml: "),
    ],
)
def test_a_wrong_file_is_one_line_with_its_name(text: str, words: str, tmp_path: Path):
    with pytest.raises(ValueError) as caught:
        from_toml(written(tmp_path, text))
    assert words in str(caught.value)
    assert str(tmp_path / "mine.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_change_is_a_line_too(tmp_path: Path):
    with pytest.raises(ValueError, match=r"mine.toml: unknown key 'fit.stepz'"):
        from_toml(written(tmp_path, 'preset = "demo"\n'), ["fit.stepz=3"])


def test_a_whole_file_may_have_any_name_of_a_preset(tmp_path: Path):
    mine = preset("demo").model_copy(update={"preset": "mine"})
    assert from_toml(written(tmp_path, to_toml(mine))) == mine


def test_a_run_of_an_older_rodin_has_the_defaults_of_keys_that_came_later(tmp_path: Path):
    """Whether read by the run or given to `rodin run`: not the preset's values, which that run never saw."""
    folder = RunFolder(tmp_path)
    write_config(folder, preset("demo", ["data.samples=32"]))  # as is the default; the preset has 8
    text = "\n".join(line for line in folder.config_file.read_text().splitlines() if line != "samples = 32")
    folder.config_file.write_text(text)

    for found in (read_config(folder), from_run_toml(folder.config_file), from_toml(folder.config_file)):
        assert found == preset("demo", ["data.samples=32"])
    assert from_toml(folder.config_file, ["data.samples=4"]) == preset("demo", ["data.samples=4"])


def test_a_run_of_an_older_rodin_keeps_its_clip_and_its_curve(tmp_path: Path):
    """Its clip is true or false, and its cosine and sigmoid have no parameters: they are weaker than today's."""
    folder = RunFolder(tmp_path)
    write_config(folder, preset("tiny", ["base.diffusion.schedule=cosine", "prior.diffusion.schedule=sigmoid"]))
    lines = folder.config_file.read_text().splitlines()
    new = (
        "schedule_start",
        "schedule_end",
        "schedule_tau",
        "clip_std",
        "clip_share",
        "min_snr",
        "guidance_interval",
        "pairs",
    )
    kept = [line for line in lines if not line.startswith(new)]
    older = "\n".join(kept).replace('clip = "texel"', "clip = true").replace('clip = "std"', "clip = false")
    assert (older.count("clip = true"), older.count("clip = false")) == (2, 2)
    folder.config_file.write_text(older)
    for found in (read_config(folder), from_run_toml(folder.config_file), from_toml(folder.config_file)):
        assert [getattr(found, name).diffusion.clip for name in ("base", "upsample", "latent", "prior")] == [
            *("range", "range", "off", "off")
        ]
        base, prior, latent = found.base.diffusion, found.prior.diffusion, found.latent.diffusion
        assert (base.schedule_start, base.schedule_end, base.schedule_tau) == EARLIER["cosine"]
        assert (prior.schedule_start, prior.schedule_end, prior.schedule_tau) == EARLIER["sigmoid"]
        assert (latent.schedule_start, latent.min_snr, latent.guidance_interval) == (None, None, None)
        assert noising_settings(base) == {"timesteps": 1000, "schedule": "cosine", "predicts": "eps"}


def test_a_file_of_today_may_say_off_true_false_or_none(tmp_path: Path):
    text = 'preset = "demo"\n[base.diffusion]\nclip = "none"\n[upsample.diffusion]\nclip = true\n'
    found = from_toml(written(tmp_path, text + '[latent.diffusion]\nclip = "dynamic"\n'), ["prior.diffusion.clip=no"])
    clips = [getattr(found, name).diffusion.clip for name in ("base", "upsample", "latent", "prior")]
    assert clips == ["off", "range", "dynamic", "off"]
    assert from_toml(written(tmp_path, to_toml(found))) == found


def test_only_the_run_itself_reads_what_is_refused_today(tmp_path: Path):
    folder = RunFolder(tmp_path)
    config = preset("demo")
    write_config(folder, config.model_copy(update={"base": config.base.model_copy(update={"attention": (5,)})}))
    assert read_config(folder).base.attention == (5,)
    with pytest.raises(ValueError, match=r"run.toml: base.attention 5 is the side of no level"):
        from_toml(folder.config_file)
