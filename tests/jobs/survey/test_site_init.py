"""`rodin site init` on three recorded clusters: a file that loads, and says where each figure comes from."""

import json
import os
from pathlib import Path

import pytest
from fixtures import recorded_clusters as recorded

from jobs.cli.app import status_of
from jobs.graph.graph import NAMES
from jobs.site import Site, load_site
from jobs.survey import cluster as survey
from jobs.survey.choice import admission, mpi_of
from jobs.survey.cluster import Cluster
from jobs.survey.reading import partitions_of


@pytest.fixture
def site_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The site file that a cluster's answers make: (site, text)."""

    def make(answers: recorded.Answers, library: str = "") -> tuple[Site, str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        monkeypatch.setenv("PATH", f"{recorded.install(folder, answers)}:{os.environ['PATH']}")
        monkeypatch.setattr(survey, "mpi_library", lambda: library)
        monkeypatch.setattr(survey, "user_name", lambda: "ada")
        output = folder / "mine.toml"
        assert status_of(["site", "init", "--output", str(output)]) == 0
        return load_site(output, NAMES), output.read_text()

    return make


def test_a_teaching_cluster_without_gpus_and_accounts(site_of):
    site, text = site_of(recorded.TEACHING, "MPICH Version: 4.2")
    assert (site.name, site.partition, site.account, site.gpus_per_node) == ("teach", "students", None, 0)
    assert (site.cpus_per_node, site.memory_gb_per_node, site.train_nodes) == (8, 15.5, 2)
    assert (site.max_array_size, site.max_minutes, site.mpi) == (501, 720, "pmi2")
    assert site.cpu.partition is None
    assert "2 CPUs are one core" in text
    assert "the cluster keeps no accounts" in text


def test_a_gpu_centre_with_accounts_and_qos(site_of):
    site, text = site_of(recorded.CENTRE, "Open MPI v5.0.3")
    assert (site.partition, site.account, site.qos) == ("gpu", "faces", None)  # gpu does not take the default, courses
    assert (site.gpus_per_node, site.ranks_per_node, site.cpus_per_node, site.memory_gb_per_node) == (4, 4, 64, 502.9)
    assert (site.max_minutes, site.throttle, site.max_array_size, site.mpi) == (1200, 40, 10001, "pmix")
    assert (site.cpu.cpus_per_node, site.cpu.memory_gb_per_node, site.cpu.max_minutes) == (128, 250.9, 2160)
    assert "MaxWall of QOS gpu_normal" in text
    assert "MaxJobs 40, MaxSubmit 300, MaxJobCount 200000" in text  # of the association; the QOS allows more
    assert "MaxWall of QOS cpu_long" in text
    assert "gpu_debug (4 machines, GPUs a100, 30 min)" in text
    assert "gpu_vip (500 machines, GPUs a100, 14 d, not for you)" in text
    assert "1 d 12 h: MaxWall" in text
    assert site.placement("render", 0) == {"partition": "cpu", "account": "faces"}
    assert site.placement("base", 1) == {"partition": "gpu", "account": "faces"}


def test_a_partition_of_many_kinds_of_machines(site_of):
    site, text = site_of(recorded.MIXED)
    assert (site.partition, site.gpu_type, site.gpus_per_node) == ("all", "rtx3090", 4)  # 12, as v100; larger machines
    assert (site.cpus_per_node, site.memory_gb_per_node) == (64, 375.0)
    assert (site.cpu.partition, site.cpu.cpus_per_node, site.cpu.memory_gb_per_node) == ("all", 16, 62.5)
    assert (site.mpi, site.account, site.max_minutes) == ("none", None, 10080)
    assert "`srun --mpi=list`: srun: error: this login node may not run srun" in text
    assert "`sacctmgr show assoc where user=ada`" in text
    assert "h100" not in site.model_dump_json()  # of a group that ada is not in


def test_what_is_silent_is_named_with_the_command_that_tells_it(site_of):
    silent = {name: "!no" for name in recorded.TEACHING} | {"sinfo": recorded.TEACHING["sinfo"]}
    site, text = site_of(silent)
    assert (site.partition, site.cpus_per_node, site.max_array_size) == ("students", 8, 1001)
    for command in ("scontrol show config", "scontrol show partition --oneliner", "srun --mpi=list"):
        assert f"# `{command}`: " in text


def test_a_cluster_without_machines_writes_nothing(tmp_path: Path, monkeypatch, capsys):
    tools = recorded.install(tmp_path, {"s": "!scontrol: error: Unable to contact slurm controller"})
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert status_of(["site", "init", "--output", str(tmp_path / "x.toml")]) == 2
    assert "run this on a login node" in capsys.readouterr().err
    assert not (tmp_path / "x.toml").exists()


def test_a_file_that_is_there_is_kept(tmp_path: Path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text("name = 'precious'")
    assert status_of(["site", "init", "--output", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "name = 'precious'"


def test_json_holds_the_text_and_what_is_not_known(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", f"{recorded.install(tmp_path, recorded.TEACHING)}:{os.environ['PATH']}")
    monkeypatch.setattr(survey, "mpi_library", lambda: "")
    assert status_of(["site", "init", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["output"], list(told["untold"])) == (None, ["sacctmgr show assoc"])
    assert 'name = "teach"' in told["text"]


def test_a_partition_of_a_group_takes_its_members_and_root():
    closed = {one.name: one for one in partitions_of(recorded.MIXED["scontrol show partition"])}["private"]
    admitted = {user: admission(Cluster(user, frozenset({group})), closed) for user, group in (
        ("ada", "users"), ("eve", "lab-of-others"), ("root", "root"))}  # fmt: skip
    assert admitted == {"ada": None, "eve": ("", ""), "root": ("", "")}


@pytest.mark.parametrize(
    ("library", "plugins", "mpi"),
    [
        ("Open MPI v5.0.3", ["none", "pmi2", "pmix_v5"], "pmix"),
        ("Open MPI v5.0.3", ["none", "pmi2"], "none"),
        ("MPICH Version: 4.2", ["none", "pmi2", "pmix"], "pmi2"),
        ("Intel(R) MPI Library 2021.9", ["none", "pmi2"], "pmi2"),
        ("MPICH Version: 4.2", ["none", "pmix"], "pmix"),
        ("MPICH Version: 4.2", ["none"], "none"),
        ("MPICH Version: 4.2", [], "none"),
        ("", ["pmi2"], "none"),
    ],
)
def test_mpi_is_what_both_sides_speak(library: str, plugins: list[str], mpi: str):
    assert mpi_of(Cluster("ada", frozenset(), plugins=plugins, library=library))[0] == mpi
