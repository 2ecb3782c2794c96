"""Worker: runs shards of stages inside a job. Manifests tell which shards are done; a signal requests a stop.

By hand, without a launcher: `python -m jobs.worker RUN STAGE [SHARD ...]`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from jobs.graph.graph import NAMES, stage_of
from jobs.graph.reads import values_read
from jobs.launch.ending import DRIVER, die_with_driver, end_waits
from jobs.launch.guard import Guard
from jobs.launch.process import Process, process_of_environment, thread_variables
from jobs.launch.requeue import requeue
from jobs.run.begun import keep_settings
from jobs.run.failures import Failed, Failure, describe, failure_of, forget, print_error, record
from jobs.run.hardware import hardware
from jobs.run.progress import Meter
from jobs.run.record import read_config
from jobs.site import mpi_environment, mpiexec, visible_gpus
from rodin.children import STOP_SIGNALS
from rodin.config import Config
from rodin.hooks import Hooks, Stopped
from rodin.memory import forget_peak, peak_rss_mb
from rodin.store import results
from rodin.store.run_folder import RunFolder
from rodin.train.parallel.environment import VARIABLES

POLL_SECONDS = 0.05  # between two looks at mpiexec, short against the shortest stage
REQUEUES = "RODIN_REQUEUES"  # variable of slurm/stage.sbatch: how often a job is requeued; absent: never
NAMED_FAILURES = 3  # failures that one message lists; the others are on record


class StopFlag:
    """Stop request: set by a signal, read by stages between steps. Nothing is saved inside a signal handler."""

    def __init__(self) -> None:
        self.raised = False
        self.requeue = False  # set by USR2 (time limit, preemption), not by TERM or INT

    def __call__(self) -> bool:
        return self.raised

    def listen(self) -> None:
        """Handle USR2, TERM and INT; in the main thread."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._raise)
        end_waits(self._raise)

    def _raise(self, number: int, frame: object) -> None:
        self.raised = True
        self.requeue = self.requeue or number == signal.SIGUSR2


def run_stage(
    run_dir: Path, stage: str, shards: Sequence[int], process: Process, stop: StopFlag, guard: Guard | None = None
) -> None:
    """Run the missing shards of a stage; after a failed shard the others still run.

    Args:
        run_dir: the run folder.
        stage: to run.
        shards: of it.
        process: this one.
        stop: the stop request.
        guard: keeps other jobs off each shard while it runs; None: nobody else can be at it.

    Raises:
        Stopped: the stage saved its state after a stop request.
        Failed: some shard failed; each failure is on record.
    """
    folder = RunFolder(Path(run_dir))
    config = read_config(folder)
    _prepare(stage, process)
    failed = []
    for shard in shards:
        # With several ranks the stage itself checks: a late rank must not see the shard done by the first and leave.
        if process.world == 1 and folder.manifest(stage, shard).is_file():
            continue
        if stop():
            raise Stopped(f"{stage}: stopped before shard {shard}")
        with contextlib.nullcontext(True) if guard is None else guard.holding(stage, shard) as mine:
            if not mine and process.world > 1 and not folder.manifest(stage, shard).is_file():
                raise Failed(f"{stage}: shard {shard} is not begun again; the record of its failure says why")
            # Of several ranks all run it, done or not: the stage itself checks, and none waits for one that left.
            failure = (
                _run_shard(config, folder, stage, shard, process, stop, guard) if mine or process.world > 1 else None
            )
        if failure is not None:
            failed.append(failure)
    if failed:
        raise Failed("; ".join(failure.sentence() for failure in failed[:NAMED_FAILURES]))


def _run_shard(
    config: Config,
    folder: RunFolder,
    stage: str,
    shard: int,
    process: Process,
    stop: StopFlag,
    guard: Guard | None,
) -> Failure | None:
    if process.rank == 0:
        forget(folder, stage, shard)
        keep_settings(folder, stage, values_read(stage, config))
    meter = Meter(folder, stage, shard, quiet=process.rank > 0)
    start, done_before, _ = time.monotonic(), folder.manifest(stage, shard).is_file(), forget_peak()
    try:
        hooks = Hooks(meter if guard is None else guard.watching(meter), stop)
        import_module(stage_of(stage).module).run(config, folder, shard, hooks)
    except Stopped:
        meter.finish()
        raise
    except Exception as error:
        traceback.print_exc()
        if stop():  # the signal also goes to processes that the stage started, compilers for one
            meter.finish()
            raise Stopped(f"{stage} shard {shard}, after the signal to stop: {describe(error)[1]}") from error
        failure = failure_of(error, stage, shard, process.log, process.rank)
        record(folder, failure)
        meter.finish()
        return failure
    if process.rank == 0 and not done_before:
        seconds = time.monotonic() - start
        row = {"stage": "timing", "name": stage, "shard": shard, "seconds": seconds, "peak_rss_mb": peak_rss_mb()}
        on_gpu = 1 if stage_of(stage).alone and config.data.device != "CPU" else None  # Blender is a separate process
        row |= {"paced_seconds": meter.paced_seconds(), "ranks": process.world, **hardware(process.cpus, on_gpu)}
        results.write_rows(folder, f"timing-{stage}", shard, [row])
        print(f"{stage} {shard}: done in {seconds:.1f} s", flush=True)
    meter.finish()
    return None


def _prepare(stage: str, process: Process) -> None:
    """Set what stages read from the environment: ranks, threads, and the GPU of an MPI rank."""
    for name in VARIABLES:
        os.environ.pop(name, None)
    if stage_of(stage).torch_ranks and process.world > 1:
        os.environ.update(process.rank_variables())
    os.environ.update(thread_variables(process.cpus))
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(process.cpus)
    if stage_of(stage).kind == "mpi" and process.world > 1 and len(gpus := visible_gpus()) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[process.local_rank % len(gpus)]  # srun shows each rank all of a node


def under_mpiexec(run_dir: Path, stage: str, shards: Sequence[int], ranks: int, stop: StopFlag) -> None:
    """Run a stage as MPI ranks on this machine.

    Raises:
        Stopped: after a stop request.
        Failed: a rank failed; the cause is on record.
    """
    missing = [shard for shard in shards if not RunFolder(run_dir).manifest(stage, shard).is_file()]
    if not missing:
        return
    python = [sys.executable, "-m", "jobs.launch.worker", str(run_dir), stage]
    command = [mpiexec() or "mpiexec", "-n", str(ranks), *python, *(str(shard) for shard in missing)]
    launched = subprocess.Popen(command, env=mpi_environment())
    signalled = False
    while launched.poll() is None:
        if stop() and not signalled:
            launched.terminate()
            signalled = True
        time.sleep(POLL_SECONDS)
    if stop():
        raise Stopped(f"{stage}: stopped")
    if launched.returncode:
        raise Failed(f"{stage}: mpiexec ended with status {launched.returncode}")


def main(arguments: Sequence[str]) -> int:
    """`python -m jobs.worker RUN STAGE [SHARD ...]`: also the command of mpiexec and of slurm/stage.sbatch."""
    if len(arguments) < 2 or any(not shard.isdigit() for shard in arguments[2:]):
        print("usage: python -m jobs.worker RUN STAGE [SHARD ...]", file=sys.stderr)
        return 2
    run_dir, stage = Path(arguments[0]), arguments[1]
    stop = StopFlag()
    stop.listen()
    die_with_driver()
    try:
        config = read_config(RunFolder(run_dir))
        shards = [int(shard) for shard in arguments[2:]] or list(range(config.shards(stage)))
        check_stage(config, stage, shards)
        process = process_of_environment()
        run_stage(run_dir, stage, shards, process, stop, guard_of(RunFolder(run_dir), process, stop))
    except (ValueError, OSError) as error:
        kind, line = describe(error)
        if kind != "user":
            raise
        print_error(line)
        return 2
    except Failed as error:
        print_error(str(error))
        return 1
    except Stopped as error:
        print_error(str(error))
        limit = os.environ.get(REQUEUES, "")
        if limit.isdigit() and (line := requeue(stop, int(limit), REQUEUES)):
            print(line, flush=True)
        return 1
    return 0


def guard_of(folder: RunFolder, process: Process, stop: StopFlag) -> Guard | None:
    """The guard of a process that was started by hand; None on ranks other than 0, and where a local driver watches."""
    return None if process.rank or os.environ.get(DRIVER) else Guard(folder, "", stop)


def check_stage(config: Config, stage: str, shards: Sequence[int]) -> None:
    """Refuse a stage or a shard that a run does not have.

    Raises:
        ValueError: lists the stages, or the range of shards.
    """
    if stage not in NAMES:
        raise ValueError(f"unknown stage '{stage}'; there are {', '.join(NAMES)}")
    count = config.shards(stage)
    if any(shard >= count for shard in shards):
        raise ValueError(f"stage '{stage}' has shards 0 to {count - 1}, got {max(shards)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
