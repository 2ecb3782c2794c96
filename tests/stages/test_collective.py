"""Ranks of a stage: all parts reach rank 0, and where one fails all of them stop with its reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rodin.hooks import Hooks, OtherRankFailed, Stopped
from rodin.presets import preset
from rodin.stages import decoder, embed, evaluate, index
from rodin.stages.collective import gather_parts
from rodin.store.mpi import MpiRanks
from rodin.store.run_folder import RunFolder
from rodin.train.parallel.ranks import Ranks


class Communicator:
    """The other ranks, of whom it is known what they will say."""

    def __init__(self, rank, others):
        self.rank, self.others, self.shared = rank, others, None

    def gather(self, value, root):
        said = list(self.others)
        said[self.rank] = value
        return said if self.rank == root else None

    def bcast(self, value, root):
        self.shared = value
        return value if self.rank == root else self.others


def test_one_process_has_its_own_part():
    assert gather_parts(MpiRanks(), lambda: 3) == [3]


def test_rank_0_gets_all_parts_in_order():
    communicator = Communicator(0, [None, ("one", None), ("two", None)])
    assert gather_parts(MpiRanks(0, 3, communicator), lambda: "zero") == ["zero", "one", "two"]


def test_the_failure_of_another_rank_stops_this_one():
    communicator = Communicator(0, [None, (None, (False, "ValueError: disk on fire"))])
    with pytest.raises(OtherRankFailed, match=r"rank 1 of 2 failed: ValueError: disk on fire"):
        gather_parts(MpiRanks(0, 2, communicator), lambda: 1)
    assert communicator.shared == [(1, (False, "ValueError: disk on fire"))]


def test_a_rank_that_was_asked_to_stop_stops_all():
    with pytest.raises(Stopped):
        gather_parts(MpiRanks(0, 2, Communicator(0, [None, (None, (True, "Stopped: "))])), lambda: 1)


def test_a_rank_tells_its_own_failure_before_it_raises_it():
    communicator = Communicator(0, [None, (1, None)])
    with pytest.raises(KeyError):
        gather_parts(MpiRanks(0, 2, communicator), lambda: {}["missing"])
    assert communicator.shared == [(0, (False, "KeyError: 'missing'"))]


@pytest.mark.parametrize("stage", [decoder, embed, index, evaluate], ids=lambda module: module.__name__)
def test_a_rank_that_does_not_yet_see_that_all_is_done_leaves_with_the_others(stage, tmp_path, monkeypatch):
    class Met(Ranks):
        @classmethod
        def from_environment(cls, environment=None):
            return cls()

        def any(self, flag):
            assert not flag
            return True

    monkeypatch.setattr(stage, "mpi_ranks", lambda: MpiRanks(1, 2, Communicator(1, True)), raising=False)
    monkeypatch.setattr(stage, "Ranks", Met, raising=False)
    stage.run(preset("tiny"), RunFolder(tmp_path), 0, Hooks())
    assert not any(tmp_path.rglob("*"))


MPIEXEC = Path(sys.executable).parent / "mpiexec"
SCRIPT = """
import pathlib, sys
from rodin.stages.collective import gather_parts
from rodin.store.mpi import mpi_ranks
here = mpi_ranks()
def part():
    if here.rank == int(sys.argv[1]):
        raise ValueError("burnt")
    return here.rank ** 2
try:
    told = str(gather_parts(here, part))
except Exception as error:
    told = f"{type(error).__name__}: {error}"
pathlib.Path(sys.argv[2], str(here.rank)).write_text(told)
"""


@pytest.mark.skipif(not MPIEXEC.exists(), reason="needs mpiexec: pip install -e '.[test]'")
@pytest.mark.parametrize("failing", [-1, 1])
def test_real_ranks_agree(failing, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [str(MPIEXEC), "-n", "3", sys.executable, "-c", SCRIPT, str(failing), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    told = [(tmp_path / str(rank)).read_text() for rank in range(3)]
    if failing < 0:
        assert told == ["[0, 1, 4]", "[]", "[]"]
    else:
        other = "OtherRankFailed: rank 1 of 3 failed: ValueError: burnt; see its log"
        assert told == [other, "ValueError: burnt", other]
