"""The life of a run on this machine, with stages that only obey: order, failures, kills, resuming."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures.obedient import ROOT, Rodin

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch.local import LocalLauncher
from jobs.run.lock import born
from jobs.site import Site, mpi_works
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

FOLDERS = [RunFolder(Path()).stage(stage.name).name for stage in graph(preset("tiny"))]


def wait_for(path: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.05)


def held(run: Path) -> int:
    """Pid of the driver."""
    return json.loads((run / "jobs" / "lock").read_text())["pid"]


def begun(rodin: Rodin, stage: str) -> int:
    """How often a stage was started, whatever its ranks."""
    return sum(rank.partition("/")[0] in ("-", "0") for _, _, rank in rodin.starts(stage))


@pytest.mark.slow
def test_jobs_share_out_the_gpus_by_their_names(rodin: Rodin):
    machine = 'name = "local"\ncpus_per_node = 2\ngpus_per_node = 2\nranks_per_node = 2\n'
    (rodin.cwd / "site.toml").write_text(machine + "[stages.fit]\ncpus = 1\n")
    done = rodin(
        *("run", "tiny", "--site", "site.toml", "--stages", "render,portraits,clip,embed,decoder,fit,index,base"),
        CUDA_VISIBLE_DEVICES="GPU-a1,GPU-b2,GPU-c3",
        RODIN_FAKE_FIT="sleep:0.3;devices",
        RODIN_FAKE_BASE="devices",
    )
    assert done.returncode == 0, done.stderr
    folder = rodin.cwd / "runs" / "tiny"
    seen = {name: (folder / name / "devices.txt").read_text().splitlines() for name in ("planes", "base")}
    assert sorted(seen["planes"]) == ["GPU-a1", "GPU-b2"]
    assert seen["base"] == ["GPU-a1,GPU-b2"]


def test_whole_run_then_nothing_to_do(rodin: Rodin, plain: tuple[str, str]):
    first = rodin("run", "tiny", *plain, "--json")
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["done"]
    assert found["report"] == "runs/tiny/report.html"
    run = rodin.cwd / "runs" / "tiny"
    assert all((run / stage / "00000.json").is_file() for stage in FOLDERS)
    assert sorted(shard for shard, *_ in rodin.starts("sweep-cfg")) == list("01234")
    times = {stage: (run / stage / "00000.json").stat().st_mtime_ns for stage in FOLDERS}
    assert times["views"] < times["decoder"] < times["planes"] < times["index"] < times["base"] < times["samples"]
    assert times["clip"] < times["latents"] < times["latent"] < times["samples"] < times["evaluate"] < times["report"]
    rows = [json.loads(line) for line in (run / "results" / "timing-fit-00001.jsonl").read_text().splitlines()]
    assert rows[0]["stage"] == "timing"
    assert (rows[0]["ranks"], rows[0]["gpus"]) == (1, 0)
    assert rows[0]["device"]
    assert rows[0]["peak_rss_mb"] > 5

    again = rodin.here("run", "tiny", *plain)
    assert again.returncode == 0
    assert "report: runs/tiny/report.html" in again.stdout
    assert [begun(rodin, stage) for stage in ("clip", "base", "planes")] == [1, 1, 2]

    status = json.loads(rodin.here("status", "runs/tiny", "--json").stdout)
    assert {row["state"] for row in status} == {"done"}
    assert "done in" in rodin.here("logs", "runs/tiny", "fit").stdout
    assert (run / "run.toml").read_text().count("[config") > 5
    assert (run / "code" / "jobs" / "cli" / "app.py").is_file()


def test_failing_shard_sinks_no_other_and_is_one_line(rodin: Rodin, plain: tuple[str, str]):
    rodin.finish("render")
    arguments = ("run", "tiny", *plain, "--stages", "decoder,fit,index")
    failed = rodin(*arguments, RODIN_FAKE_FIT="@0:user:planes are bad")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == "rodin: error: fit: planes are bad"
    assert "Traceback" not in failed.stderr + failed.stdout
    run = rodin.cwd / "runs" / "tiny"
    assert [path.name for path in (run / "planes").glob("*.json")] == ["00001.json"]
    assert not (run / "index").exists()
    states = {row["stage"]: row for row in json.loads(rodin.here("status", "runs/tiny", "--json").stdout)}
    assert states["fit"]["state"] == "failed"
    assert states["fit"]["note"] == "planes are bad"
    assert states["index"]["state"] == "waiting"

    mended = rodin(*arguments)
    assert mended.returncode == 0, mended.stderr
    assert sorted(shard for shard, *_ in rodin.starts("planes")) == ["0", "0", "1"]
    assert begun(rodin, "decoder") == 1


@pytest.mark.parametrize(
    ("order", "words"),
    [("crash:boom", "RuntimeError: boom"), ("kill", "its process died")],
)
def test_crash_names_its_log_and_exits_1(rodin: Rodin, plain: tuple[str, str], order: str, words: str):
    rodin.finish("render", "decoder")
    failed = rodin("run", "tiny", *plain, "--stages", "fit", RODIN_FAKE_FIT=f"@0:{order}")
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert words in last
    assert last.startswith("rodin: error: fit shard 0")
    assert Path(rodin.cwd, last.rpartition("log: ")[2]).is_file()
    if order == "kill":  # what is left is done after a failure on record in the test above
        assert rodin("run", "tiny", *plain, "--stages", "fit").returncode == 0


def test_shards_packed_with_one_that_dies_go_on(rodin: Rodin, tmp_path: Path):
    one_core = tmp_path / "one.toml"
    one_core.write_text("name = 'local'\nmpi = 'mpiexec'\ncpus_per_node = 1\ntrain_cpus = 1\nthrottle = 1\n")
    arguments = ("run", "tiny", "--stages", "render", "--site", str(one_core))
    assert rodin(*arguments, RODIN_FAKE_RENDER="@1:kill").returncode == 1
    views = rodin.cwd / "runs" / "tiny" / "views"
    assert sorted(path.name for path in views.glob("*.json")) == ["00000.json", "00002.json"]
    pids = {shard: pid for shard, pid, _ in rodin.starts("views")}
    assert pids["0"] == pids["1"] != pids["2"]


def test_a_site_of_more_cores_than_this_machine_has_does_not_crowd_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    config = preset("tiny", ["data.shard_subjects=1"])
    work = Run(RunFolder(tmp_path), config, Site(name="x", cpus_per_node=128), tuple(chosen(graph(config), ["fit"])))
    launcher = LocalLauncher(work, print, lambda: None)
    assert config.shards("fit") > 3
    assert [unit.resources.cpus for unit in launcher._ready(broken=False)] == [1, 1, 1]


def test_killed_driver_leaves_no_one_writing_and_resumes(rodin: Rodin):
    run = rodin.cwd / "runs" / "tiny"
    rodin.finish("render", "portraits")
    with rodin.start("run", "tiny", RODIN_FAKE_CLIP="wait") as driver:
        wait_for(run / "clip" / "beats.txt")
        second = rodin("run", "tiny")
        assert second.returncode == 2
        assert f"is being run by process {held(run)}" in second.stderr
        told = json.loads(rodin.here("status", "runs/tiny", "--json").stdout)
        assert {row["stage"]: row["state"] for row in told}["clip"] == "running"
        worker = int(rodin.starts("clip")[0][1].split(":")[1])
        driver.kill()
        driver.communicate()
    end = time.monotonic() + 30
    while born(worker):  # it looks every half second whether its driver lives
        assert time.monotonic() < end
        time.sleep(0.1)
    beats = (run / "clip" / "beats.txt").stat().st_size
    time.sleep(0.3)
    assert (run / "clip" / "beats.txt").stat().st_size == beats
    assert not (run / "clip" / "saved.txt").exists()
    resumed = rodin("run", "tiny", "--stages", "clip")
    assert resumed.returncode == 0, resumed.stderr
    assert begun(rodin, "clip") == 2


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
def test_stop_lets_stages_save(rodin: Rodin, how: str):
    run = rodin.cwd / "runs" / "tiny"
    rodin.finish("render", "portraits")
    with rodin.start("run", "tiny", "--stages", "clip", RODIN_FAKE_CLIP="wait") as driver:
        wait_for(run / "clip" / "beats.txt")
        if how == "interrupt":
            driver.send_signal(signal.SIGINT)
        else:
            assert "stopped the driver" in rodin.here("cancel", "runs/tiny").stdout
        _, err = driver.communicate(timeout=20)
    assert driver.returncode == 130
    assert err.splitlines()[-1] == "rodin: error: interrupted; run the same command again to go on"
    assert "Traceback" not in err
    assert (run / "clip" / "saved.txt").exists()
    assert not (run / "clip" / "00000.json").exists()
    assert "nothing is running" in rodin.here("cancel", "runs/tiny").stdout


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_ranks_meet(rodin: Rodin, tmp_path: Path):
    site = tmp_path / "site.toml"
    machine = "name = 'local'\nmpi = 'mpiexec'\ncpus_per_node = 2\nranks_per_node = 2\ntrain_cpus = 1\n"
    site.write_text(f"{machine}[stages.fit]\nranks = 2\n")
    shards = ("--set", "data.shard_subjects=8")
    done = rodin("run", "tiny", "--stages", "render,decoder,fit", "--site", str(site), *shards)
    assert done.returncode == 0, done.stderr
    assert sorted(rank for *_, rank in rodin.starts("decoder")) == ["0/2", "1/2"]
    assert sorted(rank for *_, rank in rodin.starts("planes")) == ["0/2", "1/2"]  # they share one shard
    assert {rank for *_, rank in rodin.starts("views")} == {"-/-"}


def test_an_mpiexec_of_another_mpi_is_not_used(rodin: Rodin):
    stranger = rodin.cwd / "bin" / "mpiexec"
    stranger.parent.mkdir()
    stranger.write_text("#!/bin/sh\necho 1\necho 1\n")  # each process believes itself alone
    stranger.chmod(0o755)
    code = "import sys; sys.executable = 'elsewhere/python'; from jobs.site import local_site; print(local_site().mpi)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=rodin.cwd,
        capture_output=True,
        text=True,
        check=True,
        env=rodin.env() | {"PATH": f"{stranger.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    assert found.stdout.strip() == "none"


@pytest.mark.skipif(not mpi_works(), reason="no MPI that works; the test extra brings one (mpich)")
def test_mpi_stage_runs_under_mpiexec(rodin: Rodin):
    rodin.finish("render", "decoder", "fit")
    done = rodin("run", "tiny", "--stages", "index")
    assert done.returncode == 0, done.stderr
    assert len(rodin.starts("index")) == min(2, len(os.sched_getaffinity(0)))


def test_other_config_is_refused_with_both_values(rodin: Rodin, touched):
    rodin("run", "tiny", "--stages", "render")
    before = touched(rodin.cwd)
    refused = rodin.here("run", "tiny", "--set", "data.views=12", "--set", "fit.steps=33", "--set", "seed=4")
    assert refused.returncode == 2
    both = "seed is 0 there, asked for 4; data.views is 10 there, asked for 12, and render was made with it"
    assert both in refused.stderr  # nothing was fitted yet: fit.steps may change
    assert len(refused.stderr.splitlines()) == 1
    assert touched(rodin.cwd) == before


def test_code_of_a_run_stays_its_own(rodin: Rodin, tmp_path: Path):
    tree = tmp_path / "tree"
    shutil.copytree(rodin.tree, tree)
    mine = Rodin(tree, rodin.cwd)
    mine.finish("portraits")
    assert mine("run", "tiny", "--stages", "render").returncode == 0
    stage = tree / "rodin" / "stages" / "clip.py"
    stage.write_text("def run(config, folder, shard, hooks):\n    raise ValueError('new code')\n")
    kept = mine("run", "tiny", "--stages", "clip")
    assert kept.returncode == 0
    assert kept.stderr.count("the code has changed") == 1
    (rodin.cwd / "runs" / "tiny" / "clip" / "00000.json").unlink()
    fresh = mine("run", "tiny", "--stages", "clip", "--refresh-code")
    assert fresh.returncode == 2
    assert fresh.stderr.splitlines()[-1] == "rodin: error: clip: new code"


def test_stage_by_hand(rodin: Rodin):
    rodin.finish("render", "portraits")
    assert rodin.here("run", "tiny", "--stages", "render").returncode == 0
    command = [sys.executable, "-m", "jobs.launch.worker", "runs/tiny", "clip"]
    done = subprocess.run(command, cwd=rodin.cwd, env=rodin.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (rodin.cwd / "runs" / "tiny" / "clip" / "00000.json").is_file()
    bad = subprocess.run(
        [*command[:-2], "nowhere", "clip"], cwd=rodin.cwd, env=rodin.env(), capture_output=True, text=True
    )
    assert bad.returncode == 2
    assert "no run there" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_progress_in_a_file_is_plain_lines(rodin: Rodin):
    rodin.finish("portraits")
    done = rodin("run", "tiny", "--stages", "render,clip", RODIN_FAKE_CLIP="sleep:0.3")
    lines = done.stderr.splitlines()
    assert [line.split()[2] for line in lines] == ["render:", "clip:"]
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr


def test_a_shard_whose_people_may_be_missing_does_not_stop_the_run(rodin: Rodin, plain: tuple[str, str]):
    orders = {"RODIN_FAKE_FIT": "@1:crash:a poisoned person"}
    rodin.finish("render", "decoder")
    arguments = ("run", "tiny", *plain, "--stages", "fit,index")
    strict = rodin(*arguments, **orders)
    assert strict.returncode == 1
    assert "a poisoned person" in strict.stderr
    allowing = ("--set", "data.allow_missing=0.9")
    done = rodin(*arguments, *allowing, **orders)
    assert done.returncode == 0, done.stderr
    assert "fit shard 1 is given up without" in done.stdout + done.stderr
    status = {row["stage"]: row for row in json.loads(rodin.here("status", "runs/tiny", "--json").stdout)}
    assert status["fit"]["state"] == "done"
    assert "missing, first" in status["fit"]["note"]
    assert "RuntimeError: a poisoned person" in status["fit"]["note"]
