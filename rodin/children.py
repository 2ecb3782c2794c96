"""Processes that a job starts. Slurm sends the signals that ask a job to stop to every process of it, these too."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)


@contextmanager
def unstoppable_children() -> Iterator[None]:
    """Processes started meanwhile keep these signals blocked: they end when this one, which saves first, ends them.

    This process gets a signal that comes meanwhile afterwards, or in another of its threads.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
