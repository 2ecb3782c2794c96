"""What lies beside the checkpoints: strange files are left alone, damaged ones set aside; no work is thrown away."""

import warnings
from pathlib import Path

import pytest
import torch

from rodin.train.state import checkpoint


def saved(folder: Path, *steps: int) -> list[Path]:
    return [checkpoint.save(folder, step, {"a": torch.full((3,), step)}) for step in steps]


def last_step(folder: Path) -> int:
    found = checkpoint.latest(folder)
    assert found is not None
    return found.step


def listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_is_no_checkpoint_by_name_is_passed_over_and_kept(tmp_path: Path):
    first, last = saved(tmp_path, 1, 2)
    (tmp_path / f"{last.stem}-backup.pt").write_bytes(last.read_bytes())
    (tmp_path / "step-000000009.pt").write_bytes(b"mine")
    (tmp_path / "step-000000007-0123456789abcdef.pt").write_bytes(b"of version 1")
    (tmp_path / "step-000000008-0of1-0123456789abcdef.pt").mkdir()
    (tmp_path / ".step-000000002.pt.partly").write_bytes(b"a copy that is being written")
    before = listed(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert last_step(tmp_path) == 2
        saved(tmp_path, 3)
        assert last_step(tmp_path) == 3
    assert before - listed(tmp_path) == {first.name}


def test_checkpoints_of_version_1_alone_are_refused_and_kept(tmp_path: Path):
    names = [f"step-{step:09d}-0123456789abcdef.pt" for step in (30, 7)]
    for name in names:
        (tmp_path / name).write_bytes(b"what came before parts")
    with pytest.raises(ValueError, match=rf"{names[0]}: a checkpoint of an older rodin; .*move {tmp_path} elsewhere"):
        checkpoint.latest(tmp_path)
    assert listed(tmp_path) == set(names)


@pytest.mark.parametrize("size", [0, 40])
def test_an_empty_or_cut_file_is_told_set_aside_and_the_one_before_used(tmp_path: Path, size: int):
    first, last = saved(tmp_path, 1, 2)
    last.write_bytes(last.read_bytes()[:size])
    with pytest.warns(UserWarning, match=f"{last.name}: damaged, .*; skipped, now {last.name}.damaged") as told:
        assert last_step(tmp_path) == 1
    assert len(told) == 1
    assert listed(tmp_path) == {first.name, f"{last.name}.damaged"}


def test_damaged_files_never_push_out_what_is_saved_after_them(tmp_path: Path):
    for path in saved(tmp_path, 30, 40):
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoint.latest(tmp_path) is None
    saved(tmp_path, 10, 20)
    assert last_step(tmp_path) == 20


def test_a_file_that_cannot_be_read_stops_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved(tmp_path, 1, 2)
    before = listed(tmp_path)

    def refused(path: Path, mode: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ValueError, match=r"step-000000002.*cannot be read \(Input/output error\); .*nothing is lost"):
        checkpoint.latest(tmp_path)
    assert listed(tmp_path) == before


@pytest.mark.parametrize("earlier", [True, False])
def test_parts_of_two_attempts_are_never_one_checkpoint(tmp_path: Path, earlier: bool):
    """Killed after one of two ranks had written its part, then run again and killed after both had."""

    def save(attempt: int, step: int, *ranks: int) -> None:
        for rank in ranks:
            checkpoint.save(tmp_path, step, {"attempt": attempt, "rank": rank}, (rank, 2))

    if earlier:
        save(1, 5, 0, 1)
    save(1, 10, 0)
    found = checkpoint.latest(tmp_path)
    assert (None if found is None else found.step) == (5 if earlier else None)
    assert not list(tmp_path.glob("step-000000010-*"))
    save(2, 10, 1, 0)
    whole = checkpoint.latest(tmp_path)
    assert whole is not None
    assert [(checkpoint.read(path)["attempt"], checkpoint.read(path)["rank"]) for path in whole.paths] == [
        (2, 0),
        (2, 1),
    ]
