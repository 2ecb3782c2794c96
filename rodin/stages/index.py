"""Stage `index`: checks all shards of fitted planes and computes the mean planes, each texel's least and greatest value
over the people, and statistics of each channel.

MPI ranks divide the shards. The subjects of a shard are merged in row order and shards in shard order, and sums of
planes are exact, so the results are the same to the last bit for any number of ranks.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from rodin.config import Config
from rodin.data.index_files import MEANS, RANGES
from rodin.hooks import Hooks, Stopped
from rodin.stages.collective import done_on_all, gather_parts
from rodin.store import manifest, results
from rodin.store.atomic import publish_bytes
from rodin.store.errors import StoreError
from rodin.store.mpi import mpi_ranks
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import missing_people
from rodin.store.shards.reader import Shards

FIELDS = {"planes": "", "base": "base_"}


@dataclass(frozen=True)
class Totals:
    """Of the planes of some subjects: sum, [3, C, R, R] float64, and each texel's least and greatest value."""

    sum: np.ndarray
    least: np.ndarray
    greatest: np.ndarray

    @classmethod
    def of(cls, planes: np.ndarray) -> Totals:
        """Totals of one subject's planes [3, C, R, R]."""
        return cls(planes.astype(np.float64), planes, planes)

    def joined(self, other: Totals) -> Totals:
        """Totals of the subjects of both."""
        least, greatest = np.minimum(self.least, other.least), np.maximum(self.greatest, other.greatest)
        return Totals(self.sum + other.sum, least, greatest)


def add(totals: dict[str, Totals], field: str, more: Totals) -> None:
    """Join more totals to those of a field, in place."""
    totals[field] = totals[field].joined(more) if field in totals else more


@dataclass(frozen=True)
class Moments:
    """Count; mean, summed squared deviation, least and greatest value of each channel, [C] float64."""

    count: int
    mean: np.ndarray
    squares: np.ndarray
    least: np.ndarray
    greatest: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each channel, [C]."""
        return np.sqrt(self.squares / self.count)


@dataclass(frozen=True)
class ShardReport:
    """Contents of the index that come from one shard."""

    shard: int
    subjects: list[str]
    failed: dict[str, str]
    meta: list[dict[str, Any]]
    moments: dict[str, Moments]


def moments_of(planes: np.ndarray) -> Moments:
    """Moments of one subject's planes.

    Args:
        planes: [3, C, R, R], any float type.

    Returns:
        moments over the three planes and all their pixels, by two passes in float64.
    """
    mean, squares, least, greatest = np.empty((4, planes.shape[1]))
    for channel in range(planes.shape[1]):
        values = planes[:, channel].astype(np.float64)
        mean[channel] = values.mean()
        squares[channel] = np.square(values - mean[channel]).sum()
        least[channel], greatest[channel] = values.min(), values.max()
    return Moments(planes[:, 0].size, mean, squares, least, greatest)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two sets (Chan, Golub and LeVeque's update)."""
    count = a.count + b.count
    delta = b.mean - a.mean
    return Moments(
        count,
        a.mean + delta * (b.count / count),
        a.squares + b.squares + np.square(delta) * (a.count * b.count / count),
        np.minimum(a.least, b.least),
        np.maximum(a.greatest, b.greatest),
    )


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Check the shards of `fit`, publish the index and the rows of fit quality.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; the ranks divide the work.
        hooks: progress callback and stop request.
    """
    del shard
    here, count = mpi_ranks(), config.shards("fit")
    if done_on_all(here, folder.manifest("index", 0)):
        return
    planes = Shards(folder.stage("fit"), "planes")
    if missing := [number for number in range(count) if number not in planes.shards]:
        raise StoreError(
            f"{planes.folder}: {len(missing)} of {count} shards are not fitted, first {missing[0]:05d}; "
            "run the same command again until `fit` is done"
        )

    def part() -> tuple[list[ShardReport], dict[str, Totals]]:
        mine = range(here.rank, count, here.size)
        reports: list[ShardReport] = []
        totals: dict[str, Totals] = {}
        for done, number in enumerate(mine):
            hooks.progress(done, len(mine), f"shard {number:05d}")
            if hooks.should_stop():
                raise Stopped()
            reports.append(report(planes, number, totals))
        return reports, totals

    parts = gather_parts(here, part)
    if here.rank == 0:
        reports = sorted((each for reports, _ in parts for each in reports), key=lambda each: each.shard)
        totals: dict[str, Totals] = {}
        for _, found in parts:
            for field, more in found.items():
                add(totals, field, more)
        publish(folder, reports, totals)
        if lacking := missing_people(planes.folder):
            hooks.progress(count, count, lacking)


def report(planes: Shards, shard: int, totals: dict[str, Totals]) -> ShardReport:
    """Check one shard and measure its subjects, in row order; adds their planes to `totals`.

    Sums of float16 values in [-1, 1] are exact in float64 up to 2^28 subjects, as each is a multiple of 2^-24.
    """
    if problems := planes.verify_shard(shard):
        more = f" (and {len(problems) - 1} more problems in this shard)" if len(problems) > 1 else ""
        raise StoreError(f"{problems[0]}{more}")
    subjects = planes.subjects_of(shard)
    without_cache: dict[str, list[Moments]] = {field: [] for field in FIELDS}
    for subject in subjects:
        for field in FIELDS:
            read = planes.read(subject, field)
            without_cache[field].append(moments_of(read))
            add(totals, field, Totals.of(read))
    moments = {field: reduce(merge, each) for field, each in without_cache.items() if each}
    return ShardReport(
        shard, subjects, planes.failed_of(shard), [planes.meta(subject) for subject in subjects], moments
    )


def publish(folder: RunFolder, reports: list[ShardReport], totals: dict[str, Totals]) -> None:
    """Publish the rows of fit quality, the mean planes and the range of each texel, then the index itself.

    Args:
        folder: the run.
        reports: of all shards, in shard order.
        totals: of all subjects' planes, of each field.
    """
    content: dict[str, Any] = {
        "subjects": {subject: [each.shard, row] for each in reports for row, subject in enumerate(each.subjects)},
        "failed": {subject: reason for each in reports for subject, reason in each.failed.items()},
    }
    if not content["subjects"]:
        raise StoreError(
            f"{folder.stage('fit')}: no subject was fitted; see the reasons under 'failed' in the manifests"
        )
    means: dict[str, np.ndarray] = {}
    for field, prefix in FIELDS.items():
        whole = reduce(merge, (each.moments[field] for each in reports if each.moments))
        content[f"{prefix}mean"], content[f"{prefix}std"] = whole.mean.tolist(), whole.std.tolist()
        content[f"{prefix}min"], content[f"{prefix}max"] = whole.least.tolist(), whole.greatest.tolist()
        means[field] = totals[field].sum / len(content["subjects"])
        content[f"{prefix}spread"] = around(whole, means[field]).tolist()
    rows = [
        {"stage": "fit", "subject": subject}
        | {name: meta.get(name) for name in ("psnr", "ssim", "haze", "seconds", "steps")}
        for each in reports
        for subject, meta in zip(each.subjects, each.meta, strict=True)
    ]
    results.write_rows(folder, "fit", 0, rows)
    write_arrays(folder, MEANS, {field: mean.astype(np.float32) for field, mean in means.items()})
    least = {f"{field}_least": one.least for field, one in totals.items()}
    write_arrays(folder, RANGES, least | {f"{field}_greatest": one.greatest for field, one in totals.items()})
    content["files"] = manifest.describe_files(folder.stage("index"), [MEANS, RANGES])
    manifest.publish(folder.manifest("index", 0), content)


def write_arrays(folder: RunFolder, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Publish named arrays as a file of the index."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    publish_bytes(folder.stage("index") / name, file.getvalue())


def around(whole: Moments, mean: np.ndarray) -> np.ndarray:
    """Standard deviation of subjects' planes around the mean planes, by channel.

    Args:
        whole: moments of the planes of all subjects.
        mean: the mean planes, [3, C, R, R].

    Returns:
        [C]; by the law of total variance, the variance of `whole` minus that within the mean planes.
    """
    own = np.square(mean - whole.mean[:, None, None]).mean(axis=(0, 2, 3))
    return np.sqrt(np.maximum(whole.squares / whole.count - own, 0))
