"""Calls of the Slurm clients: their flags, and what is read from their answers."""

import subprocess

import pytest

from jobs.launch import slurm_client
from jobs.launch.slurm_client import Queued, Unreachable, cancel, cancel_named, final_states, queue


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch):
    """Client -> its output, or None where it fails; and the calls that were made."""
    outputs: dict[str, str | None] = {}
    calls: list[tuple[str, ...]] = []

    def call(*command: str) -> str:
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
    assert queue(["12", "13"]) == {
        "12_0": Queued("12_0", "RUNNING", "None"),
        "13": Queued("13", "PENDING", "Dependency|odd"),
    }
    assert {"--me", "--array", "--noheader"} <= set(calls[0])
    assert queue([]) == {}
    assert len(calls) == 1


def test_final_states_come_from_accounting(answers):
    outputs, calls = answers
    outputs["sacct"] = "5_0|COMPLETED\n5_1|CANCELLED by 1000\n6|OUT_OF_MEMORY\n7_[2-9%3]|CANCELLED by 0\n8|\n"
    assert final_states(["5", "6", "7", "8"]) == {
        "5_0": "COMPLETED",
        "5_1": "CANCELLED",
        "6": "OUT_OF_MEMORY",
        "7": "CANCELLED",
        "8": "UNKNOWN",
    }
    assert len(calls) == 1
    assert calls[0][-2:] == ("--jobs", "5,6,7,8")
    assert "--allocations" in calls[0]  # else every step of a job is a row of its own
    assert final_states([]) == {}


def test_final_states_come_from_the_controller_where_accounting_has_none(answers):
    outputs, calls = answers
    outputs["scontrol"] = (
        "JobId=20 ArrayJobId=9 ArrayTaskId=0 JobState=TIMEOUT Reason=TimeLimit\n"
        "JobId=9 ArrayJobId=9 ArrayTaskId=1-4%2 JobState=CANCELLED Reason=Dependency\n"
    )
    assert final_states(["9"]) == {"9_0": "TIMEOUT", "9": "CANCELLED"}
    outputs["sacct"] = "5|FAILED\n"
    outputs["scontrol"] = "JobId=6 JobState=NODE_FAIL Reason=NodeDown\n"
    assert final_states(["5", "6"]) == {"5": "FAILED", "6": "NODE_FAIL"}
    assert calls[-1][-1] == "6"
    outputs["scontrol"] = None
    assert final_states(["5", "6"]) == {"5": "FAILED"}


def test_cancelling_by_name_touches_no_other_users_job(answers):
    outputs, calls = answers
    outputs["scancel"] = ""
    cancel_named("rodin-fit-abc")
    assert set(calls[0]) == {"scancel", "--quiet", "--me", "--name=rodin-fit-abc"}
    cancel(["3", "4"])
    assert calls[1] == ("scancel", "--quiet", "3", "4")
    cancel([])  # without an id scancel would refuse
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (FileNotFoundError(), "squeue is not on PATH"),
        (subprocess.TimeoutExpired("squeue", 30), "squeue did not answer within 30 s"),
        (subprocess.CalledProcessError(1, "squeue", stderr="a\nUnable to contact\n"), "squeue: Unable to contact"),
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
