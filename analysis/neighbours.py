"""Which training people each sample resembles most: does the model merely repeat its data?"""

from __future__ import annotations

from pathlib import Path

from analysis.rows import Row, again, results


def table_neighbours(run: Path) -> list[Row]:
    """The nearest training people of each sample, nearest first: one row a sample."""
    fields = {"sample": str, "neighbours": list, "similarity": list}
    rows = results(run, "evaluate", "neighbours", fields)
    for number, row in enumerate(rows, 1):
        if not row["neighbours"] or len(row["neighbours"]) != len(row["similarity"]):
            raise ValueError(
                f"{run}/results/evaluate-*.jsonl: 'neighbours' row {number} has {len(row['neighbours'])} neighbours "
                f"and {len(row['similarity'])} similarities, wanted as many, at least one; {again(run, 'evaluate')}"
            )
    table = [
        {"sample": row["sample"], "nearest": row["neighbours"][0], "similarity": float(row["similarity"][0])}
        | {"others": ", ".join(map(str, row["neighbours"][1:]))}
        for row in sorted(rows, key=lambda row: row["sample"])
    ]
    table[0]["note"] = "similarity: cosine between CLIP embeddings of the frontal pictures; 1 would be the same picture"
    return table
