"""This machine as a site, and the checks before a run starts."""

import os
import sys
from pathlib import Path

import pytest

from jobs import site as sites
from jobs.cli.prepare import config_of, prepare, site_of
from jobs.cli.run import explain
from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.run.failures import Failed, Failure, record
from jobs.site import Site, local_site, mpi_environment, mpiexec, visible_gpus
from rodin.presets import preset
from rodin.presets.toml import to_toml
from rodin.store.run_folder import RunFolder

A_GPU, A_MIG = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "MIG-377e0049-554c-540b-93c6-d0976f8426cb"


@pytest.mark.parametrize(
    ("value", "gpus"),
    [
        ("", []),
        ("0", ["0"]),
        ("2,5", ["2", "5"]),
        (" 1 ,", ["1"]),
        ("1,1", ["1"]),
        ("NoDevFiles", []),
        ("none", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        (f"{A_GPU}, GPU-2a1b", [A_GPU, "GPU-2a1b"]),
        (A_MIG, [A_MIG]),
        (f"MIG-{A_GPU}/1/0,{A_MIG}", [f"MIG-{A_GPU}/1/0", A_MIG]),
        ("GPU-", []),
    ],
)
def test_visible_gpus(value: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == gpus


@pytest.mark.parametrize(
    ("cpus", "gpus", "ranks", "train_cpus", "mpi_ranks"),
    [
        (1, "", 1, 1, 1),
        (2, "", 2, 1, 2),
        (16, "0,1,2", 3, 8, 4),
        (16, f"{A_GPU},GPU-2a1b", 2, 8, 4),
        (16, f"{A_MIG},{A_MIG[:-1]}", 1, 8, 4),
    ],
)
def test_this_machine(
    cpus: int, gpus: str, ranks: int, train_cpus: int, mpi_ranks: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sites, "mpi_works", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    site = local_site()
    assert (site.name, site.mpi, site.cpus_per_node, site.throttle) == ("local", "none", cpus, cpus)
    assert (site.ranks_per_node, site.train_cpus, site.mpi_ranks) == (ranks, train_cpus, mpi_ranks)
    assert site.gpus_per_node == len(gpus.split(",") if gpus else [])
    total = int(Path("/proc/meminfo").read_text().split()[1])  # "MemTotal: N kB"
    assert site.memory_gb_per_node == pytest.approx(total * 1024 / 1e9, rel=0.1)
    assert site.train_nodes == 1


def test_the_mpiexec_beside_the_interpreter_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    beside, on_path = tmp_path / "env", tmp_path / "bin"
    for folder in (beside, on_path):
        folder.mkdir()
        (folder / "mpiexec").write_text("")
        (folder / "mpiexec").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(on_path))
    assert mpiexec() == str(beside / "mpiexec")
    (beside / "mpiexec").chmod(0o644)
    assert mpiexec() == str(on_path / "mpiexec")
    (on_path / "mpiexec").unlink()
    assert mpiexec() is None


def test_the_environment_of_mpi_keeps_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMETHING", "x")
    monkeypatch.setenv("SLURM_JOB_ID", "17")  # else mpiexec starts its processes through srun
    found = mpi_environment()
    assert found["SOMETHING"] == "x"
    assert "SLURM_JOB_ID" not in found
    assert found["OMPI_MCA_rmaps_base_oversubscribe"] == "1"
    assert "OMPI_ALLOW_RUN_AS_ROOT" not in os.environ


def test_operations_a_second_are_of_gpus_where_there_are_some():
    site = Site(name="x")
    assert site.flops(cpus=4, gpus=0) == 4 * site.flops(1, 0)
    assert site.flops(cpus=4, gpus=2) == 2 * site.flops(1, 1) > 100 * site.flops(4, 0)


def test_a_runs_folder_is_named_as_its_preset_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sites, "mpi_works", lambda: False)
    Path("mine.toml").write_text(to_toml(preset("tiny")))
    assert prepare("tiny", None, [], None, "local", None)[0].folder.path == Path("runs/tiny")
    work, _ = prepare("mine.toml", None, [], None, "local", None)
    assert (work.folder.path, work.config) == (Path("runs/mine"), preset("tiny"))
    assert [stage.name for stage in work.stages] == [stage.name for stage in graph(preset("tiny"))]
    assert prepare("tiny", Path("x"), ["seed=4"], None, "local", None)[0].config.seed == 4
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.toml"]


def test_stages_are_put_into_the_graphs_order(tmp_path: Path):
    site = tmp_path / "site.toml"
    site.write_text('name = "here"\n')
    work, _ = prepare("tiny", tmp_path / "run", [], " fit, render,decoder,", "slurm", site)
    assert [stage.name for stage in work.stages] == ["render", "decoder", "fit"]
    assert work.site.name == "here"
    every = ",".join([*(stage.name for stage in graph(preset("tiny"))), "sweep-views"])
    work, _ = prepare("tiny", tmp_path / "run", [], every, "local", site)
    assert "sweep-views" in [stage.name for stage in work.stages]


def test_a_file_takes_changes_as_a_preset_does(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(preset("tiny")))
    assert config_of(str(path), ["seed=1"]) == preset("tiny", ["seed=1"])


def test_slurm_needs_a_site():
    with pytest.raises(ValueError, match="needs --site FILE"):
        site_of("slurm", None)


def failed(folder: Path, *failures: Failure) -> tuple[type[BaseException], str]:
    config = preset("tiny")
    work = Run(RunFolder(folder), config, Site(name="x"), tuple(chosen(graph(config), ["fit", "base"])))
    for failure in failures:
        record(work.folder, failure)
    with pytest.raises((ValueError, Failed)) as caught:
        explain(work, Failed("bare"))
    return caught.type, str(caught.value)


def test_a_failed_run_tells_the_mistake_of_the_user_first(tmp_path: Path):
    crash = Failure("fit", 1, "crash", "boom", "log.out")
    mistake = Failure("base", 0, "user", "base.lr is too large")
    elsewhere = Failure("prior", 0, "user", "not of these stages")
    assert failed(tmp_path / "a") == (Failed, "bare")
    assert failed(tmp_path / "b", elsewhere) == (Failed, "bare")
    assert failed(tmp_path / "c", crash, elsewhere) == (Failed, "fit shard 1 failed: boom; log: log.out")
    both = f"base: base.lr is too large (and 1 more: `rodin status {tmp_path / 'd'}`)"
    assert failed(tmp_path / "d", crash, mistake) == (ValueError, both)
