"""The bench measures both sides on the folder it is given and leaves nothing there."""

from pathlib import Path

import pytest

from rodin.bench import store as bench
from rodin.store.errors import StoreError


def test_rows_and_a_clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SHAPES", {"planes": (3, 4, 64, 64), "base": (3, 4, 16, 16)})
    monkeypatch.setattr(bench, "SHARDS", 20)
    rows = bench.bench_store(tmp_path, 1)
    assert [row["name"].removeprefix("store ") for row in rows] == [
        "write",
        "read",
        "read, in memory",
        "verify, in memory",
        "size",
        "reads a person",
        "open, 20 shards",
    ]
    for row in rows:
        assert set(row) == {"name", "value", "unit", "baseline", "baseline_value", "ratio"}
        assert row["value"] > 0
        assert row["baseline_value"] > 0
    assert rows[0]["ratio"] == pytest.approx(rows[0]["value"] / rows[0]["baseline_value"])
    by_name = {row["name"]: row for row in rows}
    assert 0.9 < by_name["store size"]["ratio"] <= 1.0
    assert by_name["store reads a person"]["value"] == 1.0
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="measure fewer megabytes"):
        bench.bench_store(tmp_path, 10**9)
    assert list(tmp_path.iterdir()) == []
