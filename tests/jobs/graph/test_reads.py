"""The table of the keys that each stage follows from is what the stages read."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures.coloured_people import make_views
from fixtures.made_up_run import make_planes
from fixtures.recorder import Recorder
from fixtures.small_run import CONFIG

from jobs.graph.graph import NAMES, SWEEPS, graph, stage_of
from jobs.graph.reads import FREE, FREE_TRAINING, READS, TRAININGS, reads, values_read
from rodin.config import Config
from rodin.hooks import Hooks
from rodin.presets import flat, load, preset
from rodin.stages import portraits, render
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter
from rodin.train.plan import CHANGEABLE

PICTURES = {"sample.resolution", "sample.render_samples", "data.camera_radius", "data.fov_degrees"}  # while training
CHOOSES = {  # whether an equal measure of another stage is copied, and pictures while training
    ("evaluate", "sweeps.guidance_scales"),
    ("sweep-cfg", "sample.guidance_scale"),
    ("upsample", "base.mirror"),
}
SAMPLING = ("sampler", "sampling_steps", "clip", "noise_scale")


def test_every_stage_is_in_the_table_and_every_key_is_one_of_the_config():
    assert set(READS) == set(NAMES)
    keys = set(flat(preset("tiny")))
    for names in (*READS.values(), FREE):
        for name in names:
            assert name in keys or any(key.startswith(f"{name}.") for key in keys), name


def test_a_training_may_change_what_its_checkpoints_allow():
    assert {*FREE_TRAINING, "curve_rows"} == set(CHANGEABLE)


@pytest.mark.parametrize(
    ("stage", "key", "read"),
    [
        ("base", "base.training.lr", True),
        ("base", "base.training.steps", False),
        ("base", "base.keep_averages", False),
        ("sample", "sample.attribute_prompts", True),
        ("base", "base.diffusion.timesteps", True),
        ("base", "base.diffusion.sampling_steps", False),
        ("sample", "base.diffusion.sampling_steps", True),
        ("prior", "prior.best_of", False),
        ("sample", "prior.best_of", True),
        ("prior", "prior.rerank", False),
        ("sample", "prior.rerank", True),
        ("prior", "prior.guidance_scale", False),
        ("sample", "prior.guidance_scale", True),
        ("base", "base.diffusion.clip_std", False),
        ("base", "base.diffusion.guidance_interval", False),
        ("base", "base.diffusion.schedule_tau", True),
        ("base", "base.diffusion.min_snr", True),
        ("evaluate", "base.diffusion.guidance_interval", True),
        ("fit", "fit.steps", True),
        ("fit", "fit.together", False),
        ("fit", "seed", True),
        ("fit", "base.channels", False),
        ("render", "data.device", False),
        ("sweep-views", "sweeps.view_counts", True),
        ("sweep-views", "sweeps.plane_resolutions", False),
        ("sweep-cfg", "data.camera_radius", True),
        ("sweep-convolution", "data.fov_degrees", True),
        ("report", "seed", False),
    ],
)
def test_which_keys_a_stage_follows_from(stage: str, key: str, read: bool):
    assert reads(stage, key) == read
    assert (key in values_read(stage, preset("tiny"))) == read


def ancestors(name: str, config: Config) -> set[str]:
    stages = {stage.name: stage for stage in graph(config, tuple(sweep.name for sweep in SWEEPS))}
    return {name}.union(*(ancestors(before, config) for before in stages[name].after))


def excused(stage: str, key: str) -> bool:
    """Whether a key does not change a result though a stage reads it."""
    section, _, last = key.rpartition(".")
    if stage in TRAININGS and section.endswith(".diffusion") and last in SAMPLING:
        return True
    if (stage, key) in CHOOSES:
        return True
    trains = stage in TRAININGS or stage == "sweep-convolution"
    return key in FREE or (trains and (key in PICTURES or (section.endswith(".training") and last in FREE_TRAINING)))


def run_recorded(config: Any, folder: RunFolder, stage: str) -> set[str]:
    read: set[str] = set()
    module = importlib.import_module(stage_of(stage).module)
    for shard in range(config.shards(stage)):
        module.run(Recorder(config, "", read), folder, shard, Hooks())
    return read


@pytest.mark.slow
def test_stages_read_no_other_keys(tmp_path: Path):
    """Every stage but Blender's runs on a small run and notes each key that it reads."""
    torch.set_num_threads(1)
    changes = {"refine": {"enabled": True, "channels": 4, "blocks": 1}, "upsample": {"patch": {"pixel": 1.0}}}
    data = CONFIG.model_dump(mode="json")
    for section, values in changes.items():
        data[section] |= values if section == "refine" else {"patch": data[section]["patch"] | values["patch"]}
    data["refine"]["training"] |= {"steps": 2, "batch": 2}
    config, folder = load(data), RunFolder(tmp_path)
    make_views(config, folder)
    for name in ["clip", "embed", "decoder", "fit"]:
        assert_known(config, name, run_recorded(config, folder, name))
    folder.stage("fit").rename(tmp_path / "fits")
    make_planes(config, folder)  # in place of fits and index: four steps fit nobody well enough
    for name in [*TRAININGS, "sample", "evaluate", *(sweep.name for sweep in SWEEPS)]:
        assert_known(config, name, run_recorded(config, folder, name))


def assert_known(config: Config, name: str, read: set[str]) -> None:
    known = {key for before in ancestors(name, config) for key in flat(config) if reads(before, key)}
    assert {key for key in read - known if not excused(name, key)} == set(), name


def test_blender_reads_no_other_keys():
    read: set[str] = set()
    config = Recorder(preset("tiny"), "", read)
    render.views_of(config, "000000")
    render.view_fields(config, config.data.views, config.data.resolution)
    render._request(config, "000000", *render.views_of(config, "000000"), 24, config.data.captions, Path("x"))
    assert {key for key in read if not reads("render", key)} == {"data.device"}


def test_portraits_follow_from_no_other_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read: set[str] = set()
    config = Recorder(preset("tiny"), "", read)

    def render_nobody(config: Any, writer: ShardWriter, cameras: Any, captions: int, hooks: Hooks) -> None:
        for subject in writer.subjects:
            render._request(config, subject, *cameras(subject), writer.shapes["rgba"][1], captions, Path("x"))
            writer.fail(subject, "not rendered")

    monkeypatch.setattr(portraits, "render_missing", render_nobody)
    portraits.run(config, RunFolder(tmp_path), 1, Hooks())
    assert {key for key in read if not reads("portraits", key)} == {"data.device"}
