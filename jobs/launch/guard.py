"""Guard of the shards that this process runs: it waits for their claims, and renews them while a stage is at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from jobs.run.claims import BEAT_SECONDS, Attempt, Claim, Holder
from jobs.run.failures import Failure, record
from rodin.hooks import Progress, Stopped
from rodin.store.run_folder import RunFolder


class Stop(Protocol):
    """A stop request that can be raised."""

    raised: bool

    def __call__(self) -> bool: ...


class Guard:
    """Keeps other jobs off a shard while it runs here.

    Args:
        folder: the run.
        job: Slurm's id of this element; empty: by hand.
        stop: raised when another job waits for the shard.
        starts: in a row that may get no further than the one before; more are not tried.
        log: of this process, for the record of what is not worth another start.
        failed: whether a shard has failed for good under this job, perhaps in an orphan of it.
        may_go_on: asked at each renewal; false: this job was withdrawn meanwhile.
    """

    def __init__(
        self,
        folder: RunFolder,
        job: str,
        stop: Stop,
        starts: int | None = None,
        log: str = "",
        failed: Callable[[int], bool] = lambda shard: False,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self.folder, self.stop, self.starts, self.log = folder, stop, starts, log
        self.failed, self.may_go_on = failed, may_go_on
        self.holder = Holder.this_process(job)
        self.resumed: int | None = None

    @contextmanager
    def holding(self, stage: str, shard: int) -> Iterator[bool]:
        """Hold the claim on a shard; false: the shard is done by now, or on record as not worth another start.

        Raises:
            Stopped: a stop was requested while another process held it.
        """
        claim = self._wait(stage, shard)
        if claim is None:
            yield False
            return
        self.resumed, ended = None, threading.Event()
        beats = threading.Thread(target=self._beat, args=(claim, ended), daemon=True)
        beats.start()
        try:
            yield True
        finally:
            ended.set()
            beats.join()
            claim.renew(self.resumed)
            claim.release(self.folder.manifest(stage, shard).is_file())

    def watching(self, meter: Progress) -> Progress:
        """The same progress callback; with what a stage reports first, the claim tells where it went on."""

        def progress(done: int, total: int, note: str = "") -> None:
            if self.resumed is None:
                self.resumed = done
            meter(done, total, note)

        return progress

    def _wait(self, stage: str, shard: int) -> Claim | None:
        attempt, told = Attempt(self.folder, stage, shard, self.holder), False
        while (claim := attempt.take()) is None:
            if self.folder.manifest(stage, shard).is_file():
                return None
            if self.stop():
                raise Stopped(f"{stage}: stopped while another process was at shard {shard}")
            if not told:
                print(f"{stage} {shard}: another process is at it, or was killed; it is asked to stop", flush=True)
                told = True
            time.sleep(BEAT_SECONDS)
        if self.folder.manifest(stage, shard).is_file():
            claim.release(done=True)
            return None
        if self.failed(shard):
            claim.release(done=False)
            return None
        if self.starts is not None and claim.note.idle > self.starts:
            claim.release(done=False)
            line = f"started {claim.note.idle} times without getting on; its log says why each start ended"
            record(self.folder, Failure(stage, shard, "crash", line, self.log))
            return None
        return claim

    def _beat(self, claim: Claim, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            if not (claim.renew(self.resumed) and self.may_go_on()):
                self.stop.raised = True
