"""Stages that a run takes over from another: which, whole or not at all wherever it is killed, and no way back."""

import json
import os
from pathlib import Path

import pytest
from fixtures.finished_graph import contents, finish_graph, finish_stage, rows_without_origin, write_views
from fixtures.taking import ALL, BEFORE_BASE, TINY, new, take

from jobs.graph.graph import graph
from jobs.graph.taking import check_source, taking
from jobs.graph.work import missing
from jobs.run.begun import begun, reopen, settings_of
from jobs.run.lock import driving
from jobs.run.taken import all_taken, taken_stage
from rodin.presets import preset
from rodin.store import manifest, results
from rodin.store.run_folder import RunFolder
from rodin.store.sharing import published_files

pytestmark = pytest.mark.usefixtures("no_sync")


CASES = {
    "base.training.lr=0.5": [*BEFORE_BASE, "upsample", "latent", "prior"],
    "sample.prompts=5": [*BEFORE_BASE, "base", "upsample", "latent", "prior", "sweep-cfg"],
    "sweeps.guidance_scales=[1, 2]": [*BEFORE_BASE, "base", "upsample", "latent", "prior", "sample", "evaluate"],
    "triplane.channels=8": ["render", "portraits", "clip", "embed", "latent", "prior"],
    "base.training.steps=20": [*BEFORE_BASE, "upsample", "latent", "prior"],
    "base.training.steps=5": [*BEFORE_BASE, "upsample", "latent", "prior"],
    "base.training.micro_batch=1": ALL,
    "data.samples=3": [],
    "seed=1": [],
}


@pytest.mark.parametrize(("change", "wanted"), CASES.items(), ids=CASES)
def test_what_follows_from_a_changed_key_is_made_again_and_nothing_else(
    change: str, wanted: list[str], source: RunFolder, tmp_path: Path
):
    config = preset("tiny", [change])
    folder = new(tmp_path, config)
    assert sorted(taking(folder, config, graph(config), [source]).stages) == sorted(wanted)
    assert sorted(take(folder, config, source)) == sorted(wanted)
    for stage in graph(config):
        done = stage.name in wanted
        assert (missing(folder, config, stage.name) == []) == done, stage.name
        assert begun(folder, stage.name) == done
        if done:
            home = folder.stage(stage.name).name
            assert contents(folder.path / home) == contents(source.path / home)
    rows = {path.name for path in (folder.path / "results").glob("[!t]*.jsonl")}
    assert rows == {path.name for path in (source.path / "results").glob("[!t]*.jsonl") if stage_of(path) in wanted}


def stage_of(path: Path) -> str:
    name = path.stem.rpartition("-")[0]
    return "index" if name == "fit" else name


def test_a_key_of_a_stage_that_the_run_lacks_now(source: RunFolder, tmp_path: Path):
    config = preset("tiny", ["refine.enabled=true"])
    again = taking(new(tmp_path, config), config, graph(config), [source]).again
    assert again == {
        "refine": "not finished there",
        "sample": "refine.enabled differs",
        "evaluate": "refine.enabled differs",
        "sweep-cfg": "refine.enabled differs",
    }


def test_links_records_and_times(source: RunFolder, tmp_path: Path):
    config = preset("tiny", ["base.training.lr=0.5"])
    folder = new(tmp_path, config)
    found = take(folder, config, source)
    model = folder.stage("latent") / "data-0.bin"
    assert model.samefile(source.stage("latent") / "data-0.bin")
    assert not (folder.stage("latent") / "log.jsonl").samefile(source.stage("latent") / "log.jsonl")
    assert found["latent"].links == found["latent"].files - 1
    record = taken_stage(folder, "latent")
    assert record == found["latent"]
    assert record is not None
    assert record.source == str(source.path.resolve())
    assert record.manifests == {"00000.json": manifest_sha(source, "latent")}
    assert settings_of(folder, "latent") == settings_of(source, "latent")
    assert taken_stage(folder, "base") is None
    times = results.read_rows(folder, "timing-fit")
    assert {row["taken_from"] for row in times} == {str(source.path.resolve())}
    kept = rows_without_origin(folder.path)
    assert kept == {name: rows for name, rows in rows_without_origin(source.path).items() if name in kept}
    again = new(tmp_path, config, "again")
    take(again, config, folder)  # who made it first stays known
    assert {row["taken_from"] for row in results.read_rows(again, "timing-fit")} == {str(source.path.resolve())}
    finish_stage(folder, config, "latent", "second")
    assert taken_stage(folder, "latent") is None
    assert len(all_taken(folder)) == len(found)


def manifest_sha(folder: RunFolder, stage: str) -> str:
    import hashlib

    return hashlib.sha256(folder.manifest(stage).read_bytes()).hexdigest()


def test_what_the_run_has_begun_stays_and_so_does_all_that_follows(source: RunFolder, tmp_path: Path):
    folder = new(tmp_path, TINY)
    finish_stage(folder, TINY, "render")
    write_views(folder.stage("render"), 2, TINY.subjects_of("render", 2))
    finish_stage(folder, TINY, "latent", "own")  # it follows from what would be taken
    found = taking(folder, TINY, graph(TINY), [source])
    assert sorted(found.stages) == sorted(set(ALL) - {"render", "latent", "sample", "evaluate"})
    finish_stage(folder, TINY, "clip", "own")
    found = taking(folder, TINY, graph(TINY), [source])
    assert sorted(found.stages) == ["decoder", "fit", "index", "portraits", "upsample"]
    assert found.again["embed"] == "follows from clip"
    assert found.again["base"] == "follows from embed"


def test_several_sources_and_a_stage_that_only_the_second_has(source: RunFolder, tmp_path: Path):
    other = finish_graph(tmp_path / "other", preset("tiny", ["base.training.lr=0.5"]), BEFORE_BASE[:1])
    for name in BEFORE_BASE[1:]:
        reopen(other, name, keep=False)
    config = preset("tiny", ["base.training.lr=0.5", "sample.prompts=5"])
    take(other, preset("tiny", ["base.training.lr=0.5"]), source)
    finish_stage(other, preset("tiny", ["base.training.lr=0.5"]), "base", "half")
    found = taking(new(tmp_path, config), config, graph(config), [source, other])
    assert found.stages["base"] == other
    assert found.stages["upsample"] == source
    assert found.again["sample"].startswith("sample.prompts differs")
    stranger = finish_graph(tmp_path / "stranger", preset("tiny", ["base.training.lr=0.5"]))
    finish_stage(stranger, preset("tiny"), "embed", "other bits")
    found = taking(new(tmp_path, config, "newer"), config, graph(config), [source, stranger])
    assert "base" not in found.stages  # what it was trained on is not what was taken


def test_manifests_come_last_and_the_one_that_readers_look_for_at_the_very_end(source: RunFolder):
    names = [str(name) for name in published_files(source.stage("render"))]
    assert names == [*(f"0000{shard}.h5" for shard in range(3)), "00001.json", "00002.json", "00000.json"]


def test_unfinished_attempts_caches_and_damage_stay_behind(source: RunFolder, tmp_path: Path):
    for name in (".00000.x-1-2.h5", ".catalogue", "00000.json.damaged"):
        (source.stage("fit") / name).write_text("x")
    folder = new(tmp_path, TINY)
    take(folder, TINY, source)
    assert {path.name for path in folder.stage("fit").iterdir()} == {
        path.name for path in source.stage("fit").iterdir() if path.name[0] != "." and path.suffix != ".damaged"
    }


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


BROKEN = {
    "a model": (lambda run: flip(run.stage("latent") / "data-0.bin"), "not the bytes its manifest lists"),
    "a file that is gone": (lambda run: (run.stage("clip") / "data-0.bin").unlink(), "missing though its manifest"),
    "a shard cut short": (lambda run: os.truncate(run.shard("render", 1), 100), "damaged, has 100 bytes"),
    "a manifest": (lambda run: flip(run.manifest("index")), "manifest"),
    "rows": (lambda run: os.truncate(run.results / "latent-00000.jsonl", 9), "ends in the middle of a row"),
    "another format": (
        lambda run: manifest.publish(run.manifest("render", 0), {"kind": "views", "version": 9}),
        "takes over files of its own rodin only",
    ),
}


@pytest.mark.parametrize(("harm", "words"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_source_is_refused_before_anything_is_taken(harm, words: str, source: RunFolder, tmp_path: Path):
    harm(source)
    folder = new(tmp_path, TINY)
    with pytest.raises(ValueError, match=f"--from {source.path}: .*{words}") as caught:
        take(folder, TINY, source)
    assert "\n" not in str(caught.value)
    assert not any(folder.stage(stage).exists() for stage in ALL)
    assert all_taken(folder) == []


def test_damage_of_a_stage_that_is_made_again_is_nothing_to_us(source: RunFolder, tmp_path: Path):
    flip(source.stage("sample") / "data-0.bin")
    config = preset("tiny", ["base.training.lr=0.5"])
    assert "latent" in take(new(tmp_path, config), config, source)
    with pytest.raises(ValueError, match="sample"):
        check_source(source, ["sample"])


def test_a_source_that_is_being_run_is_refused(source: RunFolder, tmp_path: Path):
    folder = new(tmp_path, TINY)
    with driving(source), pytest.raises(ValueError, match=f"{source.path} is being run by process {os.getpid()}"):
        take(folder, TINY, source)
    assert not folder.stage("render").exists()
    assert take(folder, TINY, source)


def test_a_source_cannot_be_driven_while_it_is_read(source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with driving(source):
        pass
    real, seen = os.link, []

    def link(*arguments, **options):
        with pytest.raises(ValueError, match="is being run by another process"), driving(source):
            pass
        seen.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(os, "link", link)
    take(new(tmp_path, TINY), TINY, source)
    assert seen


def test_a_read_only_source_gives_all_the_same(source: RunFolder, tmp_path: Path):
    folders = [source.path, *(path for path in source.path.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        assert sorted(take(new(tmp_path, TINY), TINY, source)) == sorted(ALL)
    finally:
        for path in folders:
            path.chmod(0o755)


def test_records_are_plain(source: RunFolder, tmp_path: Path):
    folder = new(tmp_path, TINY)
    take(folder, TINY, source)
    record = json.loads((folder.jobs / "taken" / "fit.json").read_text())
    assert set(record) == {"stage", "source", "manifests", "code", "when", "files", "bytes", "links"}
    (folder.jobs / "taken" / "fit.json").write_text("{}")
    assert taken_stage(folder, "fit") is None
