"""Checks that several ranks make together: an all-reduce by the suite's own process group, clocks, locks, MPI."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.doctor.disk import lock_state
from jobs.doctor.finding import Finding, fail, found, warn
from jobs.launch.process import process_of_environment
from rodin.store.errors import StoreError
from rodin.store.mpi import mpi_ranks

if TYPE_CHECKING:
    from rodin.train.parallel.ranks import Ranks

VALUES = 1 << 22  # floats of the all-reduce: 16 MB, a bucket of gradients
ROUNDS = 5  # of the all-reduce and of the clocks; the middle one counts
NAME = 64  # bytes of a host's name
SLOW = {"gloo": 20e6, "nccl": 1e9}  # bytes a second below which a training on several machines waits for the network
APART_SECONDS = 5.0  # between clocks: claims, progress and modification times of files are compared within a minute
CODES = {"taken": 1.0, "held": 2.0}  # of what a rank found at a lock that another holds; others: 3


def together(folder: Path) -> Iterator[Finding]:
    """What the ranks of this job find together; rank 0 alone yields.

    Args:
        folder: shared by the ranks.
    """
    import torch

    from rodin.train.parallel.ranks import Ranks

    process = process_of_environment()
    if process.world > 1:
        os.environ.update(process.rank_variables())
    begin = time.monotonic()
    with Ranks.from_environment() as ranks:
        met, device = time.monotonic() - begin, ranks.device
        kind = "nccl" if device.type == "cuda" else "gloo"
        names = _names(ranks, torch)
        times, right = [], True
        for _ in range(ROUNDS):
            values = torch.full((VALUES,), float(ranks.rank + 1), device=device)
            ranks.any(False)
            start = time.monotonic()
            ranks.sum_([values])
            right = right and bool((values == ranks.world * (ranks.world + 1) / 2).all())
            times.append(time.monotonic() - start)
        clocks, lock = _clocks(ranks, torch), _lock(ranks, torch, folder / "lock-of-rank-0")
        right = not ranks.any(not right)
    if not process.rank:
        speed = 4 * VALUES / sorted(times)[ROUNDS // 2]
        yield from _all_reduce(names, kind, met, speed, right)
        if len(set(names)) > 1:
            yield from _apart(names, clocks)
            yield _lock_finding(names, lock)


def _names(ranks: Ranks, torch: Any) -> list[str]:
    """Host of each rank, on all ranks."""
    table = torch.zeros(ranks.world, NAME, device=ranks.device)
    name = socket.gethostname().split(".")[0].encode()[:NAME]
    table[ranks.rank, : len(name)] = torch.tensor(list(name), dtype=table.dtype)
    ranks.sum_([table])
    return [bytes(int(value) for value in row if value).decode(errors="replace") for row in table.tolist()]


def _clocks(ranks: Ranks, torch: Any) -> list[float]:
    """Seconds by which the clock of each rank is ahead of rank 0's, on all ranks."""
    rounds = []
    for _ in range(ROUNDS):
        table = torch.zeros(ranks.world, dtype=torch.float64, device=ranks.device)
        ranks.any(False)
        table[ranks.rank] = time.time()
        ranks.sum_([table])
        rounds.append([value - table[0].item() for value in table.tolist()])
    return [sorted(values)[ROUNDS // 2] for values in zip(*rounds, strict=True)]


def _lock(ranks: Ranks, torch: Any, path: Path) -> list[float]:
    """What each rank finds at a lock that rank 0 holds, as a number of CODES, on all ranks."""
    table = torch.zeros(ranks.world, device=ranks.device)

    def others() -> str:
        ranks.any(False)
        if ranks.rank:
            table[ranks.rank] = CODES.get(lock_state(path), 3.0)
        ranks.any(False)
        return "taken"

    mine = lock_state(path, others) if ranks.main else others()
    if mine != "taken":  # rank 0 got none, so the others wait for nothing
        others()
        table[0] = 3.0
    ranks.sum_([table])
    return table.tolist()


def _all_reduce(names: list[str], kind: str, met: float, speed: float, right: bool) -> Iterator[Finding]:
    hosts = ", ".join(dict.fromkeys(names))
    line = f"{len(names)} ranks on {hosts} meet in {met:.1f} s and add 16 MB over {kind} at {speed / 1e6:,.0f} MB/s"
    if not right:
        yield fail(
            "all-reduce", f"{line}: the sum is wrong", "another network: `export NCCL_SOCKET_IFNAME=...` in setup"
        )
    elif len(set(names)) > 1 and speed < SLOW[kind]:
        name = "NCCL_SOCKET_IFNAME" if kind == "nccl" else "GLOO_SOCKET_IFNAME"
        yield warn("all-reduce", line, f"`export {name}=...` in setup names the fast network; `ip -brief address`")
    else:
        yield found("all-reduce", line)


def _apart(names: list[str], clocks: list[float]) -> Iterator[Finding]:
    farthest = max(range(len(names)), key=lambda rank: abs(clocks[rank]))
    line = f"{names[farthest]} and {names[0]} differ by {1000 * abs(clocks[farthest]):.0f} ms"
    if abs(clocks[farthest]) > APART_SECONDS:
        yield warn("clocks", line, "ask the administrators for NTP: progress and the ages of files are compared")
    else:
        yield found("clocks", line)


def _lock_finding(names: list[str], lock: list[float]) -> Finding:
    others = lock[1:]
    if lock[0] == 0 and all(code == CODES["held"] for code in others):
        return found("locks between machines", f"a lock on {names[0]} is seen on the others")
    mend = "start one `rodin run` of a run at a time, and on one machine"
    if any(code == CODES["taken"] for code in others):
        return warn("locks between machines", f"a lock on {names[0]} is not seen on the others", mend)
    return warn("locks between machines", "this file system has no locks", mend)


def message_passing(wanted: int) -> Iterator[Finding]:
    """What MPI ranks find together; rank 0 alone yields.

    Args:
        wanted: ranks that were started.
    """
    mend = "`mpi` of the site file must fit mpi4py's MPI: pmix for OpenMPI, pmi2 for MPICH"
    try:
        here = mpi_ranks()
    except StoreError as problem:
        yield fail("MPI", str(problem), mend)
        return
    gathered = here.gather((here.rank, socket.gethostname().split(".")[0]))
    size = here.broadcast(here.size)
    if gathered is None:
        return
    hosts = ", ".join(dict.fromkeys(host for _, host in gathered))
    if size != wanted or [rank for rank, _ in gathered] != list(range(wanted)):
        line = f"{wanted} processes were started, and {size} of them meet: each runs as if it were alone"
        yield fail("MPI", line, mend)
    else:
        yield found("MPI", f"{size} ranks on {hosts} meet by mpi4py")
