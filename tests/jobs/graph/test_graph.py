"""The graph, what stages ask for, how work is dealt out."""

from pathlib import Path

import pytest

from jobs.graph.graph import NAMES, SWEEPS, chosen, graph, resources_of
from jobs.graph.stage import training_ranks, training_resources, whole_minutes
from jobs.graph.work import Run, deal, element_count
from jobs.plan.plan import plan_rows
from jobs.site import CPU_FLOPS, Site
from jobs.weights import check_weights
from rodin.config import Config
from rodin.presets import PRESETS, preset
from rodin.store import manifest
from rodin.store.run_folder import FOLDERS, RunFolder


def names(config: Config, *extra: str) -> list[str]:
    return [stage.name for stage in graph(config, extra)]


def closure(config: Config, name: str) -> set[str]:
    after = {stage.name: stage.after for stage in graph(config)}
    found: set[str] = set()
    todo = [name]
    while todo:
        for before in after[todo.pop()]:
            if before not in found:
                found.add(before)
                todo.append(before)
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_each_stage_comes_after_what_it_reads(name: str):
    seen: set[str] = set()
    for stage in graph(preset(name)):
        assert set(stage.after) <= seen
        seen.add(stage.name)


def test_graph_of_the_contract():
    after = {stage.name: set(stage.after) for stage in graph(preset("tiny"))}
    assert after["portraits"] == set()
    assert after["clip"] == {"render", "portraits"}
    assert after["decoder"] == {"render"}
    assert after["embed"] == {"clip"}
    assert after["fit"] == {"decoder"}
    assert after["index"] == {"fit"}
    assert after["base"] == {"index", "embed"}
    assert after["upsample"] == {"index"}
    assert after["latent"] == after["prior"] == {"embed"}
    assert after["sample"] == {"base", "upsample", "latent", "prior"}
    assert after["evaluate"] == {"sample"}
    assert after["sweep-cfg"] == {"base", "upsample"}
    assert after["report"] == set(after) - {"report"}


def test_the_upsampler_comes_after_latents_where_it_reads_them():
    (stage,) = (stage for stage in graph(preset("tiny", ["upsample.latent=true"])) if stage.name == "upsample")
    assert stage.after == ("index", "embed")


def test_configured_parts_come_and_go():
    assert "clip" in names(preset("tiny"))
    paper = graph(preset("paper"))
    assert "clip" not in [stage.name for stage in paper]
    assert next(stage for stage in paper if stage.name == "embed").after == ("render",)
    refined = preset("tiny", ["refine.enabled=true"])
    assert "refine" in names(refined)
    assert "refine" in closure(refined, "sample")
    for changes in (["clip.subjects=0"], ["data.source=import"]):
        alone = preset("tiny", changes)
        assert "portraits" not in names(alone)
        assert {stage.name: stage.after for stage in graph(alone)}["clip"] in (("render",), ("import",))
    assert "portraits" not in names(preset("paper", ["clip.subjects=9"]))
    imported = preset("tiny", ["data.source=import"])
    assert "render" not in names(imported)
    assert "import" in closure(imported, "decoder")
    assert "sweep-views" not in names(preset("tiny"))
    assert "sweep-views" in names(preset("tiny"), "sweep-views")


def test_unknown_stage_names_those_there_are():
    with pytest.raises(ValueError, match=r"unknown stage 'ftt'; there are render, portraits, clip"):
        chosen(graph(preset("tiny")), ["ftt"])
    with pytest.raises(ValueError, match="not part of this config"):
        chosen(graph(preset("tiny")), ["refine"])


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (7, 3), (8, 8), (5, 9), (1000, 64)])
def test_deal_is_whole_and_even(count: int, parts: int):
    dealt = deal(range(count), parts)
    assert [shard for element in dealt for shard in element] == list(range(count))
    sizes = [len(element) for element in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert len(dealt) == min(parts, count)


def test_small_work_is_spread_large_work_is_packed():
    site = Site(name="x", throttle=10)
    assert element_count(10, 1.0, site) == 10
    assert element_count(1000, 1.0, site) == 17  # an hour an element
    assert element_count(1000, 90.0, site) == 1000  # a shard over an hour stays alone
    assert element_count(25, 1.0, site) == 9  # ceil(25 / 10) in each


@pytest.mark.parametrize("batch", [1, 2, 6, 16, 48])
def test_ranks_divide_the_batch(batch: int):
    site = Site(name="x", train_nodes=4, ranks_per_node=8, gpus_per_node=8)
    nodes, ranks = training_ranks(site, batch)
    assert batch % (nodes * ranks) == 0
    best = max(n * r for n in range(1, 5) for r in range(1, 9) if batch % (n * r) == 0)
    assert nodes * ranks == best


def test_site_overrides_and_limits():
    site = Site.model_validate(
        {
            "name": "x",
            "cpus_per_node": 4,
            "memory_gb_per_node": 2.0,
            "stages": {"fit": {"cpus": 3}, "base": {"memory_gb": 50.0}},
        }
    )
    by_name = {stage.name: stage for stage in graph(preset("demo"))}
    assert resources_of(by_name["fit"], preset("demo"), site).cpus == 3
    assert resources_of(by_name["base"], preset("demo"), site).memory_gb == 2.0


def test_mpi_needs_mpi():
    by_name = {stage.name: stage for stage in graph(preset("demo"))}
    none, pmi = Site(name="x"), Site(name="x", mpi="pmi2", cpus_per_node=16, mpi_ranks=3)
    assert resources_of(by_name["evaluate"], preset("demo"), none).world == 1
    assert resources_of(by_name["evaluate"], preset("demo"), pmi).world == 3


@pytest.mark.parametrize("source", ["avatars", "import"])
@pytest.mark.parametrize("refined", [False, True])
def test_the_one_list_of_stages_is_an_order_for_every_config(source: str, refined: bool):
    config = preset("tiny", [f"data.source={source}", f"refine.enabled={str(refined).lower()}"])
    found = graph(config, tuple(stage.name for stage in SWEEPS))
    seen: set[str] = set()
    for stage in found:
        assert set(stage.after) <= seen, stage.name
        seen.add(stage.name)
    assert [stage.name for stage in found] == [name for name in NAMES if name in seen]
    assert set(FOLDERS) <= set(NAMES)


@pytest.mark.parametrize("name", PRESETS)
def test_plan_is_finite_and_positive(name: str, tmp_path: Path):
    config = preset(name)
    run = Run(RunFolder(tmp_path), config, Site(name="x", gpus_per_node=4, ranks_per_node=4), tuple(graph(config)))
    for row in plan_rows(run):
        assert 0 < row["hours"] < 1e8, row
        assert 0 < row["disk_bytes"] < 1e15, row
        assert row["done"] == 0


def test_paper_plan_has_the_papers_sizes(tmp_path: Path):
    config = preset("paper")
    run = Run(RunFolder(tmp_path), config, Site(name="x", gpus_per_node=8, ranks_per_node=8), tuple(graph(config)))
    rows = {row["stage"]: row for row in plan_rows(run)}
    assert rows["render"]["disk_bytes"] == 4 * 101_000 * 300 * 256**2
    assert rows["fit"]["disk_bytes"] == 100_000 * 2 * 3 * 32 * (256**2 + 64**2)
    assert rows["base"]["ranks"] == 8


def test_a_run_without_its_weights_is_refused_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RODIN_WEIGHTS", str(tmp_path))
    for changes, told in (
        ([], "ViT-B-32-openai.safetensors: no weights for clip.pretrained 'ViT-B-32-quickgelu'"),
        (["clip.pretrained=none"], "alexnet-owt-7be5be79.pth: no weights of LPIPS for upsample.patch.perceptual 0.1"),
    ):
        config = preset("paper", changes)
        run = Run(RunFolder(tmp_path), config, Site(name="x"), tuple(graph(config)))
        with pytest.raises(FileNotFoundError) as caught:
            check_weights(run)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
    config = preset("paper", ["clip.pretrained=none", "upsample.patch.perceptual=0"])
    check_weights(Run(RunFolder(tmp_path), config, Site(name="x"), tuple(graph(config))))


def test_wall_time_is_thrice_the_expected_one_and_ten_minutes_to_start():
    assert whole_minutes(0) == 10
    assert whole_minutes(0.1) == 11
    assert whole_minutes(60) == 190


def test_a_longer_training_of_a_larger_batch_on_fewer_ranks_takes_longer():
    def minutes(batch: int = 8, steps: int = 100, nodes: int = 1, **gpus: int) -> float:
        site = Site(name="x", train_nodes=nodes, ranks_per_node=2, train_cpus=3, **gpus)
        return training_resources(site, batch=batch, forward=1e9, steps=steps, memory_gb=5.0).minutes

    arithmetic = 3 * 8 * 1e9 / (2 * 3 * CPU_FLOPS)  # two ranks of three cores
    assert minutes() == pytest.approx(100 * (arithmetic + 0.01) / 60)
    assert minutes(steps=200) == pytest.approx(2 * minutes())
    assert minutes(batch=16) > 1.5 * minutes()
    assert minutes(nodes=2) < minutes()
    assert minutes(gpus_per_node=2) < minutes()
    one = training_resources(Site(name="x", ranks_per_node=2), batch=8, forward=1e9, steps=1, memory_gb=5.0)
    assert (one.ranks, one.memory_gb) == (2, 10.0)  # memory is that of the machine


@pytest.mark.parametrize("name", ["render", "fit", "sample"])
def test_twice_the_subjects_or_avatars_take_about_twice_the_time_and_disk(name: str):
    """Expected times are linear in the amount of work, of which plans make use."""
    changes = {"render": "data.subjects=2000", "fit": "data.subjects=2000", "sample": "sample.unconditional=4000"}
    one, two = preset("paper"), preset("paper", [changes[name]])
    stage, site = next(stage for stage in graph(one) if stage.name == name), Site(name="x")
    times = [stage.resources(config, site).minutes for config in (one, two)]
    amounts = [stage.amount.of(config) for config in (one, two)]
    assert times[1] / times[0] == pytest.approx(amounts[1] / amounts[0], rel=0.1)
    assert stage.disk(two) / stage.disk(one) == pytest.approx(amounts[1] / amounts[0], rel=1e-6)


def test_a_site_without_room_for_the_cores_of_all_ranks_gives_each_fewer():
    stage = next(stage for stage in graph(preset("demo")) if stage.name == "base")
    site = Site(name="x", cpus_per_node=8, ranks_per_node=4, train_cpus=4)
    found = resources_of(stage, preset("demo"), site)
    assert (found.ranks, found.cpus) == (4, 2)
    local = resources_of(stage, preset("demo"), site.model_copy(update={"mpi": "mpiexec", "train_nodes": 2}))
    assert local.nodes == 1


def test_ranks_on_few_machines_are_preferred():
    assert training_ranks(Site(name="x", train_nodes=4, ranks_per_node=4, gpus_per_node=4), 4) == (1, 4)


def test_overrides_stay_within_the_limits_of_a_site():
    by_name = {stage.name: stage for stage in graph(preset("demo"))}
    site = {"name": "x", "cpus_per_node": 16, "gpus_per_node": 4}
    wide = Site.model_validate({**site, "stages": {"base": {"ranks": 4, "gpus": 2}, "evaluate": {"ranks": 3}}})
    base = resources_of(by_name["base"], preset("demo"), wide)
    assert (base.ranks, base.gpus) == (4, 1)
    assert resources_of(by_name["evaluate"], preset("demo"), wide).ranks == 1  # no MPI there


def test_a_stage_is_blocked_by_what_is_neither_complete_nor_requested(tmp_path: Path):
    config, folder = preset("tiny"), RunFolder(tmp_path)

    def blocked(*names: str) -> str | None:
        return Run(folder, config, Site(name="x"), tuple(chosen(graph(config), list(names)))).blocked()

    assert blocked("render", "decoder", "fit") is None
    assert blocked("report") is None  # of whatever is there
    assert blocked("fit") == "stage 'fit' reads 'decoder', which is not done; add it to --stages"
    manifest.publish(folder.manifest("decoder"), {"kind": "fake"})
    assert blocked("fit") is None
