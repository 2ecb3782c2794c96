"""Stage `decoder` resumed: what a rank reads of the state of all ranks, and what it keeps of it."""

import shutil

import pytest
import torch
from fixtures.forked_ranks import fork_ranks
from fixtures.made_up_run import make_views

from rodin.hooks import Hooks, Stopped
from rodin.memory import forget_peak, resident_bytes
from rodin.presets import preset
from rodin.stages import decoder as stage
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.parallel.ranks import Ranks
from rodin.train.state import checkpoint

CONFIG = preset("tiny", ["decoder.steps=8", "decoder.subjects=3", "decoder.subjects_per_step=3"])


def begun(folder: RunFolder, steps: int = 4) -> None:
    """A run whose decoder was stopped after some steps."""
    make_views(CONFIG, folder)
    count = iter(range(99))
    with pytest.raises(Stopped):
        stage.run(CONFIG, folder, 0, Hooks(should_stop=lambda: next(count) + 1 >= steps))


def ended(learning: stage.DecoderTraining) -> list[torch.Tensor]:
    while learning.step < CONFIG.decoder.steps:
        learning.take_step()
    return [*learning.shared, *learning.decoder.parameters(), *(one.vectors for one in learning.subjects)]


def test_the_state_of_other_ranks_is_not_read_into_memory(tmp_path):
    run = RunFolder(tmp_path)
    begun(run)
    states = run.stage("decoder") / "state"
    last = manifest.read(states / "last.json")
    (own,) = last["files"]
    other = own.replace("rank-00000", "rank-00001")
    stranger = {"state": torch.zeros(3, 20_000_000), "guess": None, "visits": 1}  # 240 MB
    checkpoint.publish(states / other, {"subjects": {"stranger": stranger}})
    manifest.publish(states / "last.json", last | {"files": manifest.describe_files(states, [own, other])})
    del stranger

    def work(rank: int) -> int:
        torch.set_num_threads(1)
        forget_peak()
        before = resident_bytes("VmHWM")
        learning = stage.DecoderTraining(CONFIG, run, Ranks())
        assert learning.step == 4
        return int(resident_bytes("VmHWM") - before > 120e6)

    assert fork_ranks(1, work) == [0]


def test_nothing_of_the_file_is_used_once_it_is_read(tmp_path):
    run, spoilt = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "spoilt")
    begun(run)
    shutil.copytree(run.path, spoilt.path)
    wanted = ended(stage.DecoderTraining(CONFIG, run, Ranks()))
    learning = stage.DecoderTraining(CONFIG, spoilt, Ranks())
    for path in (spoilt.stage("decoder") / "state").rglob("*.pt"):
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(ended(learning), wanted, strict=True))


def test_each_rank_reads_its_own_part_for_the_checksum_and_the_first_one_all_that_is_resumed(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    make_views(CONFIG, run)
    told, real = tmp_path / "read", manifest.sha256_of

    def work(rank: int, steps: int) -> int:
        def told_of(path):
            with told.open("a") as file:
                file.write(f"{rank} {path.name}\n")
            return real(path)

        torch.set_num_threads(1)
        monkeypatch.setattr(manifest, "sha256_of", told_of)
        with Ranks.from_environment() as ranks:
            learning = stage.DecoderTraining(CONFIG, run, ranks)
            while learning.step < steps:
                learning.take_step()
            learning.save()
        return 0

    assert fork_ranks(2, lambda rank: work(rank, 2)) == [0, 0]
    assert sorted(told.read_text().split("\n")[:-1]) == ["0 rank-00000.pt", "1 rank-00001.pt"]
    last = run.stage("decoder") / "state" / "last.json"
    assert list(manifest.read(last)["files"]) == ["step-000000002/rank-00000.pt", "step-000000002/rank-00001.pt"]
    assert manifest.check_files(last) == []
    told.unlink()
    assert fork_ranks(2, lambda rank: work(rank, 3)) == [0, 0]
    of_all = ["0 rank-00000.pt", "0 rank-00001.pt"]
    assert sorted(told.read_text().split("\n")[:-1]) == sorted([*of_all, "0 rank-00000.pt", "1 rank-00001.pt"])
    alone = stage.DecoderTraining(CONFIG, run, Ranks())
    assert alone.step == 3
    assert [one.visits for one in alone.subjects] == [3, 3, 3]
    assert [path.name for path in last.parent.iterdir() if path.is_dir()] == ["step-000000003"]
