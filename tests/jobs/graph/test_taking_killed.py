"""Taking stages over: whole or not at all wherever it is killed, and never written through a link."""

import errno
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fixtures.finished_graph import contents, finish_graph, write_views
from fixtures.taking import ALL, TINY, new, take

from jobs.graph.graph import graph
from jobs.graph.taking import take_over
from jobs.graph.work import missing
from jobs.run.begun import begun, reopen
from jobs.run.lock import driving
from rodin.store import manifest, results
from rodin.store.repair import damaged, set_aside
from rodin.store.run_folder import RunFolder
from rodin.store.sharing import share_folder

pytestmark = pytest.mark.usefixtures("no_sync")


def stage_of(path: Path) -> str:
    name = path.stem.rpartition("-")[0]
    return "index" if name == "fit" else name


def whole_or_absent(folder: RunFolder, source: RunFolder, stages: Sequence[str] = ALL) -> None:
    for stage in stages:
        home = folder.stage(stage)
        assert not home.exists() or contents(home) == contents(source.stage(stage)), stage
        assert home.exists() == begun(folder, stage)
        if home.exists():
            rows = [path.name for path in (source.path / "results").glob("*.jsonl") if stage_of(path) == stage]
            assert all((folder.path / "results" / name).is_file() for name in rows), stage


class Killed(BaseException):
    pass


@pytest.mark.parametrize("links", [True, False])
def test_killed_at_each_step_it_goes_on(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = finish_graph(tmp_path / "source", TINY, ["portraits"])
    before, steps = contents(source.path), 0
    real = {name: getattr(os, name) for name in ("link", "replace", "rename", "fsync", "utime", "unlink", "mkdir")}
    left = [10**9]

    def watched(name: str):
        def call(*arguments, **options):
            if name == "link" and not links:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real[name](*arguments, **options)

        return call

    for name in real:
        monkeypatch.setattr(os, name, watched(name))
    stage = [stage for stage in graph(TINY) if stage.name == "portraits"]

    def take_portraits() -> None:
        with driving(folder):
            take_over(folder, TINY, stage, [source])

    killed = True
    while killed:
        folder, left[0], killed = new(tmp_path, TINY, f"new-{steps}"), steps, False
        try:
            take_portraits()
        except Killed:
            killed = True
        left[0] = 10**9
        whole_or_absent(folder, source, ["portraits"])
        take_portraits()
        whole_or_absent(folder, source, ["portraits"])
        assert missing(folder, TINY, "portraits") == []
        assert [path.name for path in folder.path.iterdir() if path.name[0] == "."] == []
        steps += 1
    assert steps > 30
    assert contents(source.path) == before
    copied = folder.stage("portraits") / "data-0.bin"
    assert copied.samefile(source.stage("portraits") / "data-0.bin") == links


def test_killed_by_the_system_at_random_moments(source: RunFolder, tmp_path: Path):
    folder, generator, kills = new(tmp_path, TINY), random.Random(0), 0
    real = os.link
    while missing(folder, TINY, "sweep-cfg"):
        child = os.fork()
        if not child:
            os.link = lambda *a, **k: (time.sleep(0.002), real(*a, **k))[1]
            take(folder, TINY, source)
            os._exit(0)
        time.sleep(generator.uniform(0.01, 0.12))
        if kills < 10:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or status == 0
        whole_or_absent(folder, source)
    assert kills >= 3


def test_a_change_or_a_repair_in_one_run_leaves_the_other(source: RunFolder, tmp_path: Path):
    folder = new(tmp_path, TINY)
    take(folder, TINY, source)
    before = contents(source.path, "jobs")
    shard = folder.shard("render", 1)
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.unlink()
    shard.write_bytes(bytes(data))  # damage of our disk block; a link's bytes are the other run's too
    found = damaged(folder)
    assert [one.path for one in found] == [folder.manifest("render", 1)]
    set_aside(found)
    write_views(folder.stage("render"), 1, TINY.subjects_of("render", 1))
    assert damaged(folder) == []
    reopen(folder, "latent", keep=True)
    with (folder.stage("latent") / "log.jsonl").open("a") as log:
        log.write("more\n")
    finish_stage_as_stages_do(folder, "latent")
    reopen(folder, "base", keep=False)
    reopen(folder, "sample", keep=False)
    assert contents(source.path, "jobs") == before
    assert damaged(source) == []


def finish_stage_as_stages_do(folder: RunFolder, stage: str) -> None:
    """Publish other files and rows, as every stage publishes them."""
    from rodin.store.atomic import publish_bytes

    publish_bytes(folder.stage(stage) / "data-0.bin", b"longer")
    results.write_rows(folder, stage, 0, [{"stage": stage, "word": "longer"}])
    files = manifest.describe_files(folder.stage(stage), ["data-0.bin"])
    manifest.publish(folder.manifest(stage), {"kind": "fake", "files": files})


def test_a_disk_that_is_full_is_told_and_the_next_call_goes_on(
    source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, real = new(tmp_path, TINY), os.link

    def link(old, name, **options):
        if Path(old).parent.name == "planes":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(old, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        with pytest.raises(ValueError, match="no space left"):
            take(folder, TINY, source)
    whole_or_absent(folder, source)
    assert not folder.stage("fit").exists()
    take(folder, TINY, source)
    whole_or_absent(folder, source)


def test_whole_copies_are_kept_and_half_ones_made_again(
    source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_link(*arguments, **options):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    target, copied = tmp_path / "views", []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda path, name: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            share_folder(source.stage("render"), target)
    half = tmp_path / ".views.taking" / "00001.h5"
    half.write_bytes(half.read_bytes()[:100])
    real = os.utime
    monkeypatch.setattr(os, "utime", lambda path, **options: (copied.append(path.name), real(path, **options)))
    shared = share_folder(source.stage("render"), target)
    assert copied == ["00001.h5"]
    assert (shared.files, shared.links) == (6, 0)
    assert contents(target) == contents(source.stage("render"))
