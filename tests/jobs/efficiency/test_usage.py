"""What a run used and what to ask for next, against numbers worked out by hand; then `rodin run --asks` asks for it."""

import json
import os
import tomllib
from pathlib import Path

import pytest
from fixtures import recorded_accounting as recorded
from fixtures import recorded_clusters

from jobs.cli.app import status_of
from jobs.efficiency.accounting import attempts_of
from jobs.efficiency.kept import curve_seconds
from jobs.efficiency.suggestion import suggest
from jobs.efficiency.usage import SACCT, TIMES, StageUse, stage_uses
from jobs.graph.graph import graph
from jobs.graph.work import Run
from jobs.launch.scripts import batches
from jobs.plan.asks import with_asks
from jobs.run.ledger import Submission, enter
from jobs.run.record import write_config
from jobs.site import Site
from rodin.presets import preset
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder

CONFIG = preset("tiny", ["data.subjects=16"])  # fit: 8 shards


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    found = RunFolder(tmp_path / "run")
    write_config(found, CONFIG)
    return found


def timing(folder: RunFolder, stage: str, shard: int, seconds: float, mb: float = 1024, **more) -> None:
    row = {"stage": "timing", "name": stage, "shard": shard, "seconds": seconds, "peak_rss_mb": mb, "ranks": 1}
    write_rows(folder, f"timing-{stage}", shard, [row | {"cpus": 2, "gpus": 0, "device": "EPYC"} | more])


def sent(stage: str, job: str, *elements: tuple[int, ...]) -> Submission:
    return Submission("u" + job, stage, job, elements or ((0,),), 1.8e9)


def uses_of(folder: RunFolder, text: str, *ledger: Submission) -> dict[str, StageUse]:
    return {one.stage: one for one in stage_uses(folder, CONFIG, ledger, attempts_of(text))}


def test_an_array_by_hand(folder: RunFolder):
    for shard, seconds in ((0, 200.0), (1, 250.0), (2, 400.0), (3, 410.0)):
        timing(folder, "fit", shard, seconds)
    use = uses_of(folder, recorded.ARRAY, sent("fit", "100", (0, 1), (2, 3), (4, 5)))["fit"]
    assert (use.source, use.attempts, use.ends) == (SACCT, 3, {"COMPLETED": 2, "OUT_OF_MEMORY": 1})
    assert use.core_hours == pytest.approx(2 * (600 + 900 + 300) / 3600)
    assert use.core_hours_used == pytest.approx((900 + 1200 + 300) / 3600)
    assert (use.gpu_hours, use.gpu_hours_used) == (0, None)
    assert (use.memory_gb, use.memory_gb_used) == (3.0, 3.0)
    assert (use.minutes, use.minutes_used, use.wait_seconds) == (60, 15, 180)
    assert use.shard_minutes == 7.5  # 15 minutes for two shards; the longest alone took 410 s
    assert use.unfinished_hours == pytest.approx(600 / 3600)
    assert use.kept == pytest.approx(1260 / 1800)
    assert use.wasted_hours == pytest.approx(600 / 3600)  # all of it; starts took the rest of 1080 s
    assert (use.nodes, use.ranks, use.cpus, use.gpus, use.device) == (1, 1, 2, 0, "EPYC")


def test_a_training_on_two_machines_by_hand(folder: RunFolder):
    curve = [(1000, 0.5), (2000, 0.5)]  # samples so far, samples a second: 2000 s and 2000 s
    rows = [{"step": n, "samples": n, "samples_per_second": speed, "mfu": 0.3} for n, speed in curve]
    (folder.stage("base")).mkdir()
    (folder.stage("base") / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    use = uses_of(folder, recorded.TRAINING, sent("base", "200"))["base"]
    assert (use.attempts, use.ends) == (2, {"REQUEUED": 1, "COMPLETED": 1})
    assert (use.core_hours, use.gpu_hours) == (32 * 1.5, 8 * 1.5)
    assert (use.core_hours_used, use.gpu_hours_used) == (15.5, 6.4 + 2.0)
    assert (use.memory_gb, use.memory_gb_used) == (400, 200)
    assert use.kept == pytest.approx(4000 / 5400)
    assert use.unfinished_hours == 32
    assert use.wasted_hours == pytest.approx(48 * (1 - 4000 / 5400))  # the rest of the first attempt was kept
    assert (use.shard_minutes, use.mfu) == (90, pytest.approx(0.3))  # both attempts
    assert (use.nodes, use.ranks, use.cpus, use.gpus) == (2, 4, 4, 1)


def test_an_element_in_two_attempts_needs_the_time_of_both(folder: RunFolder):
    use = uses_of(folder, recorded.REQUEUED, sent("render", "12", (0,), (1,), (2,)))["render"]
    assert (use.attempts, use.ends) == (3, {"REQUEUED": 1, "COMPLETED": 2})
    assert use.core_hours == pytest.approx(25 / 3600)
    assert use.shard_minutes == pytest.approx(15 / 60)
    assert use.unfinished_hours == pytest.approx(9 / 3600)


def test_without_accounting_the_run_s_own_times_count(folder: RunFolder):
    timing(folder, "fit", 0, 360.0, mb=2048, paced_seconds=720.0)
    timing(folder, "fit", 1, 180.0, mb=1024)
    timing(folder, "embed", 0, 36.0, mb=512, ranks=4)
    found = uses_of(folder, "")
    fit = found["fit"]
    assert (fit.source, fit.attempts, fit.core_hours) == (TIMES, 2, pytest.approx(2 * 540 / 3600))
    assert (fit.core_hours_used, fit.memory_gb, fit.minutes, fit.wait_seconds) == (None, None, None, None)
    assert (fit.memory_gb_used, fit.shard_minutes, fit.kept) == (2.0, 12.0, 1.0)
    assert (fit.unfinished_hours, fit.wasted_hours) == (0, 0)
    assert (found["embed"].memory_gb_used, found["embed"].core_hours) == (2.0, pytest.approx(8 * 36 / 3600))
    assert list(found) == ["embed", "fit"]


def test_what_blender_s_driver_used_says_nothing_of_blender(folder: RunFolder):
    timing(folder, "render", 0, 60.0, mb=70)
    timing(folder, "portraits", 0, 60.0, mb=70)
    found = uses_of(folder, recorded.ARRAY, sent("render", "100"))
    assert (found["render"].memory_gb_used, found["portraits"].memory_gb_used) == (3.0, None)
    assert suggest(found["portraits"]).memory_gb is None


def test_what_never_began_is_no_attempt_and_what_was_lost_is_waste(folder: RunFolder):
    found = uses_of(folder, recorded.LOST, sent("render", "300", (0,), (1,)), sent("clip", "301"), sent("index", "302"))
    assert list(found) == ["clip", "index"]
    assert (found["clip"].wasted_hours, found["index"].wasted_hours) == (4 * 120 / 3600, 4 * 240 / 3600)
    assert (found["clip"].core_hours_used, found["index"].core_hours_used) == (0.0, None)
    assert suggest(found["index"]).wall_minutes is None


def test_time_that_a_resume_threw_away_is_not_in_the_curve():
    assert curve_seconds([{"samples": 80, "samples_per_second": 40}, {"samples": 160, "samples_per_second": 20}]) == 6.0
    assert curve_seconds([]) is None
    assert curve_seconds([{"samples": 80, "samples_per_second": 0}]) is None


def test_suggestions_have_the_stated_margins(folder: RunFolder):
    timing(folder, "fit", 0, 1200.0, mb=3 * 1024)
    timing(folder, "index", 0, 2.0, mb=100)
    found = uses_of(folder, "")
    fit, index = suggest(found["fit"]), suggest(found["index"])
    assert (fit.wall_minutes, fit.memory_gb) == (30, 3.8)  # 1.5 x 20 min; 1.25 x 3 GB, rounded up
    assert (index.wall_minutes, index.memory_gb) == (0.1, 1.0)  # the least of memory; a script asks for 5 minutes
    short = uses_of(
        folder, recorded.ARRAY.split("100_2|")[1].join(["100_2|", ""]), sent("base", "100", (0,), (1,), (2,))
    )
    assert suggest(short["base"]).memory_gb == 6.0  # twice the 3 GB that did not suffice
    why = ("time: no attempt was completed", "2 times the 3.0 GB that did not suffice")
    assert suggest(short["base"]).why == why
    assert fit.why == ("1.5 times the longest, 20.00 min a shard", "1.25 times the most, 3.00 GB")


def asked_run(folder: RunFolder, *changes: str, **site) -> Run:
    config = preset("tiny", ["data.subjects=16", *changes])
    stages = tuple(stage for stage in graph(config) if stage.name == "fit")
    return Run(RunFolder(folder.path.parent / "next"), config, Site.model_validate({"name": "x"} | site), stages)


def test_the_next_run_asks_for_what_was_suggested(folder: RunFolder, tmp_path: Path):
    timing(folder, "fit", 0, 1200.0, mb=3 * 1024, cpus=1)
    asks = tmp_path / "asks.toml"
    assert status_of(["efficiency", str(folder.path), "--suggest", str(asks)]) == 0
    assert tomllib.loads(asks.read_text())["stages"]["fit"]["memory_gb"] == 3.8
    run, notes = with_asks(asked_run(folder), asks)
    assert notes == []
    assert (run.site.stages["fit"].wall_minutes, run.resources(run.stages[0]).memory_gb) == (30, 3.8)
    twice, notes = with_asks(asked_run(folder, "fit.steps=" + str(2 * CONFIG.fit.steps)), asks)
    assert twice.site.stages["fit"].wall_minutes == pytest.approx(60)
    assert twice.site.stages["fit"].memory_gb is None
    assert "2 times the work" in notes[0]
    other, notes = with_asks(asked_run(folder, stages={"fit": {"cpus": 2}}), asks)
    assert other.site.stages["fit"].wall_minutes is None
    assert "1 x 1 ranks of 1 cores, here it has 1 x 1 ranks of 2 cores" in notes[0]
    assert with_asks(asked_run(folder), None) == (asked_run(folder), [])


def test_shards_are_packed_by_the_time_they_took(folder: RunFolder, tmp_path: Path):
    """By the usual time, not by the longest; our estimate of these shards is another one."""
    for number, seconds in enumerate((590.0, 600.0, 3000.0)):
        timing(folder, "fit", number, seconds, mb=1024, cpus=1)
    asks = tmp_path / "asks.toml"
    assert status_of(["efficiency", str(folder.path), "--suggest", str(asks)]) == 0
    assert tomllib.loads(asks.read_text())["stages"]["fit"]["minutes"] == 10.0
    run, _ = with_asks(asked_run(folder, throttle=1), asks)
    (stage,), shards = run.stages, run.config.shards("fit")
    resources = run.resources(stage)
    assert resources.minutes / shards == pytest.approx(10.0)
    (batch,) = batches(stage, resources, list(range(shards)), shards, run.site)
    assert {len(element) for element in batch.elements} == {4}  # 40 minutes: two elements of eight shards
    (half,) = with_asks(asked_run(folder, f"fit.steps={CONFIG.fit.steps // 2}"), asks)[0].stages
    small = with_asks(asked_run(folder, f"fit.steps={CONFIG.fit.steps // 2}"), asks)[0]
    assert small.resources(half).minutes / shards == pytest.approx(5.0)


def test_scripts_hold_what_was_asked(folder: RunFolder, tmp_path: Path, capsys):
    timing(folder, "fit", 0, 1200.0, mb=3 * 1024, cpus=1)
    asks, site = tmp_path / "asks.toml", tmp_path / "mine.toml"
    site.write_text('name = "x"\nthrottle = 4\n')
    status_of(["efficiency", str(folder.path), "--suggest", str(asks)])
    capsys.readouterr()
    command = ["run", "tiny", "--set", "data.subjects=16", "--run", str(tmp_path / "next"), "--cluster", "slurm"]
    assert status_of([*command, "--site", str(site), "--asks", str(asks), "--dry-run"]) == 0
    text = capsys.readouterr().out
    fit = next(part for part in text.split("### ") if part.startswith("JOBID_OF_fit"))
    assert {"#SBATCH --time=60", "#SBATCH --mem=3892M"} <= set(fit.splitlines())  # two shards an element


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[stages.fitt]\nwork = 1.0", "unknown stage 'fitt'"),
        ("[stages.fit]\nwork = 1.0\nmemory = 2.0", "unknown key 'stages.fit.memory' (did you mean 'memory_gb'?)"),
        ("[stages.fit]\nwall_minutes = 2.0", "key 'stages.fit.work' is missing"),
        ("x = ", "not TOML"),
    ],
)
def test_bad_asks_are_one_line(folder: RunFolder, tmp_path: Path, text: str, words: str):
    path = tmp_path / "asks.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        with_asks(asked_run(folder), path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_goes_on_where_sacct_is_silent(folder: RunFolder, tmp_path: Path, monkeypatch, capsys):
    tools = recorded_clusters.install(tmp_path / "slurm", {"sacct": "!Slurm accounting storage is disabled"})
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    enter(folder, sent("fit", "100", (0,), (1,)))
    timing(folder, "fit", 0, 1200.0)
    assert status_of(["efficiency", str(folder.path)]) == 0
    told = capsys.readouterr().out
    assert "sacct told nothing (sacct: Slurm accounting storage is disabled)" in told
    assert "0.67 core hours" in told


def test_the_command_asks_sacct_for_the_jobs_of_the_ledger(folder: RunFolder, tmp_path: Path, monkeypatch, capsys):
    tools = recorded_clusters.install(tmp_path / "slurm", {"sacct": recorded.ARRAY + recorded.TRAINING})
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    enter(folder, sent("fit", "100", (0, 1), (2, 3), (4, 5)))
    assert status_of(["efficiency", str(folder.path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["stages"]
    assert (row["stage"], row["attempts"], row["core_hours"]) == ("fit", 3, 1.0)
    (call,) = (tmp_path / "slurm" / "calls").read_text().splitlines()
    assert "--duplicates" in call
    assert "--starttime=2027-01-1" in call  # a day before the submission
    assert call.endswith("--jobs 100")
    assert status_of(["efficiency", str(folder.path)]) == 0
    told = capsys.readouterr().out
    assert "fit: 1 x OUT_OF_MEMORY; at most 0.17 core hours wasted" in told


def test_a_run_without_work_is_one_line(folder: RunFolder, capsys):
    assert status_of(["efficiency", str(folder.path)]) == 2
    assert "no stage has finished work" in capsys.readouterr().err
    assert status_of(["efficiency", str(folder.path), "--suggest", "x.toml"]) == 2
    assert not Path("x.toml").exists()
