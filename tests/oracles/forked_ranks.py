"""Ranks of a training as forks of one process, so that torch is imported once."""

import os
import socket
from collections.abc import Callable


def fork_ranks(world: int, work: Callable[[int], int]) -> list[int]:
    """Fork `world` ranks, each with a launcher's variables in its environment.

    Args:
        work: (rank) -> exit status; an exception it lets out is status 1.

    Returns:
        The ranks' exit statuses, minus the signal where one killed it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
            os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank), **shared})
            status = 1
            try:
                status = work(rank)
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
