"""Trains a toy network the way a job does, unbroken and killed, on one rank and on two; run by test_resume.py.

One process that forks the ranks, so that torch is imported once. Outcomes are written as files of tensors.
"""

import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from fixtures.forked_ranks import fork_ranks
from fixtures.toy_training import toy_training
from torch import nn

from rodin.train.loop import Callbacks
from rodin.train.parallel import flat
from rodin.train.parallel.ranks import Ranks
from rodin.train.state import checkpoint

WHOLE = [np.array([-0.0, 1.5, -2.0, np.nan], np.float32), np.array([-0.0, 0.1, 3, -4], np.float16), np.arange(4) > 1]


def launch(world, name, out, **options):
    """Fork the ranks of one training; returns their exit statuses."""

    def work(rank):
        try:
            rank_of_job(name, out, **options)
        except BaseException as error:
            (out / f"{name}-rank{rank}.error").write_text(f"{type(error).__name__}: {error}")
            return 1
        return 0

    return fork_ranks(world, work)


def rank_of_job(name, out, kill_at=None, stop_at=None, training="", bucket=flat.BUCKET, **options):
    calls, done, flat.BUCKET = [0], [0], bucket
    with Ranks.from_environment() as ranks:

        def on_loss():
            calls[0] += 1
            if calls[0] == kill_at and ranks.rank == ranks.world - 1:
                os.kill(os.getpid(), signal.SIGKILL)

        def progress(step, total, note):
            done[0] = step

        trained = toy_training(
            out / (training or name),
            ranks,
            on_loss=on_loss,
            callbacks=Callbacks(
                progress=progress, should_stop=lambda: done[0] + 1 == stop_at and ranks.rank == ranks.world - 1
            ),
            **options,
        )
        if ranks.main:
            record = {"finished": trained.finished, "average": trained.average, "samples": trained.samples}
            keys = ("step", "samples", "loss", "grad_norm", "skipped")
            record["curve"] = [{key: row[key] for key in keys} for row in trained.curve]
            checkpoint.publish(out / f"{name}.pt", record)


def exchange(out):
    """Two ranks use every way of `Ranks` to exchange values; each writes down its results."""

    def failing(rank, on):
        def fail():
            if rank == on:
                raise OSError(f"disk of rank {on} is full")

        return fail

    def tried(call):
        try:
            return call()
        except (OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    def work(rank):
        with Ranks.from_environment() as ranks:
            calls = [lambda: ranks.on_all(failing(rank, 1)), lambda: ranks.on_main(failing(rank, 0))]
            calls += [lambda: ranks.on_all(lambda: 10 + rank), lambda: ranks.on_main(lambda: 7 + rank)]
            results = [tried(call) for call in calls]
            numbers = [torch.tensor([1.0 + rank, 5.0]) for _ in range(3)]
            ranks.sum_(numbers[:1])
            ranks.mean_(numbers[1:2])
            ranks.broadcast_(numbers[2:])
            flags = [ranks.any(rank == 1), ranks.any(False)]
            texts = [ranks.broadcast_text(text) for text in (f"rank {rank} – ü", "" if rank == 0 else "longer")]
            parts = [np.where(np.arange(4) % 2 == rank, full, 0).astype(full.dtype) for full in WHOLE]
            ranks.complete_(parts)
            texts.append("as before" if [p.tobytes() for p in parts] == [w.tobytes() for w in WHOLE] else "other bits")
            record = {"results": results, "numbers": [one.tolist() for one in numbers], "flags": flags, "texts": texts}
            checkpoint.publish(out / f"exchange{rank}.pt", record)
        return 0

    return fork_ranks(2, work)


def killed_and_again(world, name, out, kill_at, again=None, **run):
    """A training killed at a loss of its last rank, then run again, on another number of ranks if asked."""
    first = launch(world, name, out, kill_at=kill_at, **run)
    return {name: first, f"{name}-again": launch(again or world, f"{name}-again", out, training=name, **run)}


def main(out):
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # what it imports lazily takes a second: once, before forking
    statuses, run = {}, {"dropout": 0.2}
    for world in (1, 2):
        launch(world, f"unbroken{world}", out, **run)
        for kill_at in (6, 11):
            statuses |= killed_and_again(world, f"killed{world}at{kill_at}", out, kill_at, **run)
        launch(world, f"stopped{world}", out, stop_at=7, **run)
        launch(world, f"stopped{world}-again", out, training=f"stopped{world}", **run)
    launch(4, "unbroken4", out, **run)
    launch(1, "parts", out, micro_batch=5, **run)
    launch(1, "recomputed", out, recompute=True, **run)
    launch(1, "dry", out)
    launch(2, "bucketed", out, bucket=64, micro_batch=3, **run)
    statuses |= killed_and_again(1, "moved", out, 10, again=2, **run)
    launch(2, "sharded", out, sharded=True, **run)
    launch(2, "sharded-recomputed", out, sharded=True, recompute=True, **run)
    statuses |= killed_and_again(2, "sharded-killed", out, 11, sharded=True, **run)
    statuses |= killed_and_again(2, "resharded", out, 11, again=3, sharded=True, **run)
    statuses |= killed_and_again(2, "gathered", out, 11, again=1, sharded=True, **run)
    half = {"precision": "float16", "overflow_at": (5,), **run}
    launch(2, "half", out, **half)
    statuses |= killed_and_again(2, "half-killed", out, 11, **half)
    statuses["exchange"] = exchange(out)
    statuses["five"] = launch(5, "five", out)
    checkpoint.publish(out / "statuses.pt", statuses)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
