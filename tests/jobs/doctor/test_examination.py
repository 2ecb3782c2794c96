"""`rodin doctor` from its command line, on this machine and with a Slurm of one file that really runs its job."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from fixtures import little_slurm

from jobs.doctor import job
from jobs.doctor.examination import work_folder
from jobs.doctor.job import Order, examine, script
from jobs.doctor.places import demands, places
from jobs.graph.graph import graph
from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.site import Site
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[3]
GPUS = {"partition": "gpu", "gpus_per_node": 4, "ranks_per_node": 4, "cpus_per_node": 32, "memory_gb_per_node": 200.0}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A little Slurm whose orders are written into its file `orders`."""
    for name, value in little_slurm.install(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(job, "POLL_SECONDS", 0.1)
    return tmp_path / "slurm"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    folder = tmp_path / "doctor"
    folder.mkdir()
    return Order(folder, ROOT, {"clip": "embed"}, wait=0.5)


def run_of(tmp_path: Path, site: Site) -> Run:
    config = preset("tiny")
    return Run(RunFolder(tmp_path / "run"), config, site, tuple(graph(config)))


def doctor(tmp_path: Path, *arguments: str) -> tuple[int, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "doctor", "--json", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_is_examined_by_a_job_on_two_machines(slurm: Path, tmp_path: Path):
    site = tmp_path / "mine.toml"
    site.write_text('name = "little"\ntrain_nodes = 2\npartition = "p"\n')
    status, found = doctor(tmp_path, "--site", str(site), "--run", str(tmp_path / "new"))
    assert status == 0, found
    told = {one["check"]: one for one in found}
    both = ("shared files", "locks of the command", "rename, fsync", "h5py locking", "torch", "open files")
    for check in (*both, "arrays", "sbatch p", "job", "all-reduce"):
        assert told[check]["level"] == "ok", told[check]
    assert "2 ranks" in told["all-reduce"]["line"]
    assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.iterdir() if "doctor" in path.name] == []
    assert "scancel" not in (slurm / "calls").read_text()


def test_a_job_that_does_not_begin_is_cancelled(slurm: Path, order: Order):
    (slurm / "orders").write_text("pending\n")
    lines: list[str] = []
    begin = time.monotonic()
    (one,) = examine(Site(name="x"), order, lines.append)
    assert (one.level, one.line) == ("warn", "job 7 did not begin within 0.5 s (Resources); it is cancelled")
    assert time.monotonic() - begin < 60
    assert f"scancel --quiet --me --name={order.name}\n" in (slurm / "calls").read_text()
    assert any("job 7 waits (Resources)" in line for line in lines)


def test_an_interrupted_doctor_cancels_its_job(slurm: Path, order: Order):
    (slurm / "orders").write_text("pending\n")

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(examine(Site(name="x"), order, interrupt))
    assert f"scancel --quiet --me --name={order.name}\n" in (slurm / "calls").read_text()


def test_a_refused_job_is_one_line(slurm: Path, order: Order):
    (slurm / "orders").write_text("refuse Batch job submission failed: Invalid account\n")
    (one,) = examine(Site(name="x"), order, lambda line: None)
    assert (one.level, one.line) == (
        "FAIL",
        "not submitted: sbatch: error: Batch job submission failed: Invalid account",
    )


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            "lost",
            "sbatch: error: Batch job submission failed: Socket timed out; if Slurm took the job, it is cancelled",
        ),
        ("odd", "sbatch answered without a job's id: welcome; its job is cancelled"),
    ],
)
def test_a_job_of_which_sbatch_tells_no_id_is_cancelled(slurm: Path, order: Order, answer: str, line: str):
    (slurm / "orders").write_text(f"pending\n{answer}\n")
    (one,) = examine(Site(name="x", extra={"clusters": "alpha"}), order, lambda line: None)
    assert (one.level, one.line) == ("FAIL", line)
    assert f"#SBATCH --job-name={order.name}\n" in (slurm / "scripts").read_text()
    assert f"scancel --clusters=alpha --quiet --me --name={order.name}\n" in (slurm / "calls").read_text()


def test_a_busy_controller_has_two_minutes_to_take_the_job(slurm: Path, order: Order, monkeypatch: pytest.MonkeyPatch):
    def said(*command: str, seconds: float = slurm_client.TIMEOUT, keep: Collection[str] = ()) -> str:
        assert command[0] != "sbatch" or seconds == slurm_client.SUBMIT_SECONDS
        return slurm_client.said(*command, seconds=seconds, keep=keep)

    monkeypatch.setattr(job, "said", said)
    (slurm / "orders").write_text("refuse no\n")
    (one,) = examine(Site(name="x"), order, lambda line: None)
    assert "scancel" not in (slurm / "calls").read_text()  # there is no job
    assert one.line == "not submitted: sbatch: error: no"


def test_a_silent_slurm_is_given_up_and_the_job_cancelled(slurm: Path, order: Order):
    (slurm / "orders").write_text("pending\nsilent\n")
    (one,) = examine(Site(name="x"), order, lambda line: None)
    assert one.level == "FAIL"
    assert "Unable to contact slurm controller; it is cancelled" in one.line
    assert f"scancel --quiet --me --name={order.name}\n" in (slurm / "calls").read_text()


def test_a_job_without_our_python_says_how_its_log_ends(slurm: Path, order: Order):
    site = Site(name="x", python="/nowhere/python", mpi="pmix")
    found = list(examine(site, order, lambda line: None))
    assert [(one.check, one.level) for one in found] == [("job", "ok"), ("machine", "FAIL"), ("mpi", "FAIL")]
    assert "/nowhere/python" in found[1].line


@pytest.mark.parametrize(
    ("site", "lines", "steps"),
    [
        ({}, ["--nodes=1", "--mem=4096M", "--time=10"], ["machine FOLDER 0"]),
        (
            GPUS | {"train_nodes": 8, "gpu_type": "a100", "mpi": "pmix", "account": "a"},
            ["--nodes=2", "--gres=gpu:a100:1", "--partition=gpu", "--account=a"],
            ["machine FOLDER 1", "together FOLDER 0", "--mpi=pmix"],
        ),
        (
            GPUS | {"stages": {"base": {"partition": "big", "memory_gb_per_node": 2.0, "max_minutes": 5}}},
            ["--gpus-per-node=1", "--partition=big", "--mem=2048M", "--time=5"],
            ["machine FOLDER 1"],
        ),
    ],
)
def test_the_job_goes_where_trainings_go(order: Order, site: dict, lines: list[str], steps: list[str]):
    text = script(Site.model_validate({"name": "x"} | site), order).replace(str(order.folder), "FOLDER")
    assert [line for line in lines if f"#SBATCH {line}" not in text.splitlines()] == []
    assert [step for step in steps if step not in text] == []
    assert text.count("srun ") == len(steps)
    assert "clip=embed" in text


def test_each_place_is_asked_once_for_its_whole_machines(tmp_path: Path, slurm: Path):
    cpu = {"partition": "cpu", "cpus_per_node": 128, "memory_gb_per_node": 250.0, "max_minutes": 60}
    site = Site.model_validate({"name": "x", "train_nodes": 2, "max_minutes": 90, "cpu": cpu} | GPUS)
    run = run_of(tmp_path, site)
    sizes = {demand.stages[0]: demand.size for demand in demands(run)}
    assert sizes == {"render": "1 x 128 CPUs, 250 GB, 60 min", "clip": "2 x 32 CPUs, 200 GB, GPUs 4, 90 min"}
    found = list(places(run))
    assert [(one.check, one.level) for one in found] == [("sbatch cpu", "ok"), ("sbatch gpu", "ok")]
    assert "would begin at 2026-11-29T09:00:00 on n[1-2]" in found[0].line
    sent = (slurm / "scripts").read_text().splitlines()
    assert {"#SBATCH --mem=256000M", "#SBATCH --gpus-per-node=4", "#SBATCH --nodes=2"} <= set(sent)
    (slurm / "orders").write_text("refuse-test allocation failure: Requested node configuration is not available\n")
    (first, *_) = places(run)
    assert first.level == "FAIL"
    assert "Requested node configuration is not available" in first.line
    (slurm / "orders").write_text("refuse-test allocation failure: Socket timed out on send/recv operation\n")
    assert [(one.check, one.mend) for one in places(run)] == [
        ("sbatch cpu", "try again when Slurm answers"),
        ("sbatch gpu", "try again when Slurm answers"),
    ]


def test_the_shell_chooses_only_what_the_site_file_leaves_open(
    slurm: Path, tmp_path: Path, order: Order, monkeypatch: pytest.MonkeyPatch
):
    for name in ("SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_QOS"):
        monkeypatch.setenv(name, "x")
    (slurm / "orders").write_text("refuse no\n")
    stages = {"base": {"qos": ""}, "render": {"account": ""}}
    site = Site.model_validate({"name": "x", "cpu": {"partition": "cpu"}, "stages": stages} | GPUS)
    found = [*places(run_of(tmp_path, site)), *examine(site, order, lambda line: None)]
    assert [one.check for one in found] == ["sbatch cpu", "sbatch cpu", "sbatch gpu", "sbatch gpu", "job"]
    assert (slurm / "variables").read_text().splitlines() == [
        "SBATCH_QOS",
        "SBATCH_ACCOUNT SBATCH_QOS",
        "SBATCH_ACCOUNT SBATCH_QOS",
        "SBATCH_ACCOUNT",
        "SBATCH_ACCOUNT",
    ]


def test_the_folder_of_the_checks_is_taken_away_and_a_run_that_was_there_is_not(tmp_path: Path):
    with work_folder(tmp_path / "a" / "b") as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    with work_folder(tmp_path / "run") as folder:
        (folder / "x").write_text("x")
    assert list((tmp_path / "run").iterdir()) == []
