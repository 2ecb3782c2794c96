"""sbatch, squeue, sacct, scancel and scontrol of a world, with answers that are late, lost, wrong or none."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from slurm_model.cluster import FINAL, Cluster, Element, Job
from slurm_model.world import World

REMEMBERED = 300.0  # seconds for which the controller knows an ended job
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
DOWN = "error: Unable to contact slurm controller (connect failure)"


@dataclass
class Clients:
    """The programs.

    Args:
        world: the clock.
        cluster: the controller.
        ills: probability of each ill; an absent one never happens.
        away: times (begin, end) at which the controller does not answer.
    """

    world: World
    cluster: Cluster
    ills: dict[str, float] = field(default_factory=dict)
    away: list[tuple[float, float]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)

    def ill(self, name: str) -> bool:
        return self.world.chance(self.ills.get(name, 0.0))

    def __call__(self, command: list[str], seconds: float) -> str:
        tool = command[0]
        self.calls[tool] = self.calls.get(tool, 0) + 1
        self.world.sleep(self.world.random.uniform(0.05, 3.0))
        if tool == "sacct":
            return self._sacct(command)
        if any(begin <= self.world.now < end for begin, end in self.away):
            if self.world.chance(0.3):
                self._hang(command, seconds)
            self._fail(command, f"{tool}: {DOWN}")
        if tool != "sbatch" and self.ill("deaf"):
            self._fail(command, f"{tool}: {DOWN}")
        if tool != "sbatch" and self.ill("hang"):
            self._hang(command, seconds)
        if tool == "sinfo":
            return f"{len(self.cluster.nodes)}\n"
        return {"sbatch": self._sbatch, "squeue": self._squeue, "scancel": self._scancel, "scontrol": self._scontrol}[
            tool
        ](command, seconds)

    def _fail(self, command: list[str], line: str) -> NoReturn:
        raise subprocess.CalledProcessError(1, command, output="", stderr=line + "\n")

    def _hang(self, command: list[str], seconds: float, printed: str = "") -> NoReturn:
        self.world.sleep(min(seconds, 600.0))
        raise subprocess.TimeoutExpired(command, seconds, output=printed.encode())

    def _sbatch(self, command: list[str], seconds: float) -> str:
        text = Path(command[1]).read_text()
        count = int(text.split("--array='0-")[1].split("%")[0]) + 1 if "--array='0-" in text else 1
        if count > self.cluster.array_limit:
            self._fail(command, "sbatch: error: Batch job submission failed: Invalid job array specification")
        if self.cluster.waiting() + count > self.cluster.limit:
            self._fail(
                command,
                "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates "
                "accounting/QOS policy (job submit limit, user's size and/or time limits)",
            )
        if self.ill("refused"):
            self._fail(command, "sbatch: error: Batch job submission failed: Invalid account or account/partition")
        if self.ill("never taken"):
            self._fail(command, TIMED_OUT)
        if self.ill("taken late"):
            self.world.at(self.world.random.choice([5.0, 40.0, 200.0, 2000.0]), lambda: self.cluster.accept(text))
            if self.world.chance(0.5):
                self._hang(command, seconds)
            self._fail(command, TIMED_OUT)
        job = self.cluster.accept(text)
        if self.ill("answer lost"):
            self._fail(command, TIMED_OUT)
        if self.ill("answer slow"):
            self._hang(command, seconds, f"Submitted batch job {job.id}\n" if self.world.chance(0.5) else "")
        if self.ill("answer odd"):
            return "welcome, job 12 was here before\n"
        self.world.sleep(self.world.random.uniform(0.0, 2.0))  # the client may be killed while the answer is on its way
        return f"Submitted batch job {job.id}\n"

    def _squeue(self, command: list[str], seconds: float) -> str:
        lines = []
        for job in self.cluster.jobs:
            for one in job.elements:
                if one.state not in FINAL and not one.hidden:
                    lines.append(f"{one.name}|{job.name}|{one.state}|{one.reason}")
                elif one.state in FINAL and one.process and self.world.now - one.ended < 5 and self.world.chance(0.5):
                    lines.append(f"{one.name}|{job.name}|COMPLETING|None")
        return "\n".join(lines) + "\n"

    def _sacct(self, command: list[str]) -> str:
        if self.ills.get("sacct off"):
            self._fail(command, "Slurm accounting storage is disabled")
        if self.ill("sacct empty"):
            return ""
        begin = time.mktime(time.strptime(command[command.index("--starttime") + 1], "%Y-%m-%dT%H:%M:%S"))
        names = [one.removeprefix("--name=") for one in command if one.startswith("--name=")]
        if names:
            wanted = [job for job in self.cluster.jobs if job.name in names]
        else:
            ids = command[command.index("--jobs") + 1].split(",")
            wanted = [job for job in map(self.cluster.find, map(int, ids)) if job is not None]
        return "".join(self._accounted(job) for job in wanted if job.submitted >= begin)

    def _accounted(self, job: Job) -> str:
        late, lines = self.ills.get("sacct late", 0.0), []
        for one in job.elements:
            known = one.state if one.state not in FINAL or self.world.now - one.ended >= late else "RUNNING"
            name, start = one.name, "2027-01-01T00:00:00" if one.started else "Unknown"
            if not one.started:
                name = f"{job.id}_[{one.number}]" if not job.single else name
            by = f" by {one.by}" if known == "CANCELLED" and one.by else ""
            code = "0:0" if known == "COMPLETED" else "1:0"
            lines.append(f"{name}|{job.name}|{known}{by}|{code}|{start}|{one.node or 'None assigned'}\n")
            if one.started and one.killed:
                lines.append(f"{name}.0|python|{known}|0:9|{start}|{one.node}\n")
        return "".join(lines)

    def _elements(self, word: str) -> list[Element]:
        number, _, element = word.partition("_")
        job = self.cluster.find(int(number))
        if job is None:
            return []
        return [one for one in job.elements if not element or one.number == int(element)]

    def _scancel(self, command: list[str], seconds: float) -> str:
        names = [one.removeprefix("--name=") for one in command if one.startswith("--name=")]
        found = [one for job in self.cluster.jobs if job.name in names for one in job.elements]
        for word in command[1:]:
            found += self._elements(word) if word[0] != "-" else []
        for one in found:
            if one.state not in FINAL:
                one.by = "1000"
                self.cluster.end(one, "CANCELLED")
        return ""

    def _scontrol(self, command: list[str], seconds: float) -> str:
        found = self._elements(command[-1])
        if "requeue" in command:
            for one in found:
                self.cluster.requeue(
                    one, self.world.random.uniform(1, 30), gap=self.world.random.choice([0, 0, 12, 25])
                )
        elif "release" in command:
            for one in found:
                one.reason = "Priority"
            self.cluster.kick()
        elif "show" in command:
            known = [one for one in found if one.state not in FINAL or self.world.now - one.ended < REMEMBERED]
            if not known:
                self._fail(command, "slurm_load_jobs error: Invalid job id specified")
            return "\n".join(self._shown(one) for one in known) + "\n"
        return ""

    def _shown(self, one: Element) -> str:
        job = one.job
        place = "" if job.single else f"ArrayJobId={job.id} ArrayTaskId={one.number} "
        code = "0:9" if one.killed and one.state == "FAILED" else "1:0"
        return f"JobId={job.id} {place}JobName={job.name} JobState={one.state} NodeList={one.node} ExitCode={code}"
