"""A shard that failed for good on Slurm is given up where its people may be missing."""

from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.judged_cluster import Cluster

from jobs.run.failures import Failure, record
from jobs.run.progress import log_of


@pytest.mark.parametrize("written", [True, False])
def test_a_shard_that_failed_for_good_is_given_up_where_its_people_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
):
    cluster = Cluster(tmp_path, monkeypatch, retries=0)
    allowing = cluster.run.config.data.model_copy(update={"allow_missing": 0.5})
    cluster.run = replace(cluster.run, config=cluster.run.config.model_copy(update={"data": allowing}))
    one = cluster.send()
    cluster.finish("fit", 0)
    if written:  # by the job itself; else it died without a word
        log = str(log_of(cluster.run.folder, "fit", one.element_id(1)))
        record(cluster.run.folder, Failure("fit", 1, "crash", "RuntimeError: a poisoned person", log))
    verdict = cluster.judge("FAILED")
    assert (verdict.asks, verdict.last) == ({}, {})
    (line,) = verdict.given_up
    assert line.startswith("fit shard 1 is given up without ")
    assert ("a poisoned person" if written else "ended as FAILED") in line
    assert cluster.run.done()
    assert not cluster.causes()
