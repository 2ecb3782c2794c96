"""Calls of the Slurm clients: their flags, and what is read from their answers."""

import subprocess
from pathlib import Path

import pytest

from jobs.launch import slurm_client
from jobs.launch.slurm_client import Queued, Unreachable, cancel, cancel_named, final_states, queue, send
from jobs.run.ledger import Submission

HEADINGS = "\nCLUSTER: alpha\nslurm_load_jobs error: Unable to contact slurm controller\nWelcome | to alpha\n"


def sent(*job_ids: str, cluster: str = "") -> list[Submission]:
    return [Submission(f"u{job_id}", "fit", job_id, ((0,),), 1.0, cluster=cluster) for job_id in job_ids]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch):
    """Client -> its output, or None where it fails; and the calls that were made."""
    outputs: dict[str, str | None] = {}
    calls: list[tuple[str, ...]] = []

    def call(*command: str, **options: object) -> str:
        calls.append(command)
        answer = outputs.get(command[0])
        if answer is None:
            raise Unreachable(command[0])
        return answer

    monkeypatch.setattr(slurm_client, "call", call)
    return outputs, calls


def test_the_queue_holds_the_asked_jobs_of_this_user_that_have_not_ended(answers):
    outputs, calls = answers
    outputs["squeue"] = "12_0|RUNNING|None\n12_1|COMPLETED|None\n13|PENDING|Dependency|odd\n123|RUNNING|None\n"
    expected = {"12_0": Queued("12_0", "RUNNING", "None"), "13": Queued("13", "PENDING", "Dependency|odd")}
    assert queue(sent("12", "13")) == expected
    assert {"--me", "--array", "--noheader"} <= set(calls[0])
    assert queue([]) == {}
    assert len(calls) == 1
    outputs["squeue"] = HEADINGS + outputs["squeue"] + HEADINGS
    assert queue(sent("12", "13")) == expected


def test_final_states_come_from_accounting(answers):
    outputs, calls = answers
    outputs["sacct"] = "5_0|COMPLETED\n5_1|CANCELLED by 1000\n6|OUT_OF_MEMORY\n7_[2-9%3]|CANCELLED by 0\n8|\n9|FAILED\n"
    asked = sent("5", "6", "7", "8")
    expected = {"5_0": "COMPLETED", "5_1": "CANCELLED", "6": "OUT_OF_MEMORY", "7": "CANCELLED", "8": "UNKNOWN"}
    assert final_states(asked) == expected
    assert len(calls) == 1
    assert calls[0][-2:] == ("--jobs", "5,6,7,8")
    assert "--allocations" in calls[0]  # else every step of a job is a row of its own
    assert final_states([]) == {}
    outputs["sacct"] = HEADINGS + outputs["sacct"] + HEADINGS
    assert final_states(asked) == expected


def test_final_states_come_from_the_controller_where_accounting_has_none(answers):
    outputs, calls = answers
    outputs["scontrol"] = HEADINGS + (
        "JobId=20 ArrayJobId=9 ArrayTaskId=0 JobState=TIMEOUT Reason=TimeLimit\n"
        "JobId=9 ArrayJobId=9 ArrayTaskId=1-4%2 JobState=CANCELLED Reason=Dependency\n"
        "note=1 JobId=9\n"
    )
    assert final_states(sent("9")) == {"9_0": "TIMEOUT", "9": "CANCELLED"}
    outputs["sacct"] = "5|FAILED\n"
    outputs["scontrol"] = "JobId=6 JobState=NODE_FAIL Reason=NodeDown\n"
    assert final_states(sent("5", "6")) == {"5": "FAILED", "6": "NODE_FAIL"}
    assert calls[-1][-1] == "6"
    outputs["scontrol"] = None
    assert final_states(sent("5", "6")) == {"5": "FAILED"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Submitted batch job 17\n", ("17", "")),
        ("Submitted batch job 4242 on cluster alpha\n", ("4242", "alpha")),
        ("sbatch: Job estimated cost: 3 for job 12\nSubmitted batch job 17 \nThis is job 9 of 10 today\n", ("17", "")),
    ],
)
def test_the_id_is_that_of_the_submitted_job(answers, answer: str, expected: tuple[str, str]):
    answers[0]["sbatch"] = answer
    assert send(Path("a.sh"), ()) == expected


def test_an_answer_of_sbatch_without_an_id_is_one_line(answers):
    answers[0]["sbatch"] = "all is well,\njob 12 was here before\n"
    with pytest.raises(Unreachable, match=r"without a job's id: 'all is well, job 12 was here before'$"):
        send(Path("a.sh"), ())


def test_jobs_are_looked_for_and_cancelled_on_the_cluster_that_took_them(answers):
    outputs, calls = answers
    outputs |= {"squeue": "", "scancel": "", "sacct": ""}
    asked = sent("3", "4", cluster="alpha") + sent("5")
    queue(asked), cancel(asked), final_states(asked), cancel_named(asked[0])
    on_alpha = [call for call in calls if "--clusters=alpha" in call]
    elsewhere = [call for call in calls if call not in on_alpha]
    assert [call[0] for call in on_alpha] == ["squeue", "scancel", "sacct", "scontrol", "scontrol", "scancel"]
    assert [call[0] for call in elsewhere] == ["squeue", "scancel", "sacct", "scontrol"]
    assert (on_alpha[1][-2:], elsewhere[1][-1]) == (("3", "4"), "5")
    assert (on_alpha[2][-1], elsewhere[2][-1]) == ("3,4", "5")


def test_clients_run_without_what_a_shell_says_about_their_options(monkeypatch: pytest.MonkeyPatch):
    changing = ("SBATCH_EXPORT", "SBATCH_TIMELIMIT", "SQUEUE_FORMAT", "SACCT_FORMAT", "SLURM_CLUSTERS", "SLURM_NTASKS")
    for name in (*changing, "SLURM_MEM_PER_CPU", "SLURM_CONF", "SBATCH_ACCOUNT", "MINE"):
        monkeypatch.setenv(name, "x")
    printed = slurm_client.call("env", keep=("SBATCH_ACCOUNT",))
    names = {line.partition("=")[0] for line in printed.splitlines()}
    assert {"SLURM_CONF", "SBATCH_ACCOUNT", "MINE", "PATH"} <= names
    assert not {*changing, "SLURM_MEM_PER_CPU"} & names


def test_cancelling_by_name_touches_no_other_users_job(answers):
    outputs, calls = answers
    outputs["scancel"] = ""
    cancel_named(Submission("abc", "fit", "", (), 1.0))
    assert set(calls[0]) == {"scancel", "--quiet", "--me", "--name=rodin-fit-abc"}
    cancel(sent("3", "4"))
    assert calls[1] == ("scancel", "--quiet", "3", "4")
    cancel([])  # without an id scancel would refuse
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (FileNotFoundError(), "squeue is not on PATH"),
        (subprocess.TimeoutExpired("squeue", 30), "squeue did not answer within 30 s"),
        (subprocess.CalledProcessError(1, "squeue", stderr="squeue: a\n\nUnable to b\n"), "squeue: a; Unable to b"),
        (subprocess.CalledProcessError(7, "squeue", stderr=""), "squeue: exit 7"),
    ],
)
def test_a_client_that_fails_is_one_line(problem: Exception, line: str, monkeypatch: pytest.MonkeyPatch):
    def run(*arguments, timeout: float, check: bool, **options):
        assert timeout == slurm_client.TIMEOUT
        assert check
        raise problem

    monkeypatch.setattr(slurm_client.subprocess, "run", run)
    with pytest.raises(Unreachable) as caught:
        slurm_client.call("squeue", "--me")
    assert str(caught.value) == line
