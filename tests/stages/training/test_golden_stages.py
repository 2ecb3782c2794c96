"""Losses of a few steps of each training stage, as they were when the stages were last checked against the paper.

A change of these numbers is a change of the training: of its data, its random numbers or its arithmetic. A few units of
the fourth digit may differ between machines.
"""

import importlib

import pytest
import torch
from fixtures.made_up_run import make_latents, make_planes, make_views

from rodin.field.decoder import Decoder
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

STEPS = 4
PATCH = ["upsample.patch.pixel=1", "upsample.patch.side=12", "upsample.patch.samples=8"]
LOSSES = {
    "base": [0.986803, 1.28461, 1.03196, 1.11143],
    "upsample": [0.0948606, 0.11178, 0.119031, 0.372808],
    "upsample with patches": [0.269502, 0.248774, 0.276329, 0.242861],
    "latent": [1.37561, 1.48955, 1.07743, 1.00467],
    "prior": [1.01061, 1.08042, 0.985359, 1.01438],
    "refine": [0.357803, 0.334558, 0.302174, 0.279185],
    "clip": [2.39479, 2.32727, 2.19903, 2.13999],
}


def config_of(stage, *overrides):
    if stage == "clip":
        return preset("tiny", ["clip.steps=4", "clip.lr=5e-3", "clip.subjects=0", "clip.image_channels=0", *overrides])
    training = {"steps": STEPS, "lr": 1e-2, "warmup": 1, "batch": 4}
    small = ["refine.channels=8", "refine.blocks=1", "sample.render_samples=8"]
    return preset(
        "tiny", [*small, *(f"{stage}.training.{name}={value}" for name, value in training.items()), *overrides]
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    run, config = RunFolder(tmp_path_factory.mktemp("run")), preset("tiny")
    make_views(config, run)
    make_planes(config, run, detail=0.2)
    make_latents(config, run)
    torch.manual_seed(0)
    plane = config.triplane
    decoder = Decoder(plane.channels, plane.decoder_width, plane.decoder_layers)
    mean = torch.zeros(3, plane.channels, plane.resolution, plane.resolution)
    checkpoint.publish(
        run.stage("decoder") / "decoder.pt", {"decoder": decoder.state_dict(), **decoder.settings(), "mean": mean}
    )
    manifest.publish(run.manifest("decoder"), {"files": manifest.describe_files(run.stage("decoder"), ["decoder.pt"])})
    return run


@pytest.mark.parametrize("case", list(LOSSES))
def test_the_losses_are_those_of_before(case, stores, tmp_path):
    for path in stores.path.iterdir():
        if path.is_dir() and path.name != "results":
            (tmp_path / path.name).symlink_to(path)
    stage, run = case.split()[0], RunFolder(tmp_path)
    config = config_of(stage, *(PATCH if case.endswith("patches") else []))
    importlib.import_module(f"rodin.stages.{stage}").run(config, run, 0, Hooks())
    losses = [row["loss"] for row in read_rows(run, stage)]
    assert losses == pytest.approx(LOSSES[case], rel=1e-3)
