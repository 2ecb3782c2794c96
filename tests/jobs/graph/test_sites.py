"""Stages on the sites that we ship and on others: within reason, within memory, in one clear line."""

from pathlib import Path

import pytest

from jobs.graph.graph import NAMES, graph, resources_of, stage_of
from jobs.graph.sizes import base_size
from jobs.graph.work import Run
from jobs.plan.plan import plan_rows
from jobs.site import Site, load_site
from jobs.site_tables import Place
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

SITES = Path(__file__).resolve().parents[3] / "slurm" / "sites"


@pytest.mark.parametrize("path", sorted(SITES.glob("*.toml")), ids=lambda path: path.name)
def test_site_files_of_the_repository_load(path: Path):
    assert load_site(path, NAMES).name


@pytest.mark.parametrize("path", sorted(SITES.glob("*.toml")), ids=lambda path: path.name)
def test_a_shipped_site_file_plans_the_demo_within_reason(path: Path, tmp_path: Path):
    """A day of cores and an hour of GPUs is a hundred times what the demo takes."""
    config = preset("demo")
    rows = plan_rows(Run(RunFolder(tmp_path), config, load_site(path, NAMES), tuple(graph(config))))
    assert sum(row["hours"] for row in rows if not row["gpus"]) < 24
    assert sum(row["hours"] for row in rows if row["gpus"]) < 1
    assert [row["stage"] for row in rows if row["warnings"]] == []


def test_networks_run_on_gpus_where_there_are_some():
    site = Site(name="x", mpi="pmix", mpi_ranks=16, gpus_per_node=4, cpus_per_node=32)
    for name, ranks, gpus in (("embed", 4, 1), ("evaluate", 4, 1), ("index", 16, 0)):
        found = resources_of(stage_of(name), preset("paper"), site)
        assert (found.ranks, found.gpus) == (ranks, gpus)
    assert resources_of(stage_of("evaluate"), preset("paper"), Site(name="x", mpi="pmix", mpi_ranks=8)).ranks == 8


def test_ranks_of_fit_share_its_time_and_other_arrays_take_one_process():
    """A node of four GPUs fits a shard in a quarter of the time with four times the memory."""
    nodes = {"name": "x", "gpus_per_node": 4, "cpus_per_node": 32, "memory_gb_per_node": 200.0}
    fit, config = stage_of("fit"), preset("paper")
    one = resources_of(fit, config, Site.model_validate(nodes))
    four = resources_of(fit, config, Site.model_validate(nodes | {"stages": {"fit": {"ranks": 4}}}))
    assert (one.world, four.world, four.gpus, four.cpus) == (1, 4, 1, one.cpus)
    assert (4 * four.minutes, four.memory_gb) == pytest.approx((one.minutes, 4 * one.memory_gb))
    eight = Site.model_validate(nodes | {"stages": {"fit": {"ranks": 4, "nodes": 2, "minutes": 7.0}}})
    assert (resources_of(fit, config, eight).world, resources_of(fit, config, eight).minutes) == (8, 7.0)
    for name, table in (("render", {"ranks": 2}), ("sample", {"nodes": 2}), ("report", {"ranks": 3})):
        site = Site.model_validate(nodes | {"stages": {name: table | {"cpus": 1}}})
        with pytest.raises(
            ValueError, match=rf"site x: \[stages.{name}\] asks for . ranks, but .* is one process; take"
        ):
            resources_of(stage_of(name), config, site)


def test_ranks_on_one_machine_have_a_core_each():
    """Slurm refuses more: "CPU count per node can not be satisfied"."""
    small = Site(name="x", mpi="pmi2", mpi_ranks=16, cpus_per_node=6, train_cpus=2, cpu=Place(cpus_per_node=3))
    for name in ("embed", "evaluate", "index"):
        found = resources_of(stage_of(name), preset("paper"), small)
        assert (found.ranks, found.ranks * found.cpus <= 3) == ({"embed": 1}.get(name, 3), True)
    big = small.model_copy(update={"cpu": Place()})
    assert [resources_of(stage_of(name), preset("paper"), big).ranks for name in ("embed", "evaluate")] == [3, 6]


def test_memory_grows_with_what_a_rank_keeps():
    """Of a network on a GPU a checkpoint's copies; on a CPU all that it is trained with, on each rank."""
    here, there = Site(name="x", ranks_per_node=2), Site(name="x", ranks_per_node=2, gpus_per_node=2)
    large, small = preset("paper"), preset("paper", ["base.channels=64"])
    more = 4e-9 * (base_size(large).parameters - base_size(small).parameters)
    base = stage_of("base").resources
    assert base(large, there).memory_gb - base(small, there).memory_gb == pytest.approx(4 * more)
    assert base(large, here).memory_gb - base(small, here).memory_gb == pytest.approx(2 * 9 * more)
    decoder = stage_of("decoder").resources
    planes = 500 * 3 * 4 * 4 / 3 * 3 * 32 * 256**2 * 1e-9  # of each rank's 500 subjects, over decoder.memory_gb
    assert planes > 16
    assert decoder(large, there).memory_gb == pytest.approx(2 * (4 + 16))
    assert decoder(large, here).memory_gb == pytest.approx(2 * (4 + 16 + 16))
    roomy = preset("paper", ["decoder.memory_gb=1000"])
    pictures = 500 * 4 * 300 * 256**2 * 1e-9
    assert decoder(roomy, here).memory_gb == pytest.approx(2 * (4 + planes + pictures))
    assert decoder(preset("demo"), here).memory_gb < 8.1


@pytest.mark.parametrize("name", ["sample", "sweep-cfg"])
def test_what_renders_by_the_refiner_waits_for_it(name: str):
    (stage,) = (one for one in graph(preset("tiny", ["refine.enabled=true"])) if one.name == name)
    assert "refine" in stage.after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'x'\npartion = 'y'", "unknown key 'partion' (did you mean 'partition'?)"),
        ("name = 'x'\n[stages.fitt]\ncpus = 1", "unknown stage 'fitt'"),
        ("name = 'x'\n[stages.fit]\ncpu = 1", "unknown key 'stages.fit.cpu' (did you mean 'cpus'?)"),
        ("name = 'x'\n[cpu]\npartion = 'y'", "unknown key 'cpu.partion' (did you mean 'partition'?)"),
        ("name = 'x'\ncpu = 'y'", "cpu: got 'y'"),
        ("name = 'x'\n[stages.fit]\nwall_minuts = 1.0", "(did you mean 'wall_minutes'?)"),
        ("name = 'x'\n[stages.fit]\nwall_minutes = 0.0", "stages.fit.wall_minutes: got 0.0"),
        ("name = 'x'\n[cpu]\nmax_minutes = 0", "cpu.max_minutes: got 0"),
        ("name = 'x'\n[stages.fit]\npartion = 'y'", "unknown key 'stages.fit.partion' (did you mean 'partition'?)"),
        ("name = 'x'\nthrottle = 0", "throttle: got 0"),
        ("name = 'x'\nthrottle = 'many'", "throttle: got 'many'"),
        ("name = 'x'\nmpi = 'pmi3'", "mpi: got 'pmi3'"),
        ("partition = 'x'", "key 'name' is missing"),
        ("name = ", "not TOML"),
    ],
)
def test_bad_site_is_one_clear_line(text: str, words: str, tmp_path: Path):
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        load_site(path, NAMES)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_follows_the_ranks_that_a_site_file_gives():
    site = Site.model_validate({"name": "x", "mpi": "pmi2", "stages": {"evaluate": {"nodes": 2, "ranks": 1}}})
    without = site.model_copy(update={"stages": {}})
    assert resources_of(stage_of("evaluate"), preset("demo"), without).ranks == 4
    whole = resources_of(stage_of("evaluate"), preset("demo"), without).memory_gb
    assert resources_of(stage_of("evaluate"), preset("demo"), site).memory_gb == whole / 4
