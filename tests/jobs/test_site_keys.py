"""Every key of a site file reaches the batch scripts, the graph's resources or the launcher."""

import re
from pathlib import Path
from typing import Any

import pytest

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch.scripts import scripts
from jobs.site import Site
from jobs.site_tables import StageOverride
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

PLAIN: dict[str, Any] = {"name": "x", "cpus_per_node": 16}
GPUS = {"gpus_per_node": 4, "ranks_per_node": 4}
CONFIG = preset("tiny", ["data.subjects=16"])  # fit: 8 shards

# key -> (its value, further keys, a stage, lines of that stage's first script)
KEYS: dict[str, tuple[Any, dict[str, Any], str, list[str]]] = {
    "partition": ("gpu", {}, "fit", ["#SBATCH --partition=gpu"]),
    "account": ("mine", {}, "fit", ["#SBATCH --account=mine"]),
    "qos": ("high", {}, "fit", ["#SBATCH --qos=high"]),
    "constraint": ("a100", {}, "fit", ["#SBATCH --constraint=a100"]),
    "cpu": ({"partition": "cpu"}, GPUS | {"partition": "gpu"}, "render", ["#SBATCH --partition=cpu"]),
    "setup": (["module load x"], {}, "fit", ["module load x"]),
    "python": ("/my envs/python", {}, "fit", ["export RODIN_PYTHON='/my envs/python'"]),
    "mpi": ("pmix", {"mpi_ranks": 2}, "evaluate", ["#SBATCH --ntasks-per-node=2"]),
    "mpi_ranks": (1, {"mpi": "pmix"}, "evaluate", ["#SBATCH --ntasks-per-node=1"]),
    "cpus_per_node": (4, GPUS, "base", ["#SBATCH --cpus-per-task=1", "export OMP_NUM_THREADS=1"]),
    "memory_gb_per_node": (0.5, {}, "base", ["#SBATCH --mem=512M"]),
    "gpus_per_node": (2, {"ranks_per_node": 2}, "base", ["#SBATCH --gpus-per-node=2"]),
    "gpu_type": ("h100", GPUS, "base", ["#SBATCH --gres=gpu:h100:4"]),
    "train_nodes": (2, {}, "base", ["#SBATCH --nodes=2"]),
    "ranks_per_node": (2, {}, "base", ["#SBATCH --ntasks-per-node=2"]),
    "train_cpus": (7, {}, "base", ["#SBATCH --cpus-per-task=7"]),
    "throttle": (3, {"stages": {"fit": {"minutes": 480.0}}}, "fit", ["#SBATCH --array=0-7%3"]),
    "max_array_size": (4, {}, "fit", ["#SBATCH --array=0-3%4"]),
    "max_minutes": (20, {"stages": {"fit": {"minutes": 4800.0}}}, "fit", ["#SBATCH --time=20"]),
    "signal_seconds": (33, {}, "fit", ["#SBATCH --signal=USR2@33"]),
    "extra": ({"reservation": "r"}, {}, "fit", ["#SBATCH --reservation=r"]),
    "stages": ({"fit": {"cpus": 5}}, {}, "fit", ["#SBATCH --cpus-per-task=5"]),
}
ELSEWHERE = {"name", "requeues", "retries", "resubmit_job", "poll_seconds"}  # in messages, and in tests below


def run_on(site: dict[str, Any], folder: Path, *stages: str) -> Run:
    return Run(RunFolder(folder), CONFIG, Site.model_validate(site), tuple(chosen(graph(CONFIG), list(stages))))


def first_script(site: dict[str, Any], folder: Path, stage: str) -> str:
    return scripts(run_on(site, folder, stage))[0][1]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_reaches_the_batch_script(key: str, tmp_path: Path):
    value, others, stage, lines = KEYS[key]
    with_key = first_script(PLAIN | others | {key: value}, tmp_path, stage).splitlines()
    default = {name: setting for name, setting in (PLAIN | others).items() if name != key}
    without = first_script(default, tmp_path, stage).splitlines()
    assert [line for line in lines if line not in with_key] == []
    assert [line for line in lines if line in without] == []


def test_no_key_is_left_out():
    assert set(KEYS) | ELSEWHERE == set(Site.model_fields)
    assert set(KEYS) & ELSEWHERE == set()


def test_overrides_of_a_stage(tmp_path: Path):
    given = {"nodes": 2, "ranks": 2, "cpus": 3, "gpus": 2, "memory_gb": 7.5, "minutes": 30.0}
    script = first_script(PLAIN | {"gpus_per_node": 8, "stages": {"base": given}}, tmp_path, "base")
    for line in ("nodes=2", "ntasks-per-node=2", "cpus-per-task=3", "gpus-per-node=4", "mem=7680M", "time=100"):
        assert f"#SBATCH --{line}" in script.splitlines()


# key of [stages.NAME] -> (its table, further keys of the site, a stage, lines of that stage's first script)
STAGE_KEYS: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[str]]] = {
    "partition": ({"partition": "p"}, {}, "fit", ["#SBATCH --partition=p"]),
    "account": ({"account": "a"}, {}, "fit", ["#SBATCH --account=a"]),
    "qos": ({"qos": "q"}, {}, "fit", ["#SBATCH --qos=q"]),
    "constraint": ({"constraint": "c"}, {}, "fit", ["#SBATCH --constraint=c"]),
    "cpus_per_node": ({"cpus_per_node": 1}, {"train_cpus": 9}, "base", ["#SBATCH --cpus-per-task=1"]),
    "memory_gb_per_node": ({"memory_gb_per_node": 0.5}, {}, "base", ["#SBATCH --mem=512M"]),
    "max_minutes": ({"max_minutes": 5}, {}, "fit", ["#SBATCH --time=5"]),
    "nodes": ({"nodes": 3}, {}, "base", ["#SBATCH --nodes=3"]),
    "ranks": ({"ranks": 3}, {}, "base", ["#SBATCH --ntasks-per-node=3"]),
    "cpus": ({"cpus": 3}, {}, "fit", ["#SBATCH --cpus-per-task=3"]),
    "gpus": ({"gpus": 2}, GPUS | {"ranks_per_node": 1}, "fit", ["#SBATCH --gpus-per-node=2"]),
    "memory_gb": ({"memory_gb": 2.5}, {}, "fit", ["#SBATCH --mem=2560M"]),
    "minutes": ({"minutes": 80.0}, {}, "fit", ["#SBATCH --time=40"]),  # 8 shards of 10 min, three times, and 10
    "wall_minutes": ({"wall_minutes": 7.0}, {}, "fit", ["#SBATCH --time=7"]),
    "gpu_type": ({"gpu_type": "h100"}, GPUS | {"gpu_type": "a100"}, "fit", ["#SBATCH --gres=gpu:h100:1"]),
    "extra": ({"extra": {"comment": "y"}}, {"extra": {"comment": "x"}}, "fit", ["#SBATCH --comment=y"]),
}


@pytest.mark.parametrize("key", STAGE_KEYS)
def test_a_key_of_a_stage_reaches_its_batch_script_and_no_other(key: str, tmp_path: Path):
    table, others, stage, lines = STAGE_KEYS[key]
    site, other = PLAIN | others, "fit" if stage == "base" else "base"
    with_key, without = site | {"stages": {stage: table}}, site
    assert [line for line in lines if line not in first_script(with_key, tmp_path, stage).splitlines()] == []
    assert [line for line in lines if line in first_script(without, tmp_path, stage).splitlines()] == []
    assert first_script(with_key, tmp_path, other) == first_script(without, tmp_path, other)


def test_no_key_of_a_stage_is_left_out():
    assert set(STAGE_KEYS) == set(StageOverride.model_fields)


def test_the_wall_time_of_an_element_is_that_of_its_shards(tmp_path: Path):
    packed = PLAIN | {"throttle": 3, "stages": {"fit": {"wall_minutes": 7.5}}}  # 8 shards as 3, 3, 2
    script = first_script(packed, tmp_path, "fit").splitlines()
    assert {"#SBATCH --array=0-2%3", "#SBATCH --time=23"} <= set(script)
    short = {"throttle": 8, "stages": {"fit": {"wall_minutes": 0.2}}}
    assert "#SBATCH --time=5" in first_script(PLAIN | short, tmp_path, "fit").splitlines()
    assert "#SBATCH --time=20" in first_script(packed | {"max_minutes": 20}, tmp_path, "fit").splitlines()


def test_machines_without_gpus_have_a_size_and_a_limit_of_their_own(tmp_path: Path):
    small = {"partition": "cpu", "cpus_per_node": 1, "memory_gb_per_node": 1.0, "max_minutes": 9}
    site = PLAIN | GPUS | {"partition": "gpu", "cpu": small}
    sent = first_script(site, tmp_path, "render").splitlines()
    assert {"#SBATCH --cpus-per-task=1", "#SBATCH --mem=1024M", "#SBATCH --time=9"} <= set(sent)
    assert not {"#SBATCH --time=9", "#SBATCH --mem=1024M"} & set(first_script(site, tmp_path, "base").splitlines())
    long = site | {"stages": {"render": {"partition": "long", "max_minutes": 7}}}
    assert "#SBATCH --time=7" in first_script(long, tmp_path, "render").splitlines()


PLACES = {"partition": "gpu", "account": "mine", "qos": "high", "constraint": "a100"}


def placed(site: dict[str, Any], folder: Path, stage: str) -> dict[str, str]:
    lines = first_script(PLAIN | GPUS | PLACES | site, folder, stage).splitlines()
    flags = [line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH --")]
    return {name: value for name, _, value in flags if name in PLACES}


def test_stages_without_a_gpu_are_sent_to_a_place_of_their_own(tmp_path: Path):
    site = {"cpu": {"partition": "cpu", "constraint": ""}}
    elsewhere = {"partition": "cpu", "account": "mine", "qos": "high"}
    assert {stage: placed(site, tmp_path, stage) for stage in ("render", "index")} == {
        stage: elsewhere for stage in ("render", "index")
    }
    assert {stage: placed(site, tmp_path, stage) for stage in ("fit", "base", "sample", "report")} == {
        stage: PLACES for stage in ("fit", "base", "sample", "report")
    }
    without_gpus = {"gpus_per_node": 0, "ranks_per_node": 1}
    assert placed(site | without_gpus, tmp_path, "base") == elsewhere


def test_a_stage_has_the_last_word_on_its_place(tmp_path: Path):
    stages = {"render": {"partition": "long", "cpus": 3}, "base": {"qos": "", "account": "theirs"}}
    site = {"cpu": {"partition": "cpu", "qos": "low"}, "stages": stages}
    assert placed(site, tmp_path, "render") == PLACES | {"partition": "long", "qos": "low"}
    assert placed(site, tmp_path, "base") == {"partition": "gpu", "account": "theirs", "constraint": "a100"}
    assert "#SBATCH --cpus-per-task=3" in first_script(PLAIN | GPUS | site, tmp_path, "render").splitlines()


def test_mpi_reaches_srun_for_mpi_stages_of_several_ranks_only(tmp_path: Path):
    site = PLAIN | {"mpi": "pmi2", "mpi_ranks": 3}
    plugin = {
        stage: re.findall(r"--mpi=(\w+)", first_script(site, tmp_path, stage)) for stage in ("evaluate", "fit", "base")
    }
    assert plugin == {"evaluate": ["pmi2"], "fit": ["none"], "base": ["none"]}
    assert "--mpi=none" in first_script(site | {"mpi_ranks": 1}, tmp_path, "evaluate")


def test_the_throttle_is_shared_by_the_arrays_of_a_stage(tmp_path: Path):
    hour_each = {"stages": {"fit": {"minutes": 480.0}}}  # so that shards are not packed
    found = scripts(run_on(PLAIN | hour_each | {"throttle": 6, "max_array_size": 3}, tmp_path, "fit"))
    arrays = [re.findall(r"--array=(\S+)", text)[0] for _, text in found]
    assert arrays == ["0-2%2", "0-2%2", "0-1%2"]


def test_a_short_job_is_signalled_halfway_at_the_latest(tmp_path: Path):
    minutes = int(re.findall(r"--time=(\d+)", first_script(PLAIN, tmp_path, "fit"))[0])
    script = first_script(PLAIN | {"signal_seconds": 86400}, tmp_path, "fit")
    assert f"#SBATCH --signal=USR2@{minutes * 30}" in script.splitlines()
