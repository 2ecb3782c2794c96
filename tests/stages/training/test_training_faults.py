"""What a user may get wrong with a training stage: one line each, and what was good stays."""

import itertools
import resource
import shutil
import signal

import numpy as np
import pytest
import torch
from fixtures.made_up_run import make_latents, make_planes

from rodin.generate import models
from rodin.hooks import Hooks, Stopped
from rodin.presets import preset
from rodin.stages import base, latent, prior, upsample
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter
from rodin.train.state import checkpoint

CPU = torch.device("cpu")


def config_of(*overrides):
    return preset("tiny", ["data.subjects=4", *overrides])


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path)
    make_planes(config_of(), folder)
    make_latents(config_of(), folder)
    return folder


def publish_decoder(run, content):
    home = run.stage("decoder")
    checkpoint.publish(home / "decoder.pt", content)
    manifest.publish(run.manifest("decoder"), {"files": manifest.describe_files(home, ["decoder.pt"])})


def stopped_at(step, stage, config, run):
    calls = itertools.count(1)
    with pytest.raises(Stopped):
        stage.run(config, run, 0, Hooks(should_stop=lambda: next(calls) == step))


def one_line(error):
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stage", "key", "wanted"),
    [
        (base, "triplane.channels=8", r"planes: 'base' of a subject is \[3, 4, 8, 8\], wanted \[3, 8, 8, 8\]; set"),
        (base, "triplane.base_resolution=16 base.attention=[8]", r"\[3, 4, 8, 8\], wanted \[3, 4, 16, 16\]; .* or fit"),
        (upsample, "triplane.resolution=32", r"planes: 'planes' of a subject is \[3, 4, 16, 16\], wanted \[3, 4, 32"),
    ],
)  # fmt: skip
def test_planes_of_another_size_than_the_config_s(stage, key, wanted, run):
    with pytest.raises(ValueError, match=wanted) as told:
        stage.run(config_of(*key.split()), run, 0, Hooks())
    one_line(told)


@pytest.mark.parametrize("stage", [base, upsample])
def test_planes_of_another_decoder_than_the_checkpoint_s(stage, run):
    config, name = config_of(), stage.__name__.rpartition(".")[2]
    publish_decoder(run, {"a": torch.ones(1)})
    stopped_at(3, stage, config, run)
    good = checkpoint.latest(run.stage(name) / "checkpoints").step
    publish_decoder(run, {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"another training \(decoder is [0-9a-f]{16} there, [0-9a-f]{16} h") as told:
        stage.run(config, run, 0, Hooks())
    one_line(told)
    assert checkpoint.latest(run.stage(name) / "checkpoints").step == good == 3


def test_a_model_of_another_decoder_than_the_run_s(run):
    publish_decoder(run, {"a": torch.ones(1)})
    base.run(config_of("base.training.steps=2"), run, 0, Hooks())
    models.load_base(run, CPU)
    publish_decoder(run, {"a": torch.zeros(1)})
    with pytest.raises(
        ValueError, match=r"base/model.pt: trained on planes of decoder [0-9a-f]{16}, the run's"
    ) as told:
        models.load_base(run, CPU)
    one_line(told)


def test_a_checkpoint_of_another_model(run):
    stopped_at(3, latent, config_of(), run)
    shutil.copytree(run.stage("latent"), run.stage("prior"))
    with pytest.raises(ValueError, match=r"another training \(.* is .* there, .* here\); set it back, or") as told:
        prior.run(config_of(), run, 0, Hooks())
    one_line(told)
    assert checkpoint.latest(run.stage("prior") / "checkpoints").step == 3


def test_a_model_file_of_another_stage(run):
    latent.run(config_of("latent.training.steps=2"), run, 0, Hooks())
    shutil.copytree(run.stage("latent"), run.stage("base"))
    with pytest.raises(ValueError, match=r"base/model.pt: is of a LatentMLP, wanted a BaseUNet") as told:
        models.load_base(run, CPU)
    one_line(told)


def older(record, change):
    """A model's record as an earlier rodin might have written it."""
    if change == "no diffusion":
        del record["diffusion"]
    elif change == "a setting more":
        record["settings"]["widen"] = True
    elif change == "a setting fewer":
        del record["settings"]["hidden"]
    elif change == "a weight of another name":
        record["model"]["first.weight"] = record["model"].pop(next(iter(record["model"])))
    elif change == "a weight of another shape":
        name, weight = next((name, weight) for name, weight in record["model"].items() if weight.ndim == 2)
        record["model"][name] = weight.T.contiguous()[:1]
    return record


@pytest.mark.parametrize(
    "change",
    ["no diffusion", "a setting more", "a setting fewer", "a weight of another name", "a weight of another shape"],
)
def test_a_model_file_of_an_earlier_rodin(change, run):
    latent.run(config_of("latent.training.steps=2"), run, 0, Hooks())
    path = run.stage("latent") / "model.pt"
    checkpoint.publish(path, older(checkpoint.read(path), change))
    with pytest.raises(ValueError, match=r"latent/model.pt: of another version of rodin \(.+\); use it with") as told:
        models.load_latent(run, CPU)
    one_line(told)
    assert "run stage latent again" in str(told.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_in_the_store_that_are_not_finite_name_the_person(value, run, monkeypatch):
    for module in ("row_checks", "writer"):  # a store of another program's making: ours refuses such rows
        monkeypatch.setattr(f"rodin.store.shards.{module}.finite", lambda array: True, raising=False)
    spoil(run, config_of(), "000002", value)
    with pytest.raises(StoreError, match=r"subject 000002, field 'base': holds values that are not finite") as told:
        base.run(config_of(), run, 0, Hooks())
    one_line(told)


def spoil(run, config, subject, value):
    """Other fits, with one value of one person that is not finite."""
    shutil.rmtree(run.stage("fit"))
    side, low = config.triplane.resolution, config.triplane.base_resolution
    shapes = {"planes": (3, 4, side, side), "base": (3, 4, low, low)}
    people = config.train_subjects()
    with ShardWriter(run.stage("fit"), 0, "planes", people, shapes) as writer:
        for one in people:
            rows = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
            if one == subject:
                rows["base"][0, 0, 0, 0] = value
            writer.add(one, meta={"psnr": 20.0}, **rows)
        writer.publish()


def test_a_full_disk_while_a_stage_saves(run):
    config = config_of("base.training.steps=400")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    stopped_at(3, base, config, run)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, hard))
    try:
        with pytest.raises(ValueError, match=r"step-000000005.*could not be written \(.*make room and run") as told:
            base.run(config, run, 0, Hooks())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    one_line(told)
    assert checkpoint.latest(run.stage("base") / "checkpoints").step == 3
