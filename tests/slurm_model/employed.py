"""The real `jobs.launch` with the work of a world in place of stages, processes and clocks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from slurm_model.work import Work
from slurm_model.world import Actor, Event, Thread

from jobs.graph import stage as stages
from jobs.launch import guard, requeue, resubmit, worker
from jobs.run import claims, ledger
from rodin.store.run_folder import RunFolder


class _Meter:
    """`Meter` without its file."""

    def __init__(self, *rest: object, **options: object) -> None:
        self.finish = lambda: None
        self.paced_seconds = lambda: None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        pass


@contextlib.contextmanager
def employed(work: Work) -> Iterator[None]:
    """Have elements do this work."""
    world = work.world

    def module(name: str) -> SimpleNamespace:
        return SimpleNamespace(run=lambda config, folder, shard, hooks: work.run(name, shard, hooks))

    processes: dict[int, Actor] = {}

    def holder(job: str) -> claims.Holder:
        work.numbers += 1
        node = getattr(world.actor, "node", "login")  # the driver has none
        processes[work.numbers] = world.actor
        return claims.Holder(job, node, work.numbers, str(work.numbers), str(work.numbers))

    real_read, real_enter = ledger.read_record, ledger.enter

    def enter(folder: RunFolder, one: ledger.Submission) -> None:
        real_enter(folder, one)
        work.versions.setdefault(one.uid, []).append((world.now, world.actor, one))

    def read(path: Path) -> dict[str, Any]:
        now, actor = real_read(path), world.actor
        old = work.versions.get(str(now.get("uid")), [])
        seen = [one for when, by, one in old if actor in (None, by) or when <= world.now - actor.lag]
        return now if not seen or actor is None or not actor.lag else json.loads(json.dumps(asdict(seen[-1])))

    def parsed(path: Path) -> ledger.Submission:
        """Without the cache, which is each process's own: here all share one, and not all see the same."""
        return ledger._submission(ledger.read_record(path))

    def born(pid: int) -> str:
        return "" if processes[pid].dead else str(pid)

    quiet = lambda *rest, **options: None  # noqa: E731
    threads = SimpleNamespace(
        Event=lambda: Event(world), Thread=lambda target, args, daemon: Thread(world, target, args)
    )
    with contextlib.ExitStack() as stack:
        for place, name, value in (
            (stages, "START_UP_MINUTES", 1),
            (worker, "read_config", lambda folder: work.config),
            (worker, "keep_settings", quiet),
            (worker, "values_read", quiet),
            (worker, "_prepare", quiet),
            (worker, "Meter", _Meter),
            (worker, "import_module", module),
            (worker, "stage_of", lambda name: SimpleNamespace(module=name, alone=False)),
            (worker, "hardware", lambda *rest: {}),
            (worker.results, "write_rows", quiet),
            (worker.traceback, "print_exc", quiet),
            (worker.StopFlag, "listen", lambda flag: world.actor.flags.append(flag)),
            (guard, "threading", threads),
            (requeue, "unstoppable_children", contextlib.nullcontext),  # one thread, whose mask all would share
            (resubmit, "check_clients", quiet),
            (resubmit, "driving", work.driving),
            (resubmit, "run_of", lambda folder, own: work.whole),
            (resubmit, "_say", lambda line: world.trace(f"{world.actor.name}: {line}")),
            (claims.Holder, "this_process", staticmethod(holder)),
            (claims, "born", born),
            (ledger, "read_record", read),
            (ledger, "_cached", parsed),
        ):
            stack.enter_context(mock.patch.object(place, name, value))
        for place in list_of_enter():
            stack.enter_context(mock.patch.object(place, "enter", enter))
        yield


def list_of_enter() -> list[Any]:
    """Modules that enter submissions into the ledger."""
    from jobs.launch import handing_on, retry, sending, tending

    return [ledger, retry, sending, handing_on, resubmit, tending]
