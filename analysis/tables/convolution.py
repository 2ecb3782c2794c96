"""The ablation of roll-out and 3D-aware convolution in numbers (Figure 6)."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from analysis.results.rows import MissingRows, Row, results
from analysis.tables.quality import mean_of, paired, signed, spread, sure_of

Variant = tuple[bool, bool]  # roll-out, 3D-aware
NAMES: dict[Variant, str] = {
    (False, False): "neither",
    (True, False): "roll-out only",
    (False, True): "3D-aware only",
    (True, True): "both",
}
GAINS = {"gain_behind": "behind the base model, unseen people", "gain_alone": "alone, on fitted people's low planes"}
LIMIT = "intervals are over people, of one training each: another seed's training may move a mean by as much"
FIELDS = {"roll_out": bool, "aware": bool, "subject": str, "psnr": float, "ssim": float}


def table_convolution(run: Path) -> list[Row]:
    """Figure 6 in numbers: one row an upsampler.

    Returns:
        Rows with upsampler, people, psnr and ssim behind the base model on held-out people, `alone_psnr` and
        `alone_ssim` on the low planes of fitted people, and how much better each is than the one with neither, person
        by person: `gain_behind` and `gain_alone`; all with 95 % intervals over people. The verdicts stand in `note`.
    """
    behind, alone = _by_variant(run, "sweep-convolution"), {}
    with contextlib.suppress(MissingRows):
        alone = _by_variant(run, "sweep-convolution-alone")
    table = []
    for key, name in NAMES.items():
        if key not in behind:
            continue
        line: Row = {"upsampler": name, "subjects": len({row["subject"] for row in behind[key]})}
        line |= spread("psnr", mean_of(behind[key], "psnr")) | spread("ssim", mean_of(behind[key], "ssim"))
        line |= _gain("gain_behind", behind, key)
        for metric in ("psnr", "ssim"):
            line |= spread(f"alone_{metric}", mean_of(alone[key], metric) if key in alone else None)
        table.append(line | _gain("gain_alone", alone, key))
    notes = [f"{title}, against neither: {verdict(table, name)}" for name, title in GAINS.items()]
    for title, groups in zip(GAINS.values(), (behind, alone), strict=True):
        if (gain := _gain("gain_psnr", groups, (True, True), over=(True, False)))["gain_psnr"] is not None:
            notes.append(f"{title}, 3D-aware convolution adds to roll-out (the paper's question): {signed(gain)}")
    table[0]["note"] = "\n".join([*notes, LIMIT])
    return table


def verdict(table: Sequence[Row], name: str) -> str:
    """Which upsamplers can be told from the one with neither, so that noise is not read as gain.

    Args:
        table: rows of `table_convolution`.
        name: of GAINS.
    """
    told: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for row in table:
        if row[name] is None:
            continue
        which = "better" if row[name] > 0 else "worse"
        told[which if sure_of(row, name) else "not told apart"].append(row["upsampler"])
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in told.items() if names) or "not measured"


def _gain(name: str, groups: dict[Variant, list[Row]], key: Variant, over: Variant = (False, False)) -> Row:
    both = key != over and key in groups and over in groups
    return spread(name, paired(groups[key], groups[over], "psnr") if both else None)


def _by_variant(run: Path, name: str) -> dict[Variant, list[Row]]:
    groups: dict[Variant, list[Row]] = defaultdict(list)
    for row in results(run, name, name, FIELDS, optional=["ssim"]):
        groups[(row["roll_out"], row["aware"])].append(row)
    return groups
