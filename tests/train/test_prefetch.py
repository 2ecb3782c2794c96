"""Prefetching: in order, no further than its depth, and nothing left after an error, a stop or a fork."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from rodin.train.data.prefetch import Prefetcher


def until(holds: Callable[[], bool]) -> None:
    """Wait, on a machine that is busy with other tests too, until something holds."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_in_order_and_no_further_than_its_depth() -> None:
    made: list[int] = []
    with Prefetcher(lambda number: made.append(number) or number**2, 3, 9, depth=2) as squares:
        for number in range(3, 9):
            assert squares() == number**2
            until(lambda number=number: len(made) >= min(number + 3, 9) - 3)
            time.sleep(0.02)
            assert made == list(range(3, min(number + 3, 9)))


def test_none_wait_where_the_depth_is_zero() -> None:
    made: list[int] = []
    with Prefetcher(lambda number: made.append(number) or number, 0, 3, depth=0) as results:
        assert [results(), results()] == [0, 1]
        time.sleep(0.02)
        assert made == [0, 1]


def test_it_goes_on_while_the_caller_works() -> None:
    made, taken = [threading.Event() for _ in range(3)], threading.Event()

    def slow(number: int) -> int:
        if number == 1:
            assert taken.wait(30)  # the caller has the result before, and does not ask for this one
        made[number].set()
        return number

    with Prefetcher(slow, 0, 3, depth=2) as results:
        assert results() == 0
        assert not made[1].is_set()
        taken.set()
        assert made[2].wait(30)


def test_an_error_comes_with_its_result_and_the_thread_goes() -> None:
    def fails(number: int) -> int:
        if number == 2:
            raise ValueError("row 2 is damaged")
        return number

    before = threading.active_count()
    with Prefetcher(fails, 0, 100, depth=3) as results:
        assert [results(), results()] == [0, 1]
        with pytest.raises(ValueError, match="row 2 is damaged"):
            results()
    assert threading.active_count() == before


def test_a_stop_waits_for_one_result_at_most() -> None:
    made: list[int] = []

    def slow(number: int) -> int:
        time.sleep(0.05)
        made.append(number)
        return number

    with Prefetcher(slow, 0, 100, depth=50) as results:
        results()
        some = len(made)
    assert len(made) <= some + 1
    assert len(made) < 50


def test_a_fork_may_begin_anew() -> None:
    with Prefetcher(lambda number: number, 0, 100, depth=2) as results:
        results()
        child = os.fork()
        if child == 0:
            with Prefetcher(lambda number: number, 5, 8, depth=2) as own:
                os._exit(0 if [own(), own(), own()] == [5, 6, 7] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert results() == 1
