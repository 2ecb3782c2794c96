"""A worker that waits for a rank that will never come ends: soon after a signal, and after the end of another rank."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from jobs.launch import ending
from jobs.launch.worker import StopFlag
from rodin.hooks import OtherRankEnded
from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.waiting import waiting, waiting_since

SOON = 15.0  # seconds: far below the half hour that torch waits, though this machine is busy


@pytest.fixture
def forked() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Runs a function in a fork, with a stop flag that listens and little patience; the fork's pid."""
    pids: list[int] = []

    def start(work: Callable[[], None]) -> int:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                ending.PATIENCE_SECONDS, ending.WATCH_SECONDS = 0.4, 0.05
                StopFlag().listen()
                os.write(writer, b".")
                work()
                os._exit(7)
            finally:
                os._exit(8)
        pids.append(pid)
        os.close(writer)
        assert os.read(reader, 1) == b"."
        os.close(reader)
        return pid

    yield start
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def status_of(pid: int) -> int:
    """Exit status, waited for until SOON."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    raise AssertionError(f"process {pid} still waits")


def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_rank_that_waits_for_the_first_meeting_obeys(forked, number: signal.Signals):
    place = address()
    pid = forked(lambda: Ranks(0, 2, address=place).__enter__() and None)
    time.sleep(0.3)
    os.kill(pid, number)
    assert status_of(pid) == 1


@pytest.mark.parametrize("exchange", ["sum", "any", "end"])
def test_a_rank_that_waits_for_one_that_is_stuck_obeys(forked, exchange: str):
    place, (reader, writer) = address(), os.pipe()

    def stuck() -> None:
        with Ranks(1, 2, address=place) as ranks:
            ranks.any(False)
            time.sleep(60)

    def waits() -> None:
        with Ranks(0, 2, address=place) as ranks:
            ranks.any(False)
            os.write(writer, b".")
            if exchange == "sum":
                ranks.sum_([torch.ones(1)])
            elif exchange == "any":
                ranks.any(True)

    forked(stuck)
    pid = forked(waits)
    assert os.read(reader, 1) == b"."
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    assert status_of(pid) == 1


def test_a_rank_that_writes_for_long_after_the_signal_is_waited_for(forked):
    place = address()

    def saves(rank: int) -> None:
        with Ranks(rank, 2, address=place) as ranks:
            ranks.any(False)
            assert ranks.on_main(lambda: time.sleep(2) or "written") == (None if rank else "written")

    pids = [forked(lambda rank=rank: saves(rank)) for rank in (0, 1)]
    time.sleep(0.7)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert [status_of(pid) for pid in pids] == [7, 7]


def test_short_waits_and_other_work_are_not_cut_off(forked):
    def works() -> None:
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            with waiting():
                time.sleep(0.1)
        time.sleep(0.8)

    pid = forked(works)
    os.kill(pid, signal.SIGTERM)
    assert status_of(pid) == 7


def test_a_rank_whose_partner_is_killed_says_so(forked):
    place, (reader, writer) = address(), os.pipe()

    def dies() -> None:
        with Ranks(1, 2, address=place) as ranks:
            ranks.any(False)
            os.kill(os.getpid(), signal.SIGKILL)

    def waits() -> None:
        try:
            with Ranks(0, 2, address=place) as ranks:
                ranks.any(False)
                ranks.sum_([torch.ones(1)])
        except OtherRankEnded as error:
            os.write(writer, str(error).encode())

    forked(dies)
    assert status_of(forked(waits)) == 7
    assert os.read(reader, 1000).decode().startswith("another rank was killed")


def test_other_errors_of_an_exchange_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes differ"), waiting():
        raise RuntimeError("shapes differ")
    assert waiting_since() is None


def test_a_wait_inside_another_counts_from_the_outer_one():
    assert waiting_since() is None
    with waiting():
        outer = waiting_since()
        with waiting():
            assert waiting_since() == outer is not None
        with waiting(working=True):
            assert (waiting_since(), waiting_since(working=False)) == (outer, None)
        assert waiting_since() == waiting_since(working=False) == outer
    assert waiting_since() is None


SIBLINGS = """
import subprocess, sys, time
rank = (
    "import time; from jobs.launch import ending; ending.SIBLING_SECONDS = 0.4; ending.WATCH_SECONDS = 0.05;"
    "ending.die_with_siblings(2); time.sleep(1.5)"
)
other = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
one = subprocess.Popen([sys.executable, "-c", rank])
while one.poll() is None:
    other.poll()
    time.sleep(0.05)
other.kill()
sys.exit(one.returncode)
"""


@pytest.mark.parametrize(("other", "status"), [("pass", 1), ("import time; time.sleep(20)", 0)])
def test_a_rank_ends_soon_after_another_one_and_only_then(other: str, status: int):
    done = subprocess.run([sys.executable, "-c", SIBLINGS, other], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("rodin: error: another rank of this job ended;" in done.stderr) == (status == 1)


ORPHAN = """
import subprocess, sys
rank = (
    "import time; from jobs.launch import ending; from rodin.train.parallel.waiting import waiting;"
    "ending.ORPHAN_SECONDS = 0.4; ending.WATCH_SECONDS = 0.05; ending.end_orphan_waits();"
    "print('waits', flush=True);" + sys.argv[1] + "; print('through')"
)
one = subprocess.Popen([sys.executable, "-c", rank], stdout=subprocess.PIPE, text=True)
one.stdout.readline()
sys.stdout.write(one.communicate()[0]) if sys.argv[2] == "stays" else subprocess.Popen(["cat"], stdin=one.stdout)
"""
WAIT = "exec('with waiting(): time.sleep(1.5)')"


@pytest.mark.parametrize(
    ("work", "parent", "ended"),
    [(WAIT, "goes", True), (WAIT, "stays", False), ("time.sleep(1.5)", "goes", False)],
)
def test_a_rank_whose_step_is_gone_ends_where_it_waits_for_others_and_only_there(work: str, parent: str, ended: bool):
    done = subprocess.run([sys.executable, "-c", ORPHAN, work, parent], capture_output=True, text=True, timeout=60)
    assert ("the step that they belonged to is gone" in done.stderr) == ended
    assert ("through" in done.stdout) != ended
