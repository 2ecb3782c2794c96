"""Starting and stopping the private Slurm of slurm/cluster for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from oracles.obedient import ROOT

SCRIPTS = ROOT / "slurm" / "cluster"
SITE = ROOT / "slurm" / "sites" / "cluster.toml"
TOOLS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "mariadb": "mariadb-client-core",
}


def search_path() -> str:
    return f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"


def start(*options: str) -> tuple[Path, dict[str, str]]:
    """A cluster and the environment that speaks to it; skips where Slurm is not installed."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool, path=search_path()) is None]
    if missing:
        pytest.skip(f"Slurm is not installed: apt-get install {' '.join(missing)} slurm-wlm-mysql-plugin")
    folder = Path(tempfile.mkdtemp(prefix="rs-", dir="/tmp"))
    up = subprocess.run([SCRIPTS / "up.sh", folder, *options], capture_output=True, text=True, check=False)
    assert up.returncode == 0, up.stderr
    return folder, {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": search_path()}


def stop(folder: Path) -> None:
    down = subprocess.run([SCRIPTS / "down.sh", folder], capture_output=True, text=True, check=False)
    assert down.returncode == 0, down.stderr
    shutil.rmtree(folder)


def lose_node(folder: Path, node: str) -> None:
    """Kill a node's slurmd and its stepds, as a power cut would: they are what shares its host name's namespace."""
    pid_file = folder / "pids" / f"5-slurmd-{node}"
    slurmd = int(pid_file.read_text())
    host = Path(f"/proc/{slurmd}/ns/uts").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stepd = (process / "comm").read_text().strip() == "slurmstepd"
            if stepd and (process / "ns" / "uts").readlink() == host:
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue
    os.kill(slurmd, signal.SIGKILL)
    pid_file.unlink()
