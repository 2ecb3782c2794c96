"""Tables of a site file: where jobs are sent, and what they find there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

RESUBMIT = "resubmit"  # beside the stages: the job of a run that sends again what Slurm ended

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SiteTable(BaseModel):
    """Frozen table of a site file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)


class Placement(SiteTable):
    """Where jobs are sent; absent: as for all jobs; "": nothing is passed to sbatch."""

    partition: str | None = None
    """sbatch --partition"""
    account: str | None = None
    """sbatch --account"""
    qos: str | None = None
    """sbatch --qos"""
    constraint: str | None = None
    """sbatch --constraint"""


class Place(Placement):
    """Where jobs are sent, with machines and limits of its own; what is absent is as for all jobs."""

    cpus_per_node: Positive | None = None
    """cores of each machine there"""
    memory_gb_per_node: Real | None = None
    """memory of each machine there, gigabytes"""
    max_minutes: Positive | None = None
    """longest wall time of one job there, minutes"""


class StageOverride(Place):
    """One stage on this site: where it is sent, and its resources where the estimate of jobs/graph/stages/ is wrong."""

    nodes: Positive | None = None
    """machines"""
    ranks: Positive | None = None
    """processes on each machine; of the arrays only `fit` takes several, which share the people of a shard"""
    cpus: Positive | None = None
    """cores of each process"""
    gpus: Count | None = None
    """GPUs of each process"""
    memory_gb: Real | None = None
    """memory of each machine, gigabytes"""
    minutes: Real | None = None
    """expected time of the whole stage, all its shards one after another, minutes"""
    wall_minutes: Real | None = None
    """wall time to ask for, minutes, for each shard; an element of several asks for their sum, any for at least 5"""
    gpu_type: str | None = None
    """type in --gres=gpu:TYPE:N"""
    extra: dict[str, str | int | bool] = Field(default_factory=dict)
    """further sbatch parameters of this stage, after those of all stages"""


@dataclass(frozen=True)
class Limits:
    """What a place gives one job.

    Args:
        cpus: cores of each machine.
        memory_gb: memory of each machine, gigabytes.
        minutes: longest wall time, minutes.
    """

    cpus: int
    memory_gb: float
    minutes: int
