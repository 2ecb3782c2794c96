"""On a GPU, in half precisions: the weights stay float32, it learns, and stopped and gone on it is the unbroken run."""

import pytest
import torch
from torch import nn

from rodin.train.loop import Callbacks, train
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan

pytestmark = pytest.mark.gpu


def trained(folder, precision, stop_at=None, **options):
    device, done = torch.device("cuda", 0), [0]
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Dropout(0.1), nn.Linear(64, 8)).to(device)
    data = torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
    seen = []

    def loss_of(batch, draws):
        out = network(batch["x"] + 0.1 * draws.normal("eps", 8))
        seen.append(out.dtype)
        return (out.float() - batch["x"]).square().mean(dim=1)

    result = train(
        network,
        loss_of,
        lambda items, draws: {"x": data[items]},
        32,
        Plan(batch=8, steps=60, lr=1e-2, precision=precision, ema=0.9, micro_batch=4, checkpoint_every=10, **options),
        ranks=Ranks(device=device),
        folder=folder,
        settings={},
        blocks=[network[0]],
        callbacks=Callbacks(
            progress=lambda step, total, note: done.__setitem__(0, step), should_stop=lambda: done[0] + 1 == stop_at
        ),
    )
    assert set(seen) == {getattr(torch, precision)}
    assert {value.dtype for value in result.average.values()} == {torch.float32}
    return result


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo looks at its own tensors
@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"compile": True}])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_it_learns_and_resumes_to_the_same_bits(precision, options, tmp_path):
    unbroken = trained(tmp_path / "unbroken", precision, **options)
    assert unbroken.curve[-1]["loss"] < 0.7 * unbroken.curve[0]["loss"]
    assert not trained(tmp_path / "stopped", precision, stop_at=23, **options).finished
    again = trained(tmp_path / "stopped", precision, **options)
    assert all(torch.equal(again.average[name], value) for name, value in unbroken.average.items())


def test_utilisation_is_in_the_curve_where_the_gpu_is_known(tmp_path):
    rows = trained(tmp_path, "float16").curve
    assert all(row["mfu"] is None or 0 < row["mfu"] < 1 for row in rows)
