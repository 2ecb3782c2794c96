"""A power cut after every system call of what a run keeps besides its shards: each file is as before a step or after.

What a step returned from is as after it, whatever was not fsynced.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from fixtures.recorded_writers import recorded
from oracles.lossy_disk import LossyDisk, Tree, put
from oracles.syscalls import Event, available

from rodin.train.state import checkpoint

pytestmark = pytest.mark.skipif(not available(), reason="needs strace, and leave to trace: apt install strace")


def published(tree: Tree) -> dict[str, bytes | None]:
    """The files of a tree without those that are still being written."""
    hidden = (path for path in tree if any(part.startswith(".") for part in PurePosixPath(path).parts))
    left_out = {*hidden, *(path for path, data in tree.items() if data is None)}
    return {path: data for path, data in tree.items() if path not in left_out}


def steps(events: list[Event]) -> list[tuple[str, dict[str, bytes | None]]]:
    """Name of each step, and the published files after it."""
    disk, found = LossyDisk(), []
    for event in events:
        if event.kind != "said":
            disk.apply(event)
        elif event.path.startswith("done "):
            found.append((event.path.removeprefix("done "), published(disk.remains(1, 1))))
    return found


def cuts(events: list[Event], drawn: int) -> Iterator[tuple[int, bool, str, Tree]]:
    """Remains of each cut: number of steps begun before, whether inside one of them, where, and what is left."""
    disk, step, inside = LossyDisk(), 0, False
    for number, event in enumerate(events):
        if event.kind == "said":
            inside = event.path.startswith("begin ")
            step += inside
        else:
            disk.apply(event)
        for tree in disk.states(number, drawn):
            yield step, inside, f"event {number} of {len(events)} ({event.kind} {event.path} {event.other})", tree


def code(tree: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """The files of the code snapshot."""
    return {path: data for path, data in tree.items() if path.startswith("code/")}


def test_each_file_is_as_before_a_step_or_after(tmp_path: Path) -> None:
    events = recorded("records", tmp_path / "run")
    after = [("start", {}), *steps(events)]
    assert len(after) > 10
    for step, inside, where, tree in cuts(events, 2):
        (_, old), (title, new), found = after[step - inside], after[step], published(tree)
        where = f"{'in' if inside else 'after'} step {title!r}, {where}"
        for path in {path for path in {*found, *old, *new} if not path.startswith("code/")}:
            choice = (old.get(path), new.get(path)) if inside else (new.get(path),)
            assert found.get(path) in choice, f"{where}: {path} is neither the file before the step nor the one after"
        whole = (code(old), code(new), {}) if inside else (code(new),)  # nothing: the next command copies it again
        assert code(found) in whole, f"{where}: half of the code"


def test_the_last_whole_checkpoint_is_found(tmp_path: Path) -> None:
    events = recorded("checkpoints", tmp_path / "run")
    count, done, written, disk = 0, 0, False, LossyDisk()
    for number, event in enumerate(events):
        if event.kind == "said":
            written = written or event.path == "done model"
            done = int(event.path.split()[-1]) if event.path.startswith("done step") else done
            continue
        disk.apply(event)
        for tree in disk.states(number, 1):
            count += 1
            folder = put(tree, tmp_path / f"cut-{count}")
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found, model = checkpoint.latest(folder / "base" / "checkpoints"), folder / "base" / "model.pt"
            assert (found.step if found else 0) >= done, f"event {number} ({event.kind} {event.path})"
            assert found is None or (found["weights"] == found.step).all()
            assert not model.exists() or checkpoint.read(model)["weights"].tolist() in ([1.0] * 300, [2.0] * 300)
            assert model.exists() or not written
    assert count > 100
