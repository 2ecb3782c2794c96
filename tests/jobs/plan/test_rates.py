"""Measured speeds: what counts of a run's timing rows and of a bench's rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.graph.graph import STAGES, chosen, graph
from jobs.graph.work import Run
from jobs.plan.plan import plan_rows, plan_text
from jobs.plan.rates import Rate, read_rates, work_share
from jobs.run.record import write_config
from jobs.site import Site
from jobs.weights import check_weights
from rodin.config import Config
from rodin.presets import preset
from rodin.store import results
from rodin.store.run_folder import RunFolder

BY_NAME = {stage.name: stage for stage in STAGES}
CORES = {"cpus": 1, "gpus": 0, "device": "Xeon", "ranks": 1}
GPU = {"cpus": 4, "gpus": 1, "device": "H200", "ranks": 1}
THREE = preset("tiny", ["data.subjects=3"])  # fit: shards of two subjects and of one


def row(shard: int, seconds: float, hardware: dict[str, Any], paced: float | None = None) -> dict[str, Any]:
    return {"stage": "timing", "name": "fit", "shard": shard, "seconds": seconds, "paced_seconds": paced} | hardware


def timed(path: Path, config: Config, rows: list[dict[str, Any]]) -> Path:
    folder = RunFolder(path)
    write_config(folder, config)
    for one in rows:
        results.write_rows(folder, "timing-fit", one["shard"], [one])
    return path


def planned(config: Config, site: Site, folder: Path, rates: dict[str, Rate] | None = None) -> dict[str, Any]:
    return plan_rows(Run(RunFolder(folder), config, site, tuple(chosen(graph(config), ["fit"]))), rates)[0]


def test_a_shard_counts_as_much_as_it_has_subjects():
    assert work_share(THREE, BY_NAME["fit"], [0]) == pytest.approx(2 / 3)
    assert work_share(THREE, BY_NAME["fit"], [1]) == pytest.approx(1 / 3)
    assert work_share(THREE, BY_NAME["fit"], [0, 1]) == 1
    assert work_share(THREE, BY_NAME["evaluate"], [0]) == 1


def test_a_run_that_finished_one_shard_tells_the_speed(tmp_path: Path):
    rate = read_rates([timed(tmp_path / "run", THREE, [row(0, 8.0, CORES)])])["fit"]
    points = 2 * 20 * 128 * 16
    assert (rate.amount, rate.seconds, rate.speed) == (pytest.approx(points), 8.0, pytest.approx(points / 8))
    assert (rate.gpu, rate.device, rate.source) == (False, "Xeon", str(tmp_path / "run"))


def test_seconds_are_of_all_ranks_and_their_cores(tmp_path: Path):
    rate = read_rates([timed(tmp_path / "run", THREE, [row(0, 8.0, CORES | {"cpus": 3, "ranks": 2})])])["fit"]
    assert rate.seconds == 8 * 3 * 2


def test_the_newest_kind_of_hardware_counts(tmp_path: Path):
    rows = [row(0, 100.0, CORES), row(1, 1.0, GPU)]
    rate = read_rates([timed(tmp_path / "run", THREE, rows)])["fit"]
    assert (rate.gpu, rate.device, rate.seconds) == (True, "H200", 1.0)
    assert rate.amount == pytest.approx(20 * 128 * 16)


def test_rows_that_do_not_name_their_hardware_do_not_count(tmp_path: Path):
    bare = {"stage": "timing", "name": "fit", "shard": 0, "seconds": 9.0}
    path = timed(tmp_path / "run", THREE, [bare, row(1, 1.0, CORES)])
    assert read_rates([path])["fit"].seconds == 1.0


def test_a_bench_on_several_gpus_tells_the_speed_of_one(tmp_path: Path):
    file = tmp_path / "fit.json"
    file.write_text(json.dumps([{"name": "fit", "rates": {"fit": 8e8}} | GPU | {"gpus": 4}]))
    assert read_rates([file])["fit"] == Rate(2e8, True, "H200", str(file))
    file.write_text(json.dumps([{"name": "fit", "rates": {"fit": 8e8}} | CORES | {"cpus": 2}]))
    assert read_rates([file])["fit"] == Rate(4e8, False, "Xeon", str(file))


@pytest.mark.parametrize("speed", [0, -1.0, float("inf"), "fast", None])
def test_a_bench_with_an_impossible_speed_is_refused(speed: Any, tmp_path: Path):
    file = tmp_path / "fit.json"
    file.write_text(json.dumps([{"name": "fit", "rates": {"fit": speed}} | GPU]))
    with pytest.raises(ValueError, match="row 'fit' has rates"):
        read_rates([file])


def test_a_later_path_overrides_an_earlier_one(tmp_path: Path):
    run = timed(tmp_path / "run", THREE, [row(0, 8.0, CORES), row(1, 4.0, CORES)])
    file = tmp_path / "fit.json"
    file.write_text(json.dumps([{"name": "fit", "rates": {"fit": 1.0}} | GPU]))
    assert read_rates([run, file])["fit"].source == str(file)
    assert read_rates([file, run])["fit"].source == str(run)


def test_finished_shards_cost_nothing_more(tmp_path: Path):
    config, site = preset("tiny", ["data.subjects=8"]), Site(name="x")
    whole = planned(config, site, tmp_path)
    fit = RunFolder(tmp_path).stage("fit")
    fit.mkdir()
    for shard in (0, 2, 3):
        (fit / f"{shard:05d}.json").write_text("{}")
    rest = planned(config, site, tmp_path)
    assert (whole["done"], rest["done"], rest["shards"]) == (0, 3, 4)
    assert rest["hours"] == pytest.approx(whole["hours"] / 4)
    assert rest["wall_seconds"] == pytest.approx(whole["wall_seconds"] / 4)
    assert rest["disk_bytes"] == whole["disk_bytes"]


def test_hours_are_of_all_cores_and_wall_time_of_what_runs_at_once(tmp_path: Path):
    config = preset("tiny", ["data.subjects=16"])
    site = {"name": "x", "cpus_per_node": 8, "stages": {"fit": {"cpus": 4, "minutes": 480.0}}}
    row = planned(config, Site.model_validate(site | {"throttle": 4}), tmp_path)
    assert (row["elements"], row["hours"], row["wall_seconds"]) == (8, 8 * 4, 480 * 60 / 4)
    here = planned(config, Site.model_validate(site | {"name": "local", "throttle": 8}), tmp_path)
    assert here["wall_seconds"] == 480 * 60 / 2  # two elements of four cores on eight


def test_the_totals_of_a_plan_are_sums(tmp_path: Path):
    config = preset("tiny")
    site = Site.model_validate({"name": "s", "stages": {"fit": {"minutes": 60.0}, "index": {"minutes": 30.0}}})
    run = Run(RunFolder(tmp_path), config, site, tuple(chosen(graph(config), ["fit", "index", "report"])))
    text = plan_text(run)
    rows = {one["stage"]: one for one in plan_rows(run)}
    estimated = rows["report"]["hours"]
    total = f"{1.5 + estimated:.1f} core hours (1.5 given, {estimated:.1f} estimated)"
    assert f"{tmp_path} on s: {total}, " in text.splitlines()[4]
    assert [line.split()[:2] for line in text.splitlines()[1:4]] == [
        ["fit", "decoder"],
        ["index", "fit"],
        ["report", "all"],
    ]


def test_gpus_and_arrays_of_a_stage(tmp_path: Path):
    config = preset("tiny", ["data.subjects=16"])
    site = Site(name="x", gpus_per_node=4, ranks_per_node=4, max_array_size=3)
    work = Run(RunFolder(tmp_path), config, site, tuple(chosen(graph(config), ["fit", "base"])))
    fit, base = plan_rows(work)
    assert (fit["elements"], fit["arrays"], fit["gpus"]) == (8, 3, 1)
    assert (base["elements"], base["arrays"], base["ranks"], base["gpus"]) == (1, 1, 4, 4)


def test_a_note_names_elements_over_the_sites_longest_time(tmp_path: Path):
    config = preset("tiny")
    for minutes, noted in ((59.0, False), (61.0, True)):
        stages = {"fit": {"minutes": 2 * minutes}}  # two shards
        site = Site.model_validate({"name": "x", "max_minutes": 60, "stages": stages})
        text = plan_text(Run(RunFolder(tmp_path), config, site, tuple(chosen(graph(config), ["fit"]))))
        assert ("more than max_minutes" in text) == noted


def warned(folder: Path, site: dict[str, Any], stage: str, *changes: str) -> list[str]:
    config = preset("tiny", list(changes))
    run = Run(RunFolder(folder), config, Site.model_validate(site), tuple(chosen(graph(config), [stage])))
    (row,) = plan_rows(run)
    return row["warnings"]


@pytest.mark.parametrize(
    ("stage", "shards", "words"),
    [
        (
            "base",
            1,
            "it takes 3 h 00 min, more than max_minutes of the site (60): it is requeued and continues, 3 times",
        ),
        ("embed", 1, "it takes 3 h 00 min"),
        ("fit", 2, "an element takes 3 h 00 min, more than max_minutes of the site (60)"),
        ("sample", 2, "fewer people a shard (sample.shard_samples) make it shorter"),
    ],
)
def test_every_stage_over_the_sites_longest_time_is_named(stage: str, shards: int, words: str, tmp_path: Path):
    site: dict[str, Any] = {"name": "x", "max_minutes": 60, "stages": {stage: {"minutes": 180.0 * shards}}}
    (warning,) = warned(tmp_path, site, stage)
    assert words in warning
    assert "too few" not in warning
    assert "requeues is 1: too few" in warned(tmp_path, site | {"requeues": 1}, stage)[0]
    assert warned(tmp_path, site | {"name": "local"}, stage) == []
    site["stages"][stage]["minutes"] = 60.0 * shards
    assert warned(tmp_path, site, stage) == []


def test_a_stage_that_is_done_needs_no_time_and_no_memory(tmp_path: Path):
    site = {"name": "x", "max_minutes": 60, "memory_gb_per_node": 1.0, "stages": {"base": {"minutes": 180.0}}}
    assert len(warned(tmp_path, site, "base")) == 2
    RunFolder(tmp_path).stage("base").mkdir()
    RunFolder(tmp_path).manifest("base").write_text("{}")
    assert warned(tmp_path, site, "base") == []


def test_memory_and_devices_that_a_site_does_not_have_are_named(tmp_path: Path):
    (warning,) = warned(tmp_path, {"name": "x", "memory_gb_per_node": 5.9}, "base")
    assert "needs about 6.0 GB on each machine by our estimate, memory_gb_per_node of x is 5.9" in warning
    assert warned(tmp_path, {"name": "x", "memory_gb_per_node": 6.1}, "base") == []
    given = {"name": "x", "memory_gb_per_node": 5.0, "stages": {"base": {"memory_gb": 4.0}}}
    assert warned(tmp_path, given, "base") == []
    (warning,) = warned(tmp_path, {"name": "x"}, "render", "data.device=CUDA")
    assert "data.device is CUDA, but x has no GPU; wanted CPU" in warning
    assert warned(tmp_path, {"name": "x", "gpus_per_node": 1}, "render", "data.device=CUDA") == []


def test_what_is_done_shows_what_it_took(tmp_path: Path):
    path = timed(tmp_path / "run", THREE, [row(1, 8.0, CORES), row(0, 3.0, CORES)])
    for stage in ("fit", "decoder"):
        RunFolder(path).stage(stage).mkdir()
        (RunFolder(path).stage(stage) / "00000.json").write_text("{}")
    stages = tuple(chosen(graph(THREE), ["decoder", "fit", "base"]))
    rows = {one["stage"]: one for one in plan_rows(Run(RunFolder(path), THREE, Site(name="x"), stages))}
    assert (rows["fit"]["taken_seconds"], rows["decoder"]["taken_seconds"], rows["base"]["taken_seconds"]) == (
        11,
        None,
        None,
    )
    text = plan_text(Run(RunFolder(path), THREE, Site(name="x"), stages)).splitlines()
    assert text[0].split()[:4] == ["stage", "after", "done", "took"]
    assert [line.split()[3] for line in text[1:4]] == ["-", "11", "-"]


def test_disk_of_a_run_with_some_shards(tmp_path: Path):
    path = timed(tmp_path / "run", THREE, [row(1, 8.0, CORES)])
    folder = RunFolder(path).stage("fit")
    folder.mkdir()
    (folder / "00001.h5").write_bytes(bytes(int(1.5 * BY_NAME["fit"].disk(THREE) / 3)))  # one of three subjects
    assert read_rates([path])["fit"].disk == pytest.approx(1.5, rel=1e-3)


def test_only_stages_that_read_weights_need_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RODIN_WEIGHTS", str(tmp_path))
    config = preset("paper")

    def check(*names: str) -> None:
        extra = tuple(name for name in names if name.startswith("sweep-"))
        stages = chosen(graph(config, extra), list(names))
        check_weights(Run(RunFolder(tmp_path), config, Site(name="x"), tuple(stages)))

    check("render", "decoder", "fit", "base", "sweep-cfg")
    for name in ("embed", "sample", "evaluate"):
        with pytest.raises(FileNotFoundError, match="no weights for clip"):
            check(name)
    for name in ("upsample", "sweep-convolution"):
        with pytest.raises(FileNotFoundError, match="no weights of LPIPS"):
            check(name)
