"""Environment variables that place a process in a training job, as torchrun sets them. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class RankVariables:
    """The values of VARIABLES, in that order.

    Args:
        rank: number of this process in the job, from 0.
        world: processes of the job.
        local_rank: number of this process on its machine, from 0.
        host: machine of rank 0.
        port: on that machine, where the ranks meet.
    """

    rank: int
    world: int
    local_rank: int
    host: str
    port: int

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> RankVariables | None:
        """Read the variables; None where none of them is set.

        Args:
            environment: variables to read; None: those of this process.

        Raises:
            ValueError: only some are set, one is not a whole number, or the rank is not below the world size.
        """
        environment = os.environ if environment is None else environment
        missing = [name for name in VARIABLES if not environment.get(name)]
        if len(missing) == len(VARIABLES):
            return None
        if missing:
            raise ValueError(
                f"half a training job in the environment: {', '.join(missing)} missing; "
                f"set all of {', '.join(VARIABLES)}, as torchrun does, or none for one process"
            )
        rank, world, local_rank, port = (
            _number(environment, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
        )
        if rank >= world:
            raise ValueError(f"RANK: got {rank}, wanted less than WORLD_SIZE {world}")
        return cls(rank, world, local_rank, environment["MASTER_ADDR"], port)

    def variables(self) -> dict[str, str]:
        """The environment variables with these values."""
        values = (self.rank, self.world, self.local_rank, self.host, self.port)
        return {name: str(value) for name, value in zip(VARIABLES, values, strict=True)}


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isdigit():
        raise ValueError(f"{name}: got '{text}', wanted a whole number")
    return int(text)
