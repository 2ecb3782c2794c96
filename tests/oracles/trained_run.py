"""One small run on people of ellipsoids, trained once for every test that uses its models."""

import importlib
import shutil
from pathlib import Path

import torch
from oracles.coloured_people import make_views
from oracles.made_up_run import make_planes
from oracles.small_run import CONFIG

from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.presets.toml import to_toml
from rodin.stages import sample
from rodin.store.run_folder import RunFolder


def train(folder: Path) -> RunFolder:
    """A run as far as its models."""
    torch.set_num_threads(1)
    run = RunFolder(folder)
    run.config_file.write_text(to_toml(CONFIG))
    make_views(CONFIG, run)
    make_planes(CONFIG, run)
    for stage in ("clip", "embed", "decoder", "base", "upsample", "latent", "prior"):
        importlib.import_module(f"rodin.stages.{stage}").run(CONFIG, run, 0, Hooks())
    return run


def draw_samples(run: RunFolder) -> RunFolder:
    """The same run with its stage `sample` done."""
    for shard in range(CONFIG.shards("sample")):
        sample.run(CONFIG, run, shard, Hooks())
    return run


def copy_models(run: RunFolder, folder: Path) -> RunFolder:
    """A run of its own with the same models."""
    for path in run.path.iterdir():
        if path.is_dir() and path.name not in ("results", "samples", "evaluate"):
            (folder / path.name).symlink_to(path)
    shutil.copy(run.config_file, folder)
    return RunFolder(folder)


def load_avatars(run: RunFolder) -> Avatars:
    return Avatars(CONFIG, run, torch.device("cpu"))
