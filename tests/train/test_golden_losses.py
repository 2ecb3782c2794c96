"""A fixed small training: its numbers are those of a plain loop, and those it had when this test was written."""

from dataclasses import replace

import pytest
import torch
from oracles.denoising_training import PLAN, trained, trained_plainly

PLANS = {"eps": PLAN, "x0": replace(PLAN, clip_norm=0.41)}  # some of the norms are larger than the bound, some not
LOSSES = {
    "eps": "1.1517546 0.6474913 0.5254753 0.6967168 0.9884182 0.7498494 1.7979345 0.7270919 0.3256229 0.7811593",
    "x0": "0.3270849 0.2367944 0.2652313 0.2681322 0.1981789 0.2477847 0.2160518 0.2364132 0.1468231 0.2161905",
}
AVERAGES = {  # sum and sum of squares of each tensor of the moving average
    "eps": {
        "layers.0.weight": (1.0004992, 5.4309607),
        "layers.0.bias": (0.9019948, 0.7701217),
        "layers.2.weight": (0.2906902, 2.2631116),
        "layers.2.bias": (-0.0506363, 0.0723107),
    },
    "x0": {
        "layers.0.weight": (0.154635, 4.4016398),
        "layers.0.bias": (0.6253984, 0.8586926),
        "layers.2.weight": (-0.2364471, 1.620649),
        "layers.2.bias": (-0.0770577, 0.0772357),
    },
}


@pytest.mark.parametrize("predicts", ["eps", "x0"])
@pytest.mark.parametrize(("batch", "micro_batch"), [(4, None), (4, 3), (7, 3)])  # the last: parts of 2, 2 and 3
def test_the_loop_does_what_a_plain_loop_does(predicts, batch, micro_batch, tmp_path):
    plan = replace(PLANS[predicts], batch=batch)
    result, network = trained(tmp_path, predicts, replace(plan, micro_batch=micro_batch))
    losses, norms, average, plain = trained_plainly(predicts, plan)
    assert batch > 4 or min(norms) < 0.9 * plan.clip_norm < 1.1 * plan.clip_norm < max(norms)
    assert [row["loss"] for row in result.curve] == pytest.approx(losses, abs=2e-6)
    assert [row["grad_norm"] for row in result.curve] == pytest.approx(norms, abs=2e-6)
    assert result.average.keys() == average.keys()
    for name, value in average.items():
        torch.testing.assert_close(result.average[name], value, rtol=0, atol=2e-6)
    for got, wanted in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("predicts", ["eps", "x0"])
def test_the_numbers_of_a_fixed_training_do_not_change(predicts, tmp_path):
    result, _ = trained(tmp_path, predicts, PLANS[predicts])
    assert [row["loss"] for row in result.curve] == pytest.approx(
        [float(loss) for loss in LOSSES[predicts].split()], abs=5e-6
    )
    assert result.average.keys() == AVERAGES[predicts].keys()
    for name, (total, squares) in AVERAGES[predicts].items():
        value = result.average[name].double()
        assert (value.sum().item(), value.square().sum().item()) == pytest.approx((total, squares), abs=2e-5), name
