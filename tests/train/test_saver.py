"""Checkpoints beside the training: it goes on meanwhile, the state copied is the state written, errors come back."""

import resource
import signal
import threading
import time

import pytest
import torch
from fixtures.toy_training import toy_training

from rodin.train import loop
from rodin.train.loop import Callbacks
from rodin.train.parallel.ranks import Ranks
from rodin.train.state import checkpoint
from rodin.train.state.saver import Saver


def test_training_goes_on_while_a_checkpoint_is_written_and_the_next_one_waits():
    may_write, written = threading.Event(), []

    def write(step, content):
        assert may_write.wait(20)
        written.append((step, content["model"][0].clone()))

    weights = [torch.ones(3)]
    before = threading.active_count()
    with Saver(write) as saver:
        saver.save(1, lambda copy: {"model": copy("model", weights)})
        weights[0] += 1  # the next step, while the file of the last is not even begun
        assert not written
        assert not saver.failed()
        threading.Timer(0.05, may_write.set).start()
        saver.save(2, lambda copy: {"model": copy("model", weights)})
        assert [step for step, _ in written] == [1]
        saver.wait()
    assert [(step, value.tolist()) for step, value in written] == [(1, [1.0] * 3), (2, [2.0] * 3)]
    assert threading.active_count() == before


def test_an_error_is_known_soon_and_raised_when_asked_for():
    def write(step, content):
        raise ValueError("no room")

    with Saver(write) as saver:
        saver.save(1, lambda copy: {})
        with pytest.raises(ValueError, match="no room"):
            saver.wait()
        assert saver.failed()


def test_a_disk_that_fills_stops_the_training_and_leaves_the_last_good_checkpoint(tmp_path):
    steps = []

    def progress(step, total, note):
        steps.append(step)
        if step == 7:  # the checkpoint of step 4 is written; that of step 8 finds no room
            while not list(tmp_path.glob("step-*")):
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(ValueError, match=r"step-000000008.*could not be written \(.*make room") as raised:
            toy_training(tmp_path, Ranks(), steps=2000, callbacks=Callbacks(progress=progress))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in str(raised.value)
    assert steps[-1] < 2000
    assert [path.name[:14] for path in tmp_path.iterdir()] == ["step-000000004"]
    assert checkpoint.latest(tmp_path).step == 4
    again = toy_training(tmp_path, Ranks(), steps=12)
    whole = toy_training(tmp_path / "whole", Ranks(), steps=12)
    assert all(torch.equal(value, whole.average[name]) for name, value in again.average.items())


def test_a_kill_while_a_checkpoint_is_written_loses_none(tmp_path, monkeypatch):
    """As a kill leaves it: the file of step 8 half written under its temporary name, that of step 4 whole."""
    save = checkpoint.save

    def cut_off(folder, step, content, part):
        if step == 8:
            (folder / ".77-beef.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        return save(folder, step, content, part)

    monkeypatch.setattr(loop.checkpoint, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        toy_training(tmp_path, Ranks(), steps=12)
    monkeypatch.setattr(loop.checkpoint, "save", save)
    assert checkpoint.latest(tmp_path).step == 4
    again = toy_training(tmp_path, Ranks(), steps=12)
    whole = toy_training(tmp_path / "whole", Ranks(), steps=12)
    assert all(torch.equal(value, whole.average[name]) for name, value in again.average.items())


def test_a_checkpoint_of_parts_counts_once_all_are_there_and_old_ones_go(tmp_path):
    rows = torch.arange(10.0).reshape(5, 2)

    def part(step, number, count=2):
        content = {"model": {"w": rows.chunk(count)[number] + step}, "curve": [number]}
        return checkpoint.save(tmp_path, step, content, (number, count))

    part(1, 0), part(1, 1), part(2, 1)
    assert checkpoint.latest(tmp_path).step == 1
    part(2, 0), part(2, 1)
    saved = checkpoint.latest(tmp_path)
    assert (saved.step, saved["curve"]) == (2, [0])
    assert torch.equal(saved.rows("model", "w"), rows + 2)
    damaged = part(3, 1)
    part(3, 0)
    assert len(list(tmp_path.glob("step-000000001*"))) == 0
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.warns(UserWarning, match=r"step-000000003-1of2.*damaged"):
        assert checkpoint.latest(tmp_path).step == 2
    part(4, 0, count=1)
    assert torch.equal(checkpoint.latest(tmp_path).rows("model", "w"), rows + 4)
