"""The life of a run under a Slurm with scripted faults: sent once, sent again, never sent twice."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.fake_slurm import install
from fixtures.obedient import ROOT, Rodin

SITE = """
name = "fake"
partition = "main"
account = "mine"
cpus_per_node = 4
throttle = 8
max_array_size = 3
poll_seconds = 0.01
resubmit_job = false
setup = ["export FROM_THE_SITE=yes"]
[extra]
reservation = "today"
"""
SHORT = "render,decoder,fit"


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    folder = tmp_path / "slurm"
    install(folder)
    (tmp_path / "site.toml").write_text(SITE)
    return folder


@pytest.fixture
def slurm(rodin: Rodin, cluster: Path) -> Rodin:
    path = f"{cluster / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return replace(rodin, environment={"FAKE_SLURM": str(cluster), "PATH": path})


def run(slurm: Rodin, *arguments: str, **extra: str):
    return slurm("run", "tiny", "--cluster", "slurm", "--site", "site.toml", *arguments, **extra)


def jobs(cluster: Path) -> dict[str, dict]:
    return json.loads((cluster / "jobs.json").read_text())


def stages_sent(cluster: Path) -> list[str]:
    """Stage of each sbatch, in order."""
    found = {job.split("_")[0]: one["flags"]["job-name"] for job, one in jobs(cluster).items()}
    return [name.split("-", 1)[1].rpartition("-")[0] for name in found.values()]


def test_whole_graph_is_sent_in_dependency_order(slurm: Rodin, cluster: Path):
    done = run(slurm, "--no-wait", FAKE_SLURM_HOLD="yes")
    assert done.returncode == 0, done.stderr
    sent = stages_sent(cluster)
    assert sent[:3] == ["render", "portraits", "clip"]
    assert sent.count("sweep-cfg") == 2  # five elements, arrays of three at most
    by_id = {number: stage for number, stage in enumerate(sent, start=1)}
    for job in jobs(cluster).values():
        stage = job["flags"]["job-name"].split("-", 1)[1].rpartition("-")[0]
        wanted = [by_id[int(one)] for one in job["flags"].get("dependency", "").strip("'").split(":")[1:]]
        assert (not wanted) == (stage in ("render", "portraits"))
        assert job["flags"]["kill-on-invalid-dep"] == "yes"
        assert job["flags"]["partition"] == "main"
        assert job["flags"]["reservation"] == "today"
        assert "export FROM_THE_SITE=yes" in job["text"]
        assert "--cpus-per-task" in job["text"].split("srun")[1]
        assert int(job["flags"].get("array", "0-0").split("-")[1].split("%")[0]) < 3
    ledger = [json.loads(path.read_text()) for path in (slurm.cwd / "runs/tiny/jobs/submissions").glob("*.json")]
    assert sorted(one["stage"] for one in ledger) == sorted(sent)
    assert sorted(shard for one in ledger if one["stage"] == "sweep-cfg" for e in one["elements"] for shard in e) == [
        *range(5)
    ]


def test_dry_run_prints_the_very_scripts_and_writes_nothing(slurm: Rodin, cluster: Path, touched):
    before = touched(slurm.cwd)
    dry = run(slurm, "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert touched(slurm.cwd) == before
    scripts = json.loads(dry.stdout)
    assert run(slurm, "--no-wait", FAKE_SLURM_HOLD="yes").returncode == 0
    sent = {}
    for name, job in jobs(cluster).items():
        sent.setdefault(name.split("_")[0], job["text"])
    assert len(scripts) == len(sent)
    ids = {one["name"]: number for one, number in zip(scripts, sent, strict=True)}
    for one, text in zip(scripts, sent.values(), strict=True):
        expected = one["script"]
        for name, number in ids.items():
            expected = expected.replace(name, number)
        uid = next(line for line in text.splitlines() if "--job-name" in line).rpartition("-")[2]
        assert text == expected.replace("-UID\n", f"-{uid}\n").replace(" UID\n", f" {uid}\n")


def test_a_run_that_is_left_alone_has_a_job_that_sees_to_it(slurm: Rodin, cluster: Path):
    (slurm.cwd / "site.toml").write_text(SITE.replace("resubmit_job = false", "resubmit_job = true"))
    dry = json.loads(run(slurm, "--stages", SHORT, "--no-wait", "--dry-run", "--json").stdout)
    assert [one["name"] for one in dry] == [
        "JOBID_OF_render_0",
        "JOBID_OF_decoder_0",
        "JOBID_OF_fit_0",
        "JOBID_OF_resubmit_0",
    ]
    assert "--dependency=afterany:JOBID_OF_render_0" in dry[-1]["script"].replace("'", "")
    sent = run(slurm, "--stages", SHORT, "--no-wait", FAKE_SLURM_HOLD="yes")
    assert "resubmit: job 4 sends again what Slurm ends, after 1 jobs" in sent.stderr
    assert stages_sent(cluster) == ["render", "decoder", "fit", "resubmit"]
    status = slurm("status", "runs/tiny", FAKE_SLURM_HOLD="yes").stdout
    assert "resubmit   queued   0/1  job 4  sends again what Slurm ends; Dependency" in status
    assert "4 jobs" in slurm("cancel", "runs/tiny", FAKE_SLURM_HOLD="yes").stdout
    assert {job["state"] for job in jobs(cluster).values()} == {"CANCELLED"}


def test_resume_sends_only_what_is_missing(slurm: Rodin, cluster: Path):
    failed = run(slurm, "--stages", SHORT, RODIN_FAKE_FIT="@1:user:planes are bad")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == "rodin: error: fit: planes are bad"
    count = len(stages_sent(cluster))
    mended = run(slurm, "--stages", SHORT)
    assert mended.returncode == 0, mended.stderr
    assert stages_sent(cluster)[count:] == ["fit"]
    assert sorted(shard for shard, *_ in slurm.starts("planes")) == ["0", "1", "1"]


def test_nothing_is_sent_twice(slurm: Rodin, cluster: Path):
    for _ in range(2):
        sent = run(slurm, "--no-wait", FAKE_SLURM_HOLD="yes")
        assert sent.returncode == 0, sent.stderr
        assert "still to come: render (3)" in sent.stdout
    assert len(stages_sent(cluster)) == len(set(stages_sent(cluster))) + 1  # sweep-cfg is two arrays
    states = {
        row["stage"]: row for row in json.loads(slurm("status", "runs/tiny", "--json", FAKE_SLURM_HOLD="y").stdout)
    }
    assert states["render"]["state"] == "queued"
    assert states["render"]["jobs"] == ["1_0", "1_1", "1_2"]
    cancelled = slurm("cancel", "runs/tiny", FAKE_SLURM_HOLD="yes")
    assert "16 jobs" in cancelled.stdout
    assert {job["state"] for job in jobs(cluster).values()} == {"CANCELLED"}
    assert run(slurm, "--stages", "render").returncode == 0


@pytest.mark.parametrize(
    ("state", "accounting"),
    [
        ("TIMEOUT", "on"),
        ("OUT_OF_MEMORY", "off"),
        pytest.param("NODE_FAIL", "on", marks=pytest.mark.slow),
        pytest.param("FAILED", "on", marks=pytest.mark.slow),
    ],
)
def test_death_of_its_surroundings_is_sent_again(slurm: Rodin, cluster: Path, state: str, accounting: str):
    (cluster / "faults").write_text(f"end fit {state}\n" + ("sacct off\n" if accounting == "off" else ""))
    done = run(slurm, "--stages", SHORT)
    assert done.returncode == 0, done.stderr
    first, second = [job["flags"] for job in jobs(cluster).values() if "-fit-" in job["flags"]["job-name"]][0::2]
    assert (int(second["time"]) > int(first["time"])) == (state == "TIMEOUT")
    assert (int(second["mem"][:-1]) > int(first["mem"][:-1])) == (state == "OUT_OF_MEMORY")
    assert "array" not in second  # one shard was missing


def test_no_hope_after_the_retries(slurm: Rodin, cluster: Path):
    (cluster / "faults").write_text("end fit TIMEOUT\n" * 8)
    failed = run(slurm, "--stages", SHORT)
    assert failed.returncode == 1
    assert "ended as TIMEOUT" in failed.stderr.splitlines()[-1]


def test_deterministic_error_is_not_tried_again(slurm: Rodin, cluster: Path):
    failed = run(slurm, "--stages", SHORT, RODIN_FAKE_DECODER="crash:boom")
    assert failed.returncode == 1
    assert "RuntimeError: boom" in failed.stderr
    assert stages_sent(cluster).count("decoder") == 1
    assert {job["state"] for job in jobs(cluster).values() if "-fit-" in job["flags"]["job-name"]} == {"CANCELLED"}


def test_refused_submission_is_one_line(slurm: Rodin, cluster: Path):
    (cluster / "faults").write_text("refuse")
    failed = run(slurm)
    assert failed.returncode == 1
    assert "render: not submitted: sbatch: error: " in failed.stderr
    assert "Invalid account" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert run(slurm, "--stages", "render").returncode == 0


def test_a_job_whose_answer_was_lost_is_found_and_followed(slurm: Rodin, cluster: Path):
    (cluster / "faults").write_text("lost")
    assert run(slurm, "--stages", "render").returncode == 0
    assert stages_sent(cluster) == ["render"]
    assert len(slurm.starts("views")) == 3


def test_a_withdrawn_job_that_starts_after_all_does_nothing(slurm: Rodin, cluster: Path):
    """Slurm takes the job of a killed client late: nobody waits for it any more, and its shards are with another."""
    assert run(slurm, "--stages", "render", "--no-wait", FAKE_SLURM_HOLD="yes").returncode == 0
    record = next((slurm.cwd / "runs/tiny/jobs/submissions").glob("*.json"))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"withdrawn": "nobody waited for its sbatch"}))
    done = run(slurm, "--stages", "render")
    assert done.returncode == 0, done.stderr
    assert sorted(shard for shard, *_ in slurm.starts("views")) == ["0", "1", "2"]
    logs = sorted((slurm.cwd / "runs/tiny/jobs/logs/render").glob("1_*.out"))
    assert all("this job was withdrawn" in path.read_text() for path in logs)
    assert all("withdrawn" not in path.read_text() for path in logs[0].parent.glob("2_*.out"))


def test_death_after_the_work_is_done_costs_nothing(slurm: Rodin, cluster: Path):
    (cluster / "faults").write_text("abort decoder")
    done = run(slurm, "--stages", SHORT)
    assert done.returncode == 0, done.stderr
    assert stages_sent(cluster) == ["render", "decoder", "fit", "fit"]
    assert len(slurm.starts("decoder")) == 1


def test_deaf_slurm_is_waited_for(slurm: Rodin, cluster: Path):
    assert run(slurm, "--stages", "render", "--no-wait", FAKE_SLURM_HOLD="yes").returncode == 0
    (cluster / "faults").write_text("down 1")
    unknown = slurm("status", "runs/tiny")
    assert unknown.returncode == 0
    assert "render     unknown  0/3  Slurm does not answer (squeue: error: Unable to contact" in unknown.stdout
    (cluster / "faults").write_text("down 1")
    failed = run(slurm, "--stages", "render", "--no-wait")
    assert failed.returncode == 1
    assert "Unable to contact slurm controller; run the same command again later" in failed.stderr
    (cluster / "faults").write_text("down 2")
    done = run(slurm, "--stages", "render")
    assert done.returncode == 0
    assert done.stderr.count("waiting for Slurm") == 1
    assert stages_sent(cluster) == ["render"]


def test_status_calls_slurm_at_most_once_each(slurm: Rodin, cluster: Path):
    run(slurm, "--no-wait", FAKE_SLURM_HOLD="yes")
    (cluster / "calls").write_text("")
    slurm("status", "runs/tiny", FAKE_SLURM_HOLD="yes")
    calls = [line.split()[0] for line in (cluster / "calls").read_text().splitlines()]
    assert calls.count("squeue") == 1
    assert calls.count("sacct") <= 1
    assert len(calls) <= 2


def test_a_finished_run_keeps_one_log_an_element_and_one_record_a_job(slurm: Rodin, cluster: Path):
    assert run(slurm, "--stages", "render").returncode == 0
    kept = [path for path in (slurm.cwd / "runs/tiny/jobs").rglob("*") if path.is_file()]
    folders = sorted(path.parent.name for path in kept if path.parent.name != "jobs")
    assert folders == ["render"] * 3 + ["settings", "submissions"]
    assert {path.name for path in kept if path.parent.name == "jobs"} == {"lock", "site.toml"}


def test_resubmit_sends_what_slurm_ended_and_not_what_failed_by_itself(slurm: Rodin, cluster: Path):
    (cluster / "faults").write_text("end fit TIMEOUT\n")
    orders = {"RODIN_FAKE_FIT": "@1:user:planes are bad"}
    assert run(slurm, "--stages", "render,decoder", **orders).returncode == 0
    assert slurm("resubmit", "runs/tiny", **orders).stdout == "runs/tiny: nothing to send again\n"
    assert run(slurm, "--stages", SHORT, "--no-wait", **orders).returncode == 0
    slurm("status", "runs/tiny", **orders)  # the fake cluster runs its jobs while it is asked for its queue
    slurm("status", "runs/tiny", **orders)
    again = slurm("resubmit", "runs/tiny", FAKE_SLURM_HOLD="yes")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[:2] == [
        "runs/tiny: 1 shards sent again in 1 jobs",
        "not sent: fit, 1 shard: planes are bad",
    ]
    assert "fit: job 4, 1 elements, 1 shards (2 times the time, " in again.stderr
    assert slurm("resubmit", "runs/tiny", FAKE_SLURM_HOLD="yes").stdout.startswith("runs/tiny: nothing to send again")
    failed = slurm("logs", "runs/tiny", "--failed")
    assert failed.stdout.startswith("fit 1: planes are bad\n==> ")


def test_by_hand_script_is_bash():
    script = ROOT / "slurm" / "stage.sbatch"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    done = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr
