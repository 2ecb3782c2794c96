"""Figure 7 in numbers: similarities and distance ratios of samples and of people never seen, and copies by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis.figures.plots import OURS, THEIRS, THIRD, plot, with_intervals
from analysis.results.statistics import rate_interval
from analysis.tables.memorisation import COPY, memorisation_groups, similarity_limit


def memorisation(run: Path, path: Path, title: str) -> None:
    """Shares of samples below each value, beside people never seen and known copies; copies at each kept step."""
    groups = memorisation_groups(run)
    unseen, steps = groups.unseen, list(groups.samples)
    last = groups.samples[steps[-1]] if steps else []
    named = ((last, OURS, "samples"), (unseen, THEIRS, "people never seen"), (groups.known, THIRD, "known copies"))
    sets = [one for one in named if one[0]]
    with plot(path, title, 3 + (len(steps) > 1)) as panels:
        for axes, field, label, limit in (
            (panels[0], "similarity", "CLIP similarity to the nearest", similarity_limit(unseen)),
            (panels[1], "clip_ratio", "nearest / second, CLIP", COPY),
            (panels[2], "picture_ratio", "nearest / second, pictures", COPY),
        ):
            for rows, colour, name in sets:
                values = np.sort([row[field] for row in rows])
                axes.step(values, np.arange(1, len(values) + 1) / len(values), where="post", color=colour, label=name)
            if limit is not None:
                axes.axvline(limit, color="black", linewidth=0.8, linestyle="--")
            axes.set(title=label, ylabel="share below", ylim=(0, 1.02))
            axes.legend(loc="upper left")
        if len(steps) > 1:
            for field, colour, name in (("clip_ratio", OURS, "CLIP"), ("picture_ratio", THEIRS, "pictures")):
                rates = [
                    rate_interval(sum(row[field] < COPY for row in rows), len(rows)) for rows in groups.samples.values()
                ]
                with_intervals(panels[3], steps, rates, colour, name)
            panels[3].set(title="share of copies", xlabel="steps of the base model", ylim=(-0.02, 1.02))
            panels[3].legend()
