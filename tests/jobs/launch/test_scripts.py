"""The text of the batch scripts: every key of a site file reaches the place where it acts."""

import math
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jobs.graph.graph import chosen, graph
from jobs.graph.stage import Resources, Stage
from jobs.graph.work import Run
from jobs.launch.scripts import Ask, Batch, batches, halves, scripts, sharing
from jobs.launch.scripts import script_of as text_of
from jobs.run.ledger import Submission
from jobs.site import Site
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

GPUS = {"gpus_per_node": 4, "ranks_per_node": 2, "cpus_per_node": 16}
MPI = {"mpi": "pmix", "cpus_per_node": 16, "mpi_ranks": 2}


@dataclass
class Script:
    """A batch script taken apart: #SBATCH flags, words of its srun command, lines before it."""

    text: str

    def __post_init__(self) -> None:
        self.flags = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", self.text, re.MULTILINE))
        command = next(line for line in self.text.splitlines() if line.startswith("srun"))
        self.srun = shlex.split(command)
        self.before = self.text.split("\nsrun")[0].splitlines()


def stage_of(name: str) -> Stage:
    return chosen(graph(preset("tiny"), (name,)), [name])[0]


def scripts_of(folder: Path, stage: str, changes: list[str] | None = None, **site: Any) -> list[Script]:
    config = preset("tiny", changes or [])
    run = Run(RunFolder(folder), config, Site.model_validate({"name": "x", **site}), (stage_of(stage),))
    return [Script(text) for _, text in scripts(run)]


def script_of(folder: Path, stage: str, changes: list[str] | None = None, **site: Any) -> Script:
    (script,) = scripts_of(folder, stage, changes, **site)
    return script


FLAGS: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
    ("partition", "fit", {"partition": "long"}, {"partition": "long"}),
    ("account", "fit", {"account": "mine"}, {"account": "mine"}),
    ("qos", "fit", {"qos": "high"}, {"qos": "high"}),
    ("constraint", "fit", {"constraint": "a100"}, {"constraint": "a100"}),
    ("extra", "fit", {"extra": {"reservation": "today", "exclusive": True}}, {"reservation": "today", "exclusive": ""}),
    ("cpus_per_node", "fit", {**GPUS, "cpus_per_node": 3}, {"cpus-per-task": "3"}),
    ("memory_gb_per_node", "fit", {"memory_gb_per_node": 1.5}, {"mem": "1536M"}),
    ("gpus_per_node", "base", GPUS, {"gpus-per-node": "2"}),
    ("gpu_type", "base", {**GPUS, "gpu_type": "h100"}, {"gres": "gpu:h100:2"}),
    ("train_nodes", "base", {"train_nodes": 2}, {"nodes": "2"}),
    ("ranks_per_node", "base", {"ranks_per_node": 2}, {"ntasks-per-node": "2"}),
    ("train_cpus", "base", {"train_cpus": 3}, {"cpus-per-task": "3"}),
    ("cpu", "render", {**GPUS, "partition": "gpu", "cpu": {"partition": "small"}}, {"partition": "small"}),
    ("mpi_ranks", "evaluate", MPI, {"ntasks-per-node": "2"}),
    ("throttle", "render", {"throttle": 3}, {"array": "0-2%3"}),
    ("max_minutes", "fit", {"max_minutes": 7}, {"time": "7"}),
    ("signal_seconds", "fit", {"signal_seconds": 40}, {"signal": "USR2@40"}),
    ("stages", "fit", {"stages": {"fit": {"nodes": 2, "ranks": 3}}}, {"nodes": "2", "ntasks-per-node": "3"}),
    ("stages", "fit", {"stages": {"fit": {"cpus": 5, "memory_gb": 9.0}}}, {"cpus-per-task": "5", "mem": "9216M"}),
    ("stages", "fit", {**GPUS, "stages": {"fit": {"gpus": 2}}}, {"gpus-per-node": "2"}),
    ("stages", "clip", {"stages": {"clip": {"minutes": 30.0}}}, {"time": "100"}),
]
ELSEWHERE = {
    "name": "shown in messages",
    "setup": "test_a_job_runs_the_sites_setup_then_this_runs_code",
    "python": "test_the_sites_interpreter_runs_the_job",
    "mpi": "test_mpi_ranks_alone_get_the_sites_wire_up",
    "max_array_size": "test_arrays_stay_below_the_highest_index_and_share_the_throttle",
    "poll_seconds": "test_resubmission",
    "requeues": "test_resubmission",
    "resubmit_job": "test_handing_on",
    "retries": "test_resubmission",
}


@pytest.mark.parametrize(("key", "stage", "site", "flags"), FLAGS, ids=[f"{row[0]}-{row[1]}" for row in FLAGS])
def test_a_key_of_the_site_reaches_its_flag(
    key: str, stage: str, site: dict[str, Any], flags: dict[str, str], tmp_path: Path
):
    found = script_of(tmp_path, stage, **site).flags
    assert {name: found.get(name) for name in flags} == flags


def test_every_key_of_the_site_is_seen_by_a_test():
    assert {row[0] for row in FLAGS} | set(ELSEWHERE) == set(Site.model_fields)


def test_keys_that_are_not_given_leave_no_flag(tmp_path: Path):
    found = script_of(tmp_path, "fit").flags
    assert not {"partition", "account", "qos", "constraint", "gres", "gpus-per-node", "wckey", "dependency"} & set(
        found
    )


def test_every_job_can_be_requeued_and_dies_with_what_it_waits_for(tmp_path: Path):
    script = script_of(tmp_path, "base", ranks_per_node=2)
    assert script.flags["requeue"] == ""
    assert script.flags["kill-on-invalid-dep"] == "yes"
    assert script.flags["open-mode"] == "append"
    assert "--kill-on-bad-exit=1" in script.srun


def test_a_short_job_is_signalled_in_its_second_half(tmp_path: Path):
    assert script_of(tmp_path, "fit", max_minutes=2, signal_seconds=90).flags["signal"] == "USR2@60"
    assert script_of(tmp_path, "fit", max_minutes=3, signal_seconds=90).flags["signal"] == "USR2@90"


@pytest.mark.parametrize(
    ("extra", "failed", "wanted"),
    [({}, (), None), ({}, ("n5",), "n5"), ({"exclude": "n1,n2"}, (), "n1,n2"), ({"exclude": "n1"}, ("n5",), "n1,n5")],
)
def test_nodes_that_failed_are_left_out_beside_those_of_the_site(tmp_path: Path, extra, failed, wanted):
    site = Site.model_validate({"name": "x", "extra": extra})
    run = Run(RunFolder(tmp_path), preset("tiny"), site, (stage_of("fit"),))
    batch = Batch(stage_of("fit"), Resources(), ((0,),), 5, 1, excluded=failed)
    script = Script(text_of(run, batch, Submission("u", "fit", "", ((0,),), 1.0), []))
    assert (script.flags.get("exclude"), site.extra) == (wanted, extra)


def test_srun_is_given_the_cores_that_sbatch_asked_for(tmp_path: Path):
    script = script_of(tmp_path, "fit", **GPUS)
    assert f"--cpus-per-task={script.flags['cpus-per-task']}" in script.srun
    assert script.flags["cpus-per-task"] == "4"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert f"export {name}=4" in script.before


def test_mpi_ranks_alone_get_the_sites_wire_up(tmp_path: Path):
    for kind in ("pmi2", "pmix"):
        assert f"--mpi={kind}" in script_of(tmp_path, "evaluate", **MPI | {"mpi": kind}).srun
    assert "--mpi=none" in script_of(tmp_path, "evaluate", **MPI | {"mpi_ranks": 1}).srun  # one process
    assert "--mpi=none" in script_of(tmp_path, "evaluate", mpi="none").srun
    assert "--mpi=none" in script_of(tmp_path, "base", ranks_per_node=2, mpi="pmix").srun  # torch's ranks


def test_the_sites_interpreter_runs_the_job(tmp_path: Path):
    script = script_of(tmp_path, "fit", python="/opt/my python/bin/python3")
    assert "export RODIN_PYTHON='/opt/my python/bin/python3'" in script.before
    assert "/opt/my python/bin/python3" in script.srun


def test_a_job_runs_the_sites_setup_then_this_runs_code(tmp_path: Path):
    folder = tmp_path / "my run"
    lines = script_of(folder, "fit", setup=["module load cuda", "export A=b"]).before
    code = f"export PYTHONPATH='{folder.resolve() / 'code'}'"
    assert lines.index("module load cuda") < lines.index("export A=b") < lines.index(code)
    assert next(i for i, line in enumerate(lines) if "RODIN_PYTHON" in line) < lines.index("module load cuda")
    assert "export PYTHONSAFEPATH=1" in lines
    assert "export PYTHONDONTWRITEBYTECODE=1" in lines, "a full disk would leave half a module in the run's code"
    assert "export HF_HUB_OFFLINE=1" in lines


def test_arrays_stay_below_the_highest_index_and_share_the_throttle(tmp_path: Path):
    config = ["data.subjects=12", "data.shard_subjects=1"]
    long = {"fit": {"minutes": 12 * 90.0}}  # a shard an element, though there are more than run at a time
    site = {"max_array_size": 5, "throttle": 7, "stages": long}
    assert [one.flags["array"] for one in scripts_of(tmp_path, "fit", config, **site)] == ["0-3%2", "0-3%2", "0-3%3"]
    site = {"max_array_size": 4, "throttle": 9, "stages": long}
    assert [one.flags["array"] for one in scripts_of(tmp_path, "fit", config, **site)] == ["0-3%3"] * 3
    (whole,) = scripts_of(tmp_path, "fit", config, max_array_size=12, throttle=12)
    assert whole.flags["array"] == "0-11%12"


def test_a_throttle_below_the_number_of_arrays_still_lets_each_run(tmp_path: Path):
    config = ["data.subjects=300", "data.shard_subjects=1"]
    site = {"max_array_size": 2, "throttle": 1, "stages": {"fit": {"minutes": 300 * 90.0}}}
    assert {one.flags["array"] for one in scripts_of(tmp_path, "fit", config, **site)} == {"0-1%1"}


def test_all_arrays_of_a_stage_together_run_no_more_elements_than_the_throttle_says():
    (whole,) = sizes(minutes=1000 * 90.0, shards=1000, total=1000, throttle=64)
    quarters = [part for half in halves(whole) for part in halves(half)]
    assert [one.throttle for one in quarters] == [16] * 4
    some = sharing([replace(whole, elements=((0,),) * count, throttle=64) for count in (3, 61, 64)], 64)
    assert [one.throttle for one in some] == [1, 31, 32]
    assert [one.throttle for one in sharing([replace(whole, elements=((0,),))] * 3, 1)] == [1, 1, 1]


def sizes(minutes: float, shards: int, total: int, more_time: float = 1.0, **site: Any) -> list[Batch]:
    resources, a_site = Resources(minutes=minutes), Site(name="x", **site)
    return batches(stage_of("fit"), resources, list(range(shards)), total, a_site, Ask(more_time))


def test_wall_time_is_thrice_that_of_the_longest_element_and_ten_minutes():
    (one,) = sizes(minutes=100, shards=10, total=10, throttle=10)
    assert one.minutes == 3 * 10 + 10
    (packed,) = sizes(minutes=100, shards=10, total=10, throttle=4)  # three shards of ten minutes in the longest
    assert max(len(element) for element in packed.elements) == 3
    assert packed.minutes == 3 * 30 + 10
    (rest,) = sizes(minutes=100, shards=2, total=10, throttle=10)  # eight are done: a shard takes no longer
    assert rest.minutes == 40
    (longer,) = sizes(minutes=100, shards=10, total=10, throttle=10, more_time=4.0)
    assert longer.minutes == 160
    (capped,) = sizes(minutes=100, shards=10, total=10, throttle=10, more_time=4.0, max_minutes=90)
    assert capped.minutes == 90


def test_each_shard_is_in_one_element_in_order():
    found = [
        shard for batch in sizes(200, 25, 30, throttle=7, max_array_size=3) for part in batch.elements for shard in part
    ]
    assert found == list(range(25))


def test_memory_is_rounded_up_to_whole_megabytes(tmp_path: Path):
    site = {"stages": {"fit": {"memory_gb": 2.3}}}
    assert script_of(tmp_path, "fit", **site).flags["mem"] == f"{math.ceil(2.3 * 1024)}M"


def test_a_batch_waits_for_the_success_of_every_job_it_reads(tmp_path: Path):
    run = Run(RunFolder(tmp_path), preset("tiny"), Site(name="x"), (stage_of("fit"),))
    batch = Batch(stage_of("fit"), Resources(), ((0,),), 10, 1)
    text = text_of(run, batch, Submission("u", "fit", "", ((0,),), 1.0), ["12", "15"])
    assert Script(text).flags["dependency"].strip("'") == "afterok:12:15"
    assert Script(text).flags["job-name"] == "rodin-fit-u"
    assert "array" not in Script(text).flags
