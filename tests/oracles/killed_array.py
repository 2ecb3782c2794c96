"""A fit array whose tasks are killed at random moments and started again until all shards are done.

It runs as a program, so that tasks are forked from a process in which torch has computed nothing yet.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # what the first optimiser would import, in every task anew

from rodin.config import Config
from rodin.hooks import Hooks
from rodin.stages import fit
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder

WORKERS = 3  # tasks at a time
OVERTAKEN = 3  # exit status of a task whose shard another task has taken over


def start(config: Config, run: RunFolder, shard: int) -> int:
    """One task of the array in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        torch.set_num_threads(1)
        fit.run(config, run, shard, Hooks())
        status = 0
    except StoreError as problem:
        status = OVERTAKEN if "another attempt has taken this shard over" in str(problem) else 1
        sys.stderr.write(f"{problem}\n")
    finally:
        os._exit(status)


def finish(config: Config, run: RunFolder, kills: int, seed: int, pause: float) -> int:
    """Run the array to its end; returns the number of tasks killed on the way.

    One start in ten may take a shard that another task is still writing, like a requeued task beside its orphan.
    """
    generator, killed, tasks = random.Random(seed), 0, {}
    while True:
        left = [shard for shard in range(config.shards("fit")) if not run.manifest("fit", shard).exists()]
        if not left and not tasks:
            return killed
        while left and len(tasks) < WORKERS:
            free = [shard for shard in left if shard not in tasks.values()] or left
            shard = generator.choice(left if generator.random() < 0.1 else free)
            tasks[start(config, run, shard)] = shard
        time.sleep(generator.uniform(0, pause))
        if killed < kills:
            os.kill(generator.choice(list(tasks)), signal.SIGKILL)
        for task in list(tasks):
            done, status = os.waitpid(task, os.WNOHANG)
            if done:
                killed += os.WIFSIGNALED(status)
                if os.WIFEXITED(status) and os.WEXITSTATUS(status) not in (0, OVERTAKEN):
                    raise SystemExit(f"a task of shard {tasks[task]} failed with {os.WEXITSTATUS(status)}")
                del tasks[task]


def main(folder: Path, config: Config, kills: int, pause: float) -> None:
    """Fit copies of `folder`/whole, broken-0 and on, until `kills` tasks were killed; then `whole` undisturbed."""
    whole, number = folder / "whole", 0
    while kills > 0:
        broken = folder / f"broken-{number}"
        shutil.copytree(whole, broken)
        killed = finish(config, RunFolder(broken), kills, number, pause)
        sys.stdout.write(f"{killed}\n")
        kills, number = kills - killed, number + 1
    finish(config, RunFolder(whole), 0, 0, 0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Config.model_validate_json(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
