"""Pictures of samples while a model is trained: of what its average makes, and the training does not feel them."""

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG
from PIL import Image

from rodin.generate import models
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.presets.toml import to_toml
from rodin.stages import base, upsample
from rodin.store.run_folder import RunFolder

STAGES = {"base": (base, models.load_base), "upsample": (upsample, models.load_upsampler)}


@pytest.mark.parametrize("name", list(STAGES))
def test_pictures_appear_and_change_nothing(name, trained, tmp_path):
    stage, load = STAGES[name]
    weights = []
    for every in (0, 2):
        run = RunFolder(tmp_path / str(every))
        run.path.mkdir()
        for path in trained.path.iterdir():
            if path.is_dir() and path.name not in (name, "results"):
                (run.path / path.name).symlink_to(path)
        changed = [
            f"data.subjects={CONFIG.data.subjects}",
            f"{name}.training.picture_every={every}",
            f"{name}.training.steps=4",
        ]
        config = preset("tiny", [*changed, f"base.keep_averages={str(every == 2).lower()}"])
        config = config.model_copy(update={"clip": CONFIG.clip, "decoder": CONFIG.decoder})
        run.config_file.write_text(to_toml(config))
        stage.run(config, run, 0, Hooks())
        weights.append(load(run, torch.device("cpu")).network.state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert not (tmp_path / "0" / name / "pictures").exists()
    averages = dict(models.load_averages(run, torch.device("cpu"))) if name == "base" else {}
    assert list(averages) == ([2, 4] if name == "base" else [])
    assert (tmp_path / "2" / name / models.AVERAGES).exists() == (name == "base")
    if averages:
        early, last = (averages[step].state_dict() for step in (2, 4))
        assert all(torch.equal(value, weights[1][key]) for key, value in last.items())
        assert not all(torch.equal(value, last[key]) for key, value in early.items())
    pictures = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "2" / name / "pictures").iterdir())]
    assert [picture.shape for picture in pictures] == [(24, 4 * 24, 3)] * 2
    assert not np.array_equal(pictures[0], pictures[-1])
    assert pictures[-1].std() > 1
