"""Nearest training subjects of each sample: whether the model merely repeats its data."""

from __future__ import annotations

from pathlib import Path

from analysis.results.rows import Row, next_step, results


def neighbour_rows(run: Path) -> list[Row]:
    """Checked rows, one per sample in order of ids, with its nearest training subjects, nearest first."""
    fields = {"sample": str, "neighbours": list, "similarity": list}
    rows = results(run, "evaluate", "neighbours", fields)
    for number, row in enumerate(rows, 1):
        if not row["neighbours"] or len(row["neighbours"]) != len(row["similarity"]):
            raise ValueError(
                f"{run}/results/evaluate-*.jsonl: 'neighbours' row {number} has {len(row['neighbours'])} neighbours "
                f"and {len(row['similarity'])} similarities, wanted as many, at least one; {next_step(run, 'evaluate')}"
            )
    return sorted(rows, key=lambda row: row["sample"])


def table_neighbours(run: Path) -> list[Row]:
    """Nearest training subjects of each sample, nearest first; one row per sample."""
    table = [
        {"sample": row["sample"], "nearest": row["neighbours"][0], "similarity": float(row["similarity"][0])}
        | {"others": ", ".join(map(str, row["neighbours"][1:]))}
        for row in neighbour_rows(run)
    ]
    table[0]["note"] = "similarity: cosine between CLIP embeddings of frontal pictures; 1 would be the same picture"
    return table
