"""The bench of Table 1: both sides find the same means, at a small size."""

from pathlib import Path

import pytest

from analysis.tables.table_1 import table_1
from rodin.bench import table as bench


def test_both_sides_find_the_same_means(tmp_path: Path) -> None:
    values = bench.made_up(2, 20, 5)
    bench.write_run(tmp_path / "run", (1.0, 6.0), values)
    bench.write_lines(tmp_path / "lines.jsonl", (1.0, 6.0), values)
    by_person = bench.by_lines(tmp_path / "lines.jsonl")
    assert len(by_person) == 40
    rows = {row["guidance_scale"]: row for row in table_1(tmp_path / "run")}
    for scale in (1.0, 6.0):
        assert (rows[scale]["subjects"], rows[scale]["pictures"]) == (20, 5)
        means = [of for (at, _), of in by_person.items() if at == scale]
        assert rows[scale]["psnr"] == pytest.approx(sum(mean[0] for mean in means) / 20, rel=1e-5)
        assert rows[scale]["lpips"] == pytest.approx(sum(mean[2] for mean in means) / 20, rel=1e-5)


def test_the_bench_is_one_row_with_its_baseline(tmp_path: Path) -> None:
    (row,) = bench.bench_table(table_1, people=4, pictures=3, folder=tmp_path / "run")
    assert row["name"] == "Table 1 of 60 pictures"
    assert row["ratio"] == pytest.approx(row["baseline_value"] / row["value"])
