"""The job that sends again what Slurm ended: what it does on its node, and what it leaves on record."""

import json
from types import SimpleNamespace

from fixtures.left_run import CONFIG, STAGES, begin, end_all, own, row, run
from fixtures.slurm_in_memory import Slurm, slurm

from jobs.graph.work import Run
from jobs.launch import resubmit
from jobs.launch.handing_on import leave
from jobs.launch.slurm import SlurmLauncher
from jobs.run.failures import failures
from jobs.run.ledger import submissions
from jobs.site_tables import RESUBMIT
from rodin.store import manifest

__all__ = ["run", "slurm"]


def test_it_sends_again_by_cause_until_the_caps_and_then_no_more(run: Run, slurm: Slurm, monkeypatch):
    first = next(iter(slurm.of("render").values()))
    end_all(slurm, "TIMEOUT")
    assert begin(run, slurm, monkeypatch) == 0
    second = list(slurm.of("render").values())[-1]
    assert int(second.flags["time"]) == 2 * int(first.flags["time"])
    assert len(slurm.of("decoder")) == 2
    assert own(run).ends == {}
    assert slurm.jobs[own(run).job_id].flags["dependency"] == f"afterany:{list(slurm.of('render'))[-1]}"
    assert row(run) == ("queued", "sends again what Slurm ends; Dependency")
    end_all(slurm, "TIMEOUT")
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == len(slurm.of("decoder")) == 2  # retries = 1
    assert len(slurm.of(RESUBMIT)) == 2
    assert {one.line.partition(" after")[0] for one in failures(run.folder)} == {
        f"job 4_{number} ended as TIMEOUT" for number in range(3)
    }
    assert row(run) == ("", "")
    assert [one.ends for one in submissions(run.folder) if one.stage == RESUBMIT] == [{"0": "COMPLETED"}] * 2


def test_a_run_that_is_done_needs_no_other(run: Run, slurm: Slurm, monkeypatch):
    for stage in STAGES:
        for shard in range(CONFIG.shards(stage)):
            manifest.publish(run.folder.manifest(stage, shard), {"kind": "fake"})
    end_all(slurm, "COMPLETED")
    assert len(list((run.folder.jobs / "scripts").iterdir())) == 3
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.jobs) == 3
    assert list((run.folder.jobs / "scripts").iterdir()) == []


def test_a_refusal_is_on_record_with_what_to_do(run: Run, slurm: Slurm, monkeypatch, capsys):
    end_all(slurm, "TIMEOUT")
    slurm.refuses = "sbatch: error: Access/permission denied"
    assert begin(run, slurm, monkeypatch) == 1
    state, note = row(run)
    assert state == "failed"
    assert "render: not submitted: sbatch: error: Access/permission denied; `rodin resubmit" in note
    assert "where jobs may not submit jobs, set `resubmit_job = false` in the site file" in note
    assert "Access/permission denied" in capsys.readouterr().err
    slurm.refuses = ""
    leave(SlurmLauncher(run, lambda line: None, lambda: None), again=True)  # `rodin resubmit` on a login node
    assert row(run)[0] == "queued"
    assert failures(run.folder) == []


def test_a_job_that_died_is_told_of(run: Run, slurm: Slurm):
    slurm.end(own(run).job_id, "NODE_FAIL")
    assert row(run) == ("failed", "job ended as NODE_FAIL")


def test_a_slurm_that_is_away_is_waited_for_and_then_put_on_record(run: Run, slurm: Slurm, monkeypatch):
    end_all(slurm, "TIMEOUT")
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        slurm.away = len(naps) < 3

    monkeypatch.setattr(resubmit.time, "sleep", nap)
    slurm.away = True
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == 2
    assert len(naps) == 3
    end_all(slurm, "TIMEOUT")
    slurm.away = True
    monkeypatch.setattr(resubmit, "PATIENCE", 0.0)
    monkeypatch.setattr(resubmit.time, "sleep", lambda seconds: None)
    assert begin(run, slurm, monkeypatch) == 1
    slurm.away = False
    assert "Unable to contact slurm controller" in row(run)[1]


def test_a_maintenance_of_hours_is_outlasted(run: Run, slurm: Slurm, monkeypatch):
    end_all(slurm, "TIMEOUT")
    now = [0.0]

    def nap(seconds: float) -> None:
        now[0] += 60
        slurm.away = now[0] < 2.5 * 3600

    monkeypatch.setattr(resubmit, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=nap))
    slurm.away = True
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == 2


def test_a_limit_that_is_reached_is_left_to_the_next_one(run: Run, slurm: Slurm, monkeypatch):
    end_all(slurm, "TIMEOUT")
    slurm.limit = 3  # itself, and two of the three shards of render
    assert begin(run, slurm, monkeypatch) == 0
    last = slurm.jobs[own(run).job_id]
    live = [name for name, (job, _) in slurm._queued().items() if job.stage == "render"]
    assert len(live) == 1
    assert last.flags["dependency"] == f"afterany:{live[0]}"


def test_the_limit_of_failures_is_handed_on(run: Run, slurm: Slurm, monkeypatch):
    path = next((run.folder.jobs / "submissions").glob(f"*-{RESUBMIT}-*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_fails": 2}))
    end_all(slurm, "NODE_FAIL")
    assert begin(run, slurm, monkeypatch) == 0
    sent = [one for one in submissions(run.folder) if one.job_id not in ("1", "2", "3")]
    assert {one.max_fails for one in sent} == {2}


def test_usage_and_a_record_that_is_not_there(run: Run, monkeypatch, capsys):
    assert resubmit.main(["run", "fit", "u1"]) == 2
    assert capsys.readouterr().err.startswith("usage: python -m jobs.launch.resubmit RUN resubmit UID")
    monkeypatch.setattr(resubmit, "await_record", lambda *rest: None)
    assert resubmit.main([str(run.folder.path), RESUBMIT, "none"]) == 1
    assert "no record of submission none" in capsys.readouterr().err
