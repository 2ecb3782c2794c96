"""A small denoiser trained by the real loop, and the same training as a plain loop over torch's own parts."""

import torch
from torch import nn

from rodin.diffusion.schedule import Schedule
from rodin.train.data.draws import Draws
from rodin.train.data.order import Order
from rodin.train.denoising import denoising_loss
from rodin.train.loop import train
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan

ITEMS, WIDTH, TIMESTEPS = 11, 6, 50
PLAN = Plan(batch=4, steps=10, lr=0.02, warmup=4, weight_decay=0.1, ema=0.7, clip_norm=0.9, seed=5)
SCHEDULE = Schedule.linear(TIMESTEPS)


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(11)
        self.layers = nn.Sequential(nn.Linear(WIDTH + 1, 16), nn.SiLU(), nn.Linear(16, WIDTH))

    def forward(self, x_t, timestep):
        return self.layers(torch.cat([x_t, timestep[:, None].to(x_t) / TIMESTEPS], dim=1))


def data():
    return torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(2)) / 2


def trained(folder, predicts, plan=PLAN):
    """The real loop's result, and the network with its last weights."""
    network, samples = Denoiser(), data()
    result = train(
        network,
        lambda batch, draws: denoising_loss(network, SCHEDULE, batch["x0"], predicts, draws),
        lambda items, draws: {"x0": samples[items]},
        ITEMS,
        plan,
        ranks=Ranks(),
        folder=folder,
        settings={},
    )
    return result, network


def trained_plainly(predicts, plan=PLAN):
    """(losses, gradient norms, average, network) of a loop with no flat vectors, parts, threads or checkpoints."""
    network, samples, order = Denoiser(), data(), Order(ITEMS, plan.seed)
    optimiser = torch.optim.AdamW(network.parameters(), plan.lr, weight_decay=plan.weight_decay, foreach=False)
    average = [parameter.detach().clone() for parameter in network.parameters()]
    losses, norms = [], []
    for step in range(plan.steps):
        positions = range(step * plan.batch, (step + 1) * plan.batch)
        draws = Draws(plan.seed, positions)
        x0, timestep, eps = samples[order[positions]], draws.integers("timestep", TIMESTEPS), draws.normal("eps", WIDTH)
        alpha_bar = SCHEDULE.alpha_bar[timestep, None].float()
        prediction = network(alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps, timestep)
        loss = (prediction - {"eps": eps, "x0": x0}[predicts]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(network.parameters(), plan.clip_norm).item())
        optimiser.param_groups[0]["lr"] = plan.lr * min(1, (step + 1) / plan.warmup)
        optimiser.step()
        rate = min(plan.ema, (1 + step) / (10 + step))
        average = [rate * a + (1 - rate) * p.detach() for a, p in zip(average, network.parameters(), strict=True)]
        losses.append(loss.item())
    return losses, norms, dict(zip(dict(network.named_parameters()), average, strict=True)), network
