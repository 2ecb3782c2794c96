"""The ranks (processes) of one training job, and the messages that they exchange."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

from rodin.hooks import OtherRankFailed, Stopped
from rodin.train.parallel.environment import RankVariables
from rodin.train.parallel.waiting import waiting

T = TypeVar("T")
CPU = torch.device("cpu")
PARTING = 0.1  # seconds between the last exchange and the end of the group; Gloo's threads need a few milliseconds
TIMEOUT = timedelta(minutes=30)  # of one exchange: longer than rank 0 takes to write and verify a large checkpoint


@dataclass(frozen=True)
class Ranks:
    """One rank of `world`; a context manager that opens and closes the process group.

    Args:
        rank: number of this process, 0 to world - 1.
        world: number of processes; with one, every exchange is free and no group is opened.
        local_rank: number of this process on its node, so of its GPU.
        device: device of this rank's tensors.
        address: address that rank 0 listens at, "host:port".

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
        """The rank described by the environment variables of a launcher (torchrun, submitit, Slurm's own script).

        Args:
            environment: variables; None: those of this process.

        Returns:
            The only rank of one where none of the variables is set.

        Raises:
            ValueError: only some are set, or one is not a whole number, or out of range.
        """
        found = RankVariables.read(environment)
        if found is None:
            return cls(device=_device(0))
        return cls(found.rank, found.world, found.local_rank, _device(found.local_rank), f"{found.host}:{found.port}")

    @property
    def main(self) -> bool:
        """Whether this is rank 0, which writes files."""
        return self.rank == 0

    def __enter__(self) -> Ranks:
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.world > 1:
            with waiting():
                dist.init_process_group(
                    "nccl" if self.device.type == "cuda" else "gloo",
                    init_method=f"tcp://{self.address}",
                    rank=self.rank,
                    world_size=self.world,
                    timeout=TIMEOUT,
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.world > 1 and dist.is_initialized():
            if error is not None and not isinstance(error, Stopped) and self.device.type == "cuda":
                return  # NCCL's group ends on all ranks together: this one would wait for others that wait for it
            if error is None:
                # Rank 0 has the store of the group: it must not end while others still use it.
                with waiting():
                    dist.barrier()
            # Gloo's threads free the last tensors, which are Python objects, shortly after their reduction is done:
            # if Python ended first, that would abort the process.
            time.sleep(PARTING)
            dist.destroy_process_group()

    def sum_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place; all ranks get the same bits."""
        if self.world > 1:
            with waiting():
                for tensor in tensors:
                    dist.all_reduce(tensor)

    def mean_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in place; all ranks get the same bits."""
        tensors = list(tensors)
        self.sum_(tensors)
        if self.world > 1:
            for tensor in tensors:
                tensor.div_(self.world)

    def broadcast_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by that of rank 0, in place."""
        if self.world > 1:
            with waiting():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def broadcast_text(self, text: str) -> str:
        """The text of rank 0, on every rank."""
        if self.world == 1:
            return text
        content = text.encode()
        size = torch.tensor(len(content), device=self.device)
        self.broadcast_([size])
        numbers = torch.zeros(int(size), dtype=torch.uint8, device=self.device)
        if self.main:
            numbers.copy_(torch.tensor(list(content), dtype=torch.uint8))
        if len(numbers):
            self.broadcast_([numbers])
        return bytes(numbers.tolist()).decode()

    def complete_(self, arrays: Iterable[np.ndarray]) -> None:
        """Complete contiguous arrays, in place, of which each rank has filled in a part and left the rest 0."""
        if self.world == 1:
            return
        for array in arrays:
            content = torch.from_numpy(array.reshape(-1).view(np.uint8))  # whole numbers: sums of floats turn -0 into 0
            everything = content.to(self.device)
            self.sum_([everything])
            content.copy_(everything)

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any rank; the same answer on all ranks."""
        return self._any(flag, working=False)

    def _any(self, flag: bool, working: bool) -> bool:
        """As `any`; `working` as of `waiting`."""
        if self.world == 1:
            return flag
        answer = torch.tensor(float(flag), device=self.device)
        with waiting(working):
            dist.all_reduce(answer, dist.ReduceOp.MAX)
            return bool(answer.item())

    def on_all(self, action: Callable[[], T]) -> T:
        """Run an action on every rank; if it fails on one rank, it raises on all of them.

        Args:
            action: called without arguments.

        Returns:
            The action's result on this rank.

        Raises:
            OSError, ValueError: the action's own error on the ranks where it failed.
            OtherRankFailed: on the other ranks, if it failed on any.
        """
        result, failure = None, None
        try:
            result = action()
        except (OSError, ValueError) as error:
            failure = error
        if self._any(failure is not None, working=True):
            raise failure or OtherRankFailed(
                f"rank {self.rank} stops because another rank failed; its message says why"
            )
        return cast(T, result)

    def on_main(self, action: Callable[[], T]) -> T | None:
        """Run an action on rank 0 alone, as `on_all` does; None on the other ranks."""
        return self.on_all(lambda: action() if self.main else None)


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if count == 1:  # the launcher lets each process see its own GPU only
        return torch.device("cuda", 0)
    if local_rank >= count:
        raise ValueError(f"LOCAL_RANK: got {local_rank}, wanted less than the {count} GPUs this process sees")
    return torch.device("cuda", local_rank)
