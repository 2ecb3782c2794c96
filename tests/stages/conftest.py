"""One small run on people of ellipsoids, trained once for every test that uses its models."""

import importlib
import shutil

import pytest
import torch
from oracles.coloured_people import make_views
from oracles.made_up_run import make_planes
from oracles.small_run import CONFIG

from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.presets.toml import to_toml
from rodin.stages import sample
from rodin.store.run_folder import RunFolder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run as far as its models."""
    torch.set_num_threads(1)
    run = RunFolder(tmp_path_factory.mktemp("run"))
    run.config_file.write_text(to_toml(CONFIG))
    make_views(CONFIG, run)
    make_planes(CONFIG, run)
    for stage in ("clip", "embed", "decoder", "base", "upsample", "latent", "prior"):
        importlib.import_module(f"rodin.stages.{stage}").run(CONFIG, run, 0, Hooks())
    return run


@pytest.fixture(scope="session")
def sampled(trained):
    for shard in range(CONFIG.shards("sample")):
        sample.run(CONFIG, trained, shard, Hooks())
    return trained


@pytest.fixture
def copy(trained, tmp_path):
    """A run of its own with the same models."""
    for path in trained.path.iterdir():
        if path.is_dir() and path.name not in ("results", "samples", "evaluate"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copy(trained.config_file, tmp_path)
    return RunFolder(tmp_path)


@pytest.fixture(scope="session")
def avatars(trained):
    return Avatars(CONFIG, trained, torch.device("cpu"))
