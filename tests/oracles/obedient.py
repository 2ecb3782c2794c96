"""A copy of the code whose stages only follow orders, and its command line: for tests of the launcher alone.

RODIN_FAKE_<STAGE> (`-` as `_`) holds the orders of a stage, read again for every shard:
`sleep:S`, `user:MESSAGE`, `crash:MESSAGE`, `kill`, `wait` (until a stop request), `memory:MB`, several joined by `;`;
`@N:` before one limits it to shard N, `once:` to its first start.
`mpi` alone: gather all ranks into ranks.json.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from jobs.graph.graph import STAGES

ROOT = Path(__file__).resolve().parents[2]
MODULES = {stage.name: stage.module for stage in STAGES if stage.module.startswith("rodin.stages.")}

FAKE = """
import json, os, signal, socket, time
from rodin.hooks import Stopped
from rodin.store import manifest
from rodin.store.mpi import mpi_ranks

def make(stage):
    def run(config, folder, shard, hooks):
        out = folder.stage(stage)
        out.mkdir(parents=True, exist_ok=True)
        with (out / "starts.txt").open("a") as file:
            rank = os.environ.get("RANK", "-") + "/" + os.environ.get("WORLD_SIZE", "-")
            file.write(f"{shard} {socket.gethostname()}:{os.getpid()} {rank}\\n")
        orders = os.environ.get("RODIN_FAKE_" + stage.upper().replace("-", "_"), "")
        if orders == "mpi":
            here = mpi_ranks()
            found = here.gather((here.rank, socket.gethostname()))
            if found is not None:
                (out / "ranks.json").write_text(json.dumps(found))
        if os.environ.get("RANK", "0") != "0" or os.environ.get("PMI_RANK", "0") != "0":
            return
        for order in filter(None, orders.split(";")):
            if order.startswith("@"):
                number, _, order = order[1:].partition(":")
                if int(number) != shard:
                    continue
            if order.startswith("once:"):
                starts = (out / "starts.txt").read_text().splitlines()
                if len([line for line in starts if line.startswith(f"{shard} ")]) > 1:
                    continue
                order = order[5:]
            verb, _, text = order.partition(":")
            if verb == "sleep":
                end = time.monotonic() + float(text)
                while time.monotonic() < end:
                    hooks.progress(int(100 - (end - time.monotonic()) * 10), 100, "asleep")
                    time.sleep(0.05)
            elif verb == "user":
                raise ValueError(text)
            elif verb == "crash":
                raise RuntimeError(text)
            elif verb == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif verb == "memory":
                hog = bytearray(int(text) << 20)
                time.sleep(20)
                del hog
            elif verb == "wait":
                while not hooks.should_stop():
                    with (out / "beats.txt").open("a") as file:
                        file.write(".")
                    time.sleep(0.05)
                (out / "saved.txt").write_text("saved")
                raise Stopped("saved")
        manifest.publish(folder.manifest(stage, shard), {"kind": "fake", "shard": shard})
    return run
"""


@dataclass
class Rodin:
    """The command line of the copy.

    Args:
        tree: the copy.
        cwd: where commands run; runs/ appears there.
        environment: added to that of this process.
    """

    tree: Path
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)

    def env(self, **extra: str) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.tree), "PYTHONSAFEPATH": "1"} | self.environment | extra

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs", *arguments],
            cwd=self.cwd,
            env=self.env(**extra),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: str, seconds: float = 120, **extra: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **extra) as process:
            out, err = process.communicate(timeout=seconds)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def starts(self, stage_folder: str, run: str = "runs/tiny") -> list[list[str]]:
        """Each start of a stage: [shard, pid, rank/world]."""
        path = self.cwd / run / stage_folder / "starts.txt"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def obedient_tree(tree: Path) -> Path:
    """Copy the packages to `tree` and replace every stage."""
    for package in ("jobs", "rodin"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    stages = tree / "rodin" / "stages"
    for path in stages.rglob("*.py"):
        if path.name != "__init__.py":
            path.unlink()
    (stages / "fake.py").write_text(FAKE)
    for name, module in MODULES.items():
        path = tree.joinpath(*module.split(".")).with_suffix(".py")
        path.write_text(f"from rodin.stages.fake import make\nrun = make({name!r})\n")
    (tree / "analysis" / "report").mkdir(parents=True)
    (tree / "analysis" / "report" / "report.py").write_text(
        "from pathlib import Path\n"
        "def write_report(run):\n"
        "    path = Path(run) / 'report.html'\n"
        "    path.write_text('<p>report</p>')\n"
        "    return path\n"
    )
    return tree
