"""Table 1: reconstruction of held-out people from one picture at each guidance scale, beside the paper's."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.results.paper import METRICS, TABLE_1, scale_name
from analysis.results.pictures import Pictures, pictures_by_scale
from analysis.results.provenance import config_of, resume_command, setting
from analysis.results.rows import MissingRows, Row, results
from analysis.results.statistics import RANGES, mean_interval
from analysis.tables.quality import (
    MEASURED,
    by_method_of,
    interval_fields,
    mean_of,
    mean_sentences,
    no_lpips,
    paired_gain,
    subject_count,
)
from rodin.evaluation.steps import MEAN_PERSON, NEAREST_PERSON
from rodin.store.run_folder import RunFolder

NOTE = "mean over people, each the mean over their views, with its 95 % interval (Student's t over people)"
OTHER_VIEWS = "ours, but the given view: without the picture that the avatar is made of"


def table_1(run: Path) -> list[Row]:
    """Table 1: reconstruction of held-out subjects from one picture; one row per guidance scale, beside the paper's.

    Computed from the measures of each picture that `sweep-cfg` keeps; of a run without them, from its result rows.

    Returns:
        Rows with guidance_scale, name, subjects, pictures (of each subject, where kept), and for each metric its mean,
        ``_low`` and ``_high`` (95 % interval over subjects), the paper's value ``paper_``, ours − the paper's
        ``difference_``, by how much it is better, person by person, than the mean person (``gain_mean_person_``) and
        the nearest person (``gain_nearest_person_``), the mean without the picture that the avatar is made of
        (``other_views_``; null unless every subject's pictures are kept: it stands beside the mean of all), and where
        it is missing the command that makes it (``missing_``); null where not measured.
    """
    rows = results(run, "sweep-cfg", "sweep-cfg", MEASURED | {"guidance_scale": float}, optional=["lpips"])
    by_scale: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        by_scale[float(row["guidance_scale"])].append(row)
    try:
        by_method = by_method_of(run)
    except MissingRows:  # stage `evaluate` may come later
        by_method = {}
    pictures = pictures_by_scale(run)
    table = []
    for scale in sorted(by_scale.keys() | TABLE_1.keys()):
        kept = pictures.get(scale)
        table.append(_line(run, scale, _with_means(by_scale[scale], kept), kept, by_method))
    notes = [NOTE] + ([OTHER_VIEWS] if any(row.get("other_views_psnr") is not None for row in table) else [])
    table[-1]["note"] = "\n".join([*notes, *mean_sentences(by_method)])
    return table


def _line(
    run: Path, scale: float, rows: Sequence[Row], kept: Pictures | None, by_method: Mapping[str, Sequence[Row]]
) -> Row:
    line: Row = {"guidance_scale": scale, "name": scale_name(scale), "subjects": subject_count(rows)}
    people = sorted({row["subject"] for row in rows})
    line["pictures"] = None if kept is None else len(kept.compared)
    for metric in METRICS:
        line |= interval_fields(metric, mean_of(rows, metric))
        line[f"paper_{metric}"] = paper = TABLE_1.get(scale, {}).get(metric)
        both = line[metric] is not None and paper is not None
        line[f"difference_{metric}"] = line[metric] - paper if both else None
        for guess in (MEAN_PERSON, NEAREST_PERSON):
            gain = paired_gain(rows, by_method.get(guess, []), metric)
            line |= interval_fields(f"gain_{guess.replace(' ', '_')}_{metric}", gain)
        means = kept.person_means(metric, but_given=True) if kept else {}
        others = [means[subject] for subject in people] if means.keys() >= set(people) else []
        line |= interval_fields(f"other_views_{metric}", mean_interval(others, RANGES[metric]) if others else None)
        line[f"missing_{metric}"] = None if line[metric] is not None else _missing(run, scale, rows)
    return line


def _with_means(rows: Sequence[Row], kept: Pictures | None) -> list[Row]:
    """Result rows with the means of their pictures' measures, where these are kept."""
    means = {} if kept is None else {metric: kept.person_means(metric) for metric in METRICS}
    return [row | {metric: of[row["subject"]] for metric, of in means.items() if row["subject"] in of} for row in rows]


def _missing(run: Path, scale: float, rows: Sequence[Row]) -> str:
    """Why a cell has no value, and the command that makes it."""
    folder, again = RunFolder(run), resume_command(run)
    made = shlex.join(["rm", "-r", *(str(folder.stage(stage)) for stage in ("sweep-cfg", "evaluate", "report"))])
    if rows:
        return f"{no_lpips(rows)[0]}; in a finished run then `{made}` and `{again}`"
    scales = setting(config_of(run), "sweeps.guidance_scales") or []
    if scale in scales:
        return f"guidance {scale:g} was not measured yet: `{again}`"
    wanted = ",".join(f"{one:g}" for one in sorted({*scales, scale}))
    change = f"sweeps.guidance_scales=[{wanted}]"
    command = shlex.join(["rodin", "run", str(folder.config_file), "--run", str(run), "--set", change])
    sweep = shlex.join(["rm", "-r", str(folder.stage("sweep-cfg"))])
    return f"guidance {scale:g} was not measured in this run (sweeps.guidance_scales): `{sweep}; {command}`"
