"""Loss scaling is torch's own GradScaler's, and precisions other than float32 stay close to it."""

import pytest
import torch
from fixtures.toy_training import toy_training

from rodin.train.parallel import scaling
from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.scaling import LossScale


def test_the_scale_moves_as_torch_s_grad_scaler_moves_it(monkeypatch):
    monkeypatch.setattr(scaling, "EVERY", 3)
    theirs = torch.amp.GradScaler("cpu", growth_interval=3)
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([weight], 0.1)
    ours, skipped = LossScale.of("float16"), 0
    for step, overflows in enumerate([0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]):
        assert theirs.scale(torch.ones(1)).item() == ours.scale, step
        before = weight.item()
        weight.grad = torch.full((1,), float("inf") if overflows else 1.0)
        theirs.step(optimiser)
        theirs.update()
        skipped += weight.item() == before
        ours = ours.after(bool(overflows))
    assert ours.skipped == skipped == 4


def test_its_numbers_are_the_defaults_of_torch_s():
    theirs = torch.amp.GradScaler("cpu")
    assert (theirs.get_growth_interval(), theirs.get_growth_factor()) == (scaling.EVERY, scaling.GROWTH)
    assert theirs.get_backoff_factor() == 1 / scaling.GROWTH


def test_float32_is_never_scaled():
    assert LossScale.of("float32") == LossScale.of("bfloat16") == LossScale(1.0, 0, 0)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_float32_with_weights_in_float32(precision, tmp_path):
    whole = toy_training(tmp_path / "whole", Ranks(), dropout=0.2)
    half = toy_training(tmp_path / "half", Ranks(), dropout=0.2, precision=precision)
    assert {value.dtype for value in half.average.values()} == {torch.float32}
    losses = [[row["loss"] for row in one.curve] for one in (whole, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert losses[1] != losses[0]


def test_an_overflow_at_the_least_scale_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(LossScale, "of", lambda precision: LossScale(2.0))
    with pytest.raises(ValueError, match="gradient is not finite at step 6"):
        toy_training(tmp_path, Ranks(), precision="float16", overflow_at=(5, 6, 7))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo looks at its own tensors
def test_compiled_it_is_the_same_but_for_rounding(tmp_path):
    plain = toy_training(tmp_path / "plain", Ranks(), dropout=0.2)
    compiled = toy_training(tmp_path / "compiled", Ranks(), dropout=0.2, compile=True)
    assert compiled.average.keys() == plain.average.keys()
    losses = [[row["loss"] for row in one.curve] for one in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
