"""Where sbatch may choose among clusters, a job whose sbatch gave no answer is entered with the one that has it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.launch import ends, slurm_client
from jobs.launch.sending import settle
from jobs.launch.slurm_client import Unreachable
from jobs.run.ledger import Submission, cut_off, enter, note_start, submissions
from rodin.store.run_folder import RunFolder

INTENT = Submission("abc", "fit", "", ((0,),), 1.0, cluster="a,b")
Answers = dict[tuple[str, str], str]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    enter(folder, INTENT)
    return folder


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """(client, cluster) -> what it prints; a client without any answer has no accounting, or knows no such job."""
    found: Answers = {}

    def call(*command: str, **options: object) -> str:
        clusters = next(word for word in command if word.startswith("--clusters=")).partition("=")[2].split(",")
        if command[0] == "sacct" and not any(client == "sacct" for client, _ in found):
            raise Unreachable("sacct: Slurm accounting storage is disabled")
        if command[0] == "scontrol" and len(clusters) > 1:
            raise Unreachable("scontrol: Only one cluster can be used at a time with scontrol")
        return "".join(found.get((command[0], cluster), "") for cluster in clusters)

    for module in (slurm_client, ends):
        monkeypatch.setattr(module, "call", call)
    return found


def in_queue(run: RunFolder, answers: Answers) -> None:
    answers["squeue", "a"] = "7|rodin-fit-other|RUNNING|None\n"
    answers["squeue", "b"] = "7|rodin-fit-abc|PENDING|None\n"


def accounted(run: RunFolder, answers: Answers) -> None:
    answers["sacct", "b"] = "7|rodin-fit-abc|FAILED|1:0|2026-01-01T00:00:00|n1\n"


def started(run: RunFolder, answers: Answers) -> None:
    note_start(run, INTENT, "7")
    answers["scontrol", "a"] = "JobId=7 JobName=bash JobState=FAILED\n"
    answers["scontrol", "b"] = "JobId=7 JobName=rodin-fit-abc JobState=FAILED\n"


@pytest.mark.parametrize("where", [in_queue, accounted, started])
def test_a_job_is_entered_with_the_cluster_that_has_it(
    run: RunFolder, answers: Answers, where: Callable[[RunFolder, Answers], None]
):
    where(run, answers)
    found = settle(run, INTENT)
    assert found is not None
    assert (found.job_id, found.cluster) == ("7", "b")
    assert submissions(run) == [found]


def test_a_job_that_only_told_of_itself_keeps_all_that_it_may_be_on(run: RunFolder, answers: Answers):
    note_start(run, INTENT, "7")
    found = settle(run, INTENT)
    assert found is not None
    assert (found.job_id, found.cluster) == ("7", "a,b")


def test_a_job_that_no_cluster_has_is_withdrawn(run: RunFolder, answers: Answers):
    assert settle(run, INTENT) is None
    assert cut_off(run) == submissions(run) == []
