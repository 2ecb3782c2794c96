"""Stage `fit` on several ranks: each group is fitted once, by who is free; the shard is the one of a single rank."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from fixtures.coloured_people import make_views
from fixtures.forked_ranks import fork_ranks

from rodin.config import Config
from rodin.fitting.fit import Diverged
from rodin.hooks import Hooks, OtherRankFailed, Stopped
from rodin.presets import preset
from rodin.stages import decoder
from rodin.stages import fit as stage
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

SUBJECTS = [f"{number:06d}" for number in range(7)]
GROUPS = set(SUBJECTS[::2])  # their first subjects
BAD = SUBJECTS[4]  # no fit of it succeeds, so that its group is begun again after each end
WAIT_SECONDS = 100


def config() -> Config:
    people = ("data.subjects=7", "data.held_out=1", "data.shard_subjects=7", "data.views=6", "data.resolution=16")
    fits = ("decoder.steps=2", "decoder.subjects_per_step=2", "fit.steps=4", "fit.floor_psnr=0", "fit.together=2")
    return preset("tiny", [*people, *fits])


class Task:
    """A run folder at whose shard ranks are at work; they note who begins which group."""

    def __init__(self, path: Path, whole: RunFolder | None = None) -> None:
        self.folder, self.notes = RunFolder(path), path / "notes.txt"
        path.mkdir(exist_ok=True)
        self.notes.touch()
        for name in ("render", "decoder") if whole else ():
            self.folder.stage(name).symlink_to(whole.stage(name))

    def run(self, **hooks) -> None:
        stage.run(config(), self.folder, 0, Hooks(**hooks))

    def begun(self) -> list[tuple[str, str]]:
        """(rank, first subject) of the groups that were begun, in order."""
        return [(rank, first) for rank, first in (line.split() for line in self.notes.read_text().splitlines())]

    def content(self) -> tuple[dict[str, tuple], dict[str, str]]:
        """What the shard has of each subject, but for seconds, and the failures."""
        planes = Shards(self.folder.stage("fit"), "planes")
        rows = {
            subject: (
                *(planes.read(subject, name).tobytes() for name in ("planes", "base")),
                {name: value for name, value in planes.meta(subject).items() if name != "seconds"},
            )
            for subject in planes
        }
        assert not planes.verify_shard(0)
        assert not [path for path in self.folder.stage("fit").iterdir() if path.name.startswith(".")]
        return rows, manifest.read(self.folder.manifest("fit"))["failed"]


def but_for_one(subjects: list[str], fits: list) -> list:
    return [Diverged("nan") if subject == BAD else one for subject, one in zip(subjects, fits, strict=True)]


@pytest.fixture
def noting(monkeypatch):
    """Fits that are noted, each after `before(rank, first subject)`."""

    real = stage.fit_subjects

    def on(task: Task, before=lambda rank, first: None) -> None:

        def fits(changed, views, subjects, *given):
            rank = os.environ.get("RANK", "0")
            with task.notes.open("a") as notes:
                notes.write(f"{rank} {subjects[0]}\n")
            before(int(rank), subjects[0])
            return but_for_one(subjects, real(changed, views, subjects, *given))

        monkeypatch.setattr(stage, "fit_subjects", fits)

    return on


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Task:
    """The shard as one rank makes it."""
    task = Task(tmp_path_factory.mktemp("whole"))
    make_views(config(), task.folder)
    decoder.run(config(), task.folder, 0, Hooks())
    return task


@pytest.fixture(scope="module")
def alone(whole):
    with pytest.MonkeyPatch.context() as patch:
        fit_subjects = stage.fit_subjects

        patch.setattr(stage, "fit_subjects", lambda *given: but_for_one(given[2], fit_subjects(*given)))
        whole.run()
    rows, failed = whole.content()
    assert sorted(rows) == [subject for subject in SUBJECTS if subject != BAD]
    assert failed == {BAD: "nan"}
    return rows, failed


def until(there, seconds: float = WAIT_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "the other ranks do not get on"
        time.sleep(0.01)


@pytest.mark.parametrize("world", [2, 4])
def test_while_one_rank_is_at_a_dear_group_the_others_do_the_rest_to_the_same_bits(
    tmp_path, whole, alone, noting, world
):
    task = Task(tmp_path / "run", whole.folder)

    def dear(rank, first):
        if first == SUBJECTS[2]:
            until(lambda: len(task.begun()) == 4)

    noting(task, dear)
    assert fork_ranks(world, lambda rank: task.run() or 0) == [0] * world
    assert sorted(first for _, first in task.begun()) == sorted(GROUPS)
    dear_rank = next(rank for rank, first in task.begun() if first == SUBJECTS[2])
    counts = Counter(rank for rank, first in task.begun() if first in SUBJECTS[3:])
    assert counts[dear_rank] == 0
    assert counts.total() == 2
    assert task.content() == alone


def test_killed_ranks_leave_their_rows_and_the_rest_is_shared_again(tmp_path, whole, alone, noting):
    """What a launcher does when a rank is killed: it kills the others."""
    task, killed = Task(tmp_path / "run", whole.folder), tmp_path / "killed"

    def die(rank, first):
        if rank == 1 and [one for one, _ in task.begun()].count("1") == 2:
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 0:
            until(lambda: [one for one, _ in task.begun()].count("1") >= 2)

    def launcher() -> bool:
        if killed.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    noting(task, die)
    assert fork_ranks(2, lambda rank: task.run(should_stop=launcher) or 0) == [-signal.SIGKILL] * 2
    assert not manifest.complete(task.folder.manifest("fit"))
    *_, lost = (first for rank, first in task.begun() if rank == "1")
    done = {first for _, first in task.begun()} - {lost}
    task.notes.write_text("")
    noting(task)
    assert fork_ranks(3, lambda rank: task.run() or 0) == [0, 0, 0]
    assert sorted(first for _, first in task.begun()) == sorted(GROUPS - done | {BAD})
    assert task.content() == alone


def told(out: Path, task: Task, **hooks) -> int:
    try:
        task.run(**hooks)
    except (Stopped, ValueError) as error:
        out.write_text(f"{type(error).__name__}: {error}")
        return 3
    return 0


def test_an_error_on_one_rank_reaches_all_with_its_name(tmp_path, whole, noting):
    task = Task(tmp_path / "run", whole.folder)

    def spoilt(rank, first):
        if rank == 1:
            raise ValueError("the views are torn")
        until(lambda: "1" in [one for one, _ in task.begun()])

    noting(task, spoilt)
    assert fork_ranks(2, lambda rank: told(tmp_path / str(rank), task)) == [3, 3]
    assert (tmp_path / "1").read_text() == "ValueError: the views are torn"
    line = "stopped, as another one of 2 ranks failed: rank 1: ValueError: the views are torn; see its log"
    assert (tmp_path / "0").read_text() == f"{OtherRankFailed.__name__}: {line}"
    assert not manifest.complete(task.folder.manifest("fit"))


@pytest.mark.parametrize("asked", [(1,), (0, 1)])
def test_a_stop_request_stops_all_ranks_and_the_rows_are_kept(tmp_path, whole, alone, noting, asked):
    """A signal reaches all ranks; where one of them sees it first, the others stop with it."""
    task = Task(tmp_path / "run", whole.folder)

    def work(rank: int) -> int:
        asks = iter([False])  # once it has a group, the next time it is asked
        return told(tmp_path / str(rank), task, should_stop=lambda: rank in asked and next(asks, True))

    def paired(rank, first):
        until(lambda: len({one for one, _ in task.begun()}) == 2)
        if rank == 1 and len(asked) == 2:  # rank 0, where the counter is, ends while this one is at work
            until((tmp_path / "0").exists)
        if rank == 0 and [one for one, _ in task.begun()].count("0") > 1:  # rank 1 has no time to stop otherwise
            until((tmp_path / "1").exists)

    noting(task, paired)
    assert fork_ranks(2, work) == [3, 3]
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["Stopped: "] * 2
    groups = {first for _, first in task.begun()}
    task.notes.write_text("")
    noting(task)
    task.run()
    assert {first for _, first in task.begun()} == GROUPS - groups | {BAD}
    assert task.content() == alone
