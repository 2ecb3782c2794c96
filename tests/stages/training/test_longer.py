"""A finished training with more steps goes on from its last checkpoint, to the bits of one that had them at once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fixtures.made_up_run import make_latents

from jobs.graph.changes import change_of, make_change
from jobs.run.record import write_config
from rodin.config import Config
from rodin.generate.models import load_latent
from rodin.hooks import Hooks, Stopped
from rodin.presets import preset
from rodin.stages import latent
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint


def config_of(steps: int) -> Config:
    return preset("tiny", [f"latent.training.steps={steps}", "latent.training.checkpoint_every=4", "data.subjects=6"])


def trained(run: RunFolder, steps: int, stop: Callable[[int], bool] = lambda step: False) -> list[int]:
    """Train the latent model so far; the steps that were taken."""
    taken: list[int] = []
    make_change(run, config_of(steps), change_of(run, config_of(steps)))
    latent.run(config_of(steps), run, 0, Hooks(lambda done, total, note: taken.append(done), lambda: stop(len(taken))))
    return taken


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    write_config(folder, config_of(6))
    make_latents(config_of(6), folder)
    return folder


def test_more_steps_are_those_of_a_training_that_had_them_at_once(run: RunFolder, tmp_path: Path):
    assert trained(run, 6) == [1, 2, 3, 4, 5, 6]
    short = load_latent(run).network.state_dict()
    assert checkpoint.latest(run.stage("latent") / "checkpoints").step == 6  # of its end, between two of every four
    change = change_of(run, config_of(9))
    assert change.longer == {"latent": (6, 9)}
    with pytest.raises(Stopped):
        trained(run, 9, stop=lambda taken: taken == 1)  # killed on its way
    assert trained(run, 9) == [9]
    assert manifest.read(run.manifest("latent"))["samples"] == 9 * 8
    assert [row["step"] for row in read_rows(run, "latent")] == list(range(1, 10))
    whole = RunFolder(tmp_path / "whole")
    write_config(whole, config_of(9))
    make_latents(config_of(9), whole)
    assert trained(whole, 9) == list(range(1, 10))
    longer, at_once = load_latent(run).network.state_dict(), load_latent(whole).network.state_dict()
    assert all(torch.equal(value, longer[name]) for name, value in at_once.items())
    assert any(not torch.equal(value, short[name]) for name, value in at_once.items())
    assert trained(run, 9) == []


def test_without_its_last_checkpoint_it_takes_more_steps_to_the_same_end(run: RunFolder):
    """A run of an older rodin has none of its last step."""
    trained(run, 6)
    for path in (run.stage("latent") / "checkpoints").glob("step-000000006*"):
        path.unlink()
    assert trained(run, 9) == [5, 6, 7, 8, 9]
