"""The refiner, off by default, but real: it brings renderings of an untrained decoder nearer to the pictures."""

import torch
from fixtures.made_up_run import make_planes, make_views

from rodin.field.decoder import Decoder
from rodin.generate.models import load_refiner
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.stages import refine
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint


def test_the_refiner_learns_from_rendered_and_true_pictures(tmp_path):
    changes = ["refine.enabled=true", "refine.channels=8", "refine.blocks=1", "sample.render_samples=8"]
    training = {"batch": 4, "steps": 25, "lr": 1e-2, "warmup": 2, "ema": 0.8}
    changes += [f"refine.training.{name}={value}" for name, value in training.items()]
    config, run = preset("tiny", changes), RunFolder(tmp_path)
    make_views(config, run)
    make_planes(config, run)
    torch.manual_seed(0)
    plane = config.triplane
    decoder = Decoder(plane.channels, plane.decoder_width, plane.decoder_layers)
    mean = torch.zeros(3, plane.channels, plane.resolution, plane.resolution)
    content = {"decoder": decoder.state_dict(), **decoder.settings(), "mean": mean}
    checkpoint.publish(run.stage("decoder") / "decoder.pt", content)
    manifest.publish(run.manifest("decoder"), {"files": manifest.describe_files(run.stage("decoder"), ["decoder.pt"])})

    refine.run(config, run, 0, Hooks())

    losses = [row["loss"] for row in read_rows(run, "refine")]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])  # it starts as the identity
    loaded = load_refiner(run)
    pictures = torch.rand(2, 3, 24, 24)
    assert loaded(pictures).shape == pictures.shape
    assert (loaded(pictures) - pictures).abs().max() > 1e-3
