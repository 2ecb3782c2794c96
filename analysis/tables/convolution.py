"""Ablation of roll-out and 3D-aware convolution in numbers (Figure 6)."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from analysis.results.rows import MissingRows, Row, results
from analysis.tables.quality import excludes_zero, gain_text, interval_fields, mean_of, paired_gain

Variant = tuple[bool, bool]  # (roll-out, 3D-aware)
UPSAMPLERS: dict[Variant, str] = {
    (False, False): "neither",
    (True, False): "roll-out only",
    (False, True): "3D-aware only",
    (True, True): "both",
}
GAINS = {
    "gain_behind": "behind the base model, unseen people",
    "gain_alone": "alone, on low planes of people it was trained on",
}
LIMIT = (
    "intervals are over people, of one training each: another seed's training may move a mean by as much; of twenty "
    "such intervals one lacks 0 by chance alone"
)
FIELDS = {"roll_out": bool, "aware": bool, "subject": str, "psnr": float, "ssim": float}


def table_convolution(run: Path) -> list[Row]:
    """Figure 6 in numbers: one row per upsampler.

    Returns:
        Rows with upsampler and subjects; `psnr` and `ssim` behind the base model on held-out subjects; `alone_psnr` and
        `alone_ssim` on low planes of subjects that it was trained on; `gain_behind` and `gain_alone`, the mean over
        subjects of this upsampler − the one with neither, in dB. All have 95 % intervals over subjects. `note` of the
        first row holds the verdicts.
    """
    behind, alone = _by_variant(run, "sweep-convolution"), {}
    with contextlib.suppress(MissingRows):
        alone = _by_variant(run, "sweep-convolution-alone")
    table = []
    for key, name in UPSAMPLERS.items():
        if key not in behind:
            continue
        line: Row = {"upsampler": name, "subjects": len({row["subject"] for row in behind[key]})}
        for metric in ("psnr", "ssim"):
            line |= interval_fields(metric, mean_of(behind[key], metric))
        line |= _gain("gain_behind", behind, key)
        for metric in ("psnr", "ssim"):
            line |= interval_fields(f"alone_{metric}", mean_of(alone[key], metric) if key in alone else None)
        table.append(line | _gain("gain_alone", alone, key))
    notes = [f"{title}, against neither: {verdict(table, name)}" for name, title in GAINS.items()]
    for title, groups in zip(GAINS.values(), (behind, alone), strict=True):
        if (gain := _gain("gain_psnr", groups, (True, True), over=(True, False)))["gain_psnr"] is not None:
            notes.append(f"{title}, 3D-aware convolution adds to roll-out (the paper's question): {gain_text(gain)}")
    table[0]["note"] = "\n".join([*notes, LIMIT])
    return table


def verdict(table: Sequence[Row], name: str) -> str:
    """Which upsamplers are better or worse than the one with neither by more than the noise.

    Args:
        table: rows of `table_convolution`.
        name: a key of GAINS.
    """
    groups: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for row in table:
        if row[name] is None:
            continue
        which = "better" if row[name] > 0 else "worse"
        groups[which if excludes_zero(row, name) else "not told apart"].append(row["upsampler"])
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names) or "not measured"


def _gain(name: str, groups: dict[Variant, list[Row]], key: Variant, over: Variant = (False, False)) -> Row:
    both = key != over and key in groups and over in groups
    return interval_fields(name, paired_gain(groups[key], groups[over], "psnr") if both else None)


def _by_variant(run: Path, name: str) -> dict[Variant, list[Row]]:
    groups: dict[Variant, list[Row]] = defaultdict(list)
    for row in results(run, name, name, FIELDS, optional=["ssim"]):
        groups[(row["roll_out"], row["aware"])].append(row)
    return groups
