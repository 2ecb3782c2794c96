"""The bench measures both sides on the folder it is given and leaves nothing there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
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


def test_rates_are_of_the_bytes_that_were_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every action takes one second: a rate is then the megabytes that its side moved."""
    monkeypatch.setattr(bench, "SHAPES", {"planes": (3, 4, 64, 64), "base": (3, 4, 16, 16)})
    monkeypatch.setattr(bench, "ROUNDS", 1)
    planes, base = 3 * 4 * 64 * 64 * 2 / 1e6, 3 * 4 * 16 * 16 * 2 / 1e6

    def one_second(best: dict[str, float], name: str, action: Callable[[], object]) -> None:
        action()
        best[name] = 1.0

    monkeypatch.setattr(bench, "best_of", one_second)
    arrays = {name: np.zeros(shape, "float16") for name, shape in bench.SHAPES.items()}
    rows = {row["name"]: row for row in bench.measure(tmp_path, arrays, ["a", "b", "c"])}
    found = {name: (row["value"], row["baseline_value"]) for name, row in rows.items() if row["unit"] == "MB/s"}
    assert found == {
        "store write": pytest.approx((3 * (planes + base), 3 * (planes + base))),
        "store read": pytest.approx((3 * planes, 3 * planes)),
        "store read, in memory": pytest.approx((3 * planes, 3 * planes)),
        "store verify, in memory": pytest.approx((3 * (planes + base), 3 * planes)),
    }


def test_the_best_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, best = iter([0.0, 5.0, 10.0, 12.0, 20.0, 27.0]), {}
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    for _ in range(3):
        bench.best_of(best, "read", lambda: None)
    assert best == {"read": 2.0}
