"""Tables of a run by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.results.provenance import config_of
from analysis.results.rows import Row, results
from analysis.results.statistics import ANYWHERE, RANGES, mean_interval
from analysis.tables.cascade import table_cascade
from analysis.tables.convolution import table_convolution
from analysis.tables.costs import FIT_COSTS, by_value, table_losses, table_timings
from analysis.tables.layout import comma_separated, grid, latex, markdown, plain
from analysis.tables.memorisation import table_memorisation
from analysis.tables.neighbours import table_neighbours
from analysis.tables.prompts import table_prompts
from analysis.tables.quality import interval_fields, table_fit, table_reconstruction
from analysis.tables.table_1 import table_1
from rodin.store.atomic import publish_bytes
from rodin.store.run_folder import RunFolder


def table_frechet(run: Path) -> list[Row]:
    """Fréchet distance between pictures of samples and of training subjects; one row per measurement."""
    fields = {"value": float, "samples": int, "subjects": int, "features": str}
    rows = results(run, "evaluate", "frechet", fields, optional=["features"])
    table = [{key: row.get(key) for key in ("value", "samples", "subjects", "features")} for row in rows]
    return [row | {"note": "comparable only between runs measured with the same features and numbers"} for row in table]


def table_clip(run: Path) -> list[Row]:
    """Retrieval by the small CLIP: how often it finds the caption of a picture, and the picture of a caption."""
    fields = {
        "subjects": str,
        "views": str,
        "count": int,
        "image_to_text": float,
        "text_to_image": float,
        "chance": float,
    }
    rows = results(run, "clip-retrieval", "clip-retrieval", fields)
    table: list[Row] = [{name: row[name] for name in fields} for row in rows]
    table[0]["note"] = "share of pictures whose nearest caption is their person's, and of captions likewise"
    return table


def table_resolution(run: Path) -> list[Row]:
    """Figure 3 in numbers: fit quality, seconds and size by tri-plane resolution."""
    return _sweep(run, "sweep-resolution", "tri-plane resolution")


def table_views(run: Path) -> list[Row]:
    """Figure 4 in numbers: fit quality and seconds by number of views."""
    return _sweep(run, "sweep-views", "views")


def table_run_losses(run: Path) -> list[Row]:
    """First and last loss of each network beside the expected ones."""
    return table_losses(run, config_of(run))


TABLES: dict[str, Callable[[Path], list[Row]]] = {
    "1": table_1,
    "fit": table_fit,
    "reconstruction": table_reconstruction,
    "cascade": table_cascade,
    "prompts": table_prompts,
    "neighbours": table_neighbours,
    "memorisation": table_memorisation,
    "frechet": table_frechet,
    "clip": table_clip,
    "resolution": table_resolution,
    "views": table_views,
    "convolution": table_convolution,
    "losses": table_run_losses,
    "timings": table_timings,
}


def table(run: Path, name: str) -> list[Row]:
    """Rows of a table.

    Args:
        run: a run folder, finished or not.
        name: one of TABLES.

    Raises:
        ValueError: no such table, or its rows are missing or damaged; the message lists tables or names the stage.
        FileNotFoundError: no such run folder.
    """
    if name not in TABLES:
        hint = "; Table 2 is the user study: `rodin study build`, then `rodin study tally`" if name == "2" else ""
        raise ValueError(f"no table '{name}'{hint}; there are {', '.join(TABLES)}")
    if not Path(run).is_dir():
        raise FileNotFoundError(f"{run}: no such run folder; `rodin run` makes one")
    return TABLES[name](Path(run))


def render_table(rows: Sequence[Row]) -> str:
    """Rows as plain text: aligned columns, 95 % intervals in brackets, notes underneath."""
    return plain(grid(rows))


def write_table(folder: Path, name: str, rows: Sequence[Row]) -> list[Path]:
    """Write the rows of a table as .txt, .md, .csv and .tex, each atomically.

    Args:
        folder: a run folder, or another one; the files go into its ``tables/``.
        name: of the table.
        rows: of the table.

    Returns:
        The four paths.
    """
    shown = grid(rows)
    texts = {"txt": plain(shown), "md": markdown(shown), "csv": comma_separated(rows), "tex": latex(shown)}
    paths = [RunFolder(folder).tables / f"table-{name}.{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        publish_bytes(path, text.encode())
    return paths


def _sweep(run: Path, name: str, heading: str) -> list[Row]:
    table: list[Row] = []
    before: dict[str, float] = {}
    for group in by_value(run, name):
        line: Row = {heading: int(group["value"]), "subjects": len({row["subject"] for row in group["rows"]})}
        for field in ("psnr", *FIT_COSTS):
            values = [row[field] for row in group["rows"] if row.get(field) is not None]
            line |= interval_fields(field, mean_interval(values, RANGES.get(field, ANYWHERE)) if values else None)
        psnr = {row["subject"]: row["psnr"] for row in group["rows"]}
        gains = [psnr[subject] - before[subject] for subject in sorted(psnr.keys() & before.keys())]
        line |= interval_fields("gain_over_last", mean_interval(gains) if gains else None)
        table.append(line)
        before = psnr
    table[0]["note"] = (
        "[ ] 95 % intervals over people (Student's t); the gain is that of the same people over the line above"
    )
    return table
