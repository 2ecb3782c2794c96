"""What Slurm's clients print, read right."""

import pytest
from fixtures import recorded_clusters as recorded

from jobs.survey.reading import (
    gpus_of,
    minutes_of,
    nodes_of,
    partitions_of,
    plugins_of,
    rows_of,
    settings_of,
)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30),
        ("30:59", 30),
        ("12:05:00", 725),
        ("1-06:30:00", 1830),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("UNLIMITED", None),
        ("infinite", None),
        ("", None),
    ],
)
def test_times(text: str, minutes: int | None):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("(null)", {}),
        ("gpu:4", {"": 4}),
        ("gpu:a100:4(S:0-3)", {"a100": 4}),
        ("gpu:a100:4(S:0,1),nvme:2,gpu:t4:1", {"a100": 4, "t4": 1}),
        ("gpu:1g.10gb:7,gpu:1g.10gb:7", {"1g.10gb": 14}),
        ("gpu:3090:2", {"3090": 2}),
        ("gpu:a100:no_consume:2", {"a100": 2}),
        ("gpu", {}),
        ("mps:200", {}),
    ],
)
def test_gpus(text: str, gpus: dict[str, int]):
    assert dict(gpus_of(text)) == gpus


def test_a_configuration_is_its_lines_of_key_and_value():
    found = settings_of(recorded.CENTRE["scontrol show config"] + "SchedulerParameters = a=1,b=2\n")
    assert (found["ClusterName"], found["MaxArraySize"], found["SchedulerParameters"]) == ("centre", "10001", "a=1,b=2")


def test_partitions_and_machines():
    found = {one.name: one for one in partitions_of(recorded.CENTRE["scontrol show partition"] + "\nnoise\n")}
    assert [one.name for one in found.values() if one.default] == ["gpu"]
    assert {name: one.minutes for name, one in found.items()} == {
        "gpu": 1440, "gpu_debug": 30, "gpu_vip": 20160, "cpu": 2880, "gone": None
    }  # fmt: skip
    assert (found["gpu"].accounts, found["gpu"].most_nodes) == ({"faces", "hands"}, 16)
    assert (found["cpu"].accounts, found["cpu"].qos, found["cpu"].most_nodes) == (
        set(),
        {"cpu_normal", "cpu_long"},
        None,
    )
    assert [name for name, one in found.items() if not one.up] == ["gone"]
    (machine, *_) = nodes_of("Welcome to the centre\n" + recorded.CENTRE["sinfo"])
    assert (machine.count, machine.cpus, machine.memory_mb, machine.gpus) == (120, 64, 515000, (("a100", 4),))
    assert machine.features == ("a100", "ib")


def test_a_machine_with_two_kinds_of_gpu_counts_as_one_of_the_more_numerous():
    machines = nodes_of(recorded.MIXED["sinfo"])
    assert [one.most_gpus for one in machines] == [("", 0), ("v100", 2), ("rtx3090", 4), ("", 0), ("h100", 8)]
    assert [one.threads for one in machines] == [1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("text", "plugins"),
    [
        (recorded.TEACHING["srun"], ["cray_shasta", "none", "pmi2"]),
        (recorded.CENTRE["srun"], ["none", "pmi2", "pmix"]),
        ("srun: MPI types are...\nsrun: pmix_v3\nsrun: openmpi\nsrun: none\n", ["pmix_v3", "openmpi", "none"]),
        ("", []),
    ],
)
def test_plugins_of_old_and_new_versions(text: str, plugins: list[str]):
    assert plugins_of(text) == plugins


def test_only_whole_rows_count():
    assert rows_of("a|b\nwarning\nc|\n", ("x", "y")) == [{"x": "a", "y": "b"}, {"x": "c", "y": ""}]
