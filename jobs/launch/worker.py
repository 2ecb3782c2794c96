"""Runs shards of stages inside a job: manifests say what is done, hooks carry progress and the wish to stop.

By hand, without any launcher: `python -m jobs.launch.worker RUN STAGE [SHARD ...]`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from jobs.graph.graph import STAGES
from jobs.run.failures import Failed, Failure, describe, forget, print_error, record
from jobs.run.hardware import hardware
from jobs.run.lock import born
from jobs.run.progress import Meter
from jobs.run.record import read_config
from jobs.site import mpi_environment, mpiexec
from rodin.config import Config
from rodin.hooks import Hooks, Stopped
from rodin.memory import forget_peak, peak_rss_mb
from rodin.store import results
from rodin.store.run_folder import RunFolder

RANKED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
DRIVER = "RODIN_DRIVER"  # "pid:born" of the local driver whose death ends us


@dataclass(frozen=True)
class Process:
    """Which process of which job this is.

    Args:
        rank: among all processes of the job.
        world: processes of the job.
        local_rank: among those on this machine.
        master: host of rank 0.
        port: on that host, for torch.distributed to meet.
        cpus: cores this process may use.
        log: what it prints goes there.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    master: str = "127.0.0.1"
    port: int = 0
    cpus: int = 1
    log: str = ""


class StopFlag:
    """Set by a signal, read by stages between steps: nothing is ever saved inside a handler."""

    def __init__(self) -> None:
        self.raised = False
        self.again = False  # by USR2: the job shall be requeued; TERM and INT mean that somebody wants it gone

    def __call__(self) -> bool:
        return self.raised

    def listen(self) -> None:
        """Take over USR2 (time limit, preemption), TERM and INT."""
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._raise)

    def _raise(self, number: int, frame: object) -> None:
        self.raised = True
        self.again = self.again or number == signal.SIGUSR2


def die_with_driver() -> None:
    """End this process and its children when the driver named in the environment is gone."""
    pid, _, when = os.environ.get(DRIVER, "").partition(":")
    if not pid:
        return

    def watch() -> None:
        while born(int(pid)) == when:
            time.sleep(0.5)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    threading.Thread(target=watch, daemon=True).start()


def run_stage(run_dir: Path, stage: str, shards: Sequence[int], place: Process, stop: StopFlag) -> None:
    """Run the missing shards of a stage; one that fails does not sink the others.

    Raises:
        Stopped: the stage saved its state because it was told to stop.
        Failed: some shard failed; each is on record.
    """
    folder = RunFolder(Path(run_dir))
    config = read_config(folder)
    _settle(stage, place)
    failed = []
    for shard in shards:
        if place.world == 1 and folder.manifest(stage, shard).is_file():
            continue  # several ranks leave it to the stage: a late one must not find it done by the first and go
        if stop():
            raise Stopped(f"{stage}: stopped before shard {shard}")
        failure = _run_shard(config, folder, stage, shard, place, stop)
        if failure is not None:
            failed.append(failure)
    if failed:
        raise Failed("; ".join(failure.sentence() for failure in failed[:3]))


def _run_shard(
    config: Config, folder: RunFolder, stage: str, shard: int, place: Process, stop: StopFlag
) -> Failure | None:
    if place.rank == 0:
        forget(folder, stage, shard)
    meter = Meter(folder, stage, shard, quiet=place.rank > 0)
    start, _ = time.monotonic(), forget_peak()
    try:
        import_module(_module(stage)).run(config, folder, shard, Hooks(meter, stop))
    except Stopped:
        meter.finish()
        raise
    except Exception as error:
        traceback.print_exc()
        kind, line = describe(error)
        failure = Failure(stage, shard, kind, line, place.log, rank=place.rank)
        record(folder, failure)
        meter.finish()
        return failure
    if place.rank == 0:
        seconds = time.monotonic() - start
        row = {"stage": "timing", "name": stage, "shard": shard, "seconds": seconds, "peak_rss_mb": peak_rss_mb()}
        on_gpu = 1 if stage == "render" and config.data.device != "CPU" else None  # Blender is a process of its own
        row |= {"paced_seconds": meter.paced_seconds(), "ranks": place.world, **hardware(place.cpus, on_gpu)}
        results.write_rows(folder, f"timing-{stage}", shard, [row])
        print(f"{stage} {shard}: done in {seconds:.1f} s", flush=True)
    meter.finish()
    return None


def _module(stage: str) -> str:
    return next(page.module for page in STAGES if page.name == stage)


def _settle(stage: str, place: Process) -> None:
    """Set what the stages read from the environment: ranks and threads."""
    for name in RANKED:
        os.environ.pop(name, None)
    kind = next(page.kind for page in STAGES if page.name == stage)
    if kind == "train" and place.world > 1:
        values = (place.rank, place.world, place.local_rank, place.master, place.port)
        os.environ.update({name: str(value) for name, value in zip(RANKED, values, strict=True)})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(place.cpus)
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(place.cpus)


def under_mpiexec(run_dir: Path, stage: str, shards: Sequence[int], ranks: int, stop: StopFlag) -> None:
    """Run a stage as MPI ranks on this machine.

    Raises:
        Stopped: told to stop.
        Failed: a rank failed; why is on record.
    """
    missing = [shard for shard in shards if not RunFolder(run_dir).manifest(stage, shard).is_file()]
    if not missing:
        return
    command = [
        mpiexec() or "mpiexec",
        "-n",
        str(ranks),
        sys.executable,
        "-m",
        "jobs.launch.worker",
        str(run_dir),
        stage,
    ]
    process = subprocess.Popen(command + [str(shard) for shard in missing], env=mpi_environment())
    told = False
    while process.poll() is None:
        if stop() and not told:
            process.terminate()
            told = True
        time.sleep(0.05)
    if stop():
        raise Stopped(f"{stage}: stopped")
    if process.returncode:
        raise Failed(f"{stage}: mpiexec ended with status {process.returncode}")


def main(arguments: Sequence[str]) -> int:
    """`python -m jobs.launch.worker RUN STAGE [SHARD ...]`: what mpiexec and slurm/stage.sbatch start."""
    if len(arguments) < 2 or any(not shard.isdigit() for shard in arguments[2:]):
        print("usage: python -m jobs.launch.worker RUN STAGE [SHARD ...]", file=sys.stderr)
        return 2
    run_dir, stage = Path(arguments[0]), arguments[1]
    stop = StopFlag()
    stop.listen()
    die_with_driver()
    try:
        config = read_config(RunFolder(run_dir))
        shards = [int(shard) for shard in arguments[2:]] or list(range(config.shards(stage)))
        check_stage(config, stage, shards)
        run_stage(run_dir, stage, shards, process_of_environment(), stop)
    except (ValueError, FileNotFoundError) as error:
        print_error(str(error))
        return 2
    except (Failed, Stopped) as error:
        print_error(str(error))
        return 1
    return 0


def check_stage(config: Config, stage: str, shards: Sequence[int]) -> None:
    """Refuse a stage or a shard that a run does not have.

    Raises:
        ValueError: names what there is.
    """
    names = [page.name for page in STAGES]
    if stage not in names:
        raise ValueError(f"unknown stage '{stage}'; there are {', '.join(names)}")
    count = config.shards(stage)
    if any(shard >= count for shard in shards):
        raise ValueError(f"stage '{stage}' has shards 0 to {count - 1}, got {max(shards)}")


def process_of_environment() -> Process:
    """Which process this is, from what MPI launchers, torchrun and srun set.

    Raises:
        ValueError: only some of torchrun's variables are set.
    """
    given = {name: os.environ[name] for name in RANKED if os.environ.get(name)}
    if given and _number("PMI_RANK", "OMPI_COMM_WORLD_RANK") is None:
        return _process_of_torchrun(given)
    rank = _number("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID") or 0
    world = _number("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS") or 1
    cpus = _number("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS") or 1
    local = _number("SLURM_LOCALID")
    port = 20000 + (_number("SLURM_JOB_ID") or 0) % 20000
    return Process(rank, world, rank if local is None else local, _first_host(), port, cpus)


def _process_of_torchrun(given: dict[str, str]) -> Process:
    wrong = [name for name in RANKED if name not in given or not (name == "MASTER_ADDR" or given[name].isdigit())]
    if wrong:
        raise ValueError(
            f"half a training job in the environment: {', '.join(wrong)} missing or no number; "
            f"set all of {', '.join(RANKED)}, as torchrun does, or none for one process"
        )
    rank, world, local_rank, port = (int(given[name]) for name in RANKED if name != "MASTER_ADDR")
    return Process(rank, world, local_rank, given["MASTER_ADDR"], port, _number("OMP_NUM_THREADS") or 1)


def _number(*names: str) -> int | None:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), None)


def _first_host() -> str:
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    if not nodes:
        return "127.0.0.1"
    listed = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, timeout=30)
    return (listed.stdout.split() or ["127.0.0.1"])[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
