"""Real stages on what was taken over: the bits of an undisturbed run, and nothing written through a link."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from fixtures.coloured_people import make_views
from fixtures.finished_graph import contents

from jobs.graph.graph import graph
from jobs.graph.reads import values_read
from jobs.graph.taking import take_over
from jobs.run.begun import keep_settings, reopen
from jobs.run.lock import driving
from jobs.run.record import write_config
from rodin.config import Config
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

SMALL = [
    *("data.subjects=4", "data.held_out=1", "data.shard_subjects=16", "clip.subjects=0", "clip.steps=3"),
    *("decoder.steps=3", "fit.steps=3", "base.training.steps=4", "upsample.training.steps=3"),
    *("base.training.checkpoint_every=2", "latent.training.steps=3", "prior.training.steps=3"),
]
STAGES = ("clip", "decoder", "embed", "fit", "index", "base", "upsample", "latent", "prior")
CLOCK = ("seconds", "samples_per_second")


def make(folder: RunFolder, config: Config, *stages: str) -> None:
    write_config(folder, config)
    for stage in stages:
        keep_settings(folder, stage, values_read(stage, config))
        importlib.import_module(f"rodin.stages.{stage}").run(config, folder, 0, Hooks())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    torch.set_num_threads(1)
    folder, config = RunFolder(tmp_path_factory.mktemp("source")), preset("tiny", SMALL)
    make_views(config, folder)
    make(folder, config, *STAGES)
    return folder


def rows(folder: RunFolder) -> dict[str, list[dict]]:
    found = {}
    for path in sorted(folder.results.glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name] = [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]
    return found


def test_what_is_made_on_taken_stages_has_the_bits_of_an_undisturbed_run(source: RunFolder, tmp_path: Path):
    config = preset("tiny", [*SMALL, "base.training.lr=0.01", "latent.hidden=16"])
    calm, taken = RunFolder(tmp_path / "calm"), RunFolder(tmp_path / "taken")
    shutil.copytree(source.stage("render"), calm.stage("render"))
    make(calm, config, *STAGES)
    write_config(taken, config)
    with driving(taken):
        found = take_over(taken, config, graph(config), [source])
    assert set(found) == {"render", "clip", "decoder", "embed", "fit", "index", "upsample", "prior"}
    make(taken, config, "base", "latent")
    for name in ("clip/clip.pt", "decoder/decoder.pt", *(f"{stage}/model.pt" for stage in STAGES[5:])):
        ours, theirs = (folder.path / name for folder in (taken, calm))
        assert ours.read_bytes() == theirs.read_bytes(), name
    for stage in ("render", "embed"):
        assert taken.shard(stage, 0).read_bytes() == calm.shard(stage, 0).read_bytes()
    assert rows(taken) == rows(calm)
    assert (taken.path / "base/model.pt").read_bytes() != (source.path / "base/model.pt").read_bytes()


def test_stages_made_again_or_gone_on_with_leave_the_other_run(source: RunFolder, tmp_path: Path):
    config, folder = preset("tiny", SMALL), RunFolder(tmp_path / "run")
    before = contents(source.path)
    write_config(folder, config)
    with driving(folder):
        take_over(folder, config, graph(config), [source])
    assert (folder.path / "clip/clip.pt").samefile(source.path / "clip/clip.pt")
    longer = preset("tiny", [*SMALL, "base.training.steps=6"])
    reopen(folder, "base", keep=True)
    make(folder, longer, "base")  # from a checkpoint that is a link
    assert len((folder.path / "base/log.jsonl").read_text().splitlines()) == 6
    for stage in STAGES:
        for path in folder.stage(stage).glob("0*.json"):
            path.unlink()
    make(folder, longer, *STAGES)  # every file is published anew over its link
    assert contents(source.path) == before
    assert not (folder.path / "clip/clip.pt").samefile(source.path / "clip/clip.pt")
