"""A run folder that another user made to do harm: one line, no other file is read, nothing hangs or fills memory."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from fixtures.hostile_shards import HARMS
from fixtures.shards import SHAPES, fill, ids, publish

from rodin.store import manifest
from rodin.store.errors import OtherVersion, StoreError, Unreadable
from rodin.store.quick_check import quick_problems
from rodin.store.repair import damaged, set_aside
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards import attempt, catalogue, layout
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with a shard of planes, and beside it a file that no reader of the run may look into."""
    made = RunFolder(tmp_path / "run")
    publish(made.stage("fit"))
    publish(tmp_path / "secret")
    with h5py.File(tmp_path / "secret" / "00000.h5", "r+") as file:
        file["checksums/all"] = np.arange(4)
    return made


@pytest.mark.parametrize("harm", HARMS)
def test_a_hostile_shard_is_one_line(run: RunFolder, tmp_path: Path, harm: str) -> None:
    shard, secret = run.shard("fit", 0), tmp_path / "secret" / "00000.h5"
    with h5py.File(shard, "r+") as file:
        HARMS[harm](file, secret)
    seen = secret.stat().st_atime_ns
    with pytest.raises(StoreError, match="damaged shard") as problem:
        layout.inspect(shard)
    assert str(shard) in str(problem.value)
    assert "\n" not in str(problem.value)
    found = damaged(run)
    assert [(one.path, len(one.problems)) for one in found] == [(run.manifest("fit"), 1)]
    with pytest.raises(StoreError):
        Shards(run.stage("fit"), "planes").read("000001", "planes")
    set_aside(found)
    with ShardWriter(run.stage("fit"), 0, "planes", ids(4), SHAPES) as writer:
        fill(writer)
        writer.publish()
    assert damaged(run) == []
    assert secret.stat().st_atime_ns == seen


def sealed(content: dict) -> bytes:
    """Bytes of a manifest whose checksum fits."""
    return manifest.encoded(content)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("subjects", [1, 2, 3, 4]),
        ("subjects", [["000000"]]),
        ("subjects", {"000000": 1}),
        ("failed", {"000009": 7}),
        ("failed", []),
        ("meta", {}),
        ("meta", {"000000": 1, "000001": {}, "000002": {}, "000003": {}}),
        ("attributes", [1]),
        ("bytes", "many"),
        ("frame_sha256", None),
        ("kind", ["planes"]),
        ("files", [1]),
        ("files", {"x": 1}),
        ("files", {"../../secret/00000.h5": {"sha256": "", "bytes": 1}}),
        ("files", {"/etc/passwd": {"sha256": "", "bytes": 1}}),
        ("files", {"a/../../../b": {"sha256": "", "bytes": 1}}),
        ("files", {"": {"sha256": "", "bytes": 1}}),
    ],
)
def test_a_manifest_with_wrong_types_is_one_line(run: RunFolder, key: str, value: object) -> None:
    path = run.manifest("fit")
    path.write_bytes(sealed(manifest.read(path) | {key: value}))
    with pytest.raises(
        OtherVersion, match=rf"{path}: written by another rodin \(its '{key}' has another form\)"
    ) as one:
        Shards(run.stage("fit"), "planes")
    assert "\n" not in str(one.value)
    with pytest.raises(OtherVersion):
        damaged(run)


@pytest.mark.parametrize("text", [b"[" * 200_000, b"[1]", b"{}", b"\xff", b"1"])
def test_a_manifest_of_another_shape_whose_checksum_fits(run: RunFolder, text: bytes) -> None:
    path = run.manifest("fit")
    path.write_bytes(text + manifest.ending(text))
    with pytest.raises(StoreError, match="not a manifest that rodin wrote"):
        manifest.read(path)
    assert len(damaged(run)) == 1


HEADER = {"kind": "planes", "fields": {"base": ["<f2", [3, 4, 4, 4], 4096, False]}}
ROW = {"subject": "000000", "row": 0, "checksums": {"base": [1], "meta": [1]}, "meta": "{}"}


@pytest.mark.parametrize(
    "lines",
    [
        [1],
        [HEADER | {"kind": "faces"}],
        [HEADER | {"fields": [1]}],
        [HEADER | {"fields": {"base": ["|O", [3, 4, 4, 4], 4096, False]}}],
        [HEADER | {"fields": {"base": ["<f2", [3, -4, 4, 4], 4096, False]}}],
        [HEADER | {"fields": {"base": ["<f2", "many", 4096, False]}}],
        [HEADER | {"fields": {"base": ["<f2", [3, 4, 4, 4], -1, False]}}],
        [HEADER, ROW | {"row": -1}],
        [HEADER, ROW | {"row": "first"}],
        [HEADER, ROW | {"subject": ["000000"]}],
        [HEADER, ROW | {"checksums": 7}],
        [HEADER, ROW | {"meta": "no JSON"}],
        [HEADER, {}],
        [HEADER, [1]],
    ],
)
def test_a_hostile_journal_gives_no_rows(tmp_path: Path, lines: list) -> None:
    (tmp_path / ".00000.x.jsonl").write_bytes(b"".join(map(attempt.line, lines)))
    (tmp_path / ".00000.x.h5").write_bytes(bytes(100_000))
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ids(4)


@pytest.mark.parametrize("text", ["[]", "{}", '{"entries": [[1]], "subjects": []}', '{"entries": 3}', "[" * 100_000])
def test_a_hostile_cache_is_not_used(run: RunFolder, text: str) -> None:
    import xxhash

    data = text.encode()
    (run.stage("fit") / catalogue.NAME).write_bytes(b"%016x\n" % xxhash.xxh3_64_intdigest(data) + data)
    assert Shards(run.stage("fit"), "planes").subjects == ids(4)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.symlink_to(path)


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to(path.parent / "pipe")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


PLACES = [
    "planes/00000.h5",
    "planes/00000.json",
    "planes/.00000.a.jsonl",
    "planes/.catalogue",
    "results/fit-00000.jsonl",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [pipe, Path.mkdir, circle, link_to_pipe, device])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_one_line_and_never_waited_for(run: RunFolder, place: str, make: Callable) -> None:
    path = run.path / place
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    lines = [line for one in damaged(run) for line in one.problems]
    lines += [line for found in quick_problems(run, ["fit"]).values() for line in found]
    for action in (
        lambda: Shards(run.stage("fit"), "planes").read("000001", "planes"),
        lambda: read_rows(run, "fit"),
        lambda: attempt.sources(run.stage("fit"), 0),
    ):
        try:
            action()
        except StoreError as problem:
            lines.append(str(problem))
    assert all("\n" not in line and str(run.path) in line for line in lines)
    assert (place == "planes/.catalogue") == (not lines)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [pipe, Path.mkdir])
def test_a_pipe_is_refused_with_the_next_step(run: RunFolder, make: Callable) -> None:
    path = run.shard("fit", 0)
    path.unlink()
    make(path)
    with pytest.raises(Unreadable, match=f"{path}: cannot read .*; move it away and run the same command again"):
        Shards(run.stage("fit"), "planes").read("000001", "planes")


def test_the_command_line_says_one_line_and_exits_2(tmp_path: Path, run: RunFolder) -> None:
    from jobs.run.record import write_config
    from rodin.presets import preset

    write_config(run, preset("tiny"))
    run.shard("fit", 0).unlink()
    os.mkfifo(run.shard("fit", 0))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for words in (["store", "verify"], ["store", "repair"], ["store", "info"]):
        command = [sys.executable, "-m", "jobs", *words, str(run.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert done.returncode == 2, (words, done)
        assert done.stderr.strip().startswith("rodin: error: "), done.stderr
        assert done.stderr.strip().count("\n") == 0
    assert sorted(path.name for path in run.stage("fit").iterdir()) == ["00000.h5", "00000.json"]
