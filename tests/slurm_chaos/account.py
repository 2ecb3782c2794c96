"""What became of each fault: how its jobs went on, how often a person had to type, and the table of it all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from slurm_chaos.clients import FULL, Mend
from slurm_chaos.fault import Fault
from slurm_chaos.machine import Machine

from jobs.run.ledger import Submission

NOTHING, SLURM, DRIVER, BY_HAND = "went on", "started again by Slurm", "sent again by rodin run", "typed again"
HOW = (NOTHING, SLURM, DRIVER, BY_HAND)
SLACK_SECONDS = 1.0  # times of Slurm are whole seconds
HEADINGS = ("fault", "count", "went on", "by Slurm", "by rodin run", "by hand", "mends")


def settle(
    machine: Machine, faults: Sequence[Fault], ledgers: dict[str, list[Submission]], mends: Sequence[Mend]
) -> None:
    """Find out how each hit element went on after each fault, and which fault made a person type."""
    for mend in mends:
        if (fault := cause_of(mend, faults)) is not None:
            fault.mends += 1
    starts = starts_of(machine, sorted({job.split("_")[0] for fault in faults for job in fault.jobs}))
    for fault in faults:
        for job in fault.jobs:
            ledger = next((some for some in ledgers.values() if any(job in one.job_ids() for one in some)), [])
            fault.how.append(how_on(fault, job, starts.get(job, []), ledger, mends))
        if not fault.jobs:
            fault.how.append(BY_HAND if fault.mends else NOTHING)


def cause_of(mend: Mend, faults: Sequence[Fault]) -> Fault | None:
    """The fault of which a command's last words tell, else the latest before them that concerns the run."""
    earlier = [fault for fault in faults if fault.when < mend.when and (mend.run in fault.runs or not fault.runs)]
    words = mend.line.replace(",", " ").replace(":", " ").split()
    named = [fault for fault in earlier if any(job in words for job in fault.jobs)]
    if FULL in mend.line.lower():
        named = [fault for fault in earlier if fault.kind == "disk full"] or named
    if "cancelled" in mend.line:
        named = [fault for fault in named if fault.kind == "element cancelled"] or named
    return (named or earlier or [None])[-1]


def starts_of(machine: Machine, arrays: Sequence[str]) -> dict[str, list[float]]:
    """Id of each element -> when Slurm started it, seconds since 1970, every time."""
    found: dict[str, list[float]] = {}
    if not arrays:
        return found
    asked = ("sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", "--format=JobID,Start")
    for line in machine.ask(*asked, "--starttime=now-7days", f"--jobs={','.join(arrays)}").splitlines():
        job, _, start = line.partition("|")
        if start[:1].isdigit():
            found.setdefault(job, []).append(time.mktime(time.strptime(start, "%Y-%m-%dT%H:%M:%S")))
    return found


def how_on(fault: Fault, job: str, starts: Sequence[float], ledger: Sequence[Submission], mends: Sequence[Mend]) -> str:
    """What came first after a fault: another start of the same element, or another submission of its shards."""
    shards = {shard for one in ledger for shard in one.job_ids().get(job, ())}
    again = sorted(start for start in starts if start > fault.when + SLACK_SECONDS)[fault.starts :]
    sent = [
        one.submitted
        for one in ledger
        if one.submitted > fault.when and any(shards.intersection(element) for element in one.elements)
    ]
    if again and (not sent or again[0] < min(sent)):
        return SLURM
    if not sent:
        return NOTHING
    typed = [mend.when for mend in mends if mend.run in fault.runs and fault.when < mend.when < min(sent)]
    return BY_HAND if typed else DRIVER


def rows(faults: Sequence[Fault], kinds: Sequence[str]) -> list[dict[str, Any]]:
    """A row a kind of fault: how often it came, how the elements went on, how often a person typed."""
    found = []
    for kind in kinds:
        those = [fault for fault in faults if fault.kind == kind]
        how = [word for fault in those for word in fault.how]
        counts = {word: how.count(word) for word in HOW}
        found.append({"fault": kind, "count": len(those), **counts, "mends": sum(fault.mends for fault in those)})
    total = {key: sum(row[key] for row in found) for key in ("count", *HOW, "mends")}
    return [*found, {"fault": "all", **total}]


def table(found: Sequence[dict[str, Any]]) -> str:
    """The rows for reading."""
    lines = [HEADINGS, *([str(row[key]) for key in ("fault", "count", *HOW, "mends")] for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            word.ljust(width) if column == 0 else word.rjust(width)
            for column, (word, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
