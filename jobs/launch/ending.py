"""Threads that end a worker which cannot end by itself: its driver or another rank is gone, or it waits for one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from jobs.run.failures import print_error
from jobs.run.lock import born
from rodin.train.parallel.waiting import waiting_since

DRIVER = "RODIN_DRIVER"  # "pid:born" of the local driver: its workers end when it ends
WATCH_SECONDS = 0.5  # between two looks: how long an orphan may live
PATIENCE_SECONDS = 10.0  # of a wait for other ranks after a stop request; ranks that live end their step in less
ORPHAN_SECONDS = 30.0  # of a wait for other ranks after the end of the process that started this one
SIBLING_SECONDS = 20.0  # between the ends of a job's ranks: far longer than they take to close their group


def die_with_driver() -> None:
    """End this process and its children as soon as the driver named in the environment is gone."""
    pid, _, when = os.environ.get(DRIVER, "").partition(":")
    if not pid:
        return

    def watch() -> None:
        while born(int(pid)) == when:
            time.sleep(WATCH_SECONDS)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    threading.Thread(target=watch, daemon=True).start()


def die_with_siblings(count: int) -> None:
    """End this process once another child of its parent is gone: one of several ranks that the parent started.

    Torch notices the end of a rank in an exchange, but waits half an hour for one that never came to the first.

    Args:
        count: children of the parent, this process among them.
    """
    children = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children")

    def all_there() -> bool:
        try:
            return len(children.read_text(encoding="ascii").split()) >= count
        except OSError:  # a kernel without this file
            return True

    def watch() -> None:
        gone = 0.0
        while gone < SIBLING_SECONDS:
            time.sleep(WATCH_SECONDS)
            gone = 0.0 if all_there() else gone + WATCH_SECONDS
        _end("another rank of this job ended; its log says why, or it was killed or ran out of memory")

    threading.Thread(target=watch, daemon=True).start()


def end_orphan_waits() -> None:
    """End this rank if what started it is gone and it waits for other ranks: Slurm, which ended them, cannot reach it.

    Without it a rank whose node lost its Slurm daemons waits for half an hour, with all its memory.
    """
    parent = os.getppid()

    def watch() -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            since = waiting_since()
            if os.getppid() != parent and since is not None and time.monotonic() - since > ORPHAN_SECONDS:
                _end(f"waited for other ranks for {ORPHAN_SECONDS:.0f} s, and the step that they belonged to is gone")

    threading.Thread(target=watch, daemon=True).start()


def end_waits(handler: Callable[..., None]) -> None:
    """End this process if a TERM or INT finds it waiting for other ranks, and the wait does not end soon.

    A rank that writes a checkpoint meanwhile is waited for until Slurm ends all: its end would end that one too. Call
    it in the main thread.

    Args:
        handler: of these signals; once it is replaced, they are no longer this function's business.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # written at once, whatever the main thread is in

    def watch() -> None:
        while os.read(reader, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
            continue
        asked = time.monotonic()
        while signal.getsignal(signal.SIGTERM) == handler:
            since = waiting_since(working=False)
            if since is not None and time.monotonic() - max(since, asked) > PATIENCE_SECONDS:
                _end(f"stopped while it waited for other ranks, for {PATIENCE_SECONDS:.0f} s after the signal")
            time.sleep(WATCH_SECONDS)

    threading.Thread(target=watch, daemon=True).start()


def _end(line: str) -> NoReturn:
    print_error(line)
    os._exit(1)
