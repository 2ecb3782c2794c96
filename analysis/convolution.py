"""The ablation of roll-out and 3D-aware convolution in numbers (Figure 6)."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path

from analysis.quality import mean_of, paired, spread
from analysis.rows import MissingRows, Row, results

NAMES = {
    (False, False): "neither",
    (True, False): "roll-out only",
    (False, True): "3D-aware only",
    (True, True): "both",
}
GAINS = {"gain_behind": "behind the base model, unseen people", "gain_alone": "alone, on fitted people's low planes"}
FIELDS = {"roll_out": bool, "aware": bool, "subject": str, "psnr": float, "ssim": float}


def table_convolution(run: Path) -> list[Row]:
    """Figure 6 in numbers: one row an upsampler.

    Returns:
        Rows with upsampler, people, psnr and ssim behind the base model on held-out people, `alone_psnr` and
        `alone_ssim` on the low planes of fitted people, and how much better each is than the one with neither, person
        by person: `gain_behind` and `gain_alone`; all with 95 % intervals over people.
    """
    behind, alone = _by_variant(run, "sweep-convolution"), {}
    with contextlib.suppress(MissingRows):
        alone = _by_variant(run, "sweep-convolution-alone")
    table = []
    for key, name in NAMES.items():
        if key not in behind:
            continue
        line: Row = {"upsampler": name, "people": len({row["subject"] for row in behind[key]})}
        line |= spread("psnr", mean_of(behind[key], "psnr")) | spread("ssim", mean_of(behind[key], "ssim"))
        line |= _gain("gain_behind", behind, key)
        for metric in ("psnr", "ssim"):
            line |= spread(f"alone_{metric}", mean_of(alone[key], metric) if key in alone else None)
        table.append(line | _gain("gain_alone", alone, key))
    return table


def _gain(name: str, groups: dict[tuple[bool, bool], list[Row]], key: tuple[bool, bool]) -> Row:
    both = key != (False, False) and key in groups and (False, False) in groups
    return spread(name, paired(groups[key], groups[(False, False)], "psnr") if both else None)


def _by_variant(run: Path, name: str) -> dict[tuple[bool, bool], list[Row]]:
    groups: dict[tuple[bool, bool], list[Row]] = defaultdict(list)
    for row in results(run, name, name, FIELDS, optional=["ssim"]):
        groups[(row["roll_out"], row["aware"])].append(row)
    return groups
