"""Trains a toy network the way a job does, unbroken and killed, on one rank and on two; run by test_resume.py.

One process that forks the ranks, so that torch is imported once. Outcomes are written as files of tensors.
"""

import os
import signal
import socket
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

from rodin.train import checkpoint
from rodin.train.loop import train
from rodin.train.plan import Plan
from rodin.train.ranks import Ranks

ITEMS = 23


def toy_network(dropout):
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Dropout(dropout), nn.Linear(32, 6))


def toy_training(folder, ranks, *, steps=12, batch=6, dropout=0.0, accumulate=1, on_loss=lambda: None, **more):
    network = toy_network(dropout)
    data = torch.randn(ITEMS, 6, generator=torch.Generator().manual_seed(3))

    def loss_of(one, draws):
        on_loss()
        noise = draws.normal("eps", 6)
        return (network(one["x"] + 0.1 * noise) - one["x"]).square().mean(dim=1) * (1 + draws.uniform("weight"))

    plan = Plan(batch=batch, steps=steps, lr=1e-2, warmup=3, ema=0.9, checkpoint_every=4, accumulate=accumulate)
    return train(
        network,
        loss_of,
        lambda items, draws: {"x": data[items]},
        ITEMS,
        plan,
        ranks=ranks,
        folder=folder,
        settings={"hidden": 32},
        **more,
    )


def launch(world, name, out, **options):
    """Fork the ranks of one training; returns their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            environment = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_PORT": port}
            environment = {key: str(value) for key, value in environment.items()} | {"MASTER_ADDR": "127.0.0.1"}
            status = 1
            try:
                rank_of_job(name, out, environment, **options)
                status = 0
            except BaseException as error:
                (out / f"{name}-rank{rank}.error").write_text(f"{type(error).__name__}: {error}")
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


def rank_of_job(name, out, environment, kill_at=None, stop_at=None, nan_at=None, training="", **options):
    calls, done = [0], [0]
    with Ranks.from_environment(environment) as ranks:

        def on_loss():
            calls[0] += 1
            if calls[0] == kill_at and ranks.rank == ranks.world - 1:
                os.kill(os.getpid(), signal.SIGKILL)

        def told(step, total, note):
            done[0] = step

        trained = toy_training(
            out / (training or name),
            ranks,
            on_loss=on_loss,
            progress=told,
            should_stop=lambda: done[0] + 1 == stop_at and ranks.rank == ranks.world - 1,
            **options,
        )
        if ranks.main:
            record = {"finished": trained.finished, "average": trained.average, "samples": trained.samples}
            record["curve"] = [{k: row[k] for k in ("step", "samples", "loss", "grad_norm")} for row in trained.curve]
            checkpoint.publish(out / f"{name}.pt", record)


def main(out):
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # what it imports lazily takes a second: once, before forking
    statuses = {}
    for world in (1, 2):
        run = {"dropout": 0.2}
        statuses[f"unbroken{world}"] = launch(world, f"unbroken{world}", out, **run)
        for kill_at in (6, 11):
            name = f"killed{world}at{kill_at}"
            statuses[name] = launch(world, name, out, kill_at=kill_at, **run)
            statuses[f"{name}-again"] = launch(world, f"{name}-again", out, training=name, **run)
        statuses[f"stopped{world}"] = launch(world, f"stopped{world}", out, stop_at=7, **run)
        statuses[f"stopped{world}-again"] = launch(
            world, f"stopped{world}-again", out, training=f"stopped{world}", **run
        )
        statuses[f"plain{world}"] = launch(world, f"plain{world}", out)
    statuses["uneven"] = launch(3, "uneven", out, batch=7)
    statuses["even"] = launch(1, "even", out, batch=7)
    statuses["moved-first"] = launch(1, "moved", out, kill_at=10)
    statuses["moved"] = launch(2, "moved", out)
    checkpoint.publish(out / "statuses.pt", statuses)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
