"""The summary of a run's stores: what is published, what failed, what is unfinished."""

from pathlib import Path

import pytest
from fixtures.shards import SHAPES, fill, ids, publish

from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.inventory import inventory
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter


def test_the_summary_counts_what_is_on_disk(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    folder = publish(run.stage("fit"), shards=2)
    with ShardWriter(folder, 2, "planes", ids(4, 8), SHAPES) as writer:
        writer.fail("000009", "no views")
        fill(writer)
        writer.publish()
    with ShardWriter(folder, 3, "planes", ids(4, 12), SHAPES) as writer:
        fill(writer, 1)
    unfinished = next(folder.glob(".00003.*.h5")).stat().st_size
    manifest.publish(run.manifest("base"), {"loss": 1.0})
    (run.results / "x").mkdir(parents=True)
    assert inventory(run) == [
        {
            "store": "planes",
            "kind": "planes",
            "schema": 2,
            "rows": 11,
            "failed": {"000009": "no views"},
            "shards": 3,
            "bytes": sum((folder / f"{shard:05d}.h5").stat().st_size for shard in range(3)),
            "fields": {"base": ["float16", 3, 4, 4, 4], "planes": ["float16", 3, 4, 8, 8]},
            "unfinished": unfinished,
        }
    ]


def test_a_subject_may_have_a_row_in_several_shards(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path).stage("sweep-cfg")
    for shard in range(3):
        with ShardWriter(folder, shard, "planes", ids(2), SHAPES) as writer:
            fill(writer)
            writer.publish()
    (found,) = inventory(RunFolder(tmp_path))
    assert (found["rows"], found["shards"]) == (6, 3)


def test_a_first_shard_that_is_lost_is_one_line(tmp_path: Path) -> None:
    folder = publish(RunFolder(tmp_path).stage("fit"), shards=2)
    (folder / "00000.h5").unlink()
    with pytest.raises(StoreError, match=r"00000\.h5: missing though its manifest is there; delete"):
        inventory(RunFolder(tmp_path))
