"""Prefetching: in order, no further than its depth, and nothing left after an error, a stop or a fork."""

import os
import threading
import time

import pytest

from rodin.train.data.prefetch import Prefetcher


def test_in_order_and_no_further_than_its_depth() -> None:
    made: list[int] = []
    with Prefetcher(lambda number: made.append(number) or number**2, 3, 9, depth=2) as squares:
        for number in range(3, 9):
            assert squares() == number**2
            time.sleep(0.02)
            assert made == list(range(3, min(number + 3, 9)))


def test_none_wait_where_the_depth_is_zero() -> None:
    made: list[int] = []
    with Prefetcher(lambda number: made.append(number) or number, 0, 3, depth=0) as results:
        assert [results(), results()] == [0, 1]
        time.sleep(0.02)
        assert made == [0, 1]


def test_it_goes_on_while_the_caller_works() -> None:
    def slow(number: int) -> int:
        time.sleep(0.05)
        return number

    with Prefetcher(slow, 0, 6, depth=2) as results:
        began = time.perf_counter()
        for _ in range(6):
            results()
            time.sleep(0.05)
    assert time.perf_counter() - began < 0.05 * 6 * 1.7


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
        began = time.perf_counter()
    assert time.perf_counter() - began < 0.5
    assert len(made) <= 3


def test_a_fork_may_begin_anew() -> None:
    with Prefetcher(lambda number: number, 0, 100, depth=2) as results:
        results()
        child = os.fork()
        if child == 0:
            with Prefetcher(lambda number: number, 5, 8, depth=2) as own:
                os._exit(0 if [own(), own(), own()] == [5, 6, 7] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert results() == 1
