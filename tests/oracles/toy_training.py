"""A small network that learns to take noise away, trained by the real loop in a moment."""

import torch
from torch import nn

from rodin.train.loop import Callbacks, train
from rodin.train.plan import Plan

ITEMS = 23
SILENT = Callbacks()


def toy_network(dropout):
    torch.manual_seed(7)
    network = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Dropout(dropout), nn.Linear(32, 6))
    first = network[0].weight
    first.data = first.data.T.contiguous().T  # lies in memory in another order, as a 3D-aware convolution's kernels do
    return network


def toy_training(
    folder, ranks, *, steps=12, batch=12, dropout=0.0, overflow_at=(), on_loss=lambda: None, callbacks=SILENT, **more
):
    network = toy_network(dropout)
    data = torch.randn(ITEMS, 6, generator=torch.Generator().manual_seed(3))

    def loss_of(one, draws):
        on_loss()
        noise = draws.normal("eps", 6)
        loss = (network(one["x"] + 0.1 * noise) - one["x"]).square().mean(dim=1) * (1 + draws.uniform("weight"))
        return loss * 1e9 if draws.positions[0] // batch in overflow_at else loss  # far beyond float16

    plan = Plan(batch=batch, steps=steps, lr=1e-2, warmup=3, ema=0.9, checkpoint_every=4, **more)
    return train(
        network,
        loss_of,
        lambda items, draws: {"x": data[items]},
        ITEMS,
        plan,
        ranks=ranks,
        folder=folder,
        settings={"hidden": 32},
        blocks=[network[0], network[3]],
        callbacks=callbacks,
    )
