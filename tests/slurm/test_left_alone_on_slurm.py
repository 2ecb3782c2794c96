"""A run that nobody follows, on a real Slurm: its own small jobs send again what Slurm ended."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from fixtures import private_slurm as private
from fixtures.obedient import Rodin

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

STAGES = ("--stages", "render,decoder,fit,index")


def leave(slurm: Rodin, site: Path = private.SITE, **orders: str) -> subprocess.CompletedProcess[str]:
    done = slurm("run", "tiny", "--cluster", "slurm", "--site", str(site), *STAGES, "--no-wait", **orders)
    assert done.returncode == 0, done.stderr
    return done


def queue(slurm: Rodin) -> list[str]:
    """Names of the jobs in the queue."""
    command = ["squeue", "--me", "--noheader", "--format=%j"]
    done = subprocess.run(command, env=os.environ | slurm.environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def until_empty(slurm: Rodin, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while left := queue(slurm):
        assert time.monotonic() < end, left
        time.sleep(0.5)


def ledger(slurm: Rodin, stage: str) -> list[dict]:
    paths = sorted((slurm.cwd / "runs/tiny/jobs/submissions").glob(f"*-{stage}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def rows(slurm: Rodin) -> dict[str, dict]:
    return {row["stage"]: row for row in json.loads(slurm("status", "runs/tiny", "--json").stdout)}


def test_what_died_is_sent_again_though_nobody_is_there(slurm: Rodin):
    """One shard of fit is killed; index behind it, which Slurm cancels, is sent again with it."""
    leave(slurm, RODIN_FAKE_FIT="@1:once:kill")
    until_empty(slurm)
    assert {row["state"] for name, row in rows(slurm).items() if name in STAGES[1]} == {"done"}
    assert "resubmit" not in rows(slurm)
    assert sorted(shard for shard, *_ in slurm.starts("planes")) == ["0", "1", "1"]
    assert [one["elements"] for one in ledger(slurm, "fit")] == [[[0], [1]], [[1]]]
    chain = ledger(slurm, "resubmit")
    assert len(chain) > 1
    assert all(one["ends"] == {"0": "COMPLETED"} for one in chain)


def test_an_error_of_its_own_is_left_and_the_last_job_ends(slurm: Rodin):
    leave(slurm, RODIN_FAKE_DECODER="user:no such picture")
    until_empty(slurm)
    found = rows(slurm)
    assert (found["decoder"]["state"], found["decoder"]["note"]) == ("failed", "no such picture")
    assert "resubmit" not in found
    assert len(ledger(slurm, "decoder")) == 1


def test_a_node_that_may_not_submit_is_told_of(slurm: Rodin):
    refusing = slurm.cwd / "bin" / "sbatch"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'sbatch: error: Access/permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    site = slurm.cwd / "site.toml"
    text = private.SITE.read_text()
    assert "setup = [\n" in text
    site.write_text(text.replace("setup = [\n", f"setup = [\n    'export PATH=\"{refusing.parent}:$PATH\"',\n"))
    leave(slurm, site, RODIN_FAKE_RENDER="@1:once:kill")
    until_empty(slurm)
    note = rows(slurm)["resubmit"]["note"]
    assert "render: not submitted: sbatch: error: Access/permission denied" in note
    assert "set `resubmit_job = false` in the site file" in note
    again = slurm("resubmit", "runs/tiny", "--wait")
    assert again.returncode == 0, again.stderr
    assert "resubmit" not in rows(slurm)


def test_cancel_leaves_nothing_behind(slurm: Rodin):
    leave(slurm, RODIN_FAKE_DECODER="wait")
    end = time.monotonic() + 200
    while not (slurm.cwd / "runs/tiny/decoder/beats.txt").exists():
        assert time.monotonic() < end
        time.sleep(0.5)
    assert rows(slurm)["resubmit"]["state"] in ("queued", "running")
    assert slurm("cancel", "runs/tiny").returncode == 0
    until_empty(slurm)
    assert "resubmit" not in rows(slurm)
