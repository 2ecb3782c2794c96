"""Training of some of the four models on synthetic subjects, as a job's ranks do it: unbroken, killed and stopped.

One process forks the ranks, so that torch is imported once. Each training has its own run folder.
"""

import argparse
import importlib
import itertools
import os
import random
import signal
import sys
from pathlib import Path

import torch
from fixtures.forked_ranks import fork_ranks
from fixtures.made_up_run import make_latents, make_planes

from jobs.launch.worker import StopFlag
from rodin.hooks import Hooks, Stopped
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

STOPPED = 3
INPUTS = ("fit", "index", "embed")


def config_of(stage, steps, *overrides):
    every = f"{stage}.training.checkpoint_every={max(2, steps // 3)}"
    return preset("tiny", ["data.subjects=6", f"{stage}.training.steps={steps}", every, *overrides])


def launch(stage, config, folder, world, act=None):
    """Fork the ranks of one training; returns their exit statuses. `act`: (rank, step, signal to itself)."""

    def work(rank):
        sys.stderr = (folder.path / f"rank-{rank}.err").open("w")
        try:
            train(stage, config, folder, act if act and act[0] == rank else None)
        except Stopped:
            return STOPPED
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return 1
        return 0

    return fork_ranks(world, work)


def train(stage, config, folder, act):
    flag, steps = StopFlag(), itertools.count()
    flag.listen()

    def should_stop():
        if next(steps) == (act[1] if act else None):
            os.kill(os.getpid(), act[2])
        return flag()

    importlib.import_module(f"rodin.stages.{stage}").run(config, folder, 0, Hooks(should_stop=should_stop))


def run_folder(out, name):
    folder = RunFolder(out / name)
    if not folder.path.exists():
        folder.path.mkdir()
        for stage in INPUTS:
            (folder.path / folder.stage(stage).name).symlink_to(RunFolder(out / "inputs").stage(stage))
    return folder


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--stages", nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--signals", nargs="*", default=["SIGKILL", "SIGUSR2"])
    parser.add_argument("--worlds", type=int, nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # what it imports lazily takes a second: before forking
    (given.out / "inputs").mkdir(parents=True)
    for make in (make_planes, make_latents):
        make(config_of("base", given.steps), RunFolder(given.out / "inputs"))
    for stage in given.stages:
        config = config_of(stage, given.steps, *given.set)
        for world in given.worlds:
            folder = run_folder(given.out, f"{stage}-unbroken{world}")
            assert launch(stage, config, folder, world) == [0] * world
        for seed, name in itertools.product(given.seeds, given.signals):
            break_and_go_on(stage, config, given.out, seed, signal.Signals[name])


def break_and_go_on(stage, config, out, seed, number):
    """Kill or stop a training on a random rank and step, then run the same command again."""
    chance, steps = random.Random(f"{stage} {seed} {number}"), getattr(config, stage).training.steps
    act = (chance.randrange(2), chance.randrange(1, steps - 1), number)
    folder = run_folder(out, f"{stage}-{number.name}{seed}")
    ended = launch(stage, config, folder, 2, act)
    assert (-number in ended) if number == signal.SIGKILL else ended == [STOPPED] * 2, (act, ended)
    assert launch(stage, config, folder, 2) == [0, 0], act


if __name__ == "__main__":
    main()
