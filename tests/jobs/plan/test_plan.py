"""The plan out of measured speeds, against numbers worked out by hand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.plan import show_plan
from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.plan.plan import plan_rows, plan_text
from jobs.plan.rates import Rate, read_rates
from jobs.run import progress
from jobs.run.hardware import hardware
from jobs.run.progress import Meter
from jobs.run.record import write_config
from jobs.site import Site
from rodin.config import Config
from rodin.presets import preset
from rodin.store import results
from rodin.store.run_folder import RunFolder

GPU = {"cpus": 4, "gpus": 1, "device": "H200"}
CORES = {"cpus": 2, "gpus": 0, "device": "Xeon"}
CPU_SITE = Site(name="cores", train_cpus=1, ranks_per_node=4)
GPU_SITE = Site(name="gpus", gpus_per_node=8, ranks_per_node=8, throttle=100)


def timed(path: Path, config: Config, stage: str, seconds: list[float], **on: Any) -> Path:
    """A run whose shards of a stage took so many seconds."""
    folder = RunFolder(path)
    write_config(folder, config)
    for shard, one in enumerate(seconds):
        row = {"stage": "timing", "name": stage, "shard": shard, "seconds": one, "peak_rss_mb": 1.0}
        results.write_rows(folder, f"timing-{stage}", shard, [row | {"paced_seconds": None, "ranks": 1} | on])
    return path


def planned(config: Config, site: Site, rates: dict[str, Rate], stage: str, tmp_path: Path) -> dict[str, Any]:
    run = Run(RunFolder(tmp_path / "planned"), config, site, tuple(chosen(graph(config), [stage])))
    return plan_rows(run, rates)[0]


def test_fits_scale_with_points_along_rays(tmp_path: Path):
    timed(tmp_path / "run", preset("tiny"), "fit", [8, 1], **CORES)
    second = {"stage": "timing", "name": "fit", "shard": 1, "seconds": 1.0, "paced_seconds": 8.0, "ranks": 1} | CORES
    results.write_rows(RunFolder(tmp_path / "run"), "timing-fit", 1, [second])  # stopped once, and gone on
    rates = read_rates([tmp_path / "run"])
    same = planned(preset("tiny"), CPU_SITE, rates, "fit", tmp_path)
    assert same["amount"] == 4 * 20 * 128 * 16
    assert same["hours"] == pytest.approx((8 + 8) * 2 / 3600)
    assert same["source"] == "measured"
    more = planned(preset("tiny", ["data.subjects=8", "fit.steps=60"]), CPU_SITE, rates, "fit", tmp_path)
    assert more["hours"] == pytest.approx(6 * 32 / 3600)
    assert more["wall_seconds"] == pytest.approx(6 * 32 / 4)  # four shards of two people, all at once, one core each
    assert (more["source"], more["elements"], more["arrays"]) == ("scaled", 4, 1)
    assert "times 6" in more["basis"]
    assert str(tmp_path / "run") in more["basis"]


def test_ten_seconds_a_person_are_278_gpu_hours(tmp_path: Path):
    timed(tmp_path / "run", preset("paper"), "fit", [640], **GPU)  # the first shard, of 64 people
    row = planned(preset("paper"), GPU_SITE, read_rates([tmp_path / "run"]), "fit", tmp_path)
    assert row["amount"] == 100_000 * 5_000 * 8_192 * 128
    assert row["hours"] == pytest.approx(100_000 * 10 / 3600)
    assert row["wall_seconds"] == pytest.approx(100_000 * 10 / 100)
    assert row["source"] == "scaled"


def test_a_speed_of_cores_says_nothing_of_gpus(tmp_path: Path):
    timed(tmp_path / "run", preset("tiny"), "fit", [8, 8], **CORES)
    rates = read_rates([tmp_path / "run"])
    row = planned(preset("paper"), GPU_SITE, rates, "fit", tmp_path)
    assert row["hours"] == planned(preset("paper"), GPU_SITE, {}, "fit", tmp_path)["hours"]
    assert row["source"] == "estimated"
    assert "timed on cores, here it runs on GPUs" in row["basis"]


def test_each_rank_of_the_decoder_draws_people_of_its_own(tmp_path: Path):
    timed(tmp_path / "run", preset("tiny"), "decoder", [10], **(CORES | {"cpus": 1, "ranks": 2}))
    row = planned(preset("tiny"), CPU_SITE, read_rates([tmp_path / "run"]), "decoder", tmp_path)
    assert row["ranks"] == 3  # it has three people
    assert row["amount"] == 3 * 20 * 128 * 16
    assert row["wall_seconds"] == pytest.approx(10)
    assert row["hours"] == pytest.approx(3 * 10 / 3600)


def test_networks_scale_with_operations(tmp_path: Path):
    timed(tmp_path / "run", preset("tiny"), "base", [100], **(CORES | {"cpus": 1, "ranks": 2}))
    rates = read_rates([tmp_path / "run"])
    longer = planned(preset("tiny", ["base.training.steps=30"]), CPU_SITE, rates, "base", tmp_path)
    assert longer["hours"] == pytest.approx(3 * 200 / 3600)
    assert longer["wall_seconds"] == pytest.approx(3 * 200 / longer["ranks"])
    forward = 31_789_056  # counted on the network
    assert longer["amount"] == pytest.approx(3 * forward * 4 * 30)


def test_disk_follows_the_shards_that_are_there(tmp_path: Path):
    path = timed(tmp_path / "run", preset("tiny"), "fit", [8, 8], **CORES)
    folder = RunFolder(path).stage("fit")
    folder.mkdir()
    for shard in range(2):
        (folder / f"{shard:05d}.h5").write_bytes(bytes(16_128))  # 1.05 times 2 people x 3 x 4 x (16² + 8²) float16
    row = planned(preset("paper"), CPU_SITE, read_rates([path]), "fit", tmp_path)
    planes = 100_000 * 2 * 3 * 32 * 256**2
    assert planes == pytest.approx(1.26e12, rel=0.01)
    assert row["disk_bytes"] == pytest.approx(1.05 * planes * (1 + 1 / 16))
    assert row["disk_source"] == "scaled"


def test_a_bench_that_knows_a_speed(tmp_path: Path):
    file = tmp_path / "fit.json"
    file.write_text(json.dumps([{"name": "fit", "value": 2.0, "unit": "s", "rates": {"fit": 5e8}} | GPU]))
    row = planned(preset("paper"), GPU_SITE, read_rates([file]), "fit", tmp_path)
    assert row["hours"] == pytest.approx(5.24288e14 / 5e8 / 3600)
    assert row["source"] == "scaled"


def test_the_site_files_word_counts_over_a_measurement(tmp_path: Path):
    timed(tmp_path / "run", preset("tiny"), "fit", [8, 8], **CORES)
    site = Site.model_validate({"name": "x", "stages": {"fit": {"minutes": 60.0}}})
    row = planned(preset("tiny"), site, read_rates([tmp_path / "run"]), "fit", tmp_path)
    assert (row["source"], row["hours"]) == ("given", 1.0)


def test_the_table_sums_by_where_figures_are_from(tmp_path: Path):
    timed(tmp_path / "run", preset("paper"), "fit", [640], **GPU)
    config = preset("paper", ["data.shard_subjects=20000"])
    run = Run(RunFolder(tmp_path / "planned"), config, GPU_SITE, tuple(chosen(graph(config), ["fit", "index"])))
    text = plan_text(run, read_rates([tmp_path / "run"]))
    assert re.search(r"core hours \([\d.]+ estimated\), 277\.8 GPU hours \(277\.8 scaled\), 1\.34 TB on disk", text)
    assert "fit: scaled: " in text
    assert "an element takes 2 d 7 h, more than max_minutes" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not there"),
        ("{", "not JSON"),
        ("{}", "got dict"),
        ("[]", "no stage's speed in it"),
        ('[{"name": "fit", "rates": {"fitt": 1.0}, "cpus": 1, "gpus": 0}]', "row 'fit' has rates={'fitt': 1.0}"),
        ('[{"name": "fit", "rates": {"fit": 1.0}}]', "row 'fit' has rates={'fit': 1.0}"),
    ],
)
def test_bad_rates_are_one_clear_line(content: str | None, words: str, tmp_path: Path):
    path = tmp_path / "rates.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(words)) as caught:
        show_plan("tiny", folder=tmp_path / "run", rates=[path])
    assert "\n" not in str(caught.value)
    assert "wanted a run folder" in str(caught.value)


def test_a_run_without_times_has_no_rates(tmp_path: Path):
    write_config(RunFolder(tmp_path), preset("tiny"))
    with pytest.raises(ValueError, match="no stage's speed in it"):
        read_rates([tmp_path])


def test_pace_of_a_shard_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    meter = Meter(RunFolder(tmp_path), "fit", 0)
    for now[0], done in ((100.0, 6), (104.0, 7), (110.0, 8)):  # five were done before
        meter(done, 20)
    assert meter.paced_seconds() == pytest.approx((110 - 100) / 2 * 20)


@pytest.mark.parametrize("calls", [[], [(1, 1)], [(0, 4), (4, 4), (1, 9)], [(3, 4), (1, 4)]])
def test_no_pace_where_progress_tells_none(tmp_path: Path, calls: list[tuple[int, int]]):
    meter = Meter(RunFolder(tmp_path), "fit", 0)
    for done, total in calls:
        meter(done, total)
    assert meter.paced_seconds() is None


def test_hardware_is_named():
    found = hardware(1)
    assert (found["cpus"], found["gpus"]) == (1, 0)
    assert isinstance(found["device"], str)
    assert found["device"]
