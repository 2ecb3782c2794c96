"""Who we are among the processes of one training job, and the few things they say to each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from rodin.hooks import OtherRankFailed
from rodin.train.parallel.environment import RankVariables

T = TypeVar("T")
CPU = torch.device("cpu")
PARTING = 0.1  # seconds


@dataclass(frozen=True)
class Ranks:
    """This process among `world`; a context manager that opens and closes the process group.

    Args:
        rank: which process this is, 0 to world - 1.
        world: how many there are; with one, every exchange is free and no group is opened.
        local_rank: which process of this machine, so which of its GPUs.
        device: where this rank computes.
        address: where rank 0 listens, "host:port".

    Example:
        >>> with Ranks() as ranks:
        ...     ranks.main, ranks.any(False)
        (True, False)
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    device: torch.device = CPU
    address: str = "127.0.0.1:29500"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Ranks:
        """The ranks that a launcher (torchrun, submitit, Slurm's own script) put into the environment.

        Args:
            environment: variables to read; none: this process's own.

        Returns:
            One process where none of the variables is set.

        Raises:
            ValueError: only some are set, or one is no number, or out of range.
        """
        found = RankVariables.read(environment)
        if found is None:
            return cls(device=_device(0))
        return cls(found.rank, found.world, found.local_rank, _device(found.local_rank), f"{found.host}:{found.port}")

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes files."""
        return self.rank == 0

    def __enter__(self) -> Ranks:
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.world > 1:
            dist.init_process_group(
                "nccl" if self.device.type == "cuda" else "gloo",
                init_method=f"tcp://{self.address}",
                rank=self.rank,
                world_size=self.world,
                timeout=timedelta(minutes=30),
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.world > 1 and dist.is_initialized():
            if error is None:
                # Rank 0 holds the store they met at: it must not leave while others still use it.
                dist.barrier()
            # Gloo's threads drop the last tensors, Python's objects, a moment after their reduction is done: were
            # Python to end first, that would abort the process.
            time.sleep(PARTING)
            dist.destroy_process_group()

    def sum_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place; all ranks end with the same bits."""
        if self.world > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def mean_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in place; all ranks end with the same bits."""
        tensors = list(tensors)
        self.sum_(tensors)
        if self.world > 1:
            for tensor in tensors:
                tensor.div_(self.world)

    def broadcast_(self, tensors: Iterable[torch.Tensor], source: int = 0) -> None:
        """Replace each tensor by rank `source`'s, in place."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, source)

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on some rank; the same answer on all."""
        if self.world == 1:
            return flag
        answer = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(answer, dist.ReduceOp.MAX)
        return bool(answer.item())

    def gather_parts(self, action: Callable[[], T]) -> T:
        """Run an action on every rank; where it fails on one, no rank goes on.

        Args:
            action: called without arguments.

        Returns:
            What the action returned on this rank.

        Raises:
            OSError, ValueError: the action's own where it failed.
            OtherRankFailed: it failed on another rank.
        """
        result, failure = None, None
        try:
            result = action()
        except (OSError, ValueError) as error:
            failure = error
        if self.any(failure is not None):
            raise failure or OtherRankFailed(
                f"rank {self.rank} stops because another rank failed; its message says why"
            )
        return cast(T, result)

    def on_main(self, action: Callable[[], T]) -> T | None:
        """`together`, with the action on rank 0 alone; None elsewhere."""
        return self.gather_parts(lambda: action() if self.main else None)

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.any(False)


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if count == 1:  # the launcher bound one GPU to each task
        return torch.device("cuda", 0)
    if local_rank >= count:
        raise ValueError(f"LOCAL_RANK: got {local_rank}, wanted less than the {count} GPUs this process sees")
    return torch.device("cuda", local_rank)
