"""Which training people each sample resembles most: does the model merely repeat its data?"""

from __future__ import annotations

from pathlib import Path

from analysis.results.rows import Row, again, results


def neighbour_rows(run: Path) -> list[Row]:
    """One row a sample with its nearest training people, nearest first, checked, in order of the samples' ids."""
    fields = {"sample": str, "neighbours": list, "similarity": list}
    rows = results(run, "evaluate", "neighbours", fields)
    for number, row in enumerate(rows, 1):
        if not row["neighbours"] or len(row["neighbours"]) != len(row["similarity"]):
            raise ValueError(
                f"{run}/results/evaluate-*.jsonl: 'neighbours' row {number} has {len(row['neighbours'])} neighbours "
                f"and {len(row['similarity'])} similarities, wanted as many, at least one; {again(run, 'evaluate')}"
            )
    return sorted(rows, key=lambda row: row["sample"])


def table_neighbours(run: Path) -> list[Row]:
    """The nearest training people of each sample, nearest first: one row a sample."""
    table = [
        {"sample": row["sample"], "nearest": row["neighbours"][0], "similarity": float(row["similarity"][0])}
        | {"others": ", ".join(map(str, row["neighbours"][1:]))}
        for row in neighbour_rows(run)
    ]
    table[0]["note"] = "similarity: cosine between CLIP embeddings of frontal pictures; 1 would be the same picture"
    return table
