"""What can be done to a private Slurm, its nodes and the disk under a run; each call tells whom it has hit."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from fixtures import private_slurm as private

CLIENT_SECONDS = 60  # longest wait for a client of Slurm on a busy machine
LISTED = "%i|%T|%j|%N"
GROUP = re.compile(r"(?P<stem>[a-z]+)\[(?P<numbers>[\d,-]+)\]")
BLOCK = bytes(1 << 16)


@dataclass(frozen=True)
class Element:
    """An array element, or a job, in the queue."""

    job: str
    state: str
    stage: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A process of a step."""

    pid: int
    job: str
    stage: str


@dataclass
class Machine:
    """A private Slurm and the small disk that its runs lie on.

    Args:
        folder: of the cluster.
        environment: speaks to it.
        disk: mount point of a tmpfs; None: there is none to fill.
        nodes: how many there are.
    """

    folder: Path
    environment: dict[str, str]
    disk: Path | None
    nodes: int = 4

    def ask(self, *command: str, check: bool = False) -> str:
        """Output of a client; empty where it fails or does not answer."""
        try:
            done = subprocess.run(
                command,
                env=os.environ | self.environment,
                capture_output=True,
                text=True,
                timeout=CLIENT_SECONDS,
                check=check,
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    def elements(self) -> list[Element]:
        """All that is in the queue, in the order of their ids."""
        found = []
        for line in self.ask("squeue", "--array", "--noheader", f"--format={LISTED}").splitlines():
            job, state, name, nodes = line.split("|")
            found.append(Element(job, state, name.split("-")[1], tuple(node_names(nodes))))
        return sorted(found, key=lambda one: [int(part) for part in one.job.split("_")])

    def tasks(self) -> list[Task]:
        """Processes of steps, in the order of their jobs."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                variables = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            values = dict(one.decode(errors="replace").split("=", 1) for one in variables if b"=" in one)
            if b"jobs.launch.task" not in words or values.get("SLURM_CONF") != self.environment["SLURM_CONF"]:
                continue
            if b"srun" in words[0] or "SLURM_PROCID" not in values:
                continue
            array, element = values.get("SLURM_ARRAY_JOB_ID"), values.get("SLURM_ARRAY_TASK_ID")
            job = f"{array}_{element}" if array else values.get("SLURM_JOB_ID", "")
            found.append(Task(int(process.name), job, words[words.index(b"jobs.launch.task") + 2].decode()))
        return sorted(found, key=lambda one: (one.job, one.pid))

    def kill(self, pid: int) -> bool:
        """Kill -9; whether it was there."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def stop_controller(self) -> None:
        """Kill slurmctld, as its machine would at a reboot."""
        path = self.folder / "pids" / "4-slurmctld"
        self.kill(int(path.read_text()))
        path.unlink()

    def start_controller(self) -> None:
        """Start slurmctld with the state that the other has left."""
        private.start_controller(self.folder, self.environment)

    def lose_node(self, node: str, orphans: bool) -> None:
        """Kill a node's slurmd and stepds; without `orphans` also all that ran there."""
        private.lose_node(self.folder, node, tasks=not orphans)

    def start_node(self, node: str) -> None:
        """Start a node's slurmd again."""
        private.start_node(self.folder, self.environment, node)

    def set_node(self, node: str, state: str) -> bool:
        """Set a node's state; whether the controller did so."""
        words = ("scontrol", "update", f"nodename={node}", f"state={state}", "reason=chaos")
        try:
            done = subprocess.run(words, env=os.environ | self.environment, capture_output=True, timeout=CLIENT_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def unusable(self) -> list[str]:
        """Nodes that take no jobs although their slurmd may answer."""
        listed = self.ask("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        bad = ("down", "drain", "fail")
        return sorted({line.split()[0] for line in listed if line.split()[1].startswith(bad)})

    def fill(self) -> None:
        """Write until the disk takes no more byte."""
        assert self.disk is not None
        with (self.disk / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(BLOCK)

    def free(self) -> None:
        """Give the space back."""
        assert self.disk is not None
        (self.disk / "filler").unlink()

    def wait_empty(self, seconds: float = 120) -> None:
        """Wait until no job is in the queue and no process of one is left."""
        end = time.monotonic() + seconds
        while self.elements() or self.tasks():
            assert time.monotonic() < end, f"still in the queue: {self.elements()}, {self.tasks()}"
            time.sleep(1)


def node_names(text: str) -> list[str]:
    """The nodes of one of Slurm's lists.

    Example:
        >>> node_names("node[1,3-4]")
        ['node1', 'node3', 'node4']
    """
    match = GROUP.fullmatch(text)
    if match is None:
        return [text] if text else []
    found = []
    for part in match["numbers"].split(","):
        first, _, last = part.partition("-")
        found += [f"{match['stem']}{number}" for number in range(int(first), int(last or first) + 1)]
    return found
