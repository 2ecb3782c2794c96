"""Whether a file written on one machine is seen on another, and how late; and how far their clocks are apart.

A machine writes a ping and waits for the pong of the command that started the job; there and back is measured on one
clock, and half of it bounds what is not known of the clocks' difference.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from jobs.doctor.disk import lock_state
from jobs.doctor.finding import Finding, fail, found, warn
from jobs.doctor.ranks import APART_SECONDS
from rodin.store.atomic import publish_bytes
from rodin.store.reading import entries

LONGEST_SECONDS = 60.0  # wait for a pong; NFS shows a new name after at most 60 s, by default
LATE_SECONDS = 10.0  # there and back; each stage waits so long for what the one before it left
LOOK_SECONDS = 0.05  # between two looks
LOCK = "lock-of-the-command"


def of_machine(folder: Path, name: str) -> Iterator[Finding]:
    """The machine's side: ping, wait for the pong, and try a lock that the command holds.

    Args:
        folder: shared with the command.
        name: of this process among those of the job.
    """
    begin, sent = time.monotonic(), time.time()
    publish_bytes(folder / f"ping-{name}.json", json.dumps({"time": sent}).encode())
    pong = folder / f"pong-{name}.json"
    while not pong.is_file():
        if time.monotonic() - begin > LONGEST_SECONDS:
            line = f"nothing that the command writes into {folder.parent} is seen here within {LONGEST_SECONDS:.0f} s"
            yield fail("shared files", line, "put runs on a file system that login and compute nodes share (--run)")
            return
        time.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - begin
    answered = float(json.loads(pong.read_text(encoding="utf-8"))["time"])
    line = f"a file and its answer are seen after {seconds:.1f} s, there and back"
    if seconds > LATE_SECONDS:
        yield warn("shared files", line, "each stage begins that much later; `actimeo` of the NFS mount")
    else:
        yield found("shared files", line)
    apart, doubt = answered - sent - seconds / 2, seconds / 2
    clock = f"at most {abs(apart) + doubt:.1f} s from the clock of the command"
    if abs(apart) - doubt > APART_SECONDS:
        yield warn("clock", f"{abs(apart):.1f} s from that of the command", "ask the administrators for NTP")
    else:
        yield found("clock", clock)
    state = lock_state(folder / LOCK)
    if state == "held":
        yield found("locks of the command", "are seen here")
    else:
        mend = "start one `rodin run` of a run at a time, and from one machine"
        yield warn("locks of the command", "are not seen here" if state == "taken" else f"flock: {state}", mend)


def answer(folder: Path) -> int:
    """The command's side: answer each ping that has none; returns how many there are."""
    pings = [path for path in entries(folder) if path.name.startswith("ping-")]
    for ping in pings:
        pong = folder / ping.name.replace("ping-", "pong-", 1)
        if not pong.exists():
            publish_bytes(pong, json.dumps({"time": time.time()}).encode())
    return len(pings)
