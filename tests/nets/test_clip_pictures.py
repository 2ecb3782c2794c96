"""Pictures on their way into CLIP: its constants, borders, resizing and range; and how weights are loaded."""

import importlib
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from rodin.nets import torchvision_shim
from rodin.nets.clip import MEAN, STD, Clip, prepared

SMALL = {"width": 12, "image_size": 16, "patch": 8, "tower_width": 32, "image_layers": 1, "text_layers": 1}


def undone(ready):
    return ready * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)


def test_constants_are_open_clips():
    torchvision_shim.prepare()
    constants = importlib.import_module("open_clip.constants")
    assert constants.OPENAI_DATASET_MEAN == MEAN
    assert constants.OPENAI_DATASET_STD == STD


def test_wide_pictures_get_white_above_and_below():
    ready = undone(prepared(torch.zeros(1, 3, 20, 31), 31))[0]
    white = (ready > 0.5).all(dim=0)
    assert white[:5].all()
    assert white[25:].all()
    assert not white[5:25].any()


def test_large_pictures_are_resized_as_pillow_does():
    chance = np.random.default_rng(0)
    small = Image.fromarray(chance.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    picture = np.asarray(small.resize((90, 90), Image.Resampling.BICUBIC))
    wanted = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC)) / 255
    ready = undone(prepared(torch.from_numpy(picture / 255).permute(2, 0, 1)[None].float(), 32))
    np.testing.assert_allclose(ready[0].permute(1, 2, 0), wanted, rtol=0, atol=0.01)


def test_resizing_does_not_leave_the_range_of_colours():
    edges = torch.zeros(1, 3, 8, 8)
    edges[..., 4:] = 1.0
    ready = undone(prepared(edges, 32))
    assert ready.min() > -1e-6
    assert ready.max() < 1 + 1e-6


def test_half_transparent_is_half_white():
    picture = torch.zeros(1, 4, 16, 16)
    picture[:, 3] = 0.25
    torch.testing.assert_close(undone(prepared(picture, 16)), torch.full((1, 3, 16, 16), 0.75))


def test_the_network_is_never_tried_and_weights_are_for_use(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    clip = Clip.small(**SMALL)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    open_clip = importlib.import_module("open_clip")
    vision = {"layers": 1, "width": 32, "head_width": 32, "patch_size": 8, "image_size": 16}
    text = {"context_length": 32, "width": 32, "heads": 1, "layers": 1}
    settings = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "Rodin-Loaded.json").write_text(json.dumps(settings))
    open_clip.add_model_config(tmp_path / "Rodin-Loaded.json")
    torch.save(clip.model.state_dict(), tmp_path / "weights.pt")
    loaded = Clip.load_pretrained("Rodin-Loaded", tmp_path / "weights.pt")
    assert not loaded.model.training
    assert loaded.settings == {"pretrained": "Rodin-Loaded"}
    assert loaded.image(torch.rand(2, 3, 20, 20)).norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
