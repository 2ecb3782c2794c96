"""A Slurm that forgets jobs as they end, and then takes none that are to wait for them."""

import re
from pathlib import Path

import pytest
from fixtures.slurm_in_memory import Slurm, slurm

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch.slurm import SlurmLauncher
from jobs.launch.slurm_client import Unreachable
from jobs.run.failures import Failed
from jobs.run.ledger import read_ledger
from jobs.site import Site
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder

__all__ = ["slurm"]
CONFIG = preset("tiny")
PROBLEM = "sbatch: error: Batch job submission failed: Job dependency problem"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    site = Site(name="x", poll_seconds=0.01, resubmit_job=False)
    return Run(RunFolder(tmp_path / "run"), CONFIG, site, tuple(chosen(graph(CONFIG), ["render", "decoder", "fit"])))


class Work:
    """The jobs of a run, each of which ends well as soon as it may."""

    def __init__(self, run: Run, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.slurm, self.sbatch, self.refused = run, slurm, slurm._sbatch, 0
        monkeypatch.setattr(slurm, "_sbatch", self.submit)

    def submit(self, command: tuple[str, ...]) -> str:
        """The first job ends while sbatch is called for the second."""
        before = re.findall(r"--dependency=\D*([\d:]+)", Path(command[1]).read_text())
        if before and not self.refused:
            self.go_on()
        ended = {number for number, job in self.slurm.jobs.items() if set(job.states) == {"COMPLETED"}}
        if before and ended.intersection(before[0].split(":")):
            self.refused += 1
            raise Unreachable(PROBLEM)
        return self.sbatch(command)

    def go_on(self) -> None:
        """End the jobs that wait for no other, with what they were to leave."""
        ready = {number: job for number, job in self.slurm.jobs.items() if set(job.states) != {"COMPLETED"}}
        for number, job in ready.items():
            before = re.findall(r"\d+", job.flags.get("dependency", ""))
            if not set(before) & ready.keys():
                for shard in range(CONFIG.shards(job.stage)):
                    manifest.publish(self.run.folder.manifest(job.stage, shard), {"kind": "fake"})
                self.slurm.end(number, "COMPLETED")


def test_the_driver_looks_again_and_goes_on(run: Run, slurm: Slurm, monkeypatch: pytest.MonkeyPatch):
    work = Work(run, slurm, monkeypatch)
    told: list[str] = []
    SlurmLauncher(run, told.append, work.go_on).drive()
    assert run.done()
    assert f"waiting for Slurm: decoder: {PROBLEM}" in told
    assert work.refused == 1
    assert [job.stage for job in slurm.jobs.values()] == ["render", "decoder", "fit"]
    assert len(read_ledger(run.folder)[0]) == 3  # the refused one left no record


def test_a_command_that_does_not_wait_says_to_run_it_again(run: Run, slurm: Slurm, monkeypatch: pytest.MonkeyPatch):
    Work(run, slurm, monkeypatch)
    launcher = SlurmLauncher(run, lambda line: None, lambda: None)
    with pytest.raises(Failed, match="Job dependency problem; run the same command again later, nothing is lost"):
        launcher.submit()
    assert [one.stage for one in launcher.submit()] == ["decoder", "fit"]
