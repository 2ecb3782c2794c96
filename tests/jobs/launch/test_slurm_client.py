"""Calls of the Slurm clients: their flags, and what is read from their answers."""

import subprocess
from pathlib import Path

import pytest

from jobs.launch import ends, slurm_client
from jobs.launch.ends import End, ends_of, find_ended, told_memory
from jobs.launch.slurm_client import Queued, Unreachable, cancel, cancel_named, queue, send
from jobs.run.ledger import Submission
from rodin.train.parallel.environment import VARIABLES

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

    for module in (slurm_client, ends):
        monkeypatch.setattr(module, "call", call)
    return outputs, calls


def test_the_queue_holds_the_asked_jobs_of_this_user_that_have_not_ended(answers):
    outputs, calls = answers
    mine, other = "rodin-fit-u12", "rodin-fit-u99"
    outputs["squeue"] = (
        f"12_0|{mine}|RUNNING|None\n12_1|{mine}|COMPLETED|None\n13|rodin-fit-u13|PENDING|Dependency|odd\n"
        f"123|{other}|RUNNING|None\n14|bash|RUNNING|None\n12_2|{mine}|REVOKED|None\n"
    )
    expected = {
        "12_0": Queued("12_0", "RUNNING", "None", mine),
        "13": Queued("13", "PENDING", "Dependency|odd", "rodin-fit-u13"),
    }
    assert queue(sent("12", "13")) == expected
    assert {"--me", "--array", "--noheader", "--all"} <= set(calls[0])  # --all: also of a partition that is hidden
    assert queue([]) == {}
    assert len(calls) == 1
    outputs["squeue"] = HEADINGS + outputs["squeue"] + HEADINGS
    assert queue(sent("12", "13")) == expected


def test_a_job_is_told_by_its_name_not_by_an_id_that_was_given_again(answers):
    outputs, _ = answers
    outputs["squeue"] = "12|rodin-fit-other|RUNNING|None\n40|rodin-fit-u12|PENDING|None\n"
    assert list(queue(sent("12"))) == ["40"]
    outputs["sacct"] = "12|rodin-fit-other|COMPLETED|0:0|2026-01-01T00:00:00|n1\n"
    outputs["scontrol"] = "JobId=12 JobName=bash JobState=FAILED\n"
    assert ends_of(sent("12")) == {}


def row(
    job: str, state: str, name: str | None = None, code: str = "0:0", start: str = "Unknown", node: str = ""
) -> str:
    return f"{job}|{name or 'rodin-fit-u' + job.split('_')[0].split('.')[0]}|{state}|{code}|{start}|{node}\n"


def test_final_states_come_from_accounting(answers):
    outputs, calls = answers
    outputs["sacct"] = (
        row("5_0", "COMPLETED", start="2026-01-01T00:00:00", node="node1")
        + row("5_1", "CANCELLED by 1000")
        + row("5_2", "CANCELLED", start="2026-01-01T00:00:00", node="None assigned")
        + row("6", "NODE_FAIL", node="node[1-2]")
        + row("7_[2-9%3]", "CANCELLED by 0", name="rodin-fit-u7")
        + row("8", "")
        + row("9", "FAILED")
        + row("5_0.batch", "COMPLETED", name="batch")
    )
    asked = sent("5", "6", "7", "8")
    expected = {
        "5_0": End("COMPLETED", "node1", "", True),
        "5_1": End("CANCELLED", "", "1000", False),
        "5_2": End("CANCELLED", "", "", False),
        "6": End("NODE_FAIL", "node[1-2]", "", False),
        "7": End("CANCELLED", "", "0", False),
    }
    assert ends_of(asked) == expected
    assert [call[0] for call in calls] == ["sacct", "scontrol"]  # which may know what accounting does not
    assert calls[0][-2:] == ("--jobs", "5,6,7,8")
    assert ends_of([]) == {}
    outputs["sacct"] = HEADINGS + outputs["sacct"] + HEADINGS
    assert ends_of(asked) == expected


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([("5.0", "FAILED", "1:0")], "FAILED"),
        ([("5.batch", "FAILED", "1:0"), ("5.0", "OUT_OF_MEMORY", "0:125")], "OUT_OF_MEMORY"),
        ([("5.0", "FAILED", "9:0")], "OUT_OF_MEMORY"),
        ([("5.0", "CANCELLED by 0", "0:9")], "OUT_OF_MEMORY"),
    ],
)
def test_a_step_that_was_killed_tells_of_memory(answers, steps: list[tuple[str, str, str]], state: str):
    began = {"start": "2026-01-01T00:00:00", "node": "n1"}
    answers[0]["sacct"] = row("5", "FAILED", code="1:0", **began) + "".join(
        row(step, end, name="python", code=code, **began) for step, end, code in steps
    )
    assert ends_of(sent("5"))["5"].state == state
    answers[0]["sacct"] = answers[0]["sacct"].replace("5|rodin-fit-u5|FAILED", "5|rodin-fit-u5|TIMEOUT")
    assert ends_of(sent("5"))["5"].state == "TIMEOUT"  # whose steps are killed too


def test_a_log_tells_of_memory(tmp_path: Path):
    log = tmp_path / "a.out"
    assert not told_memory(log)
    log.write_text("fit 0: 3/10\nKeyError: 'memory'\n")
    assert not told_memory(log)
    for line in (
        "slurmstepd: error: Detected 1 oom_kill event in StepId=3.0",
        "srun: error: n1: task 0: Out Of Memory",
    ):
        log.write_text(f"fit 0: 3/10\n{line}\n")
        assert told_memory(log)


def test_final_states_come_from_the_controller_where_accounting_has_none(answers):
    outputs, calls = answers
    outputs["scontrol"] = HEADINGS + (
        "JobId=20 ArrayJobId=9 ArrayTaskId=0 JobName=rodin-fit-u9 JobState=TIMEOUT Reason=TimeLimit NodeList=n3\n"
        "JobId=9 ArrayJobId=9 ArrayTaskId=1-4%2 JobName=rodin-fit-u9 JobState=CANCELLED Reason=Dependency\n"
        "JobId=21 ArrayJobId=9 ArrayTaskId=7 JobName=rodin-fit-u9 JobState=FAILED ExitCode=0:9 NodeList=n3\n"
        "note=1 JobId=9\n"
    )
    expected = {
        "9_0": End("TIMEOUT", "n3", "", True),
        "9": End("CANCELLED"),
        "9_7": End("OUT_OF_MEMORY", "n3", "", True),
    }
    assert ends_of(sent("9")) == expected
    outputs["scontrol"] = "JobId=9 JobName=rodin-fit-u9 JobState=CANCELLED StartTime=2026-01-01T00:00:00 NodeList=\n"
    assert ends_of(sent("9")) == {"9": End("CANCELLED", "", "", False)}
    outputs["sacct"] = row("5", "FAILED")
    outputs["scontrol"] = "JobId=6 JobState=NODE_FAIL Reason=NodeDown\n"
    assert {job: end.state for job, end in ends_of(sent("5", "6")).items()} == {"5": "FAILED", "6": "NODE_FAIL"}
    assert calls[-1][-1] == "6"
    outputs["scontrol"] = None
    assert {job: end.state for job, end in ends_of(sent("5", "6")).items()} == {"5": "FAILED"}


def test_an_ended_job_is_found_by_its_name(answers):
    outputs, calls = answers
    intent = Submission("abc", "fit", "", ((0,),), 1e9)
    outputs["sacct"] = row("31_0", "COMPLETED", name="rodin-fit-abc") + row("32", "COMPLETED", name="rodin-fit-abcd")
    assert find_ended(intent) == "31"
    assert "--name=rodin-fit-abc" in calls[0]
    assert calls[0][calls[0].index("--starttime") + 1].startswith("2001-09-0")  # a day before it was sent
    outputs["sacct"] = ""
    assert find_ended(intent) is None


def test_what_sbatch_printed_before_its_time_was_over_is_read(monkeypatch: pytest.MonkeyPatch):
    problems = [
        subprocess.TimeoutExpired("sbatch", 120, output=b"Submitted batch job 17\n"),
        subprocess.CalledProcessError(1, "sbatch", output="Submitted batch job 17\n", stderr="error: late\n"),
    ]

    def run(*arguments, **options):
        raise problems.pop()

    monkeypatch.setattr(slurm_client.subprocess, "run", run)
    assert send(Path("a.sh"), ()) == send(Path("a.sh"), ()) == ("17", "")


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
    queue(asked), cancel(asked), ends_of(asked), cancel_named(asked[0])
    on_alpha = [call for call in calls if "--clusters=alpha" in call]
    elsewhere = [call for call in calls if call not in on_alpha]
    assert [call[0] for call in on_alpha] == ["squeue", "scancel", "sacct", "scontrol", "scontrol", "scancel"]
    assert [call[0] for call in elsewhere] == ["squeue", "scancel", "sacct", "scontrol"]
    assert (on_alpha[1][-2:], elsewhere[1][-1]) == (("3", "4"), "5")
    assert (on_alpha[2][-1], elsewhere[2][-1]) == ("3,4", "5")


def test_clients_run_without_what_a_shell_says_about_their_options(monkeypatch: pytest.MonkeyPatch):
    changing = ("SBATCH_EXPORT", "SBATCH_TIMELIMIT", "SQUEUE_FORMAT", "SACCT_FORMAT", "SLURM_CLUSTERS", "SLURM_NTASKS")
    ranks = ("PMI_FD", "PMI_RANK", "PMI2_X", "PMIX_RANK", "PMIX_SERVER_URI4", "OMPI_COMM_WORLD_SIZE", *VARIABLES)
    settings = ("PMIX_MCA_gds", "OMPI_MCA_btl", "PMI_NO_FORK")  # of MPI, which a site or a user may set
    for name in (*changing, *ranks, *settings, "SLURM_MEM_PER_CPU", "SLURM_CONF", "SBATCH_ACCOUNT", "MINE"):
        monkeypatch.setenv(name, "x")
    printed = slurm_client.call("env", keep=("SBATCH_ACCOUNT",))
    names = {line.partition("=")[0] for line in printed.splitlines()}
    assert {"SLURM_CONF", "SBATCH_ACCOUNT", "MINE", "PATH", *settings} <= names
    assert not {*changing, *ranks, "SLURM_MEM_PER_CPU"} & names


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
